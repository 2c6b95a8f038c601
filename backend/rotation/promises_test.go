package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestNoLogLineHoldsASecret(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		secrets := []string{"canary-of-the-credential", "canaryOfAHand", "canaryOfAWord"}
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": secrets[0]}}))
		r.mustCreate(nil)

		for _, outcome := range provider.Outcomes() {
			r.remote.set(always(provider.Result{Outcome: outcome, Scope: provider.ScopeConnection, Stage: provider.StageRestart, Reason: "so it is"}, false))
			_, _ = r.rotate()
			require.NotEmpty(t, r.log.lines("outcome="+string(outcome)))
			r.remote.set(nil)
			after(2 * time.Hour)
		}
		r.remote.refuseCredential()
		_, err := r.rotate()
		require.Error(t, err)
		require.NotEmpty(t, r.log.lines("connection paused"))
		r.remote.mu.Lock()
		r.remote.check = nil
		r.remote.mu.Unlock()
		r.remote.set(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) { panic(c.NewPassword) })
		after(2 * time.Hour)
		require.NotEmpty(t, r.log.lines("a panic was caught"))
		r.remote.set(nil)
		r.restart()
		after(2 * time.Hour)
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", secrets[1])
		require.NoError(t, err)
		_, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Password: secrets[2]})
		require.NoError(t, err)

		for _, c := range r.remote.calls {
			secrets = append(secrets, c.NewPassword)
		}
		for i, secret := range secrets {
			require.Empty(t, r.log.lines(secret), "secret %d of %d is in the log", i, len(secrets))
		}
	})
}

func TestRolesThatFailedTogetherDoNotComeBackTogether(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		const roles = 20
		for i := range roles {
			name := fmt.Sprintf("role%d", i)
			r.mustCreate(func(in *NewRole) { in.Name, in.Target = name, provider.Settings{"login": name} })
		}
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "refused"}, false))
		now, times := time.Now(), map[time.Duration]bool{}
		for i := range roles {
			name := fmt.Sprintf("role%d", i)
			_, err := r.engine.Rotate(t.Context(), r.storage, name, 0)
			require.Equal(t, KindUnreachable, kindOf(t, err))
			role, err := r.engine.Role(t.Context(), r.storage, name)
			require.NoError(t, err)
			wait := role.Retry.NextAttempt.Sub(now)
			require.GreaterOrEqual(t, wait, 5*time.Second)
			require.LessOrEqual(t, wait, 7*time.Second)
			times[wait] = true
		}
		require.Greater(t, len(times), roles/2)
	})
}

func TestARotationOfAVersionIsMadeOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		for range 3 { // the first answer was lost, and Vault's client sends the request again
			report, err := r.engine.Rotate(t.Context(), r.storage, "role", 1)
			require.NoError(t, err)
			require.Equal(t, 2, report.View.Password.Version)
		}
		_, err := r.engine.Rotate(t.Context(), r.storage, "role", 3)
		require.Equal(t, KindMistake, kindOf(t, err), "there is no such version yet")
		require.Equal(t, 2, r.remote.count())
	})
}

func TestARoleIsNotStoredBeforeItsTarget(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.storage.failing(func(operation, key string) error { // what a crash before the target is stored leaves
			if operation == "put" && strings.HasPrefix(key, targetPrefix) {
				return errors.New("gone")
			}
			return nil
		})
		_, err := r.create(nil)
		require.ErrorContains(t, err, "gone")
		r.storage.failing(nil)
		left, err := r.engine.Roles(t.Context(), r.storage)
		require.NoError(t, err)
		require.Empty(t, left, "its password could be changed by another role that finds the target free")
		require.Zero(t, r.remote.count())
		r.restart()
		r.mustCreate(func(in *NewRole) { in.Name = "another" })
		after(time.Hour)
		require.Equal(t, 1, r.remote.count())
		report, err := r.engine.Read(t.Context(), r.storage, "another")
		require.NoError(t, err)
		require.Equal(t, credential.StateActive, report.View.State)
	})
}
