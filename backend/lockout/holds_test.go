package lockout

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// hinted is a throttled call whose remote system says how long to wait.
func hinted(d time.Duration) provider.Result {
	return provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, RetryAfter: d}
}

// held is for how long calls are held from now on.
func (r *rig) held() time.Duration {
	return max(0, r.HeldUntil().Sub(r.time()))
}

// waits lets the hold pass.
func (r *rig) waits() { r.pass(r.held()) }

func TestHoldsDoubleUpToHalfAnHour(t *testing.T) {
	t.Parallel()
	for _, lockout := range []provider.Lockout{five, session, unlocked} {
		r := newRig(t, lockout)
		for _, want := range []string{"1m0s", "2m0s", "4m0s", "8m0s", "16m0s", "30m0s", "30m0s"} {
			r.call(throttle)
			require.Equal(t, want, r.held().String())
			r.waits()
		}
		for range 100 {
			r.call(throttle)
			require.Equal(t, 30*time.Minute, r.held())
			r.waits()
		}
		r.call(applied)
		require.Zero(t, r.held())
		r.call(throttle)
		require.Equal(t, time.Minute, r.held(), "the next one begins anew")
	}
}

func TestHoldFollowsHintWithinBounds(t *testing.T) {
	t.Parallel()
	for hint, want := range map[time.Duration]time.Duration{
		time.Nanosecond:              5 * time.Second,
		time.Second:                  5 * time.Second,
		10 * time.Second:             10 * time.Second,
		20 * time.Minute:             20 * time.Minute,
		time.Hour:                    time.Hour,
		30 * time.Hour:               time.Hour,
		time.Duration(math.MaxInt64): time.Hour,
		0:                            time.Minute,
		-time.Second:                 time.Minute,
	} {
		r := newRig(t, five)
		for range 3 {
			r.call(hinted(hint))
			if hint > 0 {
				require.Equal(t, want, r.held(), "%v: a hint does not grow", hint)
			}
			if r.holds == 1 {
				require.Equal(t, want, r.held(), "%v", hint)
			}
			r.waits()
		}
	}
}

func TestHoldsAreSpreadByChance(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.guards = NewGuards(Config{Timing: timing.Timing{Now: r.time, Random: most{}}})
	r.Guard = r.guards.Of(five, "conn", 1)
	r.call(throttle)
	require.Equal(t, 75*time.Second, r.held(), "a quarter more at most")
}

func TestOneCallProbesAfterHold(t *testing.T) {
	t.Parallel()
	for name, lockout := range map[string]provider.Lockout{"key": five, "session": session, "unlocked": unlocked} {
		r := newRig(t, lockout)
		r.call(applied)
		r.call(throttle)
		require.Equal(t, 1, r.Room(), name)
		r.waits()
		for _, result := range []provider.Result{unknown, unreachable, throttle} {
			p := r.begin()
			r.full()
			r.end(p, result)
			require.Equal(t, 1, r.Room(), "%s: %s does not end it", name, result.Outcome)
			r.waits()
		}
		r.end(r.begin(), applied)
		require.Greater(t, r.Room(), 1, name)
	}
}

func TestProcessedCallEndsHold(t *testing.T) {
	t.Parallel()
	for result, ends := range map[*provider.Result]bool{
		{Outcome: provider.Applied}:                                 true,
		{Outcome: provider.Staged}:                                  true,
		{Outcome: provider.Mismatch}:                                true,
		{Outcome: provider.Rejected, Scope: provider.ScopePassword}: true,
		{Outcome: provider.Rejected, Scope: provider.ScopeTarget}:   true,
		{Outcome: provider.Denied, Scope: provider.ScopeTarget}:     true,
		{Outcome: provider.Denied, Scope: provider.ScopeConnection}: true,
		{Outcome: provider.Busy, Scope: provider.ScopeTarget}:       true,
		{Outcome: provider.Unknown}:                                 false,
		{Outcome: provider.Unreachable}:                             false,
		{Outcome: provider.Unreachable, Unseen: true}:               false,
	} {
		r := newRig(t, five)
		r.call(throttle)
		r.call(*result) // a check is made during a hold too
		require.Equal(t, ends, r.held() == 0, "%+v", result)
		require.Equal(t, ends, r.holds == 0, "%+v", result)
	}
}

