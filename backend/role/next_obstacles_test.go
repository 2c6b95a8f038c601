package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is in the way of a change that is due, of a password that is to be sent, of one that an operator waits for, and of a
// request that is under way.
func TestObstaclesDelayStep(t *testing.T) {
	t.Parallel()
	const ago, minute, hour = -time.Hour, time.Minute, time.Hour
	const long = 24 * hour
	begin, send, inFlight := begins(Due, ago), sends(Retrying), sends(InFlight)
	for name, c := range map[string]struct {
		env                              Env
		begins, sends, requested, flying Step
	}{
		"nothing":        {Env{}, begin, send, send, inFlight},
		"revision known": {Env{Revision: 3, OpenedAt: in(ago)}, begin, send, send, inFlight},
		// The freeze does not hold for operators.
		"frozen until":       {Env{Frozen: true, FrozenUntil: in(hour)}, begins(Frozen, hour), sends(Frozen, hour), send, sends(Frozen, hour)},
		"frozen":             {Env{Frozen: true}, resting(Frozen), resting(Frozen), send, resting(Frozen)},
		"frozen until now":   {Env{Frozen: true, FrozenUntil: now}, begin, send, send, inFlight},
		"frozen and paused":  {Env{Frozen: true, Paused: true}, resting(Frozen), resting(Frozen), resting(Paused), resting(Frozen)},
		"frozen, paused for": {Env{Frozen: true, Paused: true, PausedUntil: in(hour)}, resting(Frozen), resting(Frozen), sends(Paused, hour), resting(Frozen)},
		// All others do, but not for a request that has been made.
		"paused until":        {Env{Paused: true, PausedUntil: in(hour)}, begins(Paused, hour), sends(Paused, hour), sends(Paused, hour), inFlight},
		"paused":              {Env{Paused: true}, resting(Paused), resting(Paused), resting(Paused), inFlight},
		"paused, probe late":  {Env{Paused: true, PausedUntil: in(ago)}, begin, send, send, inFlight},
		"throttled":           {Env{ThrottledUntil: in(minute)}, begins(Throttled, minute), sends(Throttled, minute), sends(Throttled, minute), inFlight},
		"throttled until now": {Env{ThrottledUntil: now}, begin, send, send, inFlight},
		"checking":            {Env{CheckedAt: in(time.Second)}, begins(Checking, time.Second), sends(Checking, time.Second), sends(Checking, time.Second), inFlight},
		"margin of nothing":   {Env{Margin: long}, begin, send, send, inFlight},
		"old password":        {Env{OldPassword: true}, begin, send, send, inFlight},
		// The last one to go is the reason.
		"frozen, then paused": {
			Env{Frozen: true, FrozenUntil: in(minute), Paused: true, PausedUntil: in(hour)},
			begins(Paused, hour), sends(Paused, hour), sends(Paused, hour), sends(Paused, hour),
		},
		"paused, then frozen": {
			Env{Frozen: true, FrozenUntil: in(hour), Paused: true, PausedUntil: in(minute)},
			begins(Frozen, hour), sends(Frozen, hour), sends(Paused, minute), sends(Frozen, hour),
		},
		"paused, then throttled": {
			Env{Paused: true, PausedUntil: in(minute), ThrottledUntil: in(hour)},
			begins(Throttled, hour), sends(Throttled, hour), sends(Throttled, hour), inFlight,
		},
		"throttled, then checking": {
			Env{ThrottledUntil: in(minute), CheckedAt: in(2 * minute)},
			begins(Checking, 2*minute), sends(Checking, 2*minute), sends(Checking, 2*minute), inFlight,
		},
		"checking, then throttled": {
			Env{ThrottledUntil: in(minute), CheckedAt: in(time.Second)},
			begins(Throttled, minute), sends(Throttled, minute), sends(Throttled, minute), inFlight,
		},
	} {
		requested := c.env
		requested.Requested = true
		check(t, map[string]row{
			name + ", due":                 {given("active", due(ago)), c.env, c.begins},
			name + ", due for an operator": {given("active", due(ago)), requested, obstructed(c.requested, ago)},
			name + ", begun":               {given("begun", due(ago)), c.env, c.sends},
			name + ", asked":               {given("asked"), c.env, c.sends},
			name + ", unknown":             {given("unknown"), c.env, c.sends},
			name + ", slow":                {given("slow"), c.env, c.sends},
			name + ", slow, tried":         {given("slow, tried"), c.env, c.sends},
			name + ", slow, drifted":       {given("slow, drifted"), c.env, c.sends},
			name + ", partial":             {given("partial"), c.env, c.sends},
			name + ", by request":          {given("asked"), requested, c.requested},
			name + ", in flight":           {given("sending"), c.env, c.flying},
			name + ", in flight, request":  {given("sending"), requested, inFlight},
			name + ", by hand":             {given("active"), c.env, resting(ByHand)},
			name + ", disabled":            {given("active", due(ago), disabled), c.env, resting(Disabled)},
			name + ", open, disabled":      {given("unknown", disabled), c.env, resting(Disabled)},
			name + ", staged":              {given("staged", due(ago)), c.env, resting(AwaitingRestart)},
			name + ", too many":            {given("too many"), requested, resting(Unsettled)},
			name + ", queued":              {given("queued", due(ago)), c.env, settled(settles)},
			name + ", due later":           {given("active", due(2*hour)), c.env, later(c.begins, 2*hour)},
		})
		require.Equal(t, obstacle(c.requested), given("asked").MaySend(now, c.env), name)
		require.Equal(t, obstacle(c.requested), given("asked", disabled, busy(long)).MaySend(now, c.env), name)
	}
}

