package rotation

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

// settleAfter is how long a queued change takes.
const settleAfter = 40 * time.Second

// queueChanges makes the remote system queue all changes.
func (r *rig) queueChanges() {
	r.remote.setSettleAfter(settleAfter)
	r.remote.answer(queued, true)
}

// createQueued creates the role "role" with a password that counts as in force, and another one that is queued.
func (r *rig) createQueued(change func(*NewRole)) {
	r.Helper()
	r.queueChanges()
	r.mustCreate(change)
	advance(settleAfter)
	r.mustRotate()
}

func TestQueuedPasswordIsNextUntilSettled(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queueChanges()
		report, err := r.create(func(in *NewRole) { in.Options.RotationPeriod = 3600; in.Options.MaxReadTTL = 0 })
		require.NoError(t, err)
		require.Equal(t, credential.StateAccepted, report.View.State)
		require.Equal(t, settleAfter, report.TTL)
		require.Contains(t, report.Warning, "counts as in force at "+explain.Time(r.engine.Now().Add(settleAfter)))
		require.Contains(t, report.Warning, "no password that works", "there is no older one")
		r.requireState(credential.StateAccepted, 1, 0)
		advance(settleAfter)
		r.requireState(credential.StateAssumed, 1, 0)
		settled := r.engine.Now()

		r.storage.reset()
		advance(5 * time.Minute)
		report = r.mustRotate()
		require.Contains(t, report.Warning, "the old password, and the new one as next_password")
		r.requireState(credential.StateAccepted, 1, 2)
		status := r.status()
		require.Equal(t, r.engine.Now().Add(settleAfter), status.NextAttempt)
		require.Contains(t, status.Reason, "queued")
		require.Equal(t, settled.Add(time.Hour), r.role().Due)
		advance(settleAfter)
		r.requireState(credential.StateAssumed, 2, 0)
		require.Equal(t, r.engine.Now().Add(time.Hour), r.role().Due)
		used := r.storage.counts()
		used.gets = 0
		require.Equal(t, counts{puts: 3}, used, "before it is sent, when it is queued, when it is in force")
		require.Equal(t, 2, r.remote.changeCount())
		r.requireKnown()
	})
}

func TestReadOnlyNodeReportsSettledPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queueChanges()
		r.createDue(time.Hour, nil)
		r.readOnly.Store(true)
		r.storage.reset()
		at := r.engine.Now().Add(settleAfter)
		advance(2 * settleAfter)
		first := r.read()
		require.Equal(t, credential.StateAssumed, first.State)
		require.Equal(t, at, first.Since)
		require.Equal(t, at.Add(time.Hour), r.role().Due)
		advance(time.Minute)
		require.Equal(t, first, r.read(), "two reads return the same")
		require.Zero(t, r.storage.counts().puts)
		r.readOnly.Store(false)
		r.restart()
		require.Equal(t, first, r.read(), "also once it is stored")
		require.Equal(t, 2, r.storage.counts().puts, "the heartbeat, and the settled password")
	})
}

func TestQueuedPasswordSettlesAfterRestart(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queueChanges()
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.restart()
		advance(settleAfter)
		stored, err := r.store().Role(t.Context(), "role")
		require.NoError(t, err)
		require.Nil(t, stored.Record.Next)
		r.requireState(credential.StateAssumed, 1, 0)
		require.Equal(t, 1, r.remote.changeCount())
	})
}

