package rotation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

var unknown = provider.Result{Outcome: provider.Unknown, Reason: "no answer"}

func TestAnUndisturbedRotationCostsTwoWritesAndOneRead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		synctest.Wait() // what the new connection set going in the background
		r.storage.reset()
		_, err := r.rotate()
		require.NoError(t, err)
		gets, puts, lists, deletes := r.storage.operations()
		require.Equal(t, [4]int{1, 2, 0, 0}, [4]int{gets, puts, lists, deletes}, "reads, writes, lists, deletes of a rotation")

		r.storage.reset()
		r.read()
		gets, puts, lists, deletes = r.storage.operations()
		require.Equal(t, [4]int{1, 0, 0, 0}, [4]int{gets, puts, lists, deletes}, "reads, writes, lists, deletes of a read")
	})
}

func TestAPasswordIsStoredBeforeItIsSent(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			next := r.role().Record.Next
			require.NotNil(t, next)
			require.Equal(t, c.NewPassword, next.Value)
			require.Equal(t, credential.Sending, next.Phase)
			require.False(t, next.SentUntil.IsZero())
			return provider.Result{Outcome: provider.Applied}, true
		})
		_, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

func TestNothingIsSentThatCouldNotBeStored(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before, calls := r.read(), r.remote.count()
		r.storage.failing(func(operation, _ string) error {
			if operation == "put" {
				return errors.New("storage is full")
			}
			return nil
		})
		_, err := r.rotate()
		require.ErrorContains(t, err, "storage is full")
		require.Equal(t, calls, r.remote.count())
		r.storage.failing(nil)
		require.Equal(t, before, r.read())
	})
}

func TestAReadOnlyNodeSaysSoWithTheBareError(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.storage.failing(func(operation, _ string) error {
			if operation == "put" { // as it comes over gRPC: a text
				return fmt.Errorf("rpc: %s", logical.ErrReadOnly.Error())
			}
			return nil
		})
		_, err := r.rotate()
		require.Equal(t, logical.ErrReadOnly, err, "Vault compares without unwrapping")
	})
}

func TestAnOutcomeThatCouldNotBeStoredIsFoundOutAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		writes := 0
		r.storage.failing(func(operation, _ string) error {
			if operation == "put" {
				if writes++; writes == 2 {
					return errors.New("storage hiccup")
				}
			}
			return nil
		})
		report, err := r.rotate()
		require.NoError(t, err, "what was sent is never an error that says that nothing was changed")
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.NotEmpty(t, report.Warning)
		r.held()
		after(time.Minute)
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

func TestARestartResumesWithoutAnyoneAsking(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		hang := make(chan struct{})
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == 2 {
				<-hang // it does not heed its context, as a stuck system call would not
				return unknown, true
			}
			return provider.Result{Outcome: provider.Applied}, true
		})
		go func() { _, _ = r.rotate() }()
		synctest.Wait()
		began := time.Now()
		r.engine.Stop()
		require.Less(t, time.Since(began), 2*time.Second, "Vault stops all mounts of a plugin one after the other")
		r.start()
		after(time.Second)
		require.Equal(t, 3, r.remote.count(), "the same password was sent again")
		require.Equal(t, r.remote.calls[1].NewPassword, r.remote.calls[2].NewPassword)
		require.Equal(t, credential.StateActive, r.read().State)
		close(hang)
		synctest.Wait()
		r.held()
	})
}

func TestARestartRotatesNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotationPeriod = 60 })
		before := r.read()
		for range 3 {
			r.restart()
			after(time.Hour)
		}
		require.Equal(t, before, r.read())
		require.Equal(t, 1, r.remote.count())
	})
}

func TestReadersDoNotWaitForAChange(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before := r.read()
		release := make(chan struct{})
		r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			<-release
			return provider.Result{Outcome: provider.Applied}, true
		})
		done := make(chan error, 1)
		go func() { _, err := r.rotate(); done <- err }()
		synctest.Wait()
		began := time.Now()
		require.Equal(t, before, r.read(), "during a first send within its deadline nothing changes")
		require.Zero(t, time.Since(began))
		close(release)
		require.NoError(t, <-done)
	})
}

