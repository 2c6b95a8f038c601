package role

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/timing"
)

// The cross product of everything that a next step depends on, and what holds for all of it.

// choice is one value of a dimension of the cross product.
type choice struct {
	name  string
	apply func(*Role)
}

func nothing(*Role) {}

// timings are the options that say when a password is due, and when it is.
var timings = []choice{
	{"by hand", nothing},
	{"period, before", due(time.Hour)},
	{"period, at", due(0)},
	{"period, after", due(-time.Hour)},
	{"schedule, before", schedule(hourly, time.Hour)},
	{"schedule, after", schedule(hourly, -time.Hour)},
	{"window open", window(open, -time.Hour)},
	{"window missed", window(missed, -3*time.Hour)},
	{"window to come", window(toCome, 3*time.Hour)},
	{"no window ever", window(never, -time.Hour)},
	{"read, before", read(-time.Minute)},
	{"read, after", read(-2 * time.Hour)},
	{"read, period later", func(r *Role) { due(24 * time.Hour)(r); read(-2 * time.Hour)(r) }},
	{"read, window missed", func(r *Role) { window(missed, 21*time.Hour)(r); read(-2 * time.Hour)(r) }},
}

// modes are the options that say who may change it, and whether storage has its due time.
var modes = []choice{
	{"auto", nothing},
	{"auto, due time not stored", unstored},
	{"on read", onRead},
	{"on read, due time not stored", func(r *Role) { onRead(r); unstored(r) }},
	{"disabled", disabled},
	{"on read, no max_read_ttl", func(r *Role) { onRead(r); maxTTL(0)(r) }},
}

func unstored(r *Role) { r.derived = true }

// retries are the last failure, and when the next attempt is.
var retries = []choice{
	{"no failure", nothing},
	{"retry at", busy(0)},
	{"retry after", busy(90 * time.Minute)},
	{"unreachable", unreachable(90 * time.Minute)},
}

// outside are the facts from outside; the first one is that nothing is in the way.
var outside = []struct {
	name string
	env  Env
}{
	{"nothing", Env{}},
	{"another revision", Env{Revision: 4}},
	{"opened since", Env{Revision: 3, OpenedAt: in(-30 * time.Second)}},
	{"frozen", Env{Frozen: true}},
	{"frozen for a while", Env{Frozen: true, FrozenUntil: in(70 * time.Minute)}},
	{"paused", Env{Paused: true}},
	{"paused for a while", Env{Paused: true, PausedUntil: in(2 * time.Minute)}},
	{"throttled", Env{ThrottledUntil: in(20 * time.Minute)}},
	{"checking", Env{CheckedAt: in(time.Second)}},
	{"margin", Env{Margin: time.Minute}},
	{"old password", Env{OldPassword: true, Margin: time.Minute}},
	{"everything", Env{
		Revision: 3, Frozen: true, FrozenUntil: in(time.Hour), Paused: true, PausedUntil: in(3 * time.Hour),
		ThrottledUntil: in(2 * time.Minute), CheckedAt: in(time.Second), Margin: 26 * time.Hour, OldPassword: true,
	}},
}

// each calls f for the cross product of the roles. role returns a new one each time.
func each(t *testing.T, f func(t *testing.T, name func() string, role func() *Role)) {
	t.Helper()
	for situation := range situations {
		t.Run(situation, func(t *testing.T) {
			t.Parallel()
			for _, when := range timings {
				for _, mode := range modes {
					for _, retry := range retries {
						f(t, func() string { return fmt.Sprintf("%s; %s; %s; %s", situation, when.name, mode.name, retry.name) },
							func() *Role { return given(situation, when.apply, mode.apply, retry.apply) })
					}
				}
			}
		})
	}
}

// ready is a time, or now if that has passed.
func ready(at time.Time) time.Time { return timing.Later(at, now) }

// With nothing in the way, Next says what the single rules say.
func TestNextAgreesWithRules(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, name func() string, role func() *Role) {
		r := role()
		r.Record.NotBefore, r.SettlesAt = time.Time{}, time.Time{} // obstacles of their own
		sentLongAgo(r)
		if !r.Record.QueuedSince().IsZero() && !r.Record.Unfinished() {
			r.SettlesAt = in(settles)
		}
		next, own := r.Next(now, Env{}), r.Automatic(now, Env{})
		c := stepCase{t, name, r, Env{}, next}
		at, waits := acts(r)
		c.require(waits == (own.Do != Rest), "the engine acts, or not")
		c.require(!waits || ready(at).Equal(ready(own.At)), "the engine acts at another time")
		c.require(readBegins(r) == (next.Do == Begin && next.OnRead && next.Ready(now)), "a read begins the change, or not")
		c.require(readWaits(r) == (next.Do == Send && next.OnRead && next.Ready(now)), "a read waits for another one, or not")
		if want, got := waitsToRead(r), r.TTL(now, Env{}); want != got {
			c.require(false, fmt.Sprintf("the ttl is %s, not %s", got, want))
		}
	})
}

