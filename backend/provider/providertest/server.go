// Package providertest is what the tests of providers share: a remote system that says what a test tells it to, and a look
// for secrets where none belong.
package providertest

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Canary stands in every secret of a provider's tests.
const Canary = "cAnArY"

// Server is a remote system over TLS that keeps what it was sent.
type Server struct {
	*httptest.Server
	mu   sync.Mutex
	sent []Request
}

// Request is a request that was read to its end.
type Request struct {
	*http.Request
	Body string
}

// NewServer starts a server that ends with the test.
func NewServer(t *testing.T, handle http.HandlerFunc) *Server {
	t.Helper()
	s := &Server{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			s.mu.Lock()
			s.sent = append(s.sent, Request{r, string(body)})
			s.mu.Unlock()
		}
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// Sent are the requests so far.
func (s *Server) Sent() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// TLS are the settings that trust the server.
func (s *Server) TLS() provider.TLS {
	return provider.TLS{CACert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))}
}

// Says answers every request with a status and a body; kind is the Content-Type, "": none.
func Says(kind string, status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		if kind != "" {
			w.Header().Set("Content-Type", kind)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// RequireSecretFree prints the values in every way that a log might, and fails the test where a canary is seen.
func RequireSecretFree(t *testing.T, values ...any) {
	t.Helper()
	for _, value := range values {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t"} { // %p passes by every method
			text := fmt.Sprintf(format, value)
			for _, form := range []string{Canary, fmt.Sprintf("%x", Canary), fmt.Sprintf("%X", Canary), fmt.Sprintf("% x", Canary), strings.Trim(fmt.Sprintf("%d", []byte(Canary)), "[]")} {
				if strings.Contains(text, form) {
					t.Fatalf("a secret is printed with %s", format)
				}
			}
		}
	}
}
