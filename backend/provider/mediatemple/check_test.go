package mediatemple

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestCheckRequiresServiceList(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		body    string
		outcome provider.Outcome
		code    string
		reason  string
	}{
		"wrapped":            {200, `{"serviceIds":[556,7]}`, provider.Applied, "", "accepted the API key"},
		"bare":               {200, `[556,7]`, provider.Applied, "", "accepted the API key"},
		"ids as text":        {200, `["556"]`, provider.Applied, "", "accepted the API key"},
		"no services":        {200, `{"serviceIds":[]}`, provider.Applied, "", "accepted the API key"},
		"no services, bare":  {200, `[]`, provider.Applied, "", "accepted the API key"},
		"null":               {200, `{"serviceIds":null}`, provider.Unknown, "HTTP 200", "proxy"},
		"bare null":          {200, `null`, provider.Unknown, "HTTP 200", "proxy"},
		"of objects":         {200, `{"serviceIds":[{}]}`, provider.Unknown, "HTTP 200", "proxy"},
		"of words":           {200, `["a"]`, provider.Unknown, "HTTP 200", "proxy"},
		"of nulls":           {200, `[null]`, provider.Unknown, "HTTP 200", "proxy"},
		"something else":     {200, service, provider.Unknown, "HTTP 200", "proxy"},
		"and an envelope":    {200, `{"serviceIds":[556],"response":{"statusCode":403}}`, provider.Unknown, "HTTP 200", "proxy"},
		"twice":              {200, `{"serviceIds":[556],"serviceIds":[]}`, provider.Unknown, "HTTP 200", "proxy"},
		"truncated":          {200, `{"serviceIds":[556]`, provider.Unknown, "HTTP 200", "proxy"},
		"trailing":           {200, `[556] x`, provider.Unknown, "HTTP 200", "proxy"},
		"nothing":            {200, ``, provider.Unknown, "HTTP 200", "proxy"},
		"page":               {200, `<html>` + apiKey + `</html>`, provider.Unknown, "HTTP 200", "proxy"},
		"with another 2xx":   {203, `{"serviceIds":[556]}`, provider.Unknown, "HTTP 203", "proxy"},
		"accepted":           {202, accepted, provider.Unknown, "HTTP 202", "leaves open"},
		"bad key":            {403, refuses(403, "AuthError"), provider.Denied, "AuthError", "refused the API key; check api_key"},
		"no rights":          {401, refuses(401, "NotPermitted"), provider.Denied, "NotPermitted", "list services"},
		"forbidden by proxy": {403, `<html>`, provider.Unknown, "HTTP 403", "proxy"},
		"wrong address":      {404, `not found`, provider.Unknown, "HTTP 404", "url"},
		"throttled":          {429, ``, provider.Busy, "HTTP 429", "throttled"},
		"closed":             {503, refuses(503, "UnknownError"), provider.Busy, "UnknownError", "unavailable"},
		"closed by proxy":    {503, ``, provider.Unknown, "HTTP 503", "proxy"},
		"broken":             {500, refuses(500, "UnknownError"), provider.Unknown, "UnknownError", "leaves open"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, says(test.status, test.body))
			result := open(t, s.connection()).Check(t.Context())
			require.Equal(t, want{test.outcome, ofConnection, test.code}, got(result))
			require.Contains(t, result.Reason, test.reason)
			providertest.RequireSecretFree(t, result)
		})
	}
}

