package rotation

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestAnAddressIsChangedOnlyTogetherWithTheCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		other := "https://remote.example:8443"
		err := r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Address: &other})
		require.ErrorContains(t, err, "credential")
		err = r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Insecure: ptr(true)})
		require.ErrorContains(t, err, "credential")
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Address: &other, Settings: provider.Settings{"key": "key"}}))
	})
}

func TestAConnectionIsTriedOutOnlyWhenWhatItSendsChanges(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		checks := r.remote.checked()
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{MaxInFlight: ptr(9)}))
		require.Equal(t, checks, r.remote.checked())
		r.remote.check = func() provider.Result { return provider.Result{Outcome: provider.Unreachable, Reason: "gone"} }
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "key"}}),
			"a field sent again with its present value is never an error")
		require.Equal(t, checks+1, r.remote.checked())
		checks++
		r.remote.check = func() provider.Result {
			return provider.Result{Outcome: provider.Denied, Reason: "wrong key", Code: "11003"}
		}
		err := r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "another"}})
		require.Equal(t, KindMistake, kindOf(t, err), "a client must not repeat it: more tries lock the credential")
		require.ErrorContains(t, err, "11003")
		require.Equal(t, checks+1, r.remote.checked())
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{
			Settings: provider.Settings{"key": "another"}, VerifyConnection: ptr(false),
		}))
		require.Equal(t, checks+1, r.remote.checked())
	})
}

func TestAConnectionInUseIsNotDeleted(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		require.ErrorContains(t, r.engine.DeleteConnection(t.Context(), r.storage, "conn"), `(role)`)
		require.NoError(t, r.engine.Delete(t.Context(), r.storage, "role", false))
		require.NoError(t, r.engine.DeleteConnection(t.Context(), r.storage, "conn"))
	})
}

func TestAnInvalidatedConnectionIsReadAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		stored, err := store{r.storage}.connection(t.Context(), "conn")
		require.NoError(t, err)
		stored.AllowedRoles = nil
		require.NoError(t, store{r.storage}.putConnection(t.Context(), stored)) // as another node does
		r.read()
		r.engine.Invalidate(connectionPrefix + "conn")
		_, err = r.engine.Read(t.Context(), r.storage, "role")
		require.ErrorContains(t, err, "allowed_roles", "what is allowed is checked at every read")
	})
}

func TestChangesOnAConnectionAreLimited(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{MaxInFlight: ptr(3)}))
		most := r.remote.countOverlap()
		done := make(chan error, 20)
		for i := range cap(done) {
			go func() {
				name := string(rune('a' + i))
				_, err := r.create(func(in *NewRole) { in.Name = name; in.Target = provider.Settings{"login": name} })
				done <- err
			}()
		}
		for range cap(done) {
			require.NoError(t, <-done)
		}
		require.Equal(t, 3, most())
	})
}

func TestOneOfManyRolesGetsATarget(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		done := make(chan error, 20)
		for i := range cap(done) {
			go func() {
				_, err := r.create(func(in *NewRole) { in.Name = string(rune('a' + i)) })
				done <- err
			}()
		}
		made := 0
		for range cap(done) {
			if err := <-done; err == nil {
				made++
			} else {
				require.Equal(t, KindMistake, kindOf(t, err))
			}
		}
		require.Equal(t, 1, made)
	})
}
