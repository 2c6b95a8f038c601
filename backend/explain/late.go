package explain

import (
	"cmp"
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/role"
)

// lateness explains why a rotation that is due has not been made; "" if none is due.
func (f Facts) lateness() string {
	r, due, why := f.Role, f.Role.DueTime(), f.Step.Why
	if due.IsZero() || !f.Now.After(due) {
		return ""
	}
	since := " A rotation has been due since " + Time(due)
	switch {
	case f.NotAllowed != nil, f.stuck() != nil: // the rest of the reason says why
		return since + "."
	case role.Waits(f.View.State):
		return fmt.Sprintf("%s; it starts when version %d is in force.", since, NextVersion(r, f.View))
	case why == role.Disabled:
		return since + ", but disable_automated_rotation is set."
	case why == role.Frozen && f.Freeze != nil:
		return fmt.Sprintf("%s, but %s.", since, Freeze(f.Freeze))
	case why == role.Window && f.Step.Do == role.Rest:
		return since + ", but rotation_schedule has no further date in the coming years."
	case why == role.Window:
		return fmt.Sprintf("%s, but missed its rotation_window of %d seconds; the next window opens at %s.", since, r.Options.RotationWindow, Time(f.Step.At))
	case r.Record.Unfinished(), why == role.Paused, why == role.Drifted: // the rest of the reason says why
		return since + "."
	case f.Step.OnRead && f.Step.At.After(f.Now):
		return fmt.Sprintf("%s; the first read of creds/%s after %s triggers it.", since, r.Name, Time(f.Step.At))
	case f.Step.OnRead:
		return fmt.Sprintf("%s; the next read of creds/%s triggers it.", since, r.Name)
	case r.Retry.Last != nil:
		return fmt.Sprintf("%s. The last attempt failed: %s.", since, r.Retry.Last)
	case why == role.Due:
		return since + "; it is waiting for its turn."
	default:
		return fmt.Sprintf("%s, but %s.", since, f.obstacle(why))
	}
}

// obstacle is Obstacle with the facts about a hold.
func (f Facts) obstacle(why role.Reason) string {
	if why == role.Throttled {
		return Held(f.Hold)
	}
	return Obstacle(why)
}

// Obstacle says what keeps a request from being made, as a clause.
func Obstacle(why role.Reason) string {
	switch why {
	case role.Throttled:
		return Held(connection.Hold{})
	case role.Blocked:
		return "the remote system refused calls from this mount with this or other credentials and blocks Vault's address after too many of them, and it is not known whether this credential works: to try it now, write it to the connection with force=true; otherwise, the refusals must expire first"
	case role.Checking:
		return "the connection's credential was refused a moment ago and is being checked"
	case role.RemoteQueue:
		return "the remote system has queued the last password, which must take effect before another one is sent"
	case role.Margin:
		return "an earlier request with another password may still be running on the remote system"
	case role.LockWindow:
		return "the remote system locks the account after too many wrong passwords, so the last wrong attempts must expire first"
	case role.Paused:
		return "the connection is paused"
	case role.Frozen:
		return "the engine does not know yet whether automatic changes on this mount are frozen"
	default:
		return "another request goes first"
	}
}

// nextAttempt says when the engine tries again, or what has to happen before that, as a clause. Requests until then get the
// same answer, so it says when the last attempt was, unless this very request made it.
func (f Facts) nextAttempt() string {
	last := f.lastAttempt()
	if last.IsZero() || !f.retries() || f.settlesFirst() {
		return f.next()
	}
	return fmt.Sprintf("%s (the last one was at %s)", f.next(), Time(last))
}

