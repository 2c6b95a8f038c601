package rotation

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
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
			return "Fits0and9sharplymuch", nil
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

// policies makes a weak policy and two strong ones, and counts how often each is asked.
func (r *rig) policies() map[string]int {
	asked := map[string]int{}
	r.policy = func(name string) (string, error) {
		asked[name]++
		switch name {
		case "weak":
			return fmt.Sprintf("1a1ba1b%d", asked[name]%2), nil
		case "strong", "team-a-strong", "own":
			return strings.ToLower(rand.Text()[:20]), nil
		default:
			return "", errors.New("unknown policy")
		}
	}
	return asked
}

// A role's author need not have rights on policies: the answer does not tell which exist.
func TestRoleNamesAllowedPoliciesOnly(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		asked := r.policies()
		allow := func(globs ...string) {
			r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.PasswordPolicy, o.AllowedPasswordPolicies = "own", globs }})
		}
		name := func(policy string) string {
			_, err := r.create(func(in *NewRole) { in.Options.PasswordPolicy = policy })
			require.Equal(t, problem.KindMistake, kindOf(t, err), "%s: %v", policy, err)
			return strings.ReplaceAll(err.Error(), policy, "POLICY")
		}
		allow()
		message := name("strong")
		require.Equal(t, message, name("missing"))
		require.Zero(t, asked["strong"]+asked["missing"], "one that is not allowed is not asked")
		allow("team-a-*")
		require.Equal(t, message, name("strong"))
		require.Equal(t, message, name("team-a-missing"))

		r.mustCreate(func(in *NewRole) { in.Options.PasswordPolicy = "team-a-strong" })
		r.update(func(o *role.Options) { o.PasswordPolicy = "own" }, nil)
		r.update(func(o *role.Options) { o.PasswordPolicy = "team-a-strong" }, nil)

		allow() // narrowed later
		password, calls := r.remote.password("login"), r.remote.changeCount()
		require.Contains(t, r.rotateFails(problem.KindMistake), "allowed_password_policies of config/conn")
		r.update(func(o *role.Options) { o.MaxReadTTL = 77 }, nil)
		require.Equal(t, password, r.read().Password.Value, "nothing is lost")
		require.Equal(t, calls, r.remote.changeCount())
		r.update(func(o *role.Options) { o.PasswordPolicy = "" }, nil)
		r.mustRotate()
	})
}

func TestDueRotationReportsPolicyNoLongerAllowed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.policies()
		r.createDue(time.Hour, func(o *role.Options) { o.PasswordPolicy = "strong" })
		r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.AllowedPasswordPolicies = nil }})
		advance(2 * time.Hour)
		require.Equal(t, 1, r.version())
		require.Contains(t, r.status().Reason, `does not allow the password policy "strong"`)
		r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.AllowedPasswordPolicies = []string{"strong"} }})
		advance(2 * time.Hour)
		require.Greater(t, r.version(), 1)
	})
}

// The floor stands above the writers of connections and roles, also for a policy that is made weaker later.
func TestWeakPasswordPolicyIsRefused(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		asked := r.policies()
		weak := connection.Patch{Change: func(o *connection.Options) { o.PasswordPolicy = "weak" }}
		require.ErrorContains(t, r.writeConn(weak), "of which 4 different ones occur, has 16 bits, and min_password_bits in the mount's settings requires 64")
		_, err := r.create(func(in *NewRole) { in.Options.PasswordPolicy = "weak" })
		require.ErrorContains(t, err, "16 bits")

		floor := func(bits int) {
			require.NoError(t, r.engine.Gate.WriteSettings(t.Context(), r.storage, func(s *store.Settings) { s.MinPasswordBits = bits }))
		}
		floor(16)
		r.mustWriteConn(weak)
		r.mustCreate(nil)
		floor(17)
		calls := r.remote.changeCount()
		require.Contains(t, r.rotateFails(problem.KindMistake), "min_password_bits")
		require.Equal(t, calls, r.remote.changeCount())
		floor(0)
		asked["weak"] = 0
		r.mustRotate()
		require.Equal(t, 1, asked["weak"])
	})
}
