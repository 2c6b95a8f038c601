package role

import (
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Action is what to do next for a role.
type Action int

const (
	// Rest: nothing, until something else happens; see Step.Why.
	Rest Action = iota
	// Settle: store what time has settled, or will have settled at the time of the step.
	Settle
	// Send: continue with the password that is being set, or resolve an unknown outcome.
	Send
	// Begin: generate a new password and send it.
	Begin
	// Prove: log in to find out which password works.
	Prove
	// Restart: restart a server, or look at the one that is being restarted.
	Restart
)

// Reason is why a step is not taken earlier, or why a role rests.
type Reason string

const (
	// ByHand: the role is rotated manually, and nothing is pending.
	ByHand Reason = "by hand"
	// Due: the password is due at that time.
	Due Reason = "due"
	// Retrying: the last attempt failed, or had to wait.
	Retrying Reason = "retry"
	// InFlight: a request is in flight, or was when the process ended.
	InFlight Reason = "in flight"
	// Window: no rotation_window is open, and the next one opens at that time. With Rest, none opens in the coming years.
	Window Reason = "window"
	// RemoteQueue: the remote system has queued the last password, which counts as in force at that time.
	RemoteQueue Reason = "remote queue"
	// AwaitingRestart: the last password comes into force when the remote system restarts.
	AwaitingRestart Reason = "restart"
	// Margin: an earlier request with another password may still be in progress.
	Margin Reason = "margin"
	// LockWindow: the remote system has to forget wrong old passwords first.
	LockWindow Reason = "lock window"
	// Throttled: the remote system is throttling the connection's credential.
	Throttled Reason = "throttled"
	// Blocked: one more refusal could make the remote system block Vault's address.
	Blocked Reason = "blocked"
	// Checking: the connection's credential was refused a moment ago and is being checked.
	Checking Reason = "checking"
	// Paused: the connection is paused.
	Paused Reason = "paused"
	// Frozen: automatic changes on the mount are frozen, or it is not known yet whether they are.
	Frozen Reason = "frozen"
	// Disabled: disable_automated_rotation is set.
	Disabled Reason = "disabled"
	// Unsettled: too many passwords have an unknown outcome. An operator has to state which one works.
	Unsettled Reason = "unsettled"
	// Restarting: the engine restarts the servers, one at a time.
	Restarting Reason = "restarting"
	// Proving: a login shows which password works.
	Proving Reason = "proving"
	// Drifted: there is no password left to present as the old one.
	Drifted Reason = "drifted"
)

// Step is the next step for a role.
type Step struct {
	Do Action
	// At is when to take the step; zero means now or, with Rest, never.
	At  time.Time
	Why Reason
	// OnRead: a read takes the step, or waits for another read that is taking it. See [Role.Automatic].
	OnRead bool
}

// Ready reports whether the step can be taken now.
func (s Step) Ready(now time.Time) bool { return s.Do != Rest && !s.At.After(now) }

// Env holds the facts from outside the role on which its next step depends. With the zero value, nothing is in the way.
type Env struct {
	// Revision is the revision of the role's connection; 0 if it is not known. OpenedAt is when the last pause of the
	// connection ended.
	Revision int
	OpenedAt time.Time
	// Paused: the connection is paused until a probe at PausedUntil; zero if until an operator acts.
	Paused      bool
	PausedUntil time.Time
	// ThrottledUntil is when the hold of all calls of the connection ends, and ReleasedAt is when a call ended the last one.
	ThrottledUntil, ReleasedAt time.Time
	// CheckedAt is when the running check of the connection's credential should have ended; zero if there is none.
	CheckedAt time.Time
	// Frozen: the mount is frozen until FrozenUntil; zero if until an operator ends it.
	Frozen      bool
	FrozenUntil time.Time
	// Margin is the minimum time between the end of an unresolved request and a request with another password.
	Margin time.Duration
	// MayRestart: the connection still allows the role's restarts.
	MayRestart bool
	// OldPassword: each change must present the current password.
	OldPassword bool
	// Requested: an operator made the request, so that what only stops automatic changes does not apply.
	Requested bool
	// ChangesOnly: the step is wanted that comes next for the password. Logins that only look at it do not count.
	ChangesOnly bool
}

// Next returns the next step for the role.
func (r *Role) Next(now time.Time, env Env) Step {
	proof, first := r.prove(now, env)
	if first && r.Restarts.Part == "" {
		return settle(r, proof, now)
	}
	restart := r.restart(now, env)
	if first { // but a server that is being restarted may be turned off
		return settle(r, earliest(proof, restart), now)
	}
	change := r.change(now, env)
	if change.Why == AwaitingRestart { // the other step says what is in the way of that
		change = restart
	}
	return settle(r, earliest(change, proof, restart), now)
}

// earliest returns the step that comes first; the first one if all of them rest.
func earliest(steps ...Step) Step {
	out := steps[0]
	for _, step := range steps[1:] {
		if step.Do != Rest && (out.Do == Rest || step.At.Before(out.At)) {
			out = step
		}
	}
	return out
}

// settle returns the step, or Settle if that is earlier.
func settle(r *Role, step Step, now time.Time) Step {
	at := r.QueuedUntil()
	if !r.settlesByTime() {
		at = time.Time{}
	}
	switch {
	case r.settled || r.derived:
		at = now
		fallthrough
	case !at.IsZero():
		if step.Do == Rest || step.At.After(at) {
			return Step{Do: Settle, At: at, Why: RemoteQueue}
		}
	}
	return step
}

// Automatic returns the next step that the engine takes without a request. It does not wait for a read to Begin a rotation,
// because the next read may be far away. If a request is in flight, its process has ended, so its outcome is unknown.
func (r *Role) Automatic(now time.Time, env Env) Step {
	if r.inFlight(now) {
		ended := *r
		ended.Record = r.Record.Unresolved()
		return ended.Next(now, env)
	}
	step := r.Next(now, env)
	if step.Do != Begin || !step.OnRead {
		return step
	}
	proof, _ := r.prove(now, env)
	return settle(r, earliest(Step{Why: step.Why}, proof, r.restart(now, env)), now)
}

// MaySend returns when a request may be sent for the role, if one is wanted now. It considers only what is in the way of
// the request itself.
func (r *Role) MaySend(now time.Time, env Env) Step {
	env.Requested = true
	return r.obstacles(Step{Do: Send, Why: Due}, now, env)
}

// change is Next without Settle.
func (r *Role) change(now time.Time, env Env) Step {
	if r.Record.Unfinished() {
		return r.send(now, env)
	}
	return r.begin(now, env)
}

// send returns when the engine continues with a pending password or outcome.
func (r *Role) send(now time.Time, env Env) Step {
	switch {
	case r.Unsettled(now, env):
		return Step{Why: Unsettled}
	case r.Options.Disabled && !env.Requested:
		return Step{Why: Disabled}
	}
	step, retry := Step{Do: Send, Why: Retrying}, r.Retry.notBefore(env)
	if r.inFlight(now) {
		step.At, step.Why = retry, InFlight
		due := r.DueTime()
		step.OnRead = r.Options.RotationMode == ModeOnRead && r.Retry.Last == nil && !due.IsZero() && !now.Before(due)
		if env.Requested || !env.Frozen { // what delays the next request does not delay this one
			return step
		}
	}
	next := r.Record.Next // a due rotation that the remote system has not seen needs a window
	windowed := next != nil && next.Phase == credential.Unsent && next.Reason == ReasonDue && !env.Requested
	return r.attempt(step, retry, windowed, now, env)
}

// begin returns when a due rotation begins.
func (r *Role) begin(now time.Time, env Env) Step {
	due, state := r.DueTime(), r.Record.View(now).State
	switch {
	case state == credential.StateAccepted:
		return Step{Why: RemoteQueue}
	case state == credential.StateRestartRequired:
		return Step{Why: AwaitingRestart}
	case due.IsZero():
		return Step{Why: ByHand}
	case r.Options.Disabled:
		return Step{Why: Disabled}
	case r.Unsettled(now, env):
		return Step{Why: Unsettled}
	}
	step := Step{Do: Begin, At: due, Why: Due, OnRead: r.Options.RotationMode == ModeOnRead}
	var retry time.Time
	if r.Retry.Last != nil {
		retry = r.Retry.notBefore(env)
	}
	return r.attempt(step, retry, true, now, env)
}

// attempt delays a step until it may be retried and nothing is in its way. If windowed, it must be in a rotation_window.
func (r *Role) attempt(step Step, retry time.Time, windowed bool, now time.Time, env Env) Step {
	if windowed {
		if step = r.Options.window(step, Window, now); step.Do == Rest {
			return step
		}
	}
	step.delay(now, retry, Retrying)
	if step = r.obstacles(step, now, env); windowed && step.Do != Rest { // the window may have closed by then
		return r.Options.window(step, step.Why, now)
	}
	return step
}

// window delays a step to the next rotation_window.
func (o Options) window(step Step, why Reason, now time.Time) Step {
	at, ok := o.inWindow(step.At, now)
	if !ok {
		return Step{Why: Window}
	}
	if at.After(timing.Later(step.At, now)) {
		step.delay(now, at, why)
	}
	return step
}

// obstacles delays a step until nothing is in the way of its request.
func (r *Role) obstacles(step Step, now time.Time, env Env) Step {
	if !env.Requested && env.Frozen {
		if env.FrozenUntil.IsZero() {
			return Step{Why: Frozen}
		}
		step.delay(now, env.FrozenUntil, Frozen)
	}
	if env.Paused {
		if env.PausedUntil.IsZero() {
			return Step{Why: Paused}
		}
		step.delay(now, env.PausedUntil, Paused)
	}
	step.delay(now, env.ThrottledUntil, Throttled)
	step.delay(now, env.CheckedAt, Checking)
	step.delay(now, r.QueuedUntil(), RemoteQueue)
	if r.Record.Next.AwaitsForce() { // nothing is sent
		return step
	}
	rec := r.Record
	if r.NeedsAnother(env.OldPassword) {
		rec = rec.GiveUp() // as Make does
	}
	if at := rec.SendNotBefore(); !at.IsZero() {
		step.delay(now, at.Add(env.Margin), Margin)
	}
	if env.OldPassword {
		old := rec.Old(now)
		if old.Password == nil {
			return Step{Why: Drifted}
		}
		step.delay(now, old.NotBefore, LockWindow)
	}
	return step
}

// delay moves the step to a later time, if that is in the future.
func (s *Step) delay(now, at time.Time, why Reason) {
	if at.After(s.At) && at.After(now) {
		s.At, s.Why = at, why
	}
}

// NeedsAnother reports whether the engine has to generate a new password before it can continue: there is none, or the
// remote system may already have the next one and then expects it as the old password.
func (r *Role) NeedsAnother(oldPassword bool) bool {
	rec := r.Record
	if rec.Next == nil {
		return rec.Unfinished()
	}
	return oldPassword && rec.Next.Exposed() && !rec.Next.AwaitsForce() && !rec.Next.Unproved() && (rec.Current == nil || rec.Current.Refused)
}

// ReasonDue is the reason, shown in the history, of a password that was generated because the previous one was due.
const ReasonDue = "it was due"
