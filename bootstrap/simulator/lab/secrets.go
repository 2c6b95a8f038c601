package lab

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// Secrets collects the passwords, keys, tokens and signatures that clients have sent to a system or received from one.
// Tests use them to prove that they appear nowhere else. The control API does not expose them.
type Secrets struct {
	mu   sync.Mutex
	seen map[string]string // description by secret
}

// Seen returns a description of each secret, by secret.
func (s *Secrets) Seen() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.seen)
}

func (s *Secrets) add(kind, secret string) {
	if secret == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]string{}
	}
	s.seen[secret] = kind
}

// secretHeaders are the headers whose value is a secret.
var secretHeaders = []string{"Http_auth_passwd", "Key", "X-Auth-Token", "X-Security-Token", "X-Subject-Token"}

// signatures matches the signature in the Authorization header of a signed request.
var signatures = regexp.MustCompile(`Signature=([0-9A-Fa-f]+)`)

// Watch records the secrets in every request to the handler and in its answers. It finds them by header and field name
// only, and so also in requests that the system refuses or cannot parse.
func (s *Secrets) Watch(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.headers(r.Header)
		if signature := signatures.FindStringSubmatch(r.Header.Get("Authorization")); signature != nil {
			s.add("a signature", signature[1])
		} else if _, key, found := strings.Cut(r.Header.Get("Authorization"), " "); found {
			s.add("a key in the header Authorization", key)
		}
		body := &watched{ReadCloser: r.Body}
		r.Body = body
		defer func() { // the handler may panic to cut the connection
			s.headers(w.Header())
			s.body(body.read.Bytes())
		}()
		handler.ServeHTTP(w, r)
	})
}

func (s *Secrets) headers(header http.Header) {
	for name, values := range header {
		for _, known := range secretHeaders {
			if !strings.EqualFold(name, known) {
				continue
			}
			for _, value := range values {
				s.add("the header "+name, value)
			}
		}
	}
}

// watchedBytes limits how much of a body is kept. No body with a password is that long.
const watchedBytes = 1 << 20

// watched is a body that keeps a copy of what is read from it.
type watched struct {
	io.ReadCloser
	read bytes.Buffer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.read.Write(p[:min(n, watchedBytes-w.read.Len())])
	return n, err
}

// body looks for passwords in JSON and XML.
func (s *Secrets) body(body []byte) {
	var value any
	if json.Unmarshal(body, &value) == nil {
		s.inJSON("", value)
		return
	}
	decoder := xml.NewDecoder(bytes.NewReader(body))
	name := ""
	for {
		token, err := decoder.Token()
		if err != nil { // the end of the body or of the well-formed part
			return
		}
		switch t := token.(type) {
		case xml.StartElement:
			name = t.Name.Local
		case xml.EndElement:
			name = ""
		case xml.CharData:
			if isPassword(name) {
				s.add("a password in XML", string(t))
			}
		}
	}
}

func (s *Secrets) inJSON(name string, value any) {
	switch v := value.(type) {
	case string:
		if isPassword(name) {
			s.add("the field "+name, v)
		}
	case []any:
		for _, item := range v {
			s.inJSON(name, item)
		}
	case map[string]any:
		for field, item := range v {
			s.inJSON(field, item)
		}
	}
}

func isPassword(name string) bool { return strings.Contains(strings.ToLower(name), "password") }
