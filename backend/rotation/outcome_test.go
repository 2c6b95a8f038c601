package rotation

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestAnOutcomeThatCouldNotBeStoredIsFoundOutAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		synctest.Wait()
		writes := 0
		r.storage.failing(func(operation, _ string) error {
			if operation == "put" {
				if writes++; writes%2 == 0 { // the first of a change is that it is being sent
					return errors.New("storage hiccup")
				}
			}
			return nil
		})
		report, err := r.rotate()
		require.NoError(t, err, "what was sent is never an error that says that nothing was changed")
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.NotEmpty(t, report.Warning)
		require.Equal(t, credential.StateUncertain, r.read().State, "that nobody is told the outcome is known at once")
		r.held()
		after(time.Hour)
		calls := r.remote.count()
		require.Greater(t, calls, 3, "the same password is sent again")
		require.Less(t, calls, 20, "with growing distances")
		for _, c := range r.remote.calls[1:] {
			require.Equal(t, r.remote.calls[1].NewPassword, c.NewPassword)
		}
		r.storage.failing(nil)
		after(2 * time.Hour)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value)
	})
}

func TestAnUnknownOutcomeSendsTheSamePasswordAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before := r.read()
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == 2 {
				return unknown, true
			}
			return provider.Result{Outcome: provider.Applied}, true
		})
		report, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.NotEmpty(t, report.Warning)
		require.Equal(t, before.Password.Value, r.read().Password.Value)
		require.Equal(t, r.remote.holds("login"), r.read().Next.Value)

		again, err := r.rotate() // Vault's client, or an impatient operator
		require.NoError(t, err)
		require.Equal(t, report.View.Next.Value, again.View.Next.Value)
		require.Equal(t, 2, r.remote.count(), "a repetition makes no call")

		after(10 * time.Second)
		require.Equal(t, 3, r.remote.count())
		require.Equal(t, r.remote.calls[1].NewPassword, r.remote.calls[2].NewPassword)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

func TestADifferentPasswordKeepsItsDistanceFromAnUnresolvedOne(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.set(always(unknown, false))
		began := time.Now()
		_, err := r.rotate()
		require.NoError(t, err)
		r.remote.set(nil)

		report, err := r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.NoError(t, err)
		require.Equal(t, 2, r.remote.count(), "the deadline and the margin take longer than a request waits")
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Zero(t, time.Since(began), "so it does not wait in vain")

		after(61 * time.Second) // the engine is paused for this role; the next request goes on
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.NoError(t, err)
		require.Equal(t, "chosenbyhand", r.remote.holds("login"))
		sent := r.role().Record.Current.Since
		require.GreaterOrEqual(t, sent.Sub(began), 60*time.Second, "30 s to the deadline and 30 s of margin")
		require.Equal(t, credential.StateAssumed, r.read().State, "the earlier one could still follow")
		require.Len(t, r.role().Record.Candidates, 1)

		_, err = r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Empty(t, r.role().Record.Candidates)
	})
}

func TestARequestWaitsForTheDistanceWhereItIsShort(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{RequestTimeout: ptr(5)}))
		r.mustCreate(nil)
		r.remote.set(always(unknown, false))
		_, err := r.rotate()
		require.NoError(t, err)
		r.remote.set(nil)
		report, err := r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.NoError(t, err)
		require.Equal(t, "chosenbyhand", report.View.Password.Value)
		require.Equal(t, "chosenbyhand", r.remote.holds("login"))
	})
}

func TestARefusedPasswordIsReplacedThreeTimesAndNeverSentAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before := r.read()
		r.remote.set(always(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Code: "1038", Reason: "too weak"}, false))
		_, err := r.rotate()
		require.Equal(t, KindMistake, kindOf(t, err))
		require.Equal(t, 1+3, r.remote.count())
		sent := map[string]bool{}
		for _, c := range r.remote.calls {
			require.False(t, sent[c.NewPassword], "a refused password was sent again")
			sent[c.NewPassword] = true
		}
		require.Equal(t, before, r.read())
		require.Nil(t, r.role().Record.Next)
		_, err = r.rotate()
		require.Error(t, err)
		require.Equal(t, 4, r.remote.count(), "inside the backoff a repeated request makes no call")

		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.Equal(t, KindMistake, kindOf(t, err))
		require.Equal(t, 5, r.remote.count(), "a password that a person chose is tried once")
		r.remote.set(nil)
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "anotherbyhand")
		require.NoError(t, err)
	})
}

func TestARefusalAfterAnUnknownOutcomeKeepsThePassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			switch call {
			case 2:
				return unknown, true
			case 3:
				return provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: "no"}, false
			default:
				return unknown, false
			}
		})
		_, err := r.rotate()
		require.NoError(t, err)
		after(20 * time.Second)
		require.GreaterOrEqual(t, r.remote.count(), 3)
		r.held()
		r.remote.set(nil)
		after(2 * time.Hour)
		r.held()
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value)
		require.Equal(t, credential.StateAssumed, r.read().State)
	})
}

