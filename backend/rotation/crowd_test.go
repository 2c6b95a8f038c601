package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/locks"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

// crowd is many concurrent requests.
type crowd struct {
	served, refused, other atomic.Int64
}

// add makes n requests, and returns when each of them has ended or waits.
func (c *crowd) add(r *rig, n int, request func(i int) error) {
	r.Helper()
	began := time.Now()
	for i := range n {
		go func() {
			err := request(i)
			known, _ := errors.AsType[*problem.Error](err)
			switch {
			case err == nil:
				c.served.Add(1)
			case known != nil && known.Kind == problem.KindBusy && time.Since(began) == 0:
				c.refused.Add(1)
			default:
				c.other.Add(1)
			}
		}()
	}
	synctest.Wait()
}

// require asserts how many requests have ended, and how.
func (c *crowd) require(t *testing.T, served, refused int) {
	t.Helper()
	require.Equal(t, []int64{int64(served), int64(refused), 0}, []int64{c.served.Load(), c.refused.Load(), c.other.Load()})
}

// withoutPassword creates roles that have no password yet, so that a read has to set one.
func (r *rig) withoutPassword(names ...string) {
	r.Helper()
	for _, name := range names {
		r.createAs(name, func(in *NewRole) { in.Options.SkipInitialRotation = true })
	}
}

func (r *rig) reads(name string) error {
	_, err := r.engine.Serve(r.Context(), r.storage, name)
	return err
}

// Readers who wait for a first password cost memory. The others are refused at once, but an operator still gets a turn.
func TestOneRoleHasFewWaitingRequests(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.withoutPassword("role", "other")
		change := r.remote.blockChange(1, applied)
		defer change.release()
		var readers, operators crowd
		r.storage.reset()
		readers.add(r, 4000, func(int) error { return r.reads("role") })
		readers.require(t, 0, 4000-60)
		require.LessOrEqual(t, r.storage.counts().gets, 2*60, "who is refused costs no read of storage")
		operators.add(r, 6, func(int) error { _, err := r.rotate(); return err })
		operators.require(t, 0, 2)
		require.NoError(t, r.reads("other"), "requests for other roles are not affected")
		require.ErrorContains(t, r.reads("role"), `too many requests are waiting for role "role" already (limit: 64)`)
		change.release()
		synctest.Wait()
		readers.require(t, 60, 4000-60)
		operators.require(t, 4, 2)
		readers.add(r, 100, func(int) error { return r.reads("role") })
		readers.require(t, 160, 4000-60)
	})
}

func TestMountHasFewWaitingRequests(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		names := roleNames(40)
		r.withoutPassword(names...)
		r.createAs("served", nil)
		r.remote.delay(20*time.Second, applied)
		var readers, operators crowd
		readers.add(r, 4000, func(i int) error { return r.reads(names[i%len(names)]) })
		readers.require(t, 0, 4000-960)
		operators.add(r, 50, func(i int) error {
			return r.engine.Connections.Write(r.Context(), r.storage, fmt.Sprint("conn", i), newConn("key", func(o *connection.Options) { o.VerifyConnection = false }))
		})
		operators.require(t, 50, 0)
		operators.add(r, 100, func(i int) error { return r.rotateAll(names[i%len(names)])[0] })
		operators.require(t, 50, 100-64)
		_, err := r.create(func(in *NewRole) { in.Name, in.Target = "new", provider.Settings{"login": "new"} })
		require.ErrorContains(t, err, "too many requests are waiting on this mount already (limit: 1024)")
		require.Equal(t, problem.KindBusy, kindOf(t, r.engine.Connections.Delete(t.Context(), r.storage, "conn1")))
		require.NoError(t, r.reads("served"), "a read that need not wait is served")
		r.remote.succeed()
		advance(time.Minute)
		require.Zero(t, readers.refused.Load()-(4000-960))
		require.NoError(t, r.engine.Connections.Delete(t.Context(), r.storage, "conn1"))
	})
}

// A due role with rotation_mode=on_read has a password, which a reader gets who may not wait for the next one.
func TestReaderInCrowdGetsCurrentPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, onRead)
		advance(2 * time.Hour)
		r.remote.delay(20*time.Second, applied)
		var readers crowd
		readers.add(r, 1000, func(int) error { return r.reads("role") })
		readers.require(t, 940, 0)
		advance(time.Minute)
		readers.require(t, 1000, 0)
		require.Equal(t, 2, r.version())
	})
}

// A write of a connection waits for the check of another.
func TestOneConnectionHasFewWaitingWrites(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.onCheck(func() provider.Result { time.Sleep(time.Second); return applied })
		var writers crowd
		writers.add(r, 200, func(i int) error { return r.writeConn(withKey(fmt.Sprint("key", i))) })
		writers.require(t, 0, 200-locks.MaxForName)
		another := newConn("key", func(o *connection.Options) { o.VerifyConnection = false })
		require.NoError(t, r.engine.Connections.Write(t.Context(), r.storage, "another", another), "others do not wait")
		advance(2 * time.Minute)
		writers.require(t, locks.MaxForName, 200-locks.MaxForName)
	})
}

// max_roles_per_connection refuses new roles, and keeps those that exist.
func TestConnectionHasLimitedRoles(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		limit := func(n int) {
			require.NoError(t, r.engine.Gate.WriteSettings(t.Context(), r.storage, func(s *store.Settings) { s.MaxRolesPerConnection = n }))
		}
		create := func(ctx context.Context, name string) error {
			_, err := r.engine.Create(ctx, r.storage, newRole(func(in *NewRole) { in.Name, in.Target = name, provider.Settings{"login": name} }))
			return err
		}
		r.createRoles("one", "two", "three")
		limit(2)
		r.restart()
		requireFull := func(name string, roles int) {
			err := create(t.Context(), name)
			require.Equal(t, problem.KindMistake, kindOf(t, err))
			require.ErrorContains(t, err, fmt.Sprintf("already has %d roles, and max_roles_per_connection is 2", roles))
			require.Empty(t, r.remote.password(name))
		}
		requireFull("four", 3)
		_, err := r.engine.Rotate(t.Context(), r.storage, "three", 0)
		require.NoError(t, err)
		for _, name := range []string{"one", "two"} {
			require.NoError(t, r.engine.Delete(t.Context(), r.storage, name, true))
		}
		var crowd crowd
		crowd.add(r, 10, func(i int) error {
			err := create(t.Context(), fmt.Sprint("more", i))
			if err != nil && kindOf(t, err) == problem.KindMistake {
				return problem.Busy("refused")
			}
			return err
		})
		crowd.require(t, 1, 9)
		requireFull("four", 2)
		r.engine.health.Changed("three") // a failover: the roles are counted in storage
		requireFull("four", 2)
		limit(0)
		require.NoError(t, create(t.Context(), "four"))
	})
}
