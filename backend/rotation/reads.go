package rotation

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/locks"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// read returns a role in its state now, or problem.ErrNoRole.
func (e *Engine) read(ctx context.Context, s store.Store, name string) (*role.Role, error) {
	r, err := s.Role(ctx, name)
	if err == nil && r.Sending() {
		r, err = e.readSending(ctx, s, r)
	}
	switch {
	case err != nil:
	case r == nil:
		return nil, problem.ErrNoRole
	default:
		err = e.refresh(ctx, s, r)
	}
	return r, problem.Storage("reading role "+name, err)
}

// refresh brings a role that was read from storage up to date.
func (e *Engine) refresh(ctx context.Context, s store.Store, r *role.Role) error {
	r.Refresh(e.Now())
	if r.Options.RotateAfterRead == 0 {
		return nil
	}
	f, err := e.reads.load(ctx, s, r.Name, e.Now(), e.writable)
	if err == nil {
		r.FirstRead(f.Version, f.Created, f.Time)
	}
	return err
}

// readSending returns a role whose password was being sent according to storage. If no work on it is running here, the
// process that sent it has ended: the outcome is unknown, and no answer will come.
func (e *Engine) readSending(ctx context.Context, s store.Store, r *role.Role) (*role.Role, error) {
	if e.locks.Held(r.Name) || !e.writable() { // in this order, because the second is a call to Vault
		return r, nil
	}
	again, err := s.Role(ctx, r.Name) // the work may have ended just now
	if err == nil && again.Sending() && again.Record.Next.Version == r.Record.Next.Version {
		again.Record = again.Record.Unresolved()
	}
	return again, err
}

// allowed returns the role's connection, or an error if it no longer allows the role.
func (e *Engine) allowed(ctx context.Context, s store.Store, r *role.Role) (*connection.Handle, error) {
	h, err := e.Connections.Handle(ctx, s, r.Connection)
	switch {
	case errors.Is(err, problem.ErrNoConnection):
		return nil, problem.Mistake("%s", explain.ConnectionGone(r))
	case err != nil:
		return nil, problem.Storage("reading connection "+r.Connection, err)
	}
	if err := h.Allows(r.Name, r.Target); err != nil {
		return h, problem.Mistake("%s", err)
	}
	return h, nil
}

// Read returns a role's password, with one storage read and no lock. It returns an error if the connection no longer allows
// the role.
func (e *Engine) Read(ctx context.Context, storage logical.Storage, name string) (*Report, error) {
	r, h, err := e.readAllowed(ctx, store.Store{Storage: storage}, name)
	if err != nil {
		return nil, err
	}
	return e.report(r, h), nil
}

func (e *Engine) readAllowed(ctx context.Context, s store.Store, name string) (*role.Role, *connection.Handle, error) {
	r, err := e.read(ctx, s, name)
	if err != nil {
		return nil, nil, err
	}
	e.Gate.Look(ctx, s)
	h, err := e.allowed(ctx, s, r)
	return r, h, err
}

