package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
)

// refreshed lets the password that was queued days ago settle at that time, if it has come.
func refreshed(d time.Duration) func(*Role) {
	return func(r *Role) {
		if r.Record.Next.Staged() {
			r.Record.Next.StagedSince = in(-7 * 24 * time.Hour)
		}
		for i := range r.Record.Candidates {
			r.Record.Candidates[i].StagedSince = in(-7 * 24 * time.Hour)
		}
		r.SettlesAt = in(d)
		r.Refresh(now)
	}
}

// derived lets an older version have stored no due time.
func derived(r *Role) {
	r.Options.RotationPeriod = 24 * 60 * 60
	r.Due = time.Time{}
	r.Refresh(now)
}

func TestSettledPasswordIsStored(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	check(t, map[string]row{
		"before":                    {given("queued"), Env{}, settled(settles)},
		"before, refreshed":         {given("queued", refreshed(time.Second)), Env{}, settled(time.Second)},
		"at":                        {given("queued", refreshed(0)), Env{}, settled(0)},
		"after":                     {given("queued", refreshed(-time.Minute)), Env{}, settled(0)},
		"after, not refreshed":      {given("queued", func(r *Role) { r.SettlesAt = in(-time.Minute) }), Env{}, settled(-time.Minute)},
		"after, next one not due":   {given("queued", due(0), refreshed(-time.Minute)), Env{}, settled(0)},
		"after, next one due":       {given("queued", due(0), refreshed(-2*day)), Env{}, begins(Due, -day)},
		"after, next one asked":     {given("queued and asked", refreshed(-time.Minute)), Env{}, sends(Retrying)},
		"after, asked and disabled": {given("queued and asked", disabled, refreshed(-time.Minute)), Env{}, settled(0)},
		"after, asked and paused":   {given("queued and asked", refreshed(-time.Minute)), Env{Paused: true}, settled(0)},
		"after, frozen":             {given("queued", refreshed(-time.Minute)), Env{Frozen: true, Paused: true}, settled(0)},
		"after, by request":         {given("queued", refreshed(-time.Minute)), Env{Requested: true}, settled(0)},
		"before, frozen":            {given("queued"), Env{Frozen: true, Paused: true}, settled(settles)},
		"before, retry earlier":     {given("queued and unknown", busy(time.Minute)), Env{}, sends(RemoteQueue, settles)},
		"before, margin is longer":  {given("queued and asked"), Env{Margin: day}, sends(RemoteQueue, settles)},
		"before, lost one before":   {given("queued and unknown", lostBefore), Env{Margin: day}, settled(settles)},
		"operator settled it":       {given("active", refreshed(-time.Minute)), Env{}, settled(0)},
		"operator settled it early": {given("active", refreshed(time.Minute)), Env{}, resting(ByHand)},
		"derived due time":          {given("active", derived), Env{}, settled(0)},
		"derived, then stored":      {given("active", derived, (*Role).Stored), Env{}, begins(Due, day)},
		"derived, open":             {given("unknown", derived), Env{}, sends(Retrying)},
		"derived, open, retry":      {given("unknown", derived, busy(time.Minute)), Env{}, settled(0)},
		"settled, then stored":      {given("queued", refreshed(-time.Minute), (*Role).Stored), Env{}, resting(ByHand)},
	})
}

// lostBefore lets a request with an older password be lost.
func lostBefore(r *Role) { r.Record.NotBefore = now }

// A role that is queued and unfinished acts at the earlier time.
func TestQueuedRoleWithOpenPasswordActsAtEarlierTime(t *testing.T) {
	t.Parallel()
	soon, late := in(time.Minute), in(time.Hour)
	for name, c := range map[string]struct {
		attempt, settles time.Time
		disabled         bool
		want             Step
	}{
		"the queue":            {attempt: late, settles: soon, want: Step{Do: Settle, At: soon, Why: RemoteQueue}},
		"both":                 {attempt: soon, settles: soon, want: Step{Do: Send, At: soon, Why: Retrying}},
		"not before the queue": {attempt: soon, settles: late, want: Step{Do: Send, At: late, Why: RemoteQueue}},
		"no attempt by itself": {attempt: soon, settles: late, disabled: true, want: Step{Do: Settle, At: late, Why: RemoteQueue}},
	} {
		r := given("queued and asked")
		r.SettlesAt, r.Retry.NextAttempt, r.Options.Disabled = c.settles, c.attempt, c.disabled
		assert.Equal(t, c.want, r.Next(now, Env{}), name)
	}
}

// The engine does not begin what a read begins, and does not wait for a read with what has to be stored.
func TestAutomaticLeavesReadsToReaders(t *testing.T) {
	t.Parallel()
	const day, hour = 24 * time.Hour, time.Hour
	for name, row := range map[string]row{
		"due":                     {given("active", due(-hour)), Env{}, begins(Due, -hour)},
		"due on read":             {given("active", due(-hour), onRead), Env{}, resting(Due)},
		"due on read later":       {given("active", due(hour), onRead), Env{}, resting(Due)},
		"due on read, throttled":  {given("active", due(-hour), onRead), Env{ThrottledUntil: in(hour)}, resting(Throttled)},
		"due on read, paused":     {given("active", due(-hour), onRead), Env{Paused: true}, resting(Paused)},
		"begun on read":           {given("begun", due(-hour), onRead), Env{}, sends(Retrying)},
		"in flight on read":       {given("sending", due(-hour), onRead), Env{}, sends(Retrying)},
		"by hand":                 {given("active"), Env{}, resting(ByHand)},
		"queued":                  {given("queued", onRead), Env{}, settled(settles)},
		"settled, due":            {given("queued", due(0), refreshed(-2*day)), Env{}, begins(Due, -day)},
		"settled, due on read":    {given("queued", due(0), onRead, refreshed(-2*day)), Env{}, settled(0)},
		"settled, not due yet":    {given("queued", due(0), onRead, refreshed(-hour)), Env{}, settled(0)},
		"derived, due since read": {given("active", onRead, derived, read(-2*hour)), Env{}, settled(0)},
		"stored, due since read":  {given("active", onRead, derived, read(-2*hour), (*Role).Stored), Env{}, resting(Due)},
	} {
		assert.Equal(t, row.want, row.role.Automatic(now, row.env), name)
	}
}