// Calls that were throttled together say the same thing once.
func TestCallsThatRanTogetherBeginOneHold(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	var permits []*Permit
	for range 8 {
		permits = append(permits, r.begin())
	}
	for _, p := range permits {
		r.end(p, throttle)
	}
	require.Equal(t, time.Minute, r.held())
	r.waits()
	r.call(throttle)
	require.Equal(t, 2*time.Minute, r.held())
}

// A call that began before the hold proves nothing about it.
func TestOlderCallDoesNotEndHold(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	slow, quick := r.begin(), r.begin()
	r.end(quick, throttle)
	r.end(slow, applied)
	require.Equal(t, time.Minute, r.held())
	require.Equal(t, 1, r.Room())
}

// A longer wait replaces a shorter one, and not the other way round.
func TestLongestOfConcurrentHoldsApplies(t *testing.T) {
	t.Parallel()
	for _, hints := range [][2]time.Duration{{time.Minute, time.Hour}, {time.Hour, time.Minute}} {
		r := newRig(t, unlocked)
		a, b := r.begin(), r.begin()
		r.end(a, hinted(hints[0]))
		r.end(b, hinted(hints[1]))
		require.Equal(t, time.Hour, r.held())
		require.Equal(t, r.HeldUntil(), r.storedHold().Hold)
	}
}

func TestHoldIsStoredAndLoaded(t *testing.T) {
	t.Parallel()
	for name, lockout := range map[string]provider.Lockout{"key": five, "unlocked": unlocked} {
		r := newRig(t, lockout)
		r.call(throttle)
		until := r.HeldUntil()
		require.Equal(t, until, r.storedHold().Hold)
		r.requireStored(0, 0)
		r.crash()
		require.Zero(t, r.HeldUntil(), "a new guard has read nothing")
		require.NoError(t, r.Load(t.Context(), r.memory))
		require.Equal(t, until, r.HeldUntil(), name)
		require.Equal(t, 1, r.Room(), "%s: the first call after it is a probe", name)
		gets := r.gets
		require.NoError(t, r.Load(t.Context(), r.memory))
		require.Equal(t, gets, r.gets, "once")
		r.waits()
		r.call(throttle)
		require.Equal(t, 2*time.Minute, r.held(), "it counts as the second")

		r.pass(3 * time.Minute)
		r.restart()
		require.Zero(t, r.held())
		if lockout == unlocked {
			require.Greater(t, r.Room(), 1, "a hold that is over needs no probe")
		}
	}
}

func TestShortHoldIsNotStored(t *testing.T) {
	t.Parallel()
	for hint, stored := range map[time.Duration]bool{5 * time.Second: false, 9 * time.Second: false, 10 * time.Second: true} {
		r := newRig(t, five)
		r.call(applied)
		r.call(hinted(hint))
		require.Equal(t, hint, r.held())
		require.Equal(t, stored, !r.storedHold().Hold.IsZero(), "%v", hint)
	}
}

func TestHoldThatCannotBeStoredHolds(t *testing.T) {
	t.Parallel()
	r := newRig(t, unlocked)
	p := r.begin()
	r.failing("put")
	r.end(p, throttle)
	require.Equal(t, time.Minute, r.held())
	require.Equal(t, 1, r.warned)
	r.failing("get")
	r.crash()
	require.ErrorIs(t, r.Load(t.Context(), r.memory), errStorage)
	r.failing("")
	require.NoError(t, r.Load(t.Context(), r.memory), "it is read again")
}

// A hold that began while storage was read is not lost.
func TestLoadKeepsLaterHold(t *testing.T) {
	t.Parallel()
	for _, stored := range []time.Duration{-time.Hour, 30 * time.Second, time.Hour} {
		r := newRig(t, five)
		r.crash()
		r.call(throttle)
		until := r.time().Add(stored)
		r.putHold(until)
		require.NoError(t, r.Load(t.Context(), r.memory))
		require.Equal(t, timing.Later(until, r.time().Add(time.Minute)), r.HeldUntil())
		require.Equal(t, 1, r.holds)
	}
}

