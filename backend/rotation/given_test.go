package rotation

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
)

func TestGivenPasswordRefusedAfterWaitIsReported(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.answer(unknown, true)
		r.mustRotate()
		advance(25 * time.Second)
		r.remote.fail(weakPassword)
		require.Contains(t, r.setPasswordFails(problem.KindMistake, chosen), "was not set: too weak")
		r.requireState(credential.StateUncertain, 1, 2)
	})
}

func TestReplacedSetPasswordReportsBusy(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createUncertain()
		first := make(chan error, 1)
		go func() {
			_, err := r.setPassword("chosenbyone")
			first <- err
		}()
		synctest.Wait()
		_, err := r.setPassword("chosenbyother")
		require.NoError(t, err)
		require.Equal(t, problem.KindBusy, kindOf(t, <-first), "its password is not in force")
		require.Equal(t, "chosenbyother", r.remote.password("login"))
		require.Equal(t, "chosenbyother", r.read().Password.Value)
	})
}

func TestDiscardedChosenPasswordIsReported(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.fail(unreachable)
		require.NotContains(t, r.setPasswordFails(problem.KindUnreachable, chosen), explain.Replaced)
		require.NotContains(t, r.setPasswordFails(problem.KindUnreachable, chosen), explain.Replaced, "the same password still waits")
		require.Contains(t, r.setPasswordFails(problem.KindUnreachable, "anotherbyhand"), explain.Replaced)
		r.remote.succeed()
		require.Equal(t, explain.Replaced+".", r.mustRotate().Warning)
		require.Empty(t, r.mustRotate().Warning)
	})
}

func TestPasswordInForceIsNotSetAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		report, err := r.setPassword(chosen)
		require.NoError(t, err)
		require.Empty(t, report.Warning)
		calls := r.remote.changeCount()
		report, err = r.setPassword(chosen)
		require.NoError(t, err)
		require.Equal(t, "Nothing was done: this password is already in force.", report.Warning)
		require.Equal(t, calls, r.remote.changeCount())
	})
}

func TestRefusedGivenPasswordDoesNotDelayRotation(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(weakPassword)
		r.setPasswordFails(problem.KindMistake, chosen)
		r.remote.succeed()
		began := r.engine.Now()
		r.mustRotate()
		require.Equal(t, began, r.engine.Now(), "at once")
		r.requireState(credential.StateActive, 2, 0)
	})
}

// The old password is in force and nothing is open, so nobody is needed.
func TestWeakChosenPasswordLeavesRoleAsItWas(t *testing.T) {
	for name, begin := range map[string]func(r *rig){
		"confirmed": func(*rig) {},
		"refused before": func(r *rig) {
			r.remote.fail(noAccount)
			r.rotateFails(problem.KindMistake)
			require.Equal(r, 1, r.health().OperatorsNeeded)
		},
		"unknown outcome": func(r *rig) {
			r.remote.fail(unknown)
			r.mustRotate()
			advance(25 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
				begin(r)
				before, needed := r.role(), r.health().OperatorsNeeded
				r.remote.fail(weakPassword)
				require.Contains(t, r.setPasswordFails(problem.KindMistake, chosen), "was not set: too weak")
				after := r.role()
				require.Equal(t, before.Record.List(), after.Record.List())
				last := before.Retry.Last
				require.True(t, last == nil && after.Retry.Last == nil || last.Same(after.Retry.Last))
				require.Equal(t, before.Retry.Attempts, after.Retry.Attempts)
				require.Equal(t, needed, r.health().OperatorsNeeded)
			})
		})
	}
}

// The request got another answer before, so status says that the password was refused.
func TestWeakChosenPasswordIsToldAfterItWaited(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(busy)
		r.setPasswordFails(problem.KindBusy, chosen)
		r.remote.fail(weakPassword)
		advance(time.Minute)
		require.Equal(t, 1, r.health().OperatorsNeeded)
		require.Contains(t, r.status().Advice, "Choose another password")
		r.remote.fail(weakPassword)
		r.setPasswordFails(problem.KindMistake, chosen)
		require.Equal(t, 1, r.health().OperatorsNeeded)
		r.remote.succeed()
		r.mustRotate()
		require.Zero(t, r.health().OperatorsNeeded)
	})
}

// Some servers took it, so the role is not as it was.
func TestChosenPasswordRefusedBySomeServersStaysOpen(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createServers()
		r.remote.fail(oneServerRefuses)
		report, err := r.setPassword(chosen)
		require.NoError(t, err)
		require.Contains(t, report.Warning, "and others refused it, so all of them need a new password")
		require.NotNil(t, r.role().Retry.Last)
		r.requireState(credential.StateRestartRequired, 1, 2)
	})
}
