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