// obstructed is the step that begins a due change where the same obstacles would delay a request.
func obstructed(request Step, d time.Duration) Step {
	switch {
	case request.Do == Rest:
		return request
	case request.At.IsZero():
		return begins(Due, d)
	default:
		return Step{Do: Begin, At: request.At, Why: request.Why}
	}
}

// later is the step of a change that is due after the obstacles have gone.
func later(s Step, d time.Duration) Step {
	if s.Do == Rest {
		return s
	}
	return begins(Due, d)
}

// obstacle is the step of a request that is wanted at once.
func obstacle(s Step) Step {
	if s.Why == Retrying {
		s.Why = Due
	}
	return s
}

// A request with another password may still be under way on the remote system.
func TestMarginFollowsLostRequest(t *testing.T) {
	t.Parallel()
	const margin = time.Minute
	env := Env{Margin: margin}
	forced := Env{Margin: margin, OldPassword: true}
	check(t, map[string]row{
		"its password is sent again":       {given("unknown"), env, sends(Retrying)},
		"another one":                      {given("candidate and next"), env, sends(Margin, sentFor+margin)},
		"another one, by request":          {given("candidate and next"), Env{Margin: margin, Requested: true}, sends(Margin, sentFor+margin)},
		"none yet":                         {given("candidate"), env, sends(Margin, sentFor+margin)},
		"it was discarded":                 {given("discarded", due(-time.Hour)), env, begins(Margin, sentFor+margin)},
		"it was discarded, due later":      {given("discarded", due(time.Hour)), env, begins(Due, time.Hour)},
		"it is to be the old password":     {given("drifted, unknown"), forced, sends(Margin, sentFor+margin)},
		"it is not to be the old one":      {given("unknown"), forced, sends(Retrying)},
		"retry is later":                   {given("candidate", busy(time.Hour)), env, sends(Retrying, time.Hour)},
		"queued one was lost before":       {given("queued and unknown"), Env{Margin: time.Hour}, sends(RemoteQueue, settles)},
		"no margin":                        {given("candidate"), Env{}, sends(Margin, sentFor)},
		"its deadline and margin are over": {given("candidate", sentLongAgo), env, sends(Retrying)},
	})
}

// sentLongAgo lets the deadlines of all candidates be over.
func sentLongAgo(r *Role) {
	for i := range r.Record.Candidates {
		r.Record.Candidates[i].SentUntil = in(-time.Hour)
	}
}

func TestMaySendIgnoresSchedule(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]*Role{
		"by hand":  given("active"),
		"due":      given("active", due(-time.Hour)),
		"not due":  given("active", due(time.Hour)),
		"disabled": given("active", due(time.Hour), disabled),
		"window":   given("begun", window(missed, -time.Hour)),
		"on read":  given("active", due(time.Hour), onRead),
		"retry":    given("active", due(-time.Hour), busy(time.Hour)),
		"staged":   given("staged"),
		"sending":  given("sending"),
	} {
		require.Equal(t, sends(Due), role.MaySend(now, Env{Frozen: true}), name)
	}
	require.Equal(t, sends(RemoteQueue, settles), given("queued").MaySend(now, Env{}))
	require.Equal(t, sends(Margin, sentFor), given("candidate and next").MaySend(now, Env{}))
	require.Equal(t, sends(LockWindow, lockedFor), given("tried").MaySend(now, Env{OldPassword: true}))
	require.Equal(t, resting(Drifted), given("drifted and asked").MaySend(now, Env{OldPassword: true}))
}
