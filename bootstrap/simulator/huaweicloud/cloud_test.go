package huaweicloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

type bench struct {
	*testing.T
	cloud   *Cloud
	lab     *lab.Lab
	state   State
	project string
}

func newBench(t *testing.T) *bench {
	l := lab.New(nil)
	t.Cleanup(l.Close)
	state := DefaultState()
	cloud, err := New(l, state)
	require.NoError(t, err)
	return &bench{T: t, cloud: cloud, lab: l, state: state, project: state.Projects[0].ID}
}

func (b *bench) request() *http.Request {
	r := httptest.NewRequest(http.MethodPut, "https://dcs.example.com/v2/"+b.project+"/instances", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// admit returns the code and message of the refusal, or "".
func (b *bench) admit(r *http.Request, project string) (string, string) {
	refusal := b.cloud.Admit("dcs", r, []byte("{}"), project)
	if refusal == nil {
		return "", ""
	}
	var e struct {
		Message string `json:"error_msg"`
	}
	_ = json.Unmarshal(refusal.Response.Body, &e) // 429 may be empty
	return refusal.Result, e.Message
}

func TestFlawedSignaturesAreRefused(t *testing.T) {
	const denied = "401 APIGW.0301"
	for _, c := range []struct {
		name          string
		spoil         func(b *bench, r *http.Request, k AccessKey)
		temporary     bool
		want, message string
	}{
		{name: "nothing wrong", spoil: func(b *bench, r *http.Request, k AccessKey) { Sign(r, []byte("{}"), k, b.lab.Clock.Now()) }},
		{name: "temporary key", temporary: true, spoil: func(b *bench, r *http.Request, k AccessKey) { Sign(r, []byte("{}"), k, b.lab.Clock.Now()) }},
		{name: "another body", want: denied, message: "verify aksk signature fail",
			spoil: func(b *bench, r *http.Request, k AccessKey) { Sign(r, []byte("{} "), k, b.lab.Clock.Now()) }},
		{name: "another host", want: denied, message: "verify", spoil: func(b *bench, r *http.Request, k AccessKey) {
			Sign(r, []byte("{}"), k, b.lab.Clock.Now())
			r.Host = "other.example.com"
		}},
		{name: "wrong secret", want: denied, message: "verify", spoil: func(b *bench, r *http.Request, k AccessKey) {
			k.SecretKey += "x"
			Sign(r, []byte("{}"), k, b.lab.Clock.Now())
		}},
		{name: "unknown key", want: denied, message: "ak not exist", spoil: func(b *bench, r *http.Request, k AccessKey) {
			k.AccessKey = "NOBODY"
			Sign(r, []byte("{}"), k, b.lab.Clock.Now())
		}},
		{name: "16 minutes late", want: denied, message: "signature expired",
			spoil: func(b *bench, r *http.Request, k AccessKey) {
				Sign(r, []byte("{}"), k, b.lab.Clock.Now().Add(-16*time.Minute))
			}},
		{name: "16 minutes early", want: denied, message: "signature expired",
			spoil: func(b *bench, r *http.Request, k AccessKey) {
				Sign(r, []byte("{}"), k, b.lab.Clock.Now().Add(16*time.Minute))
			}},
		{name: "14 minutes late", spoil: func(b *bench, r *http.Request, k AccessKey) {
			Sign(r, []byte("{}"), k, b.lab.Clock.Now().Add(-14*time.Minute))
		}},
		{name: "token without a temporary key", want: denied, message: "does not belong", spoil: func(b *bench, r *http.Request, k AccessKey) {
			k.SecurityToken = "tok"
			Sign(r, []byte("{}"), k, b.lab.Clock.Now())
		}},
		{name: "temporary key without its token", temporary: true, want: denied, message: "must be sent and signed", spoil: func(b *bench, r *http.Request, k AccessKey) {
			k.SecurityToken = ""
			Sign(r, []byte("{}"), k, b.lab.Clock.Now())
		}},
		{name: "token not signed", temporary: true, want: denied, message: "must be sent and signed", spoil: func(b *bench, r *http.Request, k AccessKey) {
			tok := k.SecurityToken
			k.SecurityToken = ""
			Sign(r, []byte("{}"), k, b.lab.Clock.Now())
			r.Header.Set("X-Security-Token", tok)
		}},
		{name: "unsigned JSON body", want: denied, message: "body must be signed", spoil: func(b *bench, r *http.Request, k AccessKey) {
			r.Header.Set(hashHeader, unsignedBody)
			Sign(r, []byte("{}"), k, b.lab.Clock.Now())
		}},
		{name: "no credential", want: denied, message: "x-auth-token not found", spoil: func(*bench, *http.Request, AccessKey) {}},
		{name: "unknown token", want: denied, message: "decrypt token fail", spoil: func(_ *bench, r *http.Request, _ AccessKey) { r.Header.Set("X-Auth-Token", "MII") }},
		{name: "another project in the header", want: "403 APIGW.0302", spoil: func(b *bench, r *http.Request, k AccessKey) {
			r.Header.Set("X-Project-Id", b.state.Projects[1].ID)
			Sign(r, []byte("{}"), k, b.lab.Clock.Now())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			r, k := b.request(), b.state.AccessKeys[0]
			if c.temporary {
				k = b.state.AccessKeys[1]
			}
			c.spoil(b, r, k)
			code, message := b.admit(r, b.project)
			assert.Equal(t, c.want, code)
			assert.Contains(t, message, c.message)
		})
	}
}

func TestFiveBadSignaturesLockTheKey(t *testing.T) {
	b := newBench(t)
	k := b.state.AccessKeys[0]
	bad := k
	bad.SecretKey = "wrong"
	try := func(k AccessKey) (string, string) {
		r := b.request()
		Sign(r, []byte("{}"), k, b.lab.Clock.Now())
		return b.admit(r, b.project)
	}
	for range keyStrikes - 1 {
		_, message := try(bad)
		assert.Contains(t, message, "verify aksk signature fail")
	}
	code, _ := try(k)
	assert.Empty(t, code, "a good signature clears the count")
	for range keyStrikes {
		try(bad)
	}
	_, message := try(k)
	assert.Contains(t, message, "AK access failed to reach the limit", "a valid signature does not unlock it")
	assert.Equal(t, 1, b.cloud.Keys()[0].Locks)
	assert.NotNil(t, b.cloud.Keys()[0].LockedUntil)
	b.lab.Clock.Advance(keyLock + time.Second)
	code, _ = try(k)
	assert.Empty(t, code)
}

func (b *bench) token(user, password, domain, scope string) *httptest.ResponseRecorder {
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":%q,"password":%q,"domain":{"name":%q}}}},"scope":%s}}`,
		user, password, domain, scope)
	r := httptest.NewRequest(http.MethodPost, "https://iam.example.com/v3/auth/tokens?nocatalog=true", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json;charset=utf8")
	w := httptest.NewRecorder()
	b.cloud.ServeHTTP(w, r)
	return w
}

func TestTokenIsBoundToProjectAndExpires(t *testing.T) {
	b := newBench(t)
	u := b.state.Users[0]
	w := b.token(u.Name, u.Password, b.state.DomainName, `{"project":{"name":"ap-southeast-3"}}`)
	require.Equal(t, http.StatusCreated, w.Code)
	value := w.Header().Get("X-Subject-Token")
	assert.Greater(t, len(value), 2000)
	assert.NotContains(t, w.Body.String(), value)
	assert.NotContains(t, w.Body.String(), "catalog")
	use := func(project string) (string, string) {
		r := b.request()
		r.Header.Set("X-Auth-Token", value)
		return b.admit(r, project)
	}
	code, _ := use(b.project)
	assert.Empty(t, code)
	code, _ = use(b.state.Projects[1].ID)
	assert.Equal(t, "403 APIGW.0302", code)
	require.NoError(t, b.cloud.Switch("project_mismatch", json.RawMessage(`"401"`)))
	code, _ = use(b.state.Projects[1].ID)
	assert.Equal(t, "401 APIGW.0301", code)

	b.lab.Clock.Advance(24*time.Hour + time.Second)
	_, message := use(b.project)
	assert.Contains(t, message, "token expires, expires_at")

	value = b.token(u.Name, u.Password, b.state.DomainName, `{"project":{"id":"`+b.project+`"}}`).Header().Get("X-Subject-Token")
	require.NoError(t, b.cloud.SetPassword(t.Context(), u.Name, "New-Password-1"))
	code, message = use(b.project)
	assert.Equal(t, "401 APIGW.0307", code)
	assert.Contains(t, message, "must be updated")
	value = b.token(u.Name, "New-Password-1", b.state.DomainName, `{"domain":{"name":"example-domain"}}`).Header().Get("X-Subject-Token")
	code, _ = use(b.project)
	assert.Equal(t, "401 APIGW.0301", code, "regional services refuse a domain token")
}

func TestInvalidTokenRequestsAreRefused(t *testing.T) {
	b := newBench(t)
	u := b.state.Users[0]
	project := `{"project":{"name":"ap-southeast-3"}}`
	for _, c := range []struct {
		name, user, password, domain, scope string
		status                              int
		body                                string
	}{
		{"wrong password", u.Name, "wrong", b.state.DomainName, project, 401, `"code":401`},
		{"unknown user", "nobody", u.Password, b.state.DomainName, project, 401, `"title":"Unauthorized"`},
		{"wrong domain", u.Name, u.Password, "other", project, 401, `"code":401`},
		{"unknown project", u.Name, u.Password, b.state.DomainName, `{"project":{"name":"nowhere"}}`, 401, `"code":401`},
		{"project of others", u.Name, u.Password, b.state.DomainName, `{"project":{"name":"eu-west-101"}}`, 401, `"code":401`},
		{"no scope", u.Name, u.Password, b.state.DomainName, `null`, 400, `"code":400`},
		{"two scopes", u.Name, u.Password, b.state.DomainName, `{"project":{"name":"a"},"domain":{"name":"b"}}`, 400, `"code":400`},
		{"unknown field", u.Name, u.Password, b.state.DomainName, `{"region":"a"}`, 400, `"code":400`},
	} {
		w := b.token(c.user, c.password, c.domain, c.scope)
		assert.Equal(t, c.status, w.Code, c.name)
		assert.Contains(t, w.Body.String(), c.body, c.name)
		assert.Empty(t, w.Header().Get("X-Subject-Token"), c.name)
	}
}

func TestFiveWrongPasswordsLockTheUser(t *testing.T) {
	b := newBench(t)
	u := b.state.Users[0]
	try := func(password string) *httptest.ResponseRecorder {
		return b.token(u.Name, password, b.state.DomainName, `{"project":{"name":"ap-southeast-3"}}`)
	}
	require.NoError(t, b.cloud.Switch("error_style", json.RawMessage(`"iam"`)))
	for range userStrikes {
		assert.Contains(t, try("wrong").Body.String(), "IAM.0062")
	}
	w := try(u.Password)
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	assert.Contains(t, w.Body.String(), "IAM.0061")
	b.lab.Clock.Advance(16 * time.Minute)
	assert.Equal(t, http.StatusCreated, try(u.Password).Code)
}

func TestGatewayThrottlesPerSecond(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.cloud.Switch("throttle_per_second", json.RawMessage("2")))
	b.cloud.lab.Clock = lab.NewClock(func() time.Time { return time.Unix(1_800_000_000, 0) })
	try := func() string {
		r := b.request()
		Sign(r, []byte("{}"), b.state.AccessKeys[0], b.lab.Clock.Now())
		code, _ := b.admit(r, b.project)
		return code
	}
	assert.Empty(t, try())
	assert.Empty(t, try())
	assert.Equal(t, "429 APIGW.0308", try())
	require.NoError(t, b.cloud.Switch("throttle_variant", json.RawMessage(`"empty"`)))
	assert.Equal(t, "429", try())
	b.lab.Clock.Advance(time.Second)
	assert.Empty(t, try())
}

// A service throttles on its own, and does not say for how long.
func TestServicesThrottleOnTheirOwn(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.cloud.Switch("throttle_windows", json.RawMessage(`{"dcs":300}`)))
	admit := func(service string) *Refusal {
		r := b.request()
		Sign(r, []byte("{}"), b.state.AccessKeys[0], b.lab.Clock.Now())
		return b.cloud.Admit(service, r, []byte("{}"), b.project)
	}
	refusal := admit("dcs")
	require.NotNil(t, refusal)
	require.Equal(t, http.StatusTooManyRequests, refusal.Response.Status)
	require.Empty(t, refusal.Response.Header.Get("Retry-After"))
	require.Nil(t, admit("ecs"))
	require.Equal(t, []int{1, 0}, []int{b.cloud.Throttled("dcs"), b.cloud.Throttled("ecs")})
	b.lab.Clock.Advance(300 * time.Second)
	require.Nil(t, admit("dcs"))

	mine, other := b.state.AccessKeys[0].AccessKey, b.state.AccessKeys[1].AccessKey
	require.NoError(t, b.cloud.Switch("throttle_windows", json.RawMessage(`{"dcs/`+other+`":300}`)))
	require.Nil(t, admit("dcs"), "a window of another key")
	require.NoError(t, b.cloud.Switch("throttle_windows", json.RawMessage(`{"dcs/`+mine+`":300}`)))
	require.NotNil(t, admit("dcs"))
	require.Nil(t, admit("ecs"))
	for _, wrong := range []string{`{"obs":1}`, `{"dcs":-1}`, `5`} {
		require.Error(t, b.cloud.Switch("throttle_windows", json.RawMessage(wrong)))
	}
}
