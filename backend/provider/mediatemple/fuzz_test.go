package mediatemple

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Whatever an answer is, it is read without a panic, and proves something only if its body says so.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		accepted, service, `{"serviceIds":[556,7]}`, `[556]`, `{"id":"556"}`,
		refuses(202, "UnknownError"), refuses(400, "InvalidPassword"), refuses(401, "NotPermitted"), refuses(403, "AuthError"),
		refuses(404, "InvalidService"), refuses(405, "PleskNotAvailable"), refuses(409, "OperationPending"), refuses(500, "UnknownError"),
		`{"response":{"statusCode":"202","errors":null}}`, `{"response":{"statusCode":202,"errors":{},"errors":[]}}`,
		`{}`, `[]`, `null`, ``, `"202"`, `202`, `<html>`, `{"response":{"statusCode":202}}{"response":{"statusCode":400}}`,
	} {
		for _, status := range []int{200, 202, 302, 400, 401, 403, 404, 405, 409, 429, 500, 503} {
			f.Add(status, mediaType, "60", []byte(seed))
		}
	}
	f.Add(202, "text/html", "", []byte(accepted))
	f.Add(409, "application/json;charset=UTF-8", "Thu, 16 Sep 2010 03:52:54 GMT", []byte(refuses(409, "OperationPending")))

	f.Fuzz(func(t *testing.T, status int, kind, after string, body []byte) {
		response := &transport.Response{Status: status, Header: http.Header{"Content-Type": {kind}, "Retry-After": {after}}, Body: body}
		// Read in another way, which takes the last of two fields with one name.
		var said struct {
			Response map[string]any `json:"response"`
		}
		claims := json.Unmarshal(body, &said) == nil && said.Response["statusCode"] != nil && strings.Contains(strings.ToLower(kind), "json")

		change := changeOutcome(response)
		switch change.Outcome {
		case provider.Staged:
			reported, isList := said.Response["errors"].([]any)
			if status != 202 || !claims || change.Stage != provider.StageAccepted || len(reported) != 0 || said.Response["errors"] != nil && !isList {
				t.Fatalf("taken for accepted: %d %q %q", status, kind, body)
			}
		case provider.Rejected, provider.Denied, provider.Busy:
			if !claims && status != 429 || status < 400 || status > 499 {
				t.Fatalf("taken for a refusal: %d %q %q", status, kind, body)
			}
		case provider.Unknown:
		default:
			t.Fatalf("a change is %s: %d %q %q", change.Outcome, status, kind, body)
		}

		list := listOutcome(response)
		if list.Outcome == provider.Applied && (status != 200 || !json.Valid(body)) {
			t.Fatalf("taken for a list: %d %q", status, body)
		}
		read := serviceOutcome(response, account{serviceID: "556", name: accountPlesk})
		if read.Outcome == provider.Applied && (status != 200 || !json.Valid(body) || !strings.Contains(string(body), "556") && !strings.Contains(string(body), `\u`)) {
			t.Fatalf("taken for the service: %d %q", status, body)
		}
		for _, out := range []provider.Result{change, list, read} {
			if out.Reason == "" || out.RetryAfter < 0 || out.RetryAfter > time.Hour || len(out.Code) > 40 ||
				out.Code != "" && !errorCodes.MatchString(out.Code) && !strings.HasPrefix(out.Code, "HTTP ") {
				t.Fatalf("out of bounds: %+v from %q", out, body)
			}
		}
	})
}
