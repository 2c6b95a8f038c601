package plesk

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

func TestSingleOKResultIsApplied(t *testing.T) {
	s := newServer(t, says(200, okAlias))
	result := open(t, s.connection()).Change(t.Context(), s.change(t))
	require.Equal(t, provider.Applied, result.Outcome)
	require.False(t, result.Exclusive, "Plesk does not check an old password")
	require.Empty(t, result.Code)
}

func TestErrorCodeOutcomes(t *testing.T) {
	type want struct {
		outcome provider.Outcome
		scope   provider.Scope
	}
	denied := want{provider.Denied, provider.ScopeConnection}
	busyConnection := want{provider.Busy, provider.ScopeConnection}
	busyTarget := want{provider.Busy, provider.ScopeTarget}
	target := want{provider.Rejected, provider.ScopeTarget}
	server := want{provider.Rejected, provider.ScopeConnection}
	badPassword := want{provider.Rejected, provider.ScopePassword}
	unknown := want{provider.Unknown, provider.ScopeTarget}

	system := map[string]want{
		"1001": denied, "1006": denied, "1010": denied, "1011": denied, "1029": denied, "11003": denied,
		"1003": busyConnection, "1008": busyConnection, "1012": busyConnection,
		"1004": server, "1005": server, "1009": server, "1014": server, "1017": server, "1030": server,
		"1013": unknown, "1019": unknown, "1023": unknown, "1038": unknown, "9999": unknown, "1": unknown,
	}
	result := map[string]want{
		"1002": target, "1007": target, "1013": target,
		"1014": server, "1017": server, "1026": server, "1030": server, "1031": server,
		"1019": badPassword, "1038": badPassword,
		"1006": {provider.Denied, provider.ScopeTarget},
		"1003": busyTarget, "1008": busyTarget,
		"1001": unknown, "1012": unknown, "1023": unknown, "1024": unknown, "14008": unknown,
	}
	check := func(body, code string, w want) {
		s := newServer(t, says(200, body))
		got := open(t, s.connection()).Change(t.Context(), s.change(t))
		require.Equal(t, want{got.Outcome, got.Scope}, w, code)
		require.Equal(t, code, got.Code)
		require.NotEmpty(t, got.Reason)
		providertest.RequireSecretFree(t, got)
		if strings.Contains(body, "<system>") && code == "1012" {
			require.Equal(t, 15*time.Minute, got.RetryAfter)
		}
		require.Len(t, s.Sent(), 1, "nothing must be sent twice")
	}
	for code, w := range system {
		check(packet(`<system><status>error</status><errcode>`+code+`</errcode><errtext>`+newPassword+`</errtext></system>`), code, w)
	}
	for code, w := range result {
		check(aliasResult(`<status>error</status><errcode>`+code+`</errcode><errtext>`+newPassword+`</errtext>`), code, w)
	}
	// Every code of the tables is tested above.
	for code := range inSystem {
		require.Contains(t, system, code)
	}
	for code := range inResult {
		require.Contains(t, result, code)
	}
}

// The login probably does not exist, but the answer does not prove it: the outcome stays unknown.
func TestResponseWithoutResultSuggestsMissingLogin(t *testing.T) {
	s := newServer(t, says(200, packet(`<server><set-admin-alias/></server>`)))
	result := open(t, s.connection()).Change(t.Context(), s.change(t))
	require.Equal(t, provider.Unknown, result.Outcome)
	require.Equal(t, provider.ScopeTarget, result.Scope)
	require.Contains(t, result.Reason, "no such account exists; check in Plesk that it has an additional administrator with this login")
	require.NotContains(t, result.Reason, "check url")
	providertest.RequireSecretFree(t, result)

	s = newServer(t, says(200, packet(`<server><get/></server>`)))
	check := open(t, s.connection()).Check(t.Context())
	require.Equal(t, provider.Unknown, check.Outcome)
	require.NotContains(t, check.Reason, "account", "a check concerns no account")
}

