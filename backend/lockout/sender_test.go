package lockout

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// server blocks a sender after five refusals in ten minutes.
var server = provider.Sender{Server: "server", Refusals: 3, Window: 10 * time.Minute}

// of returns a guard of another credential of the server: a login, or a key that is not locked itself.
func (r *rig) of(login, key string) *Guard {
	r.Helper()
	lockout := provider.Lockout{Sender: server}
	if login != "" {
		lockout.Credential, lockout.Refusals = login, 5
	}
	g := r.guards.Of(lockout, key, 1)
	require.NoError(r, g.Load(r.Context(), r.memory))
	return g
}

// count returns how many calls of connections count.
func (b *budget) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.recent(b.window()))
}

// attempt makes one call with a credential.
func (r *rig) attempt(g *Guard, result provider.Result) error {
	p, err := g.Enter(noWait)
	require.NoError(r, err)
	defer p.Leave()
	if err := p.Take(r.Context(), r.memory, false); err != nil {
		return err
	}
	r.end(p, result)
	return nil
}

// force makes one call with a credential, whatever it risks.
func (r *rig) force(g *Guard, result provider.Result) {
	r.Helper()
	p, err := g.Enter(noWait)
	require.NoError(r, err)
	defer p.Leave()
	p.ForTrial(Trial{By: "conn", Force: true})
	require.NoError(r, p.Take(r.Context(), r.memory, true))
	r.end(p, result)
}

// requireBlocked asserts that a call is not made because of the sender; blocked returns why.
func (r *rig) requireBlocked(g *Guard) {
	r.Helper()
	require.NotNil(r, r.blocked(g))
}

func (r *rig) blocked(g *Guard) (blocked *BlockedError) {
	r.Helper()
	require.ErrorAs(r, r.attempt(g, applied), &blocked)
	return blocked
}

func TestSenderCountsAllCredentialsOfServer(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		r := newRig(t, unlocked)
		require.NoError(t, r.attempt(r.of("a", "a"), refused))
		require.NoError(t, r.attempt(r.of("b", "b"), unknown))
		require.NoError(t, r.attempt(r.of("", "key"), refused))
		r.pass(9 * time.Minute)
		if restarts {
			r.restart()
		}
		blocked := r.blocked(r.of("c", "c"))
		require.Equal(t, &BlockedError{Refused: 3, Window: 10 * time.Minute, Until: r.time().Add(time.Minute + 10*time.Second)}, blocked)
		require.Equal(t, "3 calls from this mount were refused by this server within 10m0s, and it blocks the sender of too many, whichever credentials they present",
			blocked.Error())
		r.requireBlocked(r.of("", "another key"))
		r.pass(blocked.Until.Sub(r.time()))
		require.NoError(t, r.attempt(r.of("c", "c"), refused), "they are forgotten")
	}
}

func TestWorkingCallsDoNotResetSender(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	works, wrong := r.of("works", "works"), r.of("", "wrong")
	require.NoError(t, r.attempt(works, applied))
	for range 3 {
		require.NoError(t, r.attempt(wrong, refused))
		require.NoError(t, r.attempt(works, applied))
	}
	r.requireBlocked(wrong)
	require.NoError(t, r.attempt(works, applied), "it goes on")
	require.NoError(t, r.attempt(works, unknown), "an outage")
	require.NoError(t, r.attempt(works, refused), "the fourth")
	r.requireBlocked(works)
}

// The server blocks the sender at the fifth.
func TestOneWorkingCredentialIsRefusedBeyondLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	one, other := r.of("", "one"), r.of("other", "other")
	require.NoError(t, r.attempt(one, applied))
	require.NoError(t, r.attempt(other, applied))
	for range 3 {
		require.NoError(t, r.attempt(r.of("", "wrong"), refused))
		r.pass(time.Minute)
	}
	require.NoError(t, r.attempt(one, refused))
	require.Equal(t, &BlockedError{Refused: 4, Window: 10 * time.Minute, Until: r.time().Add(7*time.Minute + 10*time.Second)}, r.blocked(other))
	r.pass(7*time.Minute + 10*time.Second)
	r.requireBlocked(r.of("", "wrong"))
	require.NoError(t, r.attempt(other, applied), "one is forgotten")
}

// An operator may force a call beyond the limit. That costs other credentials nothing.
func TestForcedRefusalDoesNotStopWorkingCredential(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	works, wrong := r.of("works", "works"), r.of("", "wrong")
	require.NoError(t, r.attempt(works, applied))
	for range 3 {
		require.NoError(t, r.attempt(wrong, refused))
	}
	r.force(wrong, refused)
	require.NoError(t, r.attempt(works, applied))
	r.requireBlocked(wrong)
}

func TestEntryOfSenderIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	g := r.of("", "wrong")
	for range 100 {
		r.force(g, refused)
		r.pass(time.Second)
	}
	require.Len(t, r.entries[g.sender.key].Calls, maxCalls)
	require.Equal(t, r.time().Add(-3*time.Second+10*time.Minute+10*time.Second), r.blocked(g).Until, "the third last is forgotten")
}

