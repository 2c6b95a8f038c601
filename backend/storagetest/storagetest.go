// Package storagetest is storage for tests that fails on demand: at its n-th operation, after the operation was done, or
// from there on. logical.InmemStorage fails for a kind of operation as a whole, which finds none of what happens in
// between two writes.
package storagetest

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

// Fault is what goes wrong with one operation.
type Fault string

const (
	// Fails: the operation is not done and reports an error.
	Fails Fault = "fails"
	// Lands: a write is done and reports an error all the same, as when the answer is lost; a read just fails.
	Lands Fault = "lands but reports an error"
	// ReadOnly: this write and every later one is refused, since the node must not write any more. The error has the
	// text of logical.ErrReadOnly and not its identity: so it reaches an external plugin.
	ReadOnly Fault = "read-only from here on"
	// Down: this operation and every later one fails.
	Down Fault = "down from here on"
	// LandsThenDown: this operation is done and reports an error, and every later one fails.
	LandsThenDown Fault = "lands, and down from there on"
	// Cancelled: the request's context ends while the operation is made, which is not done if it was the request's.
	Cancelled Fault = "cancelled in the call"
	// CancelledLands: the same, but the operation is done.
	CancelledLands Fault = "cancelled in the call, and done"
)

// Faults lists every fault.
func Faults() []Fault {
	return []Fault{Fails, Lands, ReadOnly, Down, LandsThenDown, Cancelled, CancelledLands}
}

// ErrFault is what a failing operation reports.
var ErrFault = errors.New("simulated storage fault")

// Storage passes operations on, but for those that are to fail. It may be used concurrently.
type Storage struct {
	logical.Storage

	mu       sync.Mutex
	fault    Fault
	left     int // operations until the fault; 0: none is to come
	cancel   context.CancelFunc
	happened string
	lasting  Fault // ReadOnly or Down, once it has begun
	hanging  map[string]*hang
}

// hang is a key whose operations wait.
type hang struct{ reports, released chan struct{} }

// New returns storage without a fault.
func New(storage logical.Storage) *Storage { return &Storage{Storage: storage} }

// Arm lets the n-th operation from now on (n ≥ 1) meet a fault. cancel ends the request's context, for the faults that
// are about it.
func (s *Storage) Arm(n int, fault Fault, cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.fault, s.cancel, s.happened, s.lasting = n, fault, cancel, "", ""
}

// Heal ends every fault, and tells which operation met the last one that was armed: "" if none did.
func (s *Storage) Heal() (happened string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.lasting = 0, ""
	return s.happened
}

// Hang lets operations on a key wait, without heed to their context, until release is called. hung gets a value for each
// that does.
func (s *Storage) Hang(key string) (hung <-chan struct{}, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &hang{reports: make(chan struct{}, 1024), released: make(chan struct{})}
	if s.hanging == nil {
		s.hanging = map[string]*hang{}
	}
	s.hanging[key] = h
	return h.reports, sync.OnceFunc(func() {
		s.mu.Lock()
		delete(s.hanging, key)
		s.mu.Unlock()
		close(h.released)
	})
}

// do makes an operation, or what a fault makes of it.
func (s *Storage) do(ctx context.Context, write bool, name, key string, operation func(context.Context) error) error {
	s.wait(key)
	fault, cancel := s.next(write, name+" "+key)
	switch fault {
	case Fails, Down:
		return ErrFault
	case Lands, LandsThenDown:
		if write {
			if err := operation(ctx); err != nil {
				return err
			}
		}
		return ErrFault
	case ReadOnly:
		return errors.New("rpc error: " + logical.ErrReadOnly.Error())
	case Cancelled:
		cancel()
	case CancelledLands:
		if err := operation(ctx); err != nil {
			return err
		}
		cancel()
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return operation(ctx)
}

// wait waits where the key hangs.
func (s *Storage) wait(key string) {
	s.mu.Lock()
	h := s.hanging[key]
	s.mu.Unlock()
	if h != nil {
		h.reports <- struct{}{}
		<-h.released
	}
}

// next is the fault of this operation; "" if it has none.
func (s *Storage) next(write bool, operation string) (Fault, context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lasting == Down || s.lasting == ReadOnly && write {
		return s.lasting, nil
	}
	if s.left == 0 {
		return "", nil
	}
	if s.left--; s.left > 0 {
		return "", nil
	}
	if s.fault == ReadOnly && !write { // begins with the next write
		s.left = 1
		return "", nil
	}
	s.happened = operation
	switch s.fault {
	case ReadOnly:
		s.lasting = ReadOnly
	case Down, LandsThenDown:
		s.lasting = Down
	default: // it is over with this operation
	}
	return s.fault, s.cancel
}

// Get reads an entry.
func (s *Storage) Get(ctx context.Context, key string) (entry *logical.StorageEntry, err error) {
	err = s.do(ctx, false, "get", key, func(ctx context.Context) error {
		entry, err = s.Storage.Get(ctx, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return entry, nil
}

// List lists keys.
func (s *Storage) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = s.do(ctx, false, "list", prefix, func(ctx context.Context) error {
		keys, err = s.Storage.List(ctx, prefix)
		return err
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// Put writes an entry.
func (s *Storage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return s.do(ctx, true, "put", entry.Key, func(ctx context.Context) error { return s.Storage.Put(ctx, entry) })
}

// Delete removes an entry.
func (s *Storage) Delete(ctx context.Context, key string) error {
	return s.do(ctx, true, "delete", key, func(ctx context.Context) error { return s.Storage.Delete(ctx, key) })
}
