package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestARestartInBetweenPutsTheOlderPasswordInForce(t *testing.T) {
	for name, second := range map[string]provider.Result{"staged over staged": restartAnswer, "unknown over staged": unknown} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(nil)
				r.remote.set(always(restartAnswer, false))
				_, err := r.rotate()
				require.NoError(t, err)
				r.remote.set(always(second, false))
				_, err = r.rotate()
				require.NoError(t, err)
				require.Equal(t, 3, r.role().Record.Next.Version)
				r.confirm(Word{Version: 2})
				require.Equal(t, 2, r.read().Password.Version)
				require.Equal(t, 3, r.read().Next.Version, "the newer one may wait for the next start")
				r.remote.set(always(restartAnswer, false))
				after(10 * time.Minute)
				r.stands(credential.StateRestartRequired, 2, 3)
				require.Len(t, r.sent(), 3)
				r.confirm(Word{Version: 3})
				r.stands(credential.StateAssumed, 3, 0)
			})
		})
	}
}

func TestADiscardedPasswordThatComesIntoForceAfterAllCanBeConfirmed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.HistorySize = 0 })
		r.remote.set(always(restartAnswer, false))
		_, err := r.rotate()
		require.NoError(t, err)
		calls := r.remote.count()
		r.confirm(Word{Version: 2, Discard: true})
		r.stands(credential.StateAssumed, 1, 0)
		after(time.Hour)
		require.Equal(t, calls, r.remote.count(), "nothing is made up in its place")
		r.confirm(Word{Password: "set by hand"})
		r.stands(credential.StateAssumed, 3, 0)
		r.confirm(Word{Version: 2})
		r.stands(credential.StateAssumed, 2, 0)
	})
}

// What an operator sees while a password is queued is true now, and wrong in a minute.
func TestAWordAboutAQueuedPasswordDoesNotStopIt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		r.mustCreate(nil)
		after(settleAfter)
		_, err := r.rotate()
		require.NoError(t, err)
		settles := r.engine.Now().Add(settleAfter)
		_, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2, Discard: true})
		require.Equal(t, KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "counts as in force at "+stamp(settles))
		first := r.role().Record.Current.Value
		for _, word := range []Word{{Version: 1}, {Password: first}} {
			r.confirm(word)
			r.stands(credential.StateAccepted, 1, 2)
		}
		r.confirm(Word{Password: "set elsewhere"})
		r.stands(credential.StateAccepted, 3, 2)
		calls := r.remote.count()
		_, err = r.rotate()
		require.NoError(t, err)
		require.False(t, r.engine.Now().Before(settles), "not before the queued one is in force")
		require.Equal(t, calls+1, r.remote.count())
		r.stands(credential.StateAccepted, 2, 4)

		after(settleAfter)
		r.stands(credential.StateAssumed, 4, 0)
		r.confirm(Word{Version: 4, Discard: true}) // the job failed without a word
		r.stands(credential.StateAssumed, 2, 0)
		after(time.Hour)
		r.stands(credential.StateAssumed, 2, 0)
	})
}

// The remote system refuses the account for a while after an answer was lost: another password would fare no better.
func TestARefusedAccountAfterALostAnswerKeepsThePassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(unknown, false))
		_, err := r.rotate()
		require.NoError(t, err)
		r.remote.set(always(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "stopped"}, false))
		after(10 * time.Minute)
		r.stands(credential.StateUncertain, 1, 2)
		require.Len(t, r.sent(), 2)
		_, err = r.rotate()
		require.NoError(t, err, "what was sent is still open")
		r.remote.set(always(restartAnswer, false))
		after(2 * time.Hour)
		require.Equal(t, credential.StateRestartRequired, r.read().State)
		require.LessOrEqual(t, len(r.sent()), 3)
	})
}

func TestARefusedSecondChangeLeavesTheFirstWaiting(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotationPeriod = 3600 })
		r.remote.set(always(restartAnswer, false))
		_, err := r.rotate()
		require.NoError(t, err)
		r.remote.set(always(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "stopped"}, false))
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.Equal(t, KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "stopped; see whether the account still exists", "the advice is about the refusal")
		r.stands(credential.StateRestartRequired, 1, 2)
		calls := r.remote.count()
		report, err := r.engine.Rotate(t.Context(), r.storage, "role", 1)
		require.NoError(t, err)
		require.Contains(t, report.Warning, "done already")
		require.Equal(t, 2, report.NextVersion())
		after(3 * time.Hour)
		require.Equal(t, calls, r.remote.count())
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "held until version 2")

		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}, false))
		_, err = r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		status, err = r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Equal(t, 2, status.Report.NextVersion(), "as creds has it")
		require.Contains(t, status.Reason, "held until version 2")
		require.Contains(t, status.Reason, "version 3 waits to be sent")
		r.confirm(Word{Version: 2})
		r.remote.set(always(restartAnswer, false))
		after(time.Minute)
		r.stands(credential.StateRestartRequired, 2, 3)
	})
}

