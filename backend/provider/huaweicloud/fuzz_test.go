package huaweicloud

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Responses in all known forms of the services, the gateway and IAM, and broken variants.
var responseSeeds = []string{
	`{"error_code":"DCS.4961","error_msg":"Acl account request param invalid.","error_ext_msg":null}`,
	`{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: verify aksk signature fail","request_id":"3c5f0c1e9a2b4d6f8e0a1b2c3d4e5f60"}`,
	`{"error_code":"APIG.0308","error_msg":"The throttling threshold has been reached: policy user over ratelimit,limit:XX,time:1 second","request_id":"x"}`,
	`{"error_code":"APIGW.0307","error_msg":"The token must be updated."}`, `{"error_code":"APIGW.0201","error_msg":"Bad request."}`,
	`{"error_code":"IAM.0061","error_msg":"locked"}`, `{"error_code":"IAM.0062","error_msg":"wrong"}`, `{"error_code":"IAM.0011","error_msg":"body"}`,
	`{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}`, `{"error":{"message":"akSkNumExceed","code":400,"title":"Bad Request"}}`,
	`{"error":{"code":"Ecs.0005","message":"Invalid parameter"}}`, `{"error":{"code":"111404022","message":"No such instance"}}`,
	`{"badRequest":{"code":400,"message":"m"}}`, `{"itemNotFound":{"code":404,"message":"m"}}`, `{"computeFault":{"code":500,"message":"m"}}`, `{"unauthorized":{}}`,
	`{"token":{"expires_at":"2026-01-02T03:04:05.000000Z","issued_at":"2026-01-01T03:04:05.000000Z","project":{"id":"p1","name":"ap-southeast-3"}}}`,
	`{"token":{"expires_at":"9999-12-31T23:59:59Z","issued_at":"0001-01-01T00:00:00Z"}}`, `{"token":{"expires_at":"2020-01-01T00:00:00Z"}}`, `{"token":{"expires_at":7}}`,
	`{"error_code":null}`, `{"error_code":{"error_code":"DCS.1"}}`, `{"error":"x"}`, `{"error":[]}`, `{"error_code":1e400}`,
	`{}`, `[]`, `null`, ``, `"success"`, `<html><body>502 Bad Gateway</body></html>`, `{"error_code":"` + strings.Repeat("A", 300) + `.1"}`, strings.Repeat(`{"error":`, 300),
}

// No response causes a panic, none counts as a success without knowledge of the service, and only a 201 of IAM with a
// token in its header is a token.
func FuzzResponse(f *testing.F) {
	for _, seed := range responseSeeds {
		for _, status := range []int{200, 201, 302, 400, 401, 403, 404, 408, 429, 500, 503} {
			f.Add(status, "3c5f0c1e-9a2b-4d6f-8e0a-1b2c3d4e5f60", "30", "Fri, 02 Jan 2026 03:04:05 GMT", "MIIEsampletoken", []byte(seed))
		}
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	byKey := &API{now: clock, signer: &Signer{}, refused: &pause{}}
	byUser := &API{now: clock, tokens: &tokens{now: clock}, refused: &pause{}}
	f.Fuzz(func(t *testing.T, status int, id, after, date, value string, body []byte) {
		response := &transport.Response{Status: status, Body: body, Header: http.Header{
			"X-Request-Id": {id}, "Retry-After": {after}, "Date": {date}, "X-Subject-Token": {value},
		}}
		object := providertest.Decoded(body)
		var results []provider.Result
		var envelope Envelope
		var got token
		var err error
		providertest.Bounded(t, len(body), func() {
			envelope = ParseEnvelope(response)
			results = []provider.Result{byKey.Refusal(response), byUser.Refusal(response)}
			got, err = byUser.tokens.read(response, now)
		})
		if envelope.Refusal && !providertest.SaysError(object) {
			t.Fatalf("taken for an error: %v of %q", envelope, body)
		}
		if providertest.SaysError(object) && !envelope.Error {
			t.Fatalf("missed an error: %q", body)
		}
		for _, out := range results {
			switch out.Outcome {
			case provider.Denied:
				if !envelope.Refusal || status != http.StatusUnauthorized && status != http.StatusForbidden {
					t.Fatalf("taken for denied: %d %q", status, body)
				}
			case provider.Rejected:
				if !envelope.Refusal || status != http.StatusBadRequest && status != http.StatusNotFound {
					t.Fatalf("taken for a refusal: %d %q", status, body)
				}
			case provider.Busy:
				if status != http.StatusTooManyRequests {
					t.Fatalf("taken for busy: %d %q", status, body)
				}
			case provider.Unknown:
			default:
				t.Fatalf("taken for %s: %d %q", out.Outcome, status, body)
			}
			requireBounds(t, out)
		}

		var auth *transport.Error
		switch {
		case err == nil:
			if status != http.StatusCreated || value == "" || got.value.Reveal() != value {
				t.Fatalf("taken for a token: %d %q", status, value)
			}
			if got.expires.Before(now) || got.renew.Before(now) || got.renew.After(got.expires) {
				t.Fatalf("a token is used until %v and renewed at %v: %q", got.expires, got.renew, body)
			}
		case !errors.As(err, &auth):
			t.Fatalf("unexpected error type: %v", err)
		default:
			if got.value.Reveal() != "" || auth.Result.Outcome != provider.Denied && auth.Result.Outcome != provider.Busy && auth.Result.Outcome != provider.Unreachable {
				t.Fatalf("no token, with outcome %s", auth.Result.Outcome)
			}
			requireBounds(t, auth.Result)
		}
	})
}

func requireBounds(t *testing.T, out provider.Result) {
	t.Helper()
	if out.Reason == "" || out.RetryAfter < 0 || out.RetryAfter > time.Hour || len(out.RequestID) > 64 || len(out.Code) > 40 ||
		out.Code != "" && !serviceCodes.MatchString(out.Code) && !strings.HasPrefix(out.Code, "HTTP ") {
		t.Fatalf("out of bounds: %v", out)
	}
}
