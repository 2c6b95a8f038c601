package lockout

import (
	"context"
	"slices"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// budget counts the recent calls that were refused, or may have been, in one entry: all calls to a remote system that counts
// refusals by the address of their sender (sender.go), or the proofs of one account (proofs.go). Calls that work reset
// nothing. A nil budget counts nothing.
type budget struct {
	Config
	key string
	// rules are those for the calls of connections; zero if only proofs are counted.
	rules provider.Sender
	// users is how many proofs use it; guarded by Guards.mu.
	users int
	// storing is held while the entry is updated.
	storing chan struct{}

	mu     sync.Mutex // guards the fields below; never held over a call
	calls  []*counted
	loaded bool
	// last is the latest time in the entry, which may count more calls than this process does.
	last time.Time
	// running is how many calls of connections run, and waiting how many proofs wait for a turn.
	running, waiting int
	changed          chan struct{} // closed and replaced when a call or a proof ends
}

// counted is a call that counts.
type counted struct {
	// at is when it was made or, if this process saw it end, when it ended.
	at time.Time
	// open: it is running.
	open bool
	// beyond: an operator accepted that it exceeds the limit.
	beyond bool
}

// maxCalls is how many calls an entry lists. It is more than any limit.
const maxCalls = 64

// window returns how long a refusal counts for the calls of connections.
func (b *budget) window() time.Duration { return timing.Scaled(b.rules.Window + minMargin) }

// remembers returns how long a refusal counts for proofs: no call counts longer.
func (b *budget) remembers() time.Duration {
	return max(b.window(), timing.Scaled(proofWindow+proofMargin))
}

// recent returns the calls that count within a window, the oldest first. What a clock that was ahead has counted counts from
// now. b.mu must be held.
func (b *budget) recent(window time.Duration) (recent []*counted) {
	now := b.Now()
	for _, c := range b.calls {
		if timing.Ahead(c.at, now) {
			c.at = now
		}
		if c.open || now.Before(c.at.Add(window)) {
			recent = append(recent, c)
		}
	}
	slices.SortStableFunc(recent, func(one, other *counted) int { return one.at.Compare(other.at) })
	return recent
}

// entry returns what to store, and forgets calls that no longer count. b.mu must be held.
func (b *budget) entry() Attempts {
	b.calls = b.recent(b.remembers())
	b.calls = b.calls[max(0, len(b.calls)-maxCalls):]
	var a Attempts
	for _, c := range b.calls {
		a.Calls = append(a.Calls, c.at)
		a.Last = timing.Later(a.Last, c.at)
	}
	b.last = timing.Later(b.last, a.Last)
	return a
}

// idle reports whether it changes nothing to forget the budget, which no guard uses. Guards.mu must be held.
func (b *budget) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if timing.Ahead(b.last, b.Now()) {
		b.last = b.Now()
	}
	return b.users == 0 && len(b.recent(b.remembers())) == 0 && !b.Now().Before(b.last.Add(b.remembers()))
}

// admit counts a call in storage before it is made, if may (called with b.mu held) allows it. A nil call is not counted.
func (b *budget) admit(ctx context.Context, s Store, c *counted, may func() error) error {
	return b.update(ctx, s, func() (bool, error) {
		err := may()
		if err == nil && c != nil {
			c.at, c.open = b.Now(), true
			b.calls = append(b.calls, c)
		}
		return c != nil, err
	}, func() { b.remove(c) })
}

// update changes what is counted, and stores it if the change says so. If that fails, undo undoes the change. Both are called
// with b.mu held.
func (b *budget) update(ctx context.Context, s Store, change func() (bool, error), undo func()) error {
	select {
	case b.storing <- struct{}{}: // held over storage calls only
		defer func() { <-b.storing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := b.read(ctx, s); err != nil {
		return err
	}
	b.mu.Lock()
	changed, err := change()
	if err != nil || !changed {
		b.mu.Unlock()
		return err
	}
	a := b.entry()
	b.mu.Unlock()
	if err = s.PutAttempts(ctx, b.key, a); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		undo()
	}
	return err
}

// end records what came of a call: if it may have been refused, it counts from now on, and otherwise no longer. It stores
// nothing.
func (b *budget) end(c *counted, refused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.remove(c)
	if c.open = false; refused {
		c.at = b.Now()
		b.calls = append(b.calls, c)
	}
	b.wake()
}

// remove takes a call out of the count. b.mu must be held.
func (b *budget) remove(c *counted) {
	b.calls = slices.DeleteFunc(b.calls, func(other *counted) bool { return other == c })
}

// wake lets those who wait for the end of a call look again. b.mu must be held.
func (b *budget) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// load reads what is counted from storage, once.
func (b *budget) load(ctx context.Context, s Store) error {
	if b == nil {
		return nil
	}
	return b.update(ctx, s, func() (bool, error) { return false, nil }, nil)
}

// read is load with b.storing held. The entry may count calls that this process does not, because it was written by another
// one, or because they were given back since. They count.
func (b *budget) read(ctx context.Context, s Store) error {
	b.mu.Lock()
	loaded := b.loaded
	b.mu.Unlock()
	if loaded {
		return nil
	}
	stored, err := s.Attempts(ctx, b.key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	known := slices.Clone(b.calls)
	for _, at := range stored.Calls {
		same := slices.IndexFunc(known, func(c *counted) bool { return c.at.Equal(at) })
		if same >= 0 {
			known = slices.Delete(known, same, same+1)
			continue
		}
		b.calls = append(b.calls, &counted{at: at})
	}
	b.loaded, b.last = true, timing.Later(b.last, stored.Last)
	return nil
}
