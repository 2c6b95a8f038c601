package ecs

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
	secretKey   = "cAnArY-secret-key"
	newPassword = "cAnArY-New1@_=%+:"
)

const (
	target     = provider.ScopeTarget
	connection = provider.ScopeConnection
)

// cloud is a fake CloudDC or Elastic Cloud Server with configurable responses. It records the requests it receives.
type cloud struct {
	*httptest.Server
	api    string
	list   http.HandlerFunc // of instances
	flag   http.HandlerFunc // of the plug-in
	check  http.HandlerFunc
	change http.HandlerFunc
	serve  func(http.ResponseWriter, captured) // if set, responds to all requests

	mu       sync.Mutex
	requests []captured
}

type captured struct {
	*http.Request
	body string
}

func newCloud(t *testing.T, api string) *cloud {
	t.Helper()
	c := &cloud{
		api: api, list: says(200, running("a-1", "b-2", "c-3")), flag: says(200, `{"resetpwd_flag":"True"}`),
		check: says(500, ""), change: says(500, ""),
	}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		request := captured{r, string(body)}
		c.requests = append(c.requests, request)
		c.mu.Unlock()
		w.Header().Set("X-Request-Id", "req-5f0c1d2e3b4a59687766554433221100")
		switch {
		case c.serve != nil:
			c.serve(w, request)
		case r.Method == http.MethodPut:
			c.change(w, r)
		case strings.HasSuffix(r.URL.Path, "/os-resetpwd-flag"):
			c.flag(w, r)
		case r.URL.Query().Has("instance_id"):
			c.list(w, r)
		default:
			c.check(w, r)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// sent returns the modifying requests so far.
func (c *cloud) sent() []captured {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sent []captured
	for _, request := range c.requests {
		if request.Method != http.MethodGet {
			sent = append(sent, request)
		}
	}
	return sent
}

// uris returns the methods and URIs of all requests so far.
func (c *cloud) uris() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]string, 0, len(c.requests))
	for _, request := range c.requests {
		out = append(out, request.Method+" "+request.RequestURI)
	}
	return out
}

func (c *cloud) connection() provider.Connection {
	return provider.Connection{
		URL: c.URL,
		TLS: provider.TLS{Insecure: true},
		Settings: provider.Settings{
			"access_key": "AK1", "secret_key": secretKey, "project_id": "p1", "api": c.api, "allow_restart": true,
		},
	}
}

func (c *cloud) open(t *testing.T) provider.Client {
	t.Helper()
	client, err := Type{}.Open(c.connection())
	require.NoError(t, err)
	providertest.RequireSecretFree(t, client)
	return client
}

// request returns a change of the servers with these IDs.
func (c *cloud) request(t *testing.T, ids ...string) provider.Change {
	t.Helper()
	target, err := Type{}.Target(c.connection(), provider.Settings{"instance_ids": ids})
	require.NoError(t, err)
	return provider.Change{Target: target, NewPassword: newPassword, Parts: target.Parts}
}

// running returns a list of running instances.
func running(ids ...string) string {
	return listed("running", "install-succeed", ids...)
}

func listed(state, operation string, ids ...string) string {
	entries := make([]string, 0, len(ids))
	for _, id := range ids {
		entries = append(entries, fmt.Sprintf(`{"id":%q,"name":"cAnArY","server_id":"s-%s","state":%q,"operation_state":%q}`, id, id, state, operation))
	}
	return fmt.Sprintf(`{"instances":[%s],"page_info":{"next_marker":null},"count":%d}`, strings.Join(entries, ","), len(ids))
}

// series returns n IDs.
func series(n int) []string {
	ids := make([]string, 0, n)
	for i := range n {
		ids = append(ids, fmt.Sprintf("id-%02d", i))
	}
	return ids
}

// want is the expected result.
type want struct {
	outcome provider.Outcome
	scope   provider.Scope
	code    string
}

func got(result provider.Result) want {
	return want{result.Outcome, result.Scope, result.Code}
}
