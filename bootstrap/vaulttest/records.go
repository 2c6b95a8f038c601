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

// Records are the files that Vault, its plugins and its clients have written into: the log at level trace, which has
// what plugins write to their stderr, too; the audit log; every answer that [Vault.Client] and its clones got, but for
// the data of creds and history, where passwords belong; and the logs of Vault Agents. Nothing else may hold one. The nodes of
// a [Cluster] have one audit log together, as only the active one writes into it.
func (v *Vault) Records() []string {
	v.agentsMu.Lock()
	defer v.agentsMu.Unlock()
	return append([]string{v.LogFile(), v.audit, v.answers.file}, v.agentLogs...)
}

// enableAudit switches an audit log on, with Vault's defaults: texts in requests and answers are hashed.
func (v *Vault) enableAudit(ctx context.Context) error {
	err := v.Client.Sys().EnableAuditWithOptionsWithContext(ctx, "file", &api.EnableAuditOptions{
		Type: "file", Options: map[string]string{"file_path": v.audit},
	})
	if err != nil {
		return fmt.Errorf("enabling the audit log: %w", err)
	}
	return nil
}

// answers writes down what Vault answers.
type answers struct {
	file string
	mu   sync.Mutex
}

// watch returns a transport that writes down all answers that come through next.
func (a *answers) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, fmt.Errorf("reading Vault's answer: %w", err)
		}
		if err := response.Body.Close(); err != nil {
			return nil, fmt.Errorf("reading Vault's answer: %w", err)
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
		return fmt.Errorf("writing down Vault's answer: %w", err)
	}
	text.Write(body)
	text.WriteString("\n")
	a.mu.Lock()
	defer a.mu.Unlock()
	file, err := os.OpenFile(a.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing down Vault's answer: %w", err)
	}
	_, err = file.Write(text.Bytes())
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing down Vault's answer: %w", err)
	}
	return nil
}

// givesPasswords tells whether an answer is one that is to hold a password: only a success, and only of these paths.
func givesPasswords(u *url.URL, status int) bool {
	parts := strings.Split(strings.TrimPrefix(u.Path, "/v1/"), "/")
	return status == http.StatusOK && len(parts) == 3 && (parts[1] == "creds" || parts[1] == "history")
}

// withoutData leaves the warnings and all else that is around the data.
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
