package rotation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/health"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

// why returns why a role needs an operator according to the status of the mount; "" if it does not.
func (r *rig) why(name string) string {
	r.Helper()
	for _, one := range r.health().NeedOperator {
		if one.Role == name {
			return one.Reason
		}
	}
	return ""
}

// requireSameAdvice asserts that the status of the mount, that of the role, and the warning of a request say the same.
func (r *rig) requireSameAdvice(warning string) {
	r.Helper()
	advice := r.status().Advice
	require.NotEmpty(r, advice)
	require.Contains(r, r.why("role"), advice)
	require.Contains(r, warning, advice)
}

// A remote system that never gives a usable answer is not asked for ever without a word to an operator.
func TestUnknownOutcomeThatStaysNeedsOperator(t *testing.T) {
	for name, outcome := range map[string]provider.Result{
		"no answer":       unknown,
		"no such account": {Outcome: provider.Unknown, Scope: provider.ScopeTarget, Reason: "no result; check that the account exists"},
		"a server error":  {Outcome: provider.Unknown, Scope: provider.ScopeConnection, Code: "HTTP 500", Reason: "a server error"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.fail(outcome)
				report, err := r.create(nil)
				require.NoError(t, err)
				require.Contains(t, report.Warning, outcome.Reason)
				require.Contains(t, report.Warning, "No password of this role is known to work")
				require.Empty(t, r.why("role"), "the first time may be chance")
				for r.remote.changeCount() < 3 {
					require.Empty(t, r.why("role"))
					advance(time.Second)
				}
				why := r.why("role")
				require.Contains(t, why, outcome.Reason)
				require.Contains(t, why, "attempts without a usable response: 3")
				require.Contains(t, why, "heck on the remote system that the account exists")
				require.Contains(t, why, "delete the role with force=true")
				r.requireSameAdvice(r.mustRotate().Warning)
				require.Equal(t, 1, r.health().OperatorsNeeded)
				r.restart()
				require.Contains(t, r.why("role"), outcome.Reason, "a restart does not forget it")

				r.remote.succeed()
				advance(2 * time.Hour)
				require.Empty(t, r.why("role"))
				r.requireState(credential.StateActive, 1, 0)
				r.requireKnown()
				r.remote.fail(outcome)
				r.mustRotate()
				require.Empty(t, r.why("role"), "it is counted anew")
			})
		})
	}
}

func TestUnknownOutcomeNeedsOperatorAfterAnHour(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.answerCall(2, unknown, false, unreachable)
		began := time.Now()
		r.mustRotate()
		advance(59 * time.Minute)
		require.Empty(t, r.why("role"))
		advance(2 * time.Minute)
		require.Less(t, time.Since(began), 62*time.Minute)
		require.Contains(t, r.why("role"), "attempts without a usable response: 1")
		require.Contains(t, r.status().Advice, "heck on the remote system that the account exists")
	})
}

// The engine does not resolve the outcome by itself: every view says so, and what to do.
func TestDisabledRoleWithUnknownOutcomeIsExplainedAlike(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true })
		r.remote.fail(unknown)
		warning := r.mustRotate().Warning
		r.requireSameAdvice(warning)
		require.Contains(t, warning, "not retried automatically because disable_automated_rotation is set")
		require.Contains(t, warning, "confirm-role/role")
		require.NotContains(t, warning+r.status().Advice, "ait for the next attempt")
	})
}

// allow writes allowed_roles of the connection, and returns the roles that it does not allow then.
func (r *rig) allow(roles ...string) []string {
	r.Helper()
	r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.AllowedRoles = roles }})
	return r.engine.Recheck(r.Context(), r.storage, "conn")
}

func TestRoleThatIsNotAllowedNeedsOperatorAtOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.createRoles("other")
		r.createAs("x1", func(in *NewRole) { in.Options.RotationPeriod = 3600 })
		require.Equal(t, []string{"other", "role"}, r.allow("x*"))
		for _, one := range []string{"role", "other"} {
			require.Contains(t, r.why(one), `The connection "conn" does not allow this role, so its password is neither changed nor returned. Add "`+one+`" to allowed_roles of config/conn`)
		}
		require.Empty(t, r.why("x1"))
		status := r.status()
		require.Contains(t, status.Reason, `The connection "conn" does not allow this role`)
		require.Contains(t, r.why("role"), status.Advice)
		_, err := r.engine.Read(t.Context(), r.storage, "role")
		require.Equal(t, problem.KindMistake, kindOf(t, err))

		advance(3 * time.Hour) // it is due, and its worker fails
		status = r.status()
		require.Contains(t, status.Reason, `A rotation has been due since `)
		require.Contains(t, status.Reason, `The connection "conn" does not allow this role`)
		require.NotContains(t, status.Reason, "waiting for its turn")
		require.Contains(t, r.why("role"), status.Advice)
		require.Zero(t, status.NextAttempt)
		require.Equal(t, 2, r.health().OperatorsNeeded)

		require.Empty(t, r.allow("*"))
		require.Zero(t, r.health().OperatorsNeeded)
		advance(2 * time.Second)
		r.requireVersion("role", 2)
		require.Equal(t, "No action is needed.", r.status().Advice)
	})
}