// A request whose process has ended is sent again. What delays that does not delay what has to be stored.
func TestLostRequestHidesNothingToStore(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	throttled, paused := Env{ThrottledUntil: in(hour)}, Env{Paused: true}
	queued := func(d time.Duration) *Role {
		r := given("queued and asked", refreshed(d))
		r.Record = r.Record.Send(in(sentFor), 0)
		return r
	}
	for name, row := range map[string]row{
		"nothing to store":                {given("sending"), Env{}, sends(Retrying)},
		"nothing to store, retry later":   {given("sending", busy(hour)), Env{}, sends(Retrying, hour)},
		"nothing to store, throttled":     {given("sending"), throttled, sends(Throttled, hour)},
		"nothing to store, paused":        {given("sending"), paused, resting(Paused)},
		"derived due time":                {given("sending", derived), Env{}, sends(Retrying)},
		"derived due time, throttled":     {given("sending", derived), throttled, settled(0)},
		"derived due time, paused":        {given("sending", derived), paused, settled(0)},
		"derived due time, retry later":   {given("sending", derived, busy(hour)), Env{}, settled(0)},
		"derived, stored since":           {given("sending", derived, (*Role).Stored), throttled, sends(Throttled, hour)},
		"settled by time, throttled":      {queued(-time.Minute), throttled, settled(0)},
		"settled by time, paused":         {queued(-time.Minute), paused, settled(0)},
		"settles before the throttle":     {queued(time.Minute), throttled, settled(time.Minute)},
		"settles while paused":            {queued(time.Minute), paused, settled(time.Minute)},
		"settles, and nothing else waits": {queued(time.Minute), Env{}, sends(RemoteQueue, time.Minute)},
	} {
		assert.Equal(t, row.want, row.role.Automatic(now, row.env), name)
	}
}

func TestStepIsReadyAtItsTime(t *testing.T) {
	t.Parallel()
	for _, do := range []Action{Settle, Send, Begin} {
		require.True(t, Step{Do: do}.Ready(now))
		require.True(t, Step{Do: do, At: now}.Ready(now))
		require.True(t, Step{Do: do, At: in(-time.Hour)}.Ready(now))
		require.False(t, Step{Do: do, At: in(time.Nanosecond)}.Ready(now))
	}
	require.False(t, Step{}.Ready(now))
	require.False(t, Step{At: in(-time.Hour)}.Ready(now))
}

func TestRoleNeedsAnotherPassword(t *testing.T) {
	t.Parallel()
	for situation, want := range map[string]struct{ without, with bool }{ // an old password
		"no password": {}, "active": {}, "asked": {}, "sending": {}, "unknown": {}, "queued": {}, "staged": {}, "partial": {},
		"slow": {}, "slow, tried": {}, "slow, drifted": {}, "discarded": {}, "drifted": {}, "drifted and asked": {}, "candidate and next": {},
		"candidate":                  {true, true},
		"partly refused":             {true, true},
		"many":                       {true, true},
		"too many":                   {true, true},
		"first sending":              {false, true},
		"first queued":               {false, true},
		"drifted, unknown":           {false, true},
		"first, too many":            {false, true},
		"drifted, too many":          {false, true},
		"drifted, too many, sending": {false, true},
	} {
		r := given(situation)
		assert.Equal(t, want.without, r.NeedsAnother(false), situation)
		assert.Equal(t, want.with, r.NeedsAnother(true), situation)
	}
}

func TestRolePredicatesFollowRecord(t *testing.T) {
	t.Parallel()
	for situation := range situations {
		r := given(situation)
		assert.Equal(t, situation == "too many", r.Unsettled(now, Env{}), situation)
		withOld := situation == "too many" || situation == "first, too many" || situation == "drifted, too many"
		assert.Equal(t, withOld, r.Unsettled(now, Env{OldPassword: true}), situation)
		sending := r.Record.Next != nil && r.Record.Next.Phase == credential.Sending
		assert.Equal(t, sending, r.Sending(), situation)
		assert.Equal(t, sending && situation != "sending overdue", r.inFlight(now), situation)
		assert.Equal(t, r.Record.QueuedSince().IsZero(), r.QueuedUntil().IsZero(), situation)
	}
	require.False(t, (*Role)(nil).Sending())
	require.True(t, given("sending").inFlight(in(sentFor)), "at the deadline")
	require.False(t, given("sending").inFlight(in(sentFor+time.Nanosecond)))
	for _, state := range credential.States() {
		require.Equal(t, state == credential.StateAccepted || state == credential.StateRestartRequired, Waits(state), state)
	}
}
