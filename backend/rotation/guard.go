package rotation

import (
	"context"
	"math"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// A guard keeps a credential from being locked by the engine's own tries, over restarts too. Remote systems that lock
// count refusals in a row (provider.Lockout), so the engine never lets that many come about:
//
//   - Until a call has worked (after a start, after a refusal) calls are made one at a time, and each is counted in
//     storage before it is made: a crash may hide its answer.
//   - Once one has worked, a few may be under way together. Storage then says that as many may have been refused.
//   - When one more refusal would lock the credential, no call is made. A call that works ends the count.
//
// All connections of the mount that show the same credential share one guard.
type guard struct {
	key     string // of its entry in storage
	lockout provider.Lockout
	// checking is held over the one check that follows a refused credential, by background work only.
	checking chan struct{}

	mu sync.Mutex // guards the fields below; never held over a call
	// proved: a call has worked since the start, and none was refused since then.
	proved bool
	// leased: storage says what this process may have under way, not what became of it.
	leased bool
	// refusals in a row that this process has seen.
	refusals int
	// unseen are calls in a row that may have been refused, since the last one that worked. They count once a refusal is
	// seen: most answers are lost in outages. What only logs in for a session shows the credential and nothing else, and
	// stops by itself.
	unseen int
	// ever counts the refusals and the unseen that were told since the start: a call that works proves nothing about those
	// that were told while it was under way, as the remote system may have looked at them after it.
	ever struct{ refusals, unseen int }
	// suspect: a call was refused, and the check that follows is not over.
	suspect  bool
	underWay int
	changed  chan struct{} // closed, and another made, when a call ends
	// hold is until when the remote system asked to wait.
	hold   time.Time
	loaded bool // hold is that of storage, or a later one
}

// limit is how many refusals in a row the engine lets come about; 0: nothing is locked.
func (g *guard) limit() int { return max(0, g.lockout.Refusals-1) }

// together is how many calls may show a credential that works at the same time: if they are refused all at once, a
// failure and a check can still follow.
func (g *guard) together() int {
	if g.lockout.Session {
		return 1 // logs in for all
	}
	return max(1, g.limit()/2)
}

// forgets is after which time without another call the remote system is likely to have forgotten the refusals.
func (g *guard) forgets() time.Duration {
	return scaled(max(firstProbe, g.lockout.Window+time.Minute))
}

// counts tells whether refusals have to be counted at all.
func (g *guard) counts() bool { return g.lockout.Refusals > 0 }

// room is how many calls may be under way; g.mu is held.
func (g *guard) room() int {
	switch {
	case !g.counts(), g.lockout.Session && g.proved:
		return math.MaxInt
	case g.proved && g.refusals == 0:
		return max(1, g.together()-g.unseen)
	default:
		return 1
	}
}

// turn is the right to make one call. leave must be called.
type turn struct {
	guard *guard
	// counted: the call has to be counted in storage before it is made. before is what storage said.
	counted bool
	before  tries
	// ever is the guard's when the turn began.
	ever struct{ refusals, unseen int }
	// check: the call is a check itself, which no other follows.
	check bool
	left  bool
}

// enter waits for a turn until the context ends; without a context it returns errFull where it would have to.
func (g *guard) enter(waiting context.Context) (*turn, error) {
	for {
		g.mu.Lock()
		if g.underWay < g.room() {
			g.underWay++
			t := &turn{guard: g, counted: g.counts() && (!g.proved || g.refusals > 0), ever: g.ever}
			g.mu.Unlock()
			return t, nil
		}
		changed := g.changed
		g.mu.Unlock()
		if waiting == nil {
			return nil, errFull
		}
		select {
		case <-changed:
		case <-waiting.Done():
			return nil, errGivenUp
		}
	}
}

// leave ends the turn. It may be called again.
func (t *turn) leave() {
	g := t.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.left {
		return
	}
	t.left = true
	g.underWay--
	close(g.changed)
	g.changed = make(chan struct{})
}

// suspected tells whether the credential was refused and is being checked.
func (g *guard) suspected() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.suspect
}

// checked: the check that follows a refusal is over, whatever came of it.
func (g *guard) checked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suspect = false
}

// drain waits until the calls that are under way have ended: each of them may be refused too. No new one begins while
// the credential is suspected.
func (g *guard) drain(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		g.mu.Lock()
		underWay, changed := g.underWay, g.changed
		g.mu.Unlock()
		if underWay == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (g *guard) heldUntil() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hold
}
