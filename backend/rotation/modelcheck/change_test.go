package modelcheck

import (
	"context"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// fate is what a remote system makes of a request: what it does, and what it says.
type fate string

// The fates, which are events too.
const (
	done         fate = "answer: done"
	slowly       fate = "answer: done, slowly"
	cutDone      fate = "answer: none, done"
	cutUndone    fate = "answer: none, not done"
	late         fate = "answer: none, done within the margin"
	veryLate     fate = "answer: none, done long after the margin"
	hangs        fate = "answer: none until the time is over"
	busy         fate = "answer: busy, with a hint"
	throttled    fate = "answer: throttled"
	badPassword  fate = "answer: password refused"
	badTarget    fate = "answer: account refused"
	hiccup       fate = "answer: credential refused, for once"
	noRights     fate = "answer: no rights to the account"
	unreachable  fate = "answer: unreachable"
	partly       fate = "answer: some servers took it"
	wrongKey     fate = "answer: credential refused" // follows from the credential
	wrongOld     fate = "answer: old password wrong" // follows from the old password
	locked       fate = "answer: account locked"
	stillPending fate = "answer: another change is pending"
)

// drawFate draws by the weather.
func (acc *account) drawFate() fate {
	s := acc.system
	switch dice := acc.dice.IntN(100); {
	case s.weather == down && dice < 50:
		return unreachable
	case s.weather == down:
		return hangs
	case s.weather == calm, s.weather == fair && dice < 85:
		return done
	}
	fates := []fate{done, slowly, cutDone, cutDone, cutUndone, cutUndone, late, veryLate, hangs, busy, throttled, badPassword, badPassword,
		badTarget, hiccup, noRights, unreachable}
	if s.spec.parts > 1 && !s.spec.whole {
		fates = append(fates, partly, partly)
	}
	return fates[acc.dice.IntN(len(fates))]
}

// Change carries out one request, or not, and answers, or not.
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
		clock := time.NewTimer(wait)
		defer clock.Stop()
		select {
		case <-clock.C:
		case <-ctx.Done():
		case <-c.node.gone:
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	acc.underWay--
	acc.advance(w.now())
	result := plan.result
	if ctx.Err() != nil || plan.hang {
		result = provider.Result{Outcome: provider.Unknown, Reason: "no answer in time"}
	}
	if c.node.dies(onAnswer, acc.login) {
		return provider.Result{Outcome: provider.Unknown}
	}
	w.note("   %s is told: %s", acc.login, result.Outcome)
	if result.Outcome == provider.Denied && result.Scope == provider.ScopeConnection {
		c.system.told()
	}
	if result.Outcome == provider.Applied || result.Outcome == provider.Staged {
		c.worked()
	}
	a.result = result
	a.answered = result.Outcome != provider.Unknown
	return result
}

// plan is what comes of a request after it has arrived.
type plan struct {
	result provider.Result
	delay  time.Duration
	hang   bool
}

// arrive is the moment in which the request is there: it is held against the invariants, and its fate is decided.
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
	a := &attempt{password: ch.NewPassword, old: ch.OldPassword, node: c.node, deadline: deadline}
	for _, p := range acc.parts {
		if len(ch.Parts) == 0 || contains(ch.Parts, p.name) {
			a.parts = append(a.parts, p)
		}
	}
	what := acc.drawFate()
	acc.asked++
	w.calls++
	state := acc.checkSending(a, now)
	acc.attempts = append(acc.attempts, a)
	acc.underWay++
	if c.node.dies(onArrival, acc.login) {
		acc.lose(a, []fate{cutDone, cutUndone, late, veryLate}[acc.dice.IntN(4)], now)
		return acc, a, plan{result: provider.Result{Outcome: provider.Unknown}}
	}
	if what != unreachable && what != hangs && c.refuses() {
		what = wrongKey
	}
	what, p := acc.carryOut(a, what, now)
	w.note("   %s is sent %s (old %s): %s", acc.login, acc.label(a.password), acc.label(a.old), what)
	w.cover.count(state, string(what))
	if !canBe(credential.State(state), string(what)) {
		w.fail("%s is %s, in which nothing is sent that could be answered with %q", acc.role, state, what)
	}
	return acc, a, p
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func unknown(reason string) provider.Result {
	return provider.Result{Outcome: provider.Unknown, Reason: reason}
}

// carryOut does what the fate says. The fate may turn out to be another, where the account decides.
func (acc *account) carryOut(a *attempt, what fate, now time.Time) (fate, plan) {
	switch what {
	case cutDone, cutUndone, late, veryLate, hangs:
		acc.lose(a, what, now)
		return what, plan{result: unknown("the connection was cut"), hang: what == hangs}
	case busy:
		hint := []time.Duration{0, 20 * time.Second, 10 * time.Minute}[acc.dice.IntN(3)]
		return what, plan{result: provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy", RetryAfter: hint}}
	case throttled:
		return what, plan{result: provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: time.Minute}}
	case badPassword:
		return what, plan{result: provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: "this password will not do"}}
	case badTarget:
		return what, plan{result: provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"}}
	case hiccup, wrongKey:
		return what, plan{result: denied(provider.ScopeConnection)}
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
	if what == slowly {
		p.delay = time.Duration(1+acc.dice.IntN(20)) * time.Second
	}
	return what, p
}

// refuses is what the account itself says against a request that has got so far.
func (acc *account) refuses(a *attempt, now time.Time) (fate, plan, bool) {
	left := func() *int {
		if acc.dice.IntN(4) == 0 {
			return nil // it need not say
		}
		n := lockAfter - acc.mistyped(now)
		return &n
	}
	if a.old != "" {
		switch acc.checkOld(a, now) {
		case "locked":
			none := 0
			return locked, plan{result: provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "locked",
				RetryAfter: acc.lockedUntil.Sub(now), TriesLeft: &none}}, true
		case "wrong":
			return wrongOld, plan{result: provider.Result{Outcome: provider.Mismatch, Scope: provider.ScopeTarget, Reason: "the old password is wrong", TriesLeft: left()}}, true
		}
	}
	if acc.system.spec.queue && acc.queueBusy() && acc.system.weather != calm && acc.dice.IntN(2) == 0 {
		return stillPending, plan{result: provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "another operation is pending"}}, true
	}
	return "", plan{}, false
}

