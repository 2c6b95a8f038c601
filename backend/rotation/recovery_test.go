package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/role"
)

func TestPasswordIsProvedPeriodically(t *testing.T) {
	t.Parallel()
	for drift, want := range map[string]credential.State{
		role.DriftReport: credential.StateDrifted, role.DriftRecover: credential.StateActive, role.DriftRotate: credential.StateActive,
	} {
		t.Run(drift, func(t *testing.T) {
			t.Parallel()
			inFakeTime(t, func(t *testing.T, r *rig) {
				d := r.proves()
				r.mustCreate(func(in *NewRole) {
					proved(&in.Options)
					in.Options.VerifyPeriod, in.Options.OnDrift = 3600, drift
				})
				r.mustRotate()
				advance(3 * time.Hour)
				require.Equal(t, credential.StateActive, r.read().State)
				require.Zero(t, d.refusals())
				first := r.remote.sent()[0]
				r.remote.setPassword("login", first) // a restored backup
				advance(90 * time.Minute)
				require.Equal(t, want, r.read().State)
				switch drift {
				case role.DriftRecover:
					require.Equal(t, first, r.read().Password.Value)
					require.Equal(t, 2, r.remote.changeCount())
					require.Equal(t, 3, r.version(), "versions never go back")
					require.NotContains(t, r.status().ProofReason, "version")
				case role.DriftRotate:
					require.Equal(t, 3, r.remote.changeCount())
				default:
					require.Equal(t, 2, r.remote.changeCount())
					require.Contains(t, r.status().Reason, "no longer logs in")
					require.Contains(t, r.status().Advice, "recover-role/role")
					require.NotEmpty(t, r.why("role"))
				}
			})
		})
	}
}

// Whatever is asked for, at most two logins are refused in 15 minutes, and the answer says when more can be made.
func TestBudgetOfRefusedLogins(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		for range 4 {
			r.mustRotate()
		}
		r.remote.setPassword("login", "changed outside")
		for range 40 {
			proved, err := r.engine.RecoverRole(r.Context(), r.storage, "role")
			require.NoError(t, err)
			if !proved.Until.IsZero() {
				require.WithinDuration(t, time.Now().Add(15*time.Minute), proved.Until, 16*time.Minute)
			}
			if n := len(d.refused); n%3 == 0 {
				r.restart()
			}
			advance(3 * time.Minute)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		require.Greater(t, len(d.refused), 5)
		for i := 2; i < len(d.refused); i++ {
			require.GreaterOrEqual(t, d.refused[i].Sub(d.refused[i-2]), 15*time.Minute)
		}
	})
}

// Passwords that a recovery has tried in vain are tried again by the next one.
func TestRecoveryInVainIsRepeated(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(r *rig){
		"by request": func(r *rig) { _, _ = r.engine.RecoverRole(r.Context(), r.storage, "role") },
		"in time":    func(*rig) { advance(90 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inFakeTime(t, func(t *testing.T, r *rig) {
				d := r.proves()
				r.mustCreate(func(in *NewRole) {
					proved(&in.Options)
					in.Options.VerifyPeriod, in.Options.OnDrift = 3600, role.DriftRecover
				})
				d.refuses(r.read().Password.Value)
				advance(90 * time.Minute)
				require.Equal(t, credential.StateDrifted, r.read().State)
				d.say(nil)
				next(r)
				require.Equal(t, credential.StateActive, r.read().State)
			})
		})
	}
}

// A recovery by requests, each of which the budget of refused logins ends early, tries all passwords.
func TestRecoveryByRequestReachesAll(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, _ *door) {
		first := r.read().Password.Value
		for range 4 {
			r.mustRotate()
		}
		r.remote.setPassword("login", first)
		for range 3 {
			require.NotEqual(t, first, r.read().Password.Value)
			_, err := r.engine.RecoverRole(r.Context(), r.storage, "role")
			require.NoError(t, err)
			advance(20 * time.Minute)
		}
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, first, r.read().Password.Value)
	})
}

// If the budget of refused logins ends a round after the old password, the next one begins with the new one: otherwise the old
// one would use up the budget each time.
func TestQueuedPasswordIsReachedWithinBudget(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, _ *door) {
		r.remote.setSettleAfter(time.Minute)
		r.remote.answer(queued, true)
		r.mustRotate()
		require.Contains(t, r.confirmFails(Confirmation{Password: "anotherone1"}), "a login with it was refused")
		advance(40 * time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, r.remote.password("login"), r.read().Password.Value)
	})
}

// A password that an operator discards does not end a recovery, and one that an operator confirms does.
func TestDiscardKeepsRecovery(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.proves()
		r.mustCreate(func(in *NewRole) {
			proved(&in.Options)
			in.Options.VerifyPeriod, in.Options.OnDrift = 3600, role.DriftRecover
		})
		for range 4 {
			r.mustRotate()
		}
		r.remote.setPassword("login", "changed outside")
		advance(time.Hour)
		require.True(t, r.role().Proofs.Recovering)
		r.freeze(3 * time.Hour)
		advance(2 * time.Hour)
		r.remote.answer(busy, false)
		_, err := r.rotate()
		require.ErrorContains(t, err, "busy")
		before := r.role().Proofs
		r.mustConfirm(Confirmation{Version: 6, Discard: true})
		require.Equal(t, before, r.role().Proofs)
		r.mustConfirm(Confirmation{Password: "changedoutside1", Force: true})
		require.False(t, r.role().Proofs.Recovering)
		require.Empty(t, r.role().Proofs.Refused)
	})
}
