package rotation

import (
	"context"
	"errors"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/backend/timing"
)

// The steps of a change, and what a crash after each of them leaves in storage:
//
//	make, prepare   The new password is stored as being sent. It may be in force or not, and the engine sends it again.
//	push            The same.
//	settle          The outcome is stored. Nothing is left to do, or the time of a retry is stored.

// maxRejected is how many generated passwords in a row the remote system may refuse before the engine backs off.
const maxRejected = 3

// drive works on the role's next password until there is nothing left to do or it has to wait. A failure is in role.Retry
// afterwards. An error means that no call was made, or that its outcome could not be stored.
func (w *work) drive(ctx context.Context) error {
	for again := true; again; {
		var err error
		if again, err = w.call(ctx); err != nil {
			if !w.unstored {
				return err
			}
			if lost := w.conclude(ctx); lost != nil { // this outcome would have been stored with the next call
				return lost
			}
			switch { // the stored outcome is the result; the engine continues later
			case errors.Is(err, errLater):
				w.again = w.Backoff(1)
				return nil
			case errors.Is(err, problem.ErrGivenUp), w.sent && inTheWay(err):
				return nil
			default:
				return err
			}
		}
	}
	return nil
}

// inTheWay reports whether an error says that nothing was changed because something is in the way.
func inTheWay(err error) bool {
	known, ok := errors.AsType[*problem.Error](err)
	return ok && known.Kind == problem.KindBusy
}

// call makes one call, if nothing is in its way, and settles its outcome. If a login shows more, it makes that instead.
func (w *work) call(ctx context.Context) (again bool, err error) {
	if w.role.ProvesFirst(w.Now(), role.Env{Requested: true}) { // the work has begun, whatever began since
		return proving{w}.take(ctx)
	}
	if w.unstored && w.frozen() { // since the last call
		return false, w.conclude(ctx)
	}
	if w.role.NeedsAnother(w.oldPassword().Required) {
		if err := w.make(ctx, "", "to settle an unknown outcome"); err != nil {
			return false, err
		}
	}
	w.role.SettleByTime(w.Now())
	if step := w.role.MaySend(w.Now(), w.env(w.h, w.role)); !step.Ready(w.Now()) {
		return false, w.wait(ctx, step)
	}
	began := w.Now()
	var push provider.Change
	var deadline time.Time
	released := w.releases()
	result, err := w.h.Call(ctx, w.asks(), w.s, func() (err error) {
		push, deadline, err = w.prepare(ctx)
		return err
	}, func(ctx context.Context, client provider.Client) provider.Result {
		if w.role.Record.Next.AwaitsForce() {
			return client.CheckTarget(ctx, w.role.Target)
		}
		ctx, cancel := context.WithTimeout(ctx, deadline.Sub(w.Now()))
		defer cancel()
		return client.Change(ctx, push)
	})
	w.queue.Wake() // others may wait for the slot
	released()
	var blocked *lockout.BlockedError
	switch {
	case errors.Is(err, connection.ErrChecking): // this happened while it waited for a slot
		return false, w.wait(ctx, role.Step{Do: role.Send, At: w.Now().Add(timing.Scaled(checkWait)), Why: role.Checking})
	case errors.Is(err, connection.ErrThrottled):
		return false, w.wait(ctx, role.Step{Do: role.Send, At: w.h.Guard.HeldUntil(), Why: role.Throttled})
	case errors.As(err, &blocked):
		return false, w.wait(ctx, role.Step{Do: role.Send, At: blocked.Until, Why: role.Blocked})
	case err != nil:
		return false, w.Connections.Refuse(ctx, w.s, w.h, err)
	default:
		return w.settle(ctx, result, began)
	}
}

// asks returns the context of the request that waits for a call.
func (w *work) asks() context.Context {
	if w.waiting != nil && byOperator(w.trigger) {
		return connection.ForOperator(w.waiting)
	}
	return w.waiting
}

// releases returns a function that retries the roles that wait for a hold, if a call made in the meantime has ended it.
func (w *work) releases() func() {
	held := w.h.Guard.HeldUntil().After(w.Now())
	return func() {
		if held && w.h.Guard.HeldUntil().IsZero() {
			for _, name := range w.cache.Sharing(w.h) {
				w.retry(name)
			}
		}
	}
}

// byOperator reports whether an operator waits for the work, so that it may find out whether the remote system still
// throttles.
func byOperator(trigger string) bool { return trigger == triggerRequest || trigger == triggerCreate }

// env is Engine.env for this work.
func (w *work) env(h *connection.Handle, r *role.Role) role.Env {
	env := w.Engine.env(h, r)
	if byOperator(w.trigger) && h.Guard.MayProbe() {
		env.ThrottledUntil, env.ReleasedAt = time.Time{}, w.Now()
	}
	return env
}

func (w *work) oldPassword() provider.OldPassword { return w.h.Kind.OldPassword(w.role.Target) }

