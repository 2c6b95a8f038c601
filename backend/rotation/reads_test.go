package rotation

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

func TestReadDoesNotWaitForChange(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before := r.read()
		r.remote.delay(10*time.Second, applied)
		done := make(chan error, 1)
		go func() { _, err := r.rotate(); done <- err }()
		synctest.Wait()
		began := time.Now()
		require.Equal(t, before, r.read(), "a reader does not see the first attempt of a change")
		require.Zero(t, time.Since(began))
		require.NoError(t, <-done)
	})
}

// The outcome of a change whose process has ended is unknown, even before the deadline of its request.
func TestReadAfterCrashReportsUncertain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true }) // the engine resumes nothing
		before := r.read()
		r.remote.onChange(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
			<-ctx.Done() // it takes effect
			return unknown, true
		})
		go func() { _, _ = r.rotate() }()
		synctest.Wait()
		require.Equal(t, before, r.read(), "a reader does not see a change that is running")
		r.storage.fail(opPut, "", "the process has ended") // before it could store the outcome
		r.engine.Stop()
		r.storage.heal()
		r.readOnly.Store(true)
		r.start()
		require.Equal(t, before, r.read(), "a standby cannot know whether the active node is changing it")
		r.readOnly.Store(false)
		r.restart()
		read := r.read()
		require.Equal(t, credential.StateUncertain, read.State)
		require.Equal(t, before.Password, read.Password)
		require.Equal(t, r.remote.password("login"), read.Next.Value)
	})
}

func TestConcurrentFirstReadsSetOnePassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation = true })
		require.Zero(t, r.remote.changeCount())
		passwords := make(chan string, 10)
		for range cap(passwords) {
			go func() {
				report, err := r.firstRead()
				if err != nil || report.View.Password == nil {
					passwords <- ""
					return
				}
				passwords <- report.View.Password.Value
			}()
		}
		for range cap(passwords) {
			got := <-passwords
			require.Equal(t, r.remote.password("login"), got)
		}
		require.Equal(t, 1, r.remote.changeCount())
	})
}

func TestReadsDoNotRetryRefusedAccount(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation = true })
		r.remote.fail(noAccount)
		for range 20 {
			_, err := r.firstRead()
			require.Equal(t, problem.KindMistake, kindOf(t, err))
		}
		require.Equal(t, 1, r.remote.changeCount())
	})
}

func TestReadDoesNotResendUncertainFirstPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.answer(unknown, true)
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		advance(time.Hour)
		r.remote.succeed()
		report, err := r.firstRead()
		require.NoError(t, err)
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Equal(t, r.remote.password("login"), report.View.Password.Value)
		require.Equal(t, 1, r.remote.changeCount())
	})
}

func TestReadDoesNotReplaceDiscardedFirstPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.fail(needsRestart)
		r.mustCreate(nil)
		r.mustConfirm(Confirmation{Version: 1, Discard: true})
		calls := r.remote.changeCount()
		report, err := r.firstRead()
		require.NoError(t, err)
		require.Nil(t, report.View.Password)
		require.Equal(t, calls, r.remote.changeCount())
		status := r.status()
		require.Contains(t, status.Reason, "Version 1 was sent and then discarded")
		require.Contains(t, status.Advice, "confirm-role/role")
		require.Equal(t, problem.KindMistake, kindOf(t, r.deleteRole(false)), "the password may come into force")
		r.mustConfirm(Confirmation{Version: 1})
		r.requireState(credential.StateAssumed, 1, 0)
	})
}

func TestReadChangesDuePassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, onRead)
		advance(time.Hour - time.Second)
		require.Equal(t, 1, r.serve().View.Password.Version)
		advance(3 * time.Hour)
		require.Equal(t, 1, r.version(), "it has not been read")
		overlap := r.remote.countOverlap(aSecond)
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
		require.Equal(t, 2, r.remote.changeCount(), "one reader changes it, the others wait")
		require.Equal(t, 1, overlap.highest())
		require.Equal(t, 2, r.serve().View.Password.Version)
	})
}

