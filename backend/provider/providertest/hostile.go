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
	"strings"
	"sync"
	"testing"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/bootstrap/canary"
)

// Hostile is a remote system that puts what it was sent into every place of its answers.
type Hostile struct {
	// Honest answers what a client asks before the request that is to be answered with malice: status, header and body;
	// status 0: nothing, this is that request. Nil: every request is.
	Honest func(*http.Request) (status int, header http.Header, body string)
	// Type is the Content-Type of the answers.
	Type string
	// Bodies are what it answers, with [Planted] where a secret is put, and [Status] for the answer's own status.
	Bodies []string
	// Secrets are what a client is given, by what they are, whether it sends them or not.
	Secrets map[string]string
	// Made is what a client makes of them by itself, or gets from Honest: [Signature] or [Token]. It is found in the
	// requests.
	Made string
	// Call opens a client of this address, without TLS, and makes the request.
	Call func(t *testing.T, address string) provider.Result
}

// Places in the bodies of a Hostile.
const (
	Planted = "{planted}"
	Status  = "{status}"
)

// Values of Made.
const (
	Signature = "signature"
	Token     = "token"
)

// startOf is a part of a secret that is too long to pass for an identifier.
const startOf = "start of the "

// statuses are of all kinds that some code might take for something.
var statuses = []int{200, 202, 307, 400, 401, 403, 404, 409, 429, 500}

// plants are the forms in which a secret is put into an answer: those that might pass for a code or an identifier.
var plants = []func(string) string{
	func(s string) string { return s },
	func(s string) string { return "req-" + s },
	func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("x" + s)) },
	func(s string) string { return fmt.Sprintf("%x", s) },
}

// attack is how the next request is answered.
type attack struct {
	status       int
	body         string
	secret, form int
}

// shown are the secrets in the headers of a request.
var shown = regexp.MustCompile(`Signature=([0-9a-f]+)`)

// RequireSilence makes the request once for each status, each body, each secret and each form of it, and fails the test
// where anything that the client returns holds a secret in any form.
func (h Hostile) RequireSilence(t *testing.T) {
	t.Helper()
	var (
		mu   sync.Mutex
		next attack
		seen = maps.Clone(h.Secrets) // with those of this request
		met  int
		all  canary.Set // with those of the requests before
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
		_, _ = io.Copy(io.Discard, r.Body) // what it holds is known
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
	for _, status := range statuses {
		for _, body := range append(h.Bodies, Planted, "") {
			var results []provider.Result
			for secret := range names {
				for form := range plants {
					mu.Lock()
					next = attack{status, body, secret, form}
					mu.Unlock()
					wanted++
					results = append(results, h.Call(t, server.URL))
				}
			}
			mu.Lock()
			found := all.Find(printed(t, results))
			mu.Unlock()
			if len(found) > 0 {
				t.Fatalf("after an answer %d %s a result holds %s", status, body, canary.Describe(found))
			}
		}
	}
	if met < wanted {
		t.Fatalf("the client made %d requests of %d", met, wanted)
	}
}

// plant writes an answer by hand, with the text in every place that net/http's server would not let it be in, too.
func plant(w http.ResponseWriter, a attack, text, kind string) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic("no connection to write to")
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
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n", a.status, line, kind, len(body))
	for _, name := range []string{"X-Request-Id", "X-Iam-Trace-Id", "Location", "Retry-After", "Server", "Set-Cookie", "Www-Authenticate", "X-Subject-Token-Echo"} {
		_, _ = fmt.Fprintf(conn, "%s: %s\r\n", name, line)
	}
	_, _ = io.WriteString(conn, "\r\n"+body)
}

func inJSON(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		return ""
	}
	return string(quoted[1 : len(quoted)-1])
}

// printed is all that somebody could see of the results.
func printed(t *testing.T, results []provider.Result) []byte {
	t.Helper()
	encoded, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, "%+v\n%#v\n%s", results, results, encoded)
}
