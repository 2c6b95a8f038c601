package plesk

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestMain(m *testing.M) {
	// Vault's sdk starts this one when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// Secrets that may turn up nowhere.
const (
	adminPassword = "cAnArY-admin-1"
	adminKey      = "cAnArY-key-2"
	newPassword   = "cAnArY!new%3XYZ0123456789"
)

// server is a Plesk that says what a test tells it to, and keeps what it was sent.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []captured
	handle   http.HandlerFunc
}

type captured struct {
	*http.Request
	body string
}

func newServer(t *testing.T, handle http.HandlerFunc) *server {
	t.Helper()
	s := &server{handle: handle}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			s.mu.Lock()
			s.requests = append(s.requests, captured{r, string(body)})
			s.mu.Unlock()
		}
		s.handle(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// says answers every request with a status and a body.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (s *server) sent() []captured {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *server) connection() provider.Connection {
	return provider.Connection{
		URL:      s.URL,
		TLS:      provider.TLS{CACert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))},
		Settings: provider.Settings{fieldUsername: "admin", fieldPassword: adminPassword},
	}
}

func open(t *testing.T, connection provider.Connection) provider.Client {
	t.Helper()
	client, err := Type{}.Open(connection)
	require.NoError(t, err)
	requireSecretFree(t, client)
	return client
}

func (s *server) change(t *testing.T) provider.Change {
	t.Helper()
	target, err := Type{}.Target(s.connection(), provider.Settings{fieldLogin: "User2"})
	require.NoError(t, err)
	return provider.Change{Target: target, NewPassword: newPassword}
}

// requireSecretFree prints the values in every way that a log might.
func requireSecretFree(t *testing.T, values ...any) {
	t.Helper()
	for _, value := range values {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			require.NotContains(t, fmt.Sprintf(format, value), "cAnArY")
		}
	}
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