func TestOtherResponsesAreUnknown(t *testing.T) {
	redirected := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login.php", status) }
	}
	for name, handle := range map[string]http.HandlerFunc{
		"system ok":          says(200, packet(`<system><status>ok</status></system>`)),
		"no success code":    says(200, aliasResult(`<status>error</status>`)),
		"empty":              says(200, ""),
		"page of a proxy":    says(502, "<html><body>"+newPassword+"</body></html>"),
		"not available":      says(503, "<html><body>"+newPassword+"</body></html>"),
		"success with 500":   says(500, okAlias),
		"success with 503":   says(503, okAlias),
		"success with 201":   says(201, okAlias),
		"success with 401":   says(401, okAlias),
		"success with 403":   says(403, okAlias),
		"success with 404":   says(404, okAlias),
		"no content":         says(204, ""),
		"found":              redirected(302),
		"temporary redirect": redirected(307),
		"page of 200":        says(200, "<html><body>ok</body></html>"),
		"longer than a MiB":  says(200, strings.Replace(okAlias, "debug text", strings.Repeat("x", 1<<20), 1)),
		"hang-up at the end": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, handle)
			result := open(t, s.connection()).Change(t.Context(), s.change(t))
			require.Equal(t, provider.Unknown, result.Outcome)
			require.NotEmpty(t, result.Reason)
			providertest.RequireSecretFree(t, result)
			require.Len(t, s.Sent(), 1)
		})
	}
}

func TestThrottlingIsBusy(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, okAlias)
	})
	result := open(t, s.connection()).Change(t.Context(), s.change(t))
	require.Equal(t, provider.Busy, result.Outcome)
	require.Equal(t, provider.ScopeConnection, result.Scope)
	require.Equal(t, 2*time.Minute, result.RetryAfter)
	require.Equal(t, "HTTP 429", result.Code)
}

func TestUnsentRequestIsUnreachable(t *testing.T) {
	s := newServer(t, says(200, okAlias))
	connection, change := s.connection(), s.change(t)
	connection.TLS.CACert = ""
	require.Equal(t, provider.Unreachable, open(t, connection).Change(t.Context(), change).Outcome, "certificate not trusted")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	connection.URL = "https://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	require.Equal(t, provider.Unreachable, open(t, connection).Change(t.Context(), change).Outcome, "connection refused")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, provider.Unreachable, open(t, s.connection()).Change(ended, change).Outcome, "context ended")
	require.Empty(t, s.Sent())
}

func TestTimeoutAfterSendingIsUnknown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	result := open(t, s.connection()).Change(ctx, s.change(t))
	require.Equal(t, provider.Unknown, result.Outcome)
	providertest.RequireSecretFree(t, result)
}

func TestRedirectGetsNoSecrets(t *testing.T) {
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, status) })
		client := open(t, s.connection())
		require.Equal(t, provider.Unknown, client.Change(t.Context(), s.change(t)).Outcome)
		require.Equal(t, provider.Unknown, client.Check(t.Context()).Outcome)
	}
	require.Zero(t, stolen.Load())
}

func TestInvalidChangeIsNotSent(t *testing.T) {
	s := newServer(t, says(200, okAlias))
	client := open(t, s.connection())
	for _, password := range []string{"", "abcd", "with space 1A!", "tab\tA1!aaaa", "quote\"A1!a", "quote'A1!a", "ünicode-A1!", "new\nline-A1", "null\x00-A1!", "bad\xff-A1!a", "xUSER2x-A1!", strings.Repeat("a", 256)} {
		change := s.change(t)
		change.NewPassword = password
		result := client.Change(t.Context(), change)
		require.Equal(t, provider.Rejected, result.Outcome)
		require.Equal(t, provider.ScopePassword, result.Scope)
		require.Contains(t, result.Reason, "nothing was sent")
	}
	for _, login := range []string{"", "admin", "a b", "ü"} {
		change := s.change(t)
		change.Target.Settings = provider.Settings{fieldLogin: login}
		result := client.Change(t.Context(), change)
		require.Equal(t, provider.Rejected, result.Outcome)
		require.Equal(t, provider.ScopeTarget, result.Scope)
	}
	require.Empty(t, s.Sent())
}

