package dcs

import (
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
	oldPassword = "cAnArY-Old1<&>\"\\ü"
	newPassword = "cAnArY-New1<&>"
)

const oneAccount = `{"accounts":[
	{"account_id":"other","account_name":"x","account_type":"default","status":"AVAILABLE"},
	{"account_id":"acc-1","account_name":"app","account_type":"normal","account_role":"write","instance_id":"inst-1","status":"AVAILABLE","error_code":null}
]}`

// Documented responses to showing the instance and to a login to its Web CLI.
const (
	oneInstance = `{"instance_id":"inst-1","status":"RUNNING","engine_version":"5.0","no_password_access":"false"}`
	loggedIn    = `{"client_id":"c-4711","databases":256}`
)

// cloud is a fake DCS with configurable responses. It records the requests it receives.
type cloud struct {
	*httptest.Server
	mu     sync.Mutex
	listed int
	puts   []captured
	posts  []captured
	list   http.HandlerFunc
	show   http.HandlerFunc
	login  http.HandlerFunc
	logout http.HandlerFunc
	change http.HandlerFunc
	check  http.HandlerFunc
}

type captured struct {
	*http.Request
	body string
}

// lists returns how often the accounts were listed.
func (c *cloud) lists() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listed
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{list: says(200, oneAccount), change: says(500, ""), check: says(500, ""), show: says(200, oneInstance), login: says(200, loggedIn), logout: says(204, "")}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Request-Id", "req-5f0c1d2e3b4a59687766554433221100")
		switch {
		case r.Method == http.MethodGet && r.RequestURI == "/v2/p1/instances/inst-1/accounts":
			c.mu.Lock()
			c.listed++
			c.mu.Unlock()
			c.list(w, r)
		case r.Method == http.MethodGet && r.RequestURI == "/v2/p1/instances?limit=1":
			c.check(w, r)
		case r.Method == http.MethodGet && r.RequestURI == "/v2/p1/instances/inst-1":
			c.show(w, r)
		case r.Method == http.MethodPost:
			c.mu.Lock()
			c.posts = append(c.posts, captured{r, string(body)})
			c.mu.Unlock()
			if strings.HasSuffix(r.RequestURI, "/webcli/auth") {
				c.login(w, r)
			} else {
				c.logout(w, r)
			}
		case r.Method == http.MethodPut:
			c.mu.Lock()
			c.puts = append(c.puts, captured{r, string(body)})
			c.mu.Unlock()
			c.change(w, r)
		default:
			w.WriteHeader(http.StatusNotImplemented)
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

func (c *cloud) sent() []captured {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.puts
}

// logins returns the requests to the Web CLI.
func (c *cloud) logins() []captured {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.posts
}

func (c *cloud) connection() provider.Connection {
	return provider.Connection{
		URL: c.URL,
		TLS: provider.TLS{Insecure: true},
		Settings: provider.Settings{
			"access_key": "AK1", "secret_key": secretKey, "project_id": "p1",
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

func (c *cloud) request(t *testing.T, method string) provider.Change {
	t.Helper()
	target, err := Type{}.Target(c.connection(), provider.Settings{
		"instance_id": "inst-1", "account_id": "acc-1", "username": "app", "rotation_method": method,
	})
	require.NoError(t, err)
	change := provider.Change{Target: target, NewPassword: newPassword}
	if method == methodModify {
		change.OldPassword = oldPassword
	}
	return change
}

func account1(with ...string) string {
	return strings.NewReplacer(with...).Replace(oneAccount)
}
