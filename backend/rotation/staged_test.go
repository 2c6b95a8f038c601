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
	r.remote.settles(settleAfter)
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

		r.remote.settles(2 * time.Minute) // longer than a request waits
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

// Whoever reads must not be given the one before for as long as the next one is in the queue.
func TestAPasswordWhoseTimeComesWhileAnotherOneWaitsForItsTurnIsInForce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{MaxInFlight: ptr(1)}))
		r.queues()
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name, in.Target = "other", provider.Settings{"login": "other"} })
		after(2 * settleAfter)
		_, err := r.rotate()
		require.NoError(t, err)
		after(settleAfter - 10*time.Second)
		r.remote.set(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if c.Target.Username == "other" {
				time.Sleep(20 * time.Second) // of the bubble
			}
			return queuedAnswer, true
		})
		go func() { _, _ = r.engine.Rotate(t.Context(), r.storage, "other", 0) }()
		after(5 * time.Second)
		r.stands(credential.StateAccepted, 1, 2)
		report, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateAccepted, report.View.State)
		r.stands(credential.StateAccepted, 2, 3)
		after(settleAfter)
		r.stands(credential.StateAssumed, 3, 0)
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
		require.Contains(t, status.Reason, "and held until version 2 is in force")
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

func TestDeletingARoleWhosePasswordIsStagedNeedsForce(t *testing.T) {
	for _, answer := range []provider.Result{queuedAnswer, restartAnswer} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			r.remote.settles(settleAfter)
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
		r.remote.settles(time.Minute)
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

func TestTheRotationScheduleLeavesTimeForTheQueue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.settles(time.Minute)
		_, err := r.create(func(in *NewRole) { in.Options.RotationSchedule = "* * * * *" })
		require.ErrorContains(t, err, "settle_after (60 seconds)")
		r.queues()
		r.mustCreate(func(in *NewRole) { in.Options.RotationSchedule = "* * * * *" })
	})
}

func TestASettledQueueSendsNothingWhereAutomationIsOff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.settles(2 * time.Minute) // longer than a request waits
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
		r.remote.settles(2 * time.Minute)
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
