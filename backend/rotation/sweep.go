package rotation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

const (
	// sweepEvery is how often all roles are listed, to find those that the queue does not know.
	sweepEvery = 10 * time.Minute
	// sweepReaders is how many entries are read concurrently.
	sweepReaders = 16
)

// sweeper lists roles and connections and queues those that the queue does not know: all of them at the start, and every ten
// minutes any that a fault has lost.
type sweeper struct {
	e *Engine

	mu       sync.Mutex // guards the fields below
	running  bool
	next     time.Time // when to sweep again
	complete bool      // every role has been read since the start
	// latest is the latest time at which something was queued. setBack: the clock shows an earlier time since, so that what
	// is queued may be much too late.
	latest  time.Time
	setBack bool
}

// wake begins a sweep, unless one is running or it is not time for one.
func (w *sweeper) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.e.Now()
	if timing.Ahead(w.latest, now) {
		w.e.logger.Error("the clock was ahead: what was planned by it is planned again, counted from now", "ahead_by", w.latest.Sub(now).Round(time.Second))
		w.latest, w.next, w.setBack = now, now, true
	}
	if w.running || now.Before(w.next) {
		return
	}
	setBack := w.setBack
	w.setBack = false
	w.running = w.e.background(func(ctx context.Context) {
		again := w.e.Now() // at the next wake
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.running, w.next = false, again
			w.setBack = w.setBack || setBack
		}()
		if w.sweep(ctx, setBack) {
			again, setBack = w.e.Now().Add(sweepEvery), false
		}
	})
}

// scheduledAt is called when a role is queued.
func (w *sweeper) scheduledAt(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest = timing.Later(w.latest, now)
}

// isComplete reports whether every role has been read since the start.
func (w *sweeper) isComplete() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.complete
}

// sweep reports whether everything could be listed. Otherwise it is retried within about a minute. With all, it also reads what
// the queue knows.
func (w *sweeper) sweep(ctx context.Context, all bool) bool {
	e, s := w.e, w.e.own()
	if !e.writable() {
		return false
	}
	if err := e.Gate.Load(ctx, s); err != nil {
		if ctx.Err() == nil {
			e.logger.Error("could not check whether automatic changes are frozen: nothing is changed automatically; this is retried in a minute", "error", err)
		}
		return false
	}
	connections, err := s.List(ctx, store.ConnectionPrefix)
	var roles []string
	if err == nil {
		roles, err = s.List(ctx, store.RolePrefix)
	}
	if err != nil {
		if ctx.Err() == nil {
			e.logger.Error("could not list the roles: this is retried in a minute", "error", err)
		}
		return false
	}
	used := &sync.Map{}
	opened := w.each(ctx, store.ConnectionPrefix, connections, func(name string) error { return w.connection(ctx, s, name, used, all) })
	complete := w.each(ctx, store.RolePrefix, roles, func(name string) error { return w.role(ctx, s, name, all) })
	w.forgetGone(ctx, s, roles)
	if opened {
		w.removeUnusedGuards(ctx, s, used)
	}
	w.mu.Lock()
	w.complete = opened && complete
	w.mu.Unlock()
	return true
}

// each calls f for all names, several at a time, and reports whether all calls succeeded. A panic stops neither the other
// calls nor the process.
func (w *sweeper) each(ctx context.Context, prefix string, names []string, f func(name string) error) bool {
	var failed atomic.Bool
	var next atomic.Int64
	var readers sync.WaitGroup
	one := func(name string) (err error) {
		defer func() {
			if problem.LogPanic(w.e.logger, recover(), "reading an entry", "key", prefix+name) {
				err = problem.ErrPanicked
			}
		}()
		return f(name)
	}
	for range min(sweepReaders, len(names)) {
		readers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(names)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := one(names[i]); err != nil {
					failed.Store(true)
					if ctx.Err() == nil {
						w.e.logger.Error("could not read an entry: this is retried in ten minutes", "key", prefix+names[i], "error", err)
					}
				}
			}
		})
	}
	readers.Wait()
	return !failed.Load() && ctx.Err() == nil
}

// connection queues the probe of a paused connection, and records which guard the connection uses. With anew, it reads the
// connection and its pause again.
func (w *sweeper) connection(ctx context.Context, s store.Store, name string, used *sync.Map, anew bool) error {
	if anew {
		w.e.cache.Drop(name)
	}
	h, err := w.e.Connections.Handle(ctx, s, name)
	if errors.Is(err, problem.ErrNoConnection) {
		return nil
	}
	if err != nil {
		return err
	}
	used.Store(h.Guard.Key(), true)
	used.Store(h.Guard.HoldKey(), true)
	if pause := h.Paused(); pause != nil {
		w.e.health.Paused(h, pause)
		if key := (job{name: name, probe: true}); !pause.NextProbe.IsZero() && (anew || !w.e.queue.Knows(key)) {
			w.e.queue.Set(key, name, pause.NextProbe)
		}
	}
	return nil
}

