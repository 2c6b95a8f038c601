package lockout

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// sender counts the refusals that a remote system counts by the sender's address, over all credentials. Refusals count until
// none was added for as long as the remote system remembers one. Calls that work do not reset them.
//
// When the limit is reached, credentials that are not known to work are not used. Those that are known to work are used by
// one call at a time, until one of them is refused too: to wait until the server forgets would cost as much time as a ban.
//
// A nil sender counts nothing.
type sender struct {
	Config
	key   string
	rules provider.Sender
	// storing is held while the entry is updated.
	storing chan struct{}

	mu      sync.Mutex // guards the fields below; never held over a call
	seen    Attempts   // as in storage, or later
	loaded  bool
	running int
	changed chan struct{} // closed and replaced when a call ends
}

// BlockedError reports that one more refusal could make the remote system block the sender.
type BlockedError struct {
	// Refused is how many calls were, or may have been, refused.
	Refused int
	Window  time.Duration
	// Until is when the remote system has forgotten them.
	Until time.Time
}

func (e *BlockedError) Error() string {
	return fmt.Sprintf("%d calls from this mount were refused by this server within %s, and it blocks the sender of too many, whichever credentials they present",
		e.Refused, e.Window)
}

// window returns how long a refusal counts.
func (x *sender) window() time.Duration { return timing.Scaled(x.rules.Window + minMargin) }

// count returns how many refusals the remote system may remember. x.mu must be held.
func (x *sender) count() int {
	x.seen = x.seen.correctClock(x.Now())
	if !x.Now().Before(x.seen.Last.Add(x.window())) {
		return 0
	}
	return x.seen.Refused + x.seen.Unanswered
}

// free returns how many calls may run at a time: all of them may be refused. x.mu must be held.
func (x *sender) free() int { return max(1, x.rules.Refusals-x.count()) }

// room is free for any caller.
func (x *sender) room() int {
	if x == nil {
		return math.MaxInt
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.free()
}

// enter begins a call and returns nil, or what is closed when another one ends.
func (x *sender) enter() <-chan struct{} {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running >= x.free() {
		return x.changed
	}
	x.running++
	return nil
}

// leave ends a call.
func (x *sender) leave() {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.running--
	close(x.changed)
	x.changed = make(chan struct{})
}

// take counts a call with a credential that is not known to work, in storage.
func (x *sender) take(ctx context.Context, s Store, p *Permit) error {
	if x == nil {
		return nil
	}
	var blocked *BlockedError
	err := x.update(ctx, s, func(a *Attempts, now time.Time) {
		if n := a.Refused + a.Unanswered; n >= x.rules.Refusals && !p.proved && !p.of.Force {
			blocked = &BlockedError{Refused: n, Window: x.rules.Window, Until: a.Last.Add(x.window())}
			return
		}
		if !p.proved {
			p.crowds, p.crowdedAt, p.crowdedLast = true, now, a.Last
			a.Unanswered++
			a.Last = now
		}
	}, func() { p.crowds = false })
	if blocked != nil {
		return blocked
	}
	return err
}

// giveBack undoes take.
func (x *sender) giveBack(ctx context.Context, s Store, p *Permit) {
	x.answered(ctx, s, p, false, false)
}

// answered records what came of a call. The answer to a call with a credential that works may be lost in an outage.
func (x *sender) answered(ctx context.Context, s Store, p *Permit, refused, lost bool) {
	if x == nil || !refused && (lost || !p.crowds) {
		return
	}
	err := x.update(ctx, s, func(a *Attempts, now time.Time) {
		if p.crowds {
			p.crowds = false
			a.Unanswered = max(0, a.Unanswered-1)
			if a.Last.Equal(p.crowdedAt) { // no other call was counted since
				a.Last = p.crowdedLast
			}
		}
		if refused {
			a.Refused++
			a.Last = now
		}
	}, nil)
	if err != nil {
		x.Warn("could not store how many calls a remote system refused: a restart may allow more or fewer", err)
	}
}

// update changes what is known, and stores it. If that fails, undo undoes the change.
func (x *sender) update(ctx context.Context, s Store, change func(a *Attempts, now time.Time), undo func()) error {
	select {
	case x.storing <- struct{}{}: // held over storage calls only
		defer func() { <-x.storing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := x.read(ctx, s); err != nil {
		return err
	}
	x.mu.Lock()
	before := x.seen
	if x.count() == 0 {
		x.seen.Refused, x.seen.Unanswered = 0, 0
	}
	change(&x.seen, x.Now())
	after := x.seen
	x.mu.Unlock()
	if after.Refused == before.Refused && after.Unanswered == before.Unanswered && after.Last.Equal(before.Last) {
		return nil
	}
	err := s.PutAttempts(ctx, x.key, after)
	if err != nil && undo != nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.seen = before
		undo()
	}
	return err
}

// load reads what is known from storage, once.
func (x *sender) load(ctx context.Context, s Store) error {
	if x == nil {
		return nil
	}
	select {
	case x.storing <- struct{}{}:
		defer func() { <-x.storing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return x.read(ctx, s)
}

// read is load with x.storing held.
func (x *sender) read(ctx context.Context, s Store) error {
	x.mu.Lock()
	loaded := x.loaded
	x.mu.Unlock()
	if loaded {
		return nil
	}
	stored, err := s.Attempts(ctx, x.key)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.loaded = true
	if stored.Last.After(x.seen.Last) || stored.Refused+stored.Unanswered > x.seen.Refused+x.seen.Unanswered {
		x.seen = stored
	}
	return nil
}
