package connections

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

// A connection that cannot be used does not keep others from being written.
func TestUnusableConnectionStopsNoWrite(t *testing.T) {
	for name, entry := range map[string]string{
		"damaged":                `{"schema":1,"provider":7}`,
		"of an unknown provider": `{"schema":1,"provider":"other","address":"https://b.example","system":"s"}`,
		"no longer valid":        `{"schema":1,"provider":"remote","system":"s"}`,
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: "config/b", Value: []byte(entry)}))
				r.remote.answer("new", provider.Result{Outcome: provider.Applied, System: "s"})
				r.mustWrite(withKey("new"))
				require.Empty(t, r.c.Warning(t.Context(), r.storage, "conn"))
			})
		})
	}
}

// A damaged role must not keep a credential from being replaced.
func TestDamagedRoleDoesNotStopNewCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: "role/damaged", Value: []byte(`{"schema":1,"connection":7}`)}))
		r.mustWrite(withKey("new"))
		require.Equal(t, "new", r.stored().Settings.String("key"))
		moved := withKey("new")
		moved.Change = func(o *connection.Options) { o.Address = "https://elsewhere.example" }
		require.ErrorIs(t, r.write(moved), store.ErrDamaged)
		require.ErrorIs(t, r.delete(), store.ErrDamaged)
		r.createRole()
		require.ErrorContains(t, r.write(connection.Patch{Settings: provider.Settings{"note": "another"}}), `role "role" would get another account`)
	})
}

// A connection of an earlier version that is not valid any more, such as one with a line break in its credential.
func TestInvalidConnectionCanBeMended(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createRole()
		stored := r.stored()
		stored.Address = ""
		require.NoError(t, r.store().PutConnection(t.Context(), stored))
		r.restart()
		mended := withKey("new")
		mended.Change = func(o *connection.Options) { o.Address = "https://remote.example" }
		r.mustWrite(mended)
		require.Equal(t, stored.Revision+1, r.stored().Revision)
		_, err := r.change(r.handle())
		require.NoError(t, err)
	})
}

func TestDamagedConnectionIsReplaced(t *testing.T) {
	withRemote(t, &remote{perHost: true}, func(t *testing.T, r *rig) {
		r.createRole()
		one, err := r.store().Role(t.Context(), "role")
		require.NoError(t, err)
		one.Target.Identities = []string{"remote.example|login"}
		require.NoError(t, r.store().PutRole(t.Context(), one))
		require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: "config/conn", Value: []byte(`{"schema":1,"provider":7}`)}))
		r.restart()
		exists, err := r.c.Exists(t.Context(), r.storage, "conn")
		require.NoError(t, err)
		require.True(t, exists)

		require.ErrorContains(t, r.write(withKey("new")), "provider is missing")
		require.ErrorContains(t, r.write(at("elsewhere.example", "new")), `role "role" would get another account`)
		r.mustWrite(at("remote.example", "new"))
		_, err = r.change(r.handle())
		require.NoError(t, err)
		require.Equal(t, 2, r.remote.used("new"))
	})
}
