package connections

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// counting counts the reads of roles, and the lists of all of them.
type counting struct {
	logical.Storage
	reads, lists int
}

func (c *counting) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	if strings.HasPrefix(key, store.RolePrefix) {
		c.reads++
	}
	return c.Storage.Get(ctx, key)
}

func (c *counting) List(ctx context.Context, prefix string) ([]string, error) {
	if prefix == store.RolePrefix {
		c.lists++
	}
	return c.Storage.List(ctx, prefix)
}

// storeRoles stores roles of a connection, and records them as the sweep does.
func (r *rig) storeRoles(of string, n int) {
	r.Helper()
	for i := range n {
		one := &role.Role{Name: fmt.Sprintf("%s-%d", of, i), Connection: of}
		require.NoError(r, r.store().PutRole(r.Context(), one))
		r.c.Health.Creating(one.Name, of)
	}
}

// moved is a write after which the roles of the connection would have other accounts.
func moved() connection.Patch {
	patch := withKey("key")
	patch.Change = func(o *connection.Options) { o.Address = "https://another.example" }
	return patch
}

// A write of a connection reads its own roles only, however many others there are.
func TestWriteReadsNoRoleOfOtherConnections(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createRole()
		r.c.Health.Creating("role", "conn")
		r.storeRoles("others", 100)
		r.c.Health.Completed()
		storage := &counting{Storage: r.storage}
		require.ErrorContains(t, r.c.Write(t.Context(), storage, "conn", moved()), `role "role" would get another account`)
		require.ErrorContains(t, r.c.Delete(t.Context(), storage, "conn"), "role")
		require.NoError(t, r.c.Write(t.Context(), storage, "conn", withKey("another")))
		r.c.Warning(t.Context(), storage, "conn")
		require.Zero(t, storage.lists)
		require.LessOrEqual(t, storage.reads, 5)
	})
}

// Until the health board has all roles, a role that it does not have counts, and one that it has is not read for another
// connection.
func TestConnectionInUseIsKeptAfterStart(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.storeRoles("others", 100)
		r.createRole()
		storage := &counting{Storage: r.storage}
		require.ErrorContains(t, r.c.Delete(t.Context(), storage, "conn"), "role")
		require.ErrorContains(t, r.c.Write(t.Context(), storage, "conn", moved()), `role "role" would get another account`)
		require.LessOrEqual(t, storage.reads, 4)
		r.c.Health.Completed()
		r.c.Health.Changed("role") // by another node
		require.ErrorContains(t, r.delete(), "role")
	})
}

// The roles of one connection are read under its own lock: writes of others do not wait for that.
func TestWriteDoesNotWaitForRolesOfOthers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.c.Write(t.Context(), r.storage, "others", newConn()))
		r.storeRoles("others", 1)
		reading, release := r.storage.Hang(store.RolePrefix + "others-0")
		defer release()
		slow := inBackground(func() error { return r.c.Delete(r.Context(), r.storage, "others") })
		<-reading
		r.mustWrite(withKey("another"))
		require.NoError(t, r.delete())
		release()
		synctest.Wait()
		requireKind(t, problem.KindMistake, <-slow)
	})
}