func TestARefusedTargetIsToldAndNoOtherPasswordIsTried(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Code: "1013", Reason: "no such account"}, false))
		_, err := r.rotate()
		require.ErrorContains(t, err, "1013")
		require.Equal(t, 2, r.remote.count())
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Equal(t, credential.StateActive, status.Report.View.State)
		require.Zero(t, status.Next, "nothing is tried again by itself")
	})
}

func TestABusyRemoteSystemGetsTheSamePasswordAfterItsHint(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == 2 {
				return provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy", RetryAfter: 10 * time.Minute}, false
			}
			return provider.Result{Outcome: provider.Applied}, true
		})
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		require.Equal(t, credential.StateActive, r.read().State, "readers see nothing of it")
		after(9 * time.Minute)
		require.Equal(t, 2, r.remote.count())
		after(4 * time.Minute)
		require.Equal(t, 3, r.remote.count())
		require.Equal(t, r.remote.calls[1].NewPassword, r.remote.calls[2].NewPassword)
	})
}

func TestRetriesGrowFromSecondsToAnHour(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		var at []time.Time
		r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			at = append(at, time.Now())
			return provider.Result{Outcome: provider.Unreachable, Reason: "refused"}, false
		})
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		after(12 * time.Hour)
		var waits []time.Duration
		for i := 1; i < len(at); i++ {
			waits = append(waits, at[i].Sub(at[i-1]))
		}
		require.GreaterOrEqual(t, waits[0], 5*time.Second)
		require.LessOrEqual(t, waits[0], 7*time.Second)
		last := waits[len(waits)-1]
		require.GreaterOrEqual(t, last, time.Hour)
		require.LessOrEqual(t, last, time.Hour+15*time.Minute)
		require.Less(t, len(at), 30, "twelve hours of outage are few tries")
	})
}

func TestOpenPasswordsAreNeverDroppedAndTooManyAreRefused(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.set(always(unknown, true))
		var refused error
		for range 2*credential.MaxCandidates + 4 {
			after(2 * time.Hour) // beyond every backoff and distance
			if _, err := r.rotate(); err != nil {
				refused = err
			}
			r.held()
		}
		require.ErrorContains(t, refused, "confirm-role")
		require.Len(t, r.role().Record.Candidates, credential.MaxCandidates)
	})
}

func TestAnEntryOfANewerVersionIsRefusedAndLeftAlone(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		role := r.role()
		role.Schema = schemaVersion + 1
		require.NoError(t, store{r.storage}.put(t.Context(), rolePrefix+"role", role))
		_, err := r.engine.Read(t.Context(), r.storage, "role")
		require.ErrorContains(t, err, "newer version")
		_, err = r.rotate()
		require.ErrorContains(t, err, "newer version")
		require.Equal(t, 1, r.remote.count())
	})
}

func TestAnOutcomeIsStoredThoughWhatFollowsFails(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		good := true
		r.policy = func(string) (string, error) {
			if !good {
				return "", errors.New("the policy is gone")
			}
			return strings.ToLower(rand.Text()), nil
		}
		r.mustCreate(func(in *NewRole) { in.Options.PasswordPolicy = "policy" })
		r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			good = false
			return provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: "too weak"}, false
		})
		_, err := r.rotate()
		require.ErrorContains(t, err, "policy")
		require.Nil(t, r.role().Record.Next, "the refused password is not sent again after a restart")
		require.Equal(t, provider.Rejected, r.role().Retry.Last.Class)
		r.restart()
		after(time.Hour)
		require.Equal(t, 2, r.remote.count())
	})
}

func TestASetPasswordThatAnotherRequestReplacedSaysSo(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{RequestTimeout: ptr(5)}))
		r.mustCreate(nil)
		r.remote.set(always(unknown, false))
		_, err := r.rotate()
		require.NoError(t, err)
		r.remote.set(nil)
		first := make(chan error, 1)
		go func() {
			_, err := r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyone")
			first <- err
		}()
		synctest.Wait()
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyother")
		require.NoError(t, err)
		require.Equal(t, KindBusy, kindOf(t, <-first), "it does not say that its password is in force")
		require.Equal(t, "chosenbyother", r.remote.holds("login"))
		require.Equal(t, "chosenbyother", r.read().Password.Value)
	})
}

// The engine's own timer comes before the request that waits for the same time, and sends the request's password.
func TestARequestThatWaitedDoesNotSayThatNothingWasChangedWhileItsPasswordIsOnItsWay(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		unlock := r.engine.locks.try("role") // as the timer's worker has it while the remote system hangs
		defer unlock()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		report, err := r.engine.goOn(t.Context(), over, store{r.storage}, "role", &order{trigger: triggerRequest}).answer(r.engine)
		require.NoError(t, err, "Vault's client repeats what fails as busy")
		require.Contains(t, report.Warning, "still under way")
	})
}
