package lockout

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// trial tries a secret for an operator who writes the connection "conn".
func (r *rig) trial(secret string, result provider.Result, of Trial) error {
	p := r.enter()
	defer p.Leave()
	of.By = "conn"
	p.Presents("conn", secret)
	p.ForTrial(of)
	if err := p.Take(r.Context(), r.memory, true); err != nil {
		return err
	}
	r.end(p, result)
	return nil
}

// callWith makes one call with a secret.
func (r *rig) callWith(secret string, result provider.Result) {
	r.Helper()
	p := r.enter()
	p.Presents("conn", secret)
	require.NoError(r, p.Take(r.Context(), r.memory, false))
	r.end(p, result)
}

// requireTrialSpent asserts that a trial is not made; trialSpent returns why.
func (r *rig) requireTrialSpent(secret string, of Trial) {
	r.Helper()
	require.NotNil(r, r.trialSpent(secret, of))
}

func (r *rig) trialSpent(secret string, of Trial) (spent *SpentError) {
	r.Helper()
	require.ErrorAs(r, r.trial(secret, applied, of), &spent)
	return spent
}

func TestTrialsLeaveAttemptsForSecretInUse(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		r := newRig(t, five)
		r.callWith("right", applied)
		require.NoError(t, r.trial("wrong 1", refused, Trial{}))
		require.NoError(t, r.trial("wrong 2", refused, Trial{}))
		if restarts {
			r.restart()
		}
		spent := r.trialSpent("wrong 3", Trial{})
		require.Equal(t, []int{2, 2}, []int{spent.Attempts.Refused, spent.Attempts.Trials})
		require.Equal(t, r.time().Add(6*time.Minute), spent.Forgotten)
		r.callWith("right", refused)
		r.check(refused, false)
		r.refuses(false)
	}
}

func TestWorkingSecretResetsCountOfTrials(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.callWith("right", applied)
	for range 5 {
		require.NoError(t, r.trial("wrong 1", refused, Trial{}))
		require.NoError(t, r.trial("wrong 2", refused, Trial{}))
		r.requireTrialSpent("wrong 3", Trial{})
		r.callWith("right", applied)
		r.requireStored(0, 2)
	}
}

// Refused trials say nothing about the secret in use. Lost answers count together with them: they may hide refusals.
func TestRefusedTrialsDoNotDoubtSecretInUse(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.callWith("right", applied)
	require.NoError(t, r.trial("wrong 1", refused, Trial{}))
	require.NoError(t, r.trial("wrong 2", refused, Trial{}))
	require.False(t, r.Suspected())
	r.callWith("right", unknown)
	r.callWith("right", unknown)
	require.Equal(t, r.time().Add(6*time.Minute), r.spent(false).Next, "no operator is needed")
	r.pass(6 * time.Minute)
	r.callWith("right", applied)
	require.Equal(t, 2, r.Room())
}

// If the secret in use is refused, there is nothing to leave attempts for.
func TestTrialsUseAllAttemptsOfRefusedSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.callWith("old", applied)
	r.callWith("old", refused)
	r.check(refused, false)
	require.NoError(t, r.trial("wrong", refused, Trial{}))
	require.NoError(t, r.trial("right", applied, Trial{}))
	r.requireStored(0, 2)
}

// A call that a lease covers may be refused too, and a crash would hide that.
func TestTrialCountsCallsBesideIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.callWith("right", applied)
	beside := r.begin()
	require.NoError(t, r.trial("wrong", refused, Trial{}))
	r.requireStored(1, 1)
	r.end(beside, applied)
	r.requireTrialSpent("wrong 2", Trial{})
}

// Calls in a session present the credential only when it has ended. A trial ends the lease that covers that.
func TestCrashAfterTrialsHidesNoLogin(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(r *rig){
		"the session ends after them": func(r *rig) {
			require.NoError(r, r.trial("wrong 1", refused, Trial{}))
			require.NoError(r, r.trial("wrong 2", refused, Trial{}))
			r.callWith("right", refused)
		},
		"it ends beside one": func(r *rig) {
			p := r.begin()
			require.NoError(r, r.trial("wrong 1", refused, Trial{}))
			r.end(p, refused)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, session)
			r.callWith("right", applied)
			run(r)
			logins := r.known(Attempts{}).Refused
			r.restart()
			for {
				p := r.enter()
				if p.Take(r.Context(), r.memory, false) != nil {
					break
				}
				logins++
				r.end(p, refused)
			}
			require.LessOrEqual(t, logins, r.limit())
		})
	}
}

