package rotation

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestFirstReadMakesVersionDue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotateAfterRead, in.Options.MaxReadTTL = 600, 0 })
		advance(day)
		require.Equal(t, 1, r.version(), "it has not been read")
		r.storage.reset()
		require.Equal(t, 10*time.Minute, r.serve().TTL)
		require.Equal(t, 1, r.storage.counts().puts)
		advance(5 * time.Minute)
		r.storage.reset()
		for range 5 {
			require.Equal(t, 5*time.Minute, r.serve().TTL, "later reads do not move the due time")
		}
		require.Equal(t, counts{gets: 5}, r.storage.counts())
		r.restart()
		advance(5*time.Minute - time.Second)
		require.Equal(t, 1, r.version())
		advance(2 * time.Second)
		require.Equal(t, 2, r.version(), "also after a restart")
		advance(day)
		require.Equal(t, 2, r.version(), "the new version has not been read")

		r.readOnly.Store(true)
		_, err := r.engine.Serve(t.Context(), r.storage, "role")
		require.Equal(t, logical.ErrReadOnly, err)
		r.readOnly.Store(false)
		r.serve()
		r.readOnly.Store(true)
		require.Equal(t, 2, r.serve().View.Password.Version, "a standby serves what needs no write")
		r.readOnly.Store(false)

		require.NoError(t, r.deleteRole(false))
		require.Empty(t, r.entries(store.ReadPrefix))
		r.mustCreate(func(in *NewRole) { in.Options.RotateAfterRead = 600 })
		advance(day)
		require.Equal(t, 1, r.version())
	})
}

func TestUnstoredFirstReadReturnsNoPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotateAfterRead = 600 })
		r.storage.fail(opPut, store.ReadPrefix+"role", "full")
		_, err := r.engine.Serve(t.Context(), r.storage, "role")
		require.ErrorContains(t, err, "without which its password is not returned")
		r.storage.heal()
		r.serve()
	})
}

// A read of a password with an unknown outcome counts once that password is known to be in force.
func TestReadOfUnknownOutcomeMakesPasswordDue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.fail(unknown)
		r.mustCreate(func(in *NewRole) { in.Options.RotateAfterRead = 600 })
		require.Equal(t, credential.StateUncertain, r.serve().View.State)
		r.remote.succeed()
		advance(2 * time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, 1, r.version())
		advance(8*time.Minute - time.Second)
		require.Equal(t, 1, r.version())
		advance(2 * time.Second)
		require.Equal(t, 2, r.version())
		advance(day)
		require.Equal(t, 2, r.version(), "the new version has not been read")
	})
}

// A new password is not due because the one before it was read.
func TestRotationForgetsFirstRead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotateAfterRead, in.Options.MaxReadTTL = 600, 3600 })
		r.serve()
		advance(10*time.Minute - time.Second)
		require.Equal(t, time.Hour, r.mustRotate().TTL, "the next change is not due")
		r.storage.reset()
		advance(time.Hour)
		require.Equal(t, counts{}, r.storage.counts())
	})
}

// A first read counts even if the role is being written at the same time.
func TestFirstReadDuringUpdateIsNotForgotten(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(0, func(o *role.Options) { o.RotateAfterRead = 3600 })
		writing := r.storage.blockAt(on(opPut, roleKey))
		updated := make(chan struct{})
		go func() {
			defer close(updated)
			r.update(func(o *role.Options) { o.ReturnLast = true }, nil)
		}()
		synctest.Wait()
		require.True(t, writing.isReached())
		require.Equal(t, 1, r.serve().View.Password.Version)
		writing.release()
		<-updated
		r.wakeFor(65)
		require.Equal(t, 2, r.version())
	})
}

// A first read does not count any more once rotate_after_read is removed.
func TestRoleWithoutRotateAfterReadRests(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(0, func(o *role.Options) { o.RotateAfterRead = 3600 })
		r.serve()
		r.update(func(o *role.Options) { o.RotateAfterRead = 0 }, nil)
		advance(time.Minute)
		r.storage.reset()
		advance(2 * time.Hour)
		require.Equal(t, counts{}, r.storage.counts())
		require.Equal(t, 1, r.version())
	})
}

// Of two concurrent first reads, the one that was stored first counts.
func TestFirstReadIsStoredOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(0, func(o *role.Options) { o.RotateAfterRead = 3600 })
		var first *logical.StorageEntry
		h := &storagetest.Hooked{Storage: r.storage}
		h.After = func(operation, key string) {
			if operation == storagetest.Get && key == store.ReadPrefix+"role" && first == nil {
				r.serve()
				first, _ = r.storage.Get(r.Context(), key)
				advance(time.Minute)
			}
		}
		_, err := r.engine.Serve(t.Context(), h, "role")
		require.NoError(t, err)
		require.NotNil(t, first)
		r.serve()
		again, err := r.storage.Get(t.Context(), store.ReadPrefix+"role")
		require.NoError(t, err)
		require.Equal(t, string(first.Value), string(again.Value))
	})
}
