package rotation

import (
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
)

// reasonDue is why a password was made that nobody asked for; the history shows it.
const reasonDue = "it was due"

// dueTime is when the password in force is due to be changed: by its schedule, or since it was read. Zero: by hand only.
func (r *Role) dueTime() time.Time {
	due := r.Due
	if r.Options.RotateAfterRead > 0 && !r.readAt.IsZero() {
		if read := r.readAt.Add(seconds(r.Options.RotateAfterRead)); due.IsZero() || read.Before(due) {
			due = read
		}
	}
	return due
}

// begins is when a change may begin because the password is due; false: not before something else happens. Whether the
// engine begins it, or a read, rotation_mode says.
func (r *Role) begins(now time.Time) (time.Time, bool) {
	due := r.dueTime()
	if due.IsZero() || r.Options.Disabled || r.Record.Unfinished() || r.held(r.Record.View(now)) {
		return time.Time{}, false
	}
	if r.Retry.Last != nil {
		due = later(due, r.Retry.NextAttempt)
	}
	return r.Options.inWindow(due, now)
}

// startsAt is when the engine begins a change by itself because the password is due; false: not before something else
// happens.
func (r *Role) startsAt(now time.Time) (time.Time, bool) {
	if r.Options.RotationMode == ModeOnRead {
		return time.Time{}, false
	}
	return r.begins(now)
}

// startsOnRead tells whether a read at this time begins a change.
func (r *Role) startsOnRead(now time.Time) bool {
	if r.Options.RotationMode != ModeOnRead {
		return false
	}
	at, ok := r.begins(now)
	return ok && !at.After(now)
}

// changesOnRead tells whether a read at this time is to wait for a change that another read has begun a moment ago.
func (r *Role) changesOnRead(now time.Time) bool {
	next := r.Record.Next
	due := r.dueTime()
	return r.Options.RotationMode == ModeOnRead && !due.IsZero() && !now.Before(due) && r.Retry.Last == nil &&
		next != nil && next.Phase == credential.Sending && !now.After(next.SentUntil)
}

// resumesAt is when the engine goes on with what it has begun or was asked for; false: it does not.
func (r *Role) resumesAt(now time.Time) (time.Time, bool) {
	if !r.Record.Unfinished() || r.Options.Disabled || r.stuck() {
		return time.Time{}, false
	}
	if next := r.Record.Next; next != nil && next.Phase == credential.Unsent && next.Reason == reasonDue {
		return r.Options.inWindow(r.Retry.NextAttempt, now) // nothing has begun on the remote system
	}
	return r.Retry.NextAttempt, true
}

// nextAction is when the engine has to act on the role by itself; false: never.
func (r *Role) nextAction(now time.Time) (time.Time, bool) {
	at := r.queued()
	waits := !at.IsZero()
	if r.derived {
		at, waits = now, true
	}
	for _, action := range []func(time.Time) (time.Time, bool){r.resumesAt, r.startsAt} {
		if next, ok := action(now); ok && (!waits || next.Before(at)) {
			at, waits = next, true
		}
	}
	return at, waits
}

// derive works out the due time of a role that was stored without one, from its last rotation. That never makes it due.
func (r *Role) derive(now time.Time) {
	if r.Due.IsZero() && r.Record.Current != nil && r.Options.timing() != (Options{}).timing() {
		r.Due = r.Options.dueAgain(r.Record.Current.Since, now)
		r.derived = !r.Due.IsZero()
	}
}

// dueAgain is the first time after now at which a password is due that came into force then.
func (o Options) dueAgain(since, now time.Time) time.Time {
	due := o.dueAfter(since)
	if due.IsZero() || due.After(now) {
		return due
	}
	if o.RotationPeriod > 0 {
		period := max(minPeriod, seconds(o.RotationPeriod))
		return now.Add(period - now.Sub(due)%period)
	}
	return o.dueAfter(now)
}

// inWindow is when a change that is due then may begin, seen from now: at that time, if a window is open then, else when
// the next one opens. Without windows there is always one. False: none opens in the next years.
func (o Options) inWindow(due, now time.Time) (time.Time, bool) {
	if o.RotationWindow <= 0 || o.RotationSchedule == "" {
		return due, true
	}
	next, err := parseSchedule(o.RotationSchedule)
	if err != nil { // only damaged storage has one that cannot be read
		return time.Time{}, false
	}
	at := later(due, now).UTC()
	opens := next(at.Add(-seconds(o.RotationWindow) - time.Nanosecond)) // the first that may still be open
	switch {
	case opens.IsZero():
		return time.Time{}, false
	case opens.After(at):
		return opens, true
	default:
		return at, true
	}
}

// missed tells when the role was to be changed, if its window has passed since.
func (r *Role) missed(now time.Time) (due time.Time, yes bool) {
	due = r.dueTime()
	if due.IsZero() || !now.After(due) {
		return due, false
	}
	at, ok := r.Options.inWindow(due, now)
	return due, ok && at.After(now)
}
