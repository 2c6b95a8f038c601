package connection

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// remote is a provider whose connections log in with a key, or with a user and a password.
type remote struct {
	lockout     provider.Lockout
	settleAfter time.Duration
	// check answers the check of a connection; nil: applied.
	check func(ctx context.Context) provider.Result
	// opens is the error of Open.
	opens error
}

func (r *remote) Name() string { return "remote" }

func (r *remote) ConnectionFields() []provider.Field {
	text := &framework.FieldSchema{Type: framework.TypeString}
	return []provider.Field{
		{Name: "key_id", Schema: text}, {Name: "key", Schema: text, Secret: true}, {Name: "token", Schema: text, Secret: true},
		{Name: "user", Schema: text}, {Name: "password", Schema: text, Secret: true},
		{Name: "login_url", Schema: text, Address: true},
		{Name: "project", Schema: text, Immutable: true},
		{Name: "note", Schema: text, Local: true},
		{Name: "tags", Schema: &framework.FieldSchema{Type: framework.TypeCommaStringSlice}},
		{Name: "settle", Schema: &framework.FieldSchema{Type: framework.TypeDurationSecond}},
	}
}

func (r *remote) CredentialForms() [][]string {
	return [][]string{{"key_id", "key", "token"}, {"user", "password"}}
}

func (r *remote) TargetFields() []provider.Field { return nil }

func (r *remote) Complete(c *provider.Connection) error {
	switch c.URL {
	case "bad":
		return errors.New("the url is not valid")
	case "":
		c.URL = "https://remote.example"
	}
	if !c.Settings.Has("login_url") {
		c.Settings["login_url"] = "https://login.example"
	}
	return nil
}

func (r *remote) Target(provider.Connection, provider.Settings) (provider.Target, error) {
	return provider.Target{}, nil
}
func (r *remote) Host(c provider.Connection) string                                 { return c.URL }
func (r *remote) LoginIdentity(provider.Connection) string                          { return "" }
func (r *remote) Lockout(provider.Connection) provider.Lockout                      { return r.lockout }
func (r *remote) Rules(provider.Connection, provider.Target) (rules password.Rules) { return rules }
func (r *remote) OldPassword(provider.Target) (old provider.OldPassword)            { return old }
func (r *remote) Logins(provider.Connection, provider.Target) []provider.Login      { return nil }
func (r *remote) SettleAfter(provider.Connection) time.Duration                     { return r.settleAfter }

func (r *remote) Open(provider.Connection) (provider.Client, error) {
	if r.opens != nil {
		return nil, r.opens
	}
	return &client{r}, nil
}

type client struct{ *remote }

func (c *client) Check(ctx context.Context) provider.Result {
	if c.check == nil {
		return applied
	}
	return c.check(ctx)
}

func (c *client) CheckTarget(context.Context, provider.Target) provider.Result { return applied }
func (c *client) Change(context.Context, provider.Change) provider.Result      { return applied }

var (
	applied  = provider.Result{Outcome: provider.Applied}
	refused  = provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection}
	throttle = provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection}
	five     = provider.Lockout{Credential: "remote|key", Refusals: 5}
)

var errStorage = errors.New("storage is out of order")

// rig is a cache of connections with storage for their guards, in fake time. It notes what happens in order.
type rig struct {
	*testing.T
	remote *remote
	cache  *Cache

	mu      sync.Mutex // guards the fields below
	events  []string
	entries map[string]lockout.Attempts
	fails   bool
}

func inFakeTime(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newRig(t)) })
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, remote: &remote{}, entries: map[string]lockout.Attempts{}}
	guards := lockout.NewGuards(lockout.Config{
		Timing: timing.Timing{Now: time.Now, Random: zeros{}}, Warn: func(string, error) { r.note("warning") },
	})
	r.cache = NewCache(types(r.remote), guards, time.Minute)
	return r
}

func types(kind provider.Type) map[string]provider.Type {
	return map[string]provider.Type{"remote": kind}
}

// zeros is randomness that adds nothing to waits.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func (r *rig) note(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

// noted returns what has happened since the last call of it.
func (r *rig) noted() (events []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	events, r.events = r.events, nil
	return events
}

func (r *rig) failing(fails bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = fails
}

// Attempts makes the rig a store of lockout guards.
func (r *rig) Attempts(ctx context.Context, key string) (lockout.Attempts, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails {
		return lockout.Attempts{}, errStorage
	}
	return r.entries[key], ctx.Err()
}

// PutAttempts makes the rig a store of lockout guards.
func (r *rig) PutAttempts(ctx context.Context, key string, a lockout.Attempts) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails {
		return errStorage
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	event := "stored"
	if a.Refused+a.Unanswered > r.entries[key].Refused+r.entries[key].Unanswered {
		event = "counted"
	}
	r.events = append(r.events, event)
	r.entries[key] = a
	return nil
}

// open returns a handle of a connection with room for two changes.
func (r *rig) open(change func(*Connection)) *Handle {
	r.Helper()
	stored := Connection{
		Name: "conn", Provider: "remote", Options: Options{RequestTimeout: 30, MaxInFlight: 2},
		Settings: provider.Settings{"key": "secret"}, Revision: 1,
	}
	if change != nil {
		change(&stored)
	}
	h, err := r.cache.Open(stored, Limits{})
	require.NoError(r, err)
	return h
}

// nothing is what a call stores before it, and does.
func nothing() error { return nil }

func (r *rig) before() error { r.note("before"); return nil }

// result is a call that is noted, with a result.
func (r *rig) result(result provider.Result) func(context.Context, provider.Client) provider.Result {
	return func(context.Context, provider.Client) provider.Result {
		r.note("call")
		return result
	}
}

// noWait is the context of background work, which does not wait.
var noWait context.Context

// call makes a call in the background, with a result.
func (r *rig) call(h *Handle, result provider.Result) {
	r.Helper()
	got, err := h.Call(r.Context(), noWait, r, nothing, r.result(result))
	require.NoError(r, err)
	require.Equal(r, result, got)
}

// refuses asserts that a call fails with an error before anything is done for it.
func (r *rig) refuses(h *Handle, want error) {
	r.Helper()
	r.noted()
	_, err := h.Call(r.Context(), noWait, r, r.before, r.result(applied))
	require.ErrorIs(r, err, want)
	events := slices.DeleteFunc(r.noted(), func(event string) bool { return event == "stored" })
	require.Empty(r, events)
}

// hang makes a call that takes its time. end ends it with a result.
func (r *rig) hang(waiting context.Context, h *Handle) (end func(provider.Result)) {
	r.Helper()
	results, done := make(chan provider.Result), make(chan error, 1)
	go func() {
		_, err := h.Call(r.Context(), waiting, r, nothing, func(context.Context, provider.Client) provider.Result { return <-results })
		done <- err
	}()
	synctest.Wait()
	require.Empty(r, done, "the call runs")
	return func(result provider.Result) {
		r.Helper()
		results <- result
		require.NoError(r, <-done)
	}
}

// throttled holds the credential of a connection.
func (r *rig) throttled(h *Handle) {
	r.Helper()
	permit, err := h.Guard.Enter(noWait)
	require.NoError(r, err)
	permit.Answered(r.Context(), r, throttle)
	require.True(r, h.Guard.HeldUntil().After(time.Now()))
}