func TestARequestThatGoesAwayLeavesItsChangeUnderWay(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			time.Sleep(10 * time.Second)
			return provider.Result{Outcome: provider.Applied}, true
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		report, err := r.engine.Rotate(ctx, r.storage, "role", 0)
		require.NoError(t, err)
		require.NotEmpty(t, report.Warning)
		after(10 * time.Second)
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value)
		require.Equal(t, 2, r.read().Password.Version)
	})
}

func TestTwoChangesOfARoleNeverOverlap(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		under, most := 0, 0
		r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			r.remote.mu.Lock()
			under++
			most = max(most, under)
			r.remote.mu.Unlock()
			time.Sleep(time.Second)
			r.remote.mu.Lock()
			under--
			r.remote.mu.Unlock()
			return provider.Result{Outcome: provider.Applied}, true
		})
		done := make(chan error, 20)
		for range cap(done) {
			go func() { _, err := r.rotate(); done <- err }()
		}
		for range cap(done) {
			require.NoError(t, <-done)
		}
		require.Equal(t, 1, most)
		require.Equal(t, 21, r.read().Password.Version)
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

func TestARefusedCredentialPausesTheConnectionForAllItsRoles(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		denied := provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Code: "1001", Reason: "wrong password"}
		r.remote.set(always(denied, false))
		r.remote.check = func() provider.Result { return denied }
		checks := r.remote.checks
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		for range 10 {
			_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
			require.Equal(t, KindBusy, kindOf(t, err))
		}
		require.Equal(t, 3, r.remote.count(), "two first passwords and one failure")
		require.Equal(t, checks+1, r.remote.checks)

		r.restart() // the pause is stored
		_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.Equal(t, KindBusy, kindOf(t, err))
		require.Equal(t, 3, r.remote.count())
		after(5 * time.Minute)
		require.Equal(t, checks+1, r.remote.checks, "the first probe comes after a lock of five minutes would be over")

		r.remote.mu.Lock()
		r.remote.check = nil
		r.remote.mu.Unlock()
		r.remote.set(nil)
		after(10 * time.Minute)
		require.Equal(t, checks+2, r.remote.checks, "a single probe opens it")
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value, "and the role that waited goes on")
		require.Equal(t, 2, r.read().Password.Version)
	})
}

func TestADeniedRoleDoesNotPauseAConnectionThatWorks(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Denied, Reason: "not allowed", Code: "1006"}, false))
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		r.remote.set(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
	})
}

func TestAFailedCreationLeavesNothing(t *testing.T) {
	for name, result := range map[string]provider.Result{
		"refused":     {Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"},
		"unreachable": {Outcome: provider.Unreachable, Reason: "refused"},
		"denied":      {Outcome: provider.Denied, Reason: "not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.set(always(result, false))
				_, err := r.create(nil)
				require.ErrorContains(t, err, "the role was not created")
				for _, prefix := range []string{rolePrefix, targetPrefix} {
					left, err := r.storage.List(t.Context(), prefix)
					require.NoError(t, err)
					require.Empty(t, left)
				}
				r.remote.set(nil)
				r.mustCreate(func(in *NewRole) { in.Name = "another" })
			})
		})
	}
}

func TestACreationWithUnknownOutcomeKeepsTheRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.set(always(unknown, true))
		report, err := r.create(nil)
		require.NoError(t, err)
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value, "the newest one set, as none is known to be in force")
		r.remote.set(nil)
		after(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

func TestOfReadersThatComeTogetherOneSetsTheFirstPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation = true })
		require.Zero(t, r.remote.count())
		passwords := make(chan string, 10)
		for range cap(passwords) {
			go func() {
				report, err := r.engine.First(t.Context(), r.storage, "role")
				if err != nil || report.View.Password == nil {
					passwords <- ""
					return
				}
				passwords <- report.View.Password.Value
			}()
		}
		for range cap(passwords) {
			got := <-passwords
			require.Equal(t, r.remote.holds("login"), got)
		}
		require.Equal(t, 1, r.remote.count())
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

