// Package providertest holds what the tests of providers share: a fake remote system with configurable responses, and
// checks that no secret leaks. It must not import the simulators.
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

// Canary is part of every secret in the tests of a provider.
const Canary = "cAnArY"

// Server is a fake remote system with TLS that records the requests it receives.
type Server struct {
	*httptest.Server
	mu   sync.Mutex
	sent []Request
}

// Request is a request whose body was read to the end.
type Request struct {
	*http.Request
	Body string
}

// NewServer starts a server that is closed at the end of the test.
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

// Sent returns the requests received so far.
func (s *Server) Sent() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// TLS returns settings that trust the server.
func (s *Server) TLS() provider.TLS {
	return provider.TLS{CACert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))}
}

// Says responds to every request with a status and a body. kind is the Content-Type; "" means none.
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

// RequireSecretFree formats the values with every verb that a log could use, and fails the test if the output contains
// the canary.
func RequireSecretFree(t *testing.T, values ...any) {
	t.Helper()
	for _, value := range values {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t"} { // %p calls no method
			text := fmt.Sprintf(format, value)
			for _, form := range []string{Canary, fmt.Sprintf("%x", Canary), fmt.Sprintf("%X", Canary), fmt.Sprintf("% x", Canary), strings.Trim(fmt.Sprintf("%d", []byte(Canary)), "[]")} {
				if strings.Contains(text, form) {
					t.Fatalf("a secret is printed with %s", format)
				}
			}
		}
	}
}

// Outcomes lists every outcome.
func Outcomes() []provider.Outcome {
	return []provider.Outcome{
		provider.Applied, provider.Staged, provider.Rejected, provider.Mismatch, provider.Busy, provider.Denied, provider.Unreachable, provider.Unknown,
	}
}
