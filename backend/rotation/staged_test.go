package rotation

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

const settleAfter = 40 * time.Second

var (
	queuedAnswer  = provider.Result{Outcome: provider.Staged, Stage: provider.StageAccepted}
	restartAnswer = provider.Result{Outcome: provider.Staged, Stage: provider.StageRestart}
)

// queues lets the remote system queue each change.
func (r *rig) queues() {
	r.remote.settleAfter = settleAfter
	r.remote.set(always(queuedAnswer, true))
}

// stands asserts the state and the versions of the password and of the next one, 0 for none.
func (r *rig) stands(state credential.State, version, next int) {
	r.Helper()
	view := r.read()
	require.Equal(r, state, view.State)
	require.Equal(r, version, versionOf(view.Password))
	require.Equal(r, next, versionOf(view.Next))
}

func versionOf(p *credential.Password) int {
	if p == nil {
		return 0
	}
	return p.Version
}

func (r *rig) confirm(word Word) {
	r.Helper()
	_, err := r.engine.Confirm(r.Context(), r.storage, "role", word)
	require.NoError(r, err)
}

func TestAQueuedPasswordIsTheNextOneUntilItsTimeHasPassed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		report, err := r.create(func(in *NewRole) { in.Options.RotationPeriod = 3600; in.Options.MaxReadTTL = 0 })
		require.NoError(t, err)
		require.Equal(t, credential.StateAccepted, report.View.State)
		require.Equal(t, settleAfter, report.TTL)
		require.Contains(t, report.Warning, "counts as in force at "+stamp(r.engine.Now().Add(settleAfter)))
		require.Contains(t, report.Warning, "no password that works", "there is none before it")
		r.stands(credential.StateAccepted, 1, 0)
		after(settleAfter)
		r.stands(credential.StateAssumed, 1, 0)
		settled := r.engine.Now()

		r.storage.reset()
		after(5 * time.Minute)
		report, err = r.rotate()
		require.NoError(t, err)
		require.Contains(t, report.Warning, "the one before as password, and this one as next_password")
		r.stands(credential.StateAccepted, 1, 2)
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Equal(t, r.engine.Now().Add(settleAfter), status.Next)
		require.Contains(t, status.Reason, "queued")
		require.Equal(t, settled.Add(time.Hour), r.role().Due)
		after(settleAfter)
		r.stands(credential.StateAssumed, 2, 0)
		require.Equal(t, r.engine.Now().Add(time.Hour), r.role().Due)
		_, puts, lists, deletes := r.storage.operations()
		require.Equal(t, []int{3, 0, 0}, []int{puts, lists, deletes}, "before it is sent, when it is queued, when it is in force")
		require.Equal(t, 2, r.remote.count())
		r.held()
	})
}

func TestReadersSeeAQueuedPasswordInForceAlsoWhereNobodyMayWrite(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		r.mustCreate(func(in *NewRole) { in.Options.RotationPeriod = 3600 })
		r.readOnly.Store(true)
		r.storage.reset()
		at := r.engine.Now().Add(settleAfter)
		after(2 * settleAfter)
		first := r.read()
		require.Equal(t, credential.StateAssumed, first.State)
		require.Equal(t, at, first.Since)
		require.Equal(t, at.Add(time.Hour), r.role().Due)
		after(time.Minute)
		require.Equal(t, first, r.read(), "two reads tell the same")
		_, puts, _, _ := r.storage.operations()
		require.Zero(t, puts)
		r.readOnly.Store(false)
		r.restart()
		require.Equal(t, first, r.read(), "stored later, told the same")
		_, puts, _, _ = r.storage.operations()
		require.Equal(t, 1, puts)
	})
}

func TestAQueuedPasswordSettlesAfterARestartAndWithoutAutomation(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.restart()
		after(settleAfter)
		stored, err := store{r.storage}.role(t.Context(), "role")
		require.NoError(t, err)
		require.Nil(t, stored.Record.Next)
		r.stands(credential.StateAssumed, 1, 0)
		require.Equal(t, 1, r.remote.count())
	})
}

