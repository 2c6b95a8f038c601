package lockout

import (
	"context"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Hold is a time during which no call is made to a service with a credential, because the service throttles it.
type Hold struct {
	// Until is when the next call may be made; zero if there is no hold.
	Until time.Time
	// Since is when the last call was throttled. Code and Reason are those of its result.
	Since  time.Time
	Code   string
	Reason string
	// Asked: the remote system said how long to wait.
	Asked bool
	// By is the connection whose call was throttled.
	By string
}

// HeldUntil returns when the hold ends; zero if there is none.
func (g *Guard) HeldUntil() time.Time { return g.Held().Until }

// Held returns the hold; the zero value if there is none.
func (g *Guard) Held() Hold {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held()
}

// held is Held with g.mu held.
func (g *Guard) held() Hold {
	if g.hold.Until.Sub(g.Now()) > 2*maxHint { // a clock that was ahead began it
		return Hold{}
	}
	return g.hold
}

// EndHold ends a hold, because an operator wants an attempt now. Calls are still made one at a time until one works.
func (g *Guard) EndHold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = Hold{}
}

// HoldEnded returns when a call ended the last hold; zero if none did.
func (g *Guard) HoldEnded() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended
}

// MayProbe reports whether a call for which an operator waits may find out whether the service still throttles: it did not
// ask to wait, and the last call was not throttled a moment ago.
func (g *Guard) MayProbe() bool {
	held, now := g.Held(), g.Now()
	return held.Until.After(now) && !held.Asked && !now.Before(held.Since.Add(timing.Scaled(probeGap)))
}

// Load reads the hold, and what is known of the sender, from storage, once.
func (g *Guard) Load(ctx context.Context, s Store) error {
	if err := g.sender.load(ctx, s); err != nil {
		return err
	}
	g.mu.Lock()
	loaded := g.loaded
	g.mu.Unlock()
	if loaded {
		return nil
	}
	stored, err := s.Attempts(ctx, g.holdKey)
	if err != nil {
		return err
	}
	earlier, err := s.Attempts(ctx, g.key) // earlier versions stored the hold there
	if err != nil {
		return err
	}
	if earlier.Hold.After(stored.Hold) {
		stored = earlier
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.loaded = true
	if stored.Hold.After(g.hold.Until) {
		g.hold = stored.hold()
	}
	if g.holds == 0 && g.hold.Until.After(g.Now()) {
		g.holds = 1 // the first call after it is a probe
	}
	return nil
}

// hold returns the hold of an entry.
func (a Attempts) hold() Hold {
	return Hold{Until: a.Hold, Since: a.HeldSince, Code: a.HeldCode, Reason: a.HeldReason, Asked: a.HeldAsked, By: a.By}
}

// throttled reports whether the remote system asked for fewer calls with this credential.
func throttled(result provider.Result) bool {
	return result.Outcome == provider.Busy && result.Scope == provider.ScopeConnection
}

// endsHold reports whether the remote system handled the call, so that it no longer throttles the credential.
func endsHold(result provider.Result) bool {
	return !throttled(result) && !result.Unsent && result.Outcome != provider.Unknown && result.Outcome != provider.Unreachable
}

// endHold ends the hold after a call. A check reads, and changes may still be throttled: the next call remains a probe.
// g.mu must be held.
func (p *Permit) endHold() {
	g := p.guard
	if p.holds != g.holds || g.holds == 0 { // a hold began during the call, or there is none
		return
	}
	g.hold = Hold{}
	if !p.check {
		g.holds, g.ended = 0, g.Now()
	}
}

// hold begins a hold of all calls to the service with the credential: for the time that the remote system asks for, or for a
// time that doubles with each hold. Concurrent calls begin one hold together, and a call during a hold does not begin
// another.
func (p *Permit) hold(ctx context.Context, s Store, result provider.Result) {
	g := p.guard
	g.mu.Lock()
	now := g.Now()
	if p.holds == g.holds && !g.held().Until.After(now) {
		g.holds++
	}
	wait := timing.Scaled(min(lastHold, firstHold<<min(max(0, g.holds-1), 10)))
	asked := result.RetryAfter > 0
	if asked {
		wait = min(max(result.RetryAfter, timing.Scaled(minHint)), maxHint)
	}
	next := Hold{Until: now.Add(g.Jitter(wait)), Since: now, Code: result.Code, Reason: result.Reason, Asked: asked, By: p.by}
	longer := next.Until.After(g.held().Until)
	if longer {
		g.hold = next
	}
	g.mu.Unlock()
	if longer && wait >= timing.Scaled(holdStored) {
		g.storeHold(ctx, s, next)
	}
}

// storeHold stores the hold, unless another one began since.
func (g *Guard) storeHold(ctx context.Context, s Store, h Hold) {
	g.storing <- struct{}{} // held over storage calls only
	defer func() { <-g.storing }()
	if g.Held() != h {
		return
	}
	err := s.PutAttempts(ctx, g.holdKey, Attempts{Hold: h.Until, HeldSince: h.Since, HeldCode: h.Code, HeldReason: h.Reason, HeldAsked: h.Asked, By: h.By})
	if err != nil {
		g.Warn("could not store for how long calls with a credential are held: a restart may make one earlier", err)
	}
}

// releaseHold ends the hold because an operator wrote the credential. The next call is a probe.
func (g *Guard) releaseHold(ctx context.Context, s Store) error {
	select {
	case g.storing <- struct{}{}:
		defer func() { <-g.storing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	g.hold, g.holds, g.loaded = Hold{}, min(g.holds, 1), true
	g.mu.Unlock()
	stored, err := s.Attempts(ctx, g.holdKey)
	if err != nil || stored.Hold.IsZero() {
		return err
	}
	return s.PutAttempts(ctx, g.holdKey, Attempts{})
}
