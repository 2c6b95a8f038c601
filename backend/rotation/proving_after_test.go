package rotation

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// If the connection's credential is refused in a login through the API, it is checked as after any other call. Until then, no
// other call is made.
func TestCredentialRefusedInLoginIsChecked(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		check provider.Result
		want  credential.State
		err   string
	}{
		"it works":         {applied, credential.StateActive, ""},
		"it is wrong, too": {refusedCredential, credential.StateActive, "has been paused since"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.provesByAPI()
				r.mustCreate(func(in *NewRole) { provedByAPI(&in.Options) })
				r.remote.answerCheck(row.check)
				r.remote.onCheckTarget(func() provider.Result { return refusedCredential })
				proved, err := r.engine.VerifyRole(r.Context(), r.storage, "role")
				require.NoError(t, err)
				require.Equal(t, string(provider.CannotTell), proved.Tried[0].Verdict)
				r.remote.onCheckTarget(nil)
				_, err = r.rotate()
				if row.err != "" {
					require.ErrorContains(t, err, row.err)
					return
				}
				require.NoError(t, err)
				require.Equal(t, credential.StateActive, r.read().State)
			})
		})
	}
}

// A login shows which password works, but a due change waits for its window all the same.
func TestDueChangeKeepsWindowAfterLogin(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, r *rig) {
		d := r.proves()
		r.mustCreate(func(in *NewRole) {
			proved(&in.Options)
			in.Options.RotationSchedule, in.Options.RotationWindow, in.Options.VerifyPeriod = "0 3 * * *", 3600, 3600
		})
		start := time.Now()
		opens := time.Date(start.Year(), start.Month(), start.Day(), 3, 0, 0, 0, time.UTC)
		if !opens.After(start) {
			opens = opens.Add(day)
		}
		r.remote.answer(busy, false)
		advance(opens.Sub(start) + 3*time.Hour)
		require.Equal(t, credential.Unsent, r.role().Record.Next.Phase)
		calls := r.remote.changeCount()
		r.remote.succeed()
		proved, err := r.engine.VerifyRole(r.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Equal(t, string(provider.Works), proved.Tried[0].Verdict)
		r.update(func(o *role.Options) { o.VerifyPeriod = 7200 }, nil) // which plans a login
		logins := d.logins()
		advance(time.Hour)
		require.Greater(t, d.logins(), logins)
		require.Equal(t, calls, r.remote.changeCount())
		advance(20 * time.Hour)
		require.Equal(t, calls+1, r.remote.changeCount())
	})
}

// A password whose sending could not be stored was not sent, so no login has to show what became of it.
func TestNothingSentNeedsNoLogin(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, _ *door) {
		r.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) { return weakPassword, false })
		puts := 0
		r.storage.failIf(func(operation, key string) error {
			if operation == opPut && key == roleKey {
				if puts++; puts == 2 { // the next password
					return errors.New("storage is slow")
				}
			}
			return nil
		})
		_, err := r.rotate()
		require.ErrorContains(t, err, "too weak")
		require.Equal(t, 3, puts)
		require.False(t, r.role().Proofs.Wanted)
		require.Equal(t, credential.Unsent, r.role().Record.Next.Phase)
	})
}

// What an operator confirms without a login is proved within verify_period. Here, the password before still works.
func TestConfirmedPasswordIsProvedInTime(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, r *rig) {
		d := r.proves()
		r.mustCreate(func(in *NewRole) {
			proved(&in.Options)
			in.Options.VerifyPeriod = 3600
		})
		before := r.read().Password.Value
		report := r.mustConfirm(Confirmation{Password: "changedoutside1", Force: true})
		require.Contains(t, report.Warning, "No login has proved the password: none was made, because of force=true.")
		require.Equal(t, credential.StateAssumed, r.read().State)
		logins := d.logins()
		advance(2 * time.Hour)
		require.Greater(t, d.logins(), logins)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, before, r.read().Password.Value)
	})
}

