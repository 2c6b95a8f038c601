package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// Triggers of a change, for the log.
const (
	triggerRequest = "request"
	triggerCreate  = "create"
	triggerRead    = "read"
	triggerResume  = "resume"
	triggerDue     = "schedule"
)

// Report is how a role stands after a request.
type Report struct {
	Role *Role
	View credential.View
	TTL  time.Duration
	// Warning says what is going on where the state is not at rest; empty otherwise.
	Warning string
}

// order is what a request wants of a role.
type order struct {
	trigger string
	// given is a password that a person chose; empty: generate one.
	given string
	// ifVersion: only if that is still the version in force; 0: whichever is.
	ifVersion int
	reason    string
	// ifNone: only if the role has no password yet; ifDue: only if its password is due, and a read changes it.
	ifNone, ifDue bool
	// waits and version are the password that the request waits for, once it does.
	waits   string
	version int
}

// Rotate changes the password of a role to a generated one. With ifVersion above 0 it does so only if that version is
// still in force, and reports how the role stands otherwise. It waits for the change for at most 45 seconds and
// then reports the state so far; the change goes on. Errors are *Error, ErrNoRole, logical.ErrReadOnly or of storage.
func (e *Engine) Rotate(ctx context.Context, storage logical.Storage, name string, ifVersion int) (*Report, error) {
	return e.request(ctx, storage, name, order{trigger: triggerRequest, ifVersion: ifVersion, reason: "rotated by request"})
}

// SetPassword is Rotate to a given password.
func (e *Engine) SetPassword(ctx context.Context, storage logical.Storage, name, value string) (*Report, error) {
	return e.request(ctx, storage, name, order{trigger: triggerRequest, given: value, reason: "set by hand"})
}

// request carries out an order in the engine's own context, and waits for it.
func (e *Engine) request(ctx context.Context, storage logical.Storage, name string, o order) (*Report, error) {
	return e.await(ctx, store{storage}, name, func(work, waiting context.Context, promise *commitment) (*Report, error) {
		done := e.carryOut(work, waiting, promise, store{storage}, name, o)
		return e.waitOn(work, waiting, store{storage}, name, o, done).answer(e)
	})
}

// commitment is what a request and the work for it agree on: either the request is still there when the work begins to
// change something, and is told how it stands when it stops waiting, or the work gives up and the request is told that nothing was changed.
type commitment struct{ state atomic.Int32 }

const (
	committed = 1
	abandoned = 2
)

// made is called by the work before its first change, and tells whether it may be made. A nil commitment is always made.
func (c *commitment) made() bool {
	return c == nil || c.state.CompareAndSwap(0, committed) || c.state.Load() == committed
}

// abandon is called by the request that stops waiting, and tells whether nothing has been changed, nor will be.
func (c *commitment) abandon() bool { return c.state.CompareAndSwap(0, abandoned) }

// await runs work in the engine's context and waits for it, until the request's context ends or the time that a
// request may wait. waiting is the context of that wait.
func (e *Engine) await(ctx context.Context, s store, name string, work func(work, waiting context.Context, promise *commitment) (*Report, error)) (*Report, error) {
	type answer struct {
		report *Report
		err    error
	}
	waiting, cancel := context.WithTimeout(ctx, requestWait)
	answers := make(chan answer, 1)
	promise := &commitment{}
	started := e.background(func(engine context.Context) {
		defer cancel()
		report, err := work(engine, waiting, promise)
		answers <- answer{report, err}
	})
	if !started {
		cancel()
		return nil, errStopped
	}
	select {
	case a := <-answers:
		return a.report, a.err
	case <-waiting.Done():
	}
	select { // it may have ended in the same moment
	case a := <-answers:
		return a.report, a.err
	default:
	}
	if promise.abandon() {
		return nil, busy("the role %q is being worked on, and this request ended before its turn came: nothing was changed, try again or read status/%s", name, name)
	}
	return e.underWay(ctx, s, name)
}