// Two changes in the queue could be carried out in any order.
func TestAPasswordIsNotSentBeforeTheQueuedOneIsInForce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		r.mustCreate(nil)
		sent := r.engine.Now()
		report, err := r.rotate()
		require.NoError(t, err)
		require.WithinRange(t, r.engine.Now(), sent.Add(settleAfter), sent.Add(settleAfter+2*time.Second))
		require.Equal(t, 2, r.remote.count())
		require.Equal(t, credential.StateAccepted, report.View.State)
		r.stands(credential.StateAccepted, 1, 2)

		r.remote.settleAfter = 2 * time.Minute // longer than a request waits
		r.engine.connections.drop("conn")
		after(settleAfter)
		_, err = r.rotate()
		require.NoError(t, err)
		_, err = r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		require.ErrorContains(t, err, "has queued the last password")
		r.stands(credential.StateAccepted, 2, 3)
		calls := r.remote.count()
		_, err = r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		require.Equal(t, calls, r.remote.count(), "a repetition sends nothing")
		after(3 * time.Minute)
		require.Equal(t, calls+1, r.remote.count(), "the engine goes on by itself")
		r.stands(credential.StateAccepted, 3, 4)
		after(3 * time.Minute)
		r.stands(credential.StateAssumed, 4, 0)
		r.held()
	})
}

// 409: the job under way may be that of a lost answer.
func TestABusyQueueAfterALostAnswerIsWaitedForWithTheSamePassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		r.mustCreate(nil)
		after(settleAfter)
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			switch call {
			case 2:
				return unknown, true
			case 3, 4:
				return provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Code: "OperationPending", Reason: "pending"}, false
			default:
				return queuedAnswer, true
			}
		})
		report, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateUncertain, report.View.State)
		after(12 * time.Second)
		r.stands(credential.StateUncertain, 1, 2)
		after(time.Minute)
		require.Equal(t, 5, r.remote.count())
		require.Len(t, r.sent(), 2, "one password for each change")
		after(settleAfter)
		r.stands(credential.StateAssumed, 2, 0)
	})
}

// sent lists the passwords that were sent, each once.
func (r *rig) sent() []string {
	r.remote.mu.Lock()
	defer r.remote.mu.Unlock()
	var out []string
	seen := map[string]bool{}
	for _, call := range r.remote.calls {
		if !seen[call.NewPassword] {
			out = append(out, call.NewPassword)
		}
		seen[call.NewPassword] = true
	}
	return out
}

// A remote system that never confirms must not lead to a person after some lost answers.
func TestLostAnswersOfAQueueAreNotCountedForever(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		r.mustCreate(func(in *NewRole) { in.Options.HistorySize = 0 })
		after(settleAfter)
		for range 3 * credential.MaxCandidates {
			r.remote.set(always(unknown, true))
			_, err := r.rotate()
			require.NoError(t, err)
			r.remote.set(always(queuedAnswer, true))
			after(3 * time.Minute)
			_, err = r.rotate()
			require.NoError(t, err)
			after(3 * time.Minute)
			require.Equal(t, credential.StateAssumed, r.read().State)
		}
		require.LessOrEqual(t, len(r.role().Record.List()), 12)
	})
}

func TestAPasswordThatWaitsForARestartNeedsAPersonsWord(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotationPeriod = 3600 })
		r.remote.set(always(restartAnswer, false))
		report, err := r.rotate()
		require.NoError(t, err)
		require.Contains(t, report.Warning, "confirm-role/role with version=2")
		r.stands(credential.StateRestartRequired, 1, 2)
		calls := r.remote.count()
		after(3 * time.Hour)
		require.Equal(t, calls, r.remote.count(), "nothing is sent while it waits")
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "which is held until version 2 is in force")
		require.Contains(t, status.Advice, "confirm-role/role")
		require.Zero(t, status.Next)
		require.Equal(t, 300*time.Second, status.Report.TTL, "the due time says nothing while it is held")

		for _, repeat := range []func() (*Report, error){
			func() (*Report, error) { return r.engine.Rotate(t.Context(), r.storage, "role", 1) },
			func() (*Report, error) {
				return r.engine.SetPassword(t.Context(), r.storage, "role", r.role().Record.Next.Value)
			},
		} {
			report, err = repeat()
			require.NoError(t, err)
			require.Contains(t, report.Warning, "done already")
		}
		require.Equal(t, calls, r.remote.count(), "a repetition sends nothing")

		r.confirm(Word{Version: 2})
		r.stands(credential.StateAssumed, 2, 0)
		require.Equal(t, r.engine.Now().Add(time.Hour), r.role().Due)
		require.Equal(t, 300*time.Second, func() time.Duration { report, _ := r.engine.Read(t.Context(), r.storage, "role"); return report.TTL }())
	})
}

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

