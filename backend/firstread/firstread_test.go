package firstread

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock returns a clock that stands still.
func clock(at time.Time) func() time.Time { return func() time.Time { return at } }

func always() bool { return true }

func TestOnlyFirstReadIsStored(t *testing.T) {
	t.Parallel()
	s := store.Store{Storage: &logical.InmemStorage{}}
	p := &credential.Password{Version: 2, Created: noon}
	reads := New(always)
	for i, at := range []time.Time{noon, noon.Add(time.Hour)} {
		_, stored, err := reads.Note(t.Context(), s, "role", p, clock(at))
		require.NoError(t, err)
		require.Equal(t, i == 0, stored)
	}
	kept, err := s.FirstRead(t.Context(), "role")
	require.NoError(t, err)
	require.True(t, kept.Of(p))
	require.Equal(t, noon, kept.Time)

	read, stored, err := reads.Note(t.Context(), s, "role", &credential.Password{Version: 3, Created: noon}, clock(noon.Add(time.Hour)))
	require.NoError(t, err)
	require.True(t, stored, "another version")
	require.Equal(t, 3, read.Version)
}

func TestReadFromFutureDoesNotCount(t *testing.T) {
	t.Parallel()
	s := store.Store{Storage: &logical.InmemStorage{}}
	p := &credential.Password{Version: 2, Created: noon}
	require.NoError(t, s.PutFirstRead(t.Context(), "role", store.FirstRead{Version: 2, Created: noon, Time: noon.AddDate(1, 0, 0)}))
	reads := New(always)
	read, err := reads.Load(t.Context(), s, "role", noon)
	require.NoError(t, err)
	require.Zero(t, read)
	read, stored, err := reads.Note(t.Context(), s, "role", p, clock(noon))
	require.NoError(t, err)
	require.True(t, stored)
	require.Equal(t, noon, read.Time)
}

func TestStandbyStoresAndCachesNoRead(t *testing.T) {
	t.Parallel()
	s := store.Store{Storage: &logical.InmemStorage{}}
	reads := New(func() bool { return false })
	p := &credential.Password{Version: 2, Created: noon}
	_, stored, err := reads.Note(t.Context(), s, "role", p, clock(noon))
	require.ErrorIs(t, err, logical.ErrReadOnly)
	require.False(t, stored)

	require.NoError(t, s.PutFirstRead(t.Context(), "role", store.FirstRead{Version: 2, Created: noon, Time: noon}))
	_, stored, err = reads.Note(t.Context(), s, "role", p, clock(noon))
	require.NoError(t, err, "another node has stored it")
	require.False(t, stored)
	_, cached := reads.Get("role")
	require.False(t, cached)
}

func TestReadThatMayNotBeStoredIsForgotten(t *testing.T) {
	t.Parallel()
	storage := storagetest.New(&logical.InmemStorage{})
	s := store.Store{Storage: storage}
	p := &credential.Password{Version: 2, Created: noon}
	reads := New(always)
	_, err := reads.Load(t.Context(), s, "role", noon)
	require.NoError(t, err)
	storage.Arm(1, storagetest.Lands, nil)
	_, stored, err := reads.Note(t.Context(), s, "role", p, clock(noon))
	require.ErrorContains(t, err, "without which its password is not returned")
	require.False(t, stored)
	_, cached := reads.Get("role")
	require.False(t, cached)
	storage.Heal()
	read, err := reads.Load(t.Context(), s, "role", noon)
	require.NoError(t, err)
	require.True(t, read.Of(p))
}
