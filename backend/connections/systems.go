package connections

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// elsewhere is a connection that leads to the same remote system at another address.
type elsewhere struct {
	name string
	at   provider.Connection
}

// otherAddresses returns the connections that lead to the remote system of h at another address. It leaves out those that
// cannot be used before they are written again, which checks them too.
func (c *Connections) otherAddresses(ctx context.Context, s store.Store, h *connection.Handle) ([]elsewhere, error) {
	if h.System == "" {
		return nil, nil
	}
	names, err := s.List(ctx, store.ConnectionPrefix)
	if err != nil {
		return nil, problem.Storage("listing connections", err)
	}
	var others []elsewhere
	for _, name := range names {
		other, err := s.Connection(ctx, name)
		switch {
		case errors.Is(err, store.ErrDamaged):
			continue
		case err != nil:
			return nil, problem.Storage("reading connection "+name, err)
		case other == nil || name == h.Name || !other.SameSystem(h.Connection):
			continue
		}
		if kind, at, err := c.Cache.Complete(*other); err == nil && kind.Host(at) != h.Kind.Host(h.Completed) {
			others = append(others, elsewhere{name, at})
		}
	}
	return others, nil
}

// Warning returns a warning about a stored connection for the user who wrote it; "" if there is none.
func (c *Connections) Warning(ctx context.Context, storage logical.Storage, name string) string {
	s := store.Store{Storage: storage}
	h, err := c.Handle(ctx, s, name)
	if err != nil {
		return ""
	}
	others, err := c.otherAddresses(ctx, s, h)
	if err != nil || len(others) == 0 {
		return ""
	}
	var names, twice []string
	for _, other := range others {
		names = append(names, other.name)
	}
	err = c.eachRole(ctx, s, name, func(r *role.Role) error {
		for _, other := range others {
			there, err := h.Kind.Target(other.at, r.Target.Settings)
			if err != nil {
				continue // the account cannot be named there
			}
			for _, identity := range there.Identities {
				owner, _, err := s.OwnerOf(ctx, there.Address, identity, c.AddressOf)
				if err != nil {
					return err
				}
				if owner != nil {
					twice = append(twice, r.Name)
					c.Logger.Warn("two roles change one password through two addresses", "connection", name, "role", r.Name, "other", owner.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		c.Logger.Warn("could not look for roles with one account on two connections", "connection", name, "error", err)
	}
	return explain.SameSystem(name, names, twice)
}

// checkLogin checks that no role changes the password with which the connection logs in at this address.
func (c *configWrite) checkLogin(ctx context.Context, at provider.Connection) error {
	login := c.h.Kind.LoginIdentity(at)
	if login == "" {
		return nil
	}
	owner, _, err := c.s.OwnerOf(ctx, "", login, nil)
	if err != nil {
		return problem.Storage("reading the index of targets", err)
	}
	if owner != nil {
		c.Logger.Warn("connection not stored: a role manages its login", "connection", c.name, "role", owner.Name)
		return problem.Mistake("the connection was not stored, because a role of this mount changes the password of the account that it logs in with and would lock it out. Vault's log names the role")
	}
	return nil
}
