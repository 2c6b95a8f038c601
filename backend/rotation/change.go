package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
)

// maxRejected is how many generated passwords the remote system may refuse in one go before the engine backs off.
const maxRejected = 3

// change is one piece of work on a role, made under the role's lock.
//
// Its steps, and what a crash after each of them leaves in storage:
//
//	make and mark   the new password is stored as being sent: it may be in force or not, the engine sends it again
//	push            the same
//	settle          the outcome is stored: nothing is left to do, or a retry is due at a stored time
type change struct {
	e       *Engine
	s       store
	l       *live
	role    *Role
	trigger string
	// old is the old password presented with the request under way.
	old credential.Old
	// waiting is the context of the request that waits for this; nil: none does, and this waits for nothing.
	waiting context.Context
	// commitment is the request's; nil: no request can give up.
	commitment *commitment
	// waits: the role waits for something to pass, and no request was made.
	waits bool
	// unstored: an outcome is in the record that is not in storage yet.
	unstored bool
	// loaded is the role as storage has it, until something is stored; nil: a new role, which is removed again.
	loaded *Role
	// events are sent once the outcome is stored.
	events []string
	// rejected counts the generated passwords that the remote system refused.
	rejected int
}

// newChange begins work on a role as it was read from storage.
func newChange(e *Engine, s store, l *live, role *Role, trigger string) *change {
	loaded := *role
	return &change{e: e, s: s, l: l, role: role, trigger: trigger, loaded: &loaded}
}

// drive works on the role's Next until it rests or has to wait. What the remote system said is in role.Retry
// afterwards; an error means that no request was made, or that its outcome could not be stored.
func (c *change) drive(ctx context.Context) error {
	for again := true; again; {
		var err error
		if again, err = c.step(ctx); err != nil {
			if !c.unstored {
				return err
			}
			if lost := c.conclude(ctx); lost != nil { // an outcome that was to be stored with the next request
				return lost
			}
			if errors.Is(err, errLater) || errors.Is(err, errGivenUp) { // the outcome says how it stands, and the engine goes on
				return nil
			}
			return err
		}
	}
	return nil
}

// step makes one request, if its time has come, and settles its outcome.
func (c *change) step(ctx context.Context) (again bool, err error) {
	if c.needsAnother() {
		if err := c.make(ctx, "", "to settle an unknown outcome"); err != nil {
			return false, err
		}
	}
	began := c.e.clock()
	result, err := c.request(ctx)
	if err != nil || c.waits {
		return false, err
	}
	return c.settle(ctx, result, began)
}

// request makes one request, in one of the connection's slots. Where its time has not come, the role waits.
func (c *change) request(ctx context.Context) (provider.Result, error) {
	release, err := c.l.acquire(c.waiting)
	if err != nil {
		return provider.Result{}, err
	}
	defer c.e.scheduler.poke() // others may wait for the slot
	defer release()
	turn, err := c.l.guard.enter(c.waiting)
	if err != nil {
		return provider.Result{}, err
	}
	defer turn.leave()
	c.role.ripen(c.e.clock()) // the slot and the turn may have been waited for
	at, why, err := c.notBefore(ctx, turn)
	if err != nil {
		return provider.Result{}, err
	}
	if !c.commitment.made() {
		return provider.Result{}, errGivenUp
	}
	if at.After(c.e.clock()) {
		return provider.Result{}, c.wait(ctx, at, why)
	}
	return c.send(ctx, turn)
}

// needsAnother tells whether a new password has to be made before anything can be sent: none is there but something is
// open, or the one that is there may already be the old password that the remote system wants to see.
func (c *change) needsAnother() bool {
	rec := c.role.Record
	if rec.Next == nil {
		return true
	}
	return c.l.kind.OldPassword(c.role.Target).Required && rec.Next.Exposed() &&
		(rec.Current == nil || rec.Current.Refused)
}

