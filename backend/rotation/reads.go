package rotation

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

// Serve is Read for readers of creds. It changes something in three cases, and returns logical.ErrReadOnly if another node
// has to do that:
//   - If the role has no password yet, it sets one.
//   - If the role has rotation_mode=on_read and is due, one reader rotates the password and the others wait. If that fails,
//     they get the current password.
//   - If the role has rotate_after_read, it stores the first read of each version.
//
// While the mount is frozen, or before it is known whether it is, a read sets and rotates no password.
func (e *Engine) Serve(ctx context.Context, storage logical.Storage, name string) (*roles.Report, error) {
	s := store.Store{Storage: storage}
	waits := e.health.WithoutPassword(name)
	if waits { // a crowd is refused before each of them reads the role
		leave, err := e.Connections.Enter("role", name, true)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	r, h, err := e.ReadAllowed(ctx, s, name)
	if err != nil {
		return nil, err
	}
	report, now := e.Report(r, h), e.Now()
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
	stored, err := e.NoteRead(ctx, s, report)
	if err != nil {
		return nil, err
	}
	if stored {
		e.recheckSoon(name) // a reader has no lock, so its role may be stale
	}
	return report, nil
}

// changeOnRead rotates a due password because it is read.
func (e *Engine) changeOnRead(ctx context.Context, storage logical.Storage, name string) (*roles.Report, error) {
	report, err := e.request(ctx, storage, name, triggerRead, change{ifDue: true, reason: role.ReasonDue})
	if err == nil && report.View.Password != nil {
		return report, nil
	}
	if problem.ReadOnly(err) || errors.Is(err, problem.ErrNoRole) {
		return nil, err
	}
	return e.Read(ctx, storage, name)
}

// frozenError returns the error of a first read that would have to set a password while the mount is frozen.
func frozenError(name string, f *role.Freeze) error {
	if f == nil {
		return problem.Busy("role %q has no password yet, and a read cannot set one, because the engine does not know yet whether automatic changes on this mount are frozen. Try again in a minute, or write rotate-role/%s to set one", name, name)
	}
	return problem.Busy("%s", explain.NoPasswordFrozen(name, f))
}
