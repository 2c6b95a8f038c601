package lockout

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestCallsRunOneAtATimeUntilOneWorks(t *testing.T) {
	t.Parallel()
	for name, lockout := range map[string]provider.Lockout{"key": five, "session": session} {
		for _, first := range []provider.Result{refused, unknown, unreachable, unseen} {
			r := newRig(t, lockout)
			p := r.begin()
			r.full()
			r.end(p, first)
			p = r.begin()
			r.full()
			r.end(p, applied)
			require.Greater(t, r.Room(), 1, name)
		}
	}
}

func TestFewCallsUseWorkingCredentialTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	puts := r.puts
	a, b := r.begin(), r.begin()
	r.full()
	r.end(a, applied)
	a = r.begin()
	r.full()
	r.end(a, applied)
	r.end(b, applied)
	require.Equal(t, puts, r.puts)
	r.requireStored(0, 2)
}

// Calls that run together may all be refused, and a check still follows.
func TestCallsRefusedTogetherLeaveRoomForCheck(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	a, b := r.begin(), r.begin()
	r.end(a, refused)
	r.full()
	r.end(b, refused)
	r.requireStored(0, 2)
	r.check(refused, false)
	r.requireStored(3, 0)
	r.call(refused)
	r.requireStored(4, 0)
	require.True(t, r.spent(false).Next.IsZero())
}

// A crash hides the answers of all calls that run together.
func TestCrashHidesCallsThatRunTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	r.begin()
	r.begin() // both are refused
	r.restart()
	r.begin() // and this one
	r.restart()
	r.call(refused)
	r.requireStored(1, 3)
	require.Equal(t, r.time().Add(6*time.Minute), r.spent(false).Next)
}

// The remote system may have looked at a call that works before it refused others.
func TestSuccessKeepsRefusalsSeenMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	slow, quick := r.begin(), r.begin()
	r.end(quick, refused)
	r.end(slow, applied)
	require.Equal(t, 1, r.refusals)
	require.Equal(t, 1, r.Room())
	p := r.begin()
	r.requireStored(1, 1)
	r.end(p, applied)
	r.requireStored(0, 2)
	require.Equal(t, 2, r.Room())
}

func TestSuccessKeepsAnswersLostMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	slow, quick := r.begin(), r.begin()
	r.end(quick, unknown)
	r.end(slow, applied)
	require.Equal(t, 1, r.unanswered)
	require.Equal(t, 1, r.Room(), "one of two may have been refused")
	r.call(applied)
	require.Zero(t, r.unanswered)
	require.Equal(t, 2, r.Room())
}

// Lost answers of a working credential count once it is refused: most of them are outages.
func TestLostAnswersCountOnceRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	for range 10 {
		r.call(unknown)
		require.Equal(t, 1, r.Room())
	}
	r.requireStored(0, 10)
	r.call(applied)
	r.call(unknown)
	r.call(unknown)
	r.requireStored(0, 2)
	r.call(refused)
	r.begin().Leave()
	r.requireStored(1, 3)
}

// More lost answers than calls may run together are counted in storage, because a crash would hide them.
func TestCrashKeepsLostAnswers(t *testing.T) {
	t.Parallel()
	for lost := range 4 {
		for _, seen := range []bool{false, true} {
			r := newRig(t, five)
			r.call(applied)
			for range lost { // each may be a refusal
				r.call(unknown)
			}
			p := r.begin()
			if seen {
				r.end(p, refused)
			}
			r.crash()
			shown := lost + 1
			for ; shown < 10; shown++ {
				p := r.enter()
				if p.Take(t.Context(), r.memory, false) != nil {
					break
				}
				r.end(p, refused)
			}
			require.LessOrEqual(t, shown, 4, "%d lost, then one that is seen: %t", lost, seen)
		}
	}
}

// A login shows the credential and nothing else: a lost answer to it is as good as a refusal.
func TestLostLoginStopsSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, session)
	r.call(applied)
	require.Equal(t, math.MaxInt, r.Room())
	r.requireStored(0, 1)
	r.call(unknown) // shows the token only
	require.Equal(t, math.MaxInt, r.Room())
	r.call(unseen)
	require.Equal(t, 1, r.Room())
	p := r.begin()
	r.requireStored(0, 2)
	r.end(p, refused)
	r.requireStored(1, 1)
}

