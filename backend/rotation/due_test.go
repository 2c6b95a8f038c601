package rotation

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

func TestDuePasswordIsChanged(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		advance(time.Hour - time.Second)
		require.Equal(t, 1, r.version(), "not before")
		r.storage.reset()
		advance(time.Second)
		require.Equal(t, 2, r.version())
		require.Equal(t, counts{gets: 2, puts: 2}, r.storage.counts(), "of the engine, and one read of this test")
		require.Equal(t, role.ReasonDue, r.role().Record.Current.Reason)
		require.Len(t, r.log.lines("trigger=schedule"), 1)
		for range 10 {
			advance(time.Hour)
		}
		require.Equal(t, 12, r.version())
		r.requireKnown()
	})
}

func TestManualRotationMovesDueTime(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		advance(40 * time.Minute)
		r.mustRotate()
		advance(59 * time.Minute)
		require.Equal(t, 2, r.version())
		advance(time.Minute)
		require.Equal(t, 3, r.version())
	})
}

func TestNewPeriodCountsFromLastRotation(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(day, nil)
		advance(150 * time.Minute)
		r.update(func(o *role.Options) { o.RotationPeriod = 3600 }, nil)
		advance(29 * time.Minute)
		require.Equal(t, 1, r.version(), "not due after one hour or two")
		advance(time.Minute)
		require.Equal(t, 2, r.version(), "three hours after the last rotation")
		r.update(func(o *role.Options) { o.RotationPeriod = 0 }, nil)
		advance(100 * time.Hour)
		require.Equal(t, 2, r.version(), "rotated by hand only")
		r.update(func(o *role.Options) { o.RotationPeriod = 3600 }, nil)
		advance(59 * time.Minute)
		require.Equal(t, 2, r.version())
		advance(time.Minute)
		require.Equal(t, 3, r.version())
		r.update(func(o *role.Options) { o.RotationPeriod, o.RotationSchedule = 0, "0 0 * * *" }, nil) // the bubble starts at midnight
		due := r.role().Due
		r.update(func(o *role.Options) { o.MaxReadTTL = 60 }, nil)
		require.Equal(t, due, r.role().Due, "other options do not move it")
		r.restart()
		require.Equal(t, due, r.role().Due)
		advance(day)
		require.Equal(t, 4, r.version())
	})
}

// The times of a schedule are in UTC, even if the engine's clock is not.
func TestDueTimeIsStoredInUTC(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) { // time starts at midnight UTC
		r.clock = func() time.Time { return time.Now().In(time.FixedZone("Tokyo", 9*60*60)) }
		r.restart()
		stored := func() *role.Role {
			stored, err := r.store().Role(t.Context(), "role")
			require.NoError(t, err)
			return stored
		}
		r.mustCreate(func(in *NewRole) { in.Options.RotationSchedule = "30 3 * * *" })
		due := time.Date(2000, 1, 1, 3, 30, 0, 0, time.UTC)
		require.Equal(t, due, stored().Due)
		advance(time.Until(due) - time.Second)
		require.Equal(t, 1, r.version())
		advance(time.Second)
		require.Equal(t, 2, r.version())
		require.Equal(t, due.Add(day), stored().Due)

		advance(40 * time.Minute)
		r.update(func(o *role.Options) { o.RotationSchedule, o.RotationPeriod = "", 3600 }, nil)
		require.WithinDuration(t, stored().Record.Current.Since.Add(time.Hour), stored().Due, 0, "it counts from the last rotation")
		advance(19 * time.Minute)
		require.Equal(t, 2, r.version(), "the update rotates nothing")
		require.Equal(t, 2, r.remote.changeCount())
		advance(time.Minute)
		require.Equal(t, 3, r.version())
	})
}

func TestRoleStoredWithoutDueTimeGetsOne(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		role := r.role()
		r.engine.Stop()
		role.Due = time.Time{}
		require.NoError(t, r.store().PutRole(t.Context(), role))
		advance(150 * time.Minute)
		r.start()
		advance(2 * time.Minute)
		require.Equal(t, 1, r.version())
		advance(27 * time.Minute)
		require.Equal(t, 1, r.version())
		advance(time.Minute + time.Second)
		require.Equal(t, 2, r.version(), "three hours after the last rotation")
	})
}

func TestRestartRotatesNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		before := r.read()
		for range 3 {
			r.restart()
			advance(time.Hour / 4)
		}
		require.Equal(t, before, r.read())
		require.Equal(t, 1, r.remote.changeCount())
	})
}

func TestDueChangesAfterStopAreSpread(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		const roles = 120
		for i, name := range roleNames(roles) {
			r.createAs(name, func(in *NewRole) {
				in.Options.RotationPeriod = 20 * 60
				if i%2 == 1 {
					in.Options.RotationPeriod = 100 * 60
				}
			})
		}
		advance(10 * time.Minute)
		r.engine.Stop()
		advance(time.Hour)
		calls := r.remote.changeCount()
		r.start()
		var times []int
		for range 60 {
			times = append(times, r.remote.changeCount()-calls)
			advance(time.Second)
		}
		synctest.Wait()
		require.Equal(t, roles/2, r.remote.changeCount()-calls, "each due role once, and no other")
		require.Less(t, times[1], roles/8, "not all at once")
		require.Greater(t, times[30], roles/8)
		require.Less(t, times[30], roles*3/8)
	})
}

func TestDisabledRoleIsNotChanged(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, func(o *role.Options) { o.Disabled = true })
		advance(5 * time.Hour)
		require.Equal(t, 1, r.version())
		status := r.status()
		require.Contains(t, status.Reason, "disable_automated_rotation is set")
		require.True(t, status.NextAttempt.IsZero())
		r.update(func(o *role.Options) { o.Disabled = false }, nil)
		advance(10 * time.Second) // the update may still hold the lock
		require.Equal(t, 2, r.version(), "enabling automation starts what is due")
	})
}