// underWay is the answer to a request that stops waiting for a change that goes on.
func (e *Engine) underWay(ctx context.Context, s store, name string) (*Report, error) {
	reading, done := lastEffort(ctx)
	defer done()
	role, err := e.read(reading, s, name)
	report := &Report{Role: &Role{Name: name}, View: credential.View{State: credential.StateUncertain}, TTL: overdueTTL}
	if err == nil && role != nil { // else it is being stored; an error would say that nothing was changed
		report = e.report(role)
	}
	report.Warning = "the change is still under way and goes on by itself; read status/" + name
	return report, nil
}

// load reads the role and its connection, under the role's lock, and checks that the connection still allows it.
func (e *Engine) load(ctx context.Context, s store, name string) (*Role, *live, error) {
	role, err := e.read(ctx, s, name)
	if err != nil {
		return nil, nil, storageError("reading the role "+name, err)
	}
	if role == nil {
		return nil, nil, ErrNoRole
	}
	l, err := e.connection(ctx, s, role.Connection)
	switch {
	case errors.Is(err, ErrNoConnection):
		return nil, nil, Mistake("the connection %q of the role %q does not exist any more", role.Connection, name)
	case err != nil:
		return nil, nil, storageError("reading the connection "+role.Connection, err)
	}
	if err := l.allows(name, role.Target); err != nil {
		return nil, nil, err
	}
	return role, l, nil
}

// standing is how a role stands after a piece of work on it, before that is put into an answer.
type standing struct {
	role *Role
	// report and err are the answer where it does not follow from the role.
	report *Report
	err    error
	// waits: nothing was sent, since something has to pass first.
	waits bool
	// dropped: the password that the request gave was refused and is gone, whatever else is open.
	dropped bool
}

func failure(err error) standing { return standing{err: err} }

// answer puts the standing into an answer.
func (s standing) answer(e *Engine) (*Report, error) {
	if s.report != nil || s.err != nil {
		return s.report, s.err
	}
	if s.dropped {
		if err := e.failed(s.role, fmt.Sprintf("role %q: this password was not set", s.role.Name)); err != nil {
			return nil, err
		}
	}
	return e.answer(s.role)
}

// failed tells whether the answer is the last failure of a role whose password is what it was.
func (s standing) failed() bool {
	return s.role != nil && s.report == nil && s.err == nil && s.role.Retry.Last != nil && !s.role.Record.Next.Exposed()
}

// waitsUntil is when what has to pass first has passed; false: nothing has to.
func (s standing) waitsUntil() (time.Time, bool) {
	if s.report != nil || s.err != nil || !s.waits {
		return time.Time{}, false
	}
	return s.role.Retry.NextAttempt, true
}

// carryOut takes the role's lock, makes the new password and drives it.
func (e *Engine) carryOut(ctx, waiting context.Context, promise *commitment, s store, name string, o order) standing {
	unlock, err := e.locks.lock(waiting, name)
	if err != nil {
		return failure(busy("another change of the role %q is under way; this request changed nothing: try again, or read status/%s", name, name))
	}
	defer unlock()
	role, l, err := e.load(ctx, s, name)
	if err != nil {
		return failure(err)
	}
	pause := l.paused()
	if done, ok := e.alreadyAnswered(role, l, o); ok && (pause == nil || !done.failed()) {
		return done
	}
	if pause != nil {
		return failure(e.pausedError(l.Name, pause))
	}
	c := newChange(e, s, l, role, o.trigger)
	c.waiting, c.commitment = waiting, promise
	if !o.goesOnWith(role.Record.Next) {
		if err := c.make(ctx, o.given, o.reason); err != nil {
			return failure(err)
		}
	}
	o.version = role.Record.Next.Version
	done := e.driven(c, c.drive(ctx))
	done.dropped = o.dropped(c.role)
	return done
}

// dropped tells whether the password that the request gave is gone: the remote system has refused it.
func (o *order) dropped(role *Role) bool {
	return o.given != "" && !slices.ContainsFunc(role.Record.List(), func(p credential.Listed) bool {
		return p.Version == o.version && p.Value == o.given
	})
}

