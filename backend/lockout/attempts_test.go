package lockout

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

func TestNextAttemptWaitsUntilForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	now := r.time()
	recent, long := now.Add(-time.Minute), now.Add(-time.Hour)
	again := recent.Add(6 * time.Minute)
	for _, row := range []struct {
		refused, unanswered int
		last                time.Time
		want                time.Time
		ok                  bool
		why                 string
	}{
		{0, 0, time.Time{}, time.Time{}, true, "nothing counts"},
		{3, 0, recent, time.Time{}, true, "one more does not lock"},
		{1, 2, recent, time.Time{}, true, "one more does not lock"},
		{0, 3, recent, time.Time{}, true, "one more does not lock"},
		{4, 0, recent, time.Time{}, false, "the fifth would lock"},
		{4, 0, long, time.Time{}, false, "certain refusals do not expire"},
		{2, 2, long, time.Time{}, false, "certain refusals do not expire"},
		{1000, 1000, long, time.Time{}, false, "a damaged entry"},
		{1, 3, recent, again, true, "lost answers expire"},
		{0, 4, recent, again, true, "lost answers expire"},
		{0, 4, long, time.Time{}, true, "they have expired"},
		{1, 1000, long, time.Time{}, true, "they have expired"},
		{0, 4, now.Add(-6 * time.Minute), time.Time{}, true, "at that very moment"},
	} {
		got, ok := r.next(Attempts{Refused: row.refused, Unanswered: row.unanswered, Last: row.last}, now)
		require.Equal(t, row.ok, ok, "%+v", row)
		require.Equal(t, row.want, got, "%+v", row)

		r.put(Attempts{Refused: row.refused, Unanswered: row.unanswered, Last: row.last})
		left, next, ok, err := r.Left(t.Context(), r.memory)
		require.NoError(t, err)
		require.Equal(t, row.ok, ok)
		require.Equal(t, row.want, next)
		require.Equal(t, 4-row.refused-row.unanswered, left)
	}
	r.failing("get")
	_, _, _, err := r.Left(t.Context(), r.memory)
	require.ErrorIs(t, err, errStorage)
}

// A clock that was ahead stored when the last call was made, and how long calls are held.
func TestAttemptsInFutureCountFromNow(t *testing.T) {
	t.Parallel()
	r := newRig(t, five)
	ahead := r.time().Add(90 * 24 * time.Hour)
	r.put(Attempts{Unanswered: 4, Last: ahead, Hold: ahead})
	require.NoError(t, r.Load(t.Context(), r.memory))
	require.Zero(t, r.HeldUntil())
	_, next, ok, err := r.Left(t.Context(), r.memory)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, r.time().Add(6*time.Minute), next)

	take := func() error {
		permit, err := r.Enter(noWait)
		require.NoError(t, err)
		defer permit.Leave()
		return permit.Take(t.Context(), r.memory, false)
	}
	var spent *SpentError
	require.ErrorAs(t, take(), &spent)
	r.pass(6 * time.Minute)
	require.NoError(t, take(), "it is counted from the first attempt")

	r = newRig(t, five)
	r.pass(90 * 24 * time.Hour)
	r.call(throttle)
	r.pass(-90 * 24 * time.Hour)
	require.Zero(t, r.held())
	r.call(throttle)
	require.NotZero(t, r.held(), "the next hold counts")
}

func TestLimitsFollowLockout(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		refusals        int
		session         bool
		limit, together int
		counts          bool
	}{
		{0, false, 0, 1, false},
		{MinRefusals, false, 2, 1, true},
		{5, false, 4, 2, true},
		{5, true, 4, 1, true},
		{10, false, 9, 4, true},
		{10, true, 9, 1, true},
	} {
		g := newRig(t, provider.Lockout{Credential: "c", Refusals: row.refusals, Session: row.session}).Guard
		require.Equal(t, row.limit, g.limit(), "%+v", row)
		require.Equal(t, row.together, g.together(), "%+v", row)
		require.Equal(t, row.counts, g.Counts(), "%+v", row)
		if row.counts {
			require.LessOrEqual(t, row.together+1, row.limit, "a failure and a check do not lock")
		}
	}
}