// next is nextAttempt without the last attempt.
func (f Facts) next() string {
	r, step := f.Role, f.Step
	switch {
	case f.Unsettled:
		return findOut(r)
	case step.Why == role.Drifted:
		return f.currentPassword()
	case step.Do == role.Rest && step.Why == role.Disabled && r.Record.Unfinished():
		text := "it is not retried automatically because disable_automated_rotation is set: repeat the request"
		if r.Retry.NextAttempt.After(f.Now) {
			text += " after " + Time(r.Retry.NextAttempt)
		}
		return text
	case step.Why == role.Frozen && f.Freeze == nil:
		return "it is retried once the engine knows whether automatic changes on this mount are frozen"
	case step.Why == role.Frozen && f.Freeze.Until.IsZero():
		return "it is not retried automatically because " + Freeze(f.Freeze) + "; " + unfreeze(f.Freeze)
	case step.Why == role.Frozen:
		return fmt.Sprintf("the next attempt is at %s, when the freeze of this mount ends (%s); %s", Time(f.Freeze.Until), f.Freeze.Reason, unfreeze(f.Freeze))
	case f.Pause != nil:
		return NowPaused(r.Connection, f.Pause)
	case f.settlesFirst():
		return "it is sent automatically after " + Time(latest(step.At, f.Now)) + ", when the last password counts as in force"
	case step.OnRead && step.Do == role.Begin:
		return fmt.Sprintf("the first read of creds/%s after %s retries it", r.Name, Time(latest(step.At, f.Now)))
	case step.Do == role.Send, step.Do == role.Begin:
		return "the next attempt is at " + Time(latest(step.At, f.Now))
	case step.Do == role.Restart && r.Record.Unfinished():
		return "the next attempt follows the restart of server " + cmp.Or(r.Restarts.Part, r.NextRestart())
	case step.Do == role.Prove:
		return fmt.Sprintf("the engine logs in at %s to find out which password works", Time(latest(step.At, f.Now)))
	case r.Retry.NextAttempt.After(f.Now):
		return "it is not retried automatically: repeat the request after " + Time(r.Retry.NextAttempt)
	default:
		return "it is not retried automatically: repeat the request"
	}
}

// NextAttempt returns when the engine takes the role's next step without a request; zero if it takes none.
func (f Facts) NextAttempt() time.Time {
	switch onRead := f.Step.Do == role.Begin && f.Step.OnRead; {
	case f.NotAllowed != nil, f.Step.Do == role.Rest, onRead:
		return time.Time{}
	case f.Stuck != nil && !f.Stuck.Next.IsZero():
		return latest(f.Stuck.Next, f.Now)
	default:
		return latest(f.Step.At, f.Now)
	}
}

// retries reports whether the engine tries again without an operator.
func (f Facts) retries() bool {
	return (f.Step.Do == role.Send || f.Step.Do == role.Begin && !f.Step.OnRead) && f.Step.Why != role.Frozen && f.Pause == nil || f.settlesFirst()
}

// settlesFirst reports whether the next password is sent automatically once a queued one counts as in force.
func (f Facts) settlesFirst() bool {
	return f.Step.Do == role.Settle && f.Role.Record.Unfinished() && !f.Role.Options.Disabled && f.Freeze == nil && f.Pause == nil && !f.Unsettled
}

// lastAttempt returns when the last attempt was; zero if it was just now.
func (f Facts) lastAttempt() time.Time {
	last := f.Role.Retry.Last
	if last == nil || f.Now.Sub(last.Time) < time.Second {
		return time.Time{}
	}
	return last.Time
}

// Freeze says that the mount is frozen, until when and why, as a clause.
func Freeze(f *role.Freeze) string {
	end := "until an operator ends the freeze"
	if !f.Until.IsZero() {
		end = "until " + Time(f.Until)
	}
	return fmt.Sprintf("automatic changes on this mount are frozen %s (since %s: %s)", end, Time(f.Since), f.Reason)
}

// unfreeze says how to end a freeze, as a clause. Only the engine begins one without an end, when this Vault may be a copy.
func unfreeze(f *role.Freeze) string {
	const command = "vault delete MOUNT/freeze"
	if f.Until.IsZero() {
		return "if this Vault is not a copy of another one, end the freeze with: " + command
	}
	return "to end the freeze now: " + command
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
