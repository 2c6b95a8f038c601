package connection

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/provider"
)

// Cache holds the handles of a mount by name. Its methods may be called concurrently.
type Cache struct {
	types  map[string]provider.Type
	guards *lockout.Guards
	margin time.Duration

	mu     sync.Mutex // guards the fields below
	byName map[string]*Handle
	slots  map[string]*slots
	// opened is when the last pause of a connection ended, for the handle that follows one that was dropped.
	opened map[string]time.Time
	// drops counts dropped handles. A handle that was read from storage before a drop must not be cached after it.
	drops int
}

// NewCache returns an empty cache. margin is the minimum time between the end of an unresolved request and a request with
// a different password.
func NewCache(types map[string]provider.Type, guards *lockout.Guards, margin time.Duration) *Cache {
	return &Cache{types: types, guards: guards, margin: margin, byName: map[string]*Handle{}, slots: map[string]*slots{}, opened: map[string]time.Time{}}
}

// Get returns the cached handle, or nil and a ticket for Keep.
func (c *Cache) Get(name string) (h *Handle, ticket int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byName[name], c.drops
}

// Keep caches a handle that was read after Get returned the ticket, and returns it, or the handle that another caller has
// cached since.
func (c *Cache) Keep(h *Handle, ticket int) *Handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.byName[h.Name]; other != nil {
		return other
	}
	if c.drops == ticket {
		c.byName[h.Name] = h
		h.inheritOpened(c.opened[h.Name])
		h.slots.resize(max(1, h.MaxInFlight))
	}
	return h
}

// Drop drops a handle, because its connection was or may have been written or deleted.
func (c *Cache) Drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(name)
	c.drops++
}

// DropAll drops all handles, because the mount's settings were or may have been written.
func (c *Cache) DropAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.byName {
		c.drop(name)
	}
	c.drops++
}

// drop drops a handle. c.mu is held.
func (c *Cache) drop(name string) {
	if h := c.byName[name]; h != nil {
		c.opened[name] = h.OpenedAt()
	}
	delete(c.byName, name)
}

// Handles returns the handles that a pause of h's connection concerns: h and, where the connection was written since h was
// made, the one that is cached now. A handle that is being read from storage meanwhile is not cached.
func (c *Cache) Handles(h *Handle) []*Handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	if now := c.byName[h.Name]; now != nil && now != h && now.Revision == h.Revision {
		return []*Handle{h, now}
	}
	return []*Handle{h}
}

// Complete returns the provider of a connection, and the connection for it: validated, and with derived values. Its errors
// are for the user who wrote the connection.
func (c *Cache) Complete(stored Connection) (provider.Type, provider.Connection, error) {
	kind := c.types[stored.Provider]
	if kind == nil {
		return nil, provider.Connection{}, fmt.Errorf("connection %q has the provider %q, which this version does not support", stored.Name, stored.Provider)
	}
	completed, err := stored.Complete(kind)
	return kind, completed, err
}

// Open returns a handle that is not cached. It does no I/O. Its errors are for the user who wrote the connection.
func (c *Cache) Open(stored Connection, l Limits) (*Handle, error) {
	kind, completed, err := c.Complete(stored)
	if err != nil {
		return nil, err
	}
	client, err := kind.Open(completed)
	if err != nil {
		return nil, err
	}
	limits := kind.Lockout(completed)
	limits.Service = kind.Host(completed)
	return &Handle{
		Connection: stored, Kind: kind, Completed: completed, client: client, limits: l, margin: c.margin, secret: secretOf(kind, completed),
		slots: c.slotsOf(stored), Guard: c.guards.Of(limits, stored.Name, stored.Revision),
	}, nil
}

// secretOf returns the fingerprint of a connection's secrets. It must not leave the process.
func secretOf(kind provider.Type, completed provider.Connection) string {
	hash := sha256.New()
	for _, field := range kind.ConnectionFields() {
		if field.Secret {
			value := completed.Settings.String(field.Name)
			_, _ = fmt.Fprintf(hash, "%s %d %s ", field.Name, len(value), value) // a hash returns no error
		}
	}
	return string(hash.Sum(nil))
}

// Sharing returns the names of the connections that share the guard of h: what throttles one throttles all.
func (c *Cache) Sharing(h *Handle) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name, one := range c.byName {
		if one.Guard == h.Guard {
			names = append(names, name)
		}
	}
	return names
}

// slotsOf returns the slots of a connection.
func (c *Cache) slotsOf(stored Connection) *slots {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[stored.Name]
	if s == nil {
		s = newSlots()
		s.limit = max(1, stored.MaxInFlight)
		c.slots[stored.Name] = s
	}
	return s
}
