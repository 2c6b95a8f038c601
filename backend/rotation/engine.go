// Package rotation changes passwords: it stores a new one, pushes it to the remote system, and settles what came of it.
//
// It alone decides about time and tries. A provider says what one answer proves, package credential says what that
// means for the passwords of an account, and this package decides when the next request is made, whether it is, and
// with which password. The steps of one change are in change.go and read from top to bottom; what a crash between
// two of them leaves is said there.
//
// An [Engine] works in its own context: a request that asked for a change may go away, the change goes on. Work that
// a restart interrupts is found in storage by Start and resumed.
package rotation

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Policies makes passwords from Vault's password policies. logical.SystemView implements it.
type Policies interface {
	GeneratePasswordFromPolicy(ctx context.Context, policy string) (string, error)
}

// Config is what an Engine needs.
type Config struct {
	Types    []provider.Type
	Policies Policies
	Logger   hclog.Logger
	// Writable tells whether this node may write to storage and change remote systems; asked before each piece of work.
	Writable func() bool
	// Clock and Random are time.Now and crypto/rand.Reader where nil. Random makes passwords and spreads waits; it may be
	// read concurrently.
	Clock  func() time.Time
	Random io.Reader
	// Events is told what happens to a role, with pairs of names and values that may be shown; nil: nobody is. It is called
	// while the role is worked on, and must not call the engine.
	Events func(ctx context.Context, kind, role string, metadata []string)
}

// Engine owns the passwords of one mount. Its methods may be called concurrently.
type Engine struct {
	types    map[string]provider.Type
	policies Policies
	logger   hclog.Logger
	writable func() bool
	clock    func() time.Time
	random   io.Reader
	events   func(ctx context.Context, kind, role string, metadata []string)

	connections connections
	guards      guards
	locks       locks
	scheduler   *scheduler
	board       board
	complaints  complaints
	ice         ice
	reads       reads
	// catchUp is over how long late changes are spread.
	catchUp time.Duration

	// writing is one lock for each connection that is being written.
	writing locks
	// hiccups counts outcomes in a row that could not be stored, by role.
	hiccups hiccups
	// index has one lock, of no name, for what ties roles to targets and connections: checks together with the writes
	// that follow from them. It is held over storage calls only.
	index locks

	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc
	working sync.WaitGroup

	mu        sync.Mutex // guards the fields below
	stopped   bool
	lastSweep time.Time
	swept     bool  // all roles are known to the scheduler
	store     store // for work that no request asked for; set by Start
}

// New returns an engine that does nothing by itself before Start. It does no I/O.
func New(c Config) *Engine {
	e := &Engine{
		types: map[string]provider.Type{}, policies: c.Policies, logger: c.Logger, writable: c.Writable,
		clock: c.Clock, random: c.Random, events: c.Events,
	}
	for _, kind := range c.Types {
		e.types[kind.Name()] = kind
	}
	if e.clock == nil {
		e.clock = func() time.Time { return time.Now().UTC().Round(0) } // as it reads back from storage
	}
	if e.random == nil {
		e.random = rand.Reader
	}
	if e.writable == nil {
		e.writable = func() bool { return true }
	}
	if e.logger == nil {
		e.logger = hclog.NewNullLogger()
	}
	e.catchUp = scaled(catchUp)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.scheduler = newScheduler(e.clock, e.due, e.room, e.mayAct)
	return e
}

// errStopped is returned to requests that come while the plugin ends.
var errStopped = &Error{Kind: KindBusy, Message: "the plugin is stopping; nothing was changed, try again"}

// Start makes the engine work by itself: it resumes what a restart interrupted and retries what failed. It returns at
// once; roles are read in the background.
func (e *Engine) Start(storage logical.Storage) {
	e.mu.Lock()
	e.store = store{storage}
	e.lastSweep = e.clock()
	e.mu.Unlock()
	e.background(func(ctx context.Context) { e.scheduler.run(ctx) })
	e.background(e.sweep)
}

// Wake is called by Vault's periodic function. It lists the roles every ten minutes and returns at once.
func (e *Engine) Wake() {
	e.mu.Lock()
	due := !e.stopped && e.store.storage != nil && e.clock().Sub(e.lastSweep) >= sweepEvery
	if due {
		e.lastSweep = e.clock()
	}
	e.mu.Unlock()
	if due {
		e.background(e.sweep)
	}
	if e.beats() {
		e.background(e.beat)
	}
	e.scheduler.poke() // the clock may have been set
}

// Stop ends all work. It waits for what is under way for less than two seconds; what does not end by then is resumed
// from storage by the next Start.
func (e *Engine) Stop() {
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.cancel()
	e.ice.stop()
	done := make(chan struct{})
	go func() { e.working.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopWait):
		e.logger.Warn("work was still under way when the plugin stopped; it is resumed at the next start")
	}
}

// own is the storage for work that no request asked for.
func (e *Engine) own() store {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.store
}

// background runs work in the engine's context. It tells whether it did: not after Stop.
func (e *Engine) background(work func(context.Context)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return false
	}
	e.working.Add(1)
	go func() {
		defer e.working.Done()
		defer e.recovered("in the background")
		work(e.ctx)
	}()
	return true
}

// recovered keeps a panic from ending the process, which serves other mounts too. What panicked is logged without its
// value, which could be anything. Call it deferred.
func (e *Engine) recovered(doing string) {
	cause := recover() //nolint:revive // this is the deferred function
	if cause != nil {
		e.logger.Error("a panic was caught: please report it", "doing", doing, "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
	}
}

// Invalidate is called on a node whose storage was changed by another one.
func (e *Engine) Invalidate(key string) {
	for _, prefix := range []string{connectionPrefix, pausePrefix} {
		if name, ok := cut(key, prefix); ok {
			e.connections.drop(name)
		}
	}
	if _, ok := cut(key, guardPrefix); ok {
		e.guards.doubt(key)
	}
	if role, ok := cut(key, readPrefix); ok {
		e.reads.drop(role)
	}
}

func cut(key, prefix string) (string, bool) {
	if len(key) > len(prefix) && key[:len(prefix)] == prefix {
		return key[len(prefix):], true
	}
	return "", false
}

// Type returns the provider of that name, or nil.
func (e *Engine) Type(name string) provider.Type { return e.types[name] }

// Now is the engine's clock.
func (e *Engine) Now() time.Time { return e.clock() }

// due is called by the scheduler, in a worker, when a job's time has come.
func (e *Engine) due(ctx context.Context, j job) {
	defer e.recovered("working on a role or a connection whose time has come")
	if !e.writable() {
		return // another node does it
	}
	if j.probe {
		e.probe(ctx, j.connection)
		return
	}
	e.complain(ctx, j, e.goOn(ctx, ctx, e.own(), j.role, nil).err)
}
