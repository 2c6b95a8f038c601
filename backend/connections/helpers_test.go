package connections

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/locks"
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

var (
	applied     = provider.Result{Outcome: provider.Applied}
	denied      = provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Code: "11003", Reason: "wrong key"}
	unreachable = provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Reason: "no route"}
)

// remote is a provider and its remote system, which knows the key that a call presents. It applies every call, unless a test
// says otherwise.
type remote struct {
	// What follows is set before a connection is opened.

	login    string // the identity that connections log in with
	perHost  bool   // login is a login, and identities begin with the host
	refusals int    // in a row that lock the account; 0: none do
	settle   time.Duration

	mu      sync.Mutex // guards the fields below
	answers map[string]provider.Result
	calls   map[string]int
	during  func(key string) // called while a call runs
	opened  int              // clients
}

func (r *remote) Name() string { return "remote" }

func (r *remote) ConnectionFields() []provider.Field {
	text := &framework.FieldSchema{Type: framework.TypeString}
	return []provider.Field{{Name: "key", Schema: text, Secret: true}, {Name: "note", Schema: text, Local: true}, {Name: "kind", Schema: text, Immutable: true}}
}

func (r *remote) CredentialForms() [][]string    { return [][]string{{"key"}} }
func (r *remote) TargetFields() []provider.Field { return nil }

func (r *remote) Complete(c *provider.Connection) error {
	if c.URL == "" {
		return errors.New("url is missing")
	}
	if !c.Settings.Has("kind") {
		c.Settings["kind"] = "a"
	}
	return nil
}

// Target returns the account of a login, which depends on a setting of the connection.
func (r *remote) Target(c provider.Connection, s provider.Settings) (provider.Target, error) {
	if r.perHost {
		return provider.Target{Identities: []string{r.Host(c) + "|" + s.String("login")}, Settings: s}, nil
	}
	return provider.Target{Identities: []string{c.Settings.String("note") + "|" + s.String("login")}, Settings: s}, nil
}

func (r *remote) Host(c provider.Connection) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(c.URL, "https://"), "/")
	return host
}

func (r *remote) LoginIdentity(c provider.Connection) string {
	if r.perHost {
		return r.Host(c) + "|" + r.login
	}
	return r.login
}

func (r *remote) Lockout(provider.Connection) provider.Lockout {
	return provider.Lockout{Credential: "account", Refusals: r.refusals}
}
func (r *remote) Rules(provider.Connection, provider.Target) (rules password.Rules) { return rules }
func (r *remote) OldPassword(provider.Target) (old provider.OldPassword)            { return old }
func (r *remote) Logins(provider.Connection, provider.Target) []provider.Login      { return nil }
func (r *remote) SettleAfter(provider.Connection) time.Duration                     { return r.settle }

func (r *remote) Open(c provider.Connection) (provider.Client, error) {
	if c.TLS.CACert == "bad" {
		return nil, errors.New("ca_cert is not PEM")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened++
	return &client{r, c.Settings.String("key")}, nil
}

// answer sets the result of calls with a key.
func (r *remote) answer(key string, result provider.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[key] = result
}

// used returns how many calls presented a key.
func (r *remote) used(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[key]
}

func (r *remote) onCall(f func(key string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.during = f
}

// blockCalls makes calls with a key wait.
func (r *remote) blockCalls(key string) (release func()) {
	released := make(chan struct{})
	r.onCall(func(presented string) {
		if presented == key {
			<-released
		}
	})
	return sync.OnceFunc(func() { close(released) })
}

type client struct {
	*remote
	key string
}

func (c *client) call() provider.Result {
	c.mu.Lock()
	c.calls[c.key]++
	result, found := c.answers[c.key]
	during := c.during
	c.mu.Unlock()
	if during != nil {
		during(c.key)
	}
	if !found {
		return applied
	}
	return result
}

func (c *client) Check(context.Context) provider.Result                        { return c.call() }
func (c *client) CheckTarget(context.Context, provider.Target) provider.Result { return c.call() }
func (c *client) Change(context.Context, provider.Change) provider.Result      { return c.call() }

// rig has the connections of a mount with their storage and remote system, in fake time. Its connection is "conn", with the
// key "key".
type rig struct {
	*testing.T
	c       *Connections
	remote  *remote
	storage *storagetest.Storage
	policy  error // what Config.TryPolicy returns
	// settings and settingsErr are what Config.Settings returns.
	settings    store.Settings
	settingsErr error

	mu      sync.Mutex // guards the fields below
	log     bytes.Buffer
	probes  map[string]time.Time
	retried int // calls of Config.Retry
}

func inFakeTime(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	withRemote(t, &remote{}, test)
}

// withRemote is inFakeTime with another remote system.
func withRemote(t *testing.T, kind *remote, test func(t *testing.T, r *rig)) {
	t.Helper()
	kind.answers, kind.calls = map[string]provider.Result{}, map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, remote: kind, storage: storagetest.New(&logical.InmemStorage{})}
		r.restart()
		r.mustWrite(newConn())
		r.retried = 0
		test(t, r)
	})
}

// restart forgets everything that is not stored.
func (r *rig) restart() {
	clock := timing.Timing{Now: func() time.Time { return time.Now().UTC().Round(0) }, Random: zeros{}}
	types := map[string]provider.Type{"remote": r.remote}
	guards := lockout.NewGuards(lockout.Config{Timing: clock, Warn: func(string, error) {}})
	r.probes = map[string]time.Time{}
	r.c = New(Config{
		Timing: clock, Types: types, Health: &health.Board{}, Index: &locks.Locks{}, Waiting: &locks.Waiting{},
		Cache: connection.NewCache(types, guards, time.Minute), Guards: guards,
		Logger:    hclog.New(&hclog.LoggerOptions{Output: r}),
		Settings:  func(context.Context, store.Store) (store.Settings, error) { return r.settings, r.settingsErr },
		TryPolicy: func(context.Context, connection.Connection, password.Rules, int) error { return r.policy },
		Probes: func(name string, at time.Time) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.probes[name] = at
		},
		Retry: func(string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.retried++
		},
	})
}

