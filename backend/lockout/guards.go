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
	senders map[string]*sender // by key
}

// NewGuards returns an empty set of guards.
func NewGuards(c Config) *Guards {
	return &Guards{config: c, byKey: map[string]*login{}, holds: map[string]*Guard{}, senders: map[string]*sender{}}
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

// senderOf returns what is counted for a server; nil if nothing is. g.mu must be held.
func (g *Guards) senderOf(rules provider.Sender) *sender {
	if rules.Server == "" || rules.Refusals == 0 {
		return nil
	}
	key := keyOf("sender|" + rules.Server)
	known := g.senders[key]
	if known == nil {
		known = &sender{Config: g.config, key: key, rules: rules, storing: make(chan struct{}, 1), changed: make(chan struct{})}
		g.senders[key] = known
	}
	return known
}

// Invalidate is called when another node may have written an entry.
func (g *Guards) Invalidate(key string) {
	g.mu.Lock()
	known, hold, sender := g.byKey[key], g.holds[key], g.senders[key]
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
	if sender != nil {
		sender.mu.Lock()
		sender.loaded = false
		sender.mu.Unlock()
	}
}

// Keep forgets all guards but those of these keys, those that were asked for since the last call of Keep (the keys may be
// older), and those of running calls. What is counted for senders is forgotten when it has no effect.
func (g *Guards) Keep(keys map[string]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	servers := map[*sender]bool{}
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
		servers[guard.sender] = true
	}
	for key, one := range g.senders {
		if !servers[one] {
			delete(g.senders, key)
		}
	}
}

// Len returns the number of credentials.
func (g *Guards) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.byKey)
}
