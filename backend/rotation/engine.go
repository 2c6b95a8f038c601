// Package rotation changes passwords: it stores a new one, sends it to the remote system, and settles the outcome.
//
// An [Engine] manages the passwords of one mount. All work on a role goes through [work]: requests, due rotations, retries,
// changes that a restart interrupted, and the first password of a new role. Work takes the role's lock, reads the role, does
// what the request wants or what [role.Role.Next] returns, and puts the role back in the queue. The file change.go has the
// steps of a change, and describes what a crash between two of them leaves.
//
// The engine works in its own context: if a request ends, its change continues. After Start, the engine finds in storage
// what a restart interrupted, and resumes it.
//
// The package decides about storage, attempts and time. Package provider calls the remote systems, package credential
// defines what an answer means for an account's passwords, and package explain has the texts for operators.
package rotation

import (
	"context"
	"crypto/rand"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/connections"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/firstread"
	"vault-plugin-secrets-hosting/backend/gate"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/locks"
	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/proof"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/queue"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
	"vault-plugin-secrets-hosting/backend/verify"
)

// Config is what an Engine needs.
type Config struct {
	Types    []provider.Type
	Policies password.Policies
	Logger   hclog.Logger
	// Writable reports whether this node may write to storage and change remote systems. It is called before all work.
	Writable func() bool
	// Login makes a login; nil: verify.Login.Prove does.
	Login func(context.Context, verify.Login) provider.Proof
	// Clock and Random default to time.Now and crypto/rand.Reader. Random is used for passwords and jitter, and may be read
	// concurrently.
	Clock  func() time.Time
	Random io.Reader
	// Events receives events of roles and connections, with pairs of names and values that are not secret; it may be nil. It
	// is called under the role's lock, and must not call the engine.
	Events func(ctx context.Context, kind, name string, metadata []string)
}

// Times of the engine. Package timing has more.
const (
	// requestWait is how long a request waits for its change. Vault ends requests after 90 s.
	requestWait = 45 * time.Second
	// sendMargin is the minimum time between the deadline of an unresolved request, on which the remote system may still be
	// working, and a request with a different password.
	sendMargin = 30 * time.Second
	// checkWait is how long a role waits while the connection's credential is being checked.
	checkWait = roles.CheckWait
	// quickFailures is for how many failures in a row without a request the wait grows.
	quickFailures = 4
	// stopWait bounds how long Stop waits for running work: Vault stops all mounts of a plugin one after the other.
	stopWait = 1500 * time.Millisecond
	// catchUp is the time over which late changes are spread.
	catchUp = time.Minute
)

// Engine manages the passwords of one mount. Its methods may be called concurrently.
type Engine struct {
	timing.Timing
	// Reader answers requests that only read roles.
	*roles.Reader
	// Connections and Gate are the parts of the mount that requests use directly.
	Connections *connections.Connections
	Gate        *gate.Gate

	types     map[string]provider.Type
	passwords generator
	logger    hclog.Logger
	writable  func() bool
	events    func(ctx context.Context, kind, name string, metadata []string)

	guards  *lockout.Guards
	prover  proof.Prover
	cache   *connection.Cache
	queue   *queue.Queue[job]
	health  health.Board
	sweeper sweeper
	// failures counts, for each role, how often in a row work failed for the same reason; see work.failed.
	failures health.Failures
	reads    *firstread.Reads
	// locks has one lock for each role. For index, see connections.Config.
	locks, index locks.Locks
	// waiting bounds the requests that wait for something: a lock, a slot, a permit, a call, or the time of one.
	waiting locks.Waiting
	// catchUp is the time over which late changes are spread.
	catchUp time.Duration

	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc
	working sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	stopped bool
	storage store.Store // for work without a request; set by Start
}

// job is a job of the queue: the next step of a role, or a probe of a paused connection.
type job struct {
	name  string
	probe bool
}

