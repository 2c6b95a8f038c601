package transport

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// maxRetryAfter bounds what a remote system's hint can hold up: a mistake there must not stop rotation for days.
const maxRetryAfter = time.Hour

// StatusCode is the code of an answer that has no code of the remote system's own: "HTTP 502".
func StatusCode(status int) string { return fmt.Sprintf("HTTP %d", status) }

// RetryAfter reads the header Retry-After, as seconds or as a date (https://www.rfc-editor.org/rfc/rfc9110#name-retry-after).
// It is 0 where there is none that makes sense, and at most an hour.
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

// Throttled is the result of an answer 429, which every remote system gives before it does anything.
func Throttled(response *Response, now time.Time) provider.Result {
	return provider.Result{
		Outcome:    provider.Busy,
		Scope:      provider.ScopeConnection,
		Code:       StatusCode(response.Status),
		Reason:     "the remote system takes no more requests for now; it will be asked again later",
		RetryAfter: RetryAfter(response.Header, now),
	}
}