// zeros is randomness that adds nothing to waits.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Write makes the rig the log.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

// logged counts the lines of the log that contain the text.
func (r *rig) logged(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.log.String(), text)
}

// retries returns how often roles were retried since the last call of it.
func (r *rig) retries() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, r.retried = r.retried, 0
	return n
}

func (r *rig) store() store.Store { return store.Store{Storage: r.storage} }

// newConn creates the connection.
func newConn() connection.Patch {
	return connection.Patch{Provider: ptr("remote"), Settings: provider.Settings{"key": "key"}, Change: func(o *connection.Options) {
		o.Address, o.AllowedRoles = "https://remote.example", []string{"*"}
	}}
}

// withKey is a patch with a credential; unchecked is one that is stored without a check.
func withKey(key string) connection.Patch {
	return connection.Patch{Settings: provider.Settings{"key": key}}
}

func unchecked(key string) connection.Patch {
	return connection.Patch{Settings: provider.Settings{"key": key}, Change: func(o *connection.Options) { o.VerifyConnection = false }}
}

// forced is a patch with a credential that is checked whatever it risks.
func forced(key string) connection.Patch {
	return connection.Patch{Settings: provider.Settings{"key": key}, Force: true}
}

func (r *rig) write(patch connection.Patch) error {
	return r.c.Write(r.Context(), r.storage, "conn", patch)
}

func (r *rig) mustWrite(patch connection.Patch) {
	r.Helper()
	require.NoError(r, r.write(patch))
}

func (r *rig) delete() error { return r.c.Delete(r.Context(), r.storage, "conn") }

// stored returns the stored connection, or nil.
func (r *rig) stored() *connection.Connection {
	r.Helper()
	stored, err := r.store().Connection(r.Context(), "conn")
	require.NoError(r, err)
	return stored
}

// createRole stores a role of the connection.
func (r *rig) createRole() {
	r.Helper()
	settings := provider.Settings{"login": "login"}
	target := provider.Target{Identities: []string{"|login"}, Settings: settings}
	one := &role.Role{Name: "role", Connection: "conn", Target: target, Options: role.Options{RotationPeriod: 3600}}
	require.NoError(r, r.store().PutRole(r.Context(), one))
	require.NoError(r, r.store().PutRole(r.Context(), &role.Role{Name: "other", Connection: "another"}))
	require.NoError(r, r.store().PutOwner(r.Context(), store.Owner{Role: "role", Identity: target.Identities[0]}))
}

func (r *rig) handle() *connection.Handle {
	r.Helper()
	h, err := r.c.Handle(r.Context(), r.store(), "conn")
	require.NoError(r, err)
	return h
}

// change makes a call with a handle, and does what has to be done if it is refused. It reports whether the credential works.
func (r *rig) change(h *connection.Handle) (works bool, err error) {
	began := r.c.Now()
	result, err := h.Call(r.Context(), r.Context(), r.store(), func() error { return nil }, func(ctx context.Context, client provider.Client) provider.Result {
		return client.Change(ctx, provider.Change{})
	})
	if err != nil {
		return false, r.c.Refuse(r.Context(), r.store(), h, err)
	}
	if result.Outcome == provider.Denied {
		return r.c.Denied(r.Context(), r.store(), h, began), nil
	}
	return result.Outcome == provider.Applied, nil
}

// pause pauses the connection, whose key is refused.
func (r *rig) pause() *connection.Pause {
	r.Helper()
	r.remote.answer("key", denied)
	works, err := r.change(r.handle())
	require.NoError(r, err)
	require.False(r, works)
	return r.requirePaused()
}

// requirePaused asserts that the connection is paused, in memory and in storage, and returns the pause.
func (r *rig) requirePaused() *connection.Pause {
	r.Helper()
	stored, err := r.store().Pause(r.Context(), "conn")
	require.NoError(r, err)
	require.NotNil(r, stored)
	require.Equal(r, stored, r.handle().Paused())
	report := r.c.Health.Report(r.c.Now())
	require.Len(r, report.Paused, 1)
	require.Equal(r, stored.NextProbe, report.Paused[0].NextProbe)
	require.Equal(r, stored.NextProbe, r.probes["conn"])
	return stored
}

// requireNotPaused asserts that no pause is stored, reported or probed.
func (r *rig) requireNotPaused() {
	r.Helper()
	stored, err := r.store().Pause(r.Context(), "conn")
	require.NoError(r, err)
	require.Nil(r, stored)
	require.Empty(r, r.c.Health.Report(r.c.Now()).Paused)
	require.Zero(r, r.probes["conn"])
	if h, err := r.c.Handle(r.Context(), r.store(), "conn"); err == nil {
		require.Nil(r, h.Paused())
	}
}

func requireKind(t *testing.T, kind problem.Kind, err error) {
	t.Helper()
	var known *problem.Error
	require.ErrorAs(t, err, &known)
	require.Equal(t, kind, known.Kind, known.Message)
}

// inBackground runs a function that is expected to wait, and returns its error.
func inBackground(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	synctest.Wait()
	return done
}

func ptr[T any](v T) *T { return &v }