// role queues a role that the queue does not know, or whose request should have ended long ago. With anew, it queues any role.
func (w *sweeper) role(ctx context.Context, s store.Store, name string, anew bool) error {
	e := w.e
	if !anew && e.queue.Knows(job{name: name}) {
		if e.health.OverdueSend(name, e.Now()) && !e.locks.Held(name) {
			e.recheckSoon(name)
		}
		return nil
	}
	unlock := e.locks.Try(name)
	if unlock == nil { // the holder may not queue it, so check again shortly
		e.recheckSoon(name)
		return nil
	}
	defer unlock()
	r, err := s.Role(ctx, name)
	if err != nil || r == nil {
		return err
	}
	if err := e.refresh(ctx, s, r); err != nil {
		return err
	}
	h, err := e.Connections.Handle(ctx, s, r.Connection)
	if err != nil {
		h = nil // a worker gets and logs the error
	}
	// Roles that became due in the meantime are spread out. A change that a stop interrupted continues at once.
	var delay time.Duration
	if due := r.DueTime(); !due.IsZero() && !due.After(e.Now()) && !r.Record.Unfinished() && r.QueuedUntil().IsZero() {
		delay = e.Within(e.catchUp)
	}
	e.schedule(r, h, delay)
	return nil
}

// Recheck looks again at the roles of a connection whose allowed_roles or allowed_targets were written, and returns those that
// it does not allow. Those that it allows now go on.
func (e *Engine) Recheck(ctx context.Context, storage logical.Storage, name string) (notAllowed []string) {
	s := store.Store{Storage: storage}
	for _, one := range e.health.Of(name) {
		h, err := e.Connections.Handle(ctx, s, name)
		if err != nil {
			return notAllowed // workers get and log the error
		}
		r, err := s.Role(ctx, one)
		if err != nil || r == nil {
			continue
		}
		allowed := h.NotAllowed(one, r.Target) == nil
		if !allowed {
			notAllowed = append(notAllowed, one)
		}
		e.sweeper.reschedule(ctx, s, h, one, allowed)
	}
	return notAllowed
}

// reschedule records the state of a role and queues its next step anew. If allowed, what an operator had to do is done.
func (w *sweeper) reschedule(ctx context.Context, s store.Store, h *connection.Handle, name string, allowed bool) {
	e := w.e
	unlock := e.locks.Try(name)
	if unlock == nil {
		e.recheckSoon(name)
		return
	}
	defer unlock()
	r, err := s.Role(ctx, name)
	if err == nil && r != nil {
		err = e.refresh(ctx, s, r)
	}
	if err != nil || r == nil {
		e.recheckSoon(name)
		return
	}
	if known, _ := e.failures.Load(name); allowed && known != nil {
		if f, _ := known.(failure); f.stuck != nil && !f.stuck.Storage {
			e.failures.Delete(name)
		}
	}
	e.schedule(r, h, e.Moment())
}

// forgetGone removes roles that were deleted without a request, for example by a restored snapshot.
func (w *sweeper) forgetGone(ctx context.Context, s store.Store, roles []string) {
	listed := make(map[string]struct{}, len(roles))
	for _, name := range roles {
		listed[name] = struct{}{}
	}
	missing := slices.DeleteFunc(w.e.health.Names(), func(name string) bool { _, ok := listed[name]; return ok })
	w.each(ctx, store.RolePrefix, missing, func(name string) error {
		unlock := w.e.locks.Try(name)
		if unlock == nil {
			return nil
		}
		defer unlock()
		r, err := s.Role(ctx, name)
		if err == nil && r == nil {
			w.e.gone(name)
		}
		return err
	})
}

// removeUnusedGuards deletes the entries of lockout guards that no connection uses and that are a day old. Otherwise each
// new access key would leave one forever.
func (w *sweeper) removeUnusedGuards(ctx context.Context, s store.Store, used *sync.Map) {
	keys, err := s.List(ctx, store.GuardPrefix)
	kept := map[string]bool{}
	used.Range(func(key, _ any) bool {
		kept[fmt.Sprint(key)] = true
		return true
	})
	for _, key := range keys {
		if kept[key] || ctx.Err() != nil {
			continue
		}
		kept[key] = true
		a, failed := s.Attempts(ctx, key)
		if failed == nil && a.Unused(w.e.Now()) {
			failed = s.Remove(ctx, store.GuardPrefix+key)
			if failed == nil {
				delete(kept, key)
			}
		}
		err = cmp.Or(err, failed)
	}
	if err != nil && ctx.Err() == nil {
		w.e.logger.Warn("could not delete the lockout guards of credentials that no connection uses: this is retried in ten minutes", "error", err)
		return
	}
	w.e.guards.Keep(kept)
}
