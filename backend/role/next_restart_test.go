package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestServersAreRestartedAtTheirTime(t *testing.T) {
	t.Parallel()
	const minute, hour, day = time.Minute, time.Hour, 24 * time.Hour
	may := func(env Env) Env {
		env.MayRestart = true
		return env
	}
	later := func(version int) func(*Role) {
		return func(r *Role) { r.Restarts.Version, r.Restarts.NotBefore = version, in(minute) }
	}
	requested := may(Env{Requested: true})
	check(t, map[string]row{
		"staged":                 {given("staged", restarts), mayRestart, restartsNow(Restarting)},
		"staged, the first":      {given("first staged", restarts), mayRestart, restartsNow(Restarting)},
		"due":                    {given("staged", restarts, due(-hour)), mayRestart, restartsNow(Restarting)},
		"not allowed any more":   {given("staged", restarts), Env{}, resting(AwaitingRestart)},
		"by hand":                {given("staged"), mayRestart, resting(AwaitingRestart)},
		"disabled":               {given("staged", restarts, disabled), mayRestart, resting(AwaitingRestart)},
		"disabled, requested":    {given("staged", restarts, disabled), requested, restartsNow(Restarting)},
		"some have not taken it": {given("partial", restarts), mayRestart, sends(Retrying)},
		"outcome unknown":        {given("unknown", restarts), mayRestart, sends(Retrying)},
		"nothing waits":          {given("active", restarts), mayRestart, resting(ByHand)},
		"queued":                 {given("queued", restarts), mayRestart, settled(settles)},

		"all are done":                 {given("staged", restarts, restarted(2, servers...)), mayRestart, resting(AwaitingRestart)},
		"all were, for another":        {given("staged", restarts, restarted(1, servers...)), mayRestart, restartsNow(Restarting)},
		"they have stopped":            {given("staged", restarts, failing(2)), mayRestart, resting(AwaitingRestart)},
		"they have stopped, requested": {given("staged", restarts, failing(2)), requested, resting(AwaitingRestart)},
		"they had, for another":        {given("staged", restarts, failing(1)), mayRestart, restartsNow(Restarting)},
		"not carried out":              {given("staged", restarts, later(2)), mayRestart, restartsNow(Retrying, minute)},
		"not carried out, another":     {given("staged", restarts, later(1)), mayRestart, restartsNow(Restarting)},
		"a login is earlier":           {given("staged", provesParts, restarts, later(2), planned(0)), mayRestart, logsIn(Proving, 0)},

		// A scheduled change restarts servers in its windows.
		"window open":              {given("staged as due", restarts, window(open, day)), mayRestart, restartsNow(Restarting)},
		"window closed":            {given("staged as due", restarts, window(missed, day)), mayRestart, restartsNow(Window, 21*hour)},
		"no window":                {given("staged as due", restarts, window(never, day)), mayRestart, resting(Window)},
		"window closed, by hand":   {given("staged", restarts, window(missed, day)), mayRestart, restartsNow(Restarting)},
		"window closed, requested": {given("staged as due", restarts, window(missed, day)), requested, restartsNow(Restarting)},

		// What is in the way.
		"frozen":            {given("staged", restarts), may(Env{Frozen: true}), resting(Frozen)},
		"frozen until":      {given("staged", restarts), may(Env{Frozen: true, FrozenUntil: in(hour)}), restartsNow(Frozen, hour)},
		"frozen, by hand":   {given("staged"), may(Env{Frozen: true}), resting(AwaitingRestart)},
		"frozen, request":   {given("staged", restarts), may(Env{Frozen: true, Requested: true}), restartsNow(Restarting)},
		"paused":            {given("staged", restarts), may(Env{Paused: true}), resting(Paused)},
		"throttled":         {given("staged", restarts), may(Env{ThrottledUntil: in(minute)}), restartsNow(Throttled, minute)},
		"being checked":     {given("staged", restarts), may(Env{CheckedAt: in(minute)}), restartsNow(Checking, minute)},
		"paused, and login": {given("staged", provesParts, restarts, planned(minute)), may(Env{Paused: true}), logsIn(Proving, minute)},
	})
}