// A call that began before a login was lost shows an older token, so it proves nothing about the credential.
func TestLateAnswerDoesNotProveSession(t *testing.T) {
	t.Parallel()
	for name, doubt := range map[string]func(r *rig){
		"lost login": func(r *rig) { r.call(unseen) },
		"refusal":    func(r *rig) { r.call(refused) },
		"renewal":    func(r *rig) { require.NoError(r, r.Renew(r.Context(), r.memory, false, true)) },
		"other node": func(r *rig) { r.guards.Invalidate(r.Key()) },
	} {
		r := newRig(t, session)
		r.call(applied)
		slow := r.begin()
		doubt(r)
		stored := r.stored()
		r.end(slow, applied)
		require.Equal(t, 1, r.Room(), name)
		require.Equal(t, stored, r.stored(), name)
		r.call(applied)
		require.Equal(t, math.MaxInt, r.Room(), name)
	}
}

func TestSessionRunsManyCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, session)
	p := r.begin()
	r.full()
	r.end(p, applied)
	var permits []*Permit
	for range 50 {
		permits = append(permits, r.begin())
	}
	r.end(permits[0], refused)
	r.full()
	for _, p := range permits[1:] {
		r.end(p, unreachable)
	}
	r.begin().Leave()
	r.requireStored(1, 1)
}

func TestRefusalRaisesSuspicion(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(unknown)
	r.check(refused, false)
	require.False(t, r.Suspected(), "no check follows a check")
	r.call(refused)
	require.True(t, r.Suspected())
	r.call(unreachable)
	require.True(t, r.Suspected())
	r.call(applied)
	require.False(t, r.Suspected(), "it works")

	r.call(refused)
	done, err := r.Check(t.Context(), time.Minute)
	require.NoError(t, err)
	r.check(refused, false)
	require.True(t, r.Suspected())
	done()
	require.False(t, r.Suspected(), "whatever came of the check")
}

// A call that works does not end the suspicion of a refusal that came in while it ran.
func TestSuspicionOutlastsOlderCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	slow, quick := r.begin(), r.begin()
	r.end(quick, refused)
	r.end(slow, applied)
	require.True(t, r.Suspected())
}

func TestOneCheckAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, five)
		first, err := r.Check(t.Context(), time.Minute)
		require.NoError(t, err)
		second := make(chan func(), 1)
		go func() {
			done, err := r.Check(t.Context(), time.Minute)
			if err == nil {
				second <- done
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = r.Check(ctx, time.Minute)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		require.Empty(t, second)
		first()
		(<-second)()
	})
}

// Calls that run when a credential is refused may be refused too.
func TestCheckWaitsForRunningCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, five)
		r.call(applied)
		a, b := r.begin(), r.begin()
		time.AfterFunc(10*time.Second, func() { r.end(a, applied) })
		time.AfterFunc(20*time.Second, func() { r.end(b, refused) })
		began := time.Now()
		done, err := r.Check(t.Context(), time.Minute)
		require.NoError(t, err)
		require.Equal(t, 20*time.Second, time.Since(began))
		done()

		p := r.begin()
		began = time.Now()
		done, err = r.Check(t.Context(), 30*time.Second)
		require.NoError(t, err)
		require.Equal(t, 30*time.Second, time.Since(began), "it waits that long at most")
		done()
		p.Leave()
	})
}

func TestEnterWaitsForPermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, five)
		p := r.begin()
		time.AfterFunc(time.Minute, func() { r.end(p, unreachable) })
		began := time.Now()
		q, err := r.Enter(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(began))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = r.Enter(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		q.Leave()
		r.enter().Leave()
	})
}

// Those who wait enter as soon as there is room for them.
func TestWaitingCallsEnterOnceOneWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, five)
		first := r.begin()
		entered := make(chan *Permit, 5)
		for range cap(entered) {
			go func() {
				p, err := r.Enter(t.Context())
				if err == nil {
					entered <- p
				}
			}()
		}
		synctest.Wait()
		require.Empty(t, entered)
		r.end(first, applied)
		synctest.Wait()
		require.Len(t, entered, 2)
		for range 5 {
			r.end(<-entered, applied)
			synctest.Wait()
		}
		require.Zero(t, r.running)
	})
}
