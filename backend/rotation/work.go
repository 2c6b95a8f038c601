package rotation

import (
	"cmp"
	"context"
	"errors"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/promise"
	"vault-plugin-secrets-hosting/backend/proof"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Triggers of a change, for the log.
const (
	triggerRequest = "request"
	triggerCreate  = "create"
	triggerRead    = "read"
	triggerResume  = "resume"
	triggerDue     = "schedule"
	triggerVerify  = "verify"
)

// intent is the purpose of work. With only a trigger, the engine takes the role's next step.
type intent struct {
	provider.Hidden
	trigger string
	// create is the role to create.
	create *NewRole
	// change is the change of a request. follow is the same, for a request that waits for its password to be sent.
	change, follow *change
	// prove is a request to log in.
	prove *proof.Request
}

// change is a requested change of a role's password.
type change struct {
	provider.Hidden
	// given is the password that an operator chose. If it is "", one is generated.
	given string
	// ifVersion: change only if this version is still in force; 0 means any version.
	ifVersion int
	reason    string
	// ifNone: change only if the role has no password yet. ifDue: change only if a read rotates it now.
	ifNone, ifDue bool
	// force: make the call now, in a backoff or a hold.
	force bool
	// entered: the request is counted among those that wait.
	entered bool
	// value and version identify the password for which the request waits.
	value   string
	version int
}

// result is the result of work.
type result struct {
	provider.Hidden
	// role is the role in its state now; nil with err.
	role *role.Role
	h    *connection.Handle
	err  error
	// asIs: the response is the state of the role, with note as a warning. Otherwise, the response says note too.
	asIs bool
	note string
	// lost: the outcome could not be stored.
	lost bool
	// waits: no call was made, because something is in the way until the role's next attempt.
	waits bool
	// dropped: the password in the request was refused and is not kept.
	dropped bool
}

// work is work on one role, under the role's lock.
type work struct {
	provider.Hidden
	*Engine
	s       store.Store
	name    string
	trigger string
	// waiting is the context of the request that waits for the work. If it is nil, no request waits, and the work waits
	// for nothing.
	waiting context.Context
	promise *promise.Promise
	// asked is what the request wants; nil if it is not a change.
	asked *change

	h *connection.Handle
	// role is the role being worked on, and stored is the role as storage has it; nil if that is not known.
	role, stored *role.Role
	// absent: the role does not exist in storage.
	absent bool
	// old is the old password that the call presents.
	old credential.Old
	// waits: something was in the way, and no call was made.
	waits bool
	// sent: a request was made, or was about to be.
	sent bool
	// failure is that of this work; zero if it did not fail.
	failure health.Failure
	// unstored: the record has an outcome that is not in storage yet.
	unstored bool
	// again is the minimum time until the next work on the role.
	again time.Duration
	// kinds are the events to send when the outcome is stored.
	kinds []string
	// rejected counts the generated passwords that the remote system refused.
	rejected int
}

// work takes the role's lock, reads the role, decides what to do, does it, and puts the role back in the queue, whatever
// happens. A worker of the queue (waiting is nil) does not wait for the lock, because its holder puts the role back.
func (e *Engine) work(ctx, waiting context.Context, shared *promise.Promise, s store.Store, name string, in intent) (res result) {
	unlock := e.locks.Try(name)
	switch {
	case unlock != nil:
	case waiting == nil:
		e.recheckSoon(name) // the holder may not know why this role is due
		return result{}
	default:
		var err error
		if unlock, err = e.locks.Lock(waiting, name); err != nil {
			if in.follow != nil { // the engine may be sending this very password
				return e.inProgress(ctx, s, name, explain.InProgress(name))
			}
			return result{err: problem.Busy("nothing was changed, because another change of role %q is in progress. Try again, or read status/%s", name, name)}
		}
	}
	w := &work{Engine: e, s: s, name: name, trigger: in.trigger, waiting: waiting, promise: shared, asked: cmp.Or(in.change, in.follow)}
	err := w.under(unlock, func() error {
		res = w.do(ctx, in)
		return res.err
	})
	if errors.Is(err, problem.ErrPanicked) && shared.Committed() { // an error would mean that nothing was changed
		return e.inProgress(ctx, s, name, explain.Panicked(name))
	}
	res.err = err
	return res
}

// inProgress returns the result of a request whose work continues without it, or whose result is not known: the role as
// storage has it, and a note. An error would mean that nothing was changed.
func (e *Engine) inProgress(ctx context.Context, s store.Store, name, note string) result {
	reading, done := timing.LastEffort(ctx)
	defer done()
	r, err := e.ReadRole(reading, s, name)
	if err != nil {
		r = nil // it is being stored
	}
	return result{role: r, asIs: true, note: note}
}

// under calls do under the role's lock. Whatever happens, even a panic, the role is back in the queue before the lock is
// released.
func (w *work) under(unlock func(), do func() error) (err error) {
	defer func() {
		defer unlock()
		if problem.LogPanic(w.logger, recover(), "working on a role", "role", w.name) {
			err, w.stored = problem.ErrPanicked, nil
		}
		w.end(err)
	}()
	return do()
}

// end puts the role back in the queue: at its next step or, if it is not known what storage has, after a delay that grows
// with each failure.
func (w *work) end(err error) {
	defer func() {
		if problem.LogPanic(w.logger, recover(), "putting a role back in the queue", "role", w.name) {
			w.queue.Set(job{name: w.name}, w.lane(), w.Now().Add(w.Backoff(w.failed("panic"))))
		}
	}()
	if w.absent {
		w.gone(w.name)
		return
	}
	var delay time.Duration
	switch {
	case w.stored == nil:
		delay = w.Backoff(w.failed("storage"))
	case errors.Is(err, problem.ErrFull):
		delay = timing.Scaled(w.Jitter(checkWait))
	case err != nil && w.waiting == nil:
		delay = w.Grow(time.Minute, w.failed(err.Error()))
	case err == nil:
		w.failures.Forget(w.name)
	}
	delay = max(delay, w.again)
	w.noteStuck(err, delay)
	if w.stored == nil {
		w.queue.Set(job{name: w.name}, w.lane(), w.Now().Add(delay))
	} else {
		w.putBack(delay)
	}
	w.logFailure(err)
}

// failed counts a failure, and returns how many in a row the next wait is for. Where nothing was sent, waits stop growing
// soon: to try again costs a read, and what failed may be mended by then.
func (w *work) failed(reason string) int {
	w.failure = w.failures.Count(w.name, reason, w.Now())
	if w.sent {
		return w.failure.Times
	}
	return min(w.failure.Times, quickFailures)
}

// noteStuck records why the work failed, and when it is tried again, for operators. They read about a busy role, a paused
// connection, a node that may not write and a panic elsewhere.
func (w *work) noteStuck(err error, delay time.Duration) {
	known, isKnown := errors.AsType[*problem.Error](err)
	storage := !isKnown || known.Storage
	if w.failure.Times == 0 || problem.ReadOnly(err) || !storage && known.Kind != problem.KindMistake {
		return
	}
	reason := "the outcome of a change could not be stored"
	switch {
	case isKnown && known.Storage:
		reason = problem.SetupReason
	case err != nil:
		reason = err.Error()
	}
	w.failure.Stuck = &explain.Stuck{Reason: reason, Storage: storage, Since: w.failure.Since, Next: w.Now().Add(delay)}
	w.failures.Put(w.name, w.failure)
}

// putBack queues the next step of a role that storage has as w.stored.
func (w *work) putBack(delay time.Duration) {
	h, err := w.Connections.Handle(w.ctx, w.s, w.stored.Connection) // it may have been rewritten in the meantime
	if err != nil {
		h = w.h
	}
	w.schedule(w.stored, h, delay)
	if now, _ := w.cache.Get(w.stored.Connection); h != nil && now != h { // rewritten since, which queued its roles
		w.recheckSoon(w.name)
	}
}

func (w *work) lane() string {
	if w.role != nil {
		return w.role.Connection
	}
	return "" // the same lane as before
}

// load reads the role and its connection, and checks that the connection still allows the role.
func (w *work) load(ctx context.Context) error {
	if err := w.loadRole(ctx); err != nil {
		return err
	}
	var err error
	w.h, err = w.Allowed(ctx, w.s, w.role)
	return err
}

// loadRole reads the role.
func (w *work) loadRole(ctx context.Context) error {
	r, err := w.ReadRole(ctx, w.s, w.name)
	if err != nil {
		w.absent = errors.Is(err, problem.ErrNoRole)
		return err
	}
	w.role, w.stored = r, new(*r)
	return nil
}

// do decides what to do, and does it.
func (w *work) do(ctx context.Context, in intent) result {
	if in.create != nil {
		return (&creation{w, *in.create}).create(ctx)
	}
	if err := w.load(ctx); err != nil {
		return result{err: err}
	}
	switch {
	case in.prove != nil:
		return proving{w}.requested(ctx, in.prove)
	case in.change != nil:
		return w.begin(ctx, in.change)
	case in.follow != nil:
		if res, done := w.superseded(in.follow); done {
			return res
		}
		res := w.follow(ctx)
		res.dropped = in.follow.dropped(w.role)
		return res
	default:
		return w.step(ctx)
	}
}

// follow continues the change that a request waits for. What is still in its way is waited for again.
func (w *work) follow(ctx context.Context) result {
	if !w.role.Record.Unfinished() || w.role.Retry.Waiting(w.Now(), w.env(w.h, w.role)) || w.frozen() {
		return w.done(nil)
	}
	res := w.resume(ctx)
	if inTheWay(res.err) && w.role.Record.Next.Exposed() { // it was sent while the request waited
		return w.done(nil)
	}
	return res
}

// frozen reports whether a freeze keeps the work from sending anything.
func (w *work) frozen() bool {
	frozen, _ := w.Gate.Frozen()
	return frozen && (w.waiting == nil || w.trigger == triggerRead)
}

// resume goes on with what the role has open.
func (w *work) resume(ctx context.Context) result {
	w.role.Retry.NextAttempt = time.Time{} // it has come, or is that of another credential
	return w.done(w.drive(ctx))
}

// step takes the role's next step, if its time has come.
func (w *work) step(ctx context.Context) result {
	step := w.role.Automatic(w.Now(), w.env(w.h, w.role))
	switch {
	case !step.Ready(w.Now()):
		return w.done(nil)
	case step.Do == role.Settle:
		return w.settled(ctx)
	case step.Do == role.Prove:
		again, err := proving{w}.take(ctx)
		switch {
		case err != nil || !again:
			return w.done(err)
		case !w.sendsNow(): // its time has not come, or its window is closed
			return w.done(w.conclude(ctx))
		}
	case step.Do == role.Restart:
		return w.done(restarting{w}.take(ctx))
	case step.Do == role.Begin:
		w.trigger = triggerDue
		if err := w.make(ctx, "", role.ReasonDue); err != nil {
			return w.notMade(ctx, err)
		}
	}
	return w.resume(ctx)
}

// sendsNow reports whether the role's next step is to send a password, now.
func (w *work) sendsNow() bool {
	step := w.role.Automatic(w.Now(), w.env(w.h, w.role))
	return step.Do == role.Send && step.Ready(w.Now())
}

// settled stores what time has settled.
func (w *work) settled(ctx context.Context) result {
	if w.role.Settled() {
		w.logger.Info("the queued password counts as in force", "role", w.name, "connection", w.h.Name, "provider", w.h.Provider)
		w.kinds = append(w.kinds, EventRotate)
	}
	failpoint.Reach(failpoint.BeforeSettled, w.name)
	err := w.conclude(ctx)
	failpoint.Reach(failpoint.Settled, w.name)
	return w.done(err)
}

// notMade returns the result of a due rotation for which no password could be generated. It stores the failure, so that
// status can report why the role is late.
func (w *work) notMade(ctx context.Context, err error) result {
	known, ok := errors.AsType[*problem.Error](err)
	if !ok {
		return result{err: err}
	}
	w.fail(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: known.Message})
	w.unstored = true
	return w.done(w.conclude(ctx))
}

// done returns the result of the work so far. If an outcome could not be stored, the response has what is known.
func (w *work) done(err error) result {
	lost, ok := errors.AsType[*unstoredError](err)
	if !ok {
		return result{role: w.role, h: w.h, err: err, waits: w.waits}
	}
	r := *w.role
	r.Record = r.Record.Unresolved()
	return result{role: &r, h: w.h, asIs: true, note: lost.Error(), lost: true}
}