func TestDeletingARoleWhosePasswordIsStagedNeedsForce(t *testing.T) {
	for _, answer := range []provider.Result{queuedAnswer, restartAnswer} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			r.remote.settleAfter = settleAfter
			r.mustCreate(nil)
			r.remote.set(always(answer, false))
			_, err := r.rotate()
			require.NoError(t, err)
			require.Equal(t, KindMistake, kindOf(t, r.engine.Delete(t.Context(), r.storage, "role", false)))
			require.NoError(t, r.engine.Delete(t.Context(), r.storage, "role", true))
		})
	}
}

func TestTheRotationPeriodExceedsTheTimeInTheQueue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		_, err := r.create(func(in *NewRole) { in.Options.RotationPeriod = 40 })
		require.ErrorContains(t, err, "settle_after (40 seconds)")
		r.mustCreate(func(in *NewRole) { in.Options.RotationPeriod = 41 })
		r.remote.settleAfter = time.Minute
		err = r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"note": "changed"}})
		require.ErrorContains(t, err, `the role "role" has 41 seconds`)
	})
}

func TestFieldsThatAreNotSentNeedNoCheckAndSomeAreFixed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		checks := r.remote.checked()
		write := func(settings provider.Settings) error {
			return r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: settings})
		}
		require.NoError(t, write(provider.Settings{"note": "changed"}))
		require.Equal(t, checks, r.remote.checked())
		stored, _, err := r.engine.ReadConnection(t.Context(), r.storage, "conn")
		require.NoError(t, err)
		require.Equal(t, 1, stored.Revision)
		require.Equal(t, "changed", stored.Settings.String("note"))
		require.NoError(t, write(provider.Settings{"kind": "a"}), "its present value")
		require.ErrorContains(t, write(provider.Settings{"kind": "b"}), "kind cannot be changed")
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

func TestANewRoleWaitsForWhatAnOlderOneHasQueued(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		r.mustCreate(nil)
		after(settleAfter)
		_, err := r.rotate()
		require.NoError(t, err)
		queued := r.engine.Now()
		require.NoError(t, r.engine.Delete(t.Context(), r.storage, "role", true))
		calls := r.remote.count()
		report, err := r.create(nil)
		require.NoError(t, err)
		require.Contains(t, report.Warning, "no new password yet")
		after(time.Until(queued.Add(settleAfter - time.Second)))
		require.Equal(t, calls, r.remote.count())
		after(time.Minute)
		require.Equal(t, calls+1, r.remote.count())
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
		require.ErrorContains(t, err, "also if it is the one from before")
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
		report, err := r.engine.First(t.Context(), r.storage, "role")
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
		r.remote.check = func() provider.Result { return provider.Result{Outcome: provider.Unknown, Reason: "a proxy's page"} }
		after(time.Hour)
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "did not get through (a proxy's page)")
	})
}

func TestTheRotationScheduleLeavesTimeForTheQueue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.settleAfter = time.Minute
		_, err := r.create(func(in *NewRole) { in.Options.RotationSchedule = "* * * * *" })
		require.ErrorContains(t, err, "settle_after (60 seconds)")
		r.queues()
		r.mustCreate(func(in *NewRole) { in.Options.RotationSchedule = "* * * * *" })
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

func TestASettledQueueSendsNothingWhereAutomationIsOff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.settleAfter = 2 * time.Minute // longer than a request waits
		r.remote.set(always(queuedAnswer, true))
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		after(time.Hour)
		r.stands(credential.StateAssumed, 1, 0)
		require.Equal(t, 1, r.remote.count(), "the second one waits for a request")
		_, err = r.rotate()
		require.NoError(t, err)
		r.stands(credential.StateAccepted, 1, 2)
	})
}

// A queue may come to a lost request late.
func TestAnotherPasswordKeepsItsDistanceFromALostRequestOfAQueue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.settleAfter = 2 * time.Minute
		r.remote.set(always(queuedAnswer, true))
		r.mustCreate(nil)
		after(2 * time.Minute)
		r.remote.set(always(unknown, true))
		_, err := r.rotate()
		require.NoError(t, err)
		until := r.role().Record.Next.SentUntil
		r.remote.set(always(queuedAnswer, true))
		calls := r.remote.count()
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.NoError(t, err)
		after(time.Until(until.Add(2*time.Minute - time.Second)))
		require.Equal(t, calls, r.remote.count())
		after(5 * time.Second)
		require.Equal(t, calls+1, r.remote.count())
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