// Serve is Read for readers of creds. It changes something in three cases, and returns logical.ErrReadOnly if another node
// has to do that:
//   - If the role has no password yet, it sets one.
//   - If the role has rotation_mode=on_read and is due, one reader rotates the password and the others wait. If that fails,
//     they get the current password.
//   - If the role has rotate_after_read, it stores the first read of each version.
//
// While the mount is frozen, or before it is known whether it is, a read sets and rotates no password.
func (e *Engine) Serve(ctx context.Context, storage logical.Storage, name string) (*Report, error) {
	s := store.Store{Storage: storage}
	waits := e.health.WithoutPassword(name)
	if waits { // a crowd is refused before each of them reads the role
		leave, err := e.Connections.Enter("role", name, true)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	r, h, err := e.readAllowed(ctx, s, name)
	if err != nil {
		return nil, err
	}
	report, now := e.report(r, h), e.Now()
	step := r.Next(now, e.env(h, r))
	none, due := report.View.Password == nil, step.OnRead && step.Ready(now)
	switch {
	case !none && !due:
	case !e.writable():
		return nil, logical.ErrReadOnly
	case none:
		if closed, _ := e.Gate.Frozen(); closed {
			return nil, frozenError(name, e.Gate.Freeze())
		}
		if report, err = e.request(ctx, storage, name, triggerRead, change{ifNone: true, entered: waits, reason: "first read"}); err != nil {
			return nil, err
		}
	default:
		if report, err = e.changeOnRead(ctx, storage, name); err != nil {
			return nil, err
		}
	}
	if err := e.noteRead(ctx, s, report); err != nil {
		return nil, err
	}
	return report, nil
}

// changeOnRead rotates a due password because it is read.
func (e *Engine) changeOnRead(ctx context.Context, storage logical.Storage, name string) (*Report, error) {
	report, err := e.request(ctx, storage, name, triggerRead, change{ifDue: true, reason: role.ReasonDue})
	if err == nil && report.View.Password != nil {
		return report, nil
	}
	if problem.ReadOnly(err) || errors.Is(err, problem.ErrNoRole) {
		return nil, err
	}
	return e.Read(ctx, storage, name)
}

// firstReads caches first reads by role, on the node that stores them. The zero value is empty.
type firstReads struct {
	byRole sync.Map // of store.FirstRead
	// storing has one lock for each role.
	storing locks.Locks
}

func (f *firstReads) get(name string) (store.FirstRead, bool) {
	known, _ := f.byRole.Load(name)
	read, ok := known.(store.FirstRead)
	return read, ok
}

// load returns the stored first read of a role, and caches it on the node that stores first reads. One that a clock has
// stored that was ahead does not count: the next read is the first.
func (f *firstReads) load(ctx context.Context, s store.Store, name string, now time.Time, writable func() bool) (read store.FirstRead, err error) {
	read, ok := f.get(name)
	if !ok {
		read, err = s.FirstRead(ctx, name)
		if err == nil && writable() {
			f.byRole.LoadOrStore(name, read) // one that was stored since counts
		}
	}
	if timing.Ahead(read.Time, now) {
		return store.FirstRead{}, err
	}
	return read, err
}

// noteRead stores the first read of a password, if the role needs it. It returns logical.ErrReadOnly if another node has to
// store it.
func (e *Engine) noteRead(ctx context.Context, s store.Store, report *Report) error {
	r, p := report.role, report.View.Password
	if r == nil || r.Options.RotateAfterRead == 0 || p == nil {
		return nil
	}
	doing := "reading when role " + r.Name + " was first read"
	known, err := e.reads.load(ctx, s, r.Name, e.Now(), e.writable)
	if err != nil || known.Of(p) {
		return problem.Storage(doing, err)
	}
	if !e.writable() {
		return logical.ErrReadOnly
	}
	unlock, err := e.reads.storing.Lock(ctx, r.Name)
	if err != nil {
		return problem.ErrGivenUp
	}
	defer unlock()
	if known, err = e.reads.load(ctx, s, r.Name, e.Now(), e.writable); err != nil || known.Of(p) { // another reader came first
		return problem.Storage(doing, err)
	}
	f := store.FirstRead{Version: p.Version, Created: p.Created, Time: e.Now()}
	if err := s.PutFirstRead(ctx, r.Name, f); err != nil {
		e.reads.byRole.Delete(r.Name) // it may have been stored
		return problem.NotStored("storing the first read of role "+r.Name+", without which its password is not returned,", err)
	}
	e.reads.byRole.Store(r.Name, f)
	e.recheckSoon(r.Name) // a reader has no lock, so its role may be stale
	r.FirstRead(f.Version, f.Created, f.Time)
	report.TTL = r.TTL(e.Now(), e.env(report.h, r))
	return nil
}

// frozenError returns the error of a first read that would have to set a password while the mount is frozen.
func frozenError(name string, f *role.Freeze) error {
	if f == nil {
		return problem.Busy("role %q has no password yet, and a read cannot set one, because the engine does not know yet whether automatic changes on this mount are frozen. Try again in a minute, or write rotate-role/%s to set one", name, name)
	}
	return problem.Busy("%s", explain.NoPasswordFrozen(name, f))
}
