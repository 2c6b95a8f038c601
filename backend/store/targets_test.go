package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
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
	entries, err := s.Claim(t.Context(), r, nil)
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
	entries, err := s.Claim(t.Context(), r, nil)
	require.NoError(t, err)
	require.Equal(t, []Owner{{Role: "role", Identity: "one"}, {Role: "role", Identity: "two"}}, entries)
	keys, err := logical.CollectKeys(t.Context(), s.Storage)
	require.NoError(t, err)
	require.Empty(t, keys, "nothing is stored")
	s.claim(t, r)
	s.claim(t, r) // again, by the same role
	for _, identity := range r.Target.Identities {
		owner, o, err := s.OwnerOf(t.Context(), "", identity, nil)
		require.NoError(t, err)
		require.Equal(t, "role", owner.Name)
		require.Equal(t, Owner{Schema: Schema, Role: "role", Identity: identity}, o)
	}
	owner, o, err := s.OwnerOf(t.Context(), "", "three", nil)
	require.NoError(t, err)
	require.Nil(t, owner)
	require.Zero(t, o)
}

func TestTargetBelongsToOneRole(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	s.claim(t, newRole("first", "a", "b"))
	r := newRole("second", "c", "b")
	entries, err := s.Claim(t.Context(), r, nil)
	require.Nil(t, entries)
	var taken *TakenError
	require.ErrorAs(t, err, &taken)
	require.Equal(t, TakenError{Role: "first", Target: "b"}, *taken)
	require.NotContains(t, err.Error(), "first", "it may be another team's")
	require.ErrorContains(t, err, `"b"`)

	r.Target.Names = []string{"the whole"} // for all identities
	_, err = s.Claim(t.Context(), r, nil)
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
		owner, _, err := s.OwnerOf(t.Context(), "", "a", nil)
		require.NoError(t, err)
		require.Nil(t, owner, name)
		s.claim(t, newRole("role", "a"))
		owner, _, err = s.OwnerOf(t.Context(), "", "a", nil)
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
	entries, err := s.Claim(t.Context(), r, nil)
	require.NoError(t, err)
	require.Equal(t, left.NotBefore, r.Record.LastRequest())
	require.Equal(t, left.OldTries, r.Record.OldTries)
	require.Equal(t, []Owner{{Schema: Schema, Role: "role", Identity: "a", NotBefore: left.NotBefore, OldTries: left.OldTries}}, entries,
		"they stay until the role is stored: a crash forgets nothing")
}

// What cannot be read may belong to a role.
func TestClaimFailsOnUnreadableEntries(t *testing.T) {
	t.Parallel()
	for _, damaged := range []string{TargetKey("", "a"), RolePrefix + "first"} {
		for _, form := range []string{"damaged", `{"schema":2}`} {
			s := Store{&logical.InmemStorage{}}
			s.claim(t, newRole("first", "a"))
			s.write(t, damaged, form)
			_, err := s.Claim(t.Context(), newRole("second", "a"), nil)
			require.ErrorContains(t, err, damaged)
			_, _, err = s.OwnerOf(t.Context(), "", "a", nil)
			require.ErrorContains(t, err, damaged)
		}
	}
}

func TestTargetKeyHidesIdentity(t *testing.T) {
	t.Parallel()
	require.Regexp(t, "^target/[0-9a-f]{64}$", TargetKey("", "plesk|host.example|../../admin"))
	require.NotEqual(t, TargetKey("", "a"), TargetKey("", "A"))
	require.NotEqual(t, TargetKey("", "a"), TargetKey("host", "a"))
	require.NotEqual(t, TargetKey("host", "a"), TargetKey("hos", "ta"))
}

// at returns a role at an address, which earlier versions did not store.
func at(address, name string, identities ...string) *role.Role {
	r := newRole(name, identities...)
	r.Target.Address = address
	return r
}

