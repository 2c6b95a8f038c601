package rotation

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestRotationCostsTwoWritesAndOneRead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		synctest.Wait() // background work for the new connection
		r.storage.reset()
		r.mustRotate()
		require.Equal(t, counts{gets: 1, puts: 2}, r.storage.counts(), "a rotation")

		r.storage.reset()
		r.read()
		require.Equal(t, counts{gets: 1}, r.storage.counts(), "a read")
	})
}

func TestHistoryKeepsConfiguredSize(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.HistorySize = 2 })
		for range 8 {
			r.mustRotate()
		}
		require.Len(t, r.role().Record.History, 2)
		require.Len(t, r.role().Record.List(), 4, "the present one, the one before, and two older ones")
	})
}

func TestUnknownOutcomeResendsSamePassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before := r.read()
		r.remote.answerCall(2, unknown, true, applied)
		report := r.mustRotate()
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.NotEmpty(t, report.Warning)
		require.Equal(t, before.Password.Value, r.read().Password.Value)
		require.Equal(t, r.remote.password("login"), r.read().Next.Value)

		again := r.mustRotate() // repeated by Vault's client
		require.Equal(t, report.View.Next.Value, again.View.Next.Value)
		require.Equal(t, 2, r.remote.changeCount(), "a repeated request makes no call")

		advance(10 * time.Second)
		require.Equal(t, 3, r.remote.changeCount())
		require.Equal(t, r.remote.changes[1].NewPassword, r.remote.changes[2].NewPassword)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// A different password is sent only when an unresolved request can no longer be carried out after it.
func TestDifferentPasswordKeepsDistance(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.fail(unknown)
		began := time.Now()
		r.mustRotate()
		r.remote.succeed()

		report, err := r.setPassword(chosen)
		require.NoError(t, err)
		require.Equal(t, 2, r.remote.changeCount(), "deadline and margin exceed the time that a request waits")
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Zero(t, time.Since(began), "the request does not wait in vain")

		advance(61 * time.Second) // automation is disabled: the next request continues
		_, err = r.setPassword(chosen)
		require.NoError(t, err)
		require.Equal(t, chosen, r.remote.password("login"))
		sent := r.role().Record.Current.Since
		require.GreaterOrEqual(t, sent.Sub(began), 60*time.Second, "30 s until the deadline, and 30 s of margin")
		require.Equal(t, credential.StateAssumed, r.read().State, "the earlier request may still take effect")
		require.Len(t, r.role().Record.Candidates, 1)

		r.mustRotate()
		require.Equal(t, credential.StateActive, r.read().State)
		require.Empty(t, r.role().Record.Candidates)
	})
}

func TestRefusedPasswordIsReplacedThreeTimes(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before := r.read()
		r.remote.fail(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Code: "1038", Reason: "too weak"})
		r.rotateFails(problem.KindMistake)
		require.Equal(t, 1+3, r.remote.changeCount())
		require.Len(t, r.remote.sent(), 1+3, "no refused password is sent again")
		require.Equal(t, before, r.read())
		require.Nil(t, r.role().Record.Next)
		r.rotateFails(problem.KindMistake)
		require.Equal(t, 4, r.remote.changeCount(), "within the backoff, a repeated request makes no call")

		r.setPasswordFails(problem.KindMistake, chosen)
		require.Equal(t, 5, r.remote.changeCount(), "a chosen password is sent once")
		r.remote.succeed()
		_, err := r.setPassword("anotherchoice")
		require.NoError(t, err)
	})
}

func TestRefusedPasswordsLeaveStagedOneWaiting(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(needsRestart)
		_, err := r.setPassword(chosen)
		require.NoError(t, err)
		r.remote.fail(weakPassword)
		for range 5 {
			r.rotateFails(problem.KindMistake)
		}
		require.Equal(t, 2+maxRejected, r.remote.changeCount())
		r.requireState(credential.StateRestartRequired, 1, 2)
	})
}