func (acc *account) queueBusy() bool {
	for _, f := range acc.flights {
		if f.queued {
			return true
		}
	}
	return false
}

// take does a request, and says so.
func (acc *account) take(a *attempt, what *fate, now time.Time) provider.Result {
	s := acc.system.spec
	switch {
	case s.queue:
		acc.enqueue(a, now, acc.system.weather < calm && acc.system.weather != fair && acc.dice.IntN(4) == 0)
		return provider.Result{Outcome: provider.Staged, Stage: provider.StageAccepted}
	case s.restart:
		taken, result := a.parts, provider.Result{Outcome: provider.Staged, Stage: provider.StageRestart}
		if *what == partly && len(a.parts) > 1 {
			taken = a.parts[:1+acc.dice.IntN(len(a.parts)-1)]
			outcomes := []provider.Outcome{provider.Rejected, provider.Busy, provider.Unknown}
			result = provider.Result{Outcome: outcomes[acc.dice.IntN(len(outcomes))], Scope: provider.ScopeTarget, Stage: provider.StageRestart, Reason: "some did not"}
			for _, p := range a.parts[len(taken):] {
				result.Failures = append(result.Failures, provider.PartFailure{Part: p.name, Reason: "it would not"})
			}
			for _, p := range taken {
				result.Taken = append(result.Taken, p.name)
			}
		} else if *what == partly {
			*what = done
		}
		for _, p := range taken {
			p.waiting = a
		}
		return result
	default:
		acc.set(acc.parts[0], a)
		return provider.Result{Outcome: provider.Applied, Exclusive: a.old != ""}
	}
}

// lose: nobody is told what becomes of the request.
func (acc *account) lose(a *attempt, what fate, now time.Time) {
	within := a.deadline.Add(acc.margin()).Sub(now)
	at := now
	switch what {
	case cutUndone:
		return
	case late:
		at = now.Add(time.Duration(acc.dice.Int64N(int64(within))))
	case veryLate:
		if at = now.Add(within).Add(time.Duration(1+acc.dice.IntN(7200)) * time.Second); acc.system.spec.restart {
			return
		}
	case hangs:
		if acc.dice.IntN(2) == 0 {
			return
		}
		at = now.Add(time.Duration(acc.dice.Int64N(int64(within))))
	default: // at once
	}
	parts := a.parts
	if acc.system.spec.restart && !acc.system.spec.whole {
		parts = parts[acc.dice.IntN(len(parts)):]
	}
	for _, p := range parts {
		acc.flights = append(acc.flights, &flight{at: at, attempt: a, part: p})
	}
	acc.advance(now)
}

// enqueue puts a change into the queue, which is done in order.
func (acc *account) enqueue(a *attempt, now time.Time, fails bool) {
	at := now.Add(time.Duration(acc.dice.Int64N(int64(acc.system.spec.settle))))
	for _, f := range acc.flights {
		if f.queued && f.at.After(at) {
			at = f.at
		}
	}
	acc.flights = append(acc.flights, &flight{at: at, attempt: a, part: acc.parts[0], queued: true, fails: fails})
}
