package rotation

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// locking is a remote system that changes a password only for who presents the present one, and locks the account after
// five wrong ones in a row.
type locking struct {
	*rig
	wrong  int
	locked bool
	// lose decides whether the answer to a call is lost after the change was made.
	lose func(call int) bool
}

func inLockingTime(t *testing.T, test func(t *testing.T, l *locking)) {
	t.Helper()
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := &locking{rig: r}
		r.remote.needsOld = true
		r.remote.passwords["login"] = "firstpassword"
		r.remote.set(l.change)
		r.mustCreate(func(in *NewRole) { in.Password = "firstpassword" })
		require.Equal(t, 2, r.read().Password.Version, "the adopted one was the first")
		test(t, l)
		require.False(t, l.locked, "the account was locked by the engine's own tries")
	})
}

func (l *locking) change(_ context.Context, call int, c provider.Change) (provider.Result, bool) {
	if c.OldPassword != l.remote.holds("login") {
		if l.wrong++; l.wrong >= 5 {
			l.locked = true
		}
		left := 5 - l.wrong
		return provider.Result{Outcome: provider.Mismatch, Scope: provider.ScopeTarget, Reason: "the old password is wrong", TriesLeft: &left}, false
	}
	l.wrong = 0
	if l.lose != nil && l.lose(call) {
		return unknown, true
	}
	return provider.Result{Outcome: provider.Applied, Exclusive: true}, true
}

func TestALostAnswerIsFoundOutByPresentingTheCandidate(t *testing.T) {
	inLockingTime(t, func(t *testing.T, l *locking) {
		l.lose = func(call int) bool { return call == 2 }
		_, err := l.rotate()
		require.NoError(t, err)
		after(10 * time.Second)
		require.Equal(t, 3, l.remote.count(), "the old one is presented once more")
		view := l.read()
		require.Equal(t, l.remote.holds("login"), view.Password.Value, "the one that works is handed out as soon as the other is known to be wrong")
		require.NotEqual(t, credential.StateActive, view.State)
		after(2 * time.Minute)
		require.Equal(t, 4, l.remote.count())
		require.Equal(t, l.remote.calls[1].NewPassword, l.remote.calls[3].OldPassword)
		require.Equal(t, credential.StateActive, l.read().State, "nothing older can follow: its old password is not in force any more")
		require.Equal(t, l.remote.holds("login"), l.read().Password.Value)
		require.Empty(t, l.role().Record.Candidates)
	})
}

func TestLostAnswersInARowNeverLockTheAccount(t *testing.T) {
	for _, lost := range []int{1, 2, 3, 4, 6, 8} {
		inLockingTime(t, func(t *testing.T, l *locking) {
			l.lose = func(call int) bool { return call >= 2 && call < 2+lost }
			_, err := l.rotate()
			require.NoError(t, err)
			for range 200 {
				after(time.Minute)
				l.held()
			}
			if l.read().State == credential.StateActive {
				require.Equal(t, l.remote.holds("login"), l.read().Password.Value)
			}
		})
	}
}

func TestAPasswordChangedElsewhereStopsTheEngineAfterOneTry(t *testing.T) {
	inLockingTime(t, func(t *testing.T, l *locking) {
		l.remote.passwords["login"] = "elsewhere"
		calls := l.remote.count()
		_, err := l.rotate()
		require.ErrorContains(t, err, "confirm-role")
		require.Equal(t, credential.StateDrifted, l.read().State)
		for range 5 {
			after(time.Hour)
			_, err = l.rotate()
			require.Equal(t, KindMistake, kindOf(t, err))
		}
		require.Equal(t, calls+1, l.remote.count())
		require.Equal(t, 1, l.wrong)

		_, err = l.engine.Confirm(t.Context(), l.storage, "role", Word{Password: "elsewhere"})
		require.NoError(t, err)
		require.Equal(t, credential.StateAssumed, l.read().State)
		_, err = l.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateActive, l.read().State)
		require.Equal(t, l.remote.holds("login"), l.read().Password.Value)
	})
}

