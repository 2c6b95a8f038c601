package plesk

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestMain(m *testing.M) {
	// A dependency of the SDK starts this goroutine when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// Secrets that must not appear in any output.
const (
	adminPassword = "cAnArY-admin-1"
	adminKey      = "cAnArY-key-2"
	newPassword   = "cAnArY!new%3XYZ0123456789"
)

// server is a fake Plesk with configurable responses. It records the requests it receives.
type server struct{ *providertest.Server }

func newServer(t *testing.T, handle http.HandlerFunc) *server {
	t.Helper()
	return &server{providertest.NewServer(t, handle)}
}

// says responds to every request with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return providertest.Says("text/xml", status, body)
}

func (s *server) connection() provider.Connection {
	return provider.Connection{
		URL:      s.URL,
		TLS:      s.TLS(),
		Settings: provider.Settings{fieldUsername: "admin", fieldPassword: adminPassword},
	}
}

func open(t *testing.T, connection provider.Connection) provider.Client {
	t.Helper()
	client, err := Type{}.Open(connection)
	require.NoError(t, err)
	providertest.RequireSecretFree(t, client)
	return client
}

func (s *server) change(t *testing.T) provider.Change {
	t.Helper()
	target, err := Type{}.Target(s.connection(), provider.Settings{fieldLogin: "User2"})
	require.NoError(t, err)
	return provider.Change{Target: target, NewPassword: newPassword}
}

func packet(inner string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><packet version="1.6.9.1">` + inner + `</packet>`
}

func aliasResult(inner string) string {
	return packet(`<server><set-admin-alias><result>` + inner + `</result></set-admin-alias></server>`)
}

const okAlias = `<?xml version="1.0" encoding="UTF-8"?>
<packet version="1.6.9.1">
  <server>
    <set-admin-alias>
      <result>
        <status>ok</status>
      </result>
    </set-admin-alias>
  </server>
  <output>debug text</output>
</packet>
`
