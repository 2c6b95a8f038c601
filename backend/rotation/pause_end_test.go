package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// createPaused creates the role "role" and pauses the connection for a change of it.
func (r *rig) createPaused() {
	r.Helper()
	r.mustCreate(nil)
	r.remote.refuseCredential()
	r.rotateFails(problem.KindUnreachable)
}

func TestNewCredentialEndsBackoff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(provider.Result{Outcome: provider.Denied, Reason: "not allowed", Code: "1006"})
		r.rotateFails(problem.KindUnreachable)
		r.remote.succeed()
		r.rotateFails(problem.KindUnreachable) // within the backoff the answer is the same
		r.mustWriteConn(withKey("better"))
		advance(time.Second)
		require.Equal(t, 2, r.version())
	})
}

func TestProbeSurvivesReadOnlyMoment(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createPaused()
		r.remote.answerCheck(applied)
		r.remote.succeed()
		advance(5 * time.Minute)
		r.readOnly.Store(true)
		advance(3 * time.Minute) // the time of the probe passes
		require.NotEmpty(t, r.engine.Health().Paused)
		r.readOnly.Store(false)
		r.wakeFor(1)
		advance(30 * time.Second) // the next sweep comes ten minutes after the start
		require.Empty(t, r.engine.Health().Paused)
		require.Equal(t, 2, r.version())
	})
}

// pausedWith pauses the connection, which refuses its key, for a change of the role "tried".
func (r *rig) pausedWith(k *keyedRemote) {
	r.Helper()
	k.refuse("key", true)
	require.Equal(r, problem.KindUnreachable, kindOf(r.T, r.rotateAll("tried")[0]))
}

// Writing a credential resumes all roles that waited: those with a pending change, and those that have become due.
func TestRepairedConnectionRetriesDueRoles(t *testing.T) {
	for name, row := range map[string]struct {
		refusals int // that lock the key; with 3 of them, a pause makes no probe
		restarts bool
	}{"with probes": {}, "without probes": {refusals: 3}, "after a restart": {restarts: true}} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				k := r.useKeys(row.refusals)
				due := roleNames(8)
				for _, name := range due {
					r.createAs(name, func(in *NewRole) { in.Options.RotationPeriod = 3600 })
				}
				r.createDue(time.Hour, nil)
				r.createRoles("tried")
				r.createAs("later", func(in *NewRole) { in.Options.RotationPeriod = 24 * 3600 })
				r.createAs("read", func(in *NewRole) { in.Options.RotationPeriod, in.Options.RotationMode = 3600, role.ModeOnRead })
				advance(30 * time.Minute)
				r.pausedWith(k)
				require.Equal(t, row.refusals > 0, r.engine.Health().Paused[0].NextProbe.IsZero())
				if row.restarts {
					r.restartWith(k)
				}
				advance(31 * time.Minute) // the first ones become due
				require.Equal(t, 1, r.version())
				require.NotEmpty(t, r.engine.Health().Paused)
				r.mustWriteConn(withKey("new"))
				advance(time.Minute)
				for _, name := range append(due, "role", "tried") {
					r.requireVersion(name, 2)
				}
				for _, name := range []string{"later", "read"} {
					r.requireVersion(name, 1)
				}
			})
		})
	}
}

// With few roles, they continue within seconds.
func TestRepairedConnectionRetriesDueRoleAtOnce(t *testing.T) {
	for name, patch := range map[string]connection.Patch{
		"another credential": withKey("new"), "the same credential": withKey("key"), "an unchecked credential": unchecked("new"),
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(_ *testing.T, r *rig) {
				k := r.useKeys(0)
				r.createDue(time.Hour, nil)
				r.createRoles("tried")
				advance(30 * time.Minute)
				r.pausedWith(k)
				advance(31 * time.Minute)
				k.refuse("key", false)
				r.mustWriteConn(patch)
				advance(15 * time.Second)
				r.requireVersion("role", 2)
			})
		})
	}
}

// A role that becomes due after a pause has ended does not wait for the probe of that pause.
func TestRoleIsChangedWhenDueThoughConnectionWasPaused(t *testing.T) {
	for name, restart := range map[string]bool{"updated while paused": false, "found by the sweep": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				k := r.useKeys(0)
				r.createDue(10*time.Hour, nil)
				r.createRoles("tried")
				r.pausedWith(k)
				nextProbe := func() time.Duration { return time.Until(r.engine.Health().Paused[0].NextProbe) }
				for nextProbe() < 45*time.Minute { // the waits between two probes grow to an hour
					r.wakeFor(1)
				}
				due := r.role()
				due.Due = r.engine.Now().Add(5 * time.Minute)
				require.NoError(t, r.store().PutRole(t.Context(), due))
				if restart {
					r.restartWith(k)
				} else {
					r.update(func(o *role.Options) { o.ReturnLast = true }, nil)
				}
				r.wakeFor(2)
				require.Greater(t, nextProbe(), 30*time.Minute, "the probe is still far away")
				r.mustWriteConn(withKey("new"))
				r.wakeFor(6)
				require.Equal(t, 2, r.version())
			})
		})
	}
}
