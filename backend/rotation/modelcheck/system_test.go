package modelcheck

import (
	"context"
	"math/rand/v2"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// weather is how reliable a remote system is for the time being.
type weather int

const (
	fair weather = iota
	stormy
	down
	calm // nothing goes wrong
)

func (w weather) String() string { return [...]string{"fair", "stormy", "down", "calm"}[w] }

// system is one remote system: what one connection leads to.
type system struct {
	w       *world
	spec    *spec
	name    string // of the connection
	url     string
	dice    *rand.Rand
	weather weather
	// key is the credential that it takes; keys counts those it has had.
	key  string
	keys int
	// refused counts refusals in a row, and lastRefused is when the last one was: five within the lock window lock.
	refused     int
	lastRefused time.Time
	// seen counts those in a row whose answers have arrived, since a person last gave a credential: five are too many,
	// however far apart.
	seen int
	// trusted is the node that knows that the credential works, and need not count its calls.
	trusted *node
}

// client is a node's connection to a system.
type client struct {
	node   *node
	system *system
	key    string
}

// refuses tells whether the system refuses the credential, and counts: by the login, whatever key is shown. w.mu is held.
func (c *client) refuses() bool {
	s, now := c.system, c.system.w.now()
	if c.key == s.key {
		s.refused, s.seen = 0, 0
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

// told: the engine is told that the credential was refused. w.mu is held.
func (s *system) told() {
	s.trusted = nil
	if s.seen++; s.spec.locks && s.seen >= lockAfter {
		s.w.fail("the connection %s was told %d times in a row that its credential is refused, and went on", s.name, s.seen-1)
	}
}

func denied(scope provider.Scope) provider.Result {
	return provider.Result{Outcome: provider.Denied, Scope: scope, Code: "1001", Reason: "the credential was refused"}
}

// Check looks at the credential, if the weather lets it.
func (c *client) Check(ctx context.Context) provider.Result { return c.ask(ctx, "check") }

// CheckTarget is as Check: all accounts are there.
func (c *client) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	return c.ask(ctx, "check of "+target.Username)
}

// ask makes a read-only call.
func (c *client) ask(ctx context.Context, what string) provider.Result {
	s := c.system
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if c.node.dead || ctx.Err() != nil {
		return provider.Result{Outcome: provider.Unknown}
	}
	s.w.calls++
	result := c.look()
	s.w.note("   %s: %s: %s", s.name, what, result.Outcome)
	return result
}

// look is the outcome of a read-only call. w.mu is held.
func (c *client) look() provider.Result {
	s := c.system
	if s.weather == down || s.weather == stormy && s.dice.IntN(4) == 0 {
		switch s.dice.IntN(3) {
		case 0:
			return provider.Result{Outcome: provider.Unknown, Reason: "nonsense"}
		case 1:
			return provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 20 * time.Second}
		default:
			return provider.Result{Outcome: provider.Unreachable, Reason: "no connection"}
		}
	}
	if c.refuses() {
		s.told()
		return denied(provider.ScopeConnection)
	}
	c.worked()
	return provider.Result{Outcome: provider.Applied}
}

// worked: the engine is told that a call got past the credential, and can store that. w.mu is held.
func (c *client) worked() {
	if c.system.w.trouble == healthy {
		c.system.trusted = c.node
	}
}
