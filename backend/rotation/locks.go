package rotation

import (
	"context"
	"sync"
)

// locks is one lock a name, made when it is wanted and gone when nobody wants it. Readers of passwords take none.
type locks struct {
	mu    sync.Mutex
	named map[string]*namedLock
}

type namedLock struct {
	held  chan struct{} // has room for its one holder
	users int           // holder and waiters
}

// try takes the name if nobody holds or wants it; nil if somebody does.
func (l *locks) try(name string) (unlock func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.named[name] != nil {
		return nil
	}
	n := l.use(name)
	n.held <- struct{}{} // has room, as nobody else has it
	return func() { <-n.held; l.leave(name, n) }
}

// held tells whether somebody holds the name, or waits for it.
func (l *locks) held(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.named[name] != nil
}

// use returns the lock of a name and counts its user; l.mu is held.
func (l *locks) use(name string) *namedLock {
	if l.named == nil {
		l.named = map[string]*namedLock{}
	}
	n := l.named[name]
	if n == nil {
		n = &namedLock{held: make(chan struct{}, 1)}
		l.named[name] = n
	}
	n.users++
	return n
}

func (l *locks) leave(name string, n *namedLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.users--; n.users == 0 {
		delete(l.named, name)
	}
}

// lock waits until the caller alone holds the name, or for its context. unlock must be called once.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	n := l.use(name)
	l.mu.Unlock()
	select {
	case n.held <- struct{}{}:
		return func() { <-n.held; l.leave(name, n) }, nil
	case <-ctx.Done():
		l.leave(name, n)
		return nil, ctx.Err()
	}
}
