package gate

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestFreezeEndsAtItsTime(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		f := r.freeze(3*time.Hour, " a release\n")
		require.Equal(t, "a release", f.Reason)
		require.Equal(t, 3*time.Hour, f.Until.Sub(f.Since))
		r.requireClosed(f.Until)
		advance(2 * time.Hour)
		r.restart()
		r.load() // the freeze is stored
		r.requireClosed(f.Until)
		require.Equal(t, f, r.read())
		advance(time.Hour - 1)
		r.requireClosed(f.Until)
		r.opened.Store(0)
		advance(1)
		r.requireOpen()
		require.EqualValues(t, 1, r.opened.Load())
		require.Equal(t, 1, r.logged("the freeze has ended"))
	})
}

// What a freeze held back is spread when it ends, and not again at each start.
func TestEndOfFreezeIsAnnouncedOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		r.freeze(time.Hour, "a release")
		advance(time.Hour)
		for range 2 {
			r.restart()
			r.load()
			advance(time.Second)
			r.requireOpen()
			require.EqualValues(t, 1, r.opened.Load(), "for what requests have queued")
		}
		require.Equal(t, 1, r.logged("the freeze has ended"))
	})
}

func TestLaterFreezeReplacesOneWithAnEnd(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		first := r.freeze(time.Hour, "a release")
		advance(30 * time.Minute)
		second := r.freeze(2*time.Hour, "a longer one")
		require.Equal(t, first.Since, second.Since, "the mount has been frozen since then")
		advance(time.Hour)
		r.requireClosed(second.Until)
		require.Equal(t, "a longer one", r.read().Reason)
		third := r.freeze(time.Minute, "nearly done")
		advance(time.Minute)
		r.requireOpen()
		require.Equal(t, 1, r.logged("the freeze has ended"))
		require.True(t, r.freeze(time.Hour, "another one").Since.After(third.Since), "the one before is over")
	})
}

func TestFreezeIsChecked(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		for want, c := range map[string]struct {
			duration time.Duration
			reason   string
		}{
			"reason is missing":   {time.Hour, " "},
			"duration is missing": {0, "a release"}, "between 1 second": {-time.Hour, "a release"}, "90 days": {maxFreeze + 1, "a release"},
		} {
			_, err := r.gate.Write(t.Context(), r.storage, c.duration, c.reason)
			requireKind(t, problem.KindMistake, err)
			require.ErrorContains(t, err, want)
			r.requireOpen()
		}
		r.freeze(maxFreeze, "a release")
	})
}

func TestStorageErrorLeavesGateAsItWas(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		write := func() error {
			_, err := r.gate.Write(t.Context(), r.storage, time.Hour, "a release")
			return err
		}
		r.storage.Arm(1, storagetest.Fails, nil)
		require.ErrorContains(t, write(), "checking whether automatic changes are frozen failed")
		r.storage.Arm(2, storagetest.Fails, nil)
		require.ErrorContains(t, write(), "may have taken effect")
		r.requireOpen()
		require.NoError(t, write())
		until := r.gate.Freeze().Until
		for operation := range 2 {
			r.storage.Arm(1+operation, storagetest.Fails, nil)
			require.ErrorContains(t, r.gate.End(t.Context(), r.storage), "may have taken effect")
			r.requireClosed(until)
		}
		r.storage.Arm(1, storagetest.Fails, nil)
		_, err := r.gate.Read(t.Context(), r.storage)
		require.ErrorIs(t, err, storagetest.ErrFault)
	})
}

// A request that cannot get the gate's lock in time ends without an effect.
func TestRequestGivesUpWaitingForGate(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		unlock, err := r.gate.loading.Lock(t.Context(), "")
		require.NoError(t, err)
		defer unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = r.gate.Write(ctx, r.storage, time.Hour, "a release")
		requireKind(t, problem.KindBusy, err)
		requireKind(t, problem.KindBusy, r.gate.End(ctx, r.storage))
		r.requireOpen()
	})
}

func TestStoppedGateCallsNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		r.freeze(time.Hour, "a release")
		r.gate.Stop()
		r.freeze(time.Hour, "as it stops")
		advance(2 * time.Hour)
		require.EqualValues(t, 1, r.opened.Load())
		require.Zero(t, r.logged("the freeze has ended"))
	})
}

// One operator ends a freeze while another one writes the next: what is stored applies.
func TestFreezeWrittenWhileAnotherEndsHolds(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		r.freeze(time.Hour, "a release")
		written := make(chan error, 1)
		h := &storagetest.Hooked{Storage: r.storage, After: func(operation, key string) {
			if operation == storagetest.Delete && key == store.FreezeKey {
				go func() {
					_, err := r.gate.Write(t.Context(), r.storage, 10*time.Hour, "another one")
					written <- err
				}()
				time.Sleep(time.Second)
			}
		}}
		require.NoError(t, r.gate.End(t.Context(), h))
		require.NoError(t, <-written)
		require.Equal(t, "another one", r.read().Reason)
		advance(2 * time.Hour)
		r.requireClosed(r.read().Until)
	})
}

// A standby knows the freeze, but the heartbeat only matters once it is promoted.
func TestPromotedStandbyComparesHeartbeat(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		r.restart()
		r.readOnly = true
		r.gate.Look(t.Context(), r.store())
		require.False(t, r.gate.Open(), "it does nothing by itself")
		closed, _ := r.gate.Frozen()
		require.False(t, closed, "the active node may change a password that is read")
		last := r.heartbeat()
		advance(26 * time.Hour)
		r.gate.Wake()
		require.Equal(t, last, r.heartbeat())
		r.readOnly = false
		r.requireClosed(time.Time{})
		r.load()
		r.requireFrozen()
	})
}

// A standby reads the freeze once, and again when another node may have written it.
func TestStandbyReadsFreezeWhenItChanges(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		standby := r.newGate(func() bool { return false })
		defer standby.Stop()
		look := func() (closed bool, until time.Time) {
			standby.Look(t.Context(), r.store())
			return standby.Frozen()
		}
		r.storage.Arm(1, storagetest.Fails, nil)
		closed, _ := look()
		require.True(t, closed, "what cannot be read may be a freeze")
		closed, _ = look()
		require.False(t, closed)
		f := r.freeze(time.Hour, "a release")
		closed, _ = look()
		require.False(t, closed, "nothing says that it changed")
		standby.Invalidate()
		closed, until := look()
		require.True(t, closed)
		require.Equal(t, f.Until, until)
		advance(time.Hour)
		closed, _ = look()
		require.False(t, closed)
	})
}

// A freeze written while a standby reads the one before applies.
func TestStandbyDoesNotKeepOlderFreeze(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		standby := r.newGate(func() bool { return false })
		defer standby.Stop()
		written := false
		h := &storagetest.Hooked{Storage: r.storage, After: func(operation, key string) {
			if operation == storagetest.Get && key == store.FreezeKey && !written {
				written = true
				r.freeze(time.Hour, "a release")
				standby.Invalidate()
			}
		}}
		standby.Look(t.Context(), store.Store{Storage: h})
		closed, _ := standby.Frozen()
		require.True(t, closed, "what was read is not what is stored now")
		standby.Look(t.Context(), store.Store{Storage: h})
		require.Equal(t, "a release", standby.Freeze().Reason)
	})
}

// The active node reads the freeze again if another node may have written it, and not while it waits to be loaded.
func TestActiveNodeLooksOnlyOnceLoaded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.storage.Arm(1, storagetest.Fails, nil)
		r.gate.Look(t.Context(), r.store())
		require.Empty(t, r.storage.Heal(), "nothing was read")
		r.requireClosed(time.Time{})
		r.load()
		require.NoError(t, r.store().PutFreeze(t.Context(), &role.Freeze{Until: time.Now().UTC().Add(time.Hour)}))
		r.gate.Invalidate()
		r.gate.Look(t.Context(), r.store())
		r.requireClosed(time.Now().UTC().Add(time.Hour))
		require.NoError(t, r.storage.Delete(t.Context(), store.FreezeKey))
		r.gate.Invalidate()
		r.gate.Look(t.Context(), r.store())
		r.requireOpen()
	})
}
