// Package gate implements the automation gate of a mount, which everything that the engine does without a request must
// pass. The gate is closed while the mount is frozen, and until it is known whether the mount is frozen.
//
// The package also stores the mount's settings and its heartbeat. When the engine starts, they tell how long it has not
// run.
package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/locks"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

const (
	// maxFreeze limits a freeze, so that it is not forgotten.
	maxFreeze = 90 * 24 * time.Hour
	// lastBeat is the maximum time between two heartbeats.
	lastBeat = 10 * time.Minute
	// wakeEvery is about how often Vault calls the periodic function.
	wakeEvery = time.Minute
)

// Config is what a Gate needs. Its functions may be called concurrently.
type Config struct {
	timing.Timing
	Logger hclog.Logger
	// Writable reports whether this node can write to storage.
	Writable func() bool
	// Opened is called when the gate has opened, so that waiting work can begin, spread out.
	Opened func()
	// SettingsChanged is called when the settings may have changed.
	SettingsChanged func()
	// Background runs a function with the engine's storage, until the engine stops.
	Background func(func(ctx context.Context, s store.Store))
}

// Gate is the automation gate of a mount. Its methods may be called concurrently.
type Gate struct {
	Config
	// loading is held while the gate is loaded, and while a freeze is written or ended. With the name of the settings' entry, it
	// is held while they are written.
	loading locks.Locks

	mu sync.Mutex // guards the fields below; never held over a call
	// loaded: the heartbeat was compared with catch_up_limit since the start. seen: current is the stored freeze. A standby
	// only sees it, and does not load the gate.
	loaded, seen bool
	// invalidated counts calls of Invalidate: a freeze that was read before one may be old.
	invalidated int
	current     *role.Freeze
	// problem is why the gate could not be loaded.
	problem error
	// storage is why the gate could not be loaded, or the last heartbeat could not be stored.
	storage *explain.Stuck
	// opening fires at the end of the freeze.
	opening *time.Timer
	beaten  time.Time
	// settings are the stored settings, or nil if they are not known. forgotten counts calls of ForgetSettings: settings that
	// were read before one may be old.
	settings  *store.Settings
	forgotten int
	limit     time.Duration // catch_up_limit
	stopped   bool
}

// New returns a gate, which is closed until it is loaded.
func New(c Config) *Gate { return &Gate{Config: c} }

// Open reports whether the engine may act without a request now.
func (g *Gate) Open() bool {
	closed, _ := g.Frozen()
	return !closed && g.Loaded()
}

// Freeze returns the current freeze, or nil.
func (g *Gate) Freeze() *role.Freeze {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current.Over(g.Now()) {
		return nil
	}
	return g.current
}

// Frozen reports whether the gate is closed, and until when; zero if that is not known.
func (g *Gate) Frozen() (closed bool, until time.Time) {
	g.mu.Lock()
	loaded, seen, f := g.loaded, g.seen, g.current
	g.mu.Unlock()
	switch {
	case !f.Over(g.Now()):
		return true, f.Until
	case loaded:
		return false, time.Time{}
	default: // What a standby has seen is not enough for an active node: the heartbeat may be too old.
		return !seen || g.Writable(), time.Time{}
	}
}

// Look reads the stored freeze on a node that does not load the gate.
func (g *Gate) Look(ctx context.Context, s store.Store) {
	g.mu.Lock()
	seen, loaded, invalidated := g.seen, g.loaded, g.invalidated
	g.mu.Unlock()
	if seen || !loaded && g.Writable() { // the sweep is about to load it
		return
	}
	f, err := s.Freeze(ctx)
	if err != nil {
		return // the gate stays closed
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.invalidated == invalidated && !g.seen {
		g.take(f, loaded)
	}
}

// Invalidate is called when another node may have written the freeze.
func (g *Gate) Invalidate() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = false
	g.invalidated++
}

// set sets the current freeze, or nil.
func (g *Gate) set(f *role.Freeze, loaded bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.take(f, loaded)
}

