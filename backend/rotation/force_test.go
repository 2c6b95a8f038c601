package rotation

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/roles"
)

// rotateNow forces an attempt.
func (r *rig) rotateNow() (*roles.Report, error) {
	return r.engine.RotateNow(r.Context(), r.storage, "role", 0)
}

// rotateNowFails asserts that a forced attempt fails with an error of that kind, and returns the message.
func (r *rig) rotateNowFails(kind problem.Kind) string {
	r.Helper()
	_, err := r.rotateNow()
	require.Equal(r, kind, kindOf(r.T, err))
	return err.Error()
}

// backOff makes the role wait for a long time before its next attempt.
func (r *rig) backOff() {
	r.Helper()
	r.remote.fail(unreachable)
	r.rotateFails(problem.KindUnreachable)
	advance(2 * day)
	advance(time.Until(r.role().Retry.NextAttempt) + 15*time.Second)
	require.Greater(r, time.Until(r.role().Retry.NextAttempt), 10*time.Minute)
}

func TestForcedRotationEndsBackoff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.backOff()
		waiting, calls := r.role().Record.Next.Value, r.remote.changeCount()
		r.remote.succeed()
		r.rotateFails(problem.KindUnreachable)
		require.Equal(t, calls, r.remote.changeCount(), "without force, the answer is the last one")
		report, err := r.rotateNow()
		require.NoError(t, err)
		require.Equal(t, 2, report.View.Password.Version)
		require.Equal(t, waiting, r.remote.password("login"), "it is the password that was being set")
		require.Equal(t, calls+1, r.remote.changeCount())
		_, err = r.engine.RotateNow(t.Context(), r.storage, "role", 1)
		require.NoError(t, err, "that version is not in force any more, so nothing is done")
		require.Equal(t, calls+1, r.remote.changeCount())
	})
}

// Vault's client repeats a request that fails with 5xx twice, within a few seconds.
func TestForcedRotationIsOneCall(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.backOff()
		calls := r.remote.changeCount()
		began := r.engine.Now()
		for i := range 3 {
			text := r.rotateNowFails(problem.KindUnreachable)
			require.Contains(t, text, "The next attempt is at")
			require.Equal(t, i > 0, strings.Contains(text, "force=true makes no attempt within 10s of a failure"), text)
			require.Equal(t, i > 0, strings.Contains(text, "repeat this request after "+explain.Time(began.Add(forceAgain))), text)
			advance(3 * time.Second)
		}
		require.Equal(t, calls+1, r.remote.changeCount())
		advance(forceAgain)
		r.rotateNowFails(problem.KindUnreachable)
		require.Equal(t, calls+2, r.remote.changeCount())
	})
}

// A forced rotation also sends a password again whose outcome is unknown, and one that an operator chose.
func TestForcedRotationSendsSamePassword(t *testing.T) {
	for name, begin := range map[string]func(r *rig){
		"unknown outcome": func(r *rig) { r.remote.fail(unknown); r.mustRotate() },
		"chosen password": func(r *rig) { r.remote.fail(busy); r.setPasswordFails(problem.KindBusy, chosen) },
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(nil)
				begin(r)
				advance(day)
				advance(time.Until(r.role().Retry.NextAttempt) + 15*time.Second)
				waiting := r.role().Record.Next.Value
				r.remote.succeed()
				report, err := r.rotateNow()
				require.NoError(t, err)
				require.Equal(t, waiting, report.View.Password.Value)
				require.Equal(t, waiting, r.remote.password("login"))
			})
		})
	}
}

// The operator's attempt finds out whether the remote system still throttles. If it does, the others wait on.
func TestForcedRotationProbesThrottle(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createThrottled(30 * time.Minute)
		r.remote.fail(throttled(0))
		advance(15 * time.Second)
		calls := r.remote.changeCount()
		r.rotateNowFails(problem.KindBusy)
		require.Equal(t, problem.KindBusy, kindOf(t, r.rotateOther()))
		require.Equal(t, calls+1, r.remote.changeCount(), "one call")
		r.remote.succeed()
		advance(15 * time.Second)
		_, err := r.rotateNow()
		require.NoError(t, err)
		require.Equal(t, 2, r.version())
		advance(15 * time.Second)
		_, err = r.engine.RotateNow(t.Context(), r.storage, "other", 0)
		require.NoError(t, err)
		r.requireVersion("other", 2)
	})
}

// What keeps the credential from being locked applies to forced attempts, too.
func TestForcedRotationStaysWithinLockout(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		k := r.useKeys(5)
		r.mustCreate(nil)
		r.restartWith(k) // the credential is not proved since
		k.onCall(func(_ call, result *provider.Result) {
			*result = provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeConnection, Unseen: true, Reason: "no answer"}
		})
		for range 30 {
			_, err := r.rotateNow()
			require.Error(t, err)
			advance(11 * time.Second)
		}
		used := k.used("key")
		require.LessOrEqual(t, used, 1+1+4, "the check, the first password, and as many as do not lock the key")
		require.Contains(t, r.rotateNowFails(problem.KindBusy), "is tried again at", "it says until when")
		require.Equal(t, used, k.used("key"))
	})
}
