// Package firstread keeps when each version of a role's password was first read, for rotate_after_read. It stores each first
// read once, and has it in memory on the node that stores it.
//
// It decides nothing about a rotation: [role.Role.FirstRead] says what a first read means for a role.
package firstread

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/locks"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Reads has the first reads of a mount. Its methods may be called concurrently.
type Reads struct {
	writable func() bool
	byRole   sync.Map // of store.FirstRead
	// storing has one lock for each role.
	storing locks.Locks
}

// New returns the first reads of a mount. writable reports whether this node may write to storage. New does no I/O.
func New(writable func() bool) *Reads { return &Reads{writable: writable} }

// Get returns the first read of a role, if it is in memory.
func (f *Reads) Get(name string) (store.FirstRead, bool) {
	known, _ := f.byRole.Load(name)
	read, ok := known.(store.FirstRead)
	return read, ok
}

// Load returns the stored first read of a role, and caches it on the node that stores first reads. One that a clock has
// stored that was ahead does not count: the next read is the first.
func (f *Reads) Load(ctx context.Context, s store.Store, name string, now time.Time) (read store.FirstRead, err error) {
	read, ok := f.Get(name)
	if !ok {
		read, err = s.FirstRead(ctx, name)
		if err == nil && f.writable() {
			f.byRole.LoadOrStore(name, read) // one that was stored since counts
		}
	}
	if timing.Ahead(read.Time, now) {
		return store.FirstRead{}, err
	}
	return read, err
}

// Note stores the first read of a password, unless it is stored already: then stored is false. It returns
// logical.ErrReadOnly if another node has to store it, a *problem.Error or a storage error.
func (f *Reads) Note(ctx context.Context, s store.Store, name string, p *credential.Password, clock func() time.Time) (read store.FirstRead, stored bool, err error) {
	doing := "reading when role " + name + " was first read"
	known, err := f.Load(ctx, s, name, clock())
	if err != nil || known.Of(p) {
		return known, false, problem.Storage(doing, err)
	}
	if !f.writable() {
		return known, false, logical.ErrReadOnly
	}
	unlock, err := f.storing.Lock(ctx, name)
	if err != nil {
		return known, false, problem.ErrGivenUp
	}
	defer unlock()
	if known, err = f.Load(ctx, s, name, clock()); err != nil || known.Of(p) { // another reader came first
		return known, false, problem.Storage(doing, err)
	}
	read = store.FirstRead{Version: p.Version, Created: p.Created, Time: clock()}
	if err := s.PutFirstRead(ctx, name, read); err != nil {
		f.Forget(name) // it may have been stored
		return known, false, problem.NotStored("storing the first read of role "+name+", without which its password is not returned,", err)
	}
	f.byRole.Store(name, read)
	return read, true, nil
}

// Forget removes a role from memory: it was deleted, or another node has stored a first read.
func (f *Reads) Forget(name string) { f.byRole.Delete(name) }
