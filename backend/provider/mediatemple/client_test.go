package mediatemple

import (
	"context"
	"fmt"
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

// want is the expected result.
type want struct {
	outcome provider.Outcome
	scope   provider.Scope
	code    string
}

func got(result provider.Result) want { return want{result.Outcome, result.Scope, result.Code} }

const (
	ofPassword   = provider.ScopePassword
	ofTarget     = provider.ScopeTarget
	ofConnection = provider.ScopeConnection
)

func TestChangeRequestMatchesDocs(t *testing.T) {
	for account, path := range map[string]string{"root": "/api/v1/services/556/rootPassword", "plesk": "/api/v1/services/556/pleskPassword"} {
		s := newServer(t, says(202, accepted))
		open(t, s.connection()).Change(t.Context(), s.change(t, account))
		require.Len(t, s.Sent(), 1)
		sent := s.Sent()[0]
		require.Equal(t, http.MethodPut, sent.Method)
		require.Equal(t, path, sent.RequestURI)
		require.Equal(t, []string{"MediaTemple " + apiKey}, sent.Header["Authorization"])
		require.Equal(t, "application/json", sent.Header.Get("Content-Type"))
		require.Equal(t, "application/json", sent.Header.Get("Accept"))
		require.Equal(t, `{"password":"`+newPassword+`"}`, sent.Body)
		require.Equal(t, int64(len(sent.Body)), sent.ContentLength)
	}
}

func TestReadsSendKeyInHeaderOnly(t *testing.T) {
	s := newServer(t, says(200, service))
	client := open(t, s.connection())
	client.Check(t.Context())
	client.CheckTarget(t.Context(), s.change(t, accountRoot).Target)
	require.Len(t, s.Sent(), 2)
	for i, uri := range []string{"/api/v1/services/ids", "/api/v1/services/556"} {
		sent := s.Sent()[i]
		require.Equal(t, http.MethodGet, sent.Method)
		require.Equal(t, uri, sent.RequestURI)
		require.Equal(t, []string{"MediaTemple " + apiKey}, sent.Header["Authorization"])
		require.Equal(t, "application/json", sent.Header.Get("Accept"))
		require.NotContains(t, sent.Header, "Content-Type")
		require.Empty(t, sent.Body)
	}
}

func TestPasswordsAreNotHTMLEscaped(t *testing.T) {
	body, err := transport.JSON(passwordRequest{Password: `<a&b>"\`})
	require.NoError(t, err)
	require.Equal(t, `{"password":"<a&b>\"\\"}`, string(body))
}

func TestAcceptedChangeIsStaged(t *testing.T) {
	for name, body := range map[string]string{
		"documented":       accepted,
		"bare":             `{"response":{"statusCode":202,"errors":[]}}`,
		"no list":          `{"response":{"statusCode":202}}`,
		"null":             `{"response":{"statusCode":202,"errors":null,"custom":null}}`,
		"status as text":   `{"response":{"statusCode":"202","errors":[]}}`,
		"more fields":      `{"response":{"errors":[ ],"new":{"errors":[1]},"statusCode":202},"new":[]}`,
		"with white space": " \n" + accepted + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, providertest.Says("Application/JSON; charset=UTF-8", 202, body))
			result := open(t, s.connection()).Change(t.Context(), s.change(t, accountRoot))
			require.Equal(t, want{provider.Staged, ofTarget, ""}, got(result))
			require.Equal(t, provider.StageAccepted, result.Stage)
			require.False(t, result.Exclusive)
			require.Contains(t, result.Reason, "settle_after")
			providertest.RequireSecretFree(t, result)
		})
	}
}

func TestChangeRefusalOutcomes(t *testing.T) {
	unknown := func(code string) want { return want{provider.Unknown, ofTarget, code} }
	for _, test := range []struct {
		status int
		code   string
		want   want
		reason string
	}{
		{400, "InvalidPassword", want{provider.Rejected, ofPassword, "InvalidPassword"}, "refused the password"},
		{400, "InvalidInput", want{provider.Rejected, ofTarget, "InvalidInput"}, "service_id"},
		{400, newPassword, want{provider.Rejected, ofTarget, "HTTP 400"}, "service_id"},
		{401, "NotPermitted", want{provider.Denied, ofTarget, "NotPermitted"}, "accepted the API key"},
		{401, "AuthError", want{provider.Denied, ofTarget, "AuthError"}, "accepted the API key"},
		{403, "AuthError", want{provider.Denied, ofConnection, "AuthError"}, "account of another key; check api_key, and service_id"},
		{403, "", want{provider.Denied, ofConnection, "HTTP 403"}, "account of another key; check api_key, and service_id"},
		{404, "InvalidService", want{provider.Rejected, ofTarget, "InvalidService"}, "no service with this number"},
		{404, "NotFound", unknown("NotFound"), "leaves open"},
		{405, "PleskNotAvailable", want{provider.Rejected, ofTarget, "PleskNotAvailable"}, "no Plesk"},
		{405, "MethodNotAllowed", unknown("MethodNotAllowed"), "leaves open"},
		{409, "OperationPending", want{provider.Busy, ofTarget, "OperationPending"}, "same password"},
		{409, "Conflict", unknown("Conflict"), "leaves open"},
		{500, "UnknownError", unknown("UnknownError"), "leaves open"},
		{500, "InvalidPassword", unknown("InvalidPassword"), "leaves open"},
		{500, "OperationPending", unknown("OperationPending"), "leaves open"},
		{501, "UnknownError", unknown("UnknownError"), "leaves open"},
		{502, "UnknownError", unknown("UnknownError"), "leaves open"},
		{503, "ServiceUnavailable", unknown("ServiceUnavailable"), "leaves open"},
		{504, "UnknownError", unknown("UnknownError"), "leaves open"},
		{202, "UnknownError", unknown("UnknownError"), "also reported an error"},
		{202, "OperationPending", unknown("OperationPending"), "also reported an error"},
		{200, "InvalidPassword", unknown("InvalidPassword"), "another success status"},
		{302, "InvalidPassword", unknown("InvalidPassword"), "leaves open"},
		{402, "InvalidPassword", unknown("InvalidPassword"), "leaves open"},
		{407, "AuthError", unknown("AuthError"), "leaves open"},
		{418, "UnknownError", unknown("UnknownError"), "leaves open"},
	} {
		for _, account := range []string{accountRoot, accountPlesk} {
			t.Run(fmt.Sprint(test.status, test.code, account), func(t *testing.T) {
				s := newServer(t, says(test.status, refuses(test.status, test.code)))
				result := open(t, s.connection()).Change(t.Context(), s.change(t, account))
				require.Equal(t, test.want, got(result))
				require.Contains(t, result.Reason, test.reason)
				require.Zero(t, result.RetryAfter)
				require.Empty(t, result.Stage)
				providertest.RequireSecretFree(t, result)
				require.Len(t, s.Sent(), 1, "nothing must be sent twice")
			})
		}
	}
}

func TestUndocumentedSuccessIsUnknown(t *testing.T) {
	for _, status := range []int{200, 201, 203, 206, 207, 299} {
		body := strings.Replace(accepted, "202", fmt.Sprint(status), 1)
		s := newServer(t, says(status, body))
		result := open(t, s.connection()).Change(t.Context(), s.change(t, accountRoot))
		require.Equal(t, want{provider.Unknown, ofTarget, fmt.Sprint("HTTP ", status)}, got(result))
		require.Contains(t, result.Reason, "another success status")
	}
}

// Whatever its status, a response that is not the API's own proves nothing.
func TestForeignResponsesProveNothing(t *testing.T) {
	bodies := map[string]func(status int) string{
		"empty":              func(int) string { return "" },
		"page":               func(int) string { return "<html><body>" + newPassword + "</body></html>" },
		"plain text":         func(int) string { return "OK" },
		"null":               func(int) string { return "null" },
		"list":               func(s int) string { return "[" + refuses(s, "InvalidPassword") + "]" },
		"text":               func(int) string { return `"response"` },
		"empty object":       func(int) string { return "{}" },
		"no status":          func(int) string { return `{"response":{"errors":[]}}` },
		"status null":        func(int) string { return `{"response":{"statusCode":null,"errors":[]}}` },
		"other status":       func(s int) string { return refuses(s+1, "InvalidPassword") },
		"status a fraction":  func(s int) string { return fmt.Sprintf(`{"response":{"statusCode":%d.0,"errors":[]}}`, s) },
		"status signed":      func(s int) string { return fmt.Sprintf(`{"response":{"statusCode":"+%d","errors":[]}}`, s) },
		"status a list":      func(s int) string { return fmt.Sprintf(`{"response":{"statusCode":[%d],"errors":[]}}`, s) },
		"status, other case": func(s int) string { return fmt.Sprintf(`{"response":{"StatusCode":%d,"errors":[]}}`, s) },
		"status twice":       func(s int) string { return fmt.Sprintf(`{"response":{"statusCode":%d,"statusCode":%d}}`, s, s) },
		"unwrapped":          func(s int) string { return fmt.Sprintf(`{"statusCode":%d,"errors":[]}`, s) },
		"too deep":           func(s int) string { return `{"x":` + refuses(s, "InvalidPassword") + `}` },
		"response a list":    func(s int) string { return fmt.Sprintf(`{"response":[{"statusCode":%d,"errors":[]}]}`, s) },
		"response as text":   func(s int) string { return fmt.Sprintf(`{"response":"{\"statusCode\":%d,\"errors\":[]}"}`, s) },
		"two responses": func(s int) string {
			return fmt.Sprintf(`{"response":{"statusCode":400,"errors":[]},"response":{"statusCode":%d,"errors":[]}}`, s)
		},
		"errors twice": func(s int) string {
			return fmt.Sprintf(`{"response":{"statusCode":%d,"errors":[{"errorCode":"InvalidPassword"}],"errors":[]}}`, s)
		},
		"errors an object": func(s int) string { return fmt.Sprintf(`{"response":{"statusCode":%d,"errors":{}}}`, s) },
		"errors false":     func(s int) string { return fmt.Sprintf(`{"response":{"statusCode":%d,"errors":false}}`, s) },
		"errors as text":   func(s int) string { return fmt.Sprintf(`{"response":{"statusCode":%d,"errors":""}}`, s) },
		"errors of words":  func(s int) string { return fmt.Sprintf(`{"response":{"statusCode":%d,"errors":["x"]}}`, s) },
		"errors of null":   func(s int) string { return fmt.Sprintf(`{"response":{"statusCode":%d,"errors":[null]}}`, s) },
		"truncated":        func(s int) string { b := refuses(s, "InvalidPassword"); return b[:len(b)-1] },
		"trailing":         func(s int) string { return refuses(s, "InvalidPassword") + "x" },
		"two envelopes":    func(s int) string { return refuses(s, "InvalidPassword") + refuses(s, "InvalidPassword") },
		"garbage before":   func(s int) string { return "Warning: " + refuses(s, "InvalidPassword") },
		"nested garbage":   func(int) string { return strings.Repeat(`{"response":`, 200_000/12) },
		"lists in lists":   func(int) string { return `{"response":` + strings.Repeat("[", 500_000) },
		"longer than a MiB": func(s int) string {
			return fmt.Sprintf(`{"response":{"statusCode":%d,"errors":[],"custom":[%q]}}`, s, strings.Repeat("x", 1<<20))
		},
		"XML": func(s int) string {
			return fmt.Sprintf(`<?xml version="1.0"?><response><statusCode>%d</statusCode><errors/></response>`, s)
		},
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			for _, status := range []int{200, 201, 202, 204, 302, 400, 401, 403, 404, 405, 407, 409, 500, 502, 503} {
				s := newServer(t, says(status, body(status)))
				result := open(t, s.connection()).Change(t.Context(), s.change(t, accountPlesk))
				require.Equal(t, provider.Unknown, result.Outcome, status)
				require.Equal(t, ofTarget, result.Scope)
				require.NotEmpty(t, result.Reason)
				require.Zero(t, result.RetryAfter)
				if result.Code != "" { // a response that exceeds the limit has none
					require.Equal(t, fmt.Sprint("HTTP ", status), result.Code)
					require.Contains(t, result.Reason, "proxy")
					require.Contains(t, result.Reason, "url")
				}
				providertest.RequireSecretFree(t, result)
				require.Len(t, s.Sent(), 1)
			}
		})
	}
}

func TestOnlyJSONIsAccepted(t *testing.T) {
	for _, kind := range []string{"", "text/html", "text/plain; charset=utf-8", "application/xml", "application/jsonx", "application/json; charset", "json", "text/html, application/json"} {
		for status, body := range map[int]string{202: accepted, 400: refuses(400, "InvalidPassword"), 409: refuses(409, "OperationPending")} {
			s := newServer(t, providertest.Says(kind, status, body))
			result := open(t, s.connection()).Change(t.Context(), s.change(t, accountRoot))
			require.Equal(t, want{provider.Unknown, ofTarget, fmt.Sprint("HTTP ", status)}, got(result), kind)
		}
		s := newServer(t, providertest.Says(kind, 200, `{"serviceIds":[556]}`))
		require.Equal(t, provider.Unknown, open(t, s.connection()).Check(t.Context()).Outcome, kind)
		s = newServer(t, providertest.Says(kind, 200, service))
		require.Equal(t, provider.Unknown, open(t, s.connection()).CheckTarget(t.Context(), s.change(t, accountRoot).Target).Outcome, kind)
	}
}

func TestMultipleErrorsMustAgree(t *testing.T) {
	for list, w := range map[string]want{
		`[{"errorCode":"InvalidPassword"},{"errorCode":"InvalidPassword"}]`:                                {provider.Rejected, ofPassword, "InvalidPassword"},
		`[{"errorCode":"InvalidPassword"},{"errorCode":"InvalidService"}]`:                                 {provider.Rejected, ofTarget, "HTTP 400"},
		`[{"errorCode":"InvalidPassword"},{"errorCode":"InvalidService"},{"errorCode":"InvalidService"}]`:  {provider.Rejected, ofTarget, "HTTP 400"},
		`[{"errorCode":"InvalidPassword"},{"errorCode":"InvalidService"},{"errorCode":"InvalidPassword"}]`: {provider.Rejected, ofTarget, "HTTP 400"},
		`[{"errorCode":"InvalidPassword"},{}]`:                                                             {provider.Rejected, ofTarget, "HTTP 400"},
		`[{"message":"InvalidPassword"}]`:                                                                  {provider.Rejected, ofTarget, "HTTP 400"},
		`[{"errorCode":400}]`:                                                                              {provider.Rejected, ofTarget, "HTTP 400"},
		`[]`:                                                                                               {provider.Rejected, ofTarget, "HTTP 400"},
	} {
		s := newServer(t, says(400, `{"response":{"statusCode":400,"errors":`+list+`}}`))
		require.Equal(t, w, got(open(t, s.connection()).Change(t.Context(), s.change(t, accountRoot))), list)
	}
}

func TestChangesReportRetryAfter(t *testing.T) {
	hint := func(status int, body, after string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", after)
			says(status, body)(w, r)
		}
	}
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   want
		after  time.Duration
	}{
		"throttled, no body": {hint(429, "", "120"), want{provider.Busy, ofConnection, "HTTP 429"}, 2 * time.Minute},
		"throttled, success": {hint(429, accepted, ""), want{provider.Busy, ofConnection, "HTTP 429"}, 0},
		"throttled, own":     {hint(429, refuses(429, "UnknownError"), "5"), want{provider.Busy, ofConnection, "HTTP 429"}, 5 * time.Second},
		"pending":            {hint(409, refuses(409, "OperationPending"), "90"), want{provider.Busy, ofTarget, "OperationPending"}, 90 * time.Second},
		"pending forever":    {hint(409, refuses(409, "OperationPending"), "999999999999999999999"), want{provider.Busy, ofTarget, "OperationPending"}, time.Hour},
		"pending, nonsense":  {hint(409, refuses(409, "OperationPending"), "-1"), want{provider.Busy, ofTarget, "OperationPending"}, 0},
		"pending, foreign":   {hint(409, "", "90"), want{provider.Unknown, ofTarget, "HTTP 409"}, 0},
		"unavailable":        {hint(503, refuses(503, "UnknownError"), "90"), want{provider.Unknown, ofTarget, "UnknownError"}, 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, test.handle)
			result := open(t, s.connection()).Change(t.Context(), s.change(t, accountRoot))
			require.Equal(t, test.want, got(result))
			require.Equal(t, test.after, result.RetryAfter)
		})
	}
}

func TestUnsentRequestIsUnreachable(t *testing.T) {
	s := newServer(t, says(202, accepted))
	connection, change := s.connection(), s.change(t, accountRoot)
	requireUnreachable := func(result provider.Result, why string) {
		t.Helper()
		require.Equal(t, provider.Unreachable, result.Outcome, why)
		providertest.RequireSecretFree(t, result)
	}
	connection.TLS.CACert = ""
	requireUnreachable(open(t, connection).Change(t.Context(), change), "certificate not trusted")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	connection.URL = "https://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	requireUnreachable(open(t, connection).Change(t.Context(), change), "connection refused")
	requireUnreachable(open(t, connection).Check(t.Context()), "connection refused")
	requireUnreachable(open(t, connection).CheckTarget(t.Context(), change.Target), "connection refused")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	requireUnreachable(open(t, s.connection()).Change(ended, change), "context ended")
	require.Empty(t, s.Sent())
}

func TestLostResponseIsUnknown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	for name, handle := range map[string]http.HandlerFunc{
		"hang-up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cut in the body": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, accepted)
		},
		"no response in time": func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, handle)
			use := t.Context()
			if name == "no response in time" {
				use = ctx
			}
			result := open(t, s.connection()).Change(use, s.change(t, accountRoot))
			require.Equal(t, want{provider.Unknown, ofTarget, ""}, got(result))
			providertest.RequireSecretFree(t, result)
			require.Len(t, s.Sent(), 1)
		})
	}
}

func TestRedirectGetsNoSecrets(t *testing.T) {
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, status) })
		client := open(t, s.connection())
		change := s.change(t, accountRoot)
		require.Equal(t, provider.Unknown, client.Change(t.Context(), change).Outcome)
		require.Equal(t, provider.Unknown, client.Check(t.Context()).Outcome)
		require.Equal(t, provider.Unknown, client.CheckTarget(t.Context(), change.Target).Outcome)
	}
	require.Zero(t, stolen.Load())
}

func TestForbiddenPasswordIsNotSent(t *testing.T) {
	s := newServer(t, says(202, accepted))
	client := open(t, s.connection())
	for _, password := range []string{"", "Abcde1!", "abcdefgh1", "with space 1A!", "quote\"A1!aaa", "shell$A1!aaa", "ünicode-A1!", "new\nline-A1", "bad\xff-A1!aaa", "My-ROOT-1", strings.Repeat("Aa1", 22)} {
		change := s.change(t, accountRoot)
		change.NewPassword = password
		result := client.Change(t.Context(), change)
		require.Equal(t, want{provider.Rejected, ofPassword, ""}, got(result))
		require.Contains(t, result.Reason, "nothing was sent")
	}
	for _, settings := range []provider.Settings{
		nil, {"service_id": "556"}, {"account": "root"}, {"service_id": "556/../557", "account": "root"}, {"service_id": "556", "account": "../reboot?"},
	} {
		change := s.change(t, accountRoot)
		change.Target.Settings = settings
		for _, result := range []provider.Result{client.Change(t.Context(), change), client.CheckTarget(t.Context(), change.Target)} {
			require.Equal(t, want{provider.Rejected, ofTarget, ""}, got(result))
			require.Contains(t, result.Reason, "nothing was sent")
		}
	}
	require.Empty(t, s.Sent())
}
