package lockout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Config configures the guards of a mount.
type Config struct {
	timing.Timing
	// Warn logs a problem that makes the guard more careful than necessary.
	Warn func(message string, err error)
}

// Guards has the guards of a mount. Its methods may be called concurrently.
type Guards struct {
	config  Config
	mu      sync.Mutex
	byKey   map[string]*login
	holds   map[string]*Guard  // by the key of the hold
	budgets map[string]*budget // by key
}

// NewGuards returns an empty set of guards.
func NewGuards(c Config) *Guards {
	return &Guards{config: c, byKey: map[string]*login{}, holds: map[string]*Guard{}, budgets: map[string]*budget{}}
}

// Of returns the guard of a connection's credential at its service. Connections with the same credential share what is
// counted, and at the same service the guard too. If the remote system locks nothing, each revision of a connection has its
// own.
func (g *Guards) Of(lockout provider.Lockout, connection string, revision int) *Guard {
	what := lockout.Credential
	if lockout.Refusals == 0 {
		what = fmt.Sprintf("connection|%s|%d", connection, revision)
	}
	key, holdKey := keyOf(what), keyOf("hold|"+lockout.Service+"|"+what)
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.byKey[key]
	if known == nil {
		known = &login{
			Config: g.config, key: key, lockout: lockout, guards: map[string]*Guard{},
			checking: make(chan struct{}, 1), storing: make(chan struct{}, 1), changed: make(chan struct{}),
		}
		if former := lockout.Former; former != "" && former != what {
			known.former = keyOf(former)
		}
		g.byKey[key] = known
	}
	guard := known.guards[lockout.Service]
	if guard == nil {
		guard = &Guard{login: known, holdKey: holdKey, sender: g.senderOf(lockout.Sender)}
		known.guards[lockout.Service], g.holds[holdKey] = guard, guard
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	known.used = true
	return guard
}

// keyOf returns the key of an entry. The name of a login does not belong in a storage key.
func keyOf(what string) string {
	sum := sha256.Sum256([]byte(what))
	return hex.EncodeToString(sum[:])
}

// bySender reports whether a remote system counts refusals by the address that they come from.
func bySender(rules provider.Sender) bool { return rules.Server != "" && rules.Refusals > 0 }

// senderKey returns the key of the budget of a remote system that counts by sender.
func senderKey(rules provider.Sender) string { return keyOf("sender|" + rules.Server) }

// senderOf returns the budget of a server; nil if it does not count by sender. g.mu must be held.
func (g *Guards) senderOf(rules provider.Sender) *budget {
	if !bySender(rules) {
		return nil
	}
	return g.budgetOf(senderKey(rules), rules)
}

// budgetOf returns a budget by its key. g.mu must be held.
func (g *Guards) budgetOf(key string, rules provider.Sender) *budget {
	known := g.budgets[key]
	if known == nil {
		known = &budget{Config: g.config, key: key, rules: rules, storing: make(chan struct{}, 1), changed: make(chan struct{})}
		g.budgets[key] = known
	}
	return known
}

// use returns a budget that Keep does not forget until it is released.
func (g *Guards) use(key string, rules provider.Sender) *budget {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.budgetOf(key, rules)
	b.users++
	return b
}

func (g *Guards) release(b *budget) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b.users--
}

// Invalidate is called when another node may have written an entry.
func (g *Guards) Invalidate(key string) {
	g.mu.Lock()
	known, hold, budget := g.byKey[key], g.holds[key], g.budgets[key]
	g.mu.Unlock()
	if known != nil {
		known.mu.Lock()
		known.doubt()
		known.leased = false
		known.refusals, known.trials, known.unanswered, known.by = 0, 0, 0, ""
		known.mu.Unlock()
	}
	if hold != nil {
		hold.mu.Lock()
		hold.loaded = false
		hold.mu.Unlock()
	}
	if budget != nil {
		budget.mu.Lock()
		budget.loaded = false
		budget.mu.Unlock()
	}
}

// Keep forgets all guards but those of these keys, those that were asked for since the last call of Keep (the keys may be
// older), and those of running calls. Budgets that no guard uses are forgotten when they count nothing any more.
func (g *Guards) Keep(keys map[string]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	used := map[*budget]bool{}
	for key, known := range g.byKey {
		known.mu.Lock()
		if !keys[key] && !known.used && known.running == 0 {
			delete(g.byKey, key)
			for _, guard := range known.guards {
				delete(g.holds, guard.holdKey)
			}
		}
		known.used = false
		known.mu.Unlock()
	}
	for _, guard := range g.holds {
		used[guard.sender] = true
	}
	for key, b := range g.budgets {
		if !used[b] && b.idle() {
			delete(g.budgets, key)
		}
	}
}

// Len returns the number of credentials.
func (g *Guards) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.byKey)
}
