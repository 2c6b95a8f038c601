package gate

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

const day = 24 * time.Hour

// entries are what Load reads, in order.
var entries = []string{store.SettingsKey, store.FreezeKey, store.HeartbeatKey}

// rig is the gate of a mount with its storage, in fake time.
type rig struct {
	*testing.T
	gate    *Gate
	storage *storagetest.Storage
	log     bytes.Buffer
	logger  hclog.Logger // of all gates, because they share the log
	// readOnly: the node is a standby.
	readOnly bool
	opened   atomic.Int32 // calls of Config.Opened
	changed  atomic.Int32 // calls of Config.SettingsChanged
}

func inFakeTime(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, storage: storagetest.New(&logical.InmemStorage{})}
		r.logger = hclog.New(&hclog.LoggerOptions{Output: &r.log})
		r.restart()
		defer func() { r.gate.Stop() }()
		test(t, r)
	})
}

// restart replaces the gate by one that is not loaded.
func (r *rig) restart() {
	if r.gate != nil {
		r.gate.Stop()
	}
	r.opened.Store(0)
	r.gate = r.newGate(func() bool { return !r.readOnly })
}

func (r *rig) newGate(writable func() bool) *Gate {
	return New(Config{
		Timing: timing.Timing{Now: func() time.Time { return time.Now().UTC().Round(0) }}, Writable: writable,
		Logger: r.logger,
		Opened: func() { r.opened.Add(1) }, SettingsChanged: func() { r.changed.Add(1) },
		Background: func(f func(context.Context, store.Store)) { f(r.Context(), r.store()) },
	})
}

func (r *rig) store() store.Store { return store.Store{Storage: r.storage} }

func (r *rig) load() {
	r.Helper()
	require.NoError(r, r.gate.Load(r.Context(), r.store()))
}

// stopFor loads the gate of an engine that did not run for that long, after it ran once.
func (r *rig) stopFor(d time.Duration) {
	r.Helper()
	r.load()
	r.gate.Stop()
	advance(d)
	r.restart()
	r.load()
}

func (r *rig) freeze(d time.Duration, reason string) *role.Freeze {
	r.Helper()
	f, err := r.gate.Write(r.Context(), r.storage, d, reason)
	require.NoError(r, err)
	return f
}

func (r *rig) read() *role.Freeze {
	r.Helper()
	f, err := r.gate.Read(r.Context(), r.storage)
	require.NoError(r, err)
	return f
}

func (r *rig) end() {
	r.Helper()
	require.NoError(r, r.gate.End(r.Context(), r.storage))
}

func (r *rig) setLimit(seconds int) {
	r.Helper()
	require.NoError(r, r.gate.WriteSettings(r.Context(), r.storage, func(s *store.Settings) { s.CatchUpLimit = seconds }))
}

func (r *rig) heartbeat() time.Time {
	r.Helper()
	at, err := r.store().Heartbeat(r.Context())
	require.NoError(r, err)
	return at
}

// requireOpen asserts that the gate is open, for everyone who asks.
func (r *rig) requireOpen() {
	r.Helper()
	require.True(r, r.gate.Open())
	closed, until := r.gate.Frozen()
	require.False(r, closed)
	require.Zero(r, until)
	require.Nil(r, r.gate.Freeze())
	require.Nil(r, r.read())
}

// requireClosed asserts that the gate is closed until a time; zero if that is not known.
func (r *rig) requireClosed(until time.Time) {
	r.Helper()
	require.False(r, r.gate.Open())
	closed, at := r.gate.Frozen()
	require.True(r, closed)
	require.Equal(r, until, at)
}

// requireFrozen asserts that only an operator opens the gate, because this Vault may be a copy.
func (r *rig) requireFrozen() {
	r.Helper()
	r.requireClosed(time.Time{})
	require.Contains(r, r.read().Reason, "if this is a copy of another Vault")
	require.Equal(r, r.read(), r.gate.Freeze())
}

// logged counts the lines of the log that contain the text.
func (r *rig) logged(text string) (n int) {
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// advance lets time pass, and waits for everything that becomes due.
func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func requireKind(t *testing.T, kind problem.Kind, err error) {
	t.Helper()
	var known *problem.Error
	require.ErrorAs(t, err, &known)
	require.Equal(t, kind, known.Kind)
}
