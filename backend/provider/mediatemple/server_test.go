package mediatemple

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestMain(m *testing.M) {
	providertest.IgnoreProxies()
	// A dependency of the SDK starts this goroutine when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// Secrets that must not appear in any output.
const (
	apiKey      = "cAnArY-key:/?&=%+"
	newPassword = "cAnArY-New1!%^*_~"
)

// accepted is the documented sample.
const accepted = `{"response":{"statusCode":202,"timeStamp":1284609174311,
  "date":"2010-09-16T03:52:54.311+0000","errors":[],"custom":[]}}`

// service is the documented sample.
const service = `{"service":{"id":556,"serviceType":605,"serviceTypeName":"(dv) Dedicated-Virtual Base 3.5",
 "ipAddresses":["192.168.200.66"],"hostServer":"vz000.mediatemple.net","billingStatus":"0",
 "billingStatusText":"OPEN","operatingSystem":"1002","operatingSystemName":"Centos 5","accessDomain":null,
 "primaryDomain":"dv35.example.com","pendingReboot":"0","addons":[{"id":258,"description":"..."}]}}`

// refuses returns a response with one error, whose message is a secret.
func refuses(status int, code string) string {
	return fmt.Sprintf(`{"response":{"statusCode":%d,"timeStamp":1284609174311,"date":"2010-09-16T03:52:54.311+0000",`+
		`"errors":[{"message":"%s","errorCode":"%s"}],"custom":[]}}`, status, newPassword, code)
}

// server is a fake API with configurable responses. It records the requests it receives.
type server struct{ *providertest.Server }

func newServer(t *testing.T, handle http.HandlerFunc) *server {
	t.Helper()
	return &server{providertest.NewServer(t, handle)}
}

// says responds to every request with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return providertest.Says(mediaType, status, body)
}

func (s *server) connection() provider.Connection {
	return provider.Connection{
		URL:      s.URL + "/api/v1",
		TLS:      s.TLS(),
		Settings: provider.Settings{fieldAPIKey: apiKey},
	}
}

func open(t *testing.T, connection provider.Connection) provider.Client {
	t.Helper()
	client, err := Type{}.Open(connection)
	require.NoError(t, err)
	providertest.RequireSecretFree(t, client)
	return client
}

func (s *server) change(t *testing.T, account string) provider.Change {
	t.Helper()
	target, err := Type{}.Target(s.connection(), provider.Settings{fieldServiceID: "556", fieldAccount: account})
	require.NoError(t, err)
	return provider.Change{Target: target, NewPassword: newPassword}
}
