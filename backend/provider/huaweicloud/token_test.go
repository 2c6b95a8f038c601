package huaweicloud

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

func TestTokenRequestMatchesDocs(t *testing.T) {
	c := newCloud(t)
	var uri, body, contentType string
	c.login = func(_ int, w http.ResponseWriter, r *http.Request, b string) {
		uri, body, contentType = r.Method+" "+r.RequestURI, b, r.Header.Get("Content-Type")
		c.issue(w)
	}
	_, err := c.open(t, byUser()).Call(t.Context(), put)
	require.NoError(t, err)
	require.Equal(t, "POST /v3/auth/tokens?nocatalog=true", uri)
	require.Equal(t, "application/json;charset=utf8", contentType)
	require.Equal(t, `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"ops<&>","password":"`+canaryPassword+
		`","domain":{"name":"acme"}}}},"scope":{"project":{"id":"p1"}}}}`, body)

	got := c.call(0)
	require.Equal(t, canaryToken+"-1", got.Header.Get("X-Auth-Token"))
	require.Empty(t, got.Header.Get("Authorization"))
	require.Empty(t, got.Header.Get("X-Sdk-Date"))
}

func TestTokenIsRenewedBeforeExpiry(t *testing.T) {
	for name, test := range map[string]struct {
		lifetime, kept, renewed time.Duration
	}{
		"a day":           {24 * time.Hour, 21 * time.Hour, 36*time.Minute + time.Second},
		"half an hour":    {30 * time.Minute, 24 * time.Minute, time.Minute},
		"a minute":        {time.Minute, 29 * time.Second, time.Second},
		"already expired": {-time.Hour, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.lifetime = test.lifetime
			api := c.open(t, byUser())
			requireCall(t, api)
			if test.kept > 0 {
				c.clock.advance(test.kept)
				requireCall(t, api)
				logins, _ := c.counts()
				require.Equal(t, 1, logins)
			}
			c.clock.advance(test.renewed)
			requireCall(t, api)
			logins, _ := c.counts()
			require.Equal(t, 2, logins)
		})
	}
}

func requireCall(t *testing.T, api *API) {
	t.Helper()
	response, err := api.Call(t.Context(), put)
	require.NoError(t, err)
	require.Equal(t, 200, response.Status)
}

func TestTokenWithoutExpiryIsKeptTenMinutes(t *testing.T) {
	c := newCloud(t)
	for _, body := range []string{"", "{}", `{"token":null}`, `{"token":{"expires_at":7}}`, `{"token":{"expires_at":"soon"}}`, "<html>"} {
		require.Equal(t, unknownLifetime, lifetime([]byte(body), c.clock.Now()), body)
	}
	require.Equal(t, time.Hour, lifetime([]byte(`{"token":{"expires_at":"2026-01-02T04:04:05.000000Z"}}`), c.clock.Now()))
}

func TestRefusedTokenIsRenewedAndRequestResent(t *testing.T) {
	c := newCloud(t)
	c.service = func(n int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-Token") == canaryToken+"-1" {
			says(401, `{"error_code":"APIGW.0307","error_msg":"The token must be updated."}`)(n, w, r)
			return
		}
		_, _ = io.WriteString(w, "{}")
	}
	requireCall(t, c.open(t, byUser()))
	logins, calls := c.counts()
	require.Equal(t, 2, logins)
	require.Equal(t, 2, calls)
	require.Equal(t, c.call(0).body, c.call(1).body)
	require.Equal(t, c.call(0).RequestURI, c.call(1).RequestURI)
}

func TestTokenIsRenewedOncePerCall(t *testing.T) {
	c := newCloud(t)
	c.service = says(401, refused)
	api := c.open(t, byUser())
	response, err := api.Call(t.Context(), put)
	require.NoError(t, err)
	require.Equal(t, provider.Denied, api.Refusal(response).Outcome)
	logins, calls := c.counts()
	require.Equal(t, 2, logins)
	require.Equal(t, 2, calls)
}

// The result of a change must tell whether the password was refused, and a second login would hide that.
func TestFollowingRequestGetsNoOtherToken(t *testing.T) {
	c := newCloud(t)
	api := c.open(t, byUser())
	requireCall(t, api)
	c.service = says(401, refused)
	following := put
	following.Follows = true
	response, err := api.Call(t.Context(), following)
	require.NoError(t, err)
	require.Equal(t, provider.Denied, api.Refusal(response).Outcome)
	logins, calls := c.counts()
	require.Equal(t, 1, logins)
	require.Equal(t, 2, calls)
}