func TestReadReturnsPresentPasswordIfChangeFails(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, onRead)
		r.remote.fail(unreachable)
		advance(time.Hour)
		report := r.serve()
		require.Equal(t, 1, report.View.Password.Version)
		require.Equal(t, credential.StateActive, report.View.State)
		require.GreaterOrEqual(t, report.TTL, 5*time.Second)
		calls := r.remote.changeCount()
		for range 10 {
			require.Equal(t, 1, r.serve().View.Password.Version)
		}
		require.Equal(t, calls, r.remote.changeCount(), "within the backoff no attempt is made")
		r.remote.succeed()
		advance(10 * time.Second) // the engine finishes what the read began
		require.Equal(t, 2, r.serve().View.Password.Version)

		r.readOnly.Store(true)
		advance(time.Hour + time.Second)
		_, err := r.engine.Serve(t.Context(), r.storage, "role")
		require.Equal(t, logical.ErrReadOnly, err, "Vault forwards the request only for the bare error")
	})
}

func TestTTLOfLateRoleEndsAtNextWindow(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) {
			in.Options.RotationSchedule, in.Options.RotationWindow, in.Options.MaxReadTTL = "0 3 * * *", 3600, 0
		})
		r.engine.Stop()
		advance(5 * time.Hour)
		r.start()
		advance(2 * time.Minute)
		require.Equal(t, 1, r.version(), "the window was missed")
		require.Equal(t, 22*time.Hour-2*time.Minute, r.serve().TTL)
	})
}

// Wrong old passwords make the next request wait, because they lock the account. A reader waits for the request in flight.
func TestReadWaitsForChangeInFlight(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		o.update(func(o *role.Options) { o.RotationPeriod, o.RotationMode = 3600, role.ModeOnRead }, nil)
		advance(time.Hour)
		stored := o.role()
		stored.Record.OldTries.Count = 1
		stored.Record.OldTries.Until = o.engine.Now().Add(time.Hour)
		stored.Record.Current.Confirmed = false // so that its use counts
		require.NoError(t, o.store().PutRole(t.Context(), stored))
		change := newBlock()
		defer change.release()
		o.remote.onChange(func(ctx context.Context, call int, c provider.Change) (provider.Result, bool) {
			change.wait()
			return o.change(ctx, call, c)
		})
		versions := make(chan int, 2)
		for range cap(versions) {
			go func() { versions <- o.serve().View.Password.Version }()
			synctest.Wait()
		}
		require.Empty(t, versions, "both wait for the same change")
		report, err := o.engine.Read(t.Context(), o.storage, "role")
		require.NoError(t, err)
		require.Equal(t, role.OverdueTTL, report.TTL)
		change.release()
		require.Equal(t, []int{3, 3}, []int{<-versions, <-versions})
	})
}

// A read sets the first password of a role with disable_automated_rotation, even if the connection has to wait.
func TestFirstReadOfDisabledRoleWaitsForThrottle(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation, in.Options.Disabled = true, true })
		r.createRoles("other")
		r.remote.fail(throttled(10 * time.Second))
		require.Error(t, r.rotateOther())
		r.remote.succeed()
		got := r.serve().View.Password.Value
		require.Equal(t, r.remote.password("login"), got)
	})
}

// With disable_automated_rotation, the read that sets the first password also sends it after a wait.
func TestFirstReadOfDisabledRoleSendsAfterMargin(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(unknown)
		r.mustRotate()
		require.NoError(t, r.deleteRole(true)) // its request may still be running
		r.remote.succeed()
		r.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation, in.Options.Disabled = true, true })
		advance(20 * time.Second) // the margin ends at 60 s
		got := r.serve().View.Password.Value
		require.Equal(t, r.remote.password("login"), got)
	})
}