func TestOperatorsWhoGuessCannotLockTheAccount(t *testing.T) {
	inLockingTime(t, func(t *testing.T, l *locking) {
		l.remote.passwords["login"] = "elsewhere"
		for _, guess := range []string{"guessone", "guesstwo", "guessthree", "guessfour", "guessfive", "guesssix"} {
			_, _ = l.rotate()
			_, err := l.engine.Confirm(t.Context(), l.storage, "role", Word{Password: guess})
			require.NoError(t, err)
		}
		_, _ = l.rotate()
		require.LessOrEqual(t, l.wrong, 3)
	})
}

func TestRolesMadeWithWrongPasswordsNeverLockTheAccount(t *testing.T) {
	inLockingTime(t, func(t *testing.T, l *locking) {
		require.NoError(t, l.engine.Delete(t.Context(), l.storage, "role", false))
		var err error
		for n := range 8 {
			_, err = l.create(func(in *NewRole) { in.Password = fmt.Sprintf("guess%dguess", n) })
			require.Error(t, err)
		}
		require.Equal(t, KindBusy, kindOf(t, err), "it says when to try again")
		require.Equal(t, 2, l.wrong)
		after(10 * time.Minute)
		l.mustCreate(func(in *NewRole) { in.Password = l.remote.holds("login") })
		require.Equal(t, credential.StateActive, l.read().State)
	})
}

func TestAnswersThatDidNotLookAtTheOldPasswordCostNoTry(t *testing.T) {
	inLockingTime(t, func(t *testing.T, l *locking) {
		_, err := l.engine.Confirm(t.Context(), l.storage, "role", Word{Password: l.remote.holds("login") + "x"}) // a slip
		require.NoError(t, err)
		l.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}, false))
		for range 5 {
			_, _ = l.rotate()
			after(2 * time.Minute)
		}
		require.Zero(t, l.role().Record.OldTries.Count)
	})
}

func TestALockThatTheRemoteSystemAnnouncesIsWaitedFor(t *testing.T) {
	inLockingTime(t, func(t *testing.T, l *locking) {
		l.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			left := 4
			return provider.Result{Outcome: provider.Mismatch, Reason: "wrong", TriesLeft: &left, RetryAfter: time.Hour}, false
		})
		_, err := l.rotate()
		require.Error(t, err)
		_, err = l.engine.Confirm(t.Context(), l.storage, "role", Word{Password: "oneguessatit"})
		require.NoError(t, err)
		_, _ = l.rotate()
		_, err = l.engine.Confirm(t.Context(), l.storage, "role", Word{Password: l.remote.holds("login")})
		require.NoError(t, err)
		calls := l.remote.count()
		_, err = l.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		after(50 * time.Minute)
		require.Equal(t, calls, l.remote.count())
		l.remote.set(l.change)
		after(20 * time.Minute)
		require.Equal(t, credential.StateActive, l.read().State)
	})
}

// dcs may say so of a reset too, which presents none.
func TestAWrongOldPasswordThatNobodyPresentedIsTriedAgainWithGrowingDistances(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call > 30 {
				return provider.Result{Outcome: provider.Applied}, true
			}
			return provider.Result{Outcome: provider.Mismatch, Scope: provider.ScopeTarget, Reason: "the old password is wrong"}, false
		})
		_, err := r.rotate()
		require.Equal(t, KindMistake, kindOf(t, err))
		require.Equal(t, 2, r.remote.count())
		after(time.Hour)
		require.Less(t, r.remote.count(), 15)
		r.remote.set(nil)
		after(2 * time.Hour)
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

// The remote system may look at an old password as late as it may carry out a request, and remembers it from then on.
func TestATryWhoseAnswerIsLostCountsUntilItIsForgottenHoweverLateItIsLookedAt(t *testing.T) {
	inLockingTime(t, func(t *testing.T, l *locking) {
		var calls []time.Time
		l.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			l.remote.mu.Lock()
			defer l.remote.mu.Unlock()
			calls = append(calls, time.Now())
			return unknown, false
		})
		_, err := l.rotate()
		require.NoError(t, err)
		after(30 * time.Minute)
		l.remote.mu.Lock()
		defer l.remote.mu.Unlock()
		require.GreaterOrEqual(t, len(calls), 4)
		forgotten := calls[2].Add(DefaultRequestTimeout * time.Second).Add(quietMargin).Add(5 * time.Minute)
		require.False(t, calls[3].Before(forgotten), "after one that was sure and two that were not: %v", calls)
	})
}