func TestIAMRefusalOutcomes(t *testing.T) {
	unauthorized := `{"error":{"code":401,"message":"` + canaryPassword + `","title":"Unauthorized"}}`
	for name, test := range map[string]struct {
		status  int
		body    string
		outcome provider.Outcome
		code    string
	}{
		"wrong password":        {401, unauthorized, provider.Denied, "HTTP 401"},
		"wrong password, coded": {401, `{"error_code":"IAM.0062"}`, provider.Denied, "IAM.0062"},
		"locked":                {401, `{"error_code":"IAM.0061"}`, provider.Busy, "IAM.0061"},
		"locked, nested":        {401, `{"error":{"code":"IAM.0061","message":"m"}}`, provider.Busy, "IAM.0061"},
		"forbidden":             {403, `{"error_code":"IAM.0002"}`, provider.Denied, "IAM.0002"},
		"throttled":             {429, "", provider.Busy, "HTTP 429"},
		"bad request":           {400, `{"error_code":"IAM.0011"}`, provider.Unreachable, "IAM.0011"},
		"internal error":        {500, unauthorized, provider.Unreachable, "HTTP 500"},
		"not found":             {404, "", provider.Unreachable, "HTTP 404"},
		"no token":              {201, "{}", provider.Unreachable, ""},
		"not created":           {200, "{}", provider.Unreachable, "HTTP 200"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.login = func(n int, w http.ResponseWriter, r *http.Request, _ string) { says(test.status, test.body)(n, w, r) }
			api := c.open(t, byUser())
			_, err := api.Call(t.Context(), put)
			result := transport.Failure(err)
			require.Equal(t, test.outcome, result.Outcome)
			require.Equal(t, provider.ScopeConnection, result.Scope)
			require.Equal(t, test.code, result.Code)
			require.Equal(t, test.code == "IAM.0061", result.RetryAfter == userLock)
			require.Equal(t, test.status == 500, strings.Contains(result.Reason, "IAM failed"), "there is nothing to correct")
			require.Equal(t, test.outcome == provider.Unreachable && test.status != 201, result.Unseen, "the password may have been refused")
			providertest.RequireSecretFree(t, err, result)
			logins, calls := c.counts()
			require.Equal(t, 1, logins, "a refused password must not be sent twice")
			require.Zero(t, calls, "the call must not be made")

			if test.outcome == provider.Denied {
				_, err = api.Call(t.Context(), put)
				require.False(t, result.Unsent)
				result.Unsent = true
				require.Equal(t, result, transport.Failure(err))
				logins, _ = c.counts()
				require.Equal(t, 1, logins, "nor during the pause")
			}
		})
	}
}

func TestRefusedPasswordAtRenewalIsDenied(t *testing.T) {
	c := newCloud(t)
	c.service = says(401, refused)
	c.login = func(n int, w http.ResponseWriter, r *http.Request, _ string) {
		if n > 1 {
			says(401, `{"error_code":"IAM.0062"}`)(n, w, r)
			return
		}
		c.issue(w)
	}
	_, err := c.open(t, byUser()).Call(t.Context(), put)
	require.Equal(t, provider.Denied, transport.Failure(err).Outcome)
	logins, calls := c.counts()
	require.Equal(t, 2, logins)
	require.Equal(t, 1, calls)
}

func TestValidTokenOutlivesIAMOutage(t *testing.T) {
	c := newCloud(t)
	api := c.open(t, byUser())
	requireCall(t, api)
	c.mu.Lock()
	c.login = func(n int, w http.ResponseWriter, r *http.Request, _ string) { says(503, "")(n, w, r) }
	c.mu.Unlock()
	c.clock.advance(23 * time.Hour)
	for range 10 {
		requireCall(t, api)
	}
	logins, _ := c.counts()
	require.Equal(t, 2, logins, "not every call asks IAM")
	c.clock.advance(renewAgain)
	requireCall(t, api)
	logins, _ = c.counts()
	require.Equal(t, 3, logins)
	c.clock.advance(45 * time.Minute)
	requireCall(t, api)
	c.clock.advance(5 * time.Minute) // it has expired
	_, err := api.Call(t.Context(), put)
	require.Equal(t, provider.Unreachable, transport.Failure(err).Outcome)
}

