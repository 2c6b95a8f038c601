package modelcheck

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

// weather is how reliable a remote system is for a while.
type weather int

const (
	fair weather = iota
	stormy
	down
	calm // nothing goes wrong
)

func (w weather) String() string { return [...]string{"fair", "stormy", "down", "calm"}[w] }

// system is one remote system. One connection leads to it.
type system struct {
	w       *world
	spec    *spec
	name    string // of the connection
	url     string
	rng     *rand.Rand
	weather weather
	// key is the credential that it accepts; keys counts those it has had.
	key  string
	keys int
	// refused counts refusals in a row, each within the lock window of the one before at lastRefused.
	refused     int
	lastRefused time.Time
	// refusalsSeen counts the refusals in a row that the engine was told of since an operator last wrote a credential. The
	// engine must stop after four, however far apart they are.
	refusalsSeen int
	// trusted is the node that knows that the credential works, and need not count its calls.
	trusted *node
	// doubts counts lost answers and written credentials: a call that began before proves nothing about the credential.
	doubts int
	// throttledUntil is when the engine may call again after it was throttled.
	throttledUntil time.Time
	// mended is when an operator wrote the credential of the paused connection, opened when a probe ended the pause.
	mended, opened occasion
	// mending counts the writes of the connection in flight.
	mending int
	// probing is since when the engine can make the probe that is due.
	probing time.Time
}

// occasion is a moment in the life of a node.
type occasion struct {
	node *node
	at   time.Time
}

// throttle notes that the engine was asked not to call for d, to which it adds up to a quarter.
func (s *system) throttle(d time.Duration) {
	if until := s.w.now().Add(d + d/4); until.After(s.throttledUntil) {
		s.throttledUntil = until
	}
}

// connection returns the connection as stored, or nil. w.mu is held.
func (s *system) connection() *connection.Connection {
	return entry[connection.Connection](s.w, store.ConnectionPrefix+s.name)
}

// pause returns the pause of the connection, or nil. w.mu is held.
func (s *system) pause() *health.PausedConnection {
	list := s.w.node.engine.Health().Paused
	i := slices.IndexFunc(list, func(p health.PausedConnection) bool { return p.Connection == s.name })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// client is one node's client of a system.
type client struct {
	node   *node
	system *system
	key    string
}

// refuses reports whether the system refuses the credential, and counts it: by login, whichever key is shown. w.mu is
// held.
func (c *client) refuses() bool {
	s, now := c.system, c.system.w.now()
	if c.key == s.key {
		s.refused, s.refusalsSeen = 0, 0
		return false
	}
	if now.Sub(s.lastRefused) > lockWindow {
		s.refused = 0
	}
	s.refused++
	s.lastRefused = now
	if s.spec.locks && s.refused >= lockAfter {
		s.w.fail("the connection %s showed a refused credential %d times in a row, which locks it", s.name, s.refused)
	}
	return true
}

// refusalSeen notes that the engine was told that the credential was refused. w.mu is held.
func (s *system) refusalSeen() {
	s.trusted = nil
	if s.refusalsSeen++; s.spec.locks && s.refusalsSeen >= lockAfter {
		s.w.fail("the connection %s was told %d times in a row that its credential is refused, and used it again", s.name, s.refusalsSeen-1)
	}
}

func denied(scope provider.Scope) provider.Result {
	return provider.Result{Outcome: provider.Denied, Scope: scope, Code: "1001", Reason: "the credential was refused"}
}

// Check checks the credential.
func (c *client) Check(ctx context.Context) provider.Result { return c.look(ctx, "check") }

// CheckTarget is like Check: all accounts exist.
func (c *client) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	return c.look(ctx, "check of "+target.Username)
}

// look makes a read-only call.
func (c *client) look(ctx context.Context, what string) provider.Result {
	s := c.system
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if c.node.dead || ctx.Err() != nil {
		return provider.Result{Outcome: provider.Unknown}
	}
	s.w.calls++
	result := c.answer()
	if result.Outcome == provider.Applied && s.pause() != nil {
		s.opened = occasion{c.node, s.w.now()}
		if s.mending == 0 {
			s.w.countAll(s, probeOpens)
		}
	}
	s.w.note("   %s: %s: %s", s.name, what, result.Outcome)
	return result
}

// answer is the outcome of a read-only call. w.mu is held.
func (c *client) answer() provider.Result {
	s := c.system
	if s.weather == down || s.weather == stormy && s.rng.IntN(4) == 0 {
		switch s.rng.IntN(3) {
		case 0:
			s.answerLost()
			return provider.Result{Outcome: provider.Unknown, Reason: "unexpected answer"}
		case 1:
			s.throttle(20 * time.Second)
			return provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 20 * time.Second}
		default:
			return provider.Result{Outcome: provider.Unreachable, Reason: "no connection"}
		}
	}
	if c.refuses() {
		s.refusalSeen()
		return denied(provider.ScopeConnection)
	}
	c.worked(s.doubts)
	return provider.Result{Outcome: provider.Applied}
}

// answerLost notes that the engine did not get an answer, which may have been a refusal. w.mu is held.
func (s *system) answerLost() {
	s.trusted = nil
	s.doubts++
}

// worked notes that the engine was told that the credential works, and can store that. doubts are those of the system
// when the call began. w.mu is held.
func (c *client) worked(doubts int) {
	if c.system.w.fault == noFault && doubts == c.system.doubts {
		c.system.trusted = c.node
	}
}
