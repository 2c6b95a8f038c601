package rotation

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

func (r *rig) requireInUse(by string) {
	r.Helper()
	err := r.engine.Connections.Delete(r.Context(), r.storage, "conn")
	require.Equal(r, problem.KindMistake, kindOf(r.T, err))
	require.ErrorContains(r, err, by)
}

// A role uses its connection from the moment that it is stored, although its first change may take long.
func TestConnectionOfNewRoleIsKept(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.True(t, r.engine.health.Complete())
		change := r.remote.blockChange(1, applied)
		defer change.release()
		done := make(chan error, 1)
		go func() { _, err := r.create(nil); done <- err }()
		<-change.reached
		require.Zero(t, r.engine.Health().Roles)
		r.requireInUse("role")
		change.release()
		require.NoError(t, <-done)
		r.requireInUse("role")
		require.NoError(t, r.deleteRole(true))
		require.NoError(t, r.engine.Connections.Delete(t.Context(), r.storage, "conn"))
	})
}

// A creation that fails leaves no user of the connection behind.
func TestFailedCreationFreesConnection(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.fail(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"})
		_, err := r.create(nil)
		require.Error(t, err)
		require.Empty(t, r.engine.health.Of("conn"))
		require.NoError(t, r.engine.Connections.Delete(t.Context(), r.storage, "conn"))
	})
}

// After a start, roles that the engine has not read yet use their connections too.
func TestConnectionIsKeptRightAfterStart(t *testing.T) {
	for name, disturb := range map[string]func(r *rig) (end func()){
		"the roles are not listed yet": func(r *rig) func() {
			r.storage.failIf(func(operation, key string) error {
				if operation == opList && key == store.RolePrefix {
					return errors.New("gone")
				}
				return nil
			})
			r.restart()
			r.storage.heal()
			return func() {}
		},
		"a request works on the role": func(r *rig) func() {
			listing := r.storage.blockAt(on(opList, store.RolePrefix))
			r.restart()
			<-listing.reached
			reading := r.storage.blockAt(on(opGet, roleKey))
			go func() { _, _ = r.rotate() }()
			<-reading.reached
			listing.release()
			synctest.Wait()
			return reading.release
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(nil)
				end := disturb(r)
				defer end()
				require.False(t, r.engine.health.Complete())
				r.requireInUse("role")
				end()
				synctest.Wait()
				r.wakeFor(12)
				require.True(t, r.engine.health.Complete())
				r.requireInUse("role")
			})
		})
	}
}

// A request finds the roles of its connection in memory.
func TestNoRequestListsAllRoles(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createRoles(roleNames(5)...)
		r.restart()
		r.storage.failIf(func(operation, key string) error {
			if operation == opList && key == store.RolePrefix {
				return errors.New("all roles are listed")
			}
			return nil
		})
		r.mustWriteConn(withKey("key"))
		r.mustWriteConn(unchecked("another"))
		r.createConnection("other", "other")
		require.NoError(t, r.engine.Connections.Delete(t.Context(), r.storage, "other"))
		r.createAs("new", nil)
		r.requireInUse("new")
		advance(time.Minute)
		r.engine.Invalidate(store.RolePrefix + "new")
		require.ErrorContains(t, r.engine.Connections.Delete(t.Context(), r.storage, "conn"), "all roles are listed")
	})
}