func TestRefusalAfterUnknownOutcomeKeepsPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.onChange(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			switch call {
			case 2:
				return unknown, true
			case 3:
				return weakPassword, false
			default:
				return unknown, false
			}
		})
		r.mustRotate()
		advance(20 * time.Second)
		require.GreaterOrEqual(t, r.remote.changeCount(), 3)
		r.requireKnown()
		r.remote.succeed()
		advance(2 * time.Hour)
		r.requireKnown()
		require.Equal(t, r.remote.password("login"), r.read().Password.Value)
		require.Equal(t, credential.StateAssumed, r.read().State)
	})
}

// The remote system refuses the account, not the password: another password would be refused too.
func TestRefusedAccountAfterLostAnswerKeepsPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(unknown)
		r.mustRotate()
		r.remote.fail(noAccount)
		advance(10 * time.Minute)
		r.requireState(credential.StateUncertain, 1, 2)
		require.Len(t, r.remote.sent(), 2)
		_, err := r.rotate()
		require.NoError(t, err, "the outcome is still unknown")
		r.remote.fail(needsRestart)
		advance(2 * time.Hour)
		require.Equal(t, credential.StateRestartRequired, r.read().State)
		require.LessOrEqual(t, len(r.remote.sent()), 3)
	})
}

func TestRefusedTargetIsNotRetried(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Code: "1013", Reason: "no such account"})
		_, err := r.rotate()
		require.ErrorContains(t, err, "1013")
		require.Equal(t, 2, r.remote.changeCount())
		status := r.status()
		require.Equal(t, credential.StateActive, status.State)
		require.Zero(t, status.NextAttempt, "the engine does not retry it")
	})
}

func TestBusyRemoteSystemGetsSamePasswordAfterHint(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.answerCall(2, provider.Result{
			Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy", RetryAfter: 10 * time.Minute,
		}, false, applied)
		r.rotateFails(problem.KindBusy)
		require.Equal(t, credential.StateActive, r.read().State, "readers do not see the attempt")
		advance(9 * time.Minute)
		require.Equal(t, 2, r.remote.changeCount())
		advance(4 * time.Minute)
		require.Equal(t, 3, r.remote.changeCount())
		require.Equal(t, r.remote.changes[1].NewPassword, r.remote.changes[2].NewPassword)
	})
}

func TestRetriesBackOffToOneHour(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		var at []time.Time
		r.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
			at = append(at, time.Now())
			return unreachable, false
		})
		r.rotateFails(problem.KindUnreachable)
		advance(12 * time.Hour)
		var waits []time.Duration
		for i := 1; i < len(at); i++ {
			waits = append(waits, at[i].Sub(at[i-1]))
		}
		require.GreaterOrEqual(t, waits[0], 5*time.Second)
		require.LessOrEqual(t, waits[0], 7*time.Second)
		last := waits[len(waits)-1]
		require.GreaterOrEqual(t, last, time.Hour)
		require.LessOrEqual(t, last, time.Hour+15*time.Minute)
		require.Less(t, len(at), 30, "twelve hours of outage cost few attempts")
	})
}

func TestRetriesOfManyRolesAreSpread(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		roles := roleNames(20)
		r.createRoles(roles...)
		r.remote.fail(unreachable)
		now, times := time.Now(), map[time.Duration]bool{}
		for _, name := range roles {
			require.Equal(t, problem.KindUnreachable, kindOf(t, r.rotateAll(name)[0]))
			role, err := r.engine.ReadRole(t.Context(), r.store(), name)
			require.NoError(t, err)
			wait := role.Retry.NextAttempt.Sub(now)
			require.GreaterOrEqual(t, wait, 5*time.Second)
			require.LessOrEqual(t, wait, 7*time.Second)
			times[wait] = true
		}
		require.Greater(t, len(times), len(roles)/2)
	})
}

func TestOpenPasswordsAreNeverDropped(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.answer(unknown, true)
		var refused error
		for range 2*credential.MaxCandidates + 4 {
			advance(2 * time.Hour) // longer than any backoff or margin
			if _, err := r.rotate(); err != nil {
				refused = err
			}
			r.requireKnown()
		}
		require.ErrorContains(t, refused, "confirm-role")
		require.Len(t, r.role().Record.Candidates, credential.MaxCandidates)
	})
}
