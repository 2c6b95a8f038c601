package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// A due change begins inside a window only. What was begun on the remote system, and what an operator asks for, does not
// wait for one.
func TestDueChangeBeginsInsideWindow(t *testing.T) {
	t.Parallel()
	const tomorrow = 24 * time.Hour
	check(t, map[string]row{
		"open":                    {given("active", window(open, -time.Hour)), Env{}, begins(Due, -time.Hour)},
		"open, due now":           {given("active", window(open, 0)), Env{}, begins(Due, 0)},
		"missed":                  {given("active", window(missed, -3*time.Hour)), Env{}, begins(Window, tomorrow-3*time.Hour)},
		"missed days ago":         {given("active", window(open, -73*time.Hour)), Env{}, begins(Due, -73*time.Hour)},
		"to come":                 {given("active", window(toCome, 3*time.Hour)), Env{}, begins(Due, 3*time.Hour)},
		"due between two windows": {given("active", window(toCome, time.Hour)), Env{}, begins(Window, 3*time.Hour)},
		"read between two windows": {
			given("active", window(toCome, 27*time.Hour), read(-2*time.Hour)), Env{}, begins(Window, 3*time.Hour),
		},
		"none opens":               {given("active", window(never, -time.Hour)), Env{}, resting(Window)},
		"none opens, due to come":  {given("active", window(never, time.Hour)), Env{}, resting(Window)},
		"no window":                {given("active", schedule(missed, -3*time.Hour)), Env{}, begins(Due, -3*time.Hour)},
		"no schedule":              {given("active", due(-3*time.Hour)), Env{}, begins(Due, -3*time.Hour)},
		"damaged schedule":         {given("active", window("TZ=", -time.Hour)), Env{}, resting(Window)},
		"by a read, open":          {given("active", window(open, -time.Hour), onRead), Env{}, byRead(begins(Due, -time.Hour))},
		"by a read, missed":        {given("active", window(missed, -3*time.Hour), onRead), Env{}, byRead(begins(Window, tomorrow-3*time.Hour))},
		"begun, open":              {given("begun", window(open, -time.Hour)), Env{}, sends(Retrying)},
		"begun, missed":            {given("begun", window(missed, -3*time.Hour)), Env{}, sends(Window, tomorrow-3*time.Hour)},
		"begun, none opens":        {given("begun", window(never, -time.Hour)), Env{}, resting(Window)},
		"begun, missed, requested": {given("begun", window(missed, -3*time.Hour)), Env{Requested: true}, sends(Retrying)},
		"asked, missed":            {given("asked", window(missed, -3*time.Hour)), Env{}, sends(Retrying)},
		"sending, missed":          {given("sending", window(missed, -3*time.Hour)), Env{}, sends(InFlight)},
		"unknown, missed":          {given("unknown", window(missed, -3*time.Hour)), Env{}, sends(Retrying)},
		"partial, missed":          {given("partial", window(missed, -3*time.Hour)), Env{}, sends(Retrying)},
		"candidate, missed":        {given("candidate", window(missed, -3*time.Hour)), Env{}, sends(Margin, sentFor)},
	})
}

// A step that cannot be taken before the end of the window waits for the next one. Its reason is still what delays it.
func TestDelayBeyondWindowEndsInNextOne(t *testing.T) {
	t.Parallel()
	const openAgain = 23 * time.Hour
	check(t, map[string]row{
		"retry inside":           {given("active", window(open, -time.Hour), busy(30*time.Minute)), Env{}, begins(Retrying, 30*time.Minute)},
		"retry at the end":       {given("active", window(open, -time.Hour), busy(time.Hour)), Env{}, begins(Retrying, time.Hour)},
		"retry after the end":    {given("active", window(open, -time.Hour), busy(time.Hour+time.Second)), Env{}, begins(Retrying, openAgain)},
		"retry in a later one":   {given("active", window(open, -time.Hour), busy(openAgain+time.Minute)), Env{}, begins(Retrying, openAgain+time.Minute)},
		"retry before the next":  {given("active", window(missed, -3*time.Hour), busy(time.Minute)), Env{}, begins(Window, 21*time.Hour)},
		"begun, retry inside":    {given("begun", window(open, -time.Hour), busy(30*time.Minute)), Env{}, sends(Retrying, 30*time.Minute)},
		"begun, retry after":     {given("begun", window(open, -time.Hour), busy(2*time.Hour)), Env{}, sends(Retrying, openAgain)},
		"unknown, retry after":   {given("unknown", window(open, -time.Hour), busy(2*time.Hour)), Env{}, sends(Retrying, 2*time.Hour)},
		"frozen inside":          {given("active", window(open, -time.Hour)), Env{Frozen: true, FrozenUntil: in(time.Minute)}, begins(Frozen, time.Minute)},
		"frozen beyond":          {given("active", window(open, -time.Hour)), Env{Frozen: true, FrozenUntil: in(2 * time.Hour)}, begins(Frozen, openAgain)},
		"frozen without end":     {given("active", window(open, -time.Hour)), Env{Frozen: true}, resting(Frozen)},
		"paused beyond":          {given("active", window(open, -time.Hour)), Env{Paused: true, PausedUntil: in(2 * time.Hour)}, begins(Paused, openAgain)},
		"throttled beyond":       {given("begun", window(open, -time.Hour)), Env{ThrottledUntil: in(2 * time.Hour)}, sends(Throttled, openAgain)},
		"throttled, requested":   {given("begun", window(open, -time.Hour)), Env{ThrottledUntil: in(2 * time.Hour), Requested: true}, sends(Throttled, 2*time.Hour)},
		"throttled to the next":  {given("active", window(missed, -3*time.Hour)), Env{ThrottledUntil: in(21 * time.Hour)}, begins(Window, 21*time.Hour)},
		"throttled past that":    {given("active", window(missed, -3*time.Hour)), Env{ThrottledUntil: in(22 * time.Hour)}, begins(Throttled, 22*time.Hour)},
		"throttled past its end": {given("active", window(missed, -3*time.Hour)), Env{ThrottledUntil: in(24 * time.Hour)}, begins(Throttled, 45*time.Hour)},
	})
}

// A process ended while a request was running, and the failure before it was mended. The account's lock window keeps the
// request from being sent again, so the engine must not look at the role again and again until then.
func TestInterruptedRequestWaitsForLockWindow(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rec := credential.Record{}.Adopt("oldpassword", "adopted", at.Add(-time.Hour))
	rec, err := rec.Make("newpassword", "rotated by request", false, at)
	require.NoError(t, err)
	rec = rec.Send(at.Add(time.Minute), 1)
	rec.OldTries = credential.OldTries{Count: 2, Until: at.Add(5 * time.Minute)}
	r := Role{Name: "r", Options: Defaults(), Record: rec, Retry: Retry{
		Attempts: 3, NextAttempt: at.Add(time.Hour), Last: &Failure{Class: provider.Unreachable, Revision: 1, Time: at.Add(-time.Second)},
	}}
	step := r.Automatic(at, Env{Revision: 2, OldPassword: true})
	require.Equal(t, Step{Do: Send, At: at.Add(5 * time.Minute), Why: LockWindow}, step)
}
