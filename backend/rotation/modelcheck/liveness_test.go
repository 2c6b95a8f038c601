package modelcheck

import (
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

const (
	// patience is how long the engine may take for a step that nothing is in the way of. It spreads late steps over a
	// minute, and a call for another role may take 30 seconds.
	patience = 3 * time.Minute
	// mendPatience is patience after an operator has mended a paused connection.
	mendPatience = 90 * time.Second
	// longestBackoff is the engine's longest wait after storage has failed, with jitter.
	longestBackoff = 80 * time.Minute
)

// step is what the engine has to do for a role without a request.
type step string

const (
	noStep      step = ""
	changeStep  step = "a change"
	settleStep  step = "settling the queued password"
	proofStep   step = "a login"
	restartStep step = "a restart, or a look at one"
)

// waiting is a step that is possible, since when, and how far the role had got then.
type waiting struct {
	step     step
	node     *node
	since    time.Time
	progress int
}

// watch checks A1, L1 and L2.
func (w *world) watch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.node.dead {
		return
	}
	now := w.now()
	w.checkGate(now)
	for _, s := range w.ordered {
		s.watch(now)
	}
	for _, acc := range w.accounts {
		acc.watch(now)
		acc.watchDrift(now)
	}
}

// watch is L1: a step that stays possible is taken in time. w.mu is held.
func (acc *account) watch(now time.Time) {
	w := acc.w
	is := waiting{step: acc.possibleStep(now), node: w.node, since: now, progress: acc.calls}
	if is.step == settleStep || is.step == proofStep {
		is.progress = w.disk.writes[store.RolePrefix+acc.role]
	}
	if is.step == restartStep {
		is.progress = acc.steps
	}
	if was := acc.waiting; was.step == is.step && was.node == is.node && was.progress == is.progress {
		is.since = was.since
	}
	acc.waiting = is
	limit := patience
	if mended := acc.system.mended; mended.node == w.node && !is.since.After(mended.at.Add(time.Minute)) {
		limit = mendPatience
	}
	if waited := now.Sub(is.since); is.step != noStep && waited > limit {
		w.fail("L1: %s has been possible for %s for %s, and is not tried", is.step, acc.role, waited)
	}
}

// watch is L2. w.mu is held.
func (s *system) watch(now time.Time) {
	p := s.pause()
	if p == nil || p.NextProbe.IsZero() || s.obstacle(now) != "" {
		s.probing = time.Time{}
		return
	}
	if s.probing.IsZero() || now.Before(p.NextProbe) {
		s.probing = now
	}
	if waited := now.Sub(s.probing); !now.Before(p.NextProbe) && waited > patience {
		s.w.fail("L2: the connection %s is paused, and its probe is %s late", s.name, waited)
	}
}

// obstacle returns what keeps the engine from using the connection automatically, or nothing. w.mu is held.
func (s *system) obstacle(now time.Time) string {
	w, n := s.w, s.w.node
	stored := s.connection()
	switch {
	case w.fault != noFault || now.Before(n.faultAt.Add(longestBackoff)):
		return "storage"
	case s.weather != fair && s.weather != calm:
		return "weather"
	case stored == nil:
		return "no connection"
	case stored.Settings.String("key") != s.key:
		return "credential"
	case now.Before(s.throttledUntil):
		return "throttled"
	case n.gate.unsure || n.gate.frozen(now):
		return "frozen"
	default:
		return ""
	}
}

// possibleStep returns the step that nothing keeps the engine from taking now. w.mu is held.
func (acc *account) possibleStep(now time.Time) step {
	r := acc.w.role(acc.role)
	if r == nil || acc.system.obstacle(now) != "" || acc.background != nil || acc.inFlight > 0 || acc.loggingIn > 0 {
		return noStep
	}
	proves := r.Options.Proves() && !r.Options.Disabled // otherwise time settles it
	if at := r.QueuedUntil(); !proves && !at.IsZero() && !at.After(now) {
		return settleStep
	}
	if proves && provesNow(r, now) {
		return proofStep
	}
	if acc.system.pause() == nil && acc.restartsNow(r, now) {
		return restartStep
	}
	if r.Options.Disabled || r.Restarts.Part != "" || acc.system.pause() != nil || !acc.maySend(r, now) {
		return noStep
	}
	return changeStep
}

// maySend reports whether the role is due or has something unfinished, and a call may be made for it now. w.mu is held.
func (acc *account) maySend(r *role.Role, now time.Time) bool {
	kind := &kind{spec: acc.system.spec}
	env := role.Env{Margin: acc.margin(), OldPassword: kind.OldPassword(r.Target).Required}
	next, failure, wait := r.Record.Next, r.Retry.Last, r.Retry.NextAttempt.After(now)
	switch {
	case r.Options.Proves() && (r.Proofs.Wanted || next.Unproved() && !r.Record.ToResend()): // a login comes first
		return false
	case wait && failure != nil && !acc.mendedSince(failure):
		return false
	case !r.MaySend(now, env).Ready(now): // an earlier request, a queue, wrong old passwords
		return false
	case r.Record.Unfinished():
		inFlight := next != nil && next.Phase == credential.Sending && !now.After(next.SentUntil)
		windowed := next != nil && next.Phase == credential.Unsent && acc.dueChange[next.Value]
		return !inFlight && (!wait || failure != nil) && !acc.stuck(r.Record) && (!windowed || windowOpen(r.Options, now))
	case role.Waits(r.Record.View(now).State):
		return false
	default:
		due := acc.due(r)
		return !due.IsZero() && !due.After(now) && r.Options.RotationMode == role.ModeAuto && windowOpen(r.Options, now)
	}
}

// provesNow reports whether it is time to log in.
func provesNow(r *role.Role, now time.Time) bool {
	next := r.Record.Next
	inFlight := next != nil && next.Phase == credential.Sending && !now.After(next.SentUntil)
	if inFlight || next.AwaitsForce() || r.Restarts.Part != "" {
		return false
	}
	planned := !r.Proofs.Next.IsZero() && !r.Proofs.Next.After(now) && len(r.Trials(r.Proofs.Recovering)) > 0
	return r.Proofs.Wanted || planned && !r.Record.ToResend()
}

// mendedSince reports whether a failure does not count any more, because the connection was rewritten or opened since. w.mu
// is held.
func (acc *account) mendedSince(f *role.Failure) bool {
	stored, opened := acc.system.connection(), acc.system.opened
	return stored != nil && f.OfConnection() &&
		(f.Revision != 0 && f.Revision != stored.Revision || opened.node == acc.w.node && f.Time.Before(opened.at))
}
