package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

func TestUpdateRetriesFailureItMayHaveFixed(t *testing.T) {
	otherOptions := func(o *role.Options) { o.MaxReadTTL = 60 }
	for name, row := range map[string]struct {
		failure provider.Result
		change  func(*role.Options)
		target  provider.Settings
		retries bool
	}{
		"other options after a refusal":    {failure: weakPassword, change: otherOptions, retries: true},
		"the same options after a refusal": {failure: weakPassword},
		"another field after a refusal":    {failure: weakPassword, target: provider.Settings{"via": "b"}, retries: true},
		"the same field after a refusal":   {failure: weakPassword, target: provider.Settings{"via": "a"}},
		"other options while it is busy":   {failure: busy, change: otherOptions},
		"another field while it is busy":   {failure: busy, target: provider.Settings{"via": "b"}, retries: true},
		"the same field while it is busy":  {failure: busy, target: provider.Settings{"via": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(func(in *NewRole) { in.Target["via"] = "a"; in.Options.Disabled = true })
				r.remote.fail(row.failure)
				_, err := r.rotate()
				require.Error(t, err)
				r.remote.succeed()
				calls := r.remote.changeCount()
				r.update(row.change, row.target)
				_, err = r.rotate()
				if !row.retries {
					require.Error(t, err)
					require.Equal(t, calls, r.remote.changeCount(), "not before its time")
					return
				}
				require.NoError(t, err)
				require.Equal(t, calls+1, r.remote.changeCount())
			})
		})
	}
}

func TestUpdateTrimsHistory(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		for range 4 {
			r.mustRotate()
		}
		require.Len(t, r.role().Record.List(), 5)
		r.update(func(o *role.Options) { o.HistorySize = 1 }, nil)
		require.Len(t, r.role().Record.List(), 3, "the present one, the one before, and an older one")
	})
}

func TestDeletedRoleIsNotReadAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(unreachable)
		r.rotateFails(problem.KindUnreachable)
		require.NoError(t, r.deleteRole(false))
		r.storage.reset()
		advance(5 * time.Minute)
		require.Zero(t, r.storage.counts().gets)
	})
}

func TestDeletingRoleWithStagedPasswordNeedsForce(t *testing.T) {
	for _, answer := range []provider.Result{queued, needsRestart} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			r.remote.setSettleAfter(settleAfter)
			r.mustCreate(nil)
			r.remote.fail(answer)
			r.mustRotate()
			require.Equal(t, problem.KindMistake, kindOf(t, r.deleteRole(false)))
			require.NoError(t, r.deleteRole(true))
		})
	}
}

func TestRotationPeriodMustExceedSettleAfter(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queueChanges()
		_, err := r.create(func(in *NewRole) { in.Options.RotationPeriod = 40 })
		require.ErrorContains(t, err, "settle_after (40 seconds)")
		r.mustCreate(func(in *NewRole) { in.Options.RotationPeriod = 41 })
		r.remote.setSettleAfter(time.Minute)
		err = r.writeConn(connection.Patch{Settings: provider.Settings{"note": "changed"}})
		require.ErrorContains(t, err, `role "role" has 41 seconds`)
	})
}

func TestRotationScheduleMustExceedSettleAfter(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.setSettleAfter(time.Minute)
		_, err := r.create(func(in *NewRole) { in.Options.RotationSchedule = "* * * * *" })
		require.ErrorContains(t, err, "settle_after (60 seconds)")
		r.queueChanges()
		r.mustCreate(func(in *NewRole) { in.Options.RotationSchedule = "* * * * *" })
	})
}
