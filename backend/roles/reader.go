// Package roles reads roles: it brings what is stored up to date, collects the facts on which decisions and messages depend,
// and reports them to readers and operators. A read costs one storage read and takes no lock.
//
// It changes nothing except that it stores the first read of a password. It does not know how a password is changed: package
// rotation works on roles, and package role decides what one needs next.
package roles

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/connections"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/firstread"
	"vault-plugin-secrets-hosting/backend/gate"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// CheckWait is how long a role waits while the connection's credential is being checked.
const CheckWait = time.Second

// Config is what a Reader needs. Its functions may be called concurrently.
type Config struct {
	timing.Timing
	Types       map[string]provider.Type
	Connections *connections.Connections
	Gate        *gate.Gate
	Reads       *firstread.Reads
	Failures    *health.Failures
	// Writable reports whether this node may write to storage. It is a call to Vault.
	Writable func() bool
	// Working reports whether work on a role is running or waiting on this node.
	Working func(name string) bool
}

// Reader reads the roles of a mount. Its methods may be called concurrently.
type Reader struct{ config Config }

// NewReader returns a reader of roles. It does no I/O.
func NewReader(c Config) *Reader { return &Reader{c} }

// ReadRole returns a role in its state now, or problem.ErrNoRole.
func (rd *Reader) ReadRole(ctx context.Context, s store.Store, name string) (*role.Role, error) {
	r, err := s.Role(ctx, name)
	if err == nil && r.Sending() {
		r, err = rd.readSending(ctx, s, r)
	}
	switch {
	case err != nil:
	case r == nil:
		return nil, problem.ErrNoRole
	default:
		err = rd.Refresh(ctx, s, r)
	}
	return r, problem.Storage("reading role "+name, err)
}

// Refresh brings a role that was read from storage up to date.
func (rd *Reader) Refresh(ctx context.Context, s store.Store, r *role.Role) error {
	r.Refresh(rd.config.Now())
	if r.Options.RotateAfterRead == 0 {
		return nil
	}
	f, err := rd.config.Reads.Load(ctx, s, r.Name, rd.config.Now())
	if err == nil {
		r.FirstRead(f.Version, f.Created, f.Time)
	}
	return err
}

// readSending returns a role whose password was being sent according to storage. If no work on it is running here, the
// process that sent it has ended: the outcome is unknown, and no answer will come.
func (rd *Reader) readSending(ctx context.Context, s store.Store, r *role.Role) (*role.Role, error) {
	if rd.config.Working(r.Name) || !rd.config.Writable() { // in this order, because the second is a call to Vault
		return r, nil
	}
	again, err := s.Role(ctx, r.Name) // the work may have ended just now
	if err == nil && again.Sending() && again.Record.Next.Version == r.Record.Next.Version {
		again.Record = again.Record.Unresolved()
	}
	return again, err
}

// Allowed returns the role's connection, or an error if it no longer allows the role.
func (rd *Reader) Allowed(ctx context.Context, s store.Store, r *role.Role) (*connection.Handle, error) {
	h, err := rd.config.Connections.Handle(ctx, s, r.Connection)
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
func (rd *Reader) Read(ctx context.Context, storage logical.Storage, name string) (*Report, error) {
	r, h, err := rd.ReadAllowed(ctx, store.Store{Storage: storage}, name)
	if err != nil {
		return nil, err
	}
	return rd.Report(r, h), nil
}

// ReadAllowed returns a role in its state now and its connection, or an error if that no longer allows the role.
func (rd *Reader) ReadAllowed(ctx context.Context, s store.Store, name string) (*role.Role, *connection.Handle, error) {
	r, err := rd.ReadRole(ctx, s, name)
	if err != nil {
		return nil, nil, err
	}
	rd.config.Gate.Look(ctx, s)
	h, err := rd.Allowed(ctx, s, r)
	return r, h, err
}

// NoteRead stores the first read of the password in a report, if the role needs it, and reports whether it was stored now:
// then the role may be due earlier. It returns logical.ErrReadOnly if another node has to store it.
func (rd *Reader) NoteRead(ctx context.Context, s store.Store, report *Report) (stored bool, err error) {
	r, p := report.role, report.View.Password
	if r == nil || r.Options.RotateAfterRead == 0 || p == nil {
		return false, nil
	}
	f, stored, err := rd.config.Reads.Note(ctx, s, r.Name, p, rd.config.Now)
	if stored {
		r.FirstRead(f.Version, f.Created, f.Time)
		report.TTL = r.TTL(rd.config.Now(), rd.Env(report.h, r))
	}
	return stored, err
}

// Env returns the facts on which the next step of a role depends. h is nil if its connection is not known.
func (rd *Reader) Env(h *connection.Handle, r *role.Role) role.Env {
	var env role.Env
	env.Frozen, env.FrozenUntil = rd.config.Gate.Frozen()
	if h == nil {
		return env
	}
	if h.Guard.Suspected() { // check this before the pause, which begins before the suspicion ends
		env.CheckedAt = rd.config.Now().Add(timing.Scaled(CheckWait))
	}
	if pause := h.Paused(); pause != nil {
		env.Paused, env.PausedUntil = true, pause.NextProbe
	}
	env.Revision, env.OpenedAt = h.Revision, h.OpenedAt()
	env.ThrottledUntil, env.ReleasedAt = h.Guard.HeldUntil(), h.Guard.HoldEnded()
	env.Margin = h.Margin()
	env.OldPassword = h.Kind.OldPassword(r.Target).Required
	return env
}
