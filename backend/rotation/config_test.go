package rotation

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestInvalidatedConnectionIsReadAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		stored, err := r.store().Connection(t.Context(), "conn")
		require.NoError(t, err)
		stored.AllowedRoles = nil
		require.NoError(t, r.store().PutConnection(t.Context(), stored)) // by another node
		r.read()
		r.engine.Invalidate(store.ConnectionPrefix + "conn")
		_, err = r.engine.Read(t.Context(), r.storage, "role")
		require.ErrorContains(t, err, "allowed_roles", "each read checks what the connection allows")
	})
}

func TestMaxInFlightLimitsChanges(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 3 }})
		overlap := r.remote.countOverlap(aSecond)
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
		require.Equal(t, 3, overlap.highest())
	})
}

// max_in_flight limits the changes of a connection, across all its revisions.
func TestMaxInFlightHoldsOverRewrite(t *testing.T) {
	for name, c := range map[string]struct{ before, then, running int }{
		"unchanged": {2, 2, 2},
		"raised":    {2, 4, 4},
		"lowered":   {4, 2, 4},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = c.before }})
				roles := roleNames(c.before + 6)
				r.createRoles(roles...)
				changes := newBlock()
				defer changes.release()
				overlap := r.remote.countOverlap(changes.wait)
				errs := make(chan []error, 2)
				go func() { errs <- r.rotateAll(roles[:c.before]...) }()
				synctest.Wait()
				require.Equal(t, c.before, overlap.running())
				r.mustWriteConn(connection.Patch{Settings: provider.Settings{"key": "new"}, Change: func(o *connection.Options) { o.MaxInFlight = c.then }})
				go func() { errs <- r.rotateAll(roles[c.before:]...) }()
				synctest.Wait()
				require.Equal(t, c.running, overlap.running())
				changes.release()
				for range 2 {
					for _, err := range <-errs {
						require.NoError(t, err)
					}
				}
			})
		})
	}
}

func TestMaxInFlightHoldsOverRewriteForDueChanges(t *testing.T) {
	for name, dueFirst := range map[string]bool{"due changes run": true, "requests run": false} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 2 }})
				requested, due := roleNames(3), []string{"a", "b", "c"}
				r.createRoles(requested...)
				for _, name := range due {
					r.createAs(name, func(in *NewRole) { in.Options.RotationPeriod = 3600 })
				}
				changes := newBlock()
				defer changes.release()
				overlap := r.remote.countOverlap(changes.wait)
				errs := make(chan []error, 1)
				request := func() { errs <- r.rotateAll(requested...) }
				if dueFirst {
					advance(time.Hour)
				} else {
					advance(time.Hour - time.Second)
					go request()
					synctest.Wait()
				}
				require.Equal(t, 2, overlap.running())
				r.mustWriteConn(withKey("new"))
				if dueFirst {
					go request()
				}
				advance(2 * time.Second)
				changes.release()
				for _, err := range <-errs {
					require.NoError(t, err)
				}
				advance(time.Minute)
				require.Equal(t, 2, overlap.highest())
				for _, name := range due {
					r.requireVersion(name, 2)
				}
			})
		})
	}
}

// A role that its connection does not allow is retried when the connection is changed to allow it.
func TestRoleIsRetriedWhenConnectionAllowsIt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.AllowedRoles = []string{"others"} }})
		r.wakeFor(6 * 60)
		r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.AllowedRoles = []string{"*"} }})
		r.wakeFor(2)
		require.Equal(t, 2, r.version())
	})
}

// The connection is rewritten during a call, and cannot be read when the role is put back in the queue: the role is retried
// with the new connection all the same, and does not wait for the backoff of the old one.
func TestRewriteDuringCallRetriesRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		k := r.useKeys(0)
		r.createRoles("role")
		var blocked *block
		k.onCall(func(c call, result *provider.Result) {
			if c.kind != callChange || c.key != "key" {
				return
			}
			*result = unreachable
			if blocked != nil {
				blocked.wait()
			}
		})
		require.Error(t, r.rotateAll("role")[0])
		r.wakeFor(5 * 60) // the backoff is about an hour by now
		blocked = newBlock()
		for !blocked.isReached() {
			r.wakeFor(1)
		}
		r.mustWriteConn(withKey("new"))
		r.storage.fail(opGet, "config/conn", "out of order")
		blocked.release()
		synctest.Wait()
		r.storage.heal()
		advance(time.Minute)
		r.requireVersion("role", 2)
	})
}