// lockWindow is how long a wrong old password counts.
func lockWindow(old provider.OldPassword) time.Duration { return timing.Scaled(old.LockWindow) }

// make makes a given or generated password the next one, after checking it against the provider's rules. prepare stores
// it.
func (w *work) make(ctx context.Context, given, reason string) error {
	value := given
	if value == "" {
		var err error
		if value, err = w.passwords.generate(ctx, w.h, w.role); err != nil {
			return err
		}
	} else if err := w.h.Kind.Rules(w.h.Completed, w.role.Target).Check(value); err != nil {
		return problem.Mistake("%s", err)
	}
	rec, err := w.role.Record.Make(value, reason, given != "", w.Now())
	if err != nil {
		return problem.Mistake("%s", explain.Unsettled(w.role))
	}
	w.role.Record = rec
	return nil
}

// wait stores when the role continues, and what is in the way. It returns an error if an operator has to act first.
func (w *work) wait(ctx context.Context, step role.Step) error {
	switch pause := w.h.Paused(); {
	case pause != nil:
		return problem.Busy("%s", explain.Paused(w.h.Name, pause))
	case step.Why == role.Drifted:
		return problem.Mistake("%s", w.facts(w.role, w.h).Drifted())
	case !w.promise.Commit():
		return problem.ErrGivenUp
	}
	w.waits = true
	before, reason := w.role.Retry.Last, explain.Obstacle(step.Why)
	if step.Why == role.Throttled {
		reason = explain.Held(w.h.Held())
	}
	w.role.Retry.NextAttempt = timing.Later(step.At, w.Now()).Add(w.Moment()) // others may wait for the same time
	last := role.Failure{Class: provider.Busy, Scope: provider.ScopeTarget, Reason: reason}
	if step.Why == role.Throttled || step.Why == role.Blocked || step.Why == role.Checking {
		last.Scope = provider.ScopeConnection
	}
	// The failure that left an outcome unknown is more important than the wait of the next password.
	if before != nil && w.role.Record.View(w.Now()).State == credential.StateUncertain {
		last = *before
	}
	last.Time, last.Revision = w.Now(), w.h.Revision // what mended the failure before has not ended the wait
	w.role.Retry.Last = &last
	failpoint.Reach(failpoint.BeforeWait, w.name)
	if err := w.store(ctx, "storing the new password of role "+w.name); err != nil {
		return err
	}
	failpoint.Reach(failpoint.Wait, w.name)
	w.logWait(reason, before)
	return nil
}

// prepare stores the next password as being sent, and returns the change to send and its deadline.
func (w *work) prepare(ctx context.Context) (push provider.Change, deadline time.Time, err error) {
	if !w.promise.Commit() {
		return push, deadline, problem.ErrGivenUp
	}
	now, before, wanted := w.Now(), w.role.Record, w.role.Proofs.Wanted
	deadline = now.Add(w.h.Timeout())
	push = provider.Change{Target: w.role.Target, NewPassword: before.Next.Value, Parts: before.Next.Missing(w.role.Target.Parts)}
	w.old = credential.Old{}
	if before.Next.AwaitsForce() { // nothing is sent
		return push, deadline, nil
	}
	if w.oldPassword().Required {
		if w.old = before.Old(now); w.old.Password == nil {
			return push, deadline, problem.Mistake("%s", w.facts(w.role, w.h).Drifted())
		}
		push.OldPassword = w.old.Password.Value
		// The remote system may check the old password as late as the end of the margin.
		w.role.Record = before.SendWithOld(now, deadline, w.old, w.h.Margin()+lockWindow(w.oldPassword()))
	} else {
		w.role.Record = before.Send(deadline, 0)
	}
	w.role.Proofs.Wanted = w.role.Options.Proves()
	failpoint.Reach(failpoint.BeforeSending, w.name)
	if err := w.store(ctx, "storing the new password of role "+w.name); err != nil {
		w.role.Record, w.role.Proofs.Wanted = before, wanted // nothing is sent
		return push, deadline, err
	}
	w.sent = true
	w.health.Sending(w.name, deadline)
	failpoint.Reach(failpoint.Sending, w.name)
	return push, deadline, nil
}

