package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/roles"
)

func TestPasswordWaitingForRestartNeedsConfirmation(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.remote.fail(needsRestart)
		report := r.mustRotate()
		require.Contains(t, report.Warning, "confirm-role/role with version=2")
		r.requireState(credential.StateRestartRequired, 1, 2)
		calls := r.remote.changeCount()
		advance(3 * time.Hour)
		require.Equal(t, calls, r.remote.changeCount(), "nothing is sent while it waits")
		status := r.status()
		require.Contains(t, status.Reason, "it starts when version 2 is in force")
		require.Contains(t, status.Advice, "confirm-role/role")
		require.Zero(t, status.NextAttempt)
		require.Equal(t, 300*time.Second, r.serve().TTL, "the due time does not count while it waits")

		for _, repeat := range []func() (*roles.Report, error){
			func() (*roles.Report, error) { return r.rotateVersion(1) },
			func() (*roles.Report, error) { return r.setPassword(r.role().Record.Next.Value) },
		} {
			report, err := repeat()
			require.NoError(t, err)
			require.Contains(t, report.Warning, "carried out before")
		}
		require.Equal(t, calls, r.remote.changeCount(), "a repeated request sends nothing")

		r.mustConfirm(Confirmation{Version: 2})
		r.requireState(credential.StateAssumed, 2, 0)
		require.Equal(t, r.engine.Now().Add(time.Hour), r.role().Due)
		report, err := r.engine.Read(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Equal(t, 300*time.Second, report.TTL)
	})
}

func TestRefusedChangeLeavesStagedPasswordWaiting(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.remote.fail(needsRestart)
		r.mustRotate()
		r.remote.fail(noAccount)
		message := r.setPasswordFails(problem.KindMistake, chosen)
		require.Contains(t, message, "no such account. Fix the reported cause", "advice on the refusal")
		r.requireState(credential.StateRestartRequired, 1, 2)
		calls := r.remote.changeCount()
		report, err := r.rotateVersion(1)
		require.NoError(t, err)
		require.Contains(t, report.Warning, "carried out before")
		require.Equal(t, 2, report.NextVersion)
		advance(3 * time.Hour)
		require.Equal(t, calls, r.remote.changeCount())
		require.Contains(t, r.status().Reason, "it starts when version 2")

		r.remote.fail(busy)
		r.rotateFails(problem.KindBusy)
		status := r.status()
		require.Equal(t, 2, status.NextVersion, "as creds returns it")
		require.Contains(t, status.Reason, "it starts when version 2")
		require.Contains(t, status.Reason, "Version 3 is waiting to be sent")
		r.mustConfirm(Confirmation{Version: 2})
		r.remote.fail(needsRestart)
		advance(time.Minute)
		r.requireState(credential.StateRestartRequired, 2, 3)
	})
}

func TestUncertainPasswordBeforeStagedOneIsNamed(t *testing.T) {
	const named = "Version 2 was sent before with an unknown outcome and may be in force instead"
	for name, answer := range map[string]provider.Result{
		"queued": queued, "waits for a restart": needsRestart, "on some servers": oneServerBusy,
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				servers := name == "on some servers"
				if servers {
					r.remote.parts = []string{"a", "b", "c"}
				}
				r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
				r.remote.setSettleAfter(settleAfter)
				r.remote.answer(unknown, true)
				r.mustRotate()
				advance(10 * time.Minute)
				r.remote.answer(answer, true)
				report := r.mustRotate()
				if !servers {
					require.Contains(t, report.Warning, ". "+named)
				}
				require.Contains(t, r.status().Reason, ". "+named)
			})
		})
	}
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.answer(needsRestart, true)
		report := r.mustRotate()
		require.NotContains(t, report.Warning, "was sent before")
		require.NotContains(t, r.status().Reason, "was sent before")
	})
}

// Vault's client and people repeat requests. Without the version, a repetition is another change.
func TestUnfinishedRotationNamesVersionToRepeat(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		require.Empty(t, r.mustRotate().Warning)
		r.remote.answer(needsRestart, true)
		report := r.mustRotate()
		require.Contains(t, report.Warning, "give version=2")
		again, err := r.rotateVersion(2)
		require.NoError(t, err)
		require.Contains(t, again.Warning, "carried out before")
		require.NotContains(t, again.Warning, "give version")
		r.requireState(credential.StateRestartRequired, 2, 3)
		require.Contains(t, r.mustRotate().Warning, "give version=2")
		r.requireState(credential.StateRestartRequired, 2, 4)
	})
}

// If no login can tell whether a password has come into force, an operator is asked, as without logins: otherwise readers could
// get the old one for ever.
func TestOperatorIsAskedIfNoLoginCanTell(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		needsPerson := func() bool { return r.engine.Health().OperatorsNeeded > 0 }
		r.remote.answer(needsRestart, false)
		r.mustRotate()
		r.requireState(credential.StateRestartRequired, 1, 2)
		advance(time.Hour)
		require.False(t, needsPerson(), "the old password works: the engine waits for a restart")
		d.say(&shut)
		advance(20 * time.Minute)
		require.False(t, needsPerson(), "it may be restarting")
		require.Contains(t, r.status().Reason, "The last login could not tell whether it is in force")
		advance(time.Hour)
		require.True(t, needsPerson())
		require.Contains(t, r.status().Advice, "Correct what last_proof_reason names")
		require.Contains(t, r.status().Advice, "write confirm-role/role with version=2")
		d.say(nil)
		r.remote.setPassword("login", r.read().Next.Value)
		advance(20 * time.Minute)
		require.False(t, needsPerson())
		r.requireState(credential.StateActive, 2, 0)
	})
}