func TestAThrottledConnectionLetsItsOtherRolesWait(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 10 * time.Minute}, false))
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		r.remote.set(nil)
		for range 3 {
			_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
			require.Equal(t, KindBusy, kindOf(t, err), "a request that did nothing does not say that it did")
			require.ErrorContains(t, err, "asked this connection to wait")
		}
		require.Equal(t, 3, r.remote.count())
		after(15 * time.Minute)
		require.Equal(t, 5, r.remote.count(), "both go on by themselves")
		require.Equal(t, 2, r.read().Password.Version)
		require.Nil(t, r.role().Retry.Last)
	})
}

func TestAShortThrottleIsWaitedFor(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 10 * time.Second}, false))
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		r.remote.set(nil)
		report, err := r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.NoError(t, err)
		require.Equal(t, 2, report.View.Password.Version)
		require.Equal(t, r.remote.holds("other"), report.View.Password.Value)
	})
}

func TestTheSameCredentialWrittenAgainOpensAPausedConnectionIfItWorks(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		denied := provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Code: "1001", Reason: "wrong password"}
		r.remote.set(always(denied, false))
		r.remote.check = func() provider.Result { return denied }
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		again := Patch{Settings: provider.Settings{"key": "key"}}
		require.Error(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", again))
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{MaxInFlight: ptr(7)}))
		after(10 * time.Second)
		_, err = r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err), "another field does not open it")
		r.remote.check = nil
		r.remote.set(nil)
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", again))
		after(time.Second)
		require.Equal(t, 2, r.read().Password.Version, "the role that waited goes on at once")
		r.restart()
		_, err = r.rotate()
		require.NoError(t, err)
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

func TestAnotherCredentialEndsTheBackoffThatTheOldOneBegan(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Denied, Reason: "not allowed", Code: "1006"}, false))
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		r.remote.set(nil)
		_, err = r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err), "in the backoff, the same answer")
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "better"}}))
		after(time.Second)
		require.Equal(t, 2, r.read().Password.Version)
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

func TestWhatWasReadBeforeAChangeIsNotCachedAfterIt(t *testing.T) {
	t.Parallel()
	var c connections
	_, drops := c.cached("conn")
	c.drop("conn") // another node, or another request, writes the connection
	old := &live{Connection: Connection{Name: "conn"}}
	require.Same(t, old, c.keep(old, drops), "it serves the request that read it")
	cached, _ := c.cached("conn")
	require.Nil(t, cached, "and no other")
}

func TestADeadConnectionDelaysNoOther(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "dead", Patch{
			Provider: ptr("remote"), Address: ptr("https://dead.example"), AllowedRoles: &[]string{"*"}, MaxInFlight: ptr(2),
			Settings: provider.Settings{"key": "key"},
		}))
		r.mustCreate(nil)
		for i := range 100 {
			name := fmt.Sprintf("dead%d", i)
			r.mustCreate(func(in *NewRole) {
				in.Name, in.Connection, in.Target = name, "dead", provider.Settings{"login": name}
			})
		}
		r.remote.set(func(ctx context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if c.Target.Username != "login" {
				<-ctx.Done() // hangs until its time limit
			}
			return unknown, false
		})
		for i := range 100 {
			go func() { _, _ = r.engine.Rotate(t.Context(), r.storage, fmt.Sprintf("dead%d", i), 0) }()
		}
		after(10 * time.Minute)
		calls := r.remote.count()
		_, err := r.rotate()
		require.NoError(t, err)
		after(8 * time.Second)
		own := 0
		for _, c := range r.remote.calls[calls:] {
			if c.Target.Username == "login" {
				own++
			}
		}
		require.Equal(t, 2, own, "its first retry comes in time")
	})
}
