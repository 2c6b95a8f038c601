package rotation

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/store"
)

// Storage counts the refused call as one that may have been refused, and would allow another one in time.
func TestUnstoredRefusalsCount(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		r.createRoles("role")
		r.restart()
		l.setWrong(true)
		writes := 0
		r.storage.failIf(func(operation, key string) error {
			if operation == opPut && strings.HasPrefix(key, store.GuardPrefix) {
				if writes++; writes%2 == 0 { // an outcome is stored after its call was counted
					return errors.New("storage is out of order")
				}
			}
			return nil
		})
		r.rotateFails(problem.KindUnreachable)
		advance(2 * day)
		l.requireUnlocked()
		_, most := l.counts()
		require.GreaterOrEqual(t, most, 2)
	})
}

func TestRefusalWithoutCheckCounts(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.lockable(false)
		r.createRoles("role")
		l.setWrong(true)
		r.storage.failIf(func(_, key string) error {
			if strings.HasPrefix(key, store.GuardPrefix) {
				return errors.New("storage is out of order")
			}
			return nil
		})
		checks := r.remote.checkCount()
		r.rotateFails(problem.KindUnreachable)
		require.Equal(t, checks, r.remote.checkCount(), "an attempt that cannot be counted is not made")
		r.storage.heal()
		advance(2 * day)
		_, most := l.counts()
		require.Equal(t, 4, most)
	})
}

// guardOf returns the storage key of a key's lockout guard.
func guardOf(key string) string {
	sum := sha256.Sum256([]byte(lockedKey(key)))
	return store.GuardPrefix + hex.EncodeToString(sum[:])
}

// attempts returns what storage has counted for a key.
func (r *rig) attempts(key string) lockout.Attempts {
	r.Helper()
	a, err := r.store().Attempts(r.Context(), strings.TrimPrefix(guardOf(key), store.GuardPrefix))
	require.NoError(r, err)
	return a
}
