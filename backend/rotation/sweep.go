package rotation

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/connections"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// sweepEvery is how often all roles are listed, to find those that the queue does not know.
const sweepEvery = 10 * time.Minute

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
	names, err := s.List(ctx, store.ConnectionPrefix)
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
	opened := e.Connections.Sweep(ctx, s, names, all)
	complete := connections.Each(ctx, e.logger, store.RolePrefix, roles, func(name string) error { return w.role(ctx, s, name, all) })
	if complete && w.allKnown(ctx, s, roles) {
		e.health.Completed()
	}
	w.forgetGone(ctx, s, roles)
	w.mu.Lock()
	w.complete = opened && complete
	w.mu.Unlock()
	return true
}

// role queues a role that the queue does not know, or whose request should have ended long ago. With anew, it queues any role.
func (w *sweeper) role(ctx context.Context, s store.Store, name string, anew bool) error {
	e := w.e
	if _, known := e.health.ConnectionOf(name); known && !anew && e.queue.Knows(job{name: name}) {
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
	if err := e.Refresh(ctx, s, r); err != nil {
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
		err = e.Refresh(ctx, s, r)
	}
	if err != nil || r == nil {
		e.recheckSoon(name)
		return
	}
	if allowed {
		e.failures.Mended(name)
	}
	e.schedule(r, h, e.Moment())
}

// allKnown reports whether the health board has all of these roles that still exist.
func (w *sweeper) allKnown(ctx context.Context, s store.Store, roles []string) bool {
	return !slices.ContainsFunc(roles, func(name string) bool {
		if _, known := w.e.health.ConnectionOf(name); known {
			return false
		}
		r, err := s.Role(ctx, name)
		return err != nil || r != nil // others may be working on it
	})
}

// forgetGone removes roles that were deleted without a request, for example by a restored snapshot.
func (w *sweeper) forgetGone(ctx context.Context, s store.Store, roles []string) {
	listed := make(map[string]struct{}, len(roles))
	for _, name := range roles {
		listed[name] = struct{}{}
	}
	missing := slices.DeleteFunc(w.e.health.Names(), func(name string) bool { _, ok := listed[name]; return ok })
	connections.Each(ctx, w.e.logger, store.RolePrefix, missing, func(name string) error {
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