func TestCheckRequiresAdministrator(t *testing.T) {
	generalInfo := packet(`<server><get><result><status>ok</status><gen_info><server_name>s</server_name><server_guid>g</server_guid></gen_info></result></get></server>`)
	for name, test := range map[string]struct {
		status int
		body   string
		want   provider.Outcome
	}{
		"administrator":    {200, generalInfo, provider.Applied},
		"without the info": {200, packet(`<server><get><result><status>ok</status></result></get></server>`), provider.Unknown},
		"other operation":  {200, okAlias, provider.Unknown},
		"customer":         {200, packet(`<server><get><result><status>error</status><errcode>1006</errcode></result></get></server>`), provider.Denied},
		"wrong password":   {200, packet(`<system><status>error</status><errcode>1001</errcode></system>`), provider.Denied},
		"locked":           {200, packet(`<system><status>error</status><errcode>1012</errcode></system>`), provider.Busy},
		"another service":  {404, "not found", provider.Unknown},
		"throttled":        {429, "", provider.Busy},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, says(test.status, test.body))
			result := open(t, s.connection()).Check(t.Context())
			require.Equal(t, test.want, result.Outcome)
			require.Equal(t, provider.ScopeConnection, result.Scope)
			require.NotEmpty(t, result.Reason)
			providertest.RequireSecretFree(t, result)
		})
	}
}

// The name and the GUID are those of the server, whatever its address. A copy of a server has its GUID, but another name.
func TestCheckIdentifiesServer(t *testing.T) {
	identify := func(info string) string {
		s := newServer(t, says(200, packet(`<server><get><result><status>ok</status><gen_info>`+info+`</gen_info></result></get></server>`)))
		result := open(t, s.connection()).Check(t.Context())
		require.Equal(t, provider.Applied, result.Outcome)
		require.NotContains(t, result.System, "8ad1")
		return result.System
	}
	const name, guid = "<server_name>p.example</server_name>", "<server_guid>8ad1e2b0-f3c2-4a55-9a77-4711</server_guid>"
	one := identify(name + guid)
	require.NotEmpty(t, one)
	require.Equal(t, one, identify(guid+strings.ReplaceAll(name, "p.", "P.")))
	require.NotEqual(t, one, identify(name+strings.ReplaceAll(guid, "4711", "4712")))
	require.NotEqual(t, one, identify(strings.ReplaceAll(name, "p.", "q.")+guid))
	for _, info := range []string{"", name, guid, guid + "<server_name/>", name + guid + guid} {
		require.Empty(t, identify(info), info)
	}
}

// Any server can claim the name and the GUID of another one, but it does not have its key.
func TestServerWithAnotherKeyIsAnother(t *testing.T) {
	body := packet(`<server><get><result><status>ok</status><gen_info><server_name>s</server_name><server_guid>g</server_guid></gen_info></result></get></server>`)
	identify := func(key string) string {
		return checkOutcome(&transport.Response{Status: 200, Header: http.Header{"Content-Type": {"text/xml"}}, Body: []byte(body), Key: []byte(key)}).System
	}
	one := identify("one")
	require.NotEmpty(t, one)
	require.Equal(t, one, identify("one"))
	require.NotEqual(t, one, identify("two"))
	require.Empty(t, identify(""), "without TLS, nothing is proved")
}

func TestCheckTargetMakesNoCall(t *testing.T) {
	s := newServer(t, says(500, ""))
	result := open(t, s.connection()).CheckTarget(t.Context(), s.change(t).Target)
	require.Equal(t, provider.Applied, result.Outcome)
	require.True(t, result.Unsent, "it proves nothing about the credential")
	require.Empty(t, s.Sent())
}