func TestRefusalsAreForgottenAfterWindow(t *testing.T) {
	t.Parallel()
	for window, want := range map[time.Duration]time.Duration{
		0: 6 * time.Minute, 5 * time.Minute: 6 * time.Minute, 15 * time.Minute: 16 * time.Minute, time.Hour: 61 * time.Minute,
	} {
		require.Equal(t, want, newRig(t, provider.Lockout{Refusals: 5, Window: window}).Forgets())
	}
}

func TestDamagedCountsAreBounded(t *testing.T) {
	t.Parallel()
	for stored, want := range map[int]int{0: 0, 1: 1, 1000: 1000, 1001: 1000, math.MaxInt: 1000, -1: 1000, math.MinInt: 1000} {
		a := Attempts{Refused: stored, Unanswered: stored}.Bounded()
		require.Equal(t, []int{want, want}, []int{a.Refused, a.Unanswered}, "%d", stored)
	}
}

func TestDamagedEntryLeavesNoAttempt(t *testing.T) {
	t.Parallel()
	for _, a := range []Attempts{{Refused: -1}, {Unanswered: -3}, {Refused: math.MaxInt, Unanswered: math.MaxInt}} {
		r := newRig(t, five)
		a.Last = r.time()
		r.put(a)
		r.refuses(false)
	}
}

func TestEntryIsUnusedAfterADay(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		last, hold time.Duration // from now
		want       bool
	}{
		{-25 * time.Hour, -time.Hour, true},
		{-24 * time.Hour, -time.Hour, false},
		{-time.Hour, -time.Hour, false},
		{-25 * time.Hour, time.Hour, false},
		{-25 * time.Hour, 0, false},
	} {
		a := Attempts{Refused: 4, Last: now.Add(row.last), Hold: now.Add(row.hold)}
		require.Equal(t, row.want, a.Unused(now), "%+v", row)
	}
	require.True(t, Attempts{}.Unused(now))
}

func TestSpentErrorNamesCountsAndLimit(t *testing.T) {
	t.Parallel()
	for text, a := range map[string]Attempts{
		"the credential was refused 4 times in a row, and the remote system locks it after 5, for everyone who uses it":                                               {Refused: 4},
		"the credential was refused 0 times in a row, plus up to 4 attempts whose outcome was lost, and the remote system locks it after 5, for everyone who uses it": {Unanswered: 4},
		"the credential was refused once, plus up to 3 attempts whose outcome was lost, and the remote system locks it after 5, for everyone who uses it":             {Refused: 1, Unanswered: 3},
		"the credential was refused 3 times in a row, plus up to 1 attempt whose outcome was lost, and the remote system locks it after 5, for everyone who uses it":  {Refused: 3, Unanswered: 1},
		"the credential was refused 3 times in a row (2 of them with another secret), and the remote system locks it after 5, for everyone who uses it":               {Refused: 3, Trials: 2},
	} {
		require.EqualError(t, &SpentError{Attempts: a, Limit: 4}, text)
	}
}

// A build for tests shortens the engine's own waits, and none that a remote system asks for.
func TestWaitsAreScaled(t *testing.T) {
	defer func(before string) { timing.Scale = before }(timing.Scale)
	timing.Scale = "10"
	r := newRig(t, five)
	require.Equal(t, 36*time.Second, r.Forgets())
	r.call(throttle)
	require.Equal(t, r.time().Add(6*time.Second), r.HeldUntil())
	r = newRig(t, five)
	r.call(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, RetryAfter: 20 * time.Minute})
	require.Equal(t, r.time().Add(20*time.Minute), r.HeldUntil())
}
