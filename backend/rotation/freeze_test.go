package rotation

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

// createOnRead creates the role "role", which the next read changes, and the role "none", which has no password.
func (r *rig) createOnRead() {
	r.Helper()
	r.createDue(time.Hour, onRead)
	r.createAs("none", func(in *NewRole) { in.Options.SkipInitialRotation = true })
	advance(2 * time.Hour)
}

// requireFrozen asserts that the mount is frozen until an operator ends the freeze, and how many changes were sent.
func (r *rig) requireFrozen(calls int) {
	r.Helper()
	freeze := r.frozen()
	require.NotNil(r, freeze)
	require.Zero(r, freeze.Until, "it ends only by an operator")
	require.NotNil(r, r.engine.Health().Freeze)
	require.Equal(r, calls, r.remote.changeCount(), "nothing was sent")
}

func TestFreezeIsReportedForWaitingRoles(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		freeze := r.freeze(time.Hour)
		r.remote.fail(unreachable)
		message := r.rotateFails(problem.KindUnreachable)
		require.Contains(t, message, "vault delete MOUNT/freeze")
		require.Contains(t, message, "a release")
		status := r.status()
		require.Contains(t, status.Reason, "a release")
		require.Equal(t, freeze.Until, status.NextAttempt)
		require.Contains(t, status.Advice, "vault delete MOUNT/freeze")
		r.remote.succeed()
		advance(time.Hour + 2*time.Minute)
		require.Equal(t, 2, r.version())

		r.update(func(o *role.Options) { o.RotationPeriod = 3 * 3600 }, nil)
		r.freeze(time.Hour)
		require.Equal(t, "No action is needed.", r.status().Advice, "it ends before the password is due")
		r.freeze(4 * time.Hour)
		require.Contains(t, r.status().Advice, "vault delete MOUNT/freeze")
	})
}

func TestLongStopFreezesUntilOperatorEndsIt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.setCatchUpLimit(store.DefaultCatchUpLimit)
		r.createDue(time.Hour, nil)
		r.createAs("other", func(in *NewRole) { in.Options.RotationPeriod, in.Options.RotationMode = 3600, role.ModeOnRead })
		r.createAs("none", func(in *NewRole) { in.Options.SkipInitialRotation = true })
		r.remote.answer(unknown, true)
		r.mustRotate() // an unknown outcome is not settled either
		r.remote.succeed()
		r.engine.Stop()
		advance(26 * time.Hour)
		calls := r.remote.changeCount()
		r.start()
		for range 2 { // the second time with a fresh heartbeat
			r.wakeFor(100)
			r.restart()
		}
		other, err := r.engine.Serve(t.Context(), r.storage, "other")
		require.NoError(t, err)
		require.Equal(t, 1, other.View.Password.Version)
		require.Equal(t, 5*time.Minute, other.TTL)
		_, err = r.serveNone()
		require.Equal(t, problem.KindBusy, kindOf(t, err))
		require.ErrorContains(t, err, "vault delete MOUNT/freeze")
		require.Equal(t, calls, r.remote.changeCount(), "nothing was sent")
		status, err := r.engine.Status(t.Context(), r.storage, "other")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "catch_up_limit of 86400 seconds")

		require.NoError(t, r.rotateOther(), "requests of operators are carried out")
		require.Equal(t, calls+1, r.remote.changeCount())

		r.unfreeze()
		advance(2 * time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, calls+2, r.remote.changeCount(), "the unknown outcome is settled")
	})
}

// A freeze also stops a change that a read has begun, if nothing was sent.
func TestFreezeStopsWaitingRead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createOnRead()
		r.createRoles("other")
		r.remote.fail(throttled(20 * time.Second))
		require.Equal(t, problem.KindBusy, kindOf(t, r.rotateOther()))
		r.remote.succeed()
		type answer struct {
			report *roles.Report
			err    error
		}
		due, first := make(chan answer, 1), make(chan answer, 1)
		go func() {
			report, err := r.engine.Serve(r.Context(), r.storage, "role")
			due <- answer{report, err}
		}()
		go func() {
			report, err := r.serveNone()
			first <- answer{report, err}
		}()
		advance(5 * time.Second)
		calls := r.remote.changeCount()
		r.freeze(time.Hour)
		advance(50 * time.Second)
		require.Equal(t, calls, r.remote.changeCount(), "nothing was sent")
		got := <-due
		require.NoError(t, got.err)
		require.Equal(t, 1, got.report.View.Password.Version)
		require.Equal(t, problem.KindBusy, kindOf(t, (<-first).err))
	})
}

