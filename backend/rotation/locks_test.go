package rotation

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/storagetest"
)

// waiting are the requests that wait for a lock: of the role "role", and of what ties roles to targets and connections.
func (r *rig) waiting() (forRole, forIndex map[string]func(context.Context) error) {
	other := NewRole{Name: "another", Connection: "conn", Target: provider.Settings{"login": "another"}, Options: options()}
	remove := func(ctx context.Context) error { return r.engine.Delete(ctx, r.storage, "role", true) }
	return map[string]func(context.Context) error{
			"rotate": func(ctx context.Context) error { _, err := r.engine.Rotate(ctx, r.storage, "role", 0); return err },
			"set": func(ctx context.Context) error {
				_, err := r.engine.SetPassword(ctx, r.storage, "role", "chosenbyhand")
				return err
			},
			"confirm": func(ctx context.Context) error {
				_, err := r.engine.Confirm(ctx, r.storage, "role", Word{Password: "saidbysomebody"})
				return err
			},
			"update": func(ctx context.Context) error {
				_, err := r.engine.Update(ctx, r.storage, "role", func(role *Role) (Options, provider.Settings, error) {
					role.Options.MaxReadTTL = 4711
					return role.Options, nil, nil
				})
				return err
			},
			"delete": remove,
		}, map[string]func(context.Context) error{
			"create": func(ctx context.Context) error { _, err := r.engine.Create(ctx, r.storage, other); return err },
			"delete": remove,
			"write a connection": func(ctx context.Context) error {
				return r.engine.WriteConnection(ctx, r.storage, "conn", Patch{Settings: provider.Settings{"note": "4711"}})
			},
			"delete a connection": func(ctx context.Context) error { return r.engine.DeleteConnection(ctx, r.storage, "conn") },
		}
}

// giveUp asserts that each request ends with its context, after five seconds, and says that nothing was changed.
func (r *rig) giveUp(requests map[string]func(context.Context) error) {
	r.Helper()
	for name, request := range requests {
		began := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		err := request(ctx)
		cancel()
		require.Equal(r, KindBusy, kindOf(r.T, err), name)
		require.ErrorContains(r, err, "try again", name)
		require.Equal(r, 5*time.Second, time.Since(began), name)
	}
}

func TestARequestThatWaitsForARoleGivesUpWithItsContext(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			time.Sleep(time.Minute) // of the bubble, and longer than all of them wait
			return provider.Result{Outcome: provider.Applied}, true
		})
		done := make(chan error, 1)
		go func() { _, err := r.rotate(); done <- err }()
		synctest.Wait()
		forRole, _ := r.waiting()
		r.giveUp(forRole)
		require.Equal(t, 1, r.read().Password.Version, "a reader waits for nothing")
		require.NoError(t, <-done)
		after(time.Hour)
		require.Equal(t, 2, r.remote.count(), "and none of them is carried out later")
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value)
		require.NotEqual(t, 4711, r.role().Options.MaxReadTTL)
	})
}

// What ties roles to targets is locked over storage calls only, and storage may hang.
func TestWhileStorageHangsForOneRoleTheOthersGoOn(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		storage := storagetest.New(r.storage.Storage)
		r.storage.Storage = storage
		hung, release := storage.Hang(targetKey("remote|first"))
		defer release()
		done := make(chan error, 1)
		go func() {
			_, err := r.create(func(in *NewRole) { in.Name, in.Target = "first", provider.Settings{"login": "first"} })
			done <- err
		}()
		<-hung
		_, forIndex := r.waiting()
		r.giveUp(forIndex)
		began := time.Now()
		_, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, 2, r.read().Password.Version)
		require.Zero(t, time.Since(began), "another role's change waits for none of this")
		release()
		require.NoError(t, <-done)
		after(time.Hour)
		require.Empty(t, r.remote.holds("another"), "what gave up is not carried out later")
		require.NotNil(t, r.role())
	})
}

func TestAPushThatHangsHoldsNoOtherRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.roles("role", "hangs")
		r.remote.set(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if c.Target.Username == "hangs" {
				time.Sleep(20 * time.Second) // of the bubble
			}
			return provider.Result{Outcome: provider.Applied}, true
		})
		done := make(chan error, 1)
		go func() { done <- r.all("hangs")[0] }()
		synctest.Wait()
		began := time.Now()
		_, err := r.rotate()
		require.NoError(t, err)
		require.Zero(t, time.Since(began))
		require.NoError(t, <-done)
	})
}