// Time settles a queued password even where that cannot be stored.
func TestQueuedPasswordSettlesThoughUnstored(t *testing.T) {
	faults := map[string]func(r *rig){
		"read-only node":  func(r *rig) { r.readOnly.Store(true) },
		"failing storage": func(r *rig) { r.storage.fail(opPut, "", "disk full") },
	}
	requests := map[string]func(r *rig){
		"discard": func(r *rig) {
			r.mustConfirm(Confirmation{Version: 2, Discard: true})
			r.requireState(credential.StateAssumed, 3, 0)
		},
		"delete": func(r *rig) { require.NoError(r, r.deleteRole(false), "no password is staged") },
	}
	for cause, fault := range faults {
		for name, request := range requests {
			t.Run(cause+", "+name, func(t *testing.T) {
				inFakeTime(t, func(t *testing.T, r *rig) {
					r.createQueued(nil)
					fault(r)
					advance(settleAfter + time.Second)
					r.readOnly.Store(false)
					r.storage.heal()
					stored, err := r.store().Role(t.Context(), "role")
					require.NoError(t, err)
					require.NotNil(t, stored.Record.Next, "storage still has it as queued")
					request(r)
				})
			})
		}
	}
}

// The remote system may carry out two queued changes in any order.
func TestPasswordWaitsForQueuedOne(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queueChanges()
		r.mustCreate(nil)
		sent := r.engine.Now()
		report := r.mustRotate()
		require.WithinRange(t, r.engine.Now(), sent.Add(settleAfter), sent.Add(settleAfter+2*time.Second))
		require.Equal(t, 2, r.remote.changeCount())
		require.Equal(t, credential.StateAccepted, report.View.State)
		r.requireState(credential.StateAccepted, 1, 2)

		r.remote.setSettleAfter(2 * time.Minute) // longer than a request waits
		r.engine.cache.Drop("conn")
		advance(settleAfter)
		r.mustRotate()
		require.Contains(t, r.rotateFails(problem.KindBusy), "has queued the last password")
		r.requireState(credential.StateAccepted, 2, 3)
		calls := r.remote.changeCount()
		r.rotateFails(problem.KindBusy)
		require.Equal(t, calls, r.remote.changeCount(), "a repeated request sends nothing")
		advance(3 * time.Minute)
		require.Equal(t, calls+1, r.remote.changeCount(), "the engine sends it")
		r.requireState(credential.StateAccepted, 3, 4)
		advance(3 * time.Minute)
		r.requireState(credential.StateAssumed, 4, 0)
		r.requireKnown()
	})
}

// Otherwise readers would get the older password for as long as the next one is queued.
func TestQueuedPasswordSettlesWhileNextWaitsForSlot(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 1 }})
		r.queueChanges()
		r.mustCreate(nil)
		r.createRoles("other")
		advance(2 * settleAfter)
		r.mustRotate()
		advance(settleAfter - 10*time.Second)
		r.remote.onChange(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if c.Target.Username == "other" {
				time.Sleep(20 * time.Second)
			}
			return queued, true
		})
		go func() { _ = r.rotateOther() }()
		advance(5 * time.Second)
		r.requireState(credential.StateAccepted, 1, 2)
		report := r.mustRotate()
		require.Equal(t, credential.StateAccepted, report.View.State)
		r.requireState(credential.StateAccepted, 2, 3)
		advance(settleAfter)
		r.requireState(credential.StateAssumed, 3, 0)
		r.requireKnown()
	})
}

// A 409 may be about the change whose answer was lost.
func TestBusyQueueAfterLostAnswerGetsSamePassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queueChanges()
		r.mustCreate(nil)
		advance(settleAfter)
		r.remote.onChange(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			switch call {
			case 2:
				return unknown, true
			case 3, 4:
				return provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Code: "OperationPending", Reason: "pending"}, false
			default:
				return queued, true
			}
		})
		report := r.mustRotate()
		require.Equal(t, credential.StateUncertain, report.View.State)
		advance(12 * time.Second)
		r.requireState(credential.StateUncertain, 1, 2)
		advance(time.Minute)
		require.Equal(t, 5, r.remote.changeCount())
		require.Len(t, r.remote.sent(), 2, "one password per change")
		advance(settleAfter)
		r.requireState(credential.StateAssumed, 2, 0)
	})
}

