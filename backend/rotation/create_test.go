package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestAFailedCreationLeavesNothing(t *testing.T) {
	for name, result := range map[string]provider.Result{
		"refused":     {Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"},
		"unreachable": {Outcome: provider.Unreachable, Reason: "refused"},
		"denied":      {Outcome: provider.Denied, Reason: "not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.set(always(result, false))
				_, err := r.create(nil)
				require.ErrorContains(t, err, "the role was not created")
				for _, prefix := range []string{rolePrefix, targetPrefix} {
					left, err := r.storage.List(t.Context(), prefix)
					require.NoError(t, err)
					require.Empty(t, left)
				}
				r.remote.set(nil)
				r.mustCreate(func(in *NewRole) { in.Name = "another" })
			})
		})
	}
}

func TestACreationWithUnknownOutcomeKeepsTheRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.set(always(unknown, true))
		report, err := r.create(nil)
		require.NoError(t, err)
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value, "the newest one set, as none is known to be in force")
		r.remote.set(nil)
		after(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

func TestOfReadersThatComeTogetherOneSetsTheFirstPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.SkipInitialRotation = true })
		require.Zero(t, r.remote.count())
		passwords := make(chan string, 10)
		for range cap(passwords) {
			go func() {
				report, err := r.engine.First(t.Context(), r.storage, "role")
				if err != nil || report.View.Password == nil {
					passwords <- ""
					return
				}
				passwords <- report.View.Password.Value
			}()
		}
		for range cap(passwords) {
			got := <-passwords
			require.Equal(t, r.remote.holds("login"), got)
		}
		require.Equal(t, 1, r.remote.count())
	})
}