// make puts a new password in place, a given one or a generated one, checked against the rules. It is stored with the
// next step.
func (c *change) make(ctx context.Context, given, reason string) error {
	value := given
	if value == "" {
		var err error
		if value, err = c.e.generate(ctx, c.l, c.role); err != nil {
			return err
		}
	} else if err := c.l.kind.Rules(c.l.complete, c.role.Target).Check(value); err != nil {
		return Mistake("%s", err)
	}
	rec, err := c.role.Record.Make(value, reason, given != "", c.e.clock())
	if err != nil {
		return Mistake("the role %q has too many passwords that may be in force, or come into force: say which one is first (history/%s lists them; write confirm-role/%s with the version of the one that works, or with password=… where that is not waiting)",
			c.role.Name, c.role.Name, c.role.Name)
	}
	c.role.Record = rec
	return nil
}

// obstacle is what a change has to wait for, and whom it concerns.
type obstacle struct {
	scope provider.Scope
	text  string
}

// notBefore is when the next request may be made, and what it has to wait for. An error means: not without a person.
func (c *change) notBefore(ctx context.Context, turn *turn) (at time.Time, why obstacle, err error) {
	suspected := c.l.guard.suspected() // before the pause is looked at, which begins before a suspicion ends
	if err := c.e.mayCall(ctx, c.s, c.l, turn); err != nil {
		return at, why, err
	}
	if hold := c.l.guard.heldUntil(); hold.After(at) {
		at, why = hold, obstacle{provider.ScopeConnection, "the remote system asked this connection to wait"}
	}
	if check := c.e.clock().Add(scaled(checkWait)); suspected && check.After(at) {
		at, why = check, obstacle{provider.ScopeConnection, "the connection's credential was refused a moment ago and is being checked"}
	}
	if settles := c.role.queued(); settles.After(at) {
		at, why = settles, obstacle{provider.ScopeTarget, "the remote system has queued the last password, which has to be in force before another one is sent"}
	}
	if quiet := c.role.Record.QuietUntil(); !quiet.IsZero() {
		if quiet = quiet.Add(c.l.margin()); quiet.After(at) {
			at, why = quiet, obstacle{provider.ScopeTarget, "an earlier request with another password may still be under way on the remote system"}
		}
	}
	c.old = credential.Old{}
	if c.l.kind.OldPassword(c.role.Target).Required {
		c.old = c.role.Record.Old(c.e.clock())
		if c.old.Password == nil {
			return at, why, c.e.driftedError(c.role)
		}
		if c.old.NotBefore.After(at) {
			at, why = c.old.NotBefore, obstacle{provider.ScopeTarget, "the remote system locks the account after too many wrong old passwords, and has to forget the last ones first"}
		}
	}
	return at, why, nil
}

// wait stores when the role goes on, and why not before, and sets the timer.
func (c *change) wait(ctx context.Context, at time.Time, why obstacle) error {
	c.waits = true
	failed := c.role.Retry.Last
	c.role.Retry.NextAttempt = at.Add(scaled(c.e.spread())) // others may wait for the same time
	// What is known of a password with an open fate says more than that the next one waits.
	if c.role.Retry.Last == nil || c.role.Record.View(c.e.clock()).State != credential.StateUncertain {
		c.role.Retry.Last = &Failure{Class: provider.Busy, Scope: why.scope, Reason: why.text, Time: c.e.clock(), Revision: c.l.Revision}
	}
	failpoint.Reach(failpoint.BeforeWait, c.role.Name)
	if err := c.store(ctx); err != nil {
		return err
	}
	failpoint.Reach(failpoint.Wait, c.role.Name)
	c.logWait(why, failed)
	c.e.schedule(c.role)
	return nil
}

