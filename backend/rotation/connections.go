package rotation

import (
	"context"
	"fmt"
	"maps"
	"sync"
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
	// slots bounds the concurrent changes, and resumes those of them that no request waits for.
	slots, resumes chan struct{}

	mu sync.Mutex // guards the fields below; never held over a call
	// pause: the credential is refused.
	pause *Pause

	// checking is held over the one check that follows a refused credential, by background work only.
	checking chan struct{}
	// checked is when the last such check that succeeded began; guarded by mu.
	checked time.Time
	// refusals of the credential since it worked last; guarded by mu.
	refusals int
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

// errFull: all slots of a connection are taken. A worker of the timer does not wait for one: it would be missing to other
// connections.
var errFull = &Error{Kind: KindBusy, Message: "as many changes as max_in_flight allows are under way on the connection"}

// errGivenUp: a request stopped waiting before anything was done for it.
var errGivenUp = &Error{Kind: KindBusy, Message: "the request ended before its turn came; nothing was changed, try again"}

// acquire takes a slot for one request. It waits for one until the context ends; without a context it returns errFull.
func (l *live) acquire(waiting context.Context) (release func(), err error) {
	if waiting == nil {
		select {
		case l.resumes <- struct{}{}:
		default:
			return nil, errFull
		}
		select {
		case l.slots <- struct{}{}:
			return func() { <-l.slots; <-l.resumes }, nil
		default:
			<-l.resumes
			return nil, errFull
		}
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-waiting.Done():
		return nil, errGivenUp
	}
}

// saw takes notice of what an answer says about the connection's credential.
func (l *live) saw(result provider.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch result.Outcome {
	case provider.Denied:
		if result.Scope == provider.ScopeConnection {
			l.refusals++
		}
	case provider.Applied, provider.Staged, provider.Mismatch: // a refusal may come before the credential is looked at
		l.refusals = 0
	default: // says nothing about it
	}
}

// suspected tells whether the credential was refused and nothing has spoken for it since.
func (l *live) suspected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refusals > 0
}

// connections caches live connections by name. The zero value is empty.
type connections struct {
	mu     sync.Mutex
	byName map[string]*live
	// drops counts what was dropped: what was read from storage before a drop is not cached after it.
	drops int
	// holds: until when the remote system asked a connection to wait.
	holds map[revision]time.Time
}

// revision is one version of a connection's credential and address: what one was told does not hold for another.
type revision struct {
	name   string
	number int
}

func (c *connections) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, name)
	c.drops++
}

// forget drops a connection that is gone, with what its remote system asked for: a new one of that name is another.
func (c *connections) forget(name string) {
	c.drop(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.holds, func(r revision, _ time.Time) bool { return r.name == name })
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

// hold lets a connection wait, as its remote system asked.
func (c *connections) hold(name string, number int, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holds == nil {
		c.holds = map[revision]time.Time{}
	}
	if r := (revision{name, number}); until.After(c.holds[r]) {
		c.holds[r] = until
	}
}

// heldUntil is when a connection may be used again.
func (c *connections) heldUntil(name string, number int) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holds[revision{name, number}]
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
		slots:    make(chan struct{}, max(1, c.MaxInFlight)),
		resumes:  make(chan struct{}, max(1, min(c.MaxInFlight, workers/4))),
		checking: make(chan struct{}, 1),
	}, nil
}

// safeRefusals is how many times a credential may be refused in a row. The systems that count lock at five.
const safeRefusals = 4

