package lockout

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Results of proofs.
var (
	proofWorks   = provider.Proof{Verdict: provider.Works}
	proofRefused = provider.Proof{Verdict: provider.Refused}
	proofLost    = provider.Proof{Verdict: provider.CannotTell}
	proofUnsent  = provider.Proof{Verdict: provider.CannotTell, Unsent: true}
	proofPanics  = provider.Proof{}
)

// noSender is a remote system that does not count by sender.
var noSender = provider.Sender{}

// proofs returns the budget of an account.
func (r *rig) proofs(account string, sender provider.Sender) *Proofs {
	return r.guards.Proofs(account, sender)
}

// take takes a proof without waiting.
func (r *rig) take(p *Proofs) *Attempt {
	r.Helper()
	a, err := p.Take(r.Context(), noWait, r.memory)
	require.NoError(r, err)
	return a
}

// prove makes one proof.
func (r *rig) prove(p *Proofs, result provider.Proof) {
	r.Helper()
	r.take(p).Answered(result)
}

// requireLeft asserts what is left of a budget, and returns when it opens again.
func (r *rig) requireLeft(p *Proofs, want int) time.Time {
	r.Helper()
	left, until, err := p.Left(r.Context(), r.memory)
	require.NoError(r, err)
	require.Equal(r, want, left)
	require.Equal(r, want > 0, until.IsZero())
	return until
}

// requireNoProof asserts that the budget is spent, and returns why.
func (r *rig) requireNoProof(p *Proofs) (blocked *BlockedError) {
	r.Helper()
	waiting, stop := context.WithCancel(r.Context())
	stop() // it does not wait for this
	_, err := p.Take(r.Context(), waiting, r.memory)
	require.ErrorAs(r, err, &blocked)
	require.Equal(r, blocked.Until, r.requireLeft(p, 0))
	return blocked
}

func TestTwoProofsMayBeRefused(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		r := newRig(t, unlocked)
		a := func() *Proofs { return r.proofs("host|a", noSender) }
		r.requireLeft(a(), 2)
		first := r.time()
		r.prove(a(), proofRefused)
		r.requireLeft(a(), 1)
		r.pass(5 * time.Minute)
		r.prove(a(), proofRefused)
		if restarts {
			r.restart()
		}
		blocked := r.requireNoProof(a())
		require.Equal(t, &BlockedError{Refused: 2, Window: 15 * time.Minute, Until: first.Add(16 * time.Minute), Account: true}, blocked)
		require.Equal(t, "2 logins that prove a password of this account were refused, or may have been, within 15m0s, and one more could lock the account", blocked.Error())
		r.prove(r.proofs("host|b", noSender), proofRefused)

		r.pass(blocked.Until.Sub(r.time()) - 1)
		_ = r.requireNoProof(a())
		r.pass(1)
		r.requireLeft(a(), 1)
		r.prove(a(), proofRefused)
		require.Equal(t, first.Add(21*time.Minute), r.requireNoProof(a()).Until)
	}
}

func TestProofCountsUnlessItWorks(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		result provider.Proof
		left   int
	}{
		"works": {proofWorks, 2}, "unsent": {proofUnsent, 2},
		"refused": {proofRefused, 1}, "lost": {proofLost, 1}, "after a panic": {proofPanics, 1},
	} {
		r := newRig(t, unlocked)
		p := r.proofs("a", noSender)
		attempt := r.take(p)
		r.requireLeft(p, 1)
		attempt.Answered(row.result)
		r.requireLeft(p, row.left)
		attempt.Answered(proofRefused) // no effect
		attempt.Answered(proofWorks)
		r.requireLeft(p, row.left)
		require.Equal(t, 1, r.puts, name)
	}
}

// An entry counts what was taken back since, until the next proof is counted or the remote system would have forgotten it.
func TestProofThatWorksCostsOneWrite(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	p := r.proofs("a", noSender)
	for i := range 5 {
		r.prove(p, proofWorks)
		require.Equal(t, i+1, r.puts)
		require.Len(t, r.entries[p.key].Calls, 1, "what is open now, and nothing that worked")
	}
	r.requireLeft(p, 2)
	r.crash()
	r.requireLeft(r.proofs("a", noSender), 1)
	r.pass(16 * time.Minute)
	r.requireLeft(r.proofs("a", noSender), 2)
}

// A crash hides the answers to all that ran.
func TestProofIsCountedBeforeItIsMade(t *testing.T) {
	t.Parallel()
	for _, sender := range []provider.Sender{noSender, server} {
		r := newRig(t, unlocked)
		p := r.proofs("a", sender)
		r.take(p)
		r.take(p)
		_, err := p.Take(t.Context(), noWait, r.memory)
		require.ErrorIs(t, err, ErrFull)
		r.crash()
		_ = r.requireNoProof(r.proofs("a", sender))
	}
}

func TestProofIsNotMadeUncounted(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"get", "put"} {
		r := newRig(t, unlocked)
		p := r.proofs("a", noSender)
		if operation == "put" {
			r.requireLeft(p, 2)
		}
		r.failing(operation)
		_, err := p.Take(t.Context(), noWait, r.memory)
		require.ErrorIs(t, err, errStorage)
		if operation == "get" {
			_, _, err = p.Left(t.Context(), r.memory)
			require.ErrorIs(t, err, errStorage)
		}
		r.failing("")
		r.requireLeft(p, 2)
	}
}

