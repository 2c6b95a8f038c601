package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

// setInterval sets min_rotation_interval.
func (r *rig) setInterval(d time.Duration) {
	r.Helper()
	require.NoError(r, r.engine.Gate.WriteSettings(r.Context(), r.storage, func(s *store.Settings) { s.MinRotationInterval = int(d.Seconds()) }))
}

// requireTooSoon asserts that rotate-role does nothing, with force=true too.
func (r *rig) requireTooSoon() {
	r.Helper()
	version, calls := r.version(), r.remote.changeCount()
	for _, rotate := range []func() (*roles.Report, error){
		r.rotate, func() (*roles.Report, error) { return r.rotateVersion(version) },
		func() (*roles.Report, error) { return r.engine.RotateNow(r.Context(), r.storage, "role", 0) },
	} {
		report, err := rotate()
		require.NoError(r, err)
		require.Contains(r, report.Warning, "min_rotation_interval")
		require.Equal(r, version, report.View.Password.Version)
	}
	require.Equal(r, calls, r.remote.changeCount())
}

func TestRotationsByRequestKeepInterval(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustRotate()
		r.setInterval(time.Hour)
		r.requireTooSoon()
		advance(time.Hour - time.Second)
		r.requireTooSoon()
		advance(time.Second)
		require.Empty(t, r.mustRotate().Warning)
		r.requireTooSoon()

		_, err := r.setPassword("Chosen0byanoperator9")
		require.NoError(t, err, "it is the way out in an emergency")
		require.Equal(t, 4, r.version())
		r.requireTooSoon()
		r.setInterval(0)
		r.mustRotate()
	})
}

func TestIntervalLeavesOtherChangesAlone(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.setInterval(day)
		r.createDue(time.Hour, func(o *role.Options) { o.SkipInitialRotation = true })
		require.Empty(t, r.mustRotate().Warning, "an adoption is no change")
		version := r.version()
		advance(90 * time.Minute)
		require.Equal(t, version+1, r.version(), "the role's own schedule")
		r.requireTooSoon()
	})
}

// A restart would put each of them in force, and a retry of what is open is no new change.
func TestIntervalCountsStagedPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		advance(2 * day)
		r.setInterval(day)
		r.remote.fail(provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeTarget, Reason: "no answer"})
		_, err := r.rotate()
		require.Error(t, err)
		r.remote.fail(needsRestart)
		advance(time.Minute) // the engine retries it
		calls := r.remote.changeCount()
		for range 3 {
			report, err := r.rotate()
			require.NoError(t, err)
			require.Contains(t, report.Warning, "min_rotation_interval")
			require.Contains(t, report.Warning, "restart", "it still tells what is open")
		}
		require.Equal(t, calls, r.remote.changeCount())
		advance(day)
		_, err = r.rotate()
		require.NoError(t, err)
		require.Equal(t, calls+1, r.remote.changeCount())
	})
}

// Settings that another node has written, which a standby or a new active node learns by Invalidate.
func TestSettingsOfOtherNodeApply(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustRotate()
		settings, err := r.engine.Gate.Settings(t.Context(), r.storage)
		require.NoError(t, err)
		settings.MinRotationInterval = 3600
		require.NoError(t, store.Store{Storage: r.storage}.PutSettings(t.Context(), settings))
		r.mustRotate()
		r.engine.Invalidate(store.SettingsKey)
		r.requireTooSoon()
	})
}
