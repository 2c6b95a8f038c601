package lockout

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestAttemptIsCountedBeforeCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	p := r.enter()
	require.Zero(t, r.stored(), "a permit alone counts nothing")
	require.NoError(t, p.Take(t.Context(), r.memory, false))
	require.Equal(t, Attempts{Unanswered: 1, Last: r.time()}, r.stored())
	r.crash()
	require.NoError(t, r.enter().Take(t.Context(), r.memory, false))
	r.requireStored(0, 2)
}

func TestCallIsNotMadeUncounted(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"get", "put"} {
		r := newRig(t, five)
		r.failing(operation)
		p := r.enter()
		require.ErrorIs(t, p.Take(t.Context(), r.memory, false), errStorage)
		p.Leave()
		r.failing("")
		r.requireStored(0, 0)
		r.call(applied)
	}
}

// The error of a write does not prove that nothing was stored.
func TestLostAnswerOfStorageCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.lands = true
	for range 4 {
		r.failing("put")
		p := r.enter()
		require.ErrorIs(t, p.Take(t.Context(), r.memory, false), errStorage)
		p.Leave()
		r.failing("")
	}
	r.requireStored(0, 4)
	r.refuses(false)
}

func TestRefusalsAreCountedUpToTheLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for i := range 4 {
		r.call(refused)
		r.requireStored(i+1, 0)
	}
	for range 3 {
		began := r.time()
		spent := r.spent(false)
		require.Equal(t, &SpentError{
			Attempts: Attempts{Refused: 4, Last: r.stored().Last}, Limit: 4, Forgotten: r.stored().Last.Add(6 * time.Minute),
		}, spent)
		require.True(t, spent.Next.IsZero(), "not before an operator acts")
		r.requireStored(4, 0)
		r.pass(24 * time.Hour)
		require.Equal(t, began, r.time().Add(-24*time.Hour))
		r.restart()
	}
}

func TestLostAnswersExpire(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for range 4 {
		r.call(unknown)
	}
	r.requireStored(0, 4)
	spent := r.spent(false)
	require.Equal(t, r.time().Add(6*time.Minute), spent.Next)
	require.Equal(t, spent.Next, spent.Forgotten)
	r.pass(6*time.Minute - time.Second)
	r.refuses(false)
	r.pass(time.Second)
	r.call(unknown)
	r.requireStored(0, 5)
	r.refuses(false)
	r.pass(6 * time.Minute)
	r.call(applied)
	r.pass(time.Second)
	r.call(refused)
	r.requireStored(0, 2)
}

// After a refusal, answers that are lost may hide another one.
func TestLostAnswersCountTogetherWithRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(refused)
	for range 3 {
		r.call(unknown)
	}
	r.requireStored(1, 3)
	require.Equal(t, r.time().Add(6*time.Minute), r.spent(false).Next, "one refusal may be chance")
	r.pass(6 * time.Minute)
	r.call(refused)
	r.requireStored(2, 3)
	require.True(t, r.spent(false).Next.IsZero())
}

func TestOperatorMayTryAfterWindow(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for range 4 {
		r.call(refused)
	}
	last := r.time()
	for range 3 {
		r.pass(6*time.Minute - time.Second)
		spent := r.spent(true)
		require.Equal(t, last.Add(6*time.Minute), spent.Forgotten)
		r.pass(time.Second)
		r.refuses(false)
		r.check(refused, true)
		last = r.time()
	}
	r.requireStored(7, 0)
	r.pass(6 * time.Minute)
	r.check(applied, true)
	r.requireStored(0, 2)
	r.call(applied)
}

func TestWorkingCallResetsCount(t *testing.T) {
	t.Parallel()
	for name, result := range works {
		r := newRig(t, five)
		for range 3 {
			r.call(refused)
		}
		r.pass(time.Minute)
		r.call(result)
		require.Equal(t, Attempts{Unanswered: 2, Last: r.time()}, r.stored(), "%s: as many as may run together", name)
		require.Equal(t, 2, r.Room(), name)
		puts := r.puts
		r.call(applied)
		require.Equal(t, puts, r.puts, "%s: once it works, counting costs nothing", name)
	}
}

func TestUncountedOutcomesAreGivenBack(t *testing.T) {
	t.Parallel()
	for name, result := range notLooked {
		r := newRig(t, five)
		r.call(refused)
		for range 10 {
			r.call(result)
			r.requireStored(1, 0)
			r.pass(2 * time.Hour) // for holds
		}
		require.Equal(t, 1, r.Room(), "%s: it does not prove that the credential works", name)
	}
}

