package transport

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestRetryAfterIsBounded(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"30":                            30 * time.Second,
		" 30 ":                          30 * time.Second,
		"0":                             0,
		"-5":                            0,
		"1.5":                           0,
		"soon":                          0,
		"3600":                          time.Hour,
		"86400":                         time.Hour,
		"99999999999999999999":          time.Hour,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute,
		"Fri, 02 Jan 2026 03:00:00 GMT": 0,
		"Sat, 03 Jan 2026 03:00:00 GMT": time.Hour,
	} {
		require.Equal(t, want, RetryAfter(http.Header{"Retry-After": {value}}, now), value)
	}
	result := Throttled(&Response{Status: 429, Header: http.Header{"Retry-After": {"7"}}}, now)
	require.Equal(t, provider.Busy, result.Outcome)
	require.Equal(t, provider.ScopeConnection, result.Scope)
	require.Equal(t, "HTTP 429", result.Code)
	require.Equal(t, 7*time.Second, result.RetryAfter)
}

func TestSecretsAreNotPrinted(t *testing.T) {
	type holder struct{ hidden Secret }
	secret := NewSecret(canary)
	require.Equal(t, canary, secret.Reveal())
	require.Empty(t, Secret{}.Reveal())
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		require.NotContains(t, fmt.Sprintf(format, secret), canary)
		require.NotContains(t, fmt.Sprintf(format, &secret), canary)
		require.NotContains(t, fmt.Sprintf(format, holder{secret}), canary)
		require.NotContains(t, fmt.Sprintf(format, &holder{secret}), canary)
	}
}
