package rotation

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/store"
)

const roleKey = store.RolePrefix + "role"

// storage is storage that counts its operations, and fails, panics or blocks where a test says so.
type storage struct {
	logical.Storage
	mu     sync.Mutex
	used   counts
	fault  func(operation, key string) error
	blocks []*block
}

// counts are numbers of storage operations.
type counts struct{ gets, puts, lists, deletes int }

// Names of operations.
const (
	opGet    = "get"
	opPut    = "put"
	opList   = "list"
	opDelete = "delete"
)

// failIf makes operations fail, or panic, as f does; nil: none. f is called under a lock.
func (s *storage) failIf(f func(operation, key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// fail makes an operation fail, on one key or on all ("").
func (s *storage) fail(operation, key, message string) {
	s.failIf(func(o, k string) error {
		if o == operation && (key == "" || key == k) {
			return errors.New(message)
		}
		return nil
	})
}

// failAll makes all operations fail.
func (s *storage) failAll() {
	s.failIf(func(string, string) error { return errors.New("storage is gone") })
}

// heal ends all faults.
func (s *storage) heal() { s.failIf(nil) }

// reset sets the counts to zero.
func (s *storage) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = counts{}
}

func (s *storage) counts() counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// matches selects operations; value is what a put writes.
type matches func(operation, key string, value []byte) bool

// on matches one operation on one key.
func on(operation, key string) matches {
	return func(o, k string, _ []byte) bool { return o == operation && k == key }
}

// block is where operations of storage, or calls, wait until it is released.
type block struct {
	at                matches
	reached, released chan struct{}
	reach, release    func()
}

func newBlock() *block {
	b := &block{reached: make(chan struct{}), released: make(chan struct{})}
	b.reach = sync.OnceFunc(func() { close(b.reached) })
	b.release = sync.OnceFunc(func() { close(b.released) })
	return b
}

func (b *block) wait() {
	b.reach()
	<-b.released
}

// isReached reports whether something waits or has waited.
func (b *block) isReached() bool {
	select {
	case <-b.reached:
		return true
	default:
		return false
	}
}

// blockAt makes the next operation that matches wait, before it is made.
func (s *storage) blockAt(at matches) *block {
	b := newBlock()
	b.at = at
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocks = append(s.blocks, b)
	return b
}

// pass is called before each operation.
func (s *storage) pass(operation, key string, value []byte) error {
	if err := s.count(operation, key); err != nil {
		return err
	}
	if b := s.take(operation, key, value); b != nil {
		b.wait()
	}
	return nil
}

func (s *storage) count(operation, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch operation {
	case opGet:
		s.used.gets++
	case opPut:
		s.used.puts++
	case opList:
		s.used.lists++
	case opDelete:
		s.used.deletes++
	}
	if s.fault == nil {
		return nil
	}
	return s.fault(operation, key)
}

// take returns the block that the operation meets, or nil.
func (s *storage) take(operation, key string, value []byte) *block {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.blocks, func(b *block) bool { return b.at(operation, key, value) })
	if i < 0 {
		return nil
	}
	met := s.blocks[i]
	s.blocks = slices.Delete(s.blocks, i, i+1)
	return met
}

// Get implements logical.Storage.
func (s *storage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	if err := s.pass(opGet, key, nil); err != nil {
		return nil, err
	}
	return s.Storage.Get(ctx, key)
}

// Put implements logical.Storage.
func (s *storage) Put(ctx context.Context, e *logical.StorageEntry) error {
	if err := s.pass(opPut, e.Key, e.Value); err != nil {
		return err
	}
	return s.Storage.Put(ctx, e)
}

// Delete implements logical.Storage.
func (s *storage) Delete(ctx context.Context, key string) error {
	if err := s.pass(opDelete, key, nil); err != nil {
		return err
	}
	return s.Storage.Delete(ctx, key)
}

// List implements logical.Storage.
func (s *storage) List(ctx context.Context, prefix string) ([]string, error) {
	if err := s.pass(opList, prefix, nil); err != nil {
		return nil, err
	}
	return s.Storage.List(ctx, prefix)
}