// formerly are the addresses of roles that an earlier version stored.
func formerly(addresses map[string]string) AddressOf {
	return func(_ context.Context, _ Store, r *role.Role) (string, error) {
		if r.Target.Address != "" {
			return r.Target.Address, nil
		}
		address, ok := addresses[r.Name]
		if !ok {
			return "", errors.New("no address")
		}
		return address, nil
	}
}

// Whoever may write a connection can run a server of his own, whose accounts have the names of others.
func TestTargetBelongsToOneRoleOfAddress(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	s.claim(t, at("one", "first", "a"))
	s.claim(t, at("two", "second", "a"))
	for address, owner := range map[string]string{"one": "first", "two": "second"} {
		var taken *TakenError
		_, err := s.Claim(t.Context(), at(address, "third", "a"), nil)
		require.ErrorAs(t, err, &taken)
		require.Equal(t, owner, taken.Role)
	}
	require.NoError(t, s.PutRole(t.Context(), at("two", "first", "a"))) // deleted and created again elsewhere
	s.claim(t, at("one", "third", "a"))
}

// Entries of earlier versions are for all addresses. The one of a role counts at its address only.
func TestFormerEntryCountsAtAddressOfRole(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{"as stored": "", "updated since": "one"} {
		s, of := Store{&logical.InmemStorage{}}, formerly(map[string]string{"old": "one"})
		s.claim(t, newRole("old", "a", "b"))
		require.NoError(t, s.PutRole(t.Context(), at(address, "old", "a", "b")))
		for _, identity := range []string{"a", "b"} {
			var taken *TakenError
			_, err := s.Claim(t.Context(), at("one", "new", identity), of)
			require.ErrorAs(t, err, &taken, name)
			require.Equal(t, "old", taken.Role)
			_, err = s.Claim(t.Context(), at("two", "new", identity), of)
			require.NoError(t, err, name)
		}
		_, err := s.Claim(t.Context(), at("one", "new", "a"), formerly(nil))
		require.Equal(t, address == "", err != nil && strings.Contains(err.Error(), "no address"), "%s: %v", name, err)

		require.NoError(t, s.PutOwner(t.Context(), Owner{Role: "other", Identity: "a", Address: "two"}))
		keys, former, err := s.Entries(t.Context(), at("two", "other", "a"), "two")
		require.NoError(t, err)
		require.Equal(t, []string{TargetKey("two", "a")}, keys)
		require.Empty(t, former, "it is that of another role")
		keys, former, err = s.Entries(t.Context(), newRole("old", "a", "b"), "one")
		require.NoError(t, err)
		require.Equal(t, []string{TargetKey("one", "a"), TargetKey("one", "b")}, keys)
		require.Equal(t, []string{TargetKey("", "a"), TargetKey("", "b")}, former)
	}
}

// The address of a role that an earlier version deleted is not known.
func TestFormerLimitsCountAtAnyAddress(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	left := Owner{Role: "gone", Identity: "a", NotBefore: now.Add(time.Minute), OldTries: credential.OldTries{Until: now.Add(time.Hour)}}
	require.NoError(t, s.PutOwner(t.Context(), left))
	for _, address := range []string{"one", "two"} {
		r := at(address, "role", "a")
		_, err := s.Claim(t.Context(), r, nil)
		require.NoError(t, err)
		require.Equal(t, left.NotBefore, r.Record.LastRequest())
		require.Equal(t, left.OldTries, r.Record.OldTries)
	}
	require.NoError(t, s.PutOwner(t.Context(), Owner{Role: "gone", Identity: "a", Address: "two"}))
	r := at("two", "role", "a")
	_, err := s.Claim(t.Context(), r, nil)
	require.NoError(t, err)
	require.Zero(t, r.Record.LastRequest(), "a later role left none")
	require.NoError(t, s.PutRole(t.Context(), newRole("gone", "a")))
	r = at("one", "role", "a")
	_, err = s.Claim(t.Context(), r, formerly(map[string]string{"gone": "two"}))
	require.NoError(t, err)
	require.Zero(t, r.Record.LastRequest(), "the limits are those of another address")
}
