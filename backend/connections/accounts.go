package connections

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// Claim returns the index entries to store for a new role of the connection h. It returns an error if a connection of this
// mount logs in with the role's account, or if another role has the account, there or at another address of the remote
// system. The role's record inherits the limits that a deleted role for the account left. Claim stores nothing. The caller
// holds the lock for targets in Index.
func (c *Connections) Claim(ctx context.Context, s store.Store, h *connection.Handle, r *role.Role) ([]store.Owner, error) {
	if err := c.checkOthers(ctx, s, h, r); err != nil {
		return nil, err
	}
	entries, err := s.Claim(ctx, r, c.AddressOf)
	if taken, ok := errors.AsType[*store.TakenError](err); ok {
		return nil, c.taken(r, taken.Role, taken.Error())
	}
	return entries, problem.Storage("reading the index of targets", err)
}

// taken returns the error for an account of another role. Only the log names that role: whoever creates this one may not
// know of it.
func (c *Connections) taken(r *role.Role, by, why string) error {
	c.Logger.Warn("role not created: another role manages its account", "role", r.Name, "connection", r.Connection, "managed_by", by)
	return problem.Mistake("the role was not created, because %s, and two roles would change one password. Vault's log names that role", why)
}

// checkOthers returns an error if a connection of this mount logs in with the account, or if another role has the account at
// another address of the remote system.
func (c *Connections) checkOthers(ctx context.Context, s store.Store, h *connection.Handle, r *role.Role) error {
	names, err := s.List(ctx, store.ConnectionPrefix)
	if err != nil {
		return problem.Storage("listing connections", err)
	}
	for _, name := range names {
		other, err := c.Handle(ctx, s, name)
		if errors.Is(err, problem.ErrNoConnection) {
			continue
		}
		if err != nil {
			return problem.Storage("reading connection "+name, err)
		}
		identities, err := c.identitiesAt(ctx, s, other, h, r)
		if err != nil {
			return err
		}
		if login := other.Kind.LoginIdentity(other.Completed); login != "" && slices.Contains(identities, login) {
			return problem.Mistake("the role was not created, because the connection %q logs in with this account: a new password would lock it out", name)
		}
	}
	return nil
}

// identitiesAt returns the identities of the account at the address of another connection, and checks that no other role has
// it there. If that connection is not known to lead to the same remote system as h, they are those of the role.
func (c *Connections) identitiesAt(ctx context.Context, s store.Store, other, h *connection.Handle, r *role.Role) ([]string, error) {
	own := r.Target.Identities
	if !other.SameSystem(h.Connection) {
		return own, nil
	}
	there, err := other.Kind.Target(other.Completed, r.Target.Settings)
	if err != nil || slices.Equal(there.Identities, own) {
		return own, nil //nolint:nilerr // the account cannot be named there
	}
	for _, identity := range there.Identities {
		by, owner, err := s.OwnerOf(ctx, there.Address, identity, c.AddressOf)
		if err != nil {
			return nil, problem.Storage("reading the index of targets", err)
		}
		if by != nil {
			return nil, c.taken(r, by.Name, fmt.Sprintf("another role of this mount already manages this account: its connection %q leads to the same remote system at another address", by.Connection))
		}
		r.Record = r.Record.InheritLimits(owner.NotBefore, owner.OldTries)
	}
	return there.Identities, nil
}
