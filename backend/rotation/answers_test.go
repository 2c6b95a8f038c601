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

var (
	noPlugin = provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no plug-in"}
	tooWeak  = provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: "too weak"}
)

// A refusal of before is not the answer to a request that waits for its turn.
func TestARequestThatWaitsIsNotAnsweredWithAnOlderRefusal(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		r.remote.set(always(restartAnswer, false))
		_, err := r.rotate()
		require.NoError(t, err)
		r.remote.set(always(noPlugin, false))
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.ErrorContains(t, err, "no plug-in")
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 10 * time.Minute}, false))
		_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.Error(t, err)
		r.remote.set(always(restartAnswer, false))
		_, err = r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		require.NotContains(t, err.Error(), "no plug-in")
		after(time.Hour)
		r.stands(credential.StateRestartRequired, 1, 3)
	})
}

func TestAGivenPasswordThatIsRefusedAfterAWaitIsSaidToBe(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.set(always(unknown, true))
		_, err := r.rotate()
		require.NoError(t, err)
		after(25 * time.Second)
		r.remote.set(always(tooWeak, false))
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.Equal(t, KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "this password was not set: too weak")
		r.stands(credential.StateUncertain, 1, 2)
	})
}

// The engine's own timer comes before the request that waits for the same moment.
func TestARotationThatTheEngineMadeInTheMeantimeIsTheAnswer(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queues()
		r.mustCreate(nil)
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == 2 {
				return tooWeak, false // another one is made at once
			}
			return queuedAnswer, true
		})
		report, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateAccepted, report.View.State)
		require.Equal(t, 3, r.remote.count())
		r.stands(credential.StateAccepted, 1, 2)
	})
}

func TestReadsDoNotAskForARefusedAccountAgainAndAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation = true })
		r.remote.set(always(noPlugin, false))
		for range 20 {
			_, err := r.engine.first(t.Context(), r.storage, "role")
			require.Equal(t, KindMistake, kindOf(t, err))
		}
		require.Equal(t, 1, r.remote.count())
	})
}

func TestRefusalsThatAPersonMayRepeatDoNotSlowTheRestDown(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		for _, refusal := range []provider.Result{noPlugin, tooWeak} {
			r.remote.set(always(refusal, false))
			for range 10 {
				_, err := r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
				require.Equal(t, KindMistake, kindOf(t, err))
			}
		}
		require.Equal(t, 21, r.remote.count())
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}, false))
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		require.WithinDuration(t, r.engine.Now(), r.role().Retry.NextAttempt, time.Minute)
	})
}

func TestRefusedGeneratedPasswordsRestAlsoOverAGivenOneThatWaits(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(restartAnswer, false))
		_, err := r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.NoError(t, err)
		r.remote.set(always(tooWeak, false))
		for range 5 {
			_, err = r.rotate()
			require.Equal(t, KindMistake, kindOf(t, err))
		}
		require.Equal(t, 2+maxRejected, r.remote.count())
		r.stands(credential.StateRestartRequired, 1, 2)
	})
}

// Nine passwords with open fate are enough: a person has to say which one works.
func TestARoleThatOnlyAPersonCanHelpSaysSo(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		var err error
		r.remote.set(always(unknown, false))
		for n := range 3 * credential.MaxCandidates {
			if _, err = r.engine.SetPassword(t.Context(), r.storage, "role", fmt.Sprintf("chosenbyhand%d", n)); err != nil {
				break
			}
			after(3 * time.Minute)
		}
		require.Equal(t, KindMistake, kindOf(t, err))
		r.remote.set(always(tooWeak, false))
		after(3 * time.Hour)
		require.Nil(t, r.role().Record.Next)
		calls := r.remote.count()
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Zero(t, status.Next)
		require.NotContains(t, status.Advice, "Wait for the engine")
		after(24 * time.Hour)
		require.Equal(t, calls, r.remote.count())
		r.confirm(Word{Password: r.remote.holds("login")}) // as history has it
		r.remote.set(nil)
		after(time.Hour)
		_, err = r.rotate()
		require.NoError(t, err)
		r.stands(credential.StateActive, r.read().Password.Version, 0)
	})
}
