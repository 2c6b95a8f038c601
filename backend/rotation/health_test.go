package rotation

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/provider"
)

// health returns the health of the mount, which reads no storage.
func (r *rig) health() Health {
	r.Helper()
	r.storage.reset()
	h := r.engine.Health()
	require.Equal(r, counts{}, r.storage.counts())
	return h
}

func TestHealthOfMountReadsNoStorage(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		began := time.Now()
		for i, name := range roleNames(6) {
			r.createAs(name, func(in *NewRole) {
				in.Options.RotationPeriod = 3600 * (i + 1)
				in.Options.Disabled = i == 0
			})
		}
		h := r.health()
		require.True(t, h.Complete)
		require.Equal(t, 6, h.Roles)
		require.Equal(t, map[credential.State]int{credential.StateActive: 6}, h.States)
		require.Equal(t, 6, h.Providers["remote"][credential.StateActive])
		require.Equal(t, "role1", h.NextDue.Role, "automation is disabled for role0")
		require.True(t, began.Add(2*time.Hour).Equal(h.NextDue.Time))
		require.Equal(t, 1, h.Disabled)
		require.Zero(t, h.Overdue+h.Failing+h.OperatorsNeeded)

		r.remote.fail(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"})
		advance(3*time.Hour + time.Second)
		h = r.health()
		require.Equal(t, 2, h.Overdue)
		require.Equal(t, health.Dated{Role: "role1", Time: began.Add(2 * time.Hour).UTC()}, h.OldestOverdue)
		require.Equal(t, "role3", h.NextDue.Role)
		require.Equal(t, 2, h.Failing)
		require.Equal(t, 2, h.OperatorsNeeded)
		require.Equal(t, "role1", h.NeedOperator[0].Role)
		require.Contains(t, h.NeedOperator[0].Reason, "no such account")
		r.restart()
		require.Equal(t, h, r.health(), "it is the same after a start")

		r.remote.refuseCredential()
		advance(2 * time.Hour)
		h = r.health()
		require.Len(t, h.Paused, 1)
		require.Equal(t, "conn", h.Paused[0].Connection)
		r.remote.acceptCredential()
		r.mustWriteConn(withKey("another"))
		advance(3 * time.Hour)
		h = r.health()
		require.Empty(t, h.Paused)
		require.Zero(t, h.Overdue+h.Failing+h.OperatorsNeeded)
		for _, name := range roleNames(6) {
			require.NoError(t, r.engine.Delete(t.Context(), r.storage, name, true))
		}
		h = r.health()
		require.Zero(t, h.Roles)
		require.Empty(t, h.States)
		require.Empty(t, h.NextDue.Role)
	})
}

// Operators must be able to tell a role that is late because something went wrong from one that only waits.
func TestWaitingRoleIsNeitherFailingNorOverdue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.remote.fail(provider.Result{Outcome: provider.Staged, Stage: provider.StageRestart})
		r.mustRotate()
		advance(2 * time.Hour)
		h := r.health()
		require.Zero(t, h.Overdue, "it waits until the servers restart")
		require.Equal(t, 1, h.OperatorsNeeded, "which is reported")
		r.createRoles("other")

		r.remote.fail(unknown)
		require.NoError(t, r.rotateOther())
		require.Equal(t, 1, r.health().Failing)
	})
}

func TestAdoptedRoleIsChangedWhenDue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) {
			in.Options.SkipInitialRotation, in.Options.RotationPeriod, in.Password = true, 3600, "Present0present0"
		})
		require.Zero(t, r.remote.changeCount())
		advance(time.Hour)
		require.Equal(t, 2, r.version())
	})
}

// What the start reads of a role may be old while a request works on it. It is read again afterwards.
func TestRoleLockedAtStartIsReadAfterwards(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.engine.Stop()
		r.engine = New(Config{Types: []provider.Type{r.remote}, Policies: r})
		unlock := r.engine.locks.Try("role")
		r.engine.Start(r.storage)
		advance(time.Minute)
		require.Zero(t, r.health().Roles)
		unlock()
		advance(10 * time.Second)
		require.Equal(t, 1, r.health().Roles)
		advance(time.Hour)
		require.Equal(t, 2, r.version())
	})
}

func TestHealthReportsWhetherAllRolesWereRead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.engine.Stop()
		r.storage.fail(opGet, roleKey, "gone")
		r.start()
		require.False(t, r.health().Complete)
		r.storage.heal()
		advance(sweepEvery)
		r.engine.Wake()
		synctest.Wait()
		require.True(t, r.health().Complete)
		require.Equal(t, 1, r.health().Roles)
	})
}