func TestConcurrentCallersShareOneTokenRequest(t *testing.T) {
	c := newCloud(t)
	asked, release := make(chan struct{}), make(chan struct{})
	c.login = func(_ int, w http.ResponseWriter, _ *http.Request, _ string) {
		asked <- struct{}{}
		<-release
		c.issue(w)
	}
	api := c.open(t, byUser())
	const callers = 20
	var done sync.WaitGroup
	for range callers {
		done.Go(func() {
			response, err := api.Call(t.Context(), put)
			if err != nil || response.Status != 200 {
				t.Error("a caller got no response")
			}
		})
	}
	<-asked

	// A canceled caller does not wait for the others.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := api.Call(ended, put)
	require.Equal(t, provider.Unreachable, transport.Failure(err).Outcome)

	close(release)
	done.Wait()
	logins, calls := c.counts()
	require.Equal(t, 1, logins)
	require.Equal(t, callers, calls)
}

func TestCanceledLeaderDoesNotFailWaiters(t *testing.T) {
	c := newCloud(t)
	asked := make(chan context.Context)
	c.login = func(n int, w http.ResponseWriter, r *http.Request, _ string) {
		if n == 1 {
			asked <- r.Context()
			<-r.Context().Done()
			return
		}
		c.issue(w)
	}
	api := c.open(t, byUser())
	leader, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		_, err := api.Call(leader, put)
		if transport.Failure(err).Outcome != provider.Unreachable {
			t.Error("a failed token request must be Unreachable")
		}
	})
	<-asked

	// The others either wait for the leader's flight or find it gone; both ways they get a token.
	for range 5 {
		done.Go(func() {
			if _, err := api.tokens.get(t.Context(), ""); err != nil {
				t.Error("a waiter failed together with the leader")
			}
		})
	}
	cancel()
	done.Wait()
	logins, _ := c.counts()
	require.Equal(t, 2, logins)
}

func TestWaitersShareOneRefusal(t *testing.T) {
	c := newCloud(t)
	asked, release := make(chan struct{}), make(chan struct{})
	c.login = func(n int, w http.ResponseWriter, r *http.Request, _ string) {
		asked <- struct{}{}
		<-release
		says(401, `{"error_code":"IAM.0062"}`)(n, w, r)
	}
	api := c.open(t, byUser())
	var done sync.WaitGroup
	var sent atomic.Int32
	failed := func() {
		_, err := api.Call(t.Context(), put)
		result := transport.Failure(err)
		if result.Outcome != provider.Denied {
			t.Error("not denied")
		}
		if !result.Unsent {
			sent.Add(1)
		}
	}
	done.Go(failed)
	<-asked
	for range 10 {
		done.Go(failed)
	}
	close(release)
	done.Wait()
	logins, _ := c.counts()
	require.Equal(t, 1, logins)
	require.EqualValues(t, logins, sent.Load(), "refusals that count")
}

// The password is sent once, not once per waiter.
func TestWaitersCountOneUnseenAttempt(t *testing.T) {
	c := newCloud(t)
	asked, release := make(chan struct{}), make(chan struct{})
	c.login = func(n int, w http.ResponseWriter, r *http.Request, _ string) {
		if n == 1 {
			close(asked)
			<-release
		}
		says(503, "")(n, w, r)
	}
	api := c.open(t, byUser())
	results := make(chan provider.Result, 5)
	ask := func() {
		_, err := api.Call(t.Context(), put)
		results <- transport.Failure(err)
	}
	var done sync.WaitGroup
	done.Go(ask)
	<-asked
	for range cap(results) - 1 {
		done.Go(ask)
	}
	close(release)
	done.Wait()
	close(results)
	unseen := 0
	for result := range results {
		require.Equal(t, provider.Unreachable, result.Outcome)
		if result.Unseen {
			unseen++
		}
	}
	logins, _ := c.counts()
	require.Equal(t, logins, unseen)
}

func TestUnansweredLookupSendsKeyNotPassword(t *testing.T) {
	c := newCloud(t)
	lost := provider.Result{Outcome: provider.Unknown}
	require.True(t, c.open(t, byKey()).Unsent(lost, provider.ScopeConnection, "why").Unseen)
	byToken := c.open(t, byUser()).Unsent(lost, provider.ScopeConnection, "why")
	require.Equal(t, provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Reason: "why"}, byToken)
	denied := provider.Result{Outcome: provider.Denied}
	require.Equal(t, denied, c.open(t, byKey()).Unsent(denied, provider.ScopeConnection, "why"))
}