// send stores Next as being sent, then makes the request.
func (c *change) send(ctx context.Context, turn *turn) (provider.Result, error) {
	now := c.e.clock()
	deadline := now.Add(c.l.Timeout())
	request := provider.Change{
		Target: c.role.Target, NewPassword: c.role.Record.Next.Value, Parts: c.role.Record.Next.Missing(c.role.Target.Parts),
	}
	before := c.role.Record
	if c.old.Password != nil {
		request.OldPassword = c.old.Password.Value
		// The remote system may look at it as late as at any request.
		c.role.Record = c.role.Record.SendWithOld(now, deadline, c.old, c.l.margin()+c.lockWindow())
	} else {
		c.role.Record = c.role.Record.Send(deadline, 0)
	}
	failpoint.Reach(failpoint.BeforeSending, c.role.Name)
	if err := c.e.countTry(ctx, c.s, turn); err != nil {
		c.role.Record = before // nothing is sent
		return provider.Result{}, storageError("storing that the credential of the connection "+c.l.Name+" is tried", err)
	}
	if err := c.store(ctx); err != nil {
		c.e.uncountTry(ctx, c.s, turn)
		c.role.Record = before
		return provider.Result{}, err
	}
	failpoint.Reach(failpoint.Sending, c.role.Name)
	push, cancel := context.WithTimeout(ctx, deadline.Sub(c.e.clock()))
	defer cancel()
	result := c.l.client.Change(push, request)
	c.e.tell(ctx, c.s, turn, result)
	return result, nil
}

func (c *change) lockWindow() time.Duration {
	return scaled(c.l.kind.OldPassword(c.role.Target).LockWindow)
}

// settle takes the outcome into the record and stores it. again: another request is to be made at once; the outcome is
// then stored together with it.
func (c *change) settle(ctx context.Context, result provider.Result, began time.Time) (again bool, err error) {
	c.unstored = true
	now := c.e.clock()
	attempt, failed := c.role.Retry.Attempts+1, c.role.Retry.Last
	rec, given := c.role.Record, c.role.Record.Next.Given
	if result.Outcome.Unchanged() && result.Outcome != provider.Mismatch && c.old.Password != nil {
		rec = rec.OldTryFree(c.old.Certain)
	}
	rec = rec.Took(result.Taken, phaseOf(result.Stage), now)
	switch result.Outcome {
	case provider.Applied:
		c.role.Record = rec.Applied(now, result.Exclusive)
		c.succeed(now)
	case provider.Staged:
		c.role.Record = rec.Staged(phaseOf(result.Stage), now)
		c.role.Retry = Retry{}
		if result.Stage == provider.StageAccepted {
			c.role.SettlesAt = now.Add(c.l.settleAfter())
		}
	case provider.Rejected:
		c.role.Record = rec.TurnedDown()
		if result.Scope == provider.ScopePassword {
			c.role.Record = rec.Refused()
		}
		c.fail(result)
		again, err = c.afterRejected(ctx, result, given)
	case provider.Mismatch:
		c.role.Record = rec.OldRefused(c.old.Certain, result.TriesLeft, now.Add(max(c.lockWindow(), result.RetryAfter)))
		c.fail(result)
		again = c.afterMismatch(now)
	case provider.Busy:
		c.role.Record = rec.NotApplied()
		c.fail(result)
		if result.Scope == provider.ScopeConnection {
			c.e.holdCalls(ctx, c.s, c.l.guard, c.role.Retry.NextAttempt)
		}
	case provider.Denied:
		c.role.Record = rec.NotApplied()
		c.fail(result)
		if result.Scope != provider.ScopeTarget { // else it is about this account, and says nothing of the credential
			if c.e.denied(ctx, c.s, c.l, began) {
				c.role.Retry.Last.Scope = provider.ScopeTarget
			}
		}
		if pause := c.l.paused(); pause != nil {
			c.role.Retry.NextAttempt = later(c.role.Retry.NextAttempt, pause.NextProbe)
		}
	case provider.Unreachable:
		c.role.Record = rec.NotApplied()
		c.fail(result)
	default:
		c.role.Record = rec.Unresolved()
		c.fail(result)
	}
	c.log(result, began, attempt, failed)
	c.tell(result, failed)
	if err != nil || again {
		return again, err
	}
	return false, c.conclude(ctx)
}

func phaseOf(stage provider.Stage) credential.Phase {
	if stage == provider.StageAccepted {
		return credential.Accepted
	}
	return credential.RestartRequired
}