func TestCheckTargetRequiresSameService(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   want
		reason string
	}{
		"the service":     {200, service, want{provider.Applied, ofTarget, ""}, "the service exists"},
		"bare":            {200, `{"id":556,"serviceType":605}`, want{provider.Applied, ofTarget, ""}, "the service exists"},
		"id as text":      {200, `{"service":{"id":"556"}}`, want{provider.Applied, ofTarget, ""}, "the service exists"},
		"no add-ons":      {200, strings.Replace(service, `[{"id":258,"description":"..."}]`, `null`, 1), want{provider.Applied, ofTarget, ""}, "the service exists"},
		"suspended":       {200, strings.Replace(service, "OPEN", "SUSPENDED", 1), want{provider.Applied, ofTarget, ""}, "the service exists"},
		"another":         {200, strings.Replace(service, "556", "557", 1), want{provider.Unknown, ofTarget, "HTTP 200"}, "another service"},
		"id of an add-on": {200, `{"service":{"addons":[{"id":556}]}}`, want{provider.Unknown, ofTarget, "HTTP 200"}, "proxy"},
		"id twice":        {200, `{"service":{"id":557,"id":556}}`, want{provider.Unknown, ofTarget, "HTTP 200"}, "proxy"},
		"id beside it":    {200, `{"service":[],"id":556}`, want{provider.Unknown, ofTarget, "HTTP 200"}, "proxy"},
		"id a fraction":   {200, `{"service":{"id":556.0}}`, want{provider.Unknown, ofTarget, "HTTP 200"}, "proxy"},
		"id null":         {200, `{"service":{"id":null}}`, want{provider.Unknown, ofTarget, "HTTP 200"}, "proxy"},
		"and an envelope": {200, `{"service":{"id":556},"response":{"statusCode":404}}`, want{provider.Unknown, ofTarget, "HTTP 200"}, "proxy"},
		"envelope only":   {200, `{"response":{"statusCode":200,"errors":[]}}`, want{provider.Unknown, ofTarget, "HTTP 200"}, "leaves open"},
		"list":            {200, `{"services":[` + service + `]}`, want{provider.Unknown, ofTarget, "HTTP 200"}, "proxy"},
		"page":            {200, `<html>556</html>`, want{provider.Unknown, ofTarget, "HTTP 200"}, "proxy"},
		"with 202":        {202, service, want{provider.Unknown, ofTarget, "HTTP 202"}, "proxy"},
		"with 404":        {404, service, want{provider.Unknown, ofTarget, "HTTP 404"}, "proxy"},
		"unknown":         {404, refuses(404, "InvalidService"), want{provider.Rejected, ofTarget, "InvalidService"}, "no service with this number"},
		"unknown, a page": {404, `<html>not found</html>`, want{provider.Unknown, ofTarget, "HTTP 404"}, "proxy"},
		"other account":   {403, refuses(403, "AuthError"), want{provider.Denied, ofConnection, "AuthError"}, "account of another key"},
		"not permitted":   {401, refuses(401, "NotPermitted"), want{provider.Denied, ofTarget, "NotPermitted"}, "does not permit"},
		"closed":          {503, refuses(503, "UnknownError"), want{provider.Busy, ofConnection, "UnknownError"}, "unavailable"},
		"throttled":       {429, ``, want{provider.Busy, ofConnection, "HTTP 429"}, "throttled"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, says(test.status, test.body))
			result := open(t, s.connection()).CheckTarget(t.Context(), s.change(t, accountRoot).Target)
			require.Equal(t, test.want, got(result))
			require.Contains(t, result.Reason, test.reason)
			providertest.RequireSecretFree(t, result)
			require.Len(t, s.Sent(), 1)
		})
	}
	// The description of a service does not show reliably whether it has a Plesk.
	s := newServer(t, says(200, service))
	result := open(t, s.connection()).CheckTarget(t.Context(), s.change(t, accountPlesk).Target)
	require.Equal(t, want{provider.Applied, ofTarget, ""}, got(result))
	require.Contains(t, result.Reason, "whether it has a Plesk")
}

func TestChecksReportRetryAfter(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "30")
		says(503, refuses(503, "UnknownError"))(w, r)
	})
	require.Equal(t, 30*time.Second, open(t, s.connection()).Check(t.Context()).RetryAfter)
}

func TestDefaultAddressWithoutHostIsNamed(t *testing.T) {
	resolver := net.DefaultResolver
	net.DefaultResolver = providertest.NoSuchHost()
	t.Cleanup(func() { net.DefaultResolver = resolver })
	result := open(t, provider.Connection{Settings: provider.Settings{fieldAPIKey: "key"}}).Check(t.Context())
	require.True(t, result.Misconfigured)
	require.Contains(t, result.Reason, "no such host: https://api.mediatemple.net/api/v1, the default; set url if the API has another address")
}
