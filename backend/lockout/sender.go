package lockout

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Some remote systems count refusals by the sender's address, over all credentials. What follows is what a call of a
// connection does to this budget.
//
// When the limit is reached, credentials that are not known to work are not used. Those that are known to work are used by
// one call at a time, until one of them is refused too: to wait until the server forgets would cost as much time as a ban.

// BlockedError reports that one more refusal could make the remote system block the sender or lock the account.
type BlockedError struct {
	// Refused is how many calls were, or may have been, refused.
	Refused int
	Window  time.Duration
	// Until is when the remote system has forgotten enough of them.
	Until time.Time
	// Account: only the proofs of one account are blocked. The remote system does not count by sender.
	Account bool
}

func (e *BlockedError) Error() string {
	if e.Account {
		return fmt.Sprintf("%d logins that prove a password of this account were refused, or may have been, within %s, and one more could lock the account",
			e.Refused, e.Window)
	}
	return fmt.Sprintf("%d calls from this mount were refused by this server within %s, and it blocks the sender of too many, whichever credentials they present",
		e.Refused, e.Window)
}

// free returns how many calls of connections may run at a time: all of them may be refused. While a proof waits, it is one
// fewer, but never none: otherwise busy connections would not let it have a turn. b.mu must be held.
func (b *budget) free() int {
	return max(1, b.rules.Refusals-len(b.recent(b.window()))-min(1, b.waiting))
}

// room is free for any caller.
func (b *budget) room() int {
	if b == nil {
		return math.MaxInt
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.free()
}

// enter begins a call and returns nil, or what is closed when another one ends.
func (b *budget) enter() <-chan struct{} {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running >= b.free() {
		return b.changed
	}
	b.running++
	return nil
}

// leave ends a call. If no answer was recorded, the call still counts.
func (b *budget) leave(p *Permit) {
	if b == nil {
		return
	}
	if p.crowds != nil {
		b.end(p.crowds, true)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running--
	b.wake()
}

// take counts a call with a credential that is not known to work, in storage.
func (b *budget) take(ctx context.Context, s Store, p *Permit) error {
	if b == nil {
		return nil
	}
	var call *counted
	if !p.proved {
		call = &counted{}
	}
	err := b.admit(ctx, s, call, func() error {
		recent, limit := b.recent(b.window()), b.rules.Refusals
		if p.proved {
			limit++
			recent = slices.DeleteFunc(recent, func(c *counted) bool { return c.beyond })
		}
		n := len(recent)
		if n >= limit && !p.of.Force {
			return &BlockedError{Refused: n, Window: b.rules.Window, Until: recent[n-limit].at.Add(b.window())}
		}
		if call != nil {
			call.beyond = n >= limit
		}
		return nil
	})
	if err == nil {
		p.crowds = call
	}
	return err
}

// giveBack undoes take.
func (b *budget) giveBack(ctx context.Context, s Store, p *Permit) {
	b.answered(ctx, s, p, false, false)
}

// answered records what came of a call. The answer to a call with a credential that works may be lost in an outage, and does
// not count.
func (b *budget) answered(ctx context.Context, s Store, p *Permit, refused, lost bool) {
	if b == nil || !refused && (lost || p.crowds == nil) {
		return
	}
	call := p.crowds
	if call == nil {
		call = &counted{}
	}
	p.crowds = nil
	b.end(call, refused)
	if err := b.update(ctx, s, func() (bool, error) { return true, nil }, func() {}); err != nil {
		b.Warn("could not store how many calls a remote system refused: a restart may allow more or fewer", err)
	}
}
