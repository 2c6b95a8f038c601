package mediatemple

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// No response causes a panic, and a response proves something only if its body says so.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		accepted, service, `{"serviceIds":[556,7]}`, `[556]`, `{"id":"556"}`,
		refuses(202, "UnknownError"), refuses(400, "InvalidPassword"), refuses(401, "NotPermitted"), refuses(403, "AuthError"),
		refuses(404, "InvalidService"), refuses(405, "PleskNotAvailable"), refuses(409, "OperationPending"), refuses(500, "UnknownError"),
		`{"response":{"statusCode":"202","errors":null}}`, `{"response":{"statusCode":202,"errors":{},"errors":[]}}`,
		`[]`, `[556,"7"]`, `{"serviceIds":[]}`, `{"serviceIds":["556",-1]}`, `{"serviceIds":null}`, `{"service":null}`, `{"service":{"id":7}}`,
		`{"response":{"statusCode":200,"errors":[],"custom":[]},"serviceIds":[556]}`, strings.Repeat(`[`, 300), strings.Repeat(`{"service":`, 300),
		`{}`, `null`, ``, `"202"`, `202`, `<html>`, `{"response":{"statusCode":202}}{"response":{"statusCode":400}}`,
	} {
		for _, status := range []int{200, 202, 302, 400, 401, 403, 404, 405, 409, 429, 500, 503} {
			f.Add(status, mediaType, "60", []byte(seed))
		}
	}
	f.Add(202, "text/html", "", []byte(accepted))
	f.Add(409, "application/json;charset=UTF-8", "Thu, 16 Sep 2010 03:52:54 GMT", []byte(refuses(409, "OperationPending")))

	f.Fuzz(func(t *testing.T, status int, kind, after string, body []byte) {
		response := &transport.Response{Status: status, Header: http.Header{"Content-Type": {kind}, "Retry-After": {after}}, Body: body}
		// Decoded independently; of two fields with the same name, the last one counts.
		said, _ := providertest.Decoded(body)["response"].(map[string]any)
		claims := fmt.Sprint(said["statusCode"]) == strconv.Itoa(status) && strings.Contains(strings.ToLower(kind), "json")

		var change, list, read provider.Result
		providertest.Bounded(t, len(body), func() {
			change, list = changeOutcome(response), listOutcome(response)
			read = serviceOutcome(response, account{serviceID: "556", name: accountPlesk})
		})
		switch change.Outcome {
		case provider.Staged:
			reported, isList := said["errors"].([]any)
			if status != 202 || !claims || change.Stage != provider.StageAccepted || len(reported) != 0 || said["errors"] != nil && !isList {
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

		if list.Outcome == provider.Applied && (status != 200 || !listsServices(body)) {
			t.Fatalf("taken for a list: %d %q", status, body)
		}
		if read.Outcome == provider.Applied && (status != 200 || serviceOf(body) != "556") {
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

// listsServices reports whether a body is a list of numbers, bare or in the field "serviceIds".
func listsServices(body []byte) bool {
	var bare any
	if json.Unmarshal(body, &bare) != nil {
		return false
	}
	if object, ok := bare.(map[string]any); ok {
		bare = object["serviceIds"]
	}
	list, ok := bare.([]any)
	for _, id := range list {
		switch v := id.(type) {
		case float64:
			ok = ok && v >= 0
		case string:
			ok = ok && v != "" && strings.Trim(v, "0123456789") == ""
		default:
			ok = false
		}
	}
	return ok
}

// serviceOf returns the ID of the service that a body describes, bare or in the field "service".
func serviceOf(body []byte) string {
	object := providertest.Decoded(body)
	if inner, wrapped := object["service"].(map[string]any); wrapped {
		object = inner
	}
	return fmt.Sprint(object["id"])
}