// A due change that needs a second request does not make it once the mount is frozen. One that a person requested does.
func TestFreezeStopsNextRequestOfChange(t *testing.T) {
	for name, requested := range map[string]bool{"due": false, "requested": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createDue(time.Hour, nil)
				r.remote.onChange(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
					if call == 2 {
						r.freeze(time.Hour)
						return weakPassword, false
					}
					return applied, true
				})
				if requested {
					r.mustRotate()
					require.Equal(t, 3, r.remote.changeCount())
					return
				}
				advance(time.Hour + 30*time.Minute)
				require.Equal(t, 2, r.remote.changeCount(), "the mount is frozen")
				r.requireState(credential.StateActive, 1, 0)
				advance(45 * time.Minute)
				require.Equal(t, 2, r.version(), "the freeze has ended")
			})
		})
	}
}

// In a frozen mount a standby serves what the active node would, and does not forward reads.
func TestStandbyLearnsOfFreeze(t *testing.T) {
	for name, startsFrozen := range map[string]bool{"written while it runs": false, "written before its start": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createOnRead()
				if startsFrozen {
					r.freeze(3 * time.Hour)
				}
				standby := r.standby()
				defer standby.Stop()
				invalidate := func() {
					standby.Invalidate(store.FreezeKey)
					synctest.Wait()
				}
				requireForwarded := func() {
					t.Helper()
					_, err := standby.Serve(t.Context(), r.storage, "role")
					require.ErrorIs(t, err, logical.ErrReadOnly, "the active node changes the password")
				}
				if !startsFrozen {
					requireForwarded()
					r.freeze(3 * time.Hour)
					invalidate()
				}
				r.requireSameOn(standby)

				r.unfreeze()
				invalidate()
				requireForwarded()

				r.freeze(3 * time.Hour)
				invalidate()
				r.requireSameOn(standby)
				advance(3*time.Hour + time.Second)
				requireForwarded()
			})
		})
	}
}

// requireSameOn asserts that a standby answers as the active node does.
func (r *rig) requireSameOn(standby *Engine) {
	r.Helper()
	calls, want := r.remote.changeCount(), r.serve()
	require.Equal(r, 1, want.View.Password.Version)
	got, err := standby.Serve(r.Context(), r.storage, "role")
	require.NoError(r, err)
	require.Equal(r, want.View, got.View)
	require.Equal(r, want.TTL, got.TTL)
	status, err := standby.Status(r.Context(), r.storage, "role")
	require.NoError(r, err)
	require.Equal(r, r.status().Reason, status.Reason)
	require.Equal(r, r.status().Advice, status.Advice)
	require.Equal(r, calls, r.remote.changeCount())
}

// The queue waits for the gate. A worker would find the mount frozen and queue the role again at once.
func TestFrozenMountDoesNoWork(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.freeze(3 * time.Hour)
		read := r.storage.blockAt(on(opGet, roleKey))
		defer read.release()
		advance(3*time.Hour - time.Second)
		require.False(t, read.isReached(), "the role has been due for two hours, and is not read")
		read.release()
		advance(2 * time.Minute)
		require.Equal(t, 2, r.version())
	})
}

// The mount is frozen while a first read waits for the lock of its role.
func TestFreezeStopsFirstReadThatWaitsItsTurn(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation = true })
		unlock := r.engine.locks.Try("role")
		require.NotNil(t, unlock)
		read := make(chan error, 1)
		go func() {
			_, err := r.engine.Serve(r.Context(), r.storage, "role")
			read <- err
		}()
		synctest.Wait()
		r.freeze(time.Hour)
		unlock()
		err := <-read
		require.Zero(t, r.remote.changeCount(), "nothing was sent")
		require.Equal(t, problem.KindBusy, kindOf(t, err))
		require.ErrorContains(t, err, "a release")
	})
}