func TestRenewEndsHold(t *testing.T) {
	t.Parallel()
	for name, lockout := range map[string]provider.Lockout{"key": five, "unlocked": unlocked} {
		for _, proved := range []bool{true, false} {
			r := newRig(t, lockout)
			for range 5 {
				r.call(throttle)
				r.waits()
			}
			r.call(throttle)
			require.NoError(t, r.Renew(t.Context(), r.memory, proved, true))
			require.Zero(t, r.held(), name)
			require.Zero(t, r.storedHold().Hold)
			require.Equal(t, 1, r.Room(), "%s: the next call is a probe", name)
			r.call(throttle)
			require.Equal(t, 2*time.Minute, r.held(), "%s: almost anew", name)
			require.NoError(t, r.Renew(t.Context(), r.memory, proved, true))
			r.restart()
			require.Zero(t, r.held())
		}
	}
}

// An entry that was not read yet must not bring the hold back.
func TestRenewedGuardDoesNotLoadOldHold(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(throttle)
	r.crash()
	r.failing("put")
	require.ErrorIs(t, r.Renew(t.Context(), r.memory, true, true), errStorage)
	require.False(t, r.storedHold().Hold.IsZero())
	r.failing("")
	require.NoError(t, r.Load(t.Context(), r.memory))
	require.Zero(t, r.HeldUntil())
}

// A service that never throttled is not held because another one with the same credential was.
func TestHoldIsOfOneService(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	lockout := five
	lockout.Service = "another.example"
	other := r.guards.Of(lockout, "other", 1)
	require.Same(t, r.login, other.login, "refusals are counted together")
	r.call(applied)
	r.call(throttle)
	require.Equal(t, time.Minute, r.held())
	require.Zero(t, other.HeldUntil())
	require.Equal(t, []int{1, 2}, []int{r.Room(), other.Room()})
	r.restart()
	require.Equal(t, time.Minute, r.held())
	other = r.guards.Of(lockout, "other", 1)
	require.NoError(t, other.Load(t.Context(), r.memory))
	require.Zero(t, other.HeldUntil())
}

func TestHoldSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	for _, hint := range []time.Duration{0, time.Minute} {
		r := newRig(t, five)
		r.call(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Code: "HTTP 429", Reason: "throttled", RetryAfter: hint})
		want := Hold{Until: r.time().Add(time.Minute), Since: r.time(), Code: "HTTP 429", Reason: "throttled", Asked: hint > 0}
		require.Equal(t, want, r.Held())
		r.restart()
		require.Equal(t, want, r.Held())
	}
}

// A request of an operator may find out whether a throttle is over, unless the remote system said how long it lasts.
func TestOperatorMayProbeHold(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	require.False(t, r.MayProbe(), "there is no hold")
	r.call(throttle)
	require.False(t, r.MayProbe(), "not at once")
	r.pass(30 * time.Second)
	require.True(t, r.MayProbe())
	r.call(throttle)
	require.Equal(t, time.Minute, r.held(), "a probe before its end does not double the hold")
	require.False(t, r.MayProbe())
	r.pass(30 * time.Second)
	r.call(applied)
	require.Zero(t, r.held())
	require.Equal(t, r.time(), r.HoldEnded())
	require.Zero(t, r.storedHold().Hold, "a restart does not bring it back")

	r.call(hinted(10 * time.Minute))
	r.pass(9 * time.Minute)
	require.False(t, r.MayProbe())
}

// A check reads, and changes may still be throttled.
func TestCheckLeavesProbeToNextCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	r.call(applied)
	r.call(throttle)
	r.check(applied, false)
	require.Zero(t, r.held())
	require.Equal(t, 1, r.Room())
	require.Zero(t, r.HoldEnded())
	r.call(applied)
	require.Equal(t, 2, r.Room())
}

// Earlier versions stored the hold with the count, for all services.
func TestHoldOfEarlierVersionIsLoaded(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	until := r.time().Add(time.Hour)
	r.put(Attempts{Refused: 1, Last: r.time(), Hold: until})
	r.restart()
	require.Equal(t, until, r.HeldUntil())
	r.call(refused)
	r.requireStored(2, 0)
}
