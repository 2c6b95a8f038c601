package connection

import (
	"context"
	"sync"

	"vault-plugin-secrets-hosting/backend/problem"
)

// slots bounds the concurrent changes of a connection. It outlives the connection's handles, so that writing the connection
// does not allow more changes to run.
type slots struct {
	mu sync.Mutex // guards the fields below
	// limit is max_in_flight, used counts the running changes, and asked those of them for which a request waits.
	limit, used, asked int
	changed            chan struct{} // closed and replaced when a slot becomes free
}

func newSlots() *slots { return &slots{changed: make(chan struct{})} }

// acquire takes a slot. If none is free, it waits until the context ends; with a nil context, it returns problem.ErrFull.
func (s *slots) acquire(waiting context.Context) (release func(), err error) {
	for {
		s.mu.Lock()
		if s.used < s.limit {
			s.used++
			if waiting != nil {
				s.asked++
			}
			s.mu.Unlock()
			return func() { s.release(waiting != nil) }, nil
		}
		changed := s.changed
		s.mu.Unlock()
		if waiting == nil {
			return nil, problem.ErrFull
		}
		select {
		case <-changed:
		case <-waiting.Done():
			return nil, problem.ErrGivenUp
		}
	}
}

func (s *slots) release(asked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if asked {
		s.asked--
	}
	s.notify()
}

// notify wakes the callers that wait for a slot. s.mu must be held.
func (s *slots) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// resize sets the limit.
func (s *slots) resize(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit != limit {
		s.limit = limit
		s.notify()
	}
}

// room returns how many slots are left for changes for which no request waits.
func (s *slots) room() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit - s.asked
}
