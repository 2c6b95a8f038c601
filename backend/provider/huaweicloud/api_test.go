package huaweicloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

func TestMain(m *testing.M) {
	providertest.IgnoreProxies()
	// A dependency of the SDK starts this goroutine when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const (
	canaryPassword = "cAnArY-password"
	canaryKey      = "cAnArY-secret-key"
	canaryToken    = "cAnArY-token"
	canaryBody     = "cAnArY-body"
)

// clock is a fake clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// cloud is a fake IAM and a fake service in one server, with configurable responses.
type cloud struct {
	*httptest.Server
	clock *clock

	mu       sync.Mutex
	logins   int
	issued   int
	calls    []call
	login    func(n int, w http.ResponseWriter, r *http.Request, body string) // nil: a new token
	service  func(n int, w http.ResponseWriter, r *http.Request)              // nil: 200 {}
	lifetime time.Duration
}

type call struct {
	*http.Request
	body string
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{clock: newClock(), lifetime: 24 * time.Hour}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	if r.URL.Path == "/v3/auth/tokens" {
		c.logins++
		n, login := c.logins, c.login
		c.mu.Unlock()
		if login != nil {
			login(n, w, r, string(body))
			return
		}
		c.issue(w)
		return
	}
	c.calls = append(c.calls, call{r, string(body)})
	n, service := len(c.calls), c.service
	c.mu.Unlock()
	if service != nil {
		service(n, w, r)
		return
	}
	_, _ = io.WriteString(w, "{}")
}

// issue responds with the next token: cAnArY-token-1, -2, …
func (c *cloud) issue(w http.ResponseWriter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.issued++
	w.Header().Set("X-Subject-Token", fmt.Sprintf("%s-%d", canaryToken, c.issued))
	w.WriteHeader(http.StatusCreated)
	// The remote clock is a year ahead, which must not matter.
	now := c.clock.Now().AddDate(1, 0, 0)
	_, _ = fmt.Fprintf(w, `{"token":{"issued_at":%q,"expires_at":%q}}`,
		now.Format("2006-01-02T15:04:05.000000Z"), now.Add(c.lifetime).Format("2006-01-02T15:04:05.000000Z"))
}

func (c *cloud) counts() (logins, calls int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logins, len(c.calls)
}

func (c *cloud) call(i int) call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[i]
}

func (c *cloud) open(t *testing.T, credential provider.Settings) *API {
	t.Helper()
	connection := provider.Connection{URL: c.URL, TLS: provider.TLS{Insecure: true}, Settings: credential}
	credential[FieldProjectID] = "p1"
	if credential.Has(FieldUsername) {
		credential[FieldIAMURL] = c.URL
	}
	require.NoError(t, Complete(&connection, "dcs"))
	api, err := open(connection, "dcs", c.clock.Now)
	require.NoError(t, err)
	providertest.RequireSecretFree(t, api)
	return api
}

func byUser() provider.Settings {
	return provider.Settings{FieldUsername: "ops<&>", FieldPassword: canaryPassword, FieldDomainName: "acme"}
}

func byKey() provider.Settings {
	return provider.Settings{FieldAccessKey: "AK1", FieldSecretKey: canaryKey, FieldSecurityToken: "cAnArY-sts"}
}

func says(status int, body string) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

var put = Request{Method: http.MethodPut, Path: "/v2/p1/x", Body: map[string]string{"new_password": canaryBody + "<&>"}}

const refused = `{"error_code":"APIGW.0301","error_msg":"verify aksk signature fail: ` + canaryKey + `","request_id":"req-5f0c1d2e3b4a59687766554433221100"}`

func TestSignatureCoversSentBody(t *testing.T) {
	c := newCloud(t)
	api := c.open(t, byKey())
	response, err := api.Call(t.Context(), put)
	require.NoError(t, err)
	require.Equal(t, 200, response.Status)

	got := c.call(0)
	require.Equal(t, `{"new_password":"cAnArY-body<&>"}`, got.body, "no HTML escapes, no line feed")
	require.Equal(t, "application/json;charset=UTF-8", got.Header.Get("Content-Type"))
	require.Equal(t, "p1", got.Header.Get("X-Project-Id"))
	require.Equal(t, "cAnArY-sts", got.Header.Get("X-Security-Token"))
	require.Empty(t, got.Header.Get("X-Auth-Token"))

	// The service computes the signature from what arrived.
	authorization := got.Header.Get("Authorization")
	again := got.Clone(t.Context())
	again.URL.Host = got.Host
	api.signer.sign(again, []byte(got.body), strings.Split("content-type;host;x-project-id;x-sdk-date;x-security-token", ";"))
	require.Equal(t, again.Header.Get("Authorization"), authorization)
}

