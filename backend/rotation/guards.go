package rotation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"vault-plugin-secrets-hosting/backend/provider"
)

// guards are the guards of a mount by the keys of their entries. The zero value is empty.
type guards struct {
	mu    sync.Mutex
	byKey map[string]*guard
	// byName are those of credentials that no remote system locks: each connection has its own.
	byName map[string]*guard
}

// of returns the guard of a connection's credential.
func (g *guards) of(lockout provider.Lockout, c Connection) *guard {
	key := guardKey(lockout, c)
	g.mu.Lock()
	defer g.mu.Unlock()
	if known := g.byKey[key]; known != nil {
		return known
	}
	made := &guard{key: key, lockout: lockout, checking: make(chan struct{}, 1), changed: make(chan struct{})}
	if g.byKey == nil {
		g.byKey, g.byName = map[string]*guard{}, map[string]*guard{}
	}
	g.byKey[key] = made
	if !made.counts() {
		if before := g.byName[c.Name]; before != nil {
			delete(g.byKey, before.key)
		}
		g.byName[c.Name] = made
	}
	return made
}

// forget drops the guard of a connection that is gone, if nobody shares it, and returns its key; "": somebody may.
func (g *guards) forget(name string) (key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.byName[name]
	if own == nil {
		return ""
	}
	delete(g.byName, name)
	delete(g.byKey, own.key)
	return own.key
}

// doubt: another node may have written the entry.
func (g *guards) doubt(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known := g.byKey[key]; known != nil {
		known.mu.Lock()
		defer known.mu.Unlock()
		known.proved, known.leased, known.loaded = false, false, false
		known.refusals, known.unseen = 0, 0
	}
}

// guardKey hides names of logins from storage keys. What no remote system locks is one connection's own matter, and that
// of one revision.
func guardKey(lockout provider.Lockout, c Connection) string {
	what := lockout.Credential
	if lockout.Refusals == 0 {
		what = fmt.Sprintf("connection|%s|%d", c.Name, c.Revision)
	}
	sum := sha256.Sum256([]byte(what))
	return guardPrefix + hex.EncodeToString(sum[:])
}