func TestUnansweredOutcomesStayCounted(t *testing.T) {
	t.Parallel()
	for _, result := range []provider.Result{unknown, unseen} {
		for _, lockout := range []provider.Lockout{five, session} {
			r := newRig(t, lockout)
			r.call(result)
			r.requireStored(0, 1)
			require.Equal(t, 1, r.Room())
		}
	}
}

func TestGiveBackUncounts(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(unknown)
	p := r.begin()
	r.requireStored(0, 2)
	p.GiveBack(t.Context(), r.memory)
	p.GiveBack(t.Context(), r.memory) // once
	p.Leave()
	r.requireStored(0, 1)
	p = r.enter()
	p.GiveBack(t.Context(), r.memory) // nothing was taken
	p.Leave()
	r.requireStored(0, 1)
	r.call(applied)
	puts := r.puts
	p = r.begin()
	p.GiveBack(t.Context(), r.memory) // it was not counted
	p.Leave()
	require.Equal(t, puts, r.puts)
	r.requireStored(0, 2)
}

// If the count cannot be lowered, fewer attempts are made than could be.
func TestFailedUpdateKeepsAttemptCounted(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"get", "put"} {
		for name, end := range map[string]func(r *rig, p *Permit){
			"given back":  func(r *rig, p *Permit) { p.GiveBack(r.Context(), r.memory); p.Leave() },
			"unreachable": func(r *rig, p *Permit) { r.end(p, unreachable) },
			"refused":     func(r *rig, p *Permit) { r.end(p, refused) },
		} {
			r := newRig(t, five)
			p := r.begin()
			r.failing(operation)
			end(r, p)
			r.failing("")
			r.requireStored(0, 1)
			require.Equal(t, 1, r.warned, name)
		}
	}
}

func TestCallsRunTogetherOnlyAfterCountIsStored(t *testing.T) {
	t.Parallel()
	for name, before := range map[string][]provider.Result{"first call": nil, "after a refusal": {applied, refused}} {
		r := newRig(t, five)
		for _, result := range before {
			r.call(result)
		}
		p := r.begin()
		stored := r.stored()
		r.failing("put")
		r.end(p, applied)
		r.failing("")
		require.Equal(t, stored, r.stored(), name)
		require.Equal(t, 1, r.warned, name)
		require.Equal(t, 1, r.Room(), name)
		r.call(applied)
		require.Equal(t, 2, r.Room(), name)
		r.requireStored(0, 2)
	}
}

func TestLastIsWhenCallWasRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	p := r.begin()
	r.pass(50 * time.Second)
	r.end(p, refused)
	require.Equal(t, r.time(), r.stored().Last)
}

// What could not be stored is known until the process ends.
func TestRefusalsCountThoughNotStored(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for i := range 4 {
		p := r.begin()
		r.failing("put")
		r.end(p, refused)
		r.failing("")
		a := r.stored()
		require.Equal(t, i+1, a.Refused+a.Unanswered)
	}
	spent := r.spent(false)
	require.Equal(t, []int{4, 0}, []int{spent.Attempts.Refused, spent.Attempts.Unanswered})
	require.True(t, spent.Next.IsZero())
	r.restart()
	require.Equal(t, spent, r.spent(false))
}

// A process that ends before it could store a refusal has counted the attempt.
func TestRefusalThatWasNotStoredIsLostAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	for range 3 {
		r.call(refused)
	}
	p := r.begin()
	r.failing("put")
	r.end(p, refused)
	r.failing("")
	r.restart()
	spent := r.spent(false)
	require.Equal(t, []int{3, 1}, []int{spent.Attempts.Refused, spent.Attempts.Unanswered})
}

func TestLeaveEndsPermitOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	p := r.enter()
	p.Leave()
	p.Leave()
	q := r.enter()
	p.Leave()
	r.full()
	r.end(q, unreachable)
	q.Leave()
	r.enter().Leave()
	require.Zero(t, r.running)
}

func TestUnlockedCredentialIsNotCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	for _, result := range []provider.Result{applied, refused, unknown, unseen, unreachable} {
		for range 20 {
			r.call(result)
		}
	}
	require.Zero(t, r.puts)
	require.Equal(t, 2, r.gets, "only its hold is read")
	var permits []*Permit
	for range 100 {
		permits = append(permits, r.begin())
	}
	for _, p := range permits {
		p.Leave()
	}
}
