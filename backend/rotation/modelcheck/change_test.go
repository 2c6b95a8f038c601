package modelcheck

import (
	"context"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// reaction is what a remote system does with a request, and what it answers.
type reaction string

// The reactions, which are events too.
const (
	done         reaction = "answer: done"
	slow         reaction = "answer: done, after seconds"
	lostDone     reaction = "answer lost, change made"
	lostUndone   reaction = "answer lost, change not made"
	late         reaction = "answer lost, change made within the margin"
	veryLate     reaction = "answer lost, change made long after"
	hangs        reaction = "no answer in time"
	busy         reaction = "answer: busy, with a hint"
	throttled    reaction = "answer: throttled"
	badPassword  reaction = "answer: password refused"
	badTarget    reaction = "answer: account refused"
	refusedOnce  reaction = "answer: credential refused once"
	noRights     reaction = "answer: no rights to the account"
	unreachable  reaction = "unreachable"
	partial      reaction = "answer: some servers took it"
	wrongKey     reaction = "answer: credential refused" // depends on the credential
	wrongOld     reaction = "answer: old password wrong" // depends on the old password
	locked       reaction = "answer: account locked"
	stillPending reaction = "answer: another change is pending"
	notInForce   reaction = "answer: confirmed, not in force yet" // or never
	serverError  reaction = "answer: every request refused"
)

var reactions = []reaction{
	done, slow, lostDone, lostUndone, late, veryLate, hangs, busy, throttled, badPassword, badTarget, refusedOnce, noRights,
	unreachable, partial, wrongKey, wrongOld, locked, stillPending, notInForce, serverError,
}

// drawReaction draws a reaction that fits the weather.
func (acc *account) drawReaction() reaction {
	s := acc.system
	switch n := acc.rng.IntN(100); {
	case s.weather == down && n < 50:
		return unreachable
	case s.weather == down:
		return hangs
	case s.weather == calm, s.weather == fair && n < 85:
		return done
	}
	drawn := []reaction{
		done, slow, lostDone, lostDone, lostUndone, lostUndone, late, veryLate, hangs, busy, throttled, badPassword, badPassword,
		badTarget, refusedOnce, noRights, unreachable, serverError,
	}
	if !s.spec.queue && !s.spec.restart {
		drawn = append(drawn, notInForce, notInForce)
	}
	if s.spec.parts > 1 && !s.spec.whole {
		drawn = append(drawn, partial, partial)
	}
	return drawn[acc.rng.IntN(len(drawn))]
}

// Change handles one request to change a password.
func (c *client) Change(ctx context.Context, ch provider.Change) provider.Result {
	w := c.system.w
	acc, a, plan := c.arrive(ctx, ch)
	if acc == nil {
		return provider.Result{Outcome: provider.Unreachable}
	}
	if plan.hang || plan.delay > 0 {
		wait := time.Hour
		if !plan.hang {
			wait = plan.delay
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-c.node.gone:
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	acc.inFlight--
	acc.advance(w.now())
	result := plan.result
	if ctx.Err() != nil || plan.hang {
		result = lost("no answer in time")
	}
	if c.node.crashes(onAnswer, acc.login) {
		return provider.Result{Outcome: provider.Unknown}
	}
	w.note("   %s answers: %s", acc.login, result.Outcome)
	if result.Outcome == provider.Denied && result.Scope == provider.ScopeConnection {
		c.system.refusalSeen()
	}
	switch {
	case result.Outcome == provider.Applied, result.Outcome == provider.Staged, result.Accepted:
		c.worked(plan.doubts)
	case result.Outcome == provider.Unknown:
		c.system.answerLost()
	default: // it says nothing about the credential
	}
	if result.Outcome == provider.Busy && result.Scope == provider.ScopeConnection {
		c.system.throttle(result.RetryAfter)
	}
	a.result, a.ended = result, w.now()
	a.answered = result.Outcome != provider.Unknown
	return result
}

// plan is what follows after a request has arrived.
type plan struct {
	result provider.Result
	delay  time.Duration
	hang   bool
	// doubts are those of the system when the request arrived.
	doubts int
}

// arrive checks a request that arrives, and decides what follows.
func (c *client) arrive(ctx context.Context, ch provider.Change) (*account, *attempt, plan) {
	w := c.system.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.node.dead || ctx.Err() != nil {
		return nil, nil, plan{}
	}
	acc, now := w.byLogin[ch.Target.Username], w.now()
	acc.advance(now)
	deadline, _ := ctx.Deadline()
	a := &attempt{password: ch.NewPassword, old: ch.OldPassword, node: c.node, deadline: deadline, arrived: now}
	for _, p := range acc.parts {
		if len(ch.Parts) == 0 || slices.Contains(ch.Parts, p.name) {
			a.parts = append(a.parts, p)
		}
	}
	what := acc.drawReaction()
	acc.calls++
	w.calls++
	state := acc.checkSending(a, now)
	acc.attempts = append(acc.attempts, a)
	acc.inFlight++
	if c.node.crashes(onArrival, acc.login) {
		acc.lose(a, []reaction{lostDone, lostUndone, late, veryLate}[acc.rng.IntN(4)], now)
		return acc, a, plan{result: provider.Result{Outcome: provider.Unknown}}
	}
	if what != unreachable && what != hangs && c.refuses() {
		what = wrongKey
	}
	what, p := acc.react(a, what, now)
	p.doubts = c.system.doubts
	w.note("   %s is sent %s (old %s): %s", acc.login, acc.label(a.password), acc.label(a.old), what)
	w.cover.count(append(acc.conditions(now), state), string(what))
	if !canHappen(state, string(what)) {
		w.fail("%s is %s, in which nothing is sent that could be answered with %q", acc.role, state, what)
	}
	return acc, a, p
}

func lost(reason string) provider.Result {
	return provider.Result{Outcome: provider.Unknown, Reason: reason}
}

// react does what the reaction says. Another one is returned where the account decides otherwise.
func (acc *account) react(a *attempt, what reaction, now time.Time) (reaction, plan) {
	switch what {
	case lostDone, lostUndone, late, veryLate, hangs:
		acc.lose(a, what, now)
		return what, plan{result: lost("the connection was cut"), hang: what == hangs}
	case busy:
		hint := []time.Duration{0, 20 * time.Second, 10 * time.Minute}[acc.rng.IntN(3)]
		return what, plan{result: provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy", RetryAfter: hint}}
	case throttled:
		return what, plan{result: provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: time.Minute}}
	case badPassword:
		return what, plan{result: provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: "the password is not allowed"}}
	case badTarget:
		return what, plan{result: provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"}}
	case refusedOnce, wrongKey:
		return what, plan{result: denied(provider.ScopeConnection)}
	case serverError:
		return what, plan{result: provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeConnection, Reason: "the license has expired"}}
	case noRights:
		return what, plan{result: denied(provider.ScopeTarget)}
	case unreachable:
		return what, plan{result: provider.Result{Outcome: provider.Unreachable, Reason: "no connection"}}
	default: // the account decides
	}
	if what, p, refused := acc.refuses(a, now); refused {
		return what, p
	}
	p := plan{result: acc.take(a, &what, now)}
	if what == slow {
		p.delay = time.Duration(1+acc.rng.IntN(20)) * time.Second
	}
	return what, p
}

// refuses reports whether the account refuses the request, and how.
func (acc *account) refuses(a *attempt, now time.Time) (reaction, plan, bool) {
	left := func() *int {
		if acc.rng.IntN(4) == 0 {
			return nil // it need not say
		}
		n := lockAfter - acc.wrongInRow(now)
		return &n
	}
	if a.old != "" {
		switch acc.checkOld(a, now) {
		case "locked":
			none := 0
			return locked, plan{result: provider.Result{
				Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "locked",
				RetryAfter: acc.lockedUntil.Sub(now), TriesLeft: &none,
			}}, true
		case "wrong":
			return wrongOld, plan{result: provider.Result{Outcome: provider.Mismatch, Scope: provider.ScopeTarget, Reason: "the old password is wrong", TriesLeft: left()}}, true
		}
	}
	if acc.system.spec.queue && acc.queued() && acc.system.weather != calm && acc.rng.IntN(2) == 0 {
		return stillPending, plan{result: provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "another operation is pending"}}, true
	}
	return "", plan{}, false
}

// queued reports whether a change is in the queue.
func (acc *account) queued() bool {
	return slices.ContainsFunc(acc.effects, func(f *effect) bool { return f.queued })
}

// take makes the change, or queues or stages it, and returns the answer.
func (acc *account) take(a *attempt, what *reaction, now time.Time) provider.Result {
	s := acc.system.spec
	switch {
	case s.queue:
		acc.enqueue(a, now, acc.system.weather < calm && acc.system.weather != fair && acc.rng.IntN(4) == 0)
		return provider.Result{Outcome: provider.Staged, Stage: provider.StageAccepted}
	case s.restart:
		taken, result := a.parts, provider.Result{Outcome: provider.Staged, Stage: provider.StageRestart}
		if *what == partial && len(a.parts) > 1 {
			taken = a.parts[:1+acc.rng.IntN(len(a.parts)-1)]
			outcomes := []provider.Outcome{provider.Rejected, provider.Busy, provider.Unknown}
			result = provider.Result{Outcome: outcomes[acc.rng.IntN(len(outcomes))], Scope: provider.ScopeTarget, Stage: provider.StageRestart, Reason: "some servers did not take it"}
			for _, p := range a.parts[len(taken):] {
				result.Failures = append(result.Failures, provider.PartFailure{Part: p.name, Reason: "refused"})
			}
			for _, p := range taken {
				result.Taken = append(result.Taken, p.name)
			}
		} else if *what == partial {
			*what = done
		}
		for _, p := range taken {
			p.waiting = a
		}
		return result
	case *what == notInForce:
		acc.lose(a, []reaction{late, late, lostUndone}[acc.rng.IntN(3)], now)
		return provider.Result{Outcome: provider.Unknown, Accepted: true, Reason: "the change is confirmed, but not in force"}
	default:
		acc.set(acc.parts[0], a)
		return provider.Result{Outcome: provider.Applied, Exclusive: a.old != ""}
	}
}

// lose decides what becomes of a request whose answer is lost.
func (acc *account) lose(a *attempt, what reaction, now time.Time) {
	within := a.deadline.Add(acc.margin()).Sub(now)
	at := now
	switch what {
	case lostUndone:
		return
	case late:
		at = now.Add(time.Duration(acc.rng.Int64N(int64(within))))
	case veryLate:
		if at = now.Add(within).Add(time.Duration(1+acc.rng.IntN(7200)) * time.Second); acc.system.spec.restart {
			return
		}
	case hangs:
		if acc.rng.IntN(2) == 0 {
			return
		}
		at = now.Add(time.Duration(acc.rng.Int64N(int64(within))))
	default: // at once
	}
	parts := a.parts
	if acc.system.spec.restart && !acc.system.spec.whole {
		parts = parts[acc.rng.IntN(len(parts)):]
	}
	for _, p := range parts {
		acc.effects = append(acc.effects, &effect{at: at, attempt: a, part: p})
	}
	acc.advance(now)
}

// enqueue puts a change into the queue, which keeps its order.
func (acc *account) enqueue(a *attempt, now time.Time, fails bool) {
	at := now.Add(time.Duration(acc.rng.Int64N(int64(acc.system.spec.settle))))
	for _, f := range acc.effects {
		if f.queued && f.at.After(at) {
			at = f.at
		}
	}
	acc.effects = append(acc.effects, &effect{at: at, attempt: a, part: acc.parts[0], queued: true, fails: fails})
}