// succeed clears what failures left and sets when the password is due again.
func (c *change) succeed(now time.Time) {
	c.role.Retry = Retry{}
	c.role.Record = c.role.Record.Trim(c.role.Options.HistorySize)
	c.role.Due = c.role.Options.dueAfter(now)
}

// fail remembers a failure and when to go on: after the remote system's hint, else with backoff.
func (c *change) fail(result provider.Result) {
	now := c.e.clock()
	retry := &c.role.Retry
	retry.Attempts++
	wait := c.e.backoff(retry.Attempts)
	if result.RetryAfter > 0 {
		wait = c.e.jitter(min(max(result.RetryAfter, scaled(firstBackoff)), lastBackoff))
	}
	retry.NextAttempt = now.Add(wait)
	parts := result.Failures
	if parts == nil && retry.Last != nil && c.role.Record.Next.Partial() { // what kept them then is all that is known
		parts = retry.Last.Parts
	}
	retry.Last = &Failure{
		Class: result.Outcome, Scope: result.Scope, Code: result.Code, RequestID: result.RequestID,
		Reason: result.Reason, Time: now, Revision: c.l.Revision, Parts: parts,
	}
}

// afterRejected makes another password where that may help: not for a password that a person chose, and not where the
// remote system refused the account.
func (c *change) afterRejected(ctx context.Context, result provider.Result, given bool) (bool, error) {
	if result.Scope != provider.ScopePassword {
		if c.trigger == triggerRequest { // a read comes again by itself
			c.askAgain(c.e.clock())
		}
		return false, nil
	}
	if given {
		c.askAgain(c.e.clock()) // the person may choose another one
		return false, nil
	}
	if c.rejected++; c.rejected >= maxRejected {
		return false, nil
	}
	err := c.make(ctx, "", "the remote system refused the one before")
	return err == nil, err
}

// askAgain lets the next request be made at once, where nothing goes on by itself: whoever mends what was refused does not
// wait, and other failures are not the worse for it.
func (c *change) askAgain(now time.Time) {
	if !c.role.Record.Unfinished() {
		c.role.Retry.NextAttempt, c.role.Retry.Attempts = now, 1
	}
}

// afterMismatch tells whether another old password can be tried at once.
func (c *change) afterMismatch(now time.Time) bool {
	if c.old.Password == nil { // none was presented, so there is no other: the same request would get the same answer
		return false
	}
	rec := c.role.Record
	if rec.OldExhausted(now) {
		// Nothing can be sent any more: the new password would only wait.
		c.role.Record = rec.GiveUp()
		return false
	}
	return true
}

// conclude stores the outcome and sets the timer. Where the outcome cannot be stored, storage still says that the
// password is being sent, and the engine sends it again.
func (c *change) conclude(ctx context.Context) error {
	if ctx.Err() != nil { // the engine is stopping: the outcome is worth a last effort
		var cancel context.CancelFunc
		ctx, cancel = lastEffort(ctx)
		defer cancel()
	}
	failpoint.Reach(failpoint.BeforeOutcome, c.role.Name)
	if err := c.s.putRole(ctx, c.role); err != nil {
		c.e.logger.Error("the outcome of a change could not be stored; it is found out again", "role", c.role.Name,
			"connection", c.l.Name, "error", err)
		c.unstored = false // storage says that the password is being sent, which is what the engine goes on from
		c.e.scheduler.set(c.role.Name, c.role.Connection, c.e.clock().Add(c.e.backoff(c.e.hiccups.more(c.role.Name))))
		return &unstoredError{role: c.role.Name}
	}
	failpoint.Reach(failpoint.Outcome, c.role.Name)
	c.unstored = false
	c.e.hiccups.over(c.role.Name)
	c.e.complaints.over(c.role.Name)
	c.e.schedule(c.role)
	c.e.send(ctx, c.role, c.events...)
	c.events = nil
	return nil
}

// unstoredError: a request was made and its outcome is not in storage.
type unstoredError struct{ role string }

func (e *unstoredError) Error() string {
	return fmt.Sprintf("the outcome of the change of the role %q could not be stored in Vault; the engine finds it out again by itself", e.role)
}
