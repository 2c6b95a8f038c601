package rotation

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
)

const readPrefix = "read/"

// firstRead is stored when a password is read for the first time whose role has rotate_after_read: later reads store
// nothing.
type firstRead struct {
	Schema int `json:"schema"`
	// Version and Created are those of the password.
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Time    time.Time `json:"time"`
}

// of tells whether it is that password's.
func (f firstRead) of(p *credential.Password) bool {
	return p != nil && f.Version == p.Version && f.Created.Equal(p.Created)
}

// reads caches first reads by role, on the node that stores them. The zero value is empty.
type reads struct {
	mu     sync.Mutex
	byRole map[string]firstRead
	// storing is one lock a role.
	storing locks
}

func (r *reads) cached(role string) (firstRead, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.byRole[role]
	return f, ok
}

func (r *reads) keep(role string, f firstRead) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byRole == nil {
		r.byRole = map[string]firstRead{}
	}
	r.byRole[role] = f
}

func (r *reads) drop(role string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byRole, role)
}

// firstRead returns the first read that is stored of a role. Where this node stores them, the next call costs nothing.
func (e *Engine) firstRead(ctx context.Context, s store, role string) (firstRead, error) {
	if f, ok := e.reads.cached(role); ok {
		return f, nil
	}
	var f firstRead
	if _, err := s.get(ctx, readPrefix+role, &f); err != nil {
		return firstRead{}, err
	}
	if e.writable() {
		e.reads.keep(role, f)
	}
	return f, nil
}

// noteRead stores that the password is handed out, if it is for the first time and that matters. It returns
// logical.ErrReadOnly where another node has to.
func (e *Engine) noteRead(ctx context.Context, s store, report *Report) error {
	role, p := report.Role, report.View.Password
	if role.Options.RotateAfterRead == 0 || p == nil {
		return nil
	}
	known, err := e.firstRead(ctx, s, role.Name)
	if err != nil || known.of(p) {
		return storageError("reading when the role "+role.Name+" was read first", err)
	}
	if !e.writable() {
		return logical.ErrReadOnly
	}
	unlock, err := e.reads.storing.lock(ctx, role.Name)
	if err != nil {
		return errGivenUp
	}
	defer unlock()
	if known, err = e.firstRead(ctx, s, role.Name); err != nil || known.of(p) { // another reader came first
		return storageError("reading when the role "+role.Name+" was read first", err)
	}
	f := firstRead{Schema: schemaVersion, Version: p.Version, Created: p.Created, Time: e.clock()}
	if err := s.put(ctx, readPrefix+role.Name, f); err != nil {
		e.reads.drop(role.Name) // it may be stored all the same
		if readOnly(err) {
			return logical.ErrReadOnly
		}
		return notStored("storing that the password of the role "+role.Name+" was read, without which it is not handed out,", err)
	}
	e.reads.keep(role.Name, f)
	role.heedRead(f)
	e.lookAt(role.Name) // a reader has no lock: what it knows of the role may be old
	report.TTL = e.report(role).TTL
	return nil
}

// heedRead lets the password in force be due earlier, if that is what was read.
func (r *Role) heedRead(f firstRead) {
	if current := r.Record.Current; current != nil && f.of(&current.Password) {
		r.readAt = f.Time
	}
}

// Serve reports a role's password to a reader: one storage read, no lock. It changes something, and returns
// logical.ErrReadOnly where another node has to do it, only
//   - for a role that has no password yet: one is set,
//   - for a role with rotation_mode=on_read that is due: of the readers that come, one changes the password and the others
//     wait; if the remote system cannot, the answer is the password there is,
//   - for the first read of a version of a role with rotate_after_read: that is stored.
func (e *Engine) Serve(ctx context.Context, storage logical.Storage, name string) (*Report, error) {
	s := store{storage}
	report, err := e.Read(ctx, storage, name)
	if err != nil {
		return nil, err
	}
	frozen, now := e.frozen(), e.clock()
	switch first := report.View.Password == nil; {
	case !first && (frozen != nil || !report.Role.startsOnRead(now) && !report.Role.changesOnRead(now)):
	case !e.writable():
		return nil, logical.ErrReadOnly
	case first && frozen != nil:
		return nil, frozenError(name, frozen)
	case first:
		if report, err = e.first(ctx, storage, name); err != nil {
			return nil, err
		}
	default:
		if report, err = e.onRead(ctx, storage, name); err != nil {
			return nil, err
		}
	}
	if err := e.noteRead(ctx, s, report); err != nil {
		return nil, err
	}
	return report, nil
}

// first sets the first password of a role that has none. Of readers that come together, one does it.
func (e *Engine) first(ctx context.Context, storage logical.Storage, name string) (*Report, error) {
	return e.request(ctx, storage, name, order{trigger: triggerRead, ifNone: true, reason: "first read"})
}

// onRead changes a password that is due because it is read.
func (e *Engine) onRead(ctx context.Context, storage logical.Storage, name string) (*Report, error) {
	report, err := e.request(ctx, storage, name, order{trigger: triggerRead, ifDue: true, reason: reasonDue})
	if err == nil && report.View.Password != nil {
		return report, nil
	}
	if readOnly(err) || errors.Is(err, ErrNoRole) {
		return nil, err
	}
	return e.Read(ctx, storage, name)
}
