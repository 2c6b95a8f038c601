package connections

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
)

// requireGone asserts that nothing is left of the connection.
func (r *rig) requireGone() {
	r.Helper()
	r.requireNotPaused()
	_, err := r.c.Handle(r.Context(), r.store(), "conn")
	require.ErrorIs(r, err, problem.ErrNoConnection)
	for _, prefix := range []string{store.ConnectionPrefix, store.PausePrefix} {
		left, err := r.storage.List(r.Context(), prefix)
		require.NoError(r, err)
		require.Empty(r, left)
	}
}

func TestConnectionInUseIsNotDeleted(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createRole()
		err := r.delete()
		requireKind(t, problem.KindMistake, err)
		require.ErrorContains(t, err, `1 role uses it (role)`)
		require.NoError(t, r.storage.Delete(t.Context(), store.RolePrefix+"role"))
		r.pause()
		require.NoError(t, r.delete())
		r.requireGone()
		require.NoError(t, r.delete(), "it is not there")
	})
}

func TestRecreatedConnectionInheritsNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.answer("key", provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, RetryAfter: 30 * time.Minute})
		_, err := r.change(r.handle())
		require.NoError(t, err)
		_, err = r.change(r.handle())
		require.ErrorContains(t, err, "Try again later")
		require.NoError(t, r.delete())
		r.remote.answer("key", applied)
		another := newConn()
		another.Change = func(o *connection.Options) { o.Address, o.AllowedRoles = "https://another.example", []string{"*"} }
		r.mustWrite(another)
		works, err := r.change(r.handle())
		require.NoError(t, err)
		require.True(t, works)
	})
}

// A connection that is deleted during an update stays deleted, and nothing of the update is left in storage.
func TestUpdateDoesNotRestoreDeletedConnection(t *testing.T) {
	for name, block := range map[string]func(r *rig) (release func()){
		"during its check": func(r *rig) func() { return r.remote.blockCalls("new") },
		"before its storing": func(r *rig) (release func()) {
			release = func() {}
			r.remote.onCall(func(string) { _, release = r.storage.Hang(store.ConnectionPrefix + "conn") })
			return func() { release() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				release := block(r)
				defer release()
				updated := inBackground(func() error { return r.write(withKey("new")) })
				require.Empty(t, updated)
				deleted := inBackground(r.delete)
				require.Empty(t, deleted, "it waits for the update")
				release()
				require.NoError(t, <-updated)
				require.NoError(t, <-deleted)
				r.requireGone()
			})
		})
	}
}

// The deletion has begun when the update comes.
func TestUpdateDuringDeletionFails(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		hung, release := r.storage.Hang(store.ConnectionPrefix + "conn")
		defer release()
		deleted := inBackground(r.delete)
		<-hung
		updated := inBackground(func() error { return r.write(withKey("new")) })
		release()
		require.NoError(t, <-deleted)
		requireKind(t, problem.KindMistake, <-updated) // there is no connection to update
		r.requireGone()
	})
}

// A deletion that fails can be repeated, and is not half done for those who use the connection.
func TestFailedDeletionCanBeRepeated(t *testing.T) {
	failed := 0
	for n := 1; ; n++ {
		met := ""
		inFakeTime(t, func(t *testing.T, r *rig) {
			r.createRole()
			require.NoError(t, r.storage.Delete(t.Context(), store.RolePrefix+"role"))
			r.pause()
			r.storage.Arm(n, storagetest.Fails, nil)
			err := r.delete()
			if met = r.storage.Heal(); met != "" {
				failed++
				require.ErrorIs(t, err, storagetest.ErrFault, met)
				if r.stored() != nil {
					require.NotNil(t, r.handle().Paused(), met)
				}
				require.NoError(t, r.delete(), met)
			}
			r.requireGone()
		})
		if met == "" {
			break
		}
	}
	require.Greater(t, failed, 5)
}

// A request that waits for another one too long ends without an effect.
func TestRequestGivesUpWaitingForOthers(t *testing.T) {
	for name, lock := range map[string]func(r *rig) (func(), error){
		"another writes the connection": func(r *rig) (func(), error) { return r.c.writing.Lock(r.Context(), "conn") },
		"another writes a role":         func(r *rig) (func(), error) { return r.c.Index.Lock(r.Context(), "conn") },
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				before := r.stored()
				unlock, err := lock(r)
				require.NoError(t, err)
				defer unlock()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				requireKind(t, problem.KindBusy, r.c.Write(ctx, r.storage, "conn", connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 3 }}))
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				requireKind(t, problem.KindBusy, r.c.Delete(ctx, r.storage, "conn"))
				require.Equal(t, before, r.stored())
			})
		})
	}
}
