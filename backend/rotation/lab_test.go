package rotation

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestMain(m *testing.M) {
	// A dependency of the SDK starts this one when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// remote is a remote system with any number of accounts, whose answers a test decides.
type remote struct {
	mu        sync.Mutex
	passwords map[string]string
	calls     []provider.Change
	checks    int
	// answer decides what becomes of a change, and whether it is made; nil: applied.
	answer func(ctx context.Context, call int, c provider.Change) (provider.Result, bool)
	check  func() provider.Result
	// needsOld: changes present the old password.
	needsOld bool
	// loginIdentity is what connections log in with; checkTarget is called when a target is checked.
	loginIdentity string
	checkTarget   func()
	// lockout is what the remote system does to a credential that it refuses.
	lockout provider.Lockout
	// settleAfter: how long a queued change takes; parts: what a target consists of.
	settleAfter time.Duration
	parts       []string
}

func (r *remote) Name() string { return "remote" }
func (r *remote) ConnectionFields() []provider.Field {
	text := &framework.FieldSchema{Type: framework.TypeString}
	return []provider.Field{
		{Name: "key", Schema: text, Secret: true},
		{Name: "note", Schema: text, Local: true},
		{Name: "kind", Schema: text, Immutable: true},
	}
}
func (r *remote) CredentialForms() [][]string { return [][]string{{"key"}} }
func (r *remote) TargetFields() []provider.Field {
	return []provider.Field{{Name: "login", Schema: &framework.FieldSchema{Type: framework.TypeString}}}
}

func (r *remote) Complete(c *provider.Connection) error {
	if c.URL == "" {
		return errors.New("url is missing")
	}
	if !c.Settings.Has("kind") {
		c.Settings["kind"] = "a"
	}
	return nil
}

func (r *remote) Target(_ provider.Connection, s provider.Settings) (provider.Target, error) {
	login := s.String("login")
	return provider.Target{Names: []string{login}, Identities: []string{"remote|" + login}, Parts: r.parts, Username: login, Settings: s}, nil
}
func (r *remote) SettleAfter(provider.Connection) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settleAfter
}

// settles sets how long a queued change takes.
func (r *remote) settles(after time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settleAfter = after
}

// checksAs sets what a check of the connection answers.
func (r *remote) checksAs(result provider.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check = func() provider.Result { return result }
}

func (r *remote) Lockout(provider.Connection) provider.Lockout { return r.lockout }
func (r *remote) LoginIdentity(provider.Connection) string     { return r.loginIdentity }
func (r *remote) Rules(provider.Connection, provider.Target) password.Rules {
	return password.Rules{
		MinLength: 8, MaxLength: 64, Allowed: password.Lower + password.Upper + password.Digits,
		Recipe: password.Recipe{Length: 20, Classes: []password.Class{{Characters: password.Lower + password.Digits}}},
	}
}

func (r *remote) OldPassword(provider.Target) provider.OldPassword {
	return provider.OldPassword{Required: r.needsOld, LockWindow: 5 * time.Minute}
}
func (r *remote) Open(provider.Connection) (provider.Client, error) { return r, nil }

func (r *remote) Check(context.Context) provider.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks++
	if r.check != nil {
		return r.check()
	}
	return provider.Result{Outcome: provider.Applied}
}

func (r *remote) CheckTarget(context.Context, provider.Target) provider.Result {
	if r.checkTarget != nil {
		r.checkTarget()
	}
	return provider.Result{Outcome: provider.Applied}
}

func (r *remote) Change(ctx context.Context, c provider.Change) provider.Result {
	r.mu.Lock()
	r.calls = append(r.calls, c)
	call, answer := len(r.calls), r.answer
	r.mu.Unlock()
	result, applied := provider.Result{Outcome: provider.Applied}, true
	if answer != nil {
		result, applied = answer(ctx, call, c)
	}
	if applied {
		r.mu.Lock()
		r.passwords[c.Target.Username] = c.NewPassword
		r.mu.Unlock()
	}
	return result
}

func (r *remote) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls)
}

func (r *remote) checked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checks
}

func (r *remote) holds(login string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passwords[login]
}

// set changes how the remote system answers.
func (r *remote) set(answer func(ctx context.Context, call int, c provider.Change) (provider.Result, bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// always answers the same to every change.
func always(result provider.Result, applied bool) func(context.Context, int, provider.Change) (provider.Result, bool) {
	return func(context.Context, int, provider.Change) (provider.Result, bool) { return result, applied }
}

// refuseCredential lets changes and checks be refused for the connection's credential.
func (r *remote) refuseCredential() {
	denied := provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Code: "1001", Reason: "wrong password"}
	r.set(always(denied, false))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check = func() provider.Result { return denied }
}

// countOverlap lets each change take a second, and returns how to ask how many were under way at a time.
func (r *remote) countOverlap() (most func() int) {
	under, highest := 0, 0
	r.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
		r.mu.Lock()
		under++
		highest = max(highest, under)
		r.mu.Unlock()
		time.Sleep(time.Second) // of the bubble
		r.mu.Lock()
		under--
		r.mu.Unlock()
		return provider.Result{Outcome: provider.Applied}, true
	})
	return func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return highest
	}
}

