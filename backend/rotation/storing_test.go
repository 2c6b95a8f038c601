package rotation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestPasswordIsStoredBeforeSending(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.onChange(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			next := r.role().Record.Next
			require.NotNil(t, next)
			require.Equal(t, c.NewPassword, next.Value)
			require.Equal(t, credential.Sending, next.Phase)
			require.False(t, next.SentUntil.IsZero())
			return applied, true
		})
		r.mustRotate()
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

func TestUnstoredPasswordIsNotSent(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before, calls := r.read(), r.remote.changeCount()
		r.storage.fail(opPut, "", "storage is full")
		_, err := r.rotate()
		require.ErrorContains(t, err, "storage is full")
		require.Equal(t, calls, r.remote.changeCount())
		r.storage.heal()
		require.Equal(t, before, r.read())
	})
}

func TestReadOnlyStorageReturnsBareError(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.storage.failIf(func(operation, _ string) error {
			if operation == opPut { // gRPC transports only the text
				return fmt.Errorf("rpc: %s", logical.ErrReadOnly.Error())
			}
			return nil
		})
		_, err := r.rotate()
		require.Equal(t, logical.ErrReadOnly, err, "Vault compares without unwrapping")
	})
}

func TestUnstoredOutcomeIsSettledAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		writes := 0
		r.storage.failIf(func(operation, _ string) error {
			if operation == opPut {
				if writes++; writes%2 == 0 { // the first one of a change stores the password
					return errors.New("storage hiccup")
				}
			}
			return nil
		})
		report, err := r.rotate()
		require.NoError(t, err, "the password was sent, and an error would say that nothing was changed")
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.NotEmpty(t, report.Warning)
		require.Equal(t, credential.StateUncertain, r.read().State, "the outcome is not stored")
		r.requireKnown()
		advance(time.Hour)
		calls := r.remote.changeCount()
		require.Greater(t, calls, 3, "it is sent again")
		require.Less(t, calls, 20, "with a growing backoff")
		require.Len(t, r.remote.sent(), 2, "each time the same password")
		r.storage.heal()
		advance(2 * time.Hour)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, r.remote.password("login"), r.read().Password.Value)
	})
}

func TestOutcomeIsStoredThoughNextStepFails(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		good := true
		r.policy = func(string) (string, error) {
			if !good {
				return "", errors.New("the policy is gone")
			}
			return strings.ToLower(rand.Text()), nil
		}
		r.mustCreate(func(in *NewRole) { in.Options.PasswordPolicy = "policy" })
		r.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
			good = false
			return weakPassword, false
		})
		_, err := r.rotate()
		require.ErrorContains(t, err, "policy")
		require.Nil(t, r.role().Record.Next, "a restart would send a refused password again")
		require.Equal(t, provider.Rejected, r.role().Retry.Last.Class)
		r.restart()
		advance(time.Hour)
		require.Equal(t, 2, r.remote.changeCount())
	})
}

func TestEntryOfNewerVersionIsRefused(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		role := r.role()
		role.Schema = store.Schema + 1
		entry, err := logical.StorageEntryJSON(roleKey, role)
		require.NoError(t, err)
		require.NoError(t, r.storage.Put(t.Context(), entry))
		_, err = r.engine.Read(t.Context(), r.storage, "role")
		require.ErrorContains(t, err, "newer version")
		_, err = r.rotate()
		require.ErrorContains(t, err, "newer version")
		require.Equal(t, 1, r.remote.changeCount())
	})
}
