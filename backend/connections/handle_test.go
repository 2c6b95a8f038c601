package connections

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestHandleIsReadOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h := r.handle()
		r.storage.Arm(1, storagetest.Down, nil)
		require.Same(t, h, r.handle())
		r.storage.Heal()
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 9 }})
		require.NotSame(t, h, r.handle())
		require.Equal(t, 9, r.handle().MaxInFlight)
	})
}

func TestHandleOfUnknownConnection(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		_, err := r.c.Handle(t.Context(), r.store(), "other")
		require.ErrorIs(t, err, problem.ErrNoConnection)
		stored := r.stored()
		stored.Provider = "gone"
		require.NoError(t, r.store().PutConnection(t.Context(), stored))
		r.c.Cache.Drop("conn")
		_, err = r.c.Handle(t.Context(), r.store(), "conn")
		require.ErrorContains(t, err, "does not support")
		_, err = r.c.Read(t.Context(), r.storage, "conn")
		require.ErrorContains(t, err, "does not support")
	})
}

// A handle without its pause or its lockout guard would present a refused credential.
func TestHandleNeedsAllItsEntries(t *testing.T) {
	withRemote(t, &remote{refusals: 5}, func(t *testing.T, r *rig) {
		guard := r.handle().Guard
		for i, key := range []string{
			store.ConnectionPrefix + "conn", store.PausePrefix + "conn", store.GuardPrefix + guard.HoldKey(), store.GuardPrefix + guard.Key(),
		} {
			r.restart()
			r.storage.Arm(i+1, storagetest.Fails, nil)
			_, err := r.c.Handle(t.Context(), r.store(), "conn")
			require.ErrorContains(t, err, key)
			before, err := r.storage.Get(t.Context(), key)
			require.NoError(t, err)
			require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte(`{"schema":99}`)}))
			_, err = r.c.Handle(t.Context(), r.store(), "conn")
			require.ErrorContains(t, err, key+" was written by a newer version")
			if before == nil {
				require.NoError(t, r.storage.Delete(t.Context(), key))
			} else {
				require.NoError(t, r.storage.Put(t.Context(), before))
			}
			r.handle()
		}
	})
}

// A pause that is left of an older credential says nothing about the one in use.
func TestPauseAppliesToItsRevisionOnly(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		for revision, applies := range []bool{false, true, false} {
			require.NoError(t, r.store().PutPause(t.Context(), "conn", &connection.Pause{Revision: revision, Reason: "refused"}))
			r.restart()
			require.Equal(t, applies, r.handle().Paused() != nil, "revision %d of 1", revision)
		}
	})
}