// New returns an engine, which does nothing without a request until Start. It does no I/O.
func New(c Config) *Engine {
	if c.Clock == nil {
		c.Clock = func() time.Time { return time.Now().UTC().Round(0) } // as storage returns it
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Writable == nil {
		c.Writable = func() bool { return true }
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	e := &Engine{
		Timing: timing.Timing{Now: c.Clock, Random: c.Random},
		types:  map[string]provider.Type{}, passwords: generator{password.Source{Policies: c.Policies, Random: c.Random}}, logger: c.Logger, writable: c.Writable, events: c.Events,
		catchUp: timing.Scaled(catchUp),
	}
	for _, kind := range c.Types {
		e.types[kind.Name()] = kind
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.guards = lockout.NewGuards(lockout.Config{
		Timing: e.Timing, Warn: func(message string, err error) { e.logger.Warn(message, "error", err) },
	})
	e.prover = proof.Prover{Guards: e.guards, Logger: e.logger, Login: c.Login}
	e.cache = connection.NewCache(e.types, e.guards, timing.Scaled(sendMargin))
	e.sweeper.e = e
	e.Connections = connections.New(connections.Config{
		Timing: e.Timing, Types: e.types, Cache: e.cache, Guards: e.guards, Health: &e.health, Index: &e.index, Waiting: &e.waiting, Logger: e.logger,
		TryPolicy: e.passwords.tryPolicy, Retry: e.retry,
		Settings: func(ctx context.Context, s store.Store) (store.Settings, error) { return e.Gate.Current(ctx, s) },
		Probes: func(name string, at time.Time) { // zero: it is not probed
			key := job{name: name, probe: true}
			if at.IsZero() {
				e.queue.Forget(key)
				return
			}
			e.queue.Set(key, name, at)
		},
		Probing: func(name string) bool { return e.queue.Knows(job{name: name, probe: true}) },
	})
	e.Gate = gate.New(gate.Config{
		Timing: e.Timing, Logger: e.logger, Writable: e.writable,
		Opened: func() { // all late roles are spread
			e.queue.Spread(func(j job) bool { return !j.probe }, func() time.Duration { return e.Within(e.catchUp) })
		},
		SettingsChanged: e.cache.DropAll, // an open connection has its limits
		Background: func(f func(context.Context, store.Store)) {
			e.background(func(ctx context.Context) { f(ctx, e.own()) })
		},
	})
	e.reads = firstread.New(e.writable)
	e.Reader = roles.NewReader(roles.Config{
		Timing: e.Timing, Types: e.types, Connections: e.Connections, Gate: e.Gate, Reads: e.reads, Failures: &e.failures,
		Writable: e.writable, Working: e.locks.Held,
	})
	e.queue = queue.New(queue.Config[job]{Clock: e.Now, Work: e.due, Room: e.room, MayStart: e.mayStart})
	return e
}

// Start starts automatic work: the engine resumes what a restart interrupted, retries what failed, and rotates what is due.
// Start returns at once; roles are read in the background.
func (e *Engine) Start(storage logical.Storage) {
	e.mu.Lock()
	e.storage = store.Store{Storage: storage}
	e.mu.Unlock()
	e.background(e.queue.Run)
	e.sweeper.wake()
}

// Wake is called by Vault's periodic function, about every minute, and returns at once.
func (e *Engine) Wake() {
	if e.own().Storage != nil {
		e.sweeper.wake()
		e.Gate.Wake()
	}
	e.queue.Wake() // the clock may have been set
}

// Stop ends all work. It waits for running work for less than two seconds. The next Start resumes what has not ended by
// then.
func (e *Engine) Stop() {
	e.mu.Lock()
	e.stopped = true
	e.mu.Unlock()
	e.cancel()
	e.Gate.Stop()
	done := make(chan struct{})
	go func() { e.working.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stopWait):
		e.logger.Warn("work was still running when the plugin stopped; the next start resumes it")
	}
}

// own returns the storage for work without a request.
func (e *Engine) own() store.Store {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.storage
}

// background starts a function in the engine's context. After Stop, it returns false and does not.
func (e *Engine) background(f func(context.Context)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return false
	}
	e.working.Add(1)
	go func() {
		defer e.working.Done()
		defer func() { problem.LogPanic(e.logger, recover(), "in the background") }()
		f(e.ctx)
	}()
	return true
}

// Invalidate is called when another node has changed an entry.
func (e *Engine) Invalidate(key string) {
	for _, prefix := range []string{store.ConnectionPrefix, store.PausePrefix} {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			e.cache.Drop(name)
		}
	}
	if guard, ok := strings.CutPrefix(key, store.GuardPrefix); ok {
		e.guards.Invalidate(guard)
	}
	if name, ok := strings.CutPrefix(key, store.RolePrefix); ok {
		e.health.Changed(name)
	}
	if name, ok := strings.CutPrefix(key, store.ReadPrefix); ok {
		e.reads.Forget(name)
	}
	switch key {
	case store.FreezeKey:
		e.Gate.Invalidate()
	case store.SettingsKey:
		e.Gate.ForgetSettings()
	}
}