// A call that works does not make others wait longer.
func TestWorkingCallDoesNotExtendWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	wrong := r.of("", "wrong")
	for range 3 {
		require.NoError(t, r.attempt(wrong, refused))
	}
	until := r.blocked(wrong).Until
	r.pass(time.Minute)
	r.force(r.of("", "right"), applied)
	require.Equal(t, until, r.blocked(wrong).Until)

	stored := r.of("", "right, as stored since") // another revision, so another guard
	require.NoError(t, stored.Renew(t.Context(), r.memory, true, true))
	require.NoError(t, r.attempt(stored, applied), "it is known to work")
}

func TestCallsThatAreNotRefusedAreGivenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	g := r.of("", "key")
	for name, result := range notLooked {
		for range 5 {
			require.NoError(t, r.attempt(g, result), name)
			r.pass(2 * time.Hour) // for holds
		}
		require.Zero(t, g.sender.count(), name)
	}
	require.NoError(t, r.attempt(r.of("", "other"), provider.Result{Outcome: provider.Applied, Unsent: true}))
	require.Zero(t, g.sender.count())
}

// A call that is given back does not hide that another one was refused since.
func TestCallGivenBackKeepsLaterRefusal(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	slow, err := r.of("", "slow").Enter(noWait)
	require.NoError(t, err)
	require.NoError(t, slow.Take(t.Context(), r.memory, false))
	r.pass(9 * time.Minute)
	require.NoError(t, r.attempt(r.of("", "a"), refused))
	r.end(slow, unreachable)
	require.NoError(t, r.attempt(r.of("", "b"), refused))
	require.NoError(t, r.attempt(r.of("", "c"), refused))
	until := r.blocked(r.of("", "d")).Until
	require.Equal(t, r.time().Add(10*time.Minute+10*time.Second), until)
}

// All calls that run together may be refused.
func TestSenderBoundsCallsThatRunTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, unlocked)
		var permits []*Permit
		enter := func(g *Guard) {
			p, err := g.Enter(noWait)
			require.NoError(t, err)
			permits = append(permits, p)
		}
		one, other := r.of("", "one"), r.of("", "other")
		enter(one)
		enter(one)
		enter(other)
		require.Equal(t, 3, one.Room())
		_, err := other.Enter(noWait)
		require.ErrorIs(t, err, ErrFull)
		waits := make(chan error, 1)
		go func() {
			p, err := other.Enter(t.Context())
			if err == nil {
				p.Leave()
			}
			waits <- err
		}()
		synctest.Wait()
		require.Empty(t, waits)
		for _, p := range permits {
			p.Leave()
		}
		require.NoError(t, <-waits)
		require.NoError(t, r.attempt(one, refused))
		require.Equal(t, 2, other.Room())
	})
}

func TestCallIsNotMadeUncountedForSender(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"get", "put"} {
		r := newRig(t, unlocked)
		g := r.of("", "key")
		g.sender.loaded = operation == "put"
		r.failing(operation)
		require.ErrorIs(t, r.attempt(g, refused), errStorage)
		r.failing("")
		require.Zero(t, g.sender.count())
		require.NoError(t, r.attempt(g, refused))
		require.Len(t, r.entries[g.sender.key].Calls, 1)
	}
}

// A crash hides an answer, and the refusal of a call that could not be stored counts until the process ends.
func TestSenderCountsWhatIsNotSeen(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	g := r.of("", "key")
	p, err := g.Enter(noWait)
	require.NoError(t, err)
	require.NoError(t, p.Take(t.Context(), r.memory, false))
	r.restart()
	g = r.of("", "key")
	require.Equal(t, 1, g.sender.count())
	require.NoError(t, r.attempt(g, applied))
	r.failing("put")
	require.NoError(t, r.attempt(g, refused))
	r.failing("")
	require.Equal(t, 1, r.warned)
	require.Equal(t, 2, g.sender.count())
}

// Another node may have written the entry.
func TestInvalidatedSenderIsReadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	g := r.of("", "key")
	require.NoError(t, r.PutAttempts(t.Context(), g.sender.key, Attempts{Calls: slices.Repeat([]time.Time{r.time()}, 3)}))
	r.guards.Invalidate(g.sender.key)
	r.requireBlocked(g)
}

func TestUnusedSenderIsForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	g := r.of("", "key")
	require.Same(t, g.sender, r.of("a", "a").sender)
	require.Nil(t, r.sender)
	r.guards.Keep(nil)
	r.guards.Keep(map[string]bool{g.Key(): true})
	require.Same(t, g.sender, r.of("a", "a").sender)
	r.guards.Keep(nil)
	r.guards.Keep(nil)
	require.Empty(t, r.guards.budgets)
	require.Empty(t, r.guards.holds)
}

// Storage may hang.
func TestSenderGivesUpWhileStorageHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, unlocked)
		g := r.of("", "key")
		g.sender.storing <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, err := g.Enter(noWait)
		require.NoError(t, err)
		require.ErrorIs(t, p.Take(ctx, r.memory, false), context.DeadlineExceeded)
		p.Leave()
		<-g.sender.storing
	})
}
