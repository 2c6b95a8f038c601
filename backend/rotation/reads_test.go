package rotation

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestAReadChangesWhatIsDue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, func(o *Options) { o.RotationMode = ModeOnRead })
		after(time.Hour - time.Second)
		require.Equal(t, 1, r.serve().View.Password.Version)
		after(3 * time.Hour)
		require.Equal(t, 1, r.version(), "nobody reads")
		most := r.remote.countOverlap()
		var readers sync.WaitGroup
		for range 20 {
			readers.Go(func() {
				report, err := r.engine.Serve(t.Context(), r.storage, "role")
				if err != nil || report.View.Password.Version != 2 {
					t.Errorf("a reader got %v, %v", report, err)
				}
			})
		}
		readers.Wait()
		require.Equal(t, 2, r.remote.count(), "one does it, the others wait")
		require.Equal(t, 1, most())
		require.Equal(t, 2, r.serve().View.Password.Version)
	})
}

func TestAReadGivesThePasswordThereIsWhereItCannotBeChanged(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, func(o *Options) { o.RotationMode = ModeOnRead })
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "no route"}, false))
		after(time.Hour)
		report := r.serve()
		require.Equal(t, 1, report.View.Password.Version)
		require.Equal(t, credential.StateActive, report.View.State)
		require.GreaterOrEqual(t, report.TTL, 5*time.Second)
		calls := r.remote.count()
		for range 10 {
			require.Equal(t, 1, r.serve().View.Password.Version)
		}
		require.Equal(t, calls, r.remote.count(), "no attempt is made inside a backoff")
		r.remote.set(nil)
		after(10 * time.Second) // the engine has begun it and goes on
		require.Equal(t, 2, r.serve().View.Password.Version)

		r.readOnly.Store(true)
		after(time.Hour + time.Second)
		_, err := r.engine.Serve(t.Context(), r.storage, "role")
		require.Equal(t, logical.ErrReadOnly, err, "bare, so that Vault forwards it")
	})
}

func TestTheFirstReadOfAVersionMakesItDueAndCostsOneEntry(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotateAfterRead, in.Options.MaxReadTTL = 600, 0 })
		after(24 * time.Hour)
		require.Equal(t, 1, r.version(), "nobody has read it")
		r.storage.reset()
		require.Equal(t, 10*time.Minute, r.serve().TTL)
		_, puts, _, _ := r.storage.operations()
		require.Equal(t, 1, puts)
		after(5 * time.Minute)
		r.storage.reset()
		for range 5 {
			require.Equal(t, 5*time.Minute, r.serve().TTL, "later reads move nothing")
		}
		gets, puts, lists, deletes := r.storage.operations()
		require.Equal(t, []int{5, 0, 0, 0}, []int{gets, puts, lists, deletes})
		r.restart()
		after(5*time.Minute - time.Second)
		require.Equal(t, 1, r.version())
		after(2 * time.Second)
		require.Equal(t, 2, r.version(), "over a restart too")
		after(24 * time.Hour)
		require.Equal(t, 2, r.version(), "nobody has read this one")

		r.readOnly.Store(true)
		_, err := r.engine.Serve(t.Context(), r.storage, "role")
		require.Equal(t, logical.ErrReadOnly, err)
		r.readOnly.Store(false)
		r.serve()
		r.readOnly.Store(true)
		require.Equal(t, 2, r.serve().View.Password.Version, "a standby answers what costs nothing")
		r.readOnly.Store(false)

		require.NoError(t, r.engine.Delete(t.Context(), r.storage, "role", false))
		left, err := r.storage.Storage.List(t.Context(), readPrefix)
		require.NoError(t, err)
		require.Empty(t, left)
		r.mustCreate(func(in *NewRole) { in.Options.RotateAfterRead = 600 })
		after(24 * time.Hour)
		require.Equal(t, 1, r.version())
	})
}

func TestAPasswordIsNotHandedOutWhoseFirstReadCannotBeStored(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotateAfterRead = 600 })
		r.storage.failing(func(operation, key string) error {
			if operation == "put" && key == readPrefix+"role" {
				return errors.New("full")
			}
			return nil
		})
		_, err := r.engine.Serve(t.Context(), r.storage, "role")
		require.ErrorContains(t, err, "without which it is not handed out")
		r.storage.failing(nil)
		r.serve()
	})
}
