package dcs

import (
	"net/http"
	"strings"
	"testing"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Whatever an answer is, it is read without a panic, and counts as a success only if it says so.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"lock_time":"0","result":"success","lock_time_left":"0","retry_times_left":"5","message":"Modify DCSInstance password success."}`,
		`{"lock_time":null,"result":"passwordFailed","retry_times_left":4}`,
		`{"result":"locked","lock_time_left":"5","retry_times_left":"0"}`, `{"result":"failed"}`, `{"result":["success"]}`,
		`{"error_code":"DCS.4961","error_msg":"Acl account request param invalid."}`,
		`{"error":{"code":401,"message":"m","title":"Unauthorized"}}`, `{"code":"200","message":"ok"}`,
		`{}`, `[]`, `null`, ``, `"success"`, `<html>`, `{"result":"success"}{"result":"failed"}`,
	} {
		for _, status := range []int{200, 302, 400, 401, 403, 404, 429, 500, 503} {
			f.Add(status, []byte(seed))
		}
	}
	unknown := provider.Result{Outcome: provider.Unknown, Scope: provider.ScopeTarget}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		response := &transport.Response{Status: status, Header: http.Header{}, Body: body}
		if out := modifyOutcome(response, unknown); out.Outcome == provider.Applied {
			if text := strings.ToLower(string(body)); !strings.Contains(text, "result") && !strings.Contains(text, `\u`) {
				t.Fatalf("modify: taken for a success: %q", body)
			}
		}
		if out := resetOutcome(response, unknown); out.Outcome == provider.Applied && strings.Contains(string(body), `"error_code":"`) &&
			!strings.Contains(string(body), `"error_code":""`) && strings.Count(string(body), "error_code") == 1 {
			t.Fatalf("reset: an error is taken for a success: %q", body)
		}
		if out := changeRefusal(unknown, response); out.Outcome == provider.Applied {
			t.Fatalf("a refusal is taken for a success: %d %q", status, body)
		}
		for _, out := range []provider.Result{modifyOutcome(response, unknown), resetOutcome(response, unknown)} {
			if out.RetryAfter < 0 || out.RetryAfter > maxLock || out.TriesLeft != nil && *out.TriesLeft < 0 {
				t.Fatalf("out of bounds: %v from %q", out, body)
			}
		}
	})
}