// alreadyAnswered returns the answer to a request that has one without a remote call: Vault's client repeats a request
// that failed, and a repetition must do no harm.
func (e *Engine) alreadyAnswered(role *Role, l *live, o order) (standing, bool) {
	rec, now := role.Record, e.clock()
	view := rec.View(now)
	switch {
	case o.ifNone && (rec.Current != nil || rec.Next.Exposed() || len(rec.Candidates) > 0): // a read does not decide what becomes of those
		return standing{report: e.report(role)}, true
	case o.ifDue && !role.startsOnRead(now): // another reader came first
		return standing{report: e.report(role)}, true
	case o.ifVersion > 0 && view.Password != nil && o.ifVersion < view.Password.Version:
		report := e.report(role)
		report.Warning = "the password has been changed since that version: nothing was done"
		return standing{report: report}, true
	case o.ifVersion > 0 && (view.Password == nil || o.ifVersion > view.Password.Version):
		return failure(Mistake("the role %q has no password of version %d in force: read creds/%s for the present version", role.Name, o.ifVersion, role.Name)), true
	case rec.Next.Staged() && !rec.Next.Partial() && (o.ifVersion > 0 || o.given != "" && o.given == rec.Next.Value):
		report := e.report(role)
		report.Warning = "nothing was done, since this has been done already: " + e.stagedWarning(role)
		return standing{report: report}, true
	case o.given != "" && rec.Current != nil && o.given == rec.Current.Value && view.State == credential.StateActive && rec.Next == nil:
		return standing{report: e.report(role)}, true
	case role.Retry.Last == nil || !role.Retry.resting(now, l.Revision):
		return standing{}, false
	case o.given != "" && (rec.Next == nil || rec.Next.Value != o.given), o.given == "" && rec.Next != nil && rec.Next.Given && !rec.Next.Staged():
		return standing{}, false // not a repetition
	default:
		return standing{role: role}, true
	}
}

// driven is how a role stands after its change was driven.
func (e *Engine) driven(c *change, err error) standing {
	var unstored *unstoredError
	if !errors.As(err, &unstored) {
		return standing{role: c.role, err: err, waits: c.waits}
	}
	role := *c.role
	role.Record = role.Record.Unresolved()
	report := e.report(&role)
	report.View.State = credential.StateUncertain
	report.Warning = unstored.Error()
	return standing{role: c.role, report: report}
}

// waitOn waits, without the lock, where the change may go on soon enough for the request, and then goes on.
func (e *Engine) waitOn(ctx, waiting context.Context, s store, name string, o order, now standing) standing {
	for {
		at, waits := now.waitsUntil()
		deadline, ok := waiting.Deadline()
		wait := at.Sub(e.clock())
		if !waits || !ok || wait >= time.Until(deadline) {
			return now
		}
		clock := time.NewTimer(max(wait, 0) + time.Millisecond)
		select {
		case <-clock.C:
		case <-waiting.Done():
			clock.Stop()
			return now
		case <-ctx.Done():
			clock.Stop()
			return now
		}
		o.waits, o.version = now.role.Record.Next.Value, now.role.Record.Next.Version
		now = e.goOn(ctx, waiting, s, name, &o)
	}
}

// goOn drives what a role has open, if its time has come. asked is the order that waits for it; nil: the engine goes on by
// itself, and a worker of the scheduler waits for no lock and no slot.
func (e *Engine) goOn(ctx, waiting context.Context, s store, name string, asked *order) standing {
	var unlock func()
	if asked == nil {
		if unlock = e.locks.try(name); unlock == nil {
			e.lookAt(name)
			return standing{}
		}
	} else {
		var err error
		if unlock, err = e.locks.lock(waiting, name); err != nil { // the engine came first, and may be sending this very password
			report, err := e.underWay(ctx, s, name)
			return standing{report: report, err: err}
		}
	}
	defer unlock()
	role, l, err := e.load(ctx, s, name)
	if errors.Is(err, ErrNoRole) {
		e.gone(name)
		return failure(err)
	}
	if err != nil { // it may be allowed again, or storage may come back
		e.scheduler.set(name, "", e.clock().Add(e.grow(time.Minute, 1)))
		return failure(err)
	}
	c := newChange(e, s, l, role, triggerResume)
	if asked != nil {
		c.trigger, c.waiting = asked.trigger, waiting
		if lost := asked.lost(role); lost != nil {
			switch last := role.Retry.Last; { // the engine may have sent it in the meantime
			case last != nil && last.Class == provider.Rejected:
				return standing{role: role, dropped: true}
			case asked.given == "" && asked.overtaken(role):
				return standing{role: role}
			}
			return failure(lost)
		}
	}
	switch begins, rests := c.turnsTo(asked); {
	case begins:
		c.trigger = triggerDue
		if err := c.make(ctx, "", reasonDue); err != nil {
			return c.unmade(ctx, err)
		}
	case rests && role.ripened:
		return e.settled(ctx, c)
	case rests && role.derived:
		return e.driven(c, c.conclude(ctx))
	case rests:
		e.schedule(role)
		return standing{role: role}
	}
	err = c.drive(ctx)
	var unstored *unstoredError
	if err != nil && ctx.Err() == nil && !errors.As(err, &unstored) { // paused, drifted, no slot, no fitting password, no storage
		e.scheduler.set(name, "", c.whenBlocked(err))
	}
	done := e.driven(c, err)
	done.dropped = asked != nil && asked.dropped(c.role)
	return done
}