// What holds for every step.
func TestEveryStepKeepsRules(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, name func() string, role func() *Role) {
		r := role()
		before := snapshot(t, r)
		for _, outside := range outside {
			c := stepCase{t, func() string { return name() + "; " + outside.name }, r, outside.env, r.Next(now, outside.env)}
			c.keepsRules()
			c.comesTrue()
			c.isAnnounced()

			c.env.Requested = true
			requested := c
			requested.name = func() string { return c.name() + "; requested" }
			requested.step = r.Next(now, c.env)
			requested.keepsRules()
			c.env.Frozen = false
			requested.movesNoDueChange(r.Next(now, c.env))
		}
		require.Equal(t, before, snapshot(t, r), "%s: it was changed by being asked", name())
	})
}

// snapshot is everything of a role, to compare.
func snapshot(t *testing.T, r *Role) string {
	t.Helper()
	stored, err := json.Marshal(r)
	require.NoError(t, err)
	return fmt.Sprint(string(stored), r.settled, r.derived, r.firstReadAt())
}

// stepCase is one step of the cross product.
type stepCase struct {
	t    *testing.T
	name func() string
	role *Role
	env  Env
	step Step
}

func (c *stepCase) require(ok bool, what string) {
	if !ok {
		require.Fail(c.t, what, "%s: %+v", c.name(), c.step)
	}
}

func (c *stepCase) keepsRules() {
	c.isWhole()
	c.isOfItsState()
	c.isNotTooEarly()
	c.isInWindow()
	c.isTakenByEngine()
}

// isWhole checks a step by itself.
func (c *stepCase) isWhole() {
	c.require(c.step.Why != "", "it has no reason")
	c.require(c.step.Do != Rest || c.step.At.IsZero() && !c.step.OnRead, "a rest has no time and no reader")
	c.require(!c.step.OnRead || c.role.Options.RotationMode == ModeOnRead, "a read takes a step without on_read")
	c.require(!c.step.OnRead || c.step.Do == Begin || c.step.Do == Send, "a read stores nothing else")
}

// isTakenByEngine checks the step that the engine takes without a request against the one that all are told.
func (c *stepCase) isTakenByEngine() {
	own := c.role.Automatic(now, c.env)
	c.require(own.Do != Begin || !own.OnRead, "the engine begins what a read begins")
	switch {
	case c.role.inFlight(now): // its process has ended, so the step has to keep the rules of an unknown outcome
		ended := *c.role
		ended.Record = ended.Record.Unresolved()
		lost := stepCase{c.t, func() string { return c.name() + "; its process has ended" }, &ended, c.env, own}
		lost.isOfItsState()
		lost.isNotTooEarly()
	case c.step.Do == Begin && c.step.OnRead:
		c.require(own.Do == Settle || own == Step{Why: c.step.Why}, "the engine takes another step than a read leaves to it")
	default:
		c.require(own == c.step, "the engine takes another step")
	}
}

// isOfItsState checks a step against the state of the passwords.
func (c *stepCase) isOfItsState() {
	rec, state := c.role.Record, c.role.Record.View(now).State
	if at := c.role.QueuedUntil(); c.role.derived || !at.IsZero() {
		if c.role.derived {
			at = now
		}
		c.require(c.step.Do != Rest && !ready(c.step.At).After(ready(at)), "what is to be stored waits")
	}
	switch c.step.Do {
	case Begin:
		c.require(!rec.Unfinished(), "a change begins while a password is open")
		c.require(!Waits(state), "a change begins while a password waits")
		c.require(!c.role.Options.Disabled, "a change begins though automation is disabled")
		due := c.role.DueTime()
		c.require(!due.IsZero() && !c.step.At.Before(due), "a change begins before it is due")
		if _, err := rec.Make("another", ReasonDue, false, now); err != nil {
			c.require(false, err.Error())
		}
	case Send:
		c.require(rec.Unfinished(), "nothing is open")
		if _, err := rec.Make("another", byRequest, false, now); c.role.NeedsAnother(c.env.OldPassword) && !c.role.inFlight(now) {
			c.require(err == nil, "no other password can be made")
		}
		c.require(c.env.Requested || !c.role.Options.Disabled, "automation is disabled")
	case Prove:
		c.require(c.role.Options.Proves(), "the role proves nothing")
	case Restart:
		c.require(c.role.Restarts.Part != "" || c.role.NextRestart() != "", "no server has to be restarted")
	case Settle:
		queued := c.role.QueuedUntil()
		c.require(c.role.derived && c.step.At.Equal(now) || c.step.At.Equal(queued), "nothing is to be stored")
	case Rest:
		c.require(!rec.Unfinished() || c.role.Unsettled(now, c.env) || c.role.Options.Disabled || c.env != Env{} || c.step.Why == Window, "an open password is left")
	}
}