// Writing the list makes nothing due, and starts nothing that is being sent a second time.
func TestRecheckChangesNothingElse(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.createRoles("other")
		changes := newBlock()
		defer changes.release()
		overlap := r.remote.countOverlap(changes.wait)
		done := make(chan error, 1)
		go func() { done <- r.rotateOther() }()
		advance(time.Second)
		require.Equal(t, 1, overlap.running())
		require.Empty(t, r.allow("*"))
		advance(10 * time.Second)
		require.Equal(t, 1, overlap.running())
		changes.release()
		require.NoError(t, <-done)
		require.Equal(t, 3, r.remote.changeCount())
		advance(time.Minute)
		require.Equal(t, 3, r.remote.changeCount())
	})
}

// A failure of Vault's own side is reported once for the mount, and as the reason of the role.
func TestStorageFailureIsReported(t *testing.T) {
	for name, message := range map[string]string{
		"during setup": "cannot write to storage during setup",
		"another":      "storage is full",
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createDue(time.Hour, nil)
				r.createRoles("other")
				require.Empty(t, r.health().StorageFailure)
				r.storage.fail(opPut, "", message)
				advance(time.Hour + time.Minute)
				h := r.health()
				require.Contains(t, h.StorageFailure, message)
				require.Contains(t, h.StorageFailure, "roles affected: 1")
				require.Zero(t, h.OperatorsNeeded, "it is told once")
				status := r.status()
				require.Contains(t, status.Reason, "Work on this role has failed since ")
				require.NotContains(t, status.Reason, "waiting for its turn")
				require.Contains(t, status.Advice, "Check Vault's storage and log")
				require.True(t, status.NextAttempt.After(time.Now()))

				calls := r.remote.changeCount()
				err := r.rotateOther()
				require.ErrorContains(t, err, "othing was sent")
				require.Equal(t, calls, r.remote.changeCount())
				require.NotContains(t, err.Error(), "read it back")
				if name == "during setup" {
					require.Equal(t, problem.KindBusy, kindOf(t, err))
					require.NotContains(t, err.Error(), "may have taken effect")
				}

				r.storage.heal()
				advance(2 * time.Minute)
				require.Empty(t, r.health().StorageFailure)
				r.requireVersion("role", 2)
				require.Equal(t, "No action is needed.", r.status().Advice)
			})
		})
	}
}

// A mount that stores nothing is found by its heartbeat, before a role is due.
func TestHeartbeatReportsStorageFailure(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.setCatchUpLimit(3600)
		r.createRoles("role", "other")
		r.storage.fail(opPut, "", "cannot write to storage during setup")
		r.wakeFor(16)
		h, status := r.health(), r.status()
		require.Contains(t, h.StorageFailure, "(roles affected: 2): storing the heartbeat failed: cannot write to storage during setup")
		require.Contains(t, h.StorageFailure, "seal and unseal this Vault node, or restart it")
		require.Contains(t, status.Reason, "Vault's storage has failed since "+explain.Time(h.StorageFailedAt))
		require.Contains(t, status.Advice, "Check Vault's storage and log")
		require.Zero(t, status.NextAttempt, "there is nothing to do")
		require.Len(t, r.log.lines("could not store the heartbeat"), 1, "it is logged once")
		r.storage.heal()
		r.wakeFor(2)
		require.Empty(t, r.health().StorageFailure)
		require.Equal(t, "No action is needed.", r.status().Advice)
	})
}

// Five roles of a server that refuses everything are one problem, not five.
func TestProblemOfServerIsToldOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		for _, name := range roleNames(5) {
			r.createAs(name, func(in *NewRole) { in.Options.RotationPeriod = 3600 })
		}
		r.createRoles("role")
		r.remote.fail(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeConnection, Code: "1004", Reason: "its set-up is not complete"})
		require.Contains(t, r.rotateFails(problem.KindMistake), "which concerns every role of config/conn")
		advance(time.Hour + time.Minute)
		h := r.health()
		require.Len(t, h.Problems, 1)
		require.Equal(t, health.Problem{
			Connection: "conn", Provider: "remote", Reason: "its set-up is not complete (1004)", Since: h.Problems[0].Since, Roles: 6,
		}, h.Problems[0])
		require.Zero(t, h.OperatorsNeeded)
		require.Empty(t, h.Paused, "it is not the credential")
		require.Contains(t, r.status().Advice, "which concerns every role of config/conn")

		r.remote.succeed()
		advance(10 * time.Minute)
		require.Empty(t, r.health().Problems)
		for _, name := range roleNames(5) {
			r.requireVersion(name, 2)
		}
	})
}