// turnsTo says what there is to do: a change begins because the password is due, or nothing is to be done now. Else what was
// begun goes on.
func (c *change) turnsTo(asked *order) (begins, rests bool) {
	role, now := c.role, c.e.clock()
	resting := role.Retry.resting(now, c.l.Revision)
	if asked != nil {
		return false, !role.Record.Unfinished() || resting
	}
	if !resting {
		role.Retry.NextAttempt = time.Time{} // that of another credential counts no more
	}
	if at, ok := role.startsAt(now); ok && !at.After(now) {
		return true, false
	}
	at, ok := role.resumesAt(now)
	return false, !ok || at.After(now)
}

// unmade: no password could be made for a role that is due. That is remembered, so that status says why it is late.
func (c *change) unmade(ctx context.Context, err error) standing {
	var known *Error
	if !errors.As(err, &known) {
		c.e.scheduler.set(c.role.Name, c.role.Connection, c.whenBlocked(err))
		return failure(err)
	}
	c.fail(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: known.Message})
	c.unstored = true
	return c.e.driven(c, c.conclude(ctx))
}

// overtaken tells whether another password has taken the place of the generated one that the request waited for, or is
// about to.
func (o *order) overtaken(role *Role) bool {
	rec := role.Record
	return rec.Next != nil && rec.Next.Version >= o.version || rec.Current != nil && rec.Current.Version >= o.version
}

// goesOnWith tells whether the request wants no other password than the one that is there: it is given once more, some
// servers have taken it and the others have not, or it was sent to take the place of the very version that the request
// names. The last is a request that comes again: Vault itself repeats one in whose middle the plugin ended.
func (o *order) goesOnWith(next *credential.Next) bool {
	switch {
	case next == nil:
		return false
	case o.given != "":
		return o.given == next.Value
	default:
		return next.Partial() || o.ifVersion > 0 && next.Exposed() && !next.Given
	}
}

// lost tells a request that waited that another one took the place of its password, or withdrew it.
func (o *order) lost(role *Role) error {
	if o.waits == "" {
		return nil
	}
	for _, p := range role.Record.List() {
		if p.Value == o.waits {
			return nil
		}
	}
	return busy("another request for the role %q took the place of this one, whose password was not sent; read status/%s", role.Name, role.Name)
}

// whenBlocked is when a role that cannot go on is looked at again.
func (c *change) whenBlocked(err error) time.Time {
	soon := c.e.clock().Add(scaled(c.e.jitter(firstBackoff)))
	if errors.Is(err, errFull) { // requests came in between
		return c.e.clock().Add(scaled(c.e.jitter(checkWait)))
	}
	if pause := c.l.paused(); pause != nil {
		if pause.NextProbe.IsZero() { // whoever opens it hastens its roles
			return c.e.clock().Add(scaled(c.e.jitter(lastBackoff)))
		}
		return later(soon, pause.NextProbe.Add(scaled(c.e.jitter(firstBackoff))))
	}
	return c.e.clock().Add(c.e.grow(time.Minute, c.role.Retry.Attempts+1))
}