// take is set; g.mu is held.
func (g *Gate) take(f *role.Freeze, loaded bool) {
	if g.opening != nil {
		g.opening.Stop()
		g.opening = nil
	}
	g.loaded, g.seen, g.current, g.problem = loaded, true, f, nil
	if f != nil && !f.Until.IsZero() && !g.stopped {
		g.opening = time.AfterFunc(max(0, f.Until.Sub(g.Now())), g.opened)
	}
}

// opened is called when a freeze has ended.
func (g *Gate) opened() {
	g.Logger.Info("the freeze has ended: automatic changes continue")
	g.Opened()
}

// Stop stops the timer of the freeze, because the engine stops.
func (g *Gate) Stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	if g.opening != nil {
		g.opening.Stop()
	}
}

// Load opens the gate after a start, unless the mount is frozen. If the engine has not run for longer than catch_up_limit,
// Load freezes the mount.
func (g *Gate) Load(ctx context.Context, s store.Store) error {
	unlock, err := g.loading.Lock(ctx, "")
	if err != nil {
		return err
	}
	defer unlock()
	if g.Loaded() {
		return nil
	}
	if err := g.compare(ctx, s); err != nil {
		g.mu.Lock()
		g.problem = err
		g.mu.Unlock()
		if ctx.Err() == nil {
			g.storageFailed(checking, err)
		}
		return err
	}
	g.beat(ctx, s)
	return nil
}

// compare compares the last heartbeat with catch_up_limit, and freezes the mount if it is older. That replaces a freeze
// with an end.
func (g *Gate) compare(ctx context.Context, s store.Store) error {
	now := g.Now()
	settings, err := g.Settings(ctx, s.Storage)
	if err != nil {
		return err
	}
	f, err := s.Freeze(ctx)
	if err != nil {
		return err
	}
	last, err := s.Heartbeat(ctx)
	damaged := errors.Is(err, store.ErrDamaged)
	if err != nil && !damaged {
		return err
	}
	limit := g.setLimit(settings)
	if f.Over(now) { // its end was announced, and nothing waits for it after a start
		f = nil
	}
	endless := f != nil && f.Until.IsZero()
	if endless || !damaged && (last.IsZero() || now.Sub(last).Abs() <= limit+timing.Scaled(beatEvery(limit)+wakeEvery)) {
		g.set(f, true)
		g.Opened() // requests may already have queued roles
		return nil
	}
	why, args := "the engine did not run for longer than catch_up_limit", []any{"last_heartbeat", explain.Time(last), "catch_up_limit", settings.CatchUpLimit}
	distance := "longer ago than the catch_up_limit"
	if last.After(now) { // nothing is known about how long the engine has not run
		why, distance = "the last heartbeat is in the future", "in the future, because a clock is or was wrong, by more than the catch_up_limit"
	}
	reason := fmt.Sprintf("the engine last ran at %s, which is %s of %d seconds", explain.Time(last), distance, settings.CatchUpLimit)
	if damaged { // the next heartbeat replaces it
		why, args, reason = "the heartbeat is damaged", nil, "the heartbeat in storage is damaged, so it is not known when the engine last ran"
	}
	f = &role.Freeze{Since: now, Reason: reason + ": if this is a copy of another Vault, its roles would change passwords that are in use there"}
	if err := s.PutFreeze(ctx, f); err != nil {
		return err
	}
	g.set(f, true)
	g.Logger.Error("automatic changes are frozen: "+why, append(args, "advice", "to continue: vault delete MOUNT/freeze")...)
	return nil
}

// setLimit takes the mount's catch_up_limit into account, and returns it.
func (g *Gate) setLimit(settings store.Settings) time.Duration {
	const longest = 50 * 365 * 24 * time.Hour // more can be added to it
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = min(timing.Seconds(settings.CatchUpLimit), longest)
	return g.limit
}

// beatEvery returns the time between two heartbeats.
func beatEvery(limit time.Duration) time.Duration { return min(lastBeat, limit/4) }

// Wake stores a heartbeat, if it is time for one.
func (g *Gate) Wake() {
	g.mu.Lock()
	elapsed := g.Now().Sub(g.beaten) // negative after the clock was ahead
	due := g.loaded && (elapsed >= beatEvery(g.limit) || elapsed < 0)
	g.mu.Unlock()
	if due {
		g.Background(g.beat)
	}
}