// isNotTooEarly checks a step against what is in the way.
func (c *stepCase) isNotTooEarly() {
	automatic := !c.env.Requested
	if c.step.Do != Begin && c.step.Do != Send {
		return
	}
	c.require(!automatic || !c.env.Frozen || !c.env.FrozenUntil.IsZero() && !c.step.At.Before(c.env.FrozenUntil), "it is before the end of the freeze")
	if c.role.inFlight(now) {
		return // the request has been made
	}
	at := ready(c.step.At)
	c.require(!c.env.Paused || !c.env.PausedUntil.IsZero() && !at.Before(c.env.PausedUntil), "it is before the end of the pause")
	c.require(!at.Before(c.env.ThrottledUntil), "it is throttled then")
	c.require(!at.Before(c.env.CheckedAt), "the credential is being checked then")
	c.require(!at.Before(c.role.QueuedUntil()), "the remote system has a password queued then")
	if c.role.Record.Next.AwaitsForce() {
		return // nothing is sent
	}
	if before := c.role.Record.SendNotBefore(); !before.IsZero() {
		c.require(!at.Before(before.Add(c.env.Margin)), "it is within the margin")
	}
	if c.env.OldPassword && !c.role.NeedsAnother(true) {
		old := c.role.Record.Old(now)
		c.require(old.Password != nil, "there is no old password")
		c.require(!at.Before(old.NotBefore), "it is within the lock window")
	}
	if c.role.Retry.Last != nil || c.step.Do == Send {
		c.require(!at.Before(c.role.Retry.notBefore(c.env)), "it is before the retry")
	}
}

// isInWindow checks that a due change begins in a rotation_window.
func (c *stepCase) isInWindow() {
	next := c.role.Record.Next
	begun := c.step.Do == Send && !c.env.Requested && next != nil && next.Phase == credential.Unsent && next.Reason == ReasonDue
	if c.role.Options.RotationWindow == 0 || c.step.Do != Begin && !begun {
		return
	}
	at := ready(c.step.At)
	opens := map[string]int{open: 11, missed: 9, toCome: 15}[c.role.Options.RotationSchedule]
	c.require(opens > 0, "no window ever opens")
	since := at.Sub(time.Date(at.Year(), at.Month(), at.Day(), opens, 0, 0, 0, time.UTC))
	c.require(since >= 0 && since <= 2*time.Hour, "no window is open then")
}

// movesNoDueChange checks that a request moves no due change but out of the freeze. free is the step without one.
func (c *stepCase) movesNoDueChange(free Step) {
	c.require(c.step == free || c.step.Do != Begin && free.Do != Begin, "a request moves a due change")
}

// comesTrue checks that a step is ready at its time, and not earlier, as long as nothing else happens.
func (c *stepCase) comesTrue() {
	if c.step.Do == Rest || c.role.inFlight(now) { // the request may end
		return
	}
	at := ready(c.step.At)
	if then := c.role.Next(at, c.env); !then.Ready(at) || then.Do != c.step.Do {
		c.require(false, fmt.Sprintf("at its time the step is %+v", then))
	}
	for _, early := range []time.Time{now.Add(at.Sub(now) / 2), at.Add(-time.Nanosecond)} {
		if !early.Before(at) || early.Before(now) {
			continue
		}
		if then := c.role.Next(early, c.env); then.Ready(early) || !then.At.Equal(c.step.At) {
			c.require(false, fmt.Sprintf("at %s the step is %+v", early, then))
		}
	}
}

// isAnnounced checks that readers look again in time for a step that changes the password.
func (c *stepCase) isAnnounced() {
	limit := time.Duration(c.role.Options.MaxReadTTL) * time.Second
	ttl := c.role.TTL(now, c.env)
	c.require(ttl >= time.Second && (limit == 0 || ttl <= limit), fmt.Sprintf("the ttl is %s", ttl))
	restart := c.role.Record.View(now).State == credential.StateRestartRequired // which no one announces
	if c.step.Do == Rest || c.role.derived || restart {
		return
	}
	read, at := now, ready(c.step.At)
	for reads := 0; read.Before(at) && reads < 5; reads++ { // with max_read_ttl, several times
		read = read.Add(c.role.TTL(read, c.env))
	}
	late := read.Sub(at)
	c.require((late < time.Second || late <= OverdueTTL && c.step.Do == Send), fmt.Sprintf("the password is read %s late", late))
}