// settle applies the outcome to the record and stores it. again means that another call follows at once, and that the outcome
// is stored together with it.
func (w *work) settle(ctx context.Context, result provider.Result, began time.Time) (again bool, err error) {
	w.unstored = true
	now, r := w.Now(), w.role
	wanted := r.Proofs.Wanted
	r.Proofs.Wanted = wanted && r.Record.Next.AwaitsForce() // the login follows once it is in force
	attempt, before := r.Retry.Attempts+1, r.Retry.Last
	rec, sent := r.Record, r.Record.Next
	if result.Outcome.Unchanged() && result.Outcome != provider.Mismatch && w.old.Password != nil {
		rec = rec.OldTryNotCounted(w.old.Certain)
	}
	rec = rec.TakenByParts(result.Taken, phaseOf(result.Stage), now)
	switch result.Outcome {
	case provider.Applied:
		r.Retry = role.Retry{}
		if wanted {
			r.Record, r.Proofs.Wanted, again = rec.Reported(result.Exclusive), true, true
			break
		}
		r.Record = rec.Applied(now, result.Exclusive)
		r.Record = r.Record.Trim(r.Options.HistorySize)
		r.Due = r.Options.DueAfter(now)
	case provider.Staged:
		r.Record = rec.Staged(phaseOf(result.Stage), now)
		r.Retry = role.Retry{}
		if result.Stage == provider.StageAccepted {
			r.SettlesAt = now.Add(w.h.SettleAfter())
		}
		r.PlanPolls(now)
	case provider.Rejected:
		r.Record = rec.TargetRefused()
		if result.Scope == provider.ScopePassword {
			r.Record = rec.PasswordRefused()
		}
		w.fail(result)
		r.Retry.Last.Given = sent.Given
		again, err = w.afterRejected(ctx, result, sent)
	case provider.Mismatch:
		r.Record = rec.OldRefused(w.old.Certain, result.TriesLeft, now.Add(max(lockWindow(w.oldPassword()), result.RetryAfter)))
		w.fail(result)
		if r.Proofs.Wanted = wanted; wanted {
			again = true
			break
		}
		again = w.old.Password != nil && afterMismatch(r) // otherwise the same request would get the same answer
	case provider.Busy:
		r.Record = rec.NotApplied()
		w.fail(result)
		if held := w.h.Guard.HeldUntil(); result.Scope == provider.ScopeConnection && held.After(now) {
			r.Retry.NextAttempt = held.Add(w.Moment()) // the connection's wait, regardless of this role's earlier failures
		}
	case provider.Denied:
		r.Record = rec.NotApplied()
		w.fail(result)
		if result.Scope != provider.ScopeTarget && w.Connections.Denied(ctx, w.s, w.h, began) { // the credential works
			r.Retry.Last.Scope = provider.ScopeTarget
		}
	case provider.Unreachable:
		r.Record = rec.NotApplied()
		w.fail(result)
	default:
		r.Record = rec.Unresolved()
		if result.Confirmed {
			r.Record = rec.Confirmed(result.Exclusive)
		}
		w.fail(result)
		r.Proofs.Wanted, again = wanted, wanted && !result.Confirmed
	}
	w.logCall(result, began, attempt, before)
	if w.leavesNoTrace(result, sent) { // so only the request needs to know
		err = problem.Mistake("%s", explain.ChosenRefused(w.name, r.Retry.Last))
		r.Retry = w.stored.Retry.AfterRefusal(r.Record.Unfinished())
		return false, err
	}
	w.note(result, before)
	if err != nil || again {
		return again, err
	}
	return false, w.conclude(ctx)
}

// leavesNoTrace reports whether the remote system refused the password that the waiting request gives, and no earlier call
// with it is open: the role is as it was before.
func (w *work) leavesNoTrace(result provider.Result, sent *credential.Next) bool {
	return result.Outcome == provider.Rejected && result.Scope == provider.ScopePassword &&
		w.asked != nil && w.asked.given == sent.Value && w.asked.dropped(w.role) && w.promise.Claim()
}

func phaseOf(stage provider.Stage) credential.Phase {
	if stage == provider.StageAccepted {
		return credential.Accepted
	}
	return credential.RestartRequired
}

// fail records a failure and when to retry: when the remote system asks for it, or with backoff.
func (w *work) fail(result provider.Result) {
	now := w.Now()
	w.role.Failed(result, now, w.h.Revision)
	wait := w.Backoff(w.role.Retry.Attempts)
	if result.RetryAfter > 0 {
		wait = w.Jitter(min(max(result.RetryAfter, timing.Scaled(timing.FirstBackoff)), timing.LastBackoff))
	}
	w.role.Retry.NextAttempt = now.Add(wait)
}

// afterRejected generates another password, unless an operator chose the refused one, or the remote system refused the
// account.
func (w *work) afterRejected(ctx context.Context, result provider.Result, refused *credential.Next) (bool, error) {
	switch {
	case result.Scope != provider.ScopePassword:
		if w.trigger == triggerRequest { // reads repeat without an operator
			w.role.RetryOnRequest(w.Now())
		}
		return false, nil
	case refused.Given:
		w.role.RetryOnRequest(w.Now()) // the operator may choose another one
		return false, nil
	}
	if w.rejected++; w.rejected >= maxRejected {
		return false, nil
	}
	reason := "the remote system refused the one before"
	if refused.Reason == role.ReasonDue && !w.role.Record.Unfinished() {
		reason = role.ReasonDue // the change has not begun on the remote system, so it still needs a rotation_window
	}
	err := w.make(ctx, "", reason)
	return err == nil, err
}

// afterMismatch reports whether another old password can be tried at once.
func afterMismatch(r *role.Role) bool {
	if r.Record.OldExhausted() { // nothing can be sent any more, so the new password would only wait
		r.Record = r.Record.GiveUp()
		return false
	}
	return true
}
