package rotation

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

// oldPasswordRig is a rig whose remote system requires the old password, and locks the account after five wrong ones.
type oldPasswordRig struct {
	*rig
	account
	// lose decides whether the answer to a change is lost after it took effect.
	lose func(call int) bool
}

// withOldPassword runs a test with a role that has an adopted and a first password, and asserts that the account is never
// locked.
func withOldPassword(t *testing.T, test func(t *testing.T, o *oldPasswordRig)) {
	t.Helper()
	inFakeTime(t, func(t *testing.T, r *rig) {
		o := &oldPasswordRig{rig: r}
		r.remote.needsOld = true
		r.remote.setPassword("login", "firstpassword")
		r.remote.onChange(o.change)
		r.mustCreate(func(in *NewRole) { in.Password = "firstpassword" })
		require.Equal(t, 2, r.version(), "version 1 was adopted")
		test(t, o)
		require.False(t, o.locked, "the engine's attempts locked the account")
	})
}

func (o *oldPasswordRig) change(_ context.Context, call int, c provider.Change) (provider.Result, bool) {
	if result, wrong := o.refuses(o.remote, c); wrong {
		return result, false
	}
	if o.lose != nil && o.lose(call) {
		return unknown, true
	}
	return provider.Result{Outcome: provider.Applied, Exclusive: true}, true
}

func TestLostAnswerIsSettledByPresentingCandidate(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		o.lose = func(call int) bool { return call == 2 }
		o.mustRotate()
		advance(10 * time.Second)
		require.Equal(t, 3, o.remote.changeCount(), "the old password is presented again")
		view := o.read()
		require.Equal(t, o.remote.password("login"), view.Password.Value, "readers get the new password once the old one is known to be wrong")
		require.NotEqual(t, credential.StateActive, view.State)
		require.Zero(t, o.engine.Health().OperatorsNeeded, "the engine presents the new one next")
		advance(2 * time.Minute)
		require.Equal(t, 4, o.remote.changeCount())
		require.Equal(t, o.remote.changes[1].NewPassword, o.remote.changes[3].OldPassword)
		require.Equal(t, credential.StateActive, o.read().State, "no earlier request can take effect any more: its old password is wrong")
		require.Equal(t, o.remote.password("login"), o.read().Password.Value)
		require.Empty(t, o.role().Record.Candidates)
	})
}

func TestLostAnswersNeverLockAccount(t *testing.T) {
	for _, lost := range []int{1, 2, 3, 4, 6, 8} {
		withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
			o.lose = func(call int) bool { return call >= 2 && call < 2+lost }
			o.mustRotate()
			for range 200 {
				advance(time.Minute)
				o.requireKnown()
			}
			if o.read().State == credential.StateActive {
				require.Equal(t, o.remote.password("login"), o.read().Password.Value)
			}
		})
	}
}

func TestPasswordChangedElsewhereCostsTwoAttempts(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		o.remote.setPassword("login", "elsewhere")
		calls := o.remote.changeCount()
		require.Contains(t, o.rotateFails(problem.KindMistake), "confirm-role")
		require.Equal(t, credential.StateDrifted, o.read().State)
		for range 5 {
			advance(time.Hour)
			o.rotateFails(problem.KindMistake)
		}
		require.Equal(t, calls+2, o.remote.changeCount(), "with the password in force and the previous one")
		require.Equal(t, 2, o.wrong)

		o.mustConfirm(Confirmation{Password: "elsewhere"})
		require.Equal(t, credential.StateAssumed, o.read().State)
		o.mustRotate()
		require.Equal(t, credential.StateActive, o.read().State)
		require.Equal(t, o.remote.password("login"), o.read().Password.Value)
	})
}

// A backup of the account is restored. Its password is one that Vault knows.
func TestRestoredPreviousPasswordIsPresented(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		calls := o.remote.changeCount()
		o.remote.setPassword("login", "firstpassword")
		o.mustRotate()
		require.Equal(t, calls+2, o.remote.changeCount())
		o.requireState(credential.StateActive, 3, 0)
		require.Equal(t, o.remote.password("login"), o.read().Password.Value)
	})
}

func TestGuessingOperatorsCannotLockAccount(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		o.remote.setPassword("login", "elsewhere")
		for _, guess := range []string{"guessone", "guesstwo", "guessthree", "guessfour", "guessfive", "guesssix"} {
			_, _ = o.rotate()
			o.mustConfirm(Confirmation{Password: guess})
		}
		_, _ = o.rotate()
		require.LessOrEqual(t, o.wrong, 3)
	})
}