// Type returns the provider with this name, or nil.
func (e *Engine) Type(name string) provider.Type { return e.types[name] }

// due runs a job of the queue.
func (e *Engine) due(ctx context.Context, j job, lane string) {
	switch {
	case !e.writable(): // another node does it, or this one later
		e.queue.Set(j, lane, e.Now().Add(e.Soon()))
	case j.probe:
		if again := e.Connections.Probe(ctx, e.own(), j.name); !again.IsZero() {
			e.queue.Set(j, lane, again)
		}
	default:
		e.work(ctx, nil, nil, e.own(), j.name, intent{trigger: triggerResume})
	}
}

// restartsLane begins the names of the lanes for roles with a server that is being restarted. They have a lane of their own
// for each connection.
const restartsLane = "restarts|"

// mayStart reports whether jobs of a lane may start. A freeze does not stop the engine from turning a server on again.
func (e *Engine) mayStart(lane string) bool {
	return e.Gate.Open() || strings.HasPrefix(lane, restartsLane) && e.Gate.Loaded()
}

// room returns how many changes of a connection may run for which no request waits.
func (e *Engine) room(name string) int {
	if h, _ := e.cache.Get(strings.TrimPrefix(name, restartsLane)); h != nil {
		return h.Room()
	}
	return connection.DefaultMaxInFlight // the first change opens the connection
}

// retry retries the roles of a connection that are due or have something open, soon and spread out.
func (e *Engine) retry(name string) {
	now := e.Now()
	for _, r := range e.health.Pending(name, now) {
		e.queue.Set(job{name: r}, name, now.Add(e.Moment()))
	}
}

// env is [roles.Reader.Env].
func (e *Engine) env(h *connection.Handle, r *role.Role) role.Env { return e.Env(h, r) }

// facts is [roles.Reader.Facts].
func (e *Engine) facts(r *role.Role, h *connection.Handle) explain.Facts { return e.Facts(r, h) }

// schedule records the state of a role and queues its next step. The caller must hold the role's lock, so that its role is
// not older than what others have recorded. delay is the minimum time until the step.
func (e *Engine) schedule(r *role.Role, h *connection.Handle, delay time.Duration) {
	e.health.Set(e.facts(r, h))
	now, env := e.Now(), e.env(h, r)
	e.sweeper.scheduledAt(now)
	follows := r.FollowsRestart(now)
	env.Frozen = env.Frozen && follows // otherwise the queue waits for the gate
	free := env
	free.Paused, free.ThrottledUntil, free.CheckedAt = false, time.Time{}, time.Time{}
	step := r.Automatic(now, free)
	if step.Ready(now) { // otherwise the connection may be open by then
		step = r.Automatic(now, env)
	}
	switch step.Why {
	case role.Paused: // after the probe
		step.At = step.At.Add(e.Soon())
	case role.Throttled, role.Checking:
		step.At = step.At.Add(e.Moment())
	default:
	}
	key, lane := job{name: r.Name}, r.Connection
	if follows {
		lane = restartsLane + lane
	}
	if step.Do == role.Rest {
		e.queue.Rest(key, lane)
	} else {
		e.queue.Set(key, lane, timing.Later(step.At, now.Add(delay)))
	}
	if f, ok := e.reads.Get(r.Name); ok && r.Options.RotateAfterRead > 0 && !timing.Ahead(f.Time, now) && r.FirstRead(f.Version, f.Created, f.Time) { // it was read meanwhile
		e.recheckSoon(r.Name)
	}
}

// recheckSoon queues a role that others may have changed.
func (e *Engine) recheckSoon(name string) {
	e.queue.Set(job{name: name}, "", e.Now().Add(e.Soon()))
}

// gone removes a role that no longer exists from memory.
func (e *Engine) gone(name string) {
	e.queue.Forget(job{name: name})
	e.health.Forget(name)
	e.failures.Forget(name)
	e.reads.Forget(name)
}
