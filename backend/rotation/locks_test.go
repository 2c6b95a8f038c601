package rotation

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

// lockedRequests returns requests that need the lock of the role "role", and requests that need the one of the index of
// targets and connections.
func (r *rig) lockedRequests() (forRole, forIndex map[string]func(context.Context) error) {
	another := newRole(func(in *NewRole) { in.Name, in.Target = "another", provider.Settings{"login": "another"} })
	remove := func(ctx context.Context) error { return r.engine.Delete(ctx, r.storage, "role", true) }
	return map[string]func(context.Context) error{
			"rotate": func(ctx context.Context) error { _, err := r.engine.Rotate(ctx, r.storage, "role", 0); return err },
			"set": func(ctx context.Context) error {
				_, err := r.engine.SetPassword(ctx, r.storage, "role", chosen)
				return err
			},
			"confirm": func(ctx context.Context) error {
				_, err := r.engine.Confirm(ctx, r.storage, "role", Confirmation{Password: "statedbyoperator"})
				return err
			},
			"update": func(ctx context.Context) error {
				_, err := r.engine.Update(ctx, r.storage, "role", func(v *roles.View) (role.Options, provider.Settings, error) {
					v.Options.MaxReadTTL = 4711
					return v.Options, nil, nil
				})
				return err
			},
			"delete": remove,
		}, map[string]func(context.Context) error{
			"create": func(ctx context.Context) error { _, err := r.engine.Create(ctx, r.storage, another); return err },
			"delete": remove,
			"write a connection": func(ctx context.Context) error {
				return r.engine.Connections.Write(ctx, r.storage, "conn", connection.Patch{Settings: provider.Settings{"note": "4711"}})
			},
			"delete a connection": func(ctx context.Context) error { return r.engine.Connections.Delete(ctx, r.storage, "conn") },
		}
}

// requireGivenUp asserts that each request ends with its context, after five seconds, and reports that nothing was changed.
func (r *rig) requireGivenUp(requests map[string]func(context.Context) error) {
	r.Helper()
	for name, request := range requests {
		began := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		err := request(ctx)
		cancel()
		require.Equal(r, problem.KindBusy, kindOf(r.T, err), name)
		require.ErrorContains(r, err, "Try again", name)
		require.Equal(r, 5*time.Second, time.Since(began), name)
	}
}

func TestRequestGivesUpWaitingForRoleLock(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		change := r.remote.blockChange(2, applied)
		defer change.release()
		done := make(chan error, 1)
		go func() { _, err := r.rotate(); done <- err }()
		synctest.Wait()
		forRole, _ := r.lockedRequests()
		r.requireGivenUp(forRole)
		require.Equal(t, 1, r.version(), "a reader does not wait")
		change.release()
		require.NoError(t, <-done)
		advance(time.Hour)
		require.Equal(t, 2, r.remote.changeCount(), "no request is carried out later")
		require.Equal(t, r.remote.password("login"), r.read().Password.Value)
		require.NotEqual(t, 4711, r.role().Options.MaxReadTTL)
	})
}

// The lock of the index is held during storage calls, and storage may hang.
func TestHangingStorageOfOneRoleDelaysNoOther(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		claim := r.storage.blockAt(on(opGet, store.TargetKey("", "remote|first")))
		defer claim.release()
		done := make(chan error, 1)
		go func() {
			_, err := r.create(func(in *NewRole) { in.Name, in.Target = "first", provider.Settings{"login": "first"} })
			done <- err
		}()
		<-claim.reached
		_, forIndex := r.lockedRequests()
		r.requireGivenUp(forIndex)
		began := time.Now()
		r.mustRotate()
		require.Equal(t, 2, r.version())
		require.Zero(t, time.Since(began), "the change of another role does not wait")
		claim.release()
		require.NoError(t, <-done)
		advance(time.Hour)
		require.Empty(t, r.remote.password("another"), "no request is carried out later")
		require.NotNil(t, r.role())
	})
}

func TestHangingPushHoldsNoOtherRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createRoles("role", "hangs")
		r.remote.onChange(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if c.Target.Username == "hangs" {
				time.Sleep(20 * time.Second)
			}
			return applied, true
		})
		done := make(chan error, 1)
		go func() { done <- r.rotateAll("hangs")[0] }()
		synctest.Wait()
		began := time.Now()
		r.mustRotate()
		require.Zero(t, time.Since(began))
		require.NoError(t, <-done)
	})
}
