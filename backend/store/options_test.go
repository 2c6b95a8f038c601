package store

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/role"
)

// The entry that each read of creds needs stays short.
func TestLongOptionsHaveTheirOwnEntry(t *testing.T) {
	t.Parallel()
	s, certificate := Store{Storage: &logical.InmemStorage{}}, strings.Repeat("certificate", 1000)
	put := func(r *role.Role) string {
		require.NoError(t, s.PutRole(t.Context(), r))
		entry, err := s.Get(t.Context(), RolePrefix+r.Name)
		require.NoError(t, err)
		return string(entry.Value)
	}
	expanded := func() *role.Role {
		r, err := s.Role(t.Context(), "role")
		require.NoError(t, err)
		require.Empty(t, r.Options.VerifyCACert)
		require.NoError(t, s.Expand(t.Context(), r))
		return r
	}
	require.NotContains(t, put(&role.Role{Name: "role", Options: role.Options{VerifyCACert: certificate, VerifyHostKey: "key"}}), "cert")
	r, err := s.Role(t.Context(), "role")
	require.NoError(t, err)
	put(r) // as it is, after a change of its password
	require.Equal(t, role.Options{VerifyCACert: certificate, VerifyHostKey: "key"}, expanded().Options)

	r = expanded()
	r.Options.VerifyCACert, r.Options.VerifyHostKey = "", "another key"
	put(r)
	require.Equal(t, role.Options{VerifyHostKey: "another key"}, expanded().Options)
	r = expanded()
	r.Options.VerifyHostKey = ""
	require.NotContains(t, put(r), "long_options")
	require.Zero(t, expanded().Options, "what is left of the entry has no effect")
}

func TestLongOptionsOfOlderVersionAreMoved(t *testing.T) {
	t.Parallel()
	s := Store{Storage: &logical.InmemStorage{}}
	require.NoError(t, s.Put(t.Context(), &logical.StorageEntry{Key: "role/role", Value: []byte(`{"schema":1,"options":{"verify_ca_cert":"certificate"}}`)}))
	r, err := s.Role(t.Context(), "role")
	require.NoError(t, err)
	require.NoError(t, s.Expand(t.Context(), r))
	require.Equal(t, "certificate", r.Options.VerifyCACert)
	require.NoError(t, s.PutRole(t.Context(), r))
	r, err = s.Role(t.Context(), "role")
	require.NoError(t, err)
	require.Empty(t, r.Options.VerifyCACert)
	require.NoError(t, s.Expand(t.Context(), r))
	require.Equal(t, "certificate", r.Options.VerifyCACert)
}

func TestUnreadableLongOptionsAreKept(t *testing.T) {
	t.Parallel()
	s := Store{Storage: &logical.InmemStorage{}}
	for _, damaged := range []string{"{", `{"schema":4711}`} {
		require.NoError(t, s.Put(t.Context(), &logical.StorageEntry{Key: "options/role", Value: []byte(damaged)}))
		r := &role.Role{Name: "role", LongOptions: true}
		require.Error(t, s.Expand(t.Context(), r))
		require.True(t, r.LongOptions)
	}
}
