package vaulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/hashicorp/vault/api"
)

// Records returns the paths of all files in which no secret may appear: Vault's log at level trace, which includes what
// plugins write to stderr; the audit log; the responses to [Vault.Client] and its clones, except the data of creds and
// history, where passwords belong; and the logs of Vault Agents. The nodes of a [Cluster] share one audit log, as only the
// active node writes to it.
func (v *Vault) Records() []string {
	v.agentsMu.Lock()
	defer v.agentsMu.Unlock()
	return append([]string{v.LogFile(), v.audit, v.answers.file}, v.agentLogs...)
}

// enableAudit enables a file audit device with Vault's defaults, which hash strings in requests and responses.
func (v *Vault) enableAudit(ctx context.Context) error {
	err := v.Client.Sys().EnableAuditWithOptionsWithContext(ctx, "file", &api.EnableAuditOptions{
		Type: "file", Options: map[string]string{"file_path": v.audit},
	})
	if err != nil {
		return fmt.Errorf("enabling the audit log: %w", err)
	}
	return nil
}

// answers records Vault's responses in a file.
type answers struct {
	file string
	mu   sync.Mutex
}

// watch returns a transport that records all responses from next.
func (a *answers) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, fmt.Errorf("reading Vault's response: %w", err)
		}
		if err := response.Body.Close(); err != nil {
			return nil, fmt.Errorf("reading Vault's response: %w", err)
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
		if givesPasswords(r.URL, response.StatusCode) {
			body = withoutData(body)
		}
		return response, a.add(r.Method+" "+r.URL.Path, response, body)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (a *answers) add(request string, response *http.Response, body []byte) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s: %s\n", request, response.Status)
	if err := response.Header.Write(&text); err != nil {
		return fmt.Errorf("recording Vault's response: %w", err)
	}
	text.Write(body)
	text.WriteString("\n")
	a.mu.Lock()
	defer a.mu.Unlock()
	file, err := os.OpenFile(a.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("recording Vault's response: %w", err)
	}
	_, err = file.Write(text.Bytes())
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("recording Vault's response: %w", err)
	}
	return nil
}

// givesPasswords reports whether a response is meant to contain a password: only a success of creds or history.
func givesPasswords(u *url.URL, status int) bool {
	parts := strings.Split(strings.TrimPrefix(u.Path, "/v1/"), "/")
	return status == http.StatusOK && len(parts) == 3 && (parts[1] == "creds" || parts[1] == "history")
}

// withoutData removes the data and keeps the rest of a response, such as warnings.
func withoutData(body []byte) []byte {
	var answer map[string]json.RawMessage
	if json.Unmarshal(body, &answer) != nil {
		return body
	}
	delete(answer, "data")
	rest, err := json.Marshal(answer)
	if err != nil {
		return body
	}
	return rest
}
