package roles

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/firstread"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Only work that runs here, or perhaps on another node, gets an answer to its request.
func TestRequestOfEndedProcessIsUnresolved(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := store.Store{Storage: &logical.InmemStorage{}}
	stored := &role.Role{Name: "role", Connection: "conn"}
	var err error
	stored.Record, err = stored.Record.Make("password-a", "first password", false, now)
	require.NoError(t, err)
	stored.Record = stored.Record.Send(now.Add(time.Minute), 0)
	require.NoError(t, s.PutRole(t.Context(), stored))
	for name, row := range map[string]struct{ working, writable, sending bool }{
		"work runs here":        {working: true, writable: true, sending: true},
		"another node may work": {sending: true},
		"the process has ended": {writable: true},
	} {
		writable := func() bool { return row.writable }
		rd := NewReader(Config{
			Timing: timing.Timing{Now: func() time.Time { return now }}, Reads: firstread.New(writable), Writable: writable,
			Working: func(string) bool { return row.working },
		})
		r, err := rd.ReadRole(t.Context(), s, "role")
		require.NoError(t, err, name)
		require.Equal(t, row.sending, r.Sending(), name)
		require.True(t, r.Record.Next.Exposed(), name)
		_, err = rd.ReadRole(t.Context(), s, "none")
		require.ErrorIs(t, err, problem.ErrNoRole)
	}
}
