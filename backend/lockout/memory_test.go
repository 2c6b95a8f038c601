package lockout

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// What is known of lost answers is not forgotten because an attempt could not be counted.
func TestFailedCountKeepsLostAnswers(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		r := newRig(t, five)
		r.call(applied)
		lost, quick := r.begin(), r.begin()
		r.end(lost, unknown)
		r.end(quick, refused)
		r.requireStored(0, 2)
		if fails {
			r.failing("put")
			p := r.enter()
			require.ErrorIs(t, p.Take(t.Context(), r.memory, false), errStorage)
			p.Leave()
			r.failing("")
			r.requireStored(0, 2)
		}
		p := r.begin()
		r.requireStored(1, 2)
		r.end(p, refused)
		r.requireStored(2, 1)
	}
}

// The remote system remembers refusals from when they were made, however long ago the entry was written.
func TestLostAnswersExpireFromWhenTheyWereMade(t *testing.T) {
	t.Parallel()
	for _, lockout := range []provider.Lockout{five, {Credential: "c", Refusals: 3}} {
		r := newRig(t, lockout)
		r.call(applied)
		r.pass(24 * time.Hour)
		for range r.limit() - 2 {
			r.call(unknown)
		}
		r.call(refused)
		p := r.begin()
		r.pass(30 * time.Second)
		r.end(p, unknown)
		last := r.time()
		r.pass(time.Minute)
		spent := r.spent(false)
		require.Equal(t, last.Add(6*time.Minute), spent.Next)
		require.Equal(t, spent.Next, r.spent(true).Forgotten)
		require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
		require.Equal(t, last, r.stored().Last)
		r.restart()
		require.Equal(t, last.Add(6*time.Minute), r.spent(false).Next)
		r.pass(5 * time.Minute)
		r.call(applied)
	}
}

// A call that runs while the credential is renewed may be refused afterwards.
func TestRenewedAttemptWaitsForCallsThatRan(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	r.pass(24 * time.Hour)
	for range 3 {
		r.call(unknown)
	}
	p := r.begin()
	require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
	r.pass(30 * time.Second)
	r.end(p, unknown)
	require.Equal(t, r.time().Add(6*time.Minute), r.spent(false).Next)
}

// Once no more calls are made, a restart does not allow more.
func TestRestartKeepsSpentAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	for range 3 {
		r.call(unknown)
	}
	r.call(refused)
	before := r.spent(false)
	require.Equal(t, before.Attempts, r.stored())
	puts := r.puts
	require.Equal(t, before, r.spent(false))
	require.Equal(t, puts, r.puts, "it is stored once")
	r.restart()
	require.Equal(t, before, r.spent(false))
	r.pass(6 * time.Minute)
	r.call(applied)
	r.requireStored(0, 2)
}

func TestSpentAttemptsCountThoughNotStored(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for range 3 {
		r.call(refused)
	}
	p := r.begin()
	r.failing("put")
	r.end(p, refused)
	before := r.spent(false)
	require.Equal(t, 2, r.warned)
	r.requireStored(3, 1)
	r.failing("")
	require.Equal(t, before, r.spent(false))
	r.requireStored(4, 0)
}

// A call that did not show the credential leaves the attempt to the next one, at once: an outage delays nothing further.
func TestAttemptGivenBackIsAllowedAgain(t *testing.T) {
	t.Parallel()
	for _, byOperator := range []bool{false, true} {
		r := newRig(t, five)
		for range 4 {
			if byOperator {
				r.call(refused)
			} else {
				r.call(unknown)
			}
		}
		r.pass(6 * time.Minute)
		before := r.stored()
		for range 3 {
			r.check(unreachable, byOperator)
			require.Equal(t, before, r.stored())
			r.pass(time.Second)
		}
		r.check(unknown, byOperator)
		require.Equal(t, r.time(), r.stored().Last)
		r.refuses(byOperator)
	}
}

// A renewal that cannot be stored changes nothing that counts.
func TestFailedRenewalKeepsCount(t *testing.T) {
	t.Parallel()
	for _, lands := range []bool{false, true} {
		r := newRig(t, five)
		r.call(applied)
		for range 3 {
			r.call(unknown)
		}
		r.call(refused)
		r.lands = lands
		r.failing("put")
		require.ErrorIs(t, r.Renew(t.Context(), r.memory, false, true), errStorage)
		r.failing("")
		require.Equal(t, []int{1, 3}, []int{r.refusals, r.unanswered})
		require.Equal(t, r.time().Add(6*time.Minute), r.spent(false).Next)
	}
}

// A credential that is written unchecked waits from the last attempt with the one before, though storage does not have it.
func TestRenewalKeepsTimeOfLastAttempt(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	r.pass(24 * time.Hour)
	for range r.limit() - 1 {
		r.call(unknown)
	}
	p := r.begin()
	r.pass(30 * time.Second)
	r.end(p, unknown)
	last := r.time()
	r.pass(time.Minute)
	require.NoError(t, r.Renew(t.Context(), r.memory, false, true))
	require.Equal(t, last, r.stored().Last)
}
