package connections

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// Delete deletes a connection that no role uses. It is not an error if the connection does not exist.
func (c *Connections) Delete(ctx context.Context, storage logical.Storage, name string) error {
	s := store.Store{Storage: storage}
	leave, err := c.Enter("connection", name, false)
	if err != nil {
		return err
	}
	defer leave()
	written, err := c.writing.Lock(ctx, name) // an update that has read it could store it again
	if err != nil {
		return beingWritten(name)
	}
	defer written()
	unlock, err := c.Index.Lock(ctx, name)
	if err != nil {
		return problem.ErrGivenUp
	}
	defer unlock()
	var users []string
	err = c.eachRole(ctx, s, name, func(r *role.Role) error {
		users = append(users, r.Name)
		return nil
	})
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return problem.Mistake("%s", explain.InUse(name, users))
	}
	keys := []string{store.ConnectionPrefix + name, store.PausePrefix + name}
	if err := s.Removable(ctx, keys...); err != nil {
		return problem.Storage("reading connection "+name, err)
	}
	defer c.Cache.Drop(name) // even after an error, it may have been deleted
	for _, key := range keys {
		if err := s.Delete(ctx, key); err != nil {
			return problem.NotStored("deleting connection "+name, err)
		}
	}
	c.opened(name)
	return nil
}
