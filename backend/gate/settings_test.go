package gate

import (
	"context"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/store"
)

func (r *rig) current() store.Settings {
	r.Helper()
	settings, err := r.gate.Current(r.Context(), r.store())
	require.NoError(r, err)
	return settings
}

func TestCurrentSettingsAreReadOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.Equal(t, 64, r.current().MinPasswordBits)
		other := store.Settings{CatchUpLimit: 60, MinPasswordBits: 10}
		require.NoError(t, r.store().PutSettings(t.Context(), other)) // on another node
		require.Equal(t, 64, r.current().MinPasswordBits)
		r.gate.ForgetSettings()
		require.Equal(t, 10, r.current().MinPasswordBits)
		require.EqualValues(t, 1, r.changed.Load())

		require.NoError(t, r.gate.WriteSettings(t.Context(), r.storage, func(s *store.Settings) { s.MinPasswordBits = 20 }))
		require.Equal(t, 20, r.current().MinPasswordBits)
		require.NoError(t, r.gate.ResetSettings(t.Context(), r.storage))
		require.Equal(t, 64, r.current().MinPasswordBits)
		require.EqualValues(t, 3, r.changed.Load(), "open connections have old limits")
	})
}

// Settings that were read before another node wrote them must not be kept.
func TestSettingsReadBeforeWriteAreNotKept(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		reading := &duringGet{r.storage, func() { r.gate.ForgetSettings() }}
		_, err := r.gate.Current(t.Context(), store.Store{Storage: reading})
		require.NoError(t, err)
		require.NoError(t, r.store().PutSettings(t.Context(), store.Settings{CatchUpLimit: 60, MinPasswordBits: 10}))
		require.Equal(t, 10, r.current().MinPasswordBits)
	})
}

type duringGet struct {
	logical.Storage
	during func()
}

func (d *duringGet) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	entry, err := d.Storage.Get(ctx, key)
	d.during()
	return entry, err
}
