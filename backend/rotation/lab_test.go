package rotation

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/verify"
)

func TestMain(m *testing.M) {
	// A dependency of the SDK starts this goroutine when it is loaded.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const day = 24 * time.Hour

// rig is an engine with a simulated remote system and storage, in fake time. Its connection is "conn", with the key "key";
// most tests use one role, "role", on the account "login".
type rig struct {
	*testing.T
	engine  *Engine
	remote  *remote
	storage *storage
	// readOnly: this node must not write.
	readOnly atomic.Bool
	log      logged
	events   sent
	// clock is the engine's; nil: its own.
	clock func() time.Time
	// login is the engine's; see proves.
	login func(context.Context, verify.Login) provider.Proof
	// policy makes passwords for a named password policy.
	policy func(name string) (string, error)
}

// inFakeTime runs a test with a rig in a bubble, where time advances at once when all goroutines wait.
func inFakeTime(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		defer func() { r.engine.Stop() }()
		// Vault wakes the engine every minute, which stores a heartbeat; most tests do not.
		r.setCatchUpLimit(10 * 365 * 24 * 3600)
		r.createConnection("conn", "key")
		synctest.Wait() // the work that the new connection started
		test(t, r)
	})
}

func newRig(t *testing.T) *rig {
	return &rig{T: t, remote: &remote{passwords: map[string]string{}}, storage: &storage{Storage: &logical.InmemStorage{}}}
}

// GeneratePasswordFromPolicy makes the rig the engine's Policies.
func (r *rig) GeneratePasswordFromPolicy(_ context.Context, name string) (string, error) {
	return r.policy(name)
}

// start starts a new engine on the same storage, as a restart does.
func (r *rig) start() { r.startWith(r.remote) }

// startWith is start with another kind of remote system.
func (r *rig) startWith(kind provider.Type) {
	r.engine = New(Config{
		Types: []provider.Type{kind}, Policies: r, Writable: func() bool { return !r.readOnly.Load() }, Clock: r.clock, Login: r.login,
		Logger: hclog.New(&hclog.LoggerOptions{Output: &r.log, Level: hclog.Trace}), Events: r.events.send,
	})
	r.engine.Start(r.storage)
	synctest.Wait()
}

func (r *rig) restart() { r.restartWith(r.remote) }

func (r *rig) restartWith(kind provider.Type) {
	r.engine.Stop()
	r.startWith(kind)
}

// standby starts an engine that must not write, on the same storage.
func (r *rig) standby() *Engine {
	e := New(Config{Types: []provider.Type{r.remote}, Policies: r, Writable: func() bool { return false }})
	e.Start(r.storage)
	synctest.Wait()
	return e
}

// advance lets time pass, and waits for everything that becomes due.
func advance(d time.Duration) {
	time.Sleep(d) // in the bubble
	synctest.Wait()
}

// wakeFor lets minutes pass, and wakes the engine in each, as Vault's periodic function does.
func (r *rig) wakeFor(minutes int) {
	for range minutes {
		r.engine.Wake()
		advance(time.Minute)
	}
}

// setCatchUpLimit sets the mount's catch_up_limit in seconds.
func (r *rig) setCatchUpLimit(seconds int) {
	r.Helper()
	require.NoError(r, r.engine.Gate.WriteSettings(r.Context(), r.storage, func(s *store.Settings) { s.CatchUpLimit = seconds }))
}

// freeze freezes the mount.
func (r *rig) freeze(d time.Duration) *role.Freeze {
	r.Helper()
	freeze, err := r.engine.Gate.Write(r.Context(), r.storage, d, "a release")
	require.NoError(r, err)
	return freeze
}

// frozen returns the freeze in force, or nil.
func (r *rig) frozen() *role.Freeze {
	r.Helper()
	freeze, err := r.engine.Gate.Read(r.Context(), r.storage)
	require.NoError(r, err)
	return freeze
}

func (r *rig) unfreeze() {
	r.Helper()
	require.NoError(r, r.engine.Gate.End(r.Context(), r.storage))
}

// newConn is the patch that creates a connection with a key, and with other changes.
func newConn(key string, changes ...func(*connection.Options)) connection.Patch {
	return connection.Patch{
		Provider: ptr("remote"), Settings: provider.Settings{"key": key},
		Change: func(o *connection.Options) {
			o.Address, o.AllowedRoles, o.AllowedPasswordPolicies = "https://remote.example", []string{"*"}, []string{"*"}
			for _, change := range changes {
				change(o)
			}
		},
	}
}

func (r *rig) createConnection(name, key string) {
	r.Helper()
	require.NoError(r, r.engine.Connections.Write(r.Context(), r.storage, name, newConn(key)))
}

// writeConn changes the connection "conn".
func (r *rig) writeConn(patch connection.Patch) error {
	return r.engine.Connections.Write(r.Context(), r.storage, "conn", patch)
}

func (r *rig) mustWriteConn(patch connection.Patch) {
	r.Helper()
	require.NoError(r, r.writeConn(patch))
}

// withKey is a patch with a credential; unchecked is one that is stored without a check.
func withKey(key string) connection.Patch {
	return connection.Patch{Settings: provider.Settings{"key": key}}
}

// forced is one that is checked even if one more refusal could lock it.
func forced(key string) connection.Patch {
	return connection.Patch{Settings: provider.Settings{"key": key}, Force: true}
}

func unchecked(key string) connection.Patch {
	return connection.Patch{Settings: provider.Settings{"key": key}, Change: func(o *connection.Options) { o.VerifyConnection = false }}
}

// pauseConn pauses the connection, for a change of the role "other".
func (r *rig) pauseConn() {
	r.Helper()
	r.remote.refuseCredential()
	require.Equal(r, problem.KindUnreachable, kindOf(r.T, r.rotateOther()))
	require.ErrorContains(r, r.rotateOther(), "has been paused since")
}
