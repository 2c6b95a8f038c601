package gate

import (
	"time"

	"vault-plugin-secrets-hosting/backend/explain"
)

// storageFailed records whether storage failed. After a failure, the heartbeat is stored again when the gate is woken. It
// reports whether the failure is a new one.
func (g *Gate) storageFailed(doing string, err error) (fresh bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.storage
	if g.storage = nil; err == nil {
		return false
	}
	failure := explain.Stuck{Reason: doing + " failed: " + err.Error(), Storage: true, Since: g.Now()}
	if before != nil {
		failure.Since = before.Since
	}
	g.storage = &failure
	g.beaten = time.Time{}
	return before == nil
}

// StorageFailure returns why the gate could not be loaded, or why the last heartbeat could not be stored; nil if storage
// works.
func (g *Gate) StorageFailure() *explain.Stuck {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.storage
}
