package mediatemple

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
	apiKey      = "cAnArY-key:/?&=%+"
	newPassword = "cAnArY-New1!%^*_~"
)

// accepted is the sample of the documents.
const accepted = `{"response":{"statusCode":202,"timeStamp":1284609174311,
  "date":"2010-09-16T03:52:54.311+0000","errors":[],"custom":[]}}`

// service is the sample of the documents.
const service = `{"service":{"id":556,"serviceType":605,"serviceTypeName":"(dv) Dedicated-Virtual Base 3.5",
 "ipAddresses":["192.168.200.66"],"hostServer":"vz000.mediatemple.net","billingStatus":"0",
 "billingStatusText":"OPEN","operatingSystem":"1002","operatingSystemName":"Centos 5","accessDomain":null,
 "primaryDomain":"dv35.example.com","pendingReboot":"0","addons":[{"id":258,"description":"..."}]}}`

// refuses is an answer with one error, whose message is nobody's business.
func refuses(status int, code string) string {
	return fmt.Sprintf(`{"response":{"statusCode":%d,"timeStamp":1284609174311,"date":"2010-09-16T03:52:54.311+0000",`+
		`"errors":[{"message":"%s","errorCode":"%s"}],"custom":[]}}`, status, newPassword, code)
}

// server is an API that says what a test tells it to, and keeps what it was sent.
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
func says(status int, body string) http.HandlerFunc { return saysAs(mediaType, status, body) }

// saysAs does so with a Content-Type; "": none.
func saysAs(kind string, status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
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
		URL:      s.URL + "/api/v1",
		TLS:      provider.TLS{CACert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))},
		Settings: provider.Settings{fieldAPIKey: apiKey},
	}
}

func open(t *testing.T, connection provider.Connection) provider.Client {
	t.Helper()
	client, err := Type{}.Open(connection)
	require.NoError(t, err)
	requireSecretFree(t, client)
	return client
}

func (s *server) change(t *testing.T, account string) provider.Change {
	t.Helper()
	target, err := Type{}.Target(s.connection(), provider.Settings{fieldServiceID: "556", fieldAccount: account})
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
