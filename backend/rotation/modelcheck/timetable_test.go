package modelcheck

import (
	"fmt"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// timetable is a rotation_schedule as the model computes it: it matches at multiples of every since midnight UTC, and a
// change may begin within window after a match. Without a window it may begin at any later time.
type timetable struct {
	cron          string
	every, window time.Duration
}

var timetables = []timetable{
	{cron: "*/10 * * * *", every: 10 * time.Minute},
	{cron: "0 */2 * * *", every: 2 * time.Hour, window: time.Hour},
	{cron: "0 */3 * * *", every: 3 * time.Hour, window: time.Hour},
}

func timetableOf(o role.Options) timetable {
	i := slices.IndexFunc(timetables, func(t timetable) bool { return t.cron == o.RotationSchedule })
	if i < 0 {
		return timetable{}
	}
	return timetables[i]
}

// next returns the first match after t.
func (tt timetable) next(t time.Time) time.Time { return t.Truncate(tt.every).Add(tt.every) }

// windowOpen reports whether a due change of a role with these options may begin at t.
func windowOpen(o role.Options, t time.Time) bool {
	tt := timetableOf(o)
	return tt.window == 0 || t.Sub(t.Truncate(tt.every)) <= tt.window
}

// dueAfter returns when a password that came into force at t is due; zero: never.
func dueAfter(o role.Options, t time.Time) time.Time {
	switch {
	case o.RotationPeriod > 0:
		return t.Add(time.Duration(o.RotationPeriod) * time.Second)
	case o.RotationSchedule != "":
		return timetableOf(o).next(t)
	default:
		return time.Time{}
	}
}

// drawTiming draws when a role is due: never, after a period, by a schedule, or after a read.
func (w *world) drawTiming(o *role.Options) {
	noTiming(o)
	switch n := w.rng.IntN(20); {
	case n < 8:
	case n < 12:
		o.RotationPeriod = []int{90, 300, 1800, 4 * 3600}[w.rng.IntN(4)] // longer than any queue takes
	case n < 18:
		tt := timetables[w.rng.IntN(len(timetables))]
		o.RotationSchedule, o.RotationWindow = tt.cron, int(tt.window.Seconds())
	default:
		o.RotateAfterRead = 120
	}
	if w.chance(30) {
		o.RotationMode = role.ModeOnRead
	}
}

// noTiming leaves a role to be changed by request only.
func noTiming(o *role.Options) {
	o.RotationMode, o.RotationPeriod, o.RotationSchedule, o.RotationWindow, o.RotateAfterRead = role.ModeAuto, 0, "", 0, 0
}

// timingOf is what the story calls a role's timing.
func timingOf(o role.Options) string {
	text := "no schedule"
	switch {
	case o.RotationPeriod > 0:
		text = fmt.Sprintf("rotation_period %d", o.RotationPeriod)
	case o.RotationSchedule != "":
		text = fmt.Sprintf("rotation_schedule %s, window %d", o.RotationSchedule, o.RotationWindow)
	case o.RotateAfterRead > 0:
		text = fmt.Sprintf("rotate_after_read %d", o.RotateAfterRead)
	}
	return text + ", " + o.RotationMode
}

// due returns when the role is due, according to storage; zero: never. w.mu is held.
func (acc *account) due(r *role.Role) time.Time {
	due, c := r.Due, r.Record.Current
	if rotates := r.Options.Proves() && r.Options.OnDrift == role.DriftRotate; rotates && c != nil && c.Refused && !c.Basis.Assumed() && !r.Record.Exposed() {
		due = r.Proofs.Time
	}
	if c == nil || r.Options.RotateAfterRead == 0 {
		return due
	}
	first := entry[store.FirstRead](acc.w, store.ReadPrefix+acc.role)
	if first == nil || !first.Of(&c.Password) {
		return due
	}
	read := first.Time.Add(time.Duration(r.Options.RotateAfterRead) * time.Second)
	if due.IsZero() || read.Before(due) {
		return read
	}
	return due
}

// requestTime is longer than any request takes.
const requestTime = 3 * time.Minute

// dueWithin reports whether the engine may change the password automatically within d. w.mu is held.
func (acc *account) dueWithin(r *role.Role, d time.Duration) bool {
	due := acc.due(r)
	return !due.IsZero() && !due.After(acc.w.now().Add(d))
}

// checkDue is T1, for a role that was just stored. w.mu is held.
func (acc *account) checkDue(before, after *role.Role, now time.Time) {
	o, c := after.Options, after.Record.Current
	timed := o.RotationPeriod > 0 || o.RotationSchedule != ""
	switch {
	case timed && c != nil && after.Due.IsZero():
		acc.w.fail("T1: %s has a schedule and a password, and no due time", acc.role)
	case !timed && c != nil && !after.Due.IsZero():
		acc.w.fail("T1: %s has no schedule, and is due at %s", acc.role, after.Due)
	case !timed || c == nil || before != nil && before.Due.Equal(after.Due):
	case after.Due.After(dueAfter(o, now)):
		acc.w.fail("T1: %s gets the due time %s at %s, more than an interval later", acc.role, after.Due, now)
	}
	if !timed || c == nil || before == nil || before.Record.Current == nil || before.Record.Current.Version == c.Version {
		return
	}
	if !after.Due.Equal(dueAfter(o, now)) && !after.Due.Equal(dueAfter(o, c.Since)) {
		acc.w.fail("T1: %s has a password in force since %s, and is due at %s", acc.role, c.Since, after.Due)
	}
}
