// Package storagetest provides storage for tests that fails on demand: at the n-th operation, before or after it takes
// effect, once or from then on. logical.InmemStorage can only fail all operations of a kind, which never exercises a fault
// between two writes.
package storagetest

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

// Fault is what goes wrong with an operation.
type Fault string

const (
	// Fails: the operation has no effect and returns an error.
	Fails Fault = "fails"
	// Lands: a write takes effect but returns an error, as if the answer were lost. A read fails.
	Lands Fault = "lands but reports an error"
	// ReadOnly: this write and every later one is refused, as on a node that may no longer write. The error has the text
	// of logical.ErrReadOnly but not its identity, as an external plugin receives it.
	ReadOnly Fault = "read-only from here on"
	// Down: this operation and every later one fail.
	Down Fault = "down from here on"
	// LandsThenDown: this operation takes effect but returns an error, and every later one fails.
	LandsThenDown Fault = "lands, and down from there on"
	// Cancelled: the request's context ends at the start of the operation. The operation has no effect if it uses that
	// context.
	Cancelled Fault = "cancelled in the call"
	// CancelledLands: the request's context ends after the operation has taken effect.
	CancelledLands Fault = "cancelled in the call, and done"
)

// Faults returns every fault.
func Faults() []Fault {
	return []Fault{Fails, Lands, ReadOnly, Down, LandsThenDown, Cancelled, CancelledLands}
}

// ErrFault is returned by a failing operation.
var ErrFault = errors.New("simulated storage fault")

// Storage passes operations to the embedded storage, except those that fail or hang. It is safe for concurrent use.
type Storage struct {
	logical.Storage

	mu       sync.Mutex
	fault    Fault
	left     int // operations until the fault; 0 if none is armed
	cancel   context.CancelFunc
	happened string
	lasting  Fault // ReadOnly or Down, once in effect
	hanging  map[string]*hang
}

// hang is the state of a key whose operations block.
type hang struct{ reports, released chan struct{} }

// New returns a Storage without faults.
func New(storage logical.Storage) *Storage { return &Storage{Storage: storage} }

// Arm makes the n-th operation from now on (n ≥ 1) meet a fault. cancel ends the request's context; Cancelled and
// CancelledLands call it.
func (s *Storage) Arm(n int, fault Fault, cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.fault, s.cancel, s.happened, s.lasting = n, fault, cancel, "", ""
}

// Heal ends all faults and returns the operation that met the last one armed, or "" if none did.
func (s *Storage) Heal() (happened string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.lasting = 0, ""
	return s.happened
}

// Hang makes operations on a key block until release is called, regardless of their context. hung receives a value for
// each operation that blocks.
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

// do runs an operation, subject to the armed fault.
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

// wait blocks while the key hangs.
func (s *Storage) wait(key string) {
	s.mu.Lock()
	h := s.hanging[key]
	s.mu.Unlock()
	if h != nil {
		h.reports <- struct{}{}
		<-h.released
	}
}

// next returns the fault of this operation; "" if it has none.
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
	if s.fault == ReadOnly && !write { // takes effect at the next write
		s.left = 1
		return "", nil
	}
	s.happened = operation
	switch s.fault {
	case ReadOnly:
		s.lasting = ReadOnly
	case Down, LandsThenDown:
		s.lasting = Down
	default: // affects this operation only
	}
	return s.fault, s.cancel
}

// Get implements logical.Storage.
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

// List implements logical.Storage.
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

// Put implements logical.Storage.
func (s *Storage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return s.do(ctx, true, "put", entry.Key, func(ctx context.Context) error { return s.Storage.Put(ctx, entry) })
}

// Delete implements logical.Storage.
func (s *Storage) Delete(ctx context.Context, key string) error {
	return s.do(ctx, true, "delete", key, func(ctx context.Context) error { return s.Storage.Delete(ctx, key) })
}

// Operations that Hooked reports.
const (
	Get    = "get"
	Delete = "delete"
)

// Hooked is storage that calls a function after each read and deletion, before they return.
type Hooked struct {
	logical.Storage
	After func(operation, key string)
}

// Get implements logical.Storage.
func (h *Hooked) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	entry, err := h.Storage.Get(ctx, key)
	h.After(Get, key)
	return entry, err
}

// Delete implements logical.Storage.
func (h *Hooked) Delete(ctx context.Context, key string) error {
	err := h.Storage.Delete(ctx, key)
	h.After(Delete, key)
	return err
}