func TestRolesWithWrongPasswordsNeverLockAccount(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		require.NoError(t, o.deleteRole(false))
		var err error
		for n := range 8 {
			_, err = o.create(func(in *NewRole) { in.Password = fmt.Sprintf("guess%dguess", n) })
			require.Error(t, err)
		}
		require.Equal(t, problem.KindBusy, kindOf(t, err), "the error says when to try again")
		require.Equal(t, 2, o.wrong)
		advance(10 * time.Minute)
		o.mustCreate(func(in *NewRole) { in.Password = o.remote.password("login") })
		require.Equal(t, credential.StateActive, o.read().State)
	})
}

func TestBusyAnswersCostNoAttempt(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		o.mustConfirm(Confirmation{Password: o.remote.password("login") + "x"}) // mistyped
		o.remote.fail(busy)
		for range 5 {
			_, _ = o.rotate()
			advance(2 * time.Minute)
		}
		require.Zero(t, o.role().Record.OldTries.Count)
	})
}

func TestAnnouncedLockIsAwaited(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		o.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
			left := 4
			return provider.Result{Outcome: provider.Mismatch, Reason: "wrong", TriesLeft: &left, RetryAfter: time.Hour}, false
		})
		o.rotateFails(problem.KindMistake)
		o.mustConfirm(Confirmation{Password: "mistyped"})
		_, _ = o.rotate()
		o.mustConfirm(Confirmation{Password: o.remote.password("login")})
		calls := o.remote.changeCount()
		o.rotateFails(problem.KindBusy)
		advance(50 * time.Minute)
		require.Equal(t, calls, o.remote.changeCount())
		o.remote.onChange(o.change)
		advance(20 * time.Minute)
		require.Equal(t, credential.StateActive, o.read().State)
	})
}

// dcs may answer a reset like this, which presents no old password.
func TestMismatchWithoutOldPasswordBacksOff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.onChange(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call > 30 {
				return applied, true
			}
			return provider.Result{Outcome: provider.Mismatch, Scope: provider.ScopeTarget, Reason: "the old password is wrong"}, false
		})
		r.rotateFails(problem.KindMistake)
		require.Equal(t, 2, r.remote.changeCount())
		advance(time.Hour)
		require.Less(t, r.remote.changeCount(), 15)
		r.remote.succeed()
		advance(2 * time.Hour)
		require.Equal(t, r.remote.password("login"), r.read().Password.Value)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// The remote system may check an old password as late as it may carry out the request, and remembers a wrong one from then on.
func TestLostAttemptCountsUntilForgotten(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		var calls []time.Time
		o.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
			o.remote.mu.Lock()
			defer o.remote.mu.Unlock()
			calls = append(calls, time.Now())
			return unknown, false
		})
		o.mustRotate()
		advance(30 * time.Minute)
		o.remote.mu.Lock()
		defer o.remote.mu.Unlock()
		require.GreaterOrEqual(t, len(calls), 4)
		forgotten := calls[2].Add(connection.DefaultRequestTimeout * time.Second).Add(sendMargin).Add(5 * time.Minute)
		require.False(t, calls[3].Before(forgotten), "after one certain attempt and two uncertain ones: %v", calls)
	})
}

// The remote system may already have the newest password. To present that as the old one, the engine needs another password,
// and there are too many already.
func TestTooManyLostAnswersWaitForOperator(t *testing.T) {
	withOldPassword(t, func(t *testing.T, o *oldPasswordRig) {
		o.engine.Stop()
		role := o.role()
		role.Record.Current.Refused = true
		for range credential.MaxCandidates + 1 {
			var err error
			role.Record, err = role.Record.Make(fmt.Sprintf("lost%d", len(role.Record.List())), "test", false, time.Now())
			require.NoError(t, err)
			role.Record = role.Record.Send(time.Now(), 0).Unresolved()
		}
		require.NotNil(t, role.Record.Next)
		require.NoError(t, o.store().PutRole(t.Context(), role))
		calls := o.remote.changeCount()
		o.start()
		advance(3 * time.Hour)
		require.Equal(t, calls, o.remote.changeCount())
		require.Empty(t, o.log.lines("the role needs an operator"), "nothing fails, because nothing is attempted")
		require.Equal(t, 5*time.Minute, o.serve().TTL)
		status := o.status()
		require.True(t, status.NextAttempt.IsZero())
		require.Contains(t, status.Reason, "Too many passwords of this role have an unknown outcome")
		require.Contains(t, status.Advice, "Find out which password works")
		require.Len(t, o.engine.Health().NeedOperator, 1)
		require.Contains(t, o.rotateFails(problem.KindMistake), "too many of its passwords have an unknown outcome")

		o.mustConfirm(Confirmation{Version: role.Record.Next.Version})
		o.remote.setPassword("login", role.Record.Next.Value)
		advance(time.Minute)
		o.mustRotate()
		require.Equal(t, o.remote.password("login"), o.read().Password.Value)
	})
}
