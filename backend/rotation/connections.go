package rotation

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-secure-stdlib/strutil"

	"vault-plugin-secrets-hosting/backend/provider"
)

// live is a connection in use: its client, and what is known about its health. It is made on first use and dropped
// when the connection is written, here or on another node.
type live struct {
	Connection
	kind     provider.Type
	complete provider.Connection
	client   provider.Client
	// slots bounds the concurrent changes; asked counts those of them that a request waits for.
	slots chan struct{}
	asked atomic.Int32
	// guard is that of the credential; other connections may share it.
	guard *guard

	mu sync.Mutex // guards the fields below; never held over a call
	// pause: the credential is refused.
	pause *Pause
	// checked is when the last check after a refusal that succeeded began.
	checked time.Time
}

// allows checks a role against the connection's globs.
func (l *live) allows(role string, target provider.Target) error {
	if !strutil.StrListContainsGlob(l.AllowedRoles, role) {
		return Mistake("the connection %q does not allow the role %q: add it to allowed_roles of config/%s", l.Name, role, l.Name)
	}
	for _, name := range target.Names {
		if !strutil.StrListContainsGlob(l.AllowedTargets, name) {
			return Mistake("the connection %q does not allow the target %q: add it to allowed_targets of config/%s", l.Name, name, l.Name)
		}
	}
	return nil
}

// paused returns the pause that is in force, or nil.
func (l *live) paused() *Pause {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pause
}

// margin is how long after the end of an unresolved request a different password may be sent.
func (l *live) margin() time.Duration {
	return max(scaled(quietMargin), l.settleAfter())
}

// settleAfter is how long a queued change takes to be in force; 0 where none is ever queued.
func (l *live) settleAfter() time.Duration { return l.kind.SettleAfter(l.complete) }

// errFull: all slots of a connection are taken. A worker of the scheduler does not wait for one: it would be missing to
// other connections.
var errFull = &Error{Kind: KindBusy, Message: "as many changes as max_in_flight allows are under way on the connection"}

// errGivenUp: a request stopped waiting before anything was done for it.
var errGivenUp = &Error{Kind: KindBusy, Message: "the request ended before its turn came; nothing was changed, try again"}

// acquire takes a slot for one request. It waits for one until the context ends; without a context it returns errFull.
func (l *live) acquire(waiting context.Context) (release func(), err error) {
	if waiting == nil {
		select {
		case l.slots <- struct{}{}:
			return func() { <-l.slots }, nil
		default:
			return nil, errFull
		}
	}
	select {
	case l.slots <- struct{}{}:
		l.asked.Add(1)
		return func() { <-l.slots; l.asked.Add(-1) }, nil
	case <-waiting.Done():
		return nil, errGivenUp
	}
}

// room is how many changes of a connection may be under way that no request waits for.
func (e *Engine) room(connection string) int {
	l, _ := e.connections.cached(connection)
	if l == nil { // the first change opens it
		return DefaultMaxInFlight
	}
	l.guard.mu.Lock()
	defer l.guard.mu.Unlock()
	return min(cap(l.slots)-int(l.asked.Load()), l.guard.room())
}

// connections caches live connections by name. The zero value is empty.
type connections struct {
	mu     sync.Mutex
	byName map[string]*live
	// drops counts what was dropped: what was read from storage before a drop is not cached after it.
	drops int
}

func (c *connections) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, name)
	c.drops++
}

// cached returns the connection of that name, or nil and the count of drops to store one with.
func (c *connections) cached(name string) (*live, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byName[name], c.drops
}

// keep caches a connection, unless one is there already or something was dropped since.
func (c *connections) keep(l *live, drops int) *live {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.byName[l.Name]; other != nil {
		return other
	}
	if c.drops == drops {
		if c.byName == nil {
			c.byName = map[string]*live{}
		}
		c.byName[l.Name] = l
	}
	return l
}

// connection returns the live connection of that name, or ErrNoConnection. With a warm cache it does no I/O.
func (e *Engine) connection(ctx context.Context, s store, name string) (*live, error) {
	l, drops := e.connections.cached(name)
	if l != nil {
		return l, nil
	}
	stored, err := s.connection(ctx, name)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, ErrNoConnection
	}
	pause, err := s.pause(ctx, name)
	if err != nil {
		return nil, err
	}
	if pause != nil && pause.Revision != stored.Revision {
		pause = nil // the credential has changed since
	}
	l, err = e.open(*stored)
	if err != nil {
		return nil, err
	}
	l.pause = pause
	if err := l.guard.load(ctx, s); err != nil {
		return nil, err
	}
	return e.connections.keep(l, drops), nil
}

// open makes a live connection that is not in the cache.
func (e *Engine) open(c Connection) (*live, error) {
	kind := e.types[c.Provider]
	if kind == nil {
		return nil, fmt.Errorf("the connection %q has the provider %q, which this version does not have", c.Name, c.Provider)
	}
	complete, err := c.Complete(kind)
	if err != nil {
		return nil, err
	}
	client, err := kind.Open(complete)
	if err != nil {
		return nil, err
	}
	return &live{
		Connection: c, kind: kind, complete: complete, client: client,
		slots: make(chan struct{}, max(1, c.MaxInFlight)),
		guard: e.guards.of(kind.Lockout(complete), c),
	}, nil
}