// A server that is being restarted may be turned off, so it is followed whatever happens to the role.
func TestRestartingServerIsFollowed(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	timeout := func(seconds int) func(*Role) { return func(r *Role) { r.Target.RestartTimeout = seconds } }
	began, late := restarting(2, "a", minute), restarting(2, "a", 11*minute)
	check(t, map[string]row{
		"it is":                     {given("staged", restarts, began), mayRestart, restartsNow(Restarting)},
		"not allowed any more":      {given("staged", restarts, began), Env{}, restartsNow(Restarting)},
		"disabled":                  {given("staged", restarts, began, disabled), Env{}, restartsNow(Restarting)},
		"frozen":                    {given("staged", restarts, began), Env{Frozen: true}, restartsNow(Restarting)},
		"window closed":             {given("staged as due", restarts, began, window(missed, time.Hour)), mayRestart, restartsNow(Restarting)},
		"options changed":           {given("staged", began), Env{}, restartsNow(Restarting)},
		"in force meanwhile":        {given("active", restarts, began), mayRestart, restartsNow(Restarting)},
		"a login is planned":        {given("staged", provesParts, restarts, began, planned(-minute)), mayRestart, restartsNow(Restarting)},
		"paused":                    {given("staged", restarts, began), Env{Paused: true}, resting(Paused)},
		"throttled":                 {given("staged", restarts, began), Env{ThrottledUntil: in(minute)}, restartsNow(Throttled, minute)},
		"frozen, not yet too long":  {given("staged", restarts, restarting(2, "a", 10*minute)), Env{Frozen: true}, restartsNow(Restarting)},
		"frozen, too long":          {given("staged", restarts, restarting(2, "a", 11*minute)), Env{Frozen: true}, resting(Frozen)},
		"frozen, longer allowed":    {given("staged", restarts, restarting(2, "a", 11*minute), timeout(700)), Env{Frozen: true}, restartsNow(Restarting)},
		"late, and a change is due": {given("active", restarts, due(-minute), late), mayRestart, begins(Due, -minute)},
		"late, and none is":         {given("active", restarts, late), mayRestart, restartsNow(Restarting, 0)},
		"frozen, shorter allowed":   {given("staged", restarts, restarting(2, "a", 9*minute), timeout(500)), Env{Frozen: true}, resting(Frozen)},
		"another is to be sent":     {given("staged and asked", restarts, began), mayRestart, sends(Retrying)},
	})
	require.True(t, given("staged", began).FollowsRestart(now))
	require.False(t, given("staged", restarting(2, "a", 11*minute)).FollowsRestart(now))
	require.False(t, given("staged", restarts).FollowsRestart(now))
}

func TestNextRestartIsFirstServerLeft(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		role *Role
		want string
	}{
		"none yet":                {given("staged", restarts), "a"},
		"one is done":             {given("staged", restarts, restarted(2, "a")), "b"},
		"the other is done":       {given("staged", restarts, restarted(2, "b")), "a"},
		"all are done":            {given("staged", restarts, restarted(2, "b", "a")), ""},
		"one was, for another":    {given("staged", restarts, restarted(1, "a")), "a"},
		"in force on one":         {given("staged, on a", restarts), "b"},
		"in force on one, b done": {given("staged, on a", restarts, restarted(2, "b")), ""},
		"by hand":                 {given("staged"), ""},
		"nothing is set":          {given("active", restarts), ""},
		"not sent":                {given("asked", restarts), ""},
		"partly taken":            {given("partial", restarts), ""},
		"another is to be sent":   {given("staged and asked", restarts), ""},
		"they have stopped":       {given("staged", restarts, failing(2)), ""},
		"they had, for another":   {given("staged", restarts, failing(1)), "a"},
	} {
		require.Equal(t, row.want, row.role.NextRestart(), name)
	}
	require.Equal(t, "it did not come back", given("staged", failing(2)).RestartsFailed())
	require.Empty(t, given("staged", failing(1)).RestartsFailed())
	require.Empty(t, given("active", failing(2)).RestartsFailed())
}