// Once the budget is spent, no login can check what an operator says. A wrong statement is not believed because it is repeated.
func TestStatementIsCheckedLater(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, _ *door) {
		r.mustRotate()
		previous, current := r.version()-1, r.read().Password.Value
		for range 2 {
			require.Contains(t, r.confirmFails(Confirmation{Password: "wrongpassword1"}), "a login with it was refused")
		}
		for _, c := range []Confirmation{{Password: "wrongpassword1"}, {Version: previous}} {
			_, err := r.confirm(c)
			require.Equal(t, problem.KindBusy, kindOf(t, err))
			require.ErrorContains(t, err, "no login can check it before "+explain.Time(r.engine.Now().Add(16*time.Minute)))
			require.ErrorContains(t, err, "add force=true")
		}
		require.Equal(t, current, r.read().Password.Value)
		advance(16 * time.Minute)
		require.Contains(t, r.confirmFails(Confirmation{Version: previous}), "a login with it was refused")
		report := r.mustConfirm(Confirmation{Password: "wrongpassword1", Force: true})
		require.Contains(t, report.Warning, "No login has proved the password: none was made, because of force=true")
		require.Equal(t, credential.StateAssumed, report.View.State)
	})
}

// A change that no login could prove is active by the remote system's word, and the answer says so.
func TestUnprovedChangeWarns(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		d.say(&provider.Proof{Verdict: provider.CannotTell, Reason: "the door is shut"})
		report := r.mustRotate()
		require.Equal(t, credential.StateActive, report.View.State)
		require.Equal(t, "No login has proved it: the door is shut.", report.Warning)
		require.Contains(t, r.status().Reason, report.Warning)
		d.say(nil)
		require.Empty(t, r.mustRotate().Warning)
	})
}

// A role that drifts recovers as soon as it may, whatever the budget allows at the moment.
func TestRecoveryCanBeSwitchedOnLater(t *testing.T) {
	t.Parallel()
	for name, spent := range map[string]bool{"budget left": false, "budget spent": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inProvedTime(t, func(t *testing.T, r *rig, d *door) {
				first := r.read().Password.Value
				r.mustRotate()
				r.mustRotate()
				r.remote.setPassword("login", first)
				_, err := r.engine.VerifyRole(r.Context(), r.storage, "role")
				require.NoError(t, err)
				require.Equal(t, credential.StateDrifted, r.read().State)
				if spent {
					_, err = r.engine.VerifyRole(r.Context(), r.storage, "role")
					require.NoError(t, err)
				}
				r.update(func(o *role.Options) { o.OnDrift = role.DriftRecover }, nil)
				require.NotZero(t, r.status().NextProof)
				advance(40 * time.Minute)
				require.Equal(t, credential.StateActive, r.read().State)
				require.Equal(t, first, r.read().Password.Value)
				require.LessOrEqual(t, d.refusals(), 4)
			})
		})
	}
}

// An attempt that the budget does not allow does not move the next login away.
func TestSpentBudgetDoesNotDelayNextLogin(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		d.say(&provider.Proof{Verdict: provider.CannotTell, Reason: "the answer was lost"})
		r.mustRotate()
		_, err := r.engine.VerifyRole(r.Context(), r.storage, "role")
		require.NoError(t, err)
		for range 5 {
			proved, err := r.engine.VerifyRole(r.Context(), r.storage, "role")
			require.NoError(t, err)
			require.Equal(t, proved.Until, r.status().NextProof)
		}
	})
}

// A refused login with another password than the one that readers get is told apart from one with theirs. No login is planned
// while automation is disabled.
func TestStatusNamesVersionOfLogin(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		r.remote.setSettleAfter(time.Hour)
		r.remote.answer(queued, true)
		r.mustRotate()
		d.say(&provider.Proof{Verdict: provider.Refused, Reason: "the server refused the password"})
		_, err := r.engine.VerifyRole(r.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Equal(t, 1, r.status().Version)
		require.Equal(t, "version 2: the server refused the password", r.status().ProofReason)
		require.NotZero(t, r.status().NextProof)
		r.update(func(o *role.Options) { o.Disabled = true }, nil)
		require.Zero(t, r.status().NextProof)
	})
}
