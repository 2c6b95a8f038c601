package rotation

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/storagetest"
)

// Vault stops all mounts of a plugin one after the other, and gives them little time.
const stopLimit = 2 * time.Second

// crowd makes roles whose first change was put off by the remote system, so that the engine's workers try it again.
func (r *rig) crowd(n int) (names []string) {
	r.Helper()
	for i := range n {
		name := fmt.Sprintf("role%d", i)
		_, err := r.create(func(in *NewRole) { in.Name, in.Target = name, provider.Settings{"login": name} })
		require.NoError(r, err)
		names = append(names, name)
	}
	r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget}, false))
	for _, name := range names {
		_, _ = r.engine.Rotate(r.Context(), r.storage, name, 0) // busy
	}
	return names
}

// stopped stops the engine and says how long that took.
func (r *rig) stopped() time.Duration {
	began := time.Now()
	r.engine.Stop()
	return time.Since(began)
}

// rested asserts that each role has its second password, which is the one that the remote system holds.
func (r *rig) rested(names []string) {
	r.Helper()
	for _, name := range names {
		report, err := r.engine.Read(r.Context(), r.storage, name)
		require.NoError(r, err)
		require.Equal(r, credential.StateActive, report.View.State, name)
		require.Equal(r, 2, report.View.Password.Version, name)
		require.Equal(r, r.remote.holds(name), report.View.Password.Value, name)
	}
}

// More roles than the connection has slots for: some workers talk to the remote system, the others have not begun.
func TestStoppingEndsWorkersThatTalkAtOnceAndBeginsNoOthers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		names := r.crowd(20)
		r.remote.set(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
			<-ctx.Done()
			return unknown, true
		})
		began := r.remote.count()
		after(time.Minute)
		require.Greater(t, r.remote.count(), began, "workers are in flight")
		require.Zero(t, r.stopped(), "all heed the engine's context")
		r.remote.set(nil)
		r.start()
		after(time.Hour / 2)
		r.rested(names)
	})
}

// A worker in a system call that does not heed its context cannot be ended, and neither can one whose storage hangs.
func TestStoppingWaitsLessThanTwoSecondsForWorkersThatCannotBeEnded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.engine.Stop() // nobody reads the field while it is set
		storage := storagetest.New(r.storage.Storage)
		r.storage.Storage = storage
		r.start()
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{MaxInFlight: ptr(8)}))
		names := r.crowd(8)
		hung, goOn := storage.Hang(rolePrefix + names[0])
		defer goOn()
		released := make(chan struct{})
		release := sync.OnceFunc(func() { close(released) })
		defer release()
		began := r.remote.count()
		r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			<-released
			return provider.Result{Outcome: provider.Applied}, true
		})
		after(time.Minute)
		require.NotEmpty(t, hung, "a worker waits for storage")
		require.Greater(t, r.remote.count(), began, "workers are in flight")
		took := r.stopped()
		require.Positive(t, took, "it gives them a while")
		require.Less(t, took, stopLimit)
		require.NotEmpty(t, r.log.lines("work was still under way"))
		release()
		goOn()
		synctest.Wait()
		r.remote.set(nil)
		r.start()
		after(time.Hour / 2)
		r.rested(names)
	})
}

// The sweep at the start reads every role; one of these reads hangs.
func TestStoppingWhileTheRolesAreReadIsAsQuick(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		names := r.crowd(3)
		r.engine.Stop()
		storage := storagetest.New(r.storage.Storage)
		r.storage.Storage = storage
		hung, goOn := storage.Hang(rolePrefix + names[1])
		defer goOn()
		r.start()
		require.NotEmpty(t, hung, "a worker waits for storage")
		require.Less(t, r.stopped(), stopLimit)
	})
}

func TestAStoppedEngineBeginsNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.crowd(3)
		r.engine.Stop()
		before := r.remote.count()
		r.engine.Wake()
		_, err := r.engine.Rotate(r.Context(), r.storage, "role0", 0)
		require.Equal(t, KindBusy, kindOf(t, err))
		require.False(t, r.engine.background(func(context.Context) { t.Error("work has begun after the end") }))
		after(3 * time.Hour)
		require.Equal(t, before, r.remote.count(), "no change is sent any more")
		require.Zero(t, r.stopped(), "stopping again is nothing")
	})
}
