// Package locks provides named locks. A lock exists only while it is held or waited for.
package locks

import (
	"context"
	"sync"
)

// Locks has one lock per name. The zero value is ready to use.
type Locks struct {
	mu    sync.Mutex
	named map[string]*namedLock
}

type namedLock struct {
	taken chan struct{} // holds one value while the lock is held
	users int           // holder and waiters
}

// Try locks the name, or returns nil if it is held or waited for.
func (l *Locks) Try(name string) (unlock func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.named[name] != nil {
		return nil
	}
	n := l.use(name)
	n.taken <- struct{}{} // does not block, because the lock is new
	return func() { <-n.taken; l.leave(name, n) }
}

// Held reports whether the name is held or waited for.
func (l *Locks) Held(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.named[name] != nil
}

// use returns the lock of a name and counts a user. l.mu must be held.
func (l *Locks) use(name string) *namedLock {
	if l.named == nil {
		l.named = map[string]*namedLock{}
	}
	n := l.named[name]
	if n == nil {
		n = &namedLock{taken: make(chan struct{}, 1)}
		l.named[name] = n
	}
	n.users++
	return n
}

func (l *Locks) leave(name string, n *namedLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.users--; n.users == 0 {
		delete(l.named, name)
	}
}

// Lock locks the name. It waits until ctx ends. Call unlock exactly once.
func (l *Locks) Lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	n := l.use(name)
	l.mu.Unlock()
	select {
	case n.taken <- struct{}{}:
		return func() { <-n.taken; l.leave(name, n) }, nil
	case <-ctx.Done():
		l.leave(name, n)
		return nil, ctx.Err()
	}
}
