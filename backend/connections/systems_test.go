package connections

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestLoginAtAnotherAddressIsNoTarget(t *testing.T) {
	withRemote(t, &remote{login: "ops", perHost: true}, func(t *testing.T, r *rig) {
		write := func(name, system string) (warning string, err error) {
			r.remote.answer("key", provider.Result{Outcome: provider.Applied, System: system})
			err = r.c.Write(t.Context(), r.storage, name, at(name+".example", "key"))
			return r.c.Warning(t.Context(), r.storage, name), err
		}
		warning, err := write("one", "s")
		require.NoError(t, err)
		require.Empty(t, warning)
		const identity = "one.example|ops"
		require.NoError(t, r.store().PutRole(t.Context(), &role.Role{Name: "role", Connection: "one", Target: provider.Target{Identities: []string{identity}}}))
		require.NoError(t, r.store().PutOwner(t.Context(), store.Owner{Role: "role", Identity: identity}))

		_, err = write("two", "s")
		requireKind(t, problem.KindMistake, err)
		require.ErrorContains(t, err, "a role of this mount changes the password of the account that it logs in with")
		warning, err = write("three", "another")
		require.NoError(t, err)
		require.Empty(t, warning)
		warning, err = write("four", "")
		require.NoError(t, err)
		require.Empty(t, warning)

		require.NoError(t, r.storage.Delete(t.Context(), "role/role"))
		warning, err = write("five", "s")
		require.NoError(t, err)
		require.Contains(t, warning, `The connection "five" leads to the same remote system as one, at another address`)
	})
}

// Roles that were created before the engine knew that their connections lead to one system.
func TestRolesOfOneAccountAreNamed(t *testing.T) {
	withRemote(t, &remote{login: "admin", perHost: true}, func(t *testing.T, r *rig) {
		add := func(host, login string) {
			identity := host + ".example|" + login
			one := &role.Role{Name: host + "-" + login, Connection: host, Target: provider.Target{
				Identities: []string{identity}, Settings: provider.Settings{"login": login},
			}}
			require.NoError(t, r.store().PutRole(t.Context(), one))
			require.NoError(t, r.store().PutOwner(t.Context(), store.Owner{Role: one.Name, Identity: identity}))
		}
		for _, host := range []string{"one", "two"} {
			require.NoError(t, r.c.Write(t.Context(), r.storage, host, at(host+".example", "key")))
			add(host, "ops")
		}
		add("two", "free")
		r.remote.answer("new", provider.Result{Outcome: provider.Applied, System: "s"})
		for _, host := range []string{"one", "two"} {
			require.NoError(t, r.c.Write(t.Context(), r.storage, host, withKey("new")), "the credential can be replaced")
		}
		require.Contains(t, r.c.Warning(t.Context(), r.storage, "two"), "only one of the two has the password in force: two-ops. Delete")
	})
}

// The system is that of the last check at this address.
func TestUncheckedAddressHasNoKnownSystem(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.answer("new", provider.Result{Outcome: provider.Applied, System: "s"})
		require.Empty(t, r.stored().System)
		r.mustWrite(withKey("new"))
		require.Equal(t, "s", r.stored().System)
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 3 }})
		r.mustWrite(unchecked("another"))
		require.Equal(t, "s", r.stored().System)
		patch := unchecked("another")
		patch.Change = func(o *connection.Options) { o.Address, o.VerifyConnection = "https://another.example", false }
		r.mustWrite(patch)
		require.Empty(t, r.stored().System)
	})
}
