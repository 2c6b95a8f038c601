package store

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

func sha(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

// newRole returns a role with these identities, whose names are the same.
func newRole(name string, identities ...string) *role.Role {
	return &role.Role{Name: name, Target: provider.Target{Names: identities, Identities: identities}}
}

// claim claims a role's target, and stores all entries.
func (s Store) claim(t *testing.T, r *role.Role) {
	t.Helper()
	entries, err := s.Claim(t.Context(), r)
	require.NoError(t, err)
	for _, o := range entries {
		require.NoError(t, s.PutOwner(t.Context(), o))
	}
	require.NoError(t, s.PutRole(t.Context(), r))
}

func TestFreeTargetCanBeClaimed(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	r := newRole("role", "one", "two")
	entries, err := s.Claim(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, []Owner{{Role: "role", Identity: "one"}, {Role: "role", Identity: "two"}}, entries)
	keys, err := logical.CollectKeys(t.Context(), s.Storage)
	require.NoError(t, err)
	require.Empty(t, keys, "nothing is stored")
	s.claim(t, r)
	s.claim(t, r) // again, by the same role
	for _, identity := range r.Target.Identities {
		owner, o, err := s.OwnerOf(t.Context(), identity)
		require.NoError(t, err)
		require.Equal(t, "role", owner.Name)
		require.Equal(t, Owner{Schema: Schema, Role: "role", Identity: identity}, o)
	}
	owner, o, err := s.OwnerOf(t.Context(), "three")
	require.NoError(t, err)
	require.Nil(t, owner)
	require.Zero(t, o)
}

func TestTargetBelongsToOneRole(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	s.claim(t, newRole("first", "a", "b"))
	r := newRole("second", "c", "b")
	entries, err := s.Claim(t.Context(), r)
	require.Nil(t, entries)
	var taken *TakenError
	require.ErrorAs(t, err, &taken)
	require.Equal(t, TakenError{Role: "first", Target: "b"}, *taken)
	require.ErrorContains(t, err, `"first"`)
	require.ErrorContains(t, err, `"b"`)

	r.Target.Names = []string{"the whole"} // for all identities
	_, err = s.Claim(t.Context(), r)
	require.ErrorAs(t, err, &taken)
	require.Equal(t, "the whole", taken.Target)
}

// An index entry is stored before its role, and a crash may come in between.
func TestTargetWithoutItsRoleIsFree(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(s Store){
		"the role does not exist": func(s Store) {
			require.NoError(t, s.PutOwner(t.Context(), Owner{Role: "gone", Identity: "a"}))
		},
		"the role has another target": func(s Store) {
			s.claim(t, newRole("other", "a"))
			require.NoError(t, s.PutRole(t.Context(), newRole("other", "b")))
		},
	} {
		s := Store{&logical.InmemStorage{}}
		prepare(s)
		owner, _, err := s.OwnerOf(t.Context(), "a")
		require.NoError(t, err)
		require.Nil(t, owner, name)
		s.claim(t, newRole("role", "a"))
		owner, _, err = s.OwnerOf(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, "role", owner.Name, name)
	}
}

// The account keeps the limits that a deleted role has left.
func TestClaimInheritsLimits(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	left := Owner{Role: "gone", Identity: "a", NotBefore: now.Add(time.Minute), OldTries: credential.OldTries{Until: now.Add(time.Hour)}}
	require.NoError(t, s.PutOwner(t.Context(), left))
	r := newRole("role", "a")
	entries, err := s.Claim(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, left.NotBefore, r.Record.LastRequest())
	require.Equal(t, left.OldTries, r.Record.OldTries)
	require.Equal(t, []Owner{{Schema: Schema, Role: "role", Identity: "a", NotBefore: left.NotBefore, OldTries: left.OldTries}}, entries,
		"they stay until the role is stored: a crash forgets nothing")
}

// What cannot be read may belong to a role.
func TestClaimFailsOnUnreadableEntries(t *testing.T) {
	t.Parallel()
	for _, damaged := range []string{TargetKey("a"), RolePrefix + "first"} {
		for _, form := range []string{"damaged", `{"schema":2}`} {
			s := Store{&logical.InmemStorage{}}
			s.claim(t, newRole("first", "a"))
			s.write(t, damaged, form)
			_, err := s.Claim(t.Context(), newRole("second", "a"))
			require.ErrorContains(t, err, damaged)
			_, _, err = s.OwnerOf(t.Context(), "a")
			require.ErrorContains(t, err, damaged)
		}
	}
}

func TestTargetKeyHidesIdentity(t *testing.T) {
	t.Parallel()
	require.Regexp(t, "^target/[0-9a-f]{64}$", TargetKey("plesk|host.example|../../admin"))
	require.NotEqual(t, TargetKey("a"), TargetKey("A"))
}