// counted is storage that counts, and fails when it is told to.
type counted struct {
	logical.Storage
	mu                         sync.Mutex
	gets, puts, lists, deletes int
	fail                       func(operation, key string) error
}

func (c *counted) count(operation, key string, n *int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n++
	if c.fail != nil {
		return c.fail(operation, key)
	}
	return nil
}

func (c *counted) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	if err := c.count("get", key, &c.gets); err != nil {
		return nil, err
	}
	return c.Storage.Get(ctx, key)
}

func (c *counted) Put(ctx context.Context, e *logical.StorageEntry) error {
	if err := c.count("put", e.Key, &c.puts); err != nil {
		return err
	}
	return c.Storage.Put(ctx, e)
}

func (c *counted) Delete(ctx context.Context, key string) error {
	if err := c.count("delete", key, &c.deletes); err != nil {
		return err
	}
	return c.Storage.Delete(ctx, key)
}

func (c *counted) List(ctx context.Context, prefix string) ([]string, error) {
	if err := c.count("list", prefix, &c.lists); err != nil {
		return nil, err
	}
	return c.Storage.List(ctx, prefix)
}

func (c *counted) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gets, c.puts, c.lists, c.deletes = 0, 0, 0, 0
}

func (c *counted) operations() (gets, puts, lists, deletes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gets, c.puts, c.lists, c.deletes
}

func (c *counted) failing(fail func(operation, key string) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

// rig is an engine with a remote system and storage, in fake time.
type rig struct {
	*testing.T
	engine  *Engine
	remote  *remote
	storage *counted
	// readOnly: this node must not write.
	readOnly atomic.Bool
	// log is all that the engine has logged.
	log logged
	// policy makes passwords where a policy is named.
	policy func(name string) (string, error)
}

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines are those that hold the text.
func (l *logged) lines(text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// GeneratePasswordFromPolicy makes the rig the engine's Policies.
func (r *rig) GeneratePasswordFromPolicy(_ context.Context, name string) (string, error) {
	return r.policy(name)
}

// inFakeTime runs a test with an engine, in a bubble where time passes at once when all goroutines wait.
func inFakeTime(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, remote: &remote{passwords: map[string]string{}}, storage: &counted{Storage: &logical.InmemStorage{}}}
		r.start()
		defer func() { r.engine.Stop() }()
		// Nobody is Vault, which wakes the engine every minute so that it stores a heartbeat.
		require.NoError(t, r.engine.WriteSettings(t.Context(), r.storage, Settings{CatchUpLimit: 10 * 365 * 24 * 3600}))
		url, key := "https://remote.example", "key"
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{
			Provider: ptr("remote"), Address: &url, AllowedRoles: &[]string{"*"}, Settings: provider.Settings{"key": key},
		}))
		synctest.Wait() // what the connection woke has rested again
		test(t, r)
	})
}

func ptr[T any](v T) *T { return &v }

// start makes a new engine on the same storage, as a restart does.
func (r *rig) start() {
	r.engine = New(Config{
		Types: []provider.Type{r.remote}, Policies: r, Writable: func() bool { return !r.readOnly.Load() },
		Logger: hclog.New(&hclog.LoggerOptions{Output: &r.log, Level: hclog.Trace}),
	})
	r.engine.Start(r.storage)
	synctest.Wait()
}

func (r *rig) restart() {
	r.engine.Stop()
	r.start()
}

func options() Options {
	return Options{RotationMode: ModeAuto, MaxReadTTL: 300, HistorySize: 5, OnDrift: DriftReport}
}

// create makes the role "role" on the account "login".
func (r *rig) create(change func(*NewRole)) (*Report, error) {
	in := NewRole{Name: "role", Connection: "conn", Target: provider.Settings{"login": "login"}, Options: options()}
	if change != nil {
		change(&in)
	}
	return r.engine.Create(r.Context(), r.storage, in)
}

func (r *rig) mustCreate(change func(*NewRole)) {
	r.Helper()
	_, err := r.create(change)
	require.NoError(r, err)
}

func (r *rig) rotate() (*Report, error) {
	return r.engine.Rotate(r.Context(), r.storage, "role", 0)
}

func (r *rig) read() credential.View {
	r.Helper()
	report, err := r.engine.Read(r.Context(), r.storage, "role")
	require.NoError(r, err)
	return report.View
}

func (r *rig) role() *Role {
	r.Helper()
	role, err := r.engine.Role(r.Context(), r.storage, "role")
	require.NoError(r, err)
	require.NotNil(r, role)
	return role
}

// after lets time pass, and all that becomes due in it be done.
func after(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

// held asserts that what the remote system holds is among the passwords that Vault holds.
func (r *rig) held() {
	r.Helper()
	live := r.remote.holds("login")
	for _, p := range r.role().Record.List() {
		if p.Value == live {
			return
		}
	}
	r.Fatal("the remote system holds a password that Vault does not")
}

func kindOf(t *testing.T, err error) Kind {
	t.Helper()
	var known *Error
	require.ErrorAs(t, err, &known)
	return known.Kind
}
