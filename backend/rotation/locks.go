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

// lock waits until the caller alone holds the name, or for its context. unlock must be called once.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.named == nil {
		l.named = map[string]*namedLock{}
	}
	n := l.named[name]
	if n == nil {
		n = &namedLock{held: make(chan struct{}, 1)}
		l.named[name] = n
	}
	n.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if n.users--; n.users == 0 {
			delete(l.named, name)
		}
	}
	select {
	case n.held <- struct{}{}:
		return func() { <-n.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