// Nobody restarts, nobody says a word: in the end a person has to.
func TestTooManyPasswordsForOneRestartNeedAWord(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(restartAnswer, false))
		var err error
		for range 2 * credential.MaxCandidates {
			if _, err = r.rotate(); err != nil {
				break
			}
		}
		require.Equal(t, KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "or with password=… where that is not waiting")
		r.confirm(Word{Version: 1})
		_, err = r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateRestartRequired, r.read().State)
	})
}

func TestADiscardedFirstPasswordIsNotReplacedByARead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.set(always(restartAnswer, false))
		r.mustCreate(nil)
		r.confirm(Word{Version: 1, Discard: true})
		calls := r.remote.count()
		report, err := r.engine.first(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Nil(t, report.View.Password)
		require.Equal(t, calls, r.remote.count())
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "1 was sent and discarded")
		require.Contains(t, status.Advice, "confirm-role/role")
		require.Equal(t, KindMistake, kindOf(t, r.engine.Delete(t.Context(), r.storage, "role", false)), "it may come into force")
		r.confirm(Word{Version: 1})
		r.stands(credential.StateAssumed, 1, 0)
	})
}

func TestAWithdrawnRotationIsSaid(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "refused"}, false))
		_, err := r.rotate()
		require.Error(t, err)
		report, err := r.engine.Confirm(t.Context(), r.storage, "role", Word{Password: "set elsewhere"})
		require.NoError(t, err)
		require.Contains(t, report.Warning, "was withdrawn")
		r.remote.set(nil)
		after(time.Hour)
		require.Equal(t, 1, len(r.sent())-1)
		require.Equal(t, "set elsewhere", r.read().Password.Value)
	})
}

// Rights that are missing for one account are that role's matter; a check that does not get through proves nothing of the
// credential, and is said as what it is.
func TestOnlyARefusedCredentialPausesTheConnection(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		checks := r.remote.checked()
		r.remote.set(always(provider.Result{Outcome: provider.Denied, Scope: provider.ScopeTarget, Reason: "no rights"}, false))
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		require.Equal(t, checks, r.remote.checked())
		r.remote.set(always(provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Reason: "wrong key"}, false))
		r.remote.checksAs(provider.Result{Outcome: provider.Unknown, Reason: "a proxy's page"})
		after(time.Hour)
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "did not get through (a proxy's page)")
	})
}

func TestAConfirmedQueuedPasswordIsSettledOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		r.mustCreate(func(in *NewRole) { in.Options.RotationPeriod = 3600 })
		after(settleAfter)
		_, err := r.rotate()
		require.NoError(t, err)
		queued := r.engine.Now()
		after(10 * time.Second)
		r.confirm(Word{Version: 2})
		r.stands(credential.StateAssumed, 2, 0)
		due := r.role().Due
		calls := r.remote.count()
		_, err = r.rotate()
		require.NoError(t, err)
		require.Equal(t, calls+1, r.remote.count())
		require.False(t, r.engine.Now().Before(queued.Add(settleAfter)), "a word does not empty the queue")
		require.Equal(t, due, r.role().Due)
		r.stands(credential.StateAccepted, 2, 3)
		after(time.Minute)
		r.stands(credential.StateAssumed, 3, 0)
	})
}

// Whoever mends what the remote system refused for asks again at once, and not for the answer of a minute ago.
func TestARefusedAccountIsAskedForAgainWithTheNextRequest(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no plug-in"}, false))
		for range 3 {
			_, err := r.rotate()
			require.Equal(t, KindMistake, kindOf(t, err))
		}
		require.Equal(t, 4, r.remote.count())
		r.remote.set(nil)
		_, err := r.rotate()
		require.NoError(t, err)
		r.stands(credential.StateActive, 2, 0)
	})
}

// The engine may send what a request waits for before the request does.
func TestARequestWhosePasswordTheEngineSentIsToldWhatCameOfIt(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 10 * time.Second}, false))
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		after(time.Until(r.role().Retry.NextAttempt) - time.Second)
		r.remote.set(always(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"}, false))
		o := order{trigger: triggerRequest, waits: "a password that is gone"}
		after(5 * time.Second) // the engine has sent it
		now := r.engine.goOn(t.Context(), t.Context(), store{r.storage}, "role", &o)
		_, err = now.answer(r.engine)
		require.Equal(t, KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "no such account")
	})
}
