package rotation

import (
	"context"
	"sync"
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
	s := e.own()
	for _, prefix := range []string{pausePrefix, rolePrefix} {
		names, err := s.storage.List(ctx, prefix)
		if err != nil {
			if ctx.Err() == nil {
				e.logger.Error("the roles could not be listed; they are listed again in a while", "error", err)
			}
			return
		}
		e.sweepNames(ctx, prefix, names)
	}
	e.mu.Lock()
	e.swept = e.swept || ctx.Err() == nil
	e.mu.Unlock()
}

// sweepReaders is how many entries are read at a time.
const sweepReaders = 16

func (e *Engine) sweepNames(ctx context.Context, prefix string, names []string) {
	work := make(chan string)
	var readers sync.WaitGroup
	for range min(sweepReaders, len(names)) {
		readers.Go(func() {
			for name := range work {
				e.sweepOne(ctx, prefix, name)
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
}

func (e *Engine) sweepOne(ctx context.Context, prefix, name string) {
	if prefix == pausePrefix {
		if pause, err := e.own().pause(ctx, name); err == nil && pause != nil && !pause.NextProbe.IsZero() {
			e.scheduler.probe(name, pause.NextProbe)
		}
		return
	}
	if e.scheduler.knows(name) {
		return
	}
	role, err := e.read(ctx, e.own(), name)
	if err != nil {
		if ctx.Err() == nil {
			e.logger.Error("a role could not be read", "role", name, "error", err)
		}
		return
	}
	if role != nil {
		e.scheduleLate(role)
	}
}

// schedule tells the scheduler what the role waits for, if the engine is to act on it by itself.
func (e *Engine) schedule(role *Role) {
	if at, waits := role.nextAction(e.clock()); waits {
		e.scheduler.set(role.Name, role.Connection, at)
		return
	}
	e.scheduler.rest(role.Name, role.Connection)
}

// scheduleLate does the same for a role that was found: passwords that have become due in the meantime are not changed all
// at once. What a stop interrupted goes on at once.
func (e *Engine) scheduleLate(role *Role) {
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