// The remote system has not forgotten the refusals of a login because a token works.
func TestCallInSessionResetsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, session)
	r.callWith("right", applied)
	require.NoError(t, r.trial("wrong 1", refused, Trial{}))
	require.NoError(t, r.trial("wrong 2", refused, Trial{}))
	r.callWith("right", unknown)
	r.requireStored(2, 0)
	r.callWith("right", applied)
	r.requireStored(2, 1)
	require.Equal(t, math.MaxInt, r.Room(), "calls in a session wait for nothing")
	r.requireTrialSpent("wrong 3", Trial{})
	r.pass(6 * time.Minute)
	require.NoError(t, r.trial("right", applied, Trial{}))
	r.requireStored(0, 1)
}

// That the remote system has probably forgotten refusals pays for a new secret only.
func TestPresumedWindowPaysForFreshSecretOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for range 4 {
		r.call(refused)
	}
	r.pass(24 * time.Hour)
	r.requireTrialSpent("wrong", Trial{Refused: true})
	r.requireTrialSpent("in use", Trial{InUse: true, Refused: true})
	require.NoError(t, r.trial("fresh", refused, Trial{}))
	r.requireTrialSpent("another", Trial{})
	require.NoError(t, r.trial("in use", applied, Trial{InUse: true, Refused: true, Force: true}), "an operator may take the risk")
	r.requireStored(0, 2)
}

func TestRefusedSecretsAreRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	require.NoError(t, r.trial("wrong", refused, Trial{}))
	at := r.time()
	r.restart()
	r.pass(time.Second)
	same, last, err := r.Tried(t.Context(), r.memory, "wrong")
	require.NoError(t, err)
	require.Equal(t, []any{"conn", at, same}, []any{same.By, same.Time, last})
	same, last, err = r.Tried(t.Context(), r.memory, "other")
	require.NoError(t, err)
	require.Nil(t, same)
	require.NotNil(t, last)

	entry, err := json.Marshal(r.entries[r.triedKey()])
	require.NoError(t, err)
	require.NotContains(t, string(entry), "wrong")
	require.Len(t, r.entries[r.triedKey()].TriedKey, 32)

	require.NoError(t, r.trial("wrong", applied, Trial{}))
	same, _, err = r.Tried(t.Context(), r.memory, "wrong")
	require.NoError(t, err)
	require.Nil(t, same, "it works now")
	require.True(t, r.entries[r.triedKey()].Unused(at.Add(25*time.Hour)), "a day later, it is removed")
}

func TestFewRefusedSecretsAreRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	r.sender = r.guards.senderOf(provider.Sender{Server: "s", Refusals: 1000, Window: time.Minute})
	for i := range 20 {
		require.NoError(t, r.trial(string(rune('a'+i)), refused, Trial{}))
	}
	require.Len(t, r.entries[r.triedKey()].Tried, maxTried)
	for secret, known := range map[string]bool{"a": false, "d": false, "e": true, "t": true} {
		same, _, err := r.Tried(t.Context(), r.memory, secret)
		require.NoError(t, err)
		require.Equal(t, known, same != nil, secret)
	}
}

// Two connections may have different secrets of one login. The one that works is not charged with the refusals of the other.
func TestOtherSecretOfLoginIsCountedAsTrial(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.callWith("right", applied)
	r.callWith("obsolete", refused)
	r.callWith("obsolete", refused)
	p := r.enter()
	p.Presents("conn", "obsolete")
	var spent *SpentError
	require.ErrorAs(t, p.Take(t.Context(), r.memory, false), &spent)
	require.Equal(t, r.time().Add(6*time.Minute), spent.Next)
	p.Leave()
	r.callWith("right", applied)
	require.Equal(t, 2, r.Room())
}

// A call that was not made proves nothing.
func TestUnsentCallResetsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for range 3 {
		r.call(refused)
	}
	r.call(provider.Result{Outcome: provider.Applied, Unsent: true})
	r.requireStored(3, 0)
	require.Equal(t, 1, r.Room())
}

// One refused login may be the answer to many calls that waited for it.
func TestUnsentRefusalDoesNotCount(t *testing.T) {
	t.Parallel()
	unsent := refused
	unsent.Unsent = true
	r := newRig(t, session)
	r.call(applied)
	calls := []*Permit{r.begin(), r.begin(), r.begin(), r.begin()}
	r.end(calls[0], refused)
	for _, p := range calls[1:] {
		r.end(p, unsent)
	}
	r.call(unsent)
	r.requireStored(1, 0)
	r.call(refused)
	r.requireStored(2, 0)
}