func TestRefusedKeyIsSentAgainByCheckOnly(t *testing.T) {
	c := newCloud(t)
	c.service = says(401, refused)
	api := c.open(t, byKey())
	response, err := api.Call(t.Context(), put)
	require.NoError(t, err)
	first := api.Refusal(response)
	require.Equal(t, provider.Denied, first.Outcome)

	_, err = api.Call(t.Context(), put)
	again := first
	again.Unsent = true
	require.Equal(t, again, transport.Failure(err))
	_, calls := c.counts()
	require.Equal(t, 1, calls)
	providertest.RequireSecretFree(t, err, first)

	c.clock.advance(time.Hour)
	_, err = api.Call(t.Context(), put)
	require.Equal(t, again, transport.Failure(err), "until a check sends it")

	check := api.Check(t.Context(), "/v2/p1/x", nil, "", func(_ *transport.Response, result provider.Result) provider.Result { return result })
	require.Equal(t, first, check)
	_, calls = c.counts()
	require.Equal(t, 2, calls, "a check is sent; its caller counts the attempts")
}

func TestForeign401DoesNotRefuseKey(t *testing.T) {
	for _, credential := range []provider.Settings{byKey(), byUser()} {
		c := newCloud(t)
		c.service = says(401, "<html>log in to the proxy</html>")
		api := c.open(t, credential)
		for range 2 {
			response, err := api.Call(t.Context(), put)
			require.NoError(t, err)
			require.Equal(t, provider.Unknown, api.Refusal(response).Outcome)
		}
		logins, calls := c.counts()
		require.Equal(t, 2, calls, "nothing must be sent twice")
		require.LessOrEqual(t, logins, 1)
	}
}

// A request that logs in to something else with another credential says which errors are about that.
func TestOther401RefusesNeitherKeyNorToken(t *testing.T) {
	for _, credential := range []provider.Settings{byKey(), byUser()} {
		c := newCloud(t)
		c.service = says(401, `{"error_code":"DCS.4080"}`)
		api := c.open(t, credential)
		login := put
		login.Refused = func(e Envelope) bool { return e.Code != "DCS.4080" }
		for range 2 {
			_, err := api.Call(t.Context(), login)
			require.NoError(t, err, "no pause")
		}
		logins, calls := c.counts()
		require.Equal(t, 2, calls, "nothing must be sent twice")
		require.LessOrEqual(t, logins, 1)

		c.service = says(401, refused)
		_, err := api.Call(t.Context(), login)
		require.NoError(t, err)
		_, err = api.Call(t.Context(), login)
		require.Equal(t, credential.Has(FieldAccessKey), err != nil, "a refused key pauses")
	}
}

