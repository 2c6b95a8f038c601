package rotation

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// sweep lists the roles and tells the scheduler of those that it does not know. At the start that is all of them; after
// that it finds what was lost to a fault.
func (e *Engine) sweep(ctx context.Context) {
	if !e.writable() || !e.begin(ctx) {
		e.mu.Lock()
		e.lastSweep = time.Time{} // as soon as it may
		e.mu.Unlock()
		return
	}
	s, complete := e.own(), true
	for _, prefix := range []string{pausePrefix, rolePrefix} {
		names, err := s.storage.List(ctx, prefix)
		if err != nil {
			if ctx.Err() == nil {
				e.logger.Error("the roles could not be listed; they are listed again in a while", "error", err)
			}
			return
		}
		complete = e.sweepNames(ctx, prefix, names) && complete
		if prefix == rolePrefix {
			e.sweepGone(ctx, names)
		}
	}
	e.mu.Lock()
	e.swept = complete
	e.mu.Unlock()
}

// sweepReaders is how many entries are read at a time.
const sweepReaders = 16

// sweepNames tells whether all entries could be read.
func (e *Engine) sweepNames(ctx context.Context, prefix string, names []string) bool {
	one := e.sweepRole
	if prefix == pausePrefix {
		one = e.sweepPause
	}
	var failed atomic.Bool
	work := make(chan string)
	var readers sync.WaitGroup
	for range min(sweepReaders, len(names)) {
		readers.Go(func() {
			for name := range work {
				if err := one(ctx, name); err != nil {
					failed.Store(true)
					if ctx.Err() == nil {
						e.logger.Error("an entry could not be read; it is read again in a while", "key", prefix+name, "error", err)
					}
				}
			}
		})
	}
feed:
	for _, name := range names {
		select {
		case work <- name:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	readers.Wait()
	return !failed.Load() && ctx.Err() == nil
}

// sweepGone forgets roles that were removed by something else than a request, as a restored snapshot.
func (e *Engine) sweepGone(ctx context.Context, there []string) {
	listed := make(map[string]struct{}, len(there))
	for _, name := range there {
		listed[name] = struct{}{}
	}
	for _, name := range e.board.names() {
		if _, ok := listed[name]; ok {
			continue
		}
		if role, err := e.own().role(ctx, name); err == nil && role == nil {
			e.gone(name)
		}
	}
}

func (e *Engine) sweepPause(ctx context.Context, name string) error {
	l, err := e.connection(ctx, e.own(), name)
	if errors.Is(err, ErrNoConnection) {
		return nil
	}
	if err != nil {
		return err
	}
	if pause := l.paused(); pause != nil {
		e.board.paused(l, pause)
		if !pause.NextProbe.IsZero() {
			e.scheduler.probe(name, pause.NextProbe)
		}
	}
	return nil
}

func (e *Engine) sweepRole(ctx context.Context, name string) error {
	if e.scheduler.knows(name) {
		return nil
	}
	unlock := e.locks.try(name)
	if unlock == nil { // somebody works on it, who may know it better and may not tell
		e.lookAt(name)
		return nil
	}
	defer unlock()
	role, err := e.read(ctx, e.own(), name)
	if err == nil && role != nil {
		e.scheduleLate(role)
	}
	return err
}

// lookAt lets a worker look at a role soon, which then tells the scheduler how it stands.
func (e *Engine) lookAt(role string) {
	e.scheduler.set(role, "", e.clock().Add(scaled(e.jitter(firstBackoff))))
}

// schedule takes down how a role stands, and tells the scheduler what it waits for, if the engine is to act on it by
// itself. The caller has the role's lock: what it knows is not older than what others have told.
func (e *Engine) schedule(role *Role) {
	e.note(role)
	if at, waits := role.nextAction(e.clock()); waits {
		e.scheduler.set(role.Name, role.Connection, at)
		return
	}
	e.scheduler.rest(role.Name, role.Connection)
}

// gone: there is no such role any more.
func (e *Engine) gone(role string) {
	e.scheduler.forget(role)
	e.board.forget(role)
	e.complaints.over(role)
	e.reads.drop(role)
}

// scheduleLate does the same for a role that was found: passwords that have become due in the meantime are not changed all
// at once. What a stop interrupted goes on at once.
func (e *Engine) scheduleLate(role *Role) {
	e.note(role)
	now := e.clock()
	at, waits := role.nextAction(now)
	switch {
	case !waits:
		e.scheduler.rest(role.Name, role.Connection)
	case !at.After(now) && !role.Record.Unfinished() && role.queued().IsZero():
		e.scheduler.set(role.Name, role.Connection, now.Add(e.spreadOut()))
	default:
		e.scheduler.set(role.Name, role.Connection, at)
	}
}
