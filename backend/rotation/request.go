package rotation

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/promise"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Rotate sets a generated password. If ifVersion is greater than 0 and that version is no longer in force, it does nothing
// and returns the state of the role. It waits for the change for at most 45 seconds and then returns the state so far; the
// change continues. It returns a *problem.Error, problem.ErrNoRole, logical.ErrReadOnly or a storage error.
func (e *Engine) Rotate(ctx context.Context, storage logical.Storage, name string, ifVersion int) (*roles.Report, error) {
	report, err := e.request(ctx, storage, name, triggerRequest, change{ifVersion: ifVersion, reason: "rotated by request"})
	if err == nil && ifVersion == 0 && report.Warning != "" && report.View.Password != nil && report.BeingSet() {
		report.Warning += " " + explain.Repeatable(report.View.Password.Version)
	}
	return report, err
}

// forceAgain is how soon after a failure another call can be forced. Vault's client repeats a failed request twice, within a
// few seconds.
const forceAgain = 10 * time.Second

// RotateNow is Rotate for an operator who has fixed the cause of a failure: it makes one call, in a backoff or a hold, too. If
// a password is being set, it sends that one. What keeps the account or the credential from being locked still applies.
func (e *Engine) RotateNow(ctx context.Context, storage logical.Storage, name string, ifVersion int) (*roles.Report, error) {
	return e.request(ctx, storage, name, triggerRequest, change{ifVersion: ifVersion, force: true, reason: "rotated by request"})
}

// SetPassword is Rotate with a given password.
func (e *Engine) SetPassword(ctx context.Context, storage logical.Storage, name, value string) (*roles.Report, error) {
	return e.request(ctx, storage, name, triggerRequest, change{given: value, reason: "set by hand"})
}

// errStopped is the error of requests while the plugin stops.
var errStopped = problem.Busy("nothing was changed, because the plugin is stopping. Try again")

