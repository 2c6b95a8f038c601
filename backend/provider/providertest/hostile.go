package providertest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"vault-plugin-secrets-hosting/backend/canary"
	"vault-plugin-secrets-hosting/backend/provider"
)

// Hostile is a remote system that puts secrets into every part of its responses.
type Hostile struct {
	// Honest responds to the requests that a client makes before the one to attack: status, header and body. It returns
	// status 0 for the request to attack. If Honest is nil, every request is attacked.
	Honest func(*http.Request) (status int, header http.Header, body string)
	// Type is the Content-Type of the responses.
	Type string
	// Bodies are the bodies of the responses, with [Planted] in place of a secret, and [Status] in place of the status.
	Bodies []string
	// Secrets are the secrets that a client is given, by kind, whether it sends them or not.
	Secrets map[string]string
	// Made is the kind of secret that a client derives from these, or gets from Honest: [Signature] or [Token]. It is
	// taken from the requests.
	Made string
	// Open opens a client for this address, without TLS, and returns a function that makes the request. The client makes
	// several, unless the responses could be a refusal of its credential.
	Open func(t *testing.T, address string) func() provider.Result
}

// Placeholders in the bodies of a Hostile.
const (
	Planted = "{planted}"
	Status  = "{status}"
)

// Values of Made.
const (
	Signature = "signature"
	Token     = "token"
)

// startOf is the kind of the first part of a secret that as a whole is too long for an identifier.
const startOf = "start of the "

// statuses are those that some provider interprets.
var statuses = []int{200, 202, 307, 400, 401, 403, 404, 409, 429, 500}

// plants encode a secret in forms that could pass for an error code or an identifier.
var plants = []func(string) string{
	func(s string) string { return s },
	func(s string) string { return "req-" + s },
	func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("x" + s)) },
	func(s string) string { return fmt.Sprintf("%x", s) },
	func(s string) string { return fmt.Sprintf("%x", reversed(s)) },
}

func reversed(text string) string {
	out := []byte(text)
	slices.Reverse(out)
	return string(out)
}

// attack is the response to the next request.
type attack struct {
	status       int
	body         string
	secret, form int
}

// shown matches the signature in the headers of a request.
var shown = regexp.MustCompile(`Signature=([0-9a-f]+)`)

// RequireSilence makes the request once for each combination of status, body, secret and encoding, and fails the test if
// any result contains a secret in any form.
func (h Hostile) RequireSilence(t *testing.T) {
	t.Helper()
	var (
		mu   sync.Mutex
		next attack
		seen = maps.Clone(h.Secrets) // including those of the current request
		met  int
		all  canary.Set // including those of all earlier requests
	)
	if seen == nil {
		seen = map[string]string{}
	}
	for name, secret := range h.Secrets {
		all.Add(name, secret)
	}
	var names []string
	if h.Made != "" {
		names = append(names, h.Made, startOf+h.Made)
	}
	for name := range h.Secrets {
		names = append(names, name)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the content is known
		if h.Honest != nil {
			if status, header, body := h.Honest(r); status != 0 {
				for name := range header {
					w.Header().Set(name, header.Get(name))
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
				return
			}
		}
		mu.Lock()
		defer mu.Unlock()
		met++
		if signature := shown.FindStringSubmatch(r.Header.Get("Authorization")); signature != nil {
			seen[Signature], seen[startOf+Signature] = signature[1], signature[1][:32]
		}
		if token := r.Header.Get("X-Auth-Token"); token != "" {
			seen[Token], seen[startOf+Token] = token, token[:min(32, len(token))]
		}
		for name, secret := range seen {
			all.Add(name, secret)
		}
		plant(w, next, plants[next.form](seen[names[next.secret]]), h.Type)
	}))
	defer server.Close()

	wanted := 0
	var output []byte // of all results
	type chunk struct {
		end    int
		status int
		body   string
	}
	var chunks []chunk
	for _, status := range statuses {
		for _, body := range append(h.Bodies, Planted, "") {
			var results []provider.Result
			var call func() provider.Result
			for secret := range names {
				for form := range plants {
					mu.Lock()
					next = attack{status, body, secret, form}
					mu.Unlock()
					wanted++
					if call == nil || status == http.StatusUnauthorized || status == http.StatusForbidden {
						call = h.Open(t, server.URL)
					}
					results = append(results, call())
				}
			}
			output = append(output, printed(t, results)...)
			chunks = append(chunks, chunk{len(output), status, body})
		}
	}
	// One search, because it makes an index of all secrets, of which each request adds some.
	if found := all.Find(output); len(found) > 0 {
		at := slices.IndexFunc(chunks, func(c chunk) bool { return found[0].Offset < c.end })
		t.Fatalf("after a response %d %s a result contains %s", chunks[at].status, chunks[at].body, canary.Describe(found))
	}
	if met < wanted {
		t.Fatalf("the client made %d of %d requests", met, wanted)
	}
}

// plant writes a raw response with the text in every part, including those where net/http's server would not allow it.
func plant(w http.ResponseWriter, a attack, text, kind string) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic("the connection cannot be hijacked")
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // the client may be gone
	line := strings.NewReplacer("\r", " ", "\n", " ").Replace(text)
	body := strings.ReplaceAll(strings.ReplaceAll(a.body, Status, fmt.Sprint(a.status)), Planted, inJSON(text))
	if a.status == http.StatusNoContent {
		body = ""
	}
	response := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n", a.status, line, kind, len(body))
	for _, name := range []string{"X-Request-Id", "X-Iam-Trace-Id", "Location", "Retry-After", "Server", "Set-Cookie", "Www-Authenticate", "X-Subject-Token-Echo"} {
		response = fmt.Appendf(response, "%s: %s\r\n", name, line)
	}
	_, _ = conn.Write(append(response, "\r\n"+body...)) // at once: each write would wake the client
}

func inJSON(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		return ""
	}
	return string(quoted[1 : len(quoted)-1])
}

// printed returns every printable form of the results.
func printed(t *testing.T, results []provider.Result) []byte {
	t.Helper()
	encoded, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, "%+v\n%#v\n%s", results, results, encoded)
}
