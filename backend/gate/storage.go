package gate

import "time"

// storageFailure is a failure of Vault's storage; zero if it works.
type storageFailure struct {
	reason string
	since  time.Time
}

// storageFailed records whether storage failed. After a failure, the heartbeat is stored again when the gate is woken. It
// reports whether the failure is a new one.
func (g *Gate) storageFailed(doing string, err error) (fresh bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.storage = storageFailure{}
		return false
	}
	fresh = g.storage.since.IsZero()
	if fresh {
		g.storage.since = g.Now()
	}
	g.storage.reason = doing + " failed: " + err.Error()
	g.beaten = time.Time{}
	return fresh
}

// StorageFailure returns why the gate could not be loaded, or why the last heartbeat could not be stored, as a clause, and
// since when; zero if storage works.
func (g *Gate) StorageFailure() (reason string, since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.storage.reason, g.storage.since
}
