package rotation

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

// stopLimit is how long a stop may take: Vault stops all mounts of a plugin one after the other.
const stopLimit = 2 * time.Second

// createPending creates roles with a change that the remote system was too busy for, so that workers retry it.
func (r *rig) createPending(n int) (names []string) {
	r.Helper()
	names = roleNames(n)
	r.createRoles(names...)
	r.remote.fail(busy)
	r.rotateAll(names...)
	return names
}

// stopped stops the engine and returns how long that took.
func (r *rig) stopped() time.Duration {
	began := time.Now()
	r.engine.Stop()
	return time.Since(began)
}

// requireResumed asserts that a new engine finishes the changes of the roles.
func (r *rig) requireResumed(names []string) {
	r.Helper()
	r.remote.succeed()
	r.start()
	advance(time.Hour / 2)
	for _, name := range names {
		r.requireVersion(name, 2)
		report, err := r.engine.Read(r.Context(), r.storage, name)
		require.NoError(r, err)
		require.Equal(r, credential.StateActive, report.View.State, name)
	}
}

// The connection has fewer slots than there are roles: some workers make calls, the others have not begun.
func TestStopEndsRunningCallsAtOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		names := r.createPending(20)
		r.remote.onChange(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
			<-ctx.Done()
			return unknown, true
		})
		began := r.remote.changeCount()
		advance(time.Minute)
		require.Greater(t, r.remote.changeCount(), began, "calls are running")
		require.Zero(t, r.stopped(), "all calls end with the engine's context")
		r.requireResumed(names)
	})
}

// A worker in a call or in storage that ignores its context cannot be stopped.
func TestStopWaitsBrieflyForStuckWorkers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 8 }})
		names := r.createPending(8)
		storing := r.storage.blockAt(on(opGet, store.RolePrefix+names[0]))
		defer storing.release()
		changes := newBlock()
		defer changes.release()
		began := r.remote.changeCount()
		r.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
			changes.wait()
			return applied, true
		})
		advance(time.Minute)
		require.True(t, storing.isReached(), "a worker waits for storage")
		require.Greater(t, r.remote.changeCount(), began, "calls are running")
		took := r.stopped()
		require.Positive(t, took, "it waits for a while")
		require.Less(t, took, stopLimit)
		require.NotEmpty(t, r.log.lines("work was still running"))
		changes.release()
		storing.release()
		synctest.Wait()
		r.requireResumed(names)
	})
}

// The sweep at the start reads every role, and one of these reads hangs.
func TestStopDuringSweepIsQuick(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		names := r.createPending(3)
		r.engine.Stop()
		reading := r.storage.blockAt(on(opGet, store.RolePrefix+names[1]))
		defer reading.release()
		r.start()
		require.True(t, reading.isReached(), "the sweep waits for storage")
		require.Less(t, r.stopped(), stopLimit)
	})
}

func TestStoppedEngineStartsNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createPending(3)
		r.engine.Stop()
		before := r.remote.changeCount()
		r.engine.Wake()
		require.Equal(t, problem.KindBusy, kindOf(t, r.rotateAll("role0")[0]))
		require.False(t, r.engine.background(func(context.Context) { t.Error("work began after the stop") }))
		advance(3 * time.Hour)
		require.Equal(t, before, r.remote.changeCount(), "no change is sent")
		require.Zero(t, r.stopped(), "a second stop does nothing")
	})
}
