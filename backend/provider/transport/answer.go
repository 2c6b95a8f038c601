package transport

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// maxRetryAfter limits the delay that a remote system can request: a mistake there must not stop rotation for days.
const maxRetryAfter = time.Hour

// StatusCode returns the code for a response without an error code of the remote system: "HTTP 502".
func StatusCode(status int) string { return fmt.Sprintf("HTTP %d", status) }

// RetryAfter parses the Retry-After header, in seconds or as a date
// (https://www.rfc-editor.org/rfc/rfc9110#name-retry-after). It returns 0 if the header is absent or invalid, and at
// most an hour.
func RetryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if digits := strings.Trim(value, "0123456789"); digits == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}

// Throttled returns the result for a 429 response, which every remote system sends before it does anything.
func Throttled(response *Response, now time.Time) provider.Result {
	result := provider.Result{
		Outcome:    provider.Busy,
		Scope:      provider.ScopeConnection,
		Code:       StatusCode(response.Status),
		Reason:     "the remote system throttled requests",
		RetryAfter: RetryAfter(response.Header, now),
	}
	if result.RetryAfter > 0 {
		result.Reason += " and asked to wait"
	}
	return result
}
