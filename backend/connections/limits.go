package connections

import (
	"context"
	"errors"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/locks"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// Enter counts a request that may wait for a role or a connection (what, with its name) until leave is called. If too many
// requests wait already, it returns an error at once.
func (c *Connections) Enter(what, name string, reads bool) (leave func(), err error) {
	leave, err = c.Waiting.Enter(what+" "+name, reads)
	if full, ok := errors.AsType[*locks.FullError](err); ok {
		return nil, problem.Busy("%s", explain.Crowded(what, name, full.InAll, full.Limit))
	}
	return leave, nil
}

// Admit returns an error if a connection has as many roles as max_roles_per_connection allows (0: any number). The caller
// holds the connection's lock in Index.
func (c *Connections) Admit(ctx context.Context, s store.Store, name string, limit int) error {
	if limit == 0 {
		return nil
	}
	names, err := c.rolesOf(ctx, s, name)
	if err != nil || len(names) < limit {
		return err
	}
	roles := 0 // some may be gone
	if err := c.eachRole(ctx, s, name, func(*role.Role) error { roles++; return nil }); err != nil {
		return err
	}
	if roles >= limit {
		return problem.Mistake("%s", explain.TooManyRoles(name, roles, limit))
	}
	return nil
}