// request makes a change in the engine's context, and waits for it. If too many requests are waiting already, it returns an
// error at once.
func (e *Engine) request(ctx context.Context, storage logical.Storage, name, trigger string, c change) (*roles.Report, error) {
	if !c.entered {
		leave, err := e.Connections.Enter("role", name, trigger == triggerRead)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	s := store.Store{Storage: storage}
	return e.await(ctx, s, name, func(work, waiting context.Context, shared *promise.Promise) (*roles.Report, error) {
		res := e.work(work, waiting, shared, s, name, intent{trigger: trigger, change: &c})
		for res.wait(work, waiting, e.Now()) { // without the lock
			c.value, c.version = res.role.Record.Next.Value, res.role.Record.Next.Version
			res = e.work(work, waiting, shared, s, name, intent{trigger: trigger, follow: &c})
		}
		return e.answer(name, res)
	})
}

// wait waits until the change can continue, and reports whether that is soon enough for the request.
func (res result) wait(ctx, waiting context.Context, now time.Time) bool {
	if res.err != nil || res.asIs || !res.waits {
		return false
	}
	deadline, ok := waiting.Deadline()
	wait := res.role.Retry.NextAttempt.Sub(now)
	if !ok || wait >= time.Until(deadline) {
		return false
	}
	timer := time.NewTimer(max(wait, 0) + time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-waiting.Done():
		return false
	case <-ctx.Done():
		return false
	}
}

// await runs work in the engine's context and waits for it, until the request's context ends or for requestWait. waiting is
// the context of this wait.
func (e *Engine) await(ctx context.Context, s store.Store, name string, work func(work, waiting context.Context, shared *promise.Promise) (*roles.Report, error)) (*roles.Report, error) {
	type answer struct {
		report *roles.Report
		err    error
	}
	waiting, cancel := context.WithTimeout(ctx, requestWait)
	answers := make(chan answer, 1)
	shared := &promise.Promise{}
	started := e.background(func(engine context.Context) {
		defer cancel()
		report, err := work(engine, waiting, shared)
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
	select { // the work may have ended at the same moment
	case a := <-answers:
		return a.report, a.err
	default:
	}
	switch shared.Leave() {
	case promise.Abandoned:
		return nil, problem.Busy("nothing was changed, because role %q was in use and the request ended before its turn. Try again, or read status/%s", name, name)
	case promise.Claimed:
		a := <-answers // it takes a few storage calls at most
		return a.report, a.err
	default:
		return e.answer(name, e.inProgress(ctx, s, name, explain.InProgress(name)))
	}
}

// begin makes the new password of a request, and drives it.
func (w *work) begin(ctx context.Context, c *change) result {
	pause := w.h.Paused()
	if res, ok := w.answered(c); ok && (pause == nil || res.err != nil || res.asIs || w.role.Record.Next.Exposed()) {
		return res
	}
	if pause != nil {
		return result{err: problem.Busy("%s", explain.Paused(w.h.Name, pause))}
	}
	if w.frozen() {
		return result{err: frozenError(w.name, w.Gate.Freeze())}
	}
	next := w.role.Record.Next
	replaces := next != nil && next.Given && !next.Exposed() && !c.continues(next)
	if !c.continues(next) {
		if err := w.make(ctx, c.given, c.reason); err != nil {
			return result{err: err}
		}
	}
	c.version = w.role.Record.Next.Version
	if c.force {
		w.h.Guard.EndHold()
	}
	res := w.done(w.drive(ctx))
	res.dropped = c.dropped(w.role)
	if replaces && !res.asIs {
		res.note = explain.Replaced
	}
	return res
}

// answered returns the result of a request that needs no call. Vault's client repeats failed requests, and a repeated
// request must have no effect.
func (w *work) answered(c *change) (result, bool) {
	rec, now := w.role.Record, w.Now()
	view := rec.View(now)
	standing := result{role: w.role, h: w.h, asIs: true}
	switch {
	case c.ifNone && (rec.Current != nil || rec.Next.Exposed() || len(rec.Candidates) > 0): // a read must not decide about these
		return standing, true
	case c.ifDue && !takenOnRead(w.role.Next(now, w.env(w.h, w.role)), now): // another reader came first
		return standing, true
	case c.ifVersion > 0 && view.Password != nil && c.ifVersion < view.Password.Version:
		standing.note = "Nothing was done: the password has been changed since that version."
		return standing, true
	case c.ifVersion > 0 && (view.Password == nil || c.ifVersion > view.Password.Version):
		return result{err: problem.Mistake("nothing was changed, because version %d of role %q is not in force. Read creds/%s for the version that is", c.ifVersion, w.name, w.name)}, true
	case rec.Next.Staged() && !rec.Next.Partial() && (c.ifVersion > 0 || c.given != "" && c.given == rec.Next.Value):
		standing.note = "Nothing was done, because this request was carried out before. " + w.facts(w.role, w.h).Staged()
		return standing, true
	case !c.force && rec.Next.Unproved() && rec.Next.LoginsRefused > 0 && (c.ifVersion > 0 || c.given != "" && c.given == rec.Next.Value):
		return result{role: w.role, h: w.h}, true // it was carried out before
	case c.given != "" && rec.Current != nil && c.given == rec.Current.Value && view.State == credential.StateActive && rec.Next == nil &&
		w.role.MaySend(now, w.env(w.h, w.role)).Ready(now): // otherwise one could find it out by trying, at no cost
		standing.note = "Nothing was done: this password is already in force."
		return standing, true
	case c.given == "" && w.trigger == triggerRequest && (rec.Next == nil || rec.Next.Staged() && !rec.Next.Partial()) && w.role.ChangedWithin(w.h.Limits().MinRotationInterval, now):
		standing.note = strings.TrimSpace(explain.TooSoon(w.name, w.role.ChangedAt(), w.h.Limits().MinRotationInterval) + " " + w.facts(w.role, w.h).Staged())
		return standing, true
	case w.role.Retry.Last == nil || !w.role.Retry.Waiting(now, w.env(w.h, w.role)):
		return result{}, false
	case c.force:
		last, wait := w.role.Retry.Last.Time, timing.Scaled(forceAgain)
		return result{role: w.role, h: w.h, note: explain.NotForced(last, wait)}, now.Sub(last).Abs() < wait
	case c.given != "" && (rec.Next == nil || rec.Next.Value != c.given), c.given == "" && rec.Next != nil && rec.Next.Given && !rec.Next.Staged():
		return result{}, false // not a repeated request
	default:
		return result{role: w.role, h: w.h}, true
	}
}

// takenOnRead reports whether a read takes the step of rotating the password now.
func takenOnRead(step role.Step, now time.Time) bool {
	return step.Do == role.Begin && step.OnRead && step.Ready(now)
}

// superseded returns the result of a request whose password is no longer the one to send.
func (w *work) superseded(c *change) (result, bool) {
	if slices.ContainsFunc(w.role.Record.List(), func(p credential.Listed) bool { return p.Value == c.value }) {
		return result{}, false
	}
	rec, last := w.role.Record, w.role.Retry.Last
	switch { // the engine may have sent it in the meantime
	case last != nil && last.Class == provider.Rejected:
		return result{role: w.role, h: w.h, dropped: true}, true
	case c.given == "" && (rec.Next != nil && rec.Next.Version >= c.version || rec.Current != nil && rec.Current.Version >= c.version):
		return result{role: w.role, h: w.h}, true
	default:
		return result{err: problem.Busy("another request for role %q replaced this one, whose password was not sent. Read status/%s", w.name, w.name)}, true
	}
}

// dropped reports whether the password in the request was refused and is not kept.
func (c *change) dropped(r *role.Role) bool {
	return c.given != "" && !slices.ContainsFunc(r.Record.List(), func(p credential.Listed) bool {
		return p.Version == c.version && p.Value == c.given
	})
}

// continues reports whether the request wants the password that is already being set: it gives the same one, it forces the
// next attempt, only some servers took it, or it was sent to replace the version that the request names. The last is a
// repeated request: Vault repeats a request during which the plugin ended.
func (c *change) continues(next *credential.Next) bool {
	switch {
	case next == nil:
		return false
	case c.given != "":
		return c.given == next.Value
	case c.force && !next.Staged():
		return true
	default:
		return next.Partial() || c.ifVersion > 0 && next.Exposed() && !next.Given
	}
}
