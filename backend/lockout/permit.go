package lockout

import (
	"context"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Permit allows one call with a credential. Call Leave when done.
type Permit struct {
	guard *Guard
	// counted: the call must be counted in storage before it is made.
	counted bool
	taken   bool // it was counted
	// crowds is how it counts for the sender; nil if it does not.
	crowds *counted
	// at is when, and last the Last of the entry before that. renewed: it used up Attempts.Renewed.
	at, last time.Time
	renewed  bool
	// proved, total and holds are the guard's when the permit was given.
	proved bool
	total  counts
	holds  int
	// check: the call is itself a check, so that no check follows it.
	check bool
	// trial: a refusal says nothing about the secret in use. secret is the fingerprint of the secret that the call presents.
	trial  bool
	secret string
	by     string // the connection that makes the call
	of     Trial  // of an operator
	left   bool
}

// ForCheck marks the call as a check of the credential. If it is refused, no other check follows.
func (p *Permit) ForCheck() { p.check = true }

// Leave ends the permit. Calling it again has no effect.
func (p *Permit) Leave() {
	g := p.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.left {
		return
	}
	p.left = true
	g.running--
	g.here--
	g.sender.leave(p)
	close(g.changed)
	g.changed = make(chan struct{})
}

// Take counts the call in storage. It returns a [*SpentError] if a refusal of this call could lock the credential, a
// [*BlockedError] if it could block the sender, or a storage error. With byOperator, it allows one more call when the remote
// system has probably forgotten the earlier refusals.
func (p *Permit) Take(ctx context.Context, s Store, byOperator bool) error {
	if err := p.guard.sender.take(ctx, s, p); err != nil {
		return err
	}
	err := p.take(ctx, s, byOperator)
	if err != nil {
		p.guard.sender.giveBack(ctx, s, p)
	}
	return err
}

// take is Take for the credential.
func (p *Permit) take(ctx context.Context, s Store, byOperator bool) error {
	if !p.counted {
		return nil
	}
	g, now := p.guard, p.guard.Now()
	var spent *SpentError
	err := g.update(ctx, s, func(a *Attempts) {
		known := g.known(*a)
		known.Unanswered += g.endLease()
		forgotten := known.Last.Add(g.Forgets())
		at, ok := g.next(known, now)
		allowed := ok && at.IsZero()
		if p.trial && known.Refused+known.Unanswered >= g.forTrials(known) {
			allowed = false
			if at = forgotten; ok && !at.After(now) { // the count may have been reset by then
				at = now.Add(g.Forgets())
			}
		}
		if allowed = allowed || p.of.Force || byOperator && !p.of.Refused && !now.Before(forgotten); allowed {
			p.at, p.last, p.renewed = now, known.Last, known.Renewed
			known.Unanswered++
			known.Last, known.Renewed = now, false
		} else { // stored too: a restart must not allow more
			spent = &SpentError{Attempts: known, Limit: g.limit(), Next: at, Forgotten: forgotten, By: p.another(known)}
		}
		*a = known
	}, nil)
	switch { // after an error, what this process knows counts as before
	case spent == nil:
		p.taken = err == nil
		return err
	case err != nil:
		g.Warn("could not store that a credential may not be used any more: a restart may allow more attempts", err)
	}
	return spent
}

// GiveBack undoes Take, because the call was not made.
func (p *Permit) GiveBack(ctx context.Context, s Store) {
	p.guard.sender.giveBack(ctx, s, p)
	if p.taken {
		p.taken = false
		p.guard.lower(ctx, s, func(a *Attempts) {
			a.Unanswered = max(0, a.Unanswered-1)
			if a.Last.Equal(p.at) { // no other attempt was made since
				a.Last, a.Renewed = p.last, p.renewed
			}
		})
	}
}

// Answered ends the permit and records what the result says about the credential. The outcome Busy with ScopeConnection
// begins a hold.
func (p *Permit) Answered(ctx context.Context, s Store, result provider.Result) {
	defer p.Leave()
	g := p.guard
	refused := result.Outcome == provider.Denied && result.Scope == provider.ScopeConnection && !result.Unsent
	worked := accepted(result)
	lost := result.Unseen || result.Outcome == provider.Unknown && !worked
	// A call in a session that works presents the credential only when the session has ended, so it proves nothing about it.
	inSession := g.lockout.Session && p.proved
	g.mu.Lock()
	switch {
	case worked && inSession:
	case worked:
		g.refusals = min(g.refusals, g.total.refusals-p.total.refusals)
		g.trials = min(g.trials, g.total.trials-p.total.trials, g.refusals)
		g.unanswered = min(g.unanswered, g.total.unanswered-p.total.unanswered)
		if g.refusals == 0 {
			g.suspect, g.by = false, ""
		}
		if !g.Counts() {
			g.proved, g.secret = p.total.doubts == g.total.doubts, p.secret
		}
	default:
		switch {
		case refused:
			g.refusals++
			g.total.refusals++
			g.last, g.by = g.Now(), p.by
			g.suspect = g.suspect || !p.check
			if p.trial {
				g.trials++
				g.total.trials++
			} else {
				g.doubt()
			}
		case result.Unseen, lost && !g.lockout.Session: // calls in a session do not present the credential
			g.unanswered++
			g.total.unanswered++
			g.last = g.Now()
			if g.lockout.Session {
				g.doubt()
			}
		}
	}
	held := g.hold.Until.After(g.Now())
	if endsHold(result) {
		p.endHold()
	}
	released := held && g.hold.Until.IsZero()
	refusals, trials := g.refusals, g.trials
	g.mu.Unlock()
	if released { // otherwise a restart would bring it back
		g.storeHold(ctx, s, Hold{})
	}
	if throttled(result) {
		p.hold(ctx, s, result)
	}
	g.sender.answered(ctx, s, p, refused, lost)
	p.note(ctx, s, refused, worked)
	switch {
	case !p.taken:
	case worked:
		if g.store(ctx, s, Attempts{Refused: refusals, Trials: trials, Unanswered: g.together(), Last: g.Now()}) {
			g.mu.Lock()
			g.leased, g.proved, g.secret = true, p.total.doubts == g.total.doubts, p.secret
			g.mu.Unlock()
		}
	case refused:
		g.lower(ctx, s, func(a *Attempts) {
			a.Unanswered = max(0, a.Unanswered-1)
			a.Refused++
			if p.trial {
				a.Trials++
			}
			a.Last, a.By = g.Now(), p.by
		})
	case result.Unseen, lost && !inSession: // it may have been refused, so it stays counted
	default: // the credential was not checked
		p.GiveBack(ctx, s)
	}
}

// accepted reports whether the remote system accepted the credential. It may answer other calls before it checks it.
func accepted(result provider.Result) bool {
	switch result.Outcome {
	case provider.Applied, provider.Staged, provider.Mismatch:
		return !result.Unsent
	default:
		return result.Accepted
	}
}