func TestFailedDueChangeIsRetried(t *testing.T) {
	for name, result := range map[string]provider.Result{
		"busy": busy, "password refused": weakPassword, "account refused": noAccount, "unreachable": unreachable, "answers lost": unknown,
		"account denied": {Outcome: provider.Denied, Scope: provider.ScopeTarget, Reason: "no right to it"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createDue(time.Hour, nil)
				r.remote.fail(result)
				advance(time.Hour + time.Second)
				calls := r.remote.changeCount()
				require.Greater(t, calls, 1, "it was attempted")
				advance(5 * time.Hour)
				require.Greater(t, r.remote.changeCount(), calls, "it is retried")
				require.Less(t, r.remote.changeCount(), calls+60, "with a growing backoff")
				require.Equal(t, 1, r.version())
				status := r.status()
				require.Contains(t, status.Reason, "A rotation has been due since 2000-01-01T01:00:00Z")
				require.False(t, status.NextAttempt.IsZero())
				require.LessOrEqual(t, r.serve().TTL, 5*time.Minute)
				r.remote.succeed()
				advance(2 * time.Hour)
				require.Greater(t, r.version(), 1)
				require.Equal(t, credential.StateActive, r.read().State)
				r.requireKnown()
			})
		})
	}
}

func TestChangeBeginsOnlyInsideWindow(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) { // time starts at midnight
		r.mustCreate(func(in *NewRole) { in.Options.RotationSchedule, in.Options.RotationWindow = "0 3 * * *", 3600 })
		r.remote.fail(unreachable)
		advance(3*time.Hour - time.Second)
		require.Equal(t, 1, r.remote.changeCount())
		advance(time.Hour)
		require.Greater(t, r.remote.changeCount(), 3)
		advance(2 * time.Second) // 04:00:01
		calls := r.remote.changeCount()
		status := r.status()
		require.Contains(t, status.Reason, "A rotation has been due since 2000-01-01T03:00:00Z, but missed its rotation_window of 3600 seconds; the next window opens at 2000-01-02T03:00:00Z.")
		require.Equal(t, "2000-01-02T03:00:00Z", explain.Time(status.NextAttempt))
		r.remote.succeed()
		advance(22*time.Hour + 59*time.Minute + 50*time.Second)
		require.Equal(t, calls, r.remote.changeCount(), "no change begins outside the window")
		advance(20 * time.Second)
		require.Equal(t, 2, r.version())

		// A change that has begun continues outside the window: it is not known which password works.
		r.remote.answer(unknown, true)
		advance(day)
		require.Equal(t, credential.StateUncertain, r.read().State)
		advance(2 * time.Hour)
		calls = r.remote.changeCount()
		advance(5 * time.Hour)
		require.Greater(t, r.remote.changeCount(), calls)
		// A request is carried out at any time.
		r.remote.succeed()
		advance(2 * time.Hour)
		version := r.version()
		r.mustRotate()
		require.Equal(t, version+1, r.version())
	})
}

func TestDueChangeWaitsForPausedConnection(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.createRoles("other")
		r.pauseConn()
		advance(3 * time.Hour)
		require.Equal(t, 1, r.version())
		r.remote.acceptCredential()
		r.mustWriteConn(withKey("another"))
		advance(2 * time.Hour)
		require.Greater(t, r.version(), 1)
	})
}

func TestOnlyWritableNodeChangesDuePasswords(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.readOnly.Store(true)
		advance(time.Hour + time.Minute)
		require.Equal(t, 1, r.version())
		r.restart()
		r.wakeFor(30)
		require.Equal(t, 1, r.version())
		r.readOnly.Store(false)
		r.engine.Wake()
		advance(2 * time.Minute)
		require.Equal(t, 2, r.version(), "it may write now")
	})
}

// A node that cannot write for a moment still has to make the changes that become due in it.
func TestDueChangeSurvivesReadOnlyMoment(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		advance(time.Hour - time.Second)
		r.readOnly.Store(true)
		r.engine.Wake()
		advance(3 * time.Second)
		require.Equal(t, 1, r.remote.changeCount())
		r.readOnly.Store(false)
		r.wakeFor(2)
		require.Equal(t, 2, r.version())
	})
}

// The sweep finds that the role is disabled, and no worker reads it.
func TestDisabledRoleRestsAfterRestart(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, func(o *role.Options) { o.Disabled = true })
		r.restart()
		require.Equal(t, 1, r.engine.Health().Disabled)
		require.Empty(t, r.engine.Health().NextDue.Role)
		read := r.storage.blockAt(on(opGet, roleKey))
		defer read.release()
		advance(3 * time.Hour)
		require.False(t, read.isReached())
	})
}

// A generated password that replaces a refused one belongs to the same change, which begins only inside the window.
func TestReplacedPasswordOfDueChangeKeepsToWindow(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) { // time starts at midnight
		r.mustCreate(func(in *NewRole) { in.Options.RotationSchedule, in.Options.RotationWindow = "0 3 * * *", 3600 })
		r.remote.answerCall(r.remote.changeCount()+1, weakPassword, false, unreachable)
		advance(4*time.Hour + time.Second)
		calls := r.remote.changeCount()
		require.Greater(t, calls, 4)
		r.remote.succeed()
		advance(22 * time.Hour)
		require.Equal(t, calls, r.remote.changeCount())
		advance(time.Hour)
		require.Equal(t, 2, r.version())
	})
}