// beat stores a heartbeat.
func (g *Gate) beat(ctx context.Context, s store.Store) {
	if !g.Writable() {
		return
	}
	now := g.Now()
	g.mu.Lock()
	g.beaten = now
	g.mu.Unlock()
	if err := s.PutHeartbeat(ctx, now); ctx.Err() == nil && g.storageFailed("storing the heartbeat", err) {
		g.Logger.Warn("could not store the heartbeat: this is retried every minute", "error", err)
	}
}

// Loaded reports whether it is known whether the mount is frozen.
func (g *Gate) Loaded() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.loaded
}

// checking describes what fails when the gate cannot be loaded.
const checking = "checking whether automatic changes are frozen"

// Write freezes the mount for at most 90 days.
func (g *Gate) Write(ctx context.Context, storage logical.Storage, duration time.Duration, reason string) (*role.Freeze, error) {
	reason = strings.TrimSpace(reason)
	switch {
	case reason == "":
		return nil, problem.Mistake("reason is missing: say why you freeze the mount, for other operators")
	case duration == 0:
		return nil, problem.Mistake("duration is missing: say how long, for example duration=2h")
	case duration < 0 || duration > maxFreeze:
		return nil, problem.Mistake("duration must be between 1 second and %d days, so that the freeze is not forgotten", int(maxFreeze/(24*time.Hour)))
	}
	s := store.Store{Storage: storage}
	_ = g.Load(ctx, s) // after an error, the sweep retries and logs it
	unlock, err := g.loading.Lock(ctx, "")
	if err != nil {
		return nil, problem.ErrGivenUp
	}
	defer unlock()
	before, err := s.Freeze(ctx)
	if err != nil {
		return nil, problem.Storage(checking, err)
	}
	now := g.Now()
	f := &role.Freeze{Since: now, Until: now.Add(duration), Reason: reason}
	if !before.Over(now) {
		if before.Until.IsZero() { // which one with an end must not replace
			return nil, problem.Mistake("the freeze was not changed, because %s. To replace it, end it first with: vault delete MOUNT/freeze", explain.Freeze(before))
		}
		f.Since = before.Since
	}
	if err := s.PutFreeze(ctx, f); err != nil {
		return nil, problem.NotStored("storing the freeze", err)
	}
	g.set(f, g.Loaded())
	g.Logger.Warn("automatic changes are frozen", "since", explain.Time(f.Since), "until", explain.Time(f.Until), "reason", reason)
	return f, nil
}

// Read returns the current freeze, or nil.
func (g *Gate) Read(ctx context.Context, storage logical.Storage) (*role.Freeze, error) {
	f, err := store.Store{Storage: storage}.Freeze(ctx)
	if err == nil {
		g.mu.Lock()
		err = g.problem
		g.mu.Unlock()
	}
	if err != nil || f.Over(g.Now()) {
		return nil, problem.Storage(checking, err)
	}
	return f, nil
}

// End ends a freeze. Everything that became due in the meantime is done soon, spread out. It is not an error if there is
// no freeze.
func (g *Gate) End(ctx context.Context, storage logical.Storage) error {
	s := store.Store{Storage: storage}
	if !g.Loaded() { // a damaged freeze would prevent that
		if err := g.remove(ctx, s); err != nil {
			return err
		}
	}
	if err := g.Load(ctx, s); err != nil {
		return problem.Storage(checking, err)
	}
	return g.remove(ctx, s)
}

// remove removes the stored freeze, and opens the gate if it is loaded.
func (g *Gate) remove(ctx context.Context, s store.Store) error {
	unlock, err := g.loading.Lock(ctx, "")
	if err != nil {
		return problem.ErrGivenUp
	}
	defer unlock()
	if err := s.Remove(ctx, store.FreezeKey); err != nil {
		return problem.NotStored("ending the freeze", err)
	}
	if !g.Loaded() || g.Freeze() == nil {
		return nil
	}
	g.set(nil, true)
	g.opened()
	return nil
}
