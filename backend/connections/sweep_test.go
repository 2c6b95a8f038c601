package connections

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

// What is counted for proofs outlives a restart while it counts, and is removed a day later.
func TestSweepRemovesOldEntriesOfProofs(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		left := func() int {
			require.True(t, r.c.Sweep(t.Context(), r.store(), []string{"conn"}, false))
			left, _, err := r.c.Guards.Proofs("host|account", provider.Sender{}).Left(t.Context(), r.store())
			require.NoError(t, err)
			return left
		}
		entries := func() int {
			keys, err := r.storage.List(t.Context(), store.GuardPrefix)
			require.NoError(t, err)
			return len(keys)
		}
		before := entries()
		attempt, err := r.c.Guards.Proofs("host|account", provider.Sender{}).Take(t.Context(), nil, r.store())
		require.NoError(t, err)
		attempt.Answered(provider.Proof{Verdict: provider.Refused})
		time.Sleep(15 * time.Minute)
		require.Equal(t, 1, left())
		r.restart()
		require.Equal(t, 1, left())
		time.Sleep(time.Minute)
		require.Equal(t, 2, left())
		time.Sleep(23 * time.Hour)
		require.Equal(t, 2, left())
		require.Equal(t, before+1, entries())
		time.Sleep(time.Hour)
		require.Equal(t, 2, left())
		require.Equal(t, before, entries())
	})
}
