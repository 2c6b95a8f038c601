package role

import (
	"testing"
	"time"
)

// With rotation_mode=on_read, a read begins a change that is due, and waits for one that is under way.
func TestReadTakesDueStep(t *testing.T) {
	t.Parallel()
	const ago = -time.Hour
	check(t, map[string]row{
		"not due":                       {given("active", due(time.Hour), onRead), Env{}, byRead(begins(Due, time.Hour))},
		"due now":                       {given("active", due(0), onRead), Env{}, byRead(begins(Due, 0))},
		"due":                           {given("active", due(ago), onRead), Env{}, byRead(begins(Due, ago))},
		"due since a read":              {given("active", read(-2*time.Hour), onRead), Env{}, byRead(begins(Due, ago))},
		"due, no password":              {given("no password", due(ago), onRead), Env{}, byRead(begins(Due, ago))},
		"by hand":                       {given("active", onRead), Env{}, resting(ByHand)},
		"disabled":                      {given("active", due(ago), onRead, disabled), Env{}, resting(Disabled)},
		"frozen":                        {given("active", due(ago), onRead), Env{Frozen: true}, resting(Frozen)},
		"frozen for a while":            {given("active", due(ago), onRead), Env{Frozen: true, FrozenUntil: in(time.Hour)}, byRead(begins(Frozen, time.Hour))},
		"paused":                        {given("active", due(ago), onRead), Env{Paused: true}, resting(Paused)},
		"throttled":                     {given("active", due(ago), onRead), Env{ThrottledUntil: in(time.Hour)}, byRead(begins(Throttled, time.Hour))},
		"failed, retry later":           {given("active", due(ago), onRead, busy(time.Minute)), Env{}, byRead(begins(Retrying, time.Minute))},
		"failed, retry now":             {given("active", due(ago), onRead, busy(0)), Env{}, byRead(begins(Due, ago))},
		"failed, mended":                {given("active", due(ago), onRead, unreachable(time.Hour)), Env{Revision: 4}, byRead(begins(Due, ago))},
		"staged":                        {given("staged", due(ago), onRead), Env{}, resting(AwaitingRestart)},
		"queued":                        {given("queued", due(ago), onRead), Env{}, settled(settles)},
		"begun":                         {given("begun", due(ago), onRead), Env{}, sends(Retrying)},
		"unknown":                       {given("unknown", due(ago), onRead), Env{}, sends(Retrying)},
		"in flight":                     {given("sending", due(ago), onRead), Env{}, byRead(sends(InFlight))},
		"in flight, due now":            {given("sending", due(0), onRead), Env{}, byRead(sends(InFlight))},
		"in flight, again":              {given("sending unknown", due(ago), onRead), Env{}, byRead(sends(InFlight))},
		"in flight, throttled":          {given("sending", due(ago), onRead), Env{ThrottledUntil: in(time.Hour)}, byRead(sends(InFlight))},
		"in flight, paused":             {given("sending", due(ago), onRead), Env{Paused: true}, byRead(sends(InFlight))},
		"in flight, frozen":             {given("sending", due(ago), onRead), Env{Frozen: true}, resting(Frozen)},
		"in flight, frozen for a while": {given("sending", due(ago), onRead), Env{Frozen: true, FrozenUntil: in(time.Hour)}, byRead(sends(Frozen, time.Hour))},
		"in flight, not due":            {given("sending", due(time.Hour), onRead), Env{}, sends(InFlight)},
		"in flight, by hand":            {given("sending", onRead), Env{}, sends(InFlight)},
		"in flight after failure":       {given("sending", due(ago), onRead, busy(0)), Env{}, sends(InFlight, 0)},
		"in flight, disabled":           {given("sending", due(ago), onRead, disabled), Env{}, resting(Disabled)},
		"in flight, automatic":          {given("sending", due(ago)), Env{}, sends(InFlight)},
		"in flight, deadline over":      {given("sending overdue", due(ago), onRead), Env{}, sends(Retrying)},
	})
}