// Proofs and calls of connections share what the server remembers, but the calls keep their own limit and window.
func TestServerCountsProofsAndCallsTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	a, b := r.proofs("a", server), r.proofs("b", server)
	require.NoError(t, r.attempt(r.of("", "wrong"), refused))
	require.NoError(t, r.attempt(r.of("", "right"), applied))
	r.prove(a, proofWorks)
	r.requireLeft(b, 1)
	r.pass(time.Minute)
	r.prove(b, proofLost)
	blocked := r.requireNoProof(a)
	require.Equal(t, &BlockedError{Refused: 2, Window: 15 * time.Minute, Until: r.time().Add(15 * time.Minute)}, blocked)
	require.ErrorContains(t, blocked, "2 calls from this mount were refused by this server within 15m0s")
	require.NoError(t, r.attempt(r.of("", "another"), refused))
	require.Equal(t, r.time().Add(9*time.Minute+10*time.Second), r.blocked(r.of("", "wrong")).Until)

	r.pass(10*time.Minute + 10*time.Second)
	require.Equal(t, 3, r.of("", "wrong").Room(), "the server has forgotten them")
	_ = r.requireNoProof(a)
	r.prove(r.proofs("a", provider.Sender{Server: "other", Refusals: 3, Window: time.Minute}), proofWorks)
}

// A server that remembers longer than 15 minutes, or allows fewer refusals, has its way.
func TestProofsFollowStricterServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	p := r.proofs("a", provider.Sender{Server: "s", Refusals: 1, Window: time.Hour})
	r.prove(p, proofRefused)
	require.Equal(t, r.time().Add(time.Hour+10*time.Second), r.requireNoProof(p).Until)
}

// After a failover, the other node believes the entry, and so does this one when it becomes active again.
func TestInvalidatedProofsAreReadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	p := r.proofs("a", noSender)
	r.prove(p, proofWorks)
	open := r.take(p)
	require.NoError(t, r.PutAttempts(t.Context(), p.key, Attempts{Calls: append(r.entries[p.key].Calls, r.time())}))
	r.guards.Invalidate(p.key)
	r.requireLeft(p, 0)
	open.Answered(proofWorks)
	r.requireLeft(p, 1)
}

// What a clock that was ahead has counted counts from when it is noticed.
func TestProofsOfClockAheadCountFromNow(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		r := newRig(t, unlocked)
		p := r.proofs("a", noSender)
		r.prove(p, proofRefused)
		r.prove(p, proofRefused)
		r.pass(-48 * time.Hour)
		if restarts {
			r.crash()
			p = r.proofs("a", noSender)
		}
		require.Equal(t, r.time().Add(16*time.Minute), r.requireNoProof(p).Until)
		r.pass(16 * time.Minute)
		r.requireLeft(p, 2)
		r.guards.Keep(nil)
		r.pass(16 * time.Minute)
		r.guards.Keep(nil)
		require.Empty(t, r.guards.budgets)
	}
}

// Memory is bounded: a budget that counts nothing is forgotten, and read again when it is needed.
func TestKeepForgetsSpentBudgets(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	p := r.proofs("a", noSender)
	for i := range 100 {
		r.prove(r.proofs(fmt.Sprint(i), noSender), proofRefused)
	}
	open := r.take(p)
	r.pass(15 * time.Minute)
	r.guards.Keep(nil)
	require.Len(t, r.guards.budgets, 101)
	r.pass(time.Minute)
	r.guards.Keep(nil)
	require.Len(t, r.guards.budgets, 1, "a proof is running")
	require.Len(t, r.entries, 101)
	r.requireLeft(p, 1)
	open.Answered(proofWorks)
	r.prove(p, proofWorks)
	r.guards.Keep(nil)
	require.Len(t, r.guards.budgets, 1, "the entry counts more")
	r.pass(16 * time.Minute)
	r.guards.Keep(nil)
	require.Empty(t, r.guards.budgets)
}

// Two budgets of one account would not know of each other.
func TestBudgetInUseIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	p, kept := r.proofs("a", noSender), []int{}
	r.set(func() {
		r.blocks = func(string, Attempts) {
			r.guards.Keep(nil)
			kept = append(kept, len(r.guards.budgets))
		}
	})
	r.requireLeft(p, 2)
	r.guards.Keep(nil)
	require.Empty(t, r.guards.budgets)
	r.prove(p, proofUnsent)
	require.Equal(t, []int{1, 1, 1}, kept)
}

// A call of a connection whose permit ended without an answer counts, and holds up no proof for good.
func TestCallWithoutAnswerCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	for range 2 {
		p, err := r.of("", "key").Enter(noWait)
		require.NoError(t, err)
		require.NoError(t, p.Take(t.Context(), r.memory, false))
		p.Leave()
	}
	until := r.requireNoProof(r.proofs("a", server)).Until
	require.Equal(t, r.time().Add(16*time.Minute), until)
}

func TestEntryOfProofsIsKeptForADay(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	p := r.proofs("a", noSender)
	r.take(p)
	entry := r.entries[p.key]
	require.False(t, entry.Unused(r.time().Add(24*time.Hour)))
	require.True(t, entry.Unused(r.time().Add(24*time.Hour+1)))
	entry.Last = time.Time{} // damaged
	require.False(t, entry.Bounded().Unused(r.time()))
	entry.Calls = slices.Repeat(entry.Calls, 1000)
	require.Len(t, entry.Bounded().Calls, maxCalls)
}

// Entries keep their keys over versions.
func TestKeysOfProofsAreStable(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	require.Equal(t, "d922ff5373304228c28bb3974e8f587d38b32b0e2227aedfcb223825715d80cf", r.proofs("host|a", noSender).key)
	require.Equal(t, r.of("", "key").sender.key, r.proofs("host|a", server).key)
}
