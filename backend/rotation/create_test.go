package rotation

import (
	"context"
	"errors"
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
		require.NotNil(t, report, "the role is there")
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
				report, err := r.engine.first(t.Context(), r.storage, "role")
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

func TestACrashWhileARoleIsCreatedLeavesSomethingToResume(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.storage.failing(func(operation, key string) error { // what a crash after the role is stored leaves
			if operation == "put" && key == rolePrefix+"role" {
				r.storage.fail = func(string, string) error { return errors.New("gone") }
			}
			return nil
		})
		_, err := r.create(nil)
		require.Error(t, err)
		r.storage.failing(nil)
		r.restart()
		after(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State, "without anyone asking")
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value)
	})
}

func TestARoleOnAPausedConnectionIsNotCreated(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.refuseCredential()
		_, err := r.rotate()
		require.Error(t, err)
		for _, skip := range []bool{false, true} {
			_, err = r.create(func(in *NewRole) {
				in.Name, in.Target = "other", provider.Settings{"login": "other"}
				in.Options.SkipInitialRotation = skip
			})
			require.Equal(t, KindBusy, kindOf(t, err))
			other, err := r.engine.Role(t.Context(), r.storage, "other")
			require.NoError(t, err)
			require.Nil(t, other)
		}
	})
}

func TestAnIndexEntryThatACrashLeftIsFree(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Name = "another"; in.Target = provider.Settings{"login": "another"} })
		for _, name := range []string{"gone", "another"} {
			require.NoError(t, store{r.storage}.putOwner(t.Context(), owner{Role: name, Identity: "remote|login"}))
			r.mustCreate(nil)
			require.NoError(t, r.engine.Delete(t.Context(), r.storage, "role", false))
		}
	})
}

func TestARoleIsNotCreatedOnAConnectionThatChangesMeanwhile(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.checkTarget = func() {
			require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "another"}}))
		}
		_, err := r.create(func(in *NewRole) { in.Options.SkipInitialRotation = true })
		require.ErrorContains(t, err, "changed in the meantime")
	})
}

func TestARoleMayNotChangeThePasswordThatAConnectionLogsInWith(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.loginIdentity = "remote|login"
		_, err := r.create(nil)
		require.ErrorContains(t, err, "logs in with this account")
		require.Zero(t, r.remote.count())
		r.remote.loginIdentity = ""
		r.mustCreate(nil)
		r.remote.loginIdentity = "remote|login"
		err = r.engine.WriteConnection(t.Context(), r.storage, "other", Patch{
			Provider: ptr("remote"), Address: ptr("https://remote.example"), Settings: provider.Settings{"key": "key"},
		})
		require.ErrorContains(t, err, `role "role"`)
	})
}

func TestARoleMadeAgainKeepsItsDistanceFromTheOneBefore(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.set(always(unknown, false))
		began := time.Now()
		_, err := r.rotate()
		require.NoError(t, err)
		require.ErrorContains(t, r.engine.Delete(t.Context(), r.storage, "role", false), "force=true")
		require.NoError(t, r.engine.Delete(t.Context(), r.storage, "role", true))
		r.remote.set(nil)
		calls := r.remote.count()
		_, err = r.create(nil)
		require.NoError(t, err)
		require.Equal(t, calls, r.remote.count())
		after(2 * time.Minute)
		require.Equal(t, calls+1, r.remote.count())
		require.GreaterOrEqual(t, r.read().Since.Sub(began), time.Minute)
	})
}

func TestARoleThatARequestWasToldGoesOnIsNotUndone(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{RequestTimeout: ptr(60)}))
		r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			time.Sleep(50 * time.Second) // longer than a request waits
			return provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"}, false
		})
		report, err := r.create(nil)
		require.NoError(t, err)
		require.NotEmpty(t, report.Warning)
		after(time.Hour)
		require.Equal(t, provider.Rejected, r.role().Retry.Last.Class, "the role is there, and says why it has no password")
	})
}