func TestRefusalOutcomes(t *testing.T) {
	gateway := `{"error_code":"APIGW.0201","error_msg":"m","request_id":"5f0c1d2e3b4a59687766554433221100"}`
	service := `{"error_code":"DCS.5000","error_msg":"m"}`
	for name, test := range map[string]struct {
		status  int
		body    string
		outcome provider.Outcome
		scope   provider.Scope
		code    string
	}{
		"gateway's bad request":     {400, gateway, provider.Rejected, provider.ScopeTarget, "APIGW.0201"},
		"service's bad request":     {400, service, provider.Unknown, provider.ScopeTarget, "DCS.5000"},
		"foreign bad request":       {400, "no", provider.Unknown, provider.ScopeTarget, "HTTP 400"},
		"unauthorized":              {401, refused, provider.Denied, provider.ScopeConnection, "APIGW.0301"},
		"foreign unauthorized":      {401, "", provider.Unknown, provider.ScopeTarget, "HTTP 401"},
		"forbidden":                 {403, `{"error_code":"APIG.0302"}`, provider.Denied, provider.ScopeTarget, "APIG.0302"},
		"native forbidden":          {403, `{"forbidden":{"code":403}}`, provider.Denied, provider.ScopeTarget, "HTTP 403"},
		"forbidden by a proxy":      {403, "<html>", provider.Unknown, provider.ScopeTarget, "HTTP 403"},
		"not found":                 {404, `{"error_code":"DCS.3022"}`, provider.Rejected, provider.ScopeTarget, "DCS.3022"},
		"not found by a proxy":      {404, "", provider.Unknown, provider.ScopeTarget, "HTTP 404"},
		"throttled in JSON":         {429, `{"error_code":"APIGW.0308"}`, provider.Busy, provider.ScopeConnection, "APIGW.0308"},
		"throttled in HTML":         {429, "<html>", provider.Busy, provider.ScopeConnection, "HTTP 429"},
		"throttled without body":    {429, "", provider.Busy, provider.ScopeConnection, "HTTP 429"},
		"internal error":            {500, service, provider.Unknown, provider.ScopeTarget, "DCS.5000"},
		"bad gateway":               {502, gateway, provider.Unknown, provider.ScopeTarget, "APIGW.0201"},
		"gateway timeout":           {504, gateway, provider.Unknown, provider.ScopeTarget, "APIGW.0201"},
		"found":                     {302, gateway, provider.Unknown, provider.ScopeTarget, "APIGW.0201"},
		"conflict":                  {409, service, provider.Unknown, provider.ScopeTarget, "DCS.5000"},
		"body too large":            {413, gateway, provider.Unknown, provider.ScopeTarget, "APIGW.0201"},
		"code that may be a secret": {403, `{"error_code":"cAnArY"}`, provider.Denied, provider.ScopeTarget, "HTTP 403"},
		"ID that may be anything":   {403, `{"error_code":"DCS.1","request_id":"cAnArY <x>"}`, provider.Denied, provider.ScopeTarget, "DCS.1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.service = says(test.status, test.body)
			api := c.open(t, byKey())
			response, err := api.Call(t.Context(), put)
			require.NoError(t, err)
			result := api.Refusal(response)
			require.Equal(t, test.outcome, result.Outcome)
			require.Equal(t, test.scope, result.Scope)
			require.Equal(t, test.code, result.Code)
			require.NotEmpty(t, result.Reason)
			providertest.RequireSecretFree(t, result)
		})
	}
}

func TestRefusalNamesClockSkew(t *testing.T) {
	c := newCloud(t)
	c.service = func(n int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", c.clock.Now().Add(time.Hour).Format(http.TimeFormat))
		says(401, refused)(n, w, r)
	}
	api := c.open(t, byKey())
	response, err := api.Call(t.Context(), put)
	require.NoError(t, err)
	require.Contains(t, api.Refusal(response).Reason, "clock")
}

func TestLostResponseIsUnknown(t *testing.T) {
	c := newCloud(t)
	c.service = func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	_, err := c.open(t, byKey()).Call(t.Context(), put)
	require.Equal(t, provider.Unknown, transport.Failure(err).Outcome)
	providertest.RequireSecretFree(t, err)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	api := c.open(t, byKey())
	api.base = "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	_, err = api.Call(t.Context(), put)
	require.Equal(t, provider.Unreachable, transport.Failure(err).Outcome)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.open(t, byUser()).Call(ended, put)
	require.Equal(t, provider.Unreachable, transport.Failure(err).Outcome)
	_, err = c.open(t, byKey()).Call(t.Context(), Request{Method: "PUT", Path: "/x", Body: func() {}})
	require.Equal(t, provider.Unreachable, transport.Failure(err).Outcome)
	require.Equal(t, provider.Unknown, transport.Failure(errors.New("x")).Outcome)
}

func TestCallsDoNotFollowRedirects(t *testing.T) {
	thief := newCloud(t)
	for _, credential := range []func() provider.Settings{byKey, byUser} {
		for _, status := range []int{302, 307, 308} {
			c := newCloud(t)
			c.service = func(_ int, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, status) }
			api := c.open(t, credential())
			response, err := api.Call(t.Context(), put)
			require.NoError(t, err)
			require.Equal(t, provider.Unknown, api.Refusal(response).Outcome)

			iam := newCloud(t)
			iam.login = func(_ int, w http.ResponseWriter, r *http.Request, _ string) {
				http.Redirect(w, r, thief.URL, status)
			}
			_, err = iam.open(t, byUser()).Call(t.Context(), put)
			require.Equal(t, provider.Unreachable, transport.Failure(err).Outcome)
		}
	}
	logins, calls := thief.counts()
	require.Zero(t, logins+calls)
}