// denied is called when the remote system refused the credential to a request that began at that time. It makes one
// read-only check, whoever else asks; if that fails too, the connection is paused, which is stored; else the refusal
// concerns the one role only. While this goes on, no other request is made with the credential.
func (e *Engine) denied(ctx context.Context, s store, l *live, began time.Time) {
	select {
	case l.checking <- struct{}{}:
		defer func() { <-l.checking }()
	case <-ctx.Done():
		return
	}
	l.drain(ctx)
	settled := false
	defer func() {
		if !settled { // the check panicked, or the engine is stopping: whoever comes next finds out
			l.mu.Lock()
			l.refusals = 0
			l.mu.Unlock()
		}
	}()
	l.mu.Lock()
	paused, proved, refusals := l.pause != nil, l.checked.After(began), l.refusals
	if proved && !paused {
		l.refusals = 0
	}
	l.mu.Unlock()
	if paused || proved {
		settled = true
		return
	}
	at := e.clock()
	check := provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Reason: fmt.Sprintf("the remote system refused the credential to %d requests at the same time", refusals)}
	if refusals < safeRefusals {
		check = e.check(ctx, l)
	}
	if check.Outcome == provider.Applied {
		l.mu.Lock()
		l.checked, l.refusals = at, 0
		l.mu.Unlock()
		settled = true
		return
	}
	if ctx.Err() != nil {
		return // the engine is stopping, the check proves nothing
	}
	pause := &Pause{Revision: l.Revision, Since: at, Code: check.Code, Reason: pauseReason(check)}
	pause.NextProbe = e.clock().Add(probeWait(check, 1))
	l.mu.Lock()
	l.pause = pause
	l.mu.Unlock()
	settled = true
	e.logger.Error("connection paused: the remote system refused its credential, and the check that followed failed", "connection", l.Name,
		"provider", l.Provider, "code", check.Code, "reason", check.Reason, "next_probe", pause.NextProbe)
	if err := s.putPause(ctx, l.Name, pause); err != nil {
		e.logger.Error("the pause of a connection could not be stored", "connection", l.Name, "error", err)
	}
	e.timer.set(item{connection: l.Name}, pause.NextProbe)
}

// pauseReason says why the connection is paused. A check that did not get through proves nothing of the credential, but
// then neither does it say that another try would not lock it.
func pauseReason(check provider.Result) string {
	if check.Outcome == provider.Denied {
		return check.Reason
	}
	return "it was refused for a change, and the check that followed did not get through (" + check.Reason + ")"
}

// drain waits until the requests that are under way have ended: each of them may be refused too. No new one begins
// while the credential is suspected.
func (l *live) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout())
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(l.slots) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// probe makes the single call that may open a paused connection again.
func (e *Engine) probe(ctx context.Context, name string) {
	s := e.own()
	l, err := e.connection(ctx, s, name)
	if err != nil {
		return
	}
	pause := l.paused()
	if pause == nil {
		return
	}
	check := e.check(ctx, l)
	if check.Outcome == provider.Applied {
		if err := s.storage.Delete(ctx, pausePrefix+name); err != nil {
			e.logger.Error("the end of a pause could not be stored", "connection", name, "error", err)
		}
		l.mu.Lock()
		l.pause, l.refusals = nil, 0
		l.mu.Unlock()
		e.logger.Info("connection resumed", "connection", name, "provider", l.Provider, "paused_since", pause.Since)
		return
	}
	next := *pause
	next.Probes++
	next.Code, next.Reason = check.Code, pauseReason(check)
	next.NextProbe = e.clock().Add(probeWait(check, next.Probes+1))
	l.mu.Lock()
	l.pause = &next
	l.mu.Unlock()
	if err := s.putPause(ctx, name, &next); err != nil {
		e.logger.Error("the pause of a connection could not be stored", "connection", name, "error", err)
	}
	e.timer.set(item{connection: name}, next.NextProbe)
}

// probeWait is how long a paused connection rests before its n-th probe: long where the remote system refused the
// credential once more, as that counts towards a lock, short where it could not be asked.
func probeWait(check provider.Result, n int) time.Duration {
	if check.Outcome == provider.Denied {
		return grow(firstProbe, n)
	}
	return grow(6*firstBackoff, n)
}

// check makes the provider's read-only check within the connection's time limit.
func (e *Engine) check(ctx context.Context, l *live) provider.Result {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout())
	defer cancel()
	return l.client.Check(ctx)
}