// A remote system that never confirms a change does not need an operator after a number of lost answers.
func TestLostAnswersOfQueueAreForgotten(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queueChanges()
		r.mustCreate(func(in *NewRole) { in.Options.HistorySize = 0 })
		advance(settleAfter)
		for range 3 * credential.MaxCandidates {
			r.remote.answer(unknown, true)
			r.mustRotate()
			r.remote.answer(queued, true)
			advance(3 * time.Minute)
			r.mustRotate()
			advance(3 * time.Minute)
			require.Equal(t, credential.StateAssumed, r.read().State)
		}
		require.LessOrEqual(t, len(r.role().Record.List()), 12)
	})
}

func TestDisabledRoleSendsNothingAfterSettling(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.setSettleAfter(2 * time.Minute) // longer than a request waits
		r.remote.answer(queued, true)
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.rotateFails(problem.KindBusy)
		advance(time.Hour)
		r.requireState(credential.StateAssumed, 1, 0)
		require.Equal(t, 1, r.remote.changeCount(), "the second password waits for a request")
		r.mustRotate()
		r.requireState(credential.StateAccepted, 1, 2)
	})
}

// The remote system may carry out a lost request as late as its queue takes.
func TestPasswordKeepsDistanceFromLostQueuedRequest(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.setSettleAfter(2 * time.Minute)
		r.remote.answer(queued, true)
		r.mustCreate(nil)
		advance(2 * time.Minute)
		r.remote.answer(unknown, true)
		r.mustRotate()
		until := r.role().Record.Next.SentUntil
		r.remote.answer(queued, true)
		calls := r.remote.changeCount()
		_, err := r.setPassword(chosen)
		require.NoError(t, err)
		advance(time.Until(until.Add(2*time.Minute - time.Second)))
		require.Equal(t, calls, r.remote.changeCount())
		advance(5 * time.Second)
		require.Equal(t, calls+1, r.remote.changeCount())
	})
}

// While the engine was stopped, a queued password settled and became due for a change on read.
func TestSettledPasswordIsStoredThoughDueOnRead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queueChanges()
		r.createDue(time.Hour, onRead)
		r.engine.Stop()
		advance(settleAfter + 2*time.Hour)
		r.start()
		advance(2 * time.Minute)
		stored, err := r.store().Role(t.Context(), "role")
		require.NoError(t, err)
		require.Equal(t, credential.StateAssumed, stored.Record.View(r.engine.Now()).State)
		require.Len(t, r.log.lines("counts as in force"), 1)
		require.Equal(t, 1, r.remote.changeCount())
		require.Equal(t, 2, r.serve().NextVersion, "a read still begins the change")
	})
}

// A queued password settles while a slow password policy makes the next one.
func TestQueuedPasswordSettlesWhileNextIsMade(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r *rig) {
		var takes time.Duration
		made := 0
		r.policy = func(string) (string, error) {
			time.Sleep(takes) // in the bubble
			made++
			return fmt.Sprintf("Fits0and9sharplymuch%d", made), nil
		}
		r.queueChanges()
		r.mustCreate(func(in *NewRole) { in.Options.PasswordPolicy = "slow" })
		advance(2 * settleAfter)
		r.mustRotate()
		advance(settleAfter - 5*time.Second)
		r.requireState(credential.StateAccepted, 1, 2)
		takes = 10 * time.Second
		r.mustRotate()
		r.requireState(credential.StateAccepted, 2, 3)
		advance(settleAfter)
		r.requireState(credential.StateAssumed, 3, 0)
	})
}

// Earlier logins have spent the budget, so the old password is refused and the queued one cannot be tried. It counts as in force
// by time, and is tried first when the budget allows it.
func TestRefusedOldPasswordIsNotServed(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		r.remote.setSettleAfter(time.Minute)
		r.remote.answer(unknown, false)
		require.Equal(t, credential.StateUncertain, r.mustRotate().View.State)
		r.remote.answer(queued, true)
		advance(2 * time.Minute)
		require.Equal(t, 2, d.refusals(), "the new one before the request was repeated, the old one afterwards")
		require.Equal(t, credential.StateAssumed, r.read().State)
		require.Equal(t, r.remote.password("login"), r.read().Password.Value)
		advance(20 * time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, 2, d.refusals())
	})
}
