package rotation

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

func TestPasswordPolicyIsSampledWhenSet(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		drawn := 0
		misfits := func(every int) func(string) (string, error) {
			return func(string) (string, error) {
				if drawn++; every > 0 && drawn%every == 0 {
					return "does not fit!", nil
				}
				return fmt.Sprintf("passwordofpolicy%d", drawn), nil
			}
		}
		named := connection.Patch{Change: func(o *connection.Options) { o.PasswordPolicy = "policy" }}
		r.policy = func(string) (string, error) { return "", errors.New("unknown policy") }
		require.ErrorContains(t, r.writeConn(named), "does not exist")
		r.policy = misfits(1)
		err := r.writeConn(named)
		require.ErrorContains(t, err, "200 of 200")
		require.ErrorContains(t, err, "a-z", "the error names the rule")
		require.NotContains(t, err.Error(), "does not fit!", "the error does not show the password")
		r.policy = misfits(5)
		require.ErrorContains(t, r.writeConn(named), "40 of 200")
		r.policy = misfits(20)
		require.NoError(t, r.writeConn(named), "a few passwords may break a rule by chance")

		r.mustCreate(nil)
		for range 30 {
			r.mustRotate()
			require.Contains(t, r.remote.password("login"), "passwordofpolicy", "a password that breaks a rule is drawn again")
		}
		r.policy = misfits(1)
		calls := r.remote.changeCount()
		r.rotateFails(problem.KindMistake)
		require.Equal(t, calls, r.remote.changeCount(), "a password that breaks the rules is never sent")
	})
}

func TestFailingPasswordPolicyIsReported(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var gone atomic.Bool
		r.policy = func(string) (string, error) {
			if gone.Load() {
				return "", errors.New("no such policy")
			}
			return "Fits0fits0fits0fits0", nil
		}
		r.createDue(time.Hour, func(o *role.Options) { o.PasswordPolicy = "mine" })
		gone.Store(true)
		advance(2 * time.Hour)
		require.Contains(t, r.status().Reason, "mine")
		require.Equal(t, provider.Rejected, r.role().Retry.Last.Class)
		require.Equal(t, 1, r.remote.changeCount())
		gone.Store(false)
		advance(2 * time.Hour)
		require.Greater(t, r.version(), 1)
	})
}
