package rotation

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestConfirmationClearsFailureAndSetsDueTime(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.remote.answer(unknown, true)
		r.mustRotate()
		advance(10 * time.Minute)
		require.NotNil(t, r.role().Retry.Last)
		r.mustConfirm(Confirmation{Version: 2})
		require.Equal(t, role.Retry{}, r.role().Retry)
		require.Equal(t, r.engine.Now().Add(time.Hour), r.role().Due)
		due := r.role().Due
		advance(time.Minute)
		r.mustConfirm(Confirmation{Version: 2})
		require.Equal(t, due, r.role().Due, "a repeated confirmation moves nothing")
	})
}

func TestConfirmationKeepsPendingRetry(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createServers()
		r.remote.fail(oneServerBusy)
		r.mustRotate()
		before := r.role().Retry
		require.NotNil(t, before.Last)
		r.mustConfirm(Confirmation{Version: 2, Servers: []string{"a"}})
		require.Equal(t, before, r.role().Retry)
		require.Equal(t, "it is busy (E.1)", r.servers()["b"].LastError)
	})
}

func TestConfirmationTrimsHistoryOnlyAtRest(t *testing.T) {
	for name, open := range map[string]bool{"while a password is queued": true, "at rest": false} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(func(in *NewRole) { in.Options.HistorySize = 0 })
				first := r.read().Password.Value
				if open {
					r.remote.setSettleAfter(time.Hour)
					r.remote.answer(queued, true)
					r.mustRotate()
				}
				r.mustConfirm(Confirmation{Password: "set elsewhere"})
				r.mustConfirm(Confirmation{Password: "set elsewhere again"})
				require.Equal(t, open, r.knows(first))
			})
		})
	}
}

func TestPendingPasswordCanBeWithdrawn(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(unreachable)
		_, err := r.setPassword(chosen)
		require.ErrorContains(t, err, "yet")
		require.Contains(t, r.status().Reason, "set by hand")
		r.mustConfirm(Confirmation{Version: 2, Discard: true})
		r.remote.succeed()
		advance(time.Hour)
		require.Equal(t, 1, r.version())
		require.Nil(t, r.role().Retry.Last)

		r.remote.fail(unreachable)
		_, err = r.setPassword(chosen)
		require.Error(t, err)
		r.remote.succeed()
		r.mustRotate()
		require.NotEqual(t, chosen, r.remote.password("login"), "a rotation replaces a password that an operator knows")
	})
}

func TestConfirmationReportsWithdrawnRotation(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(unreachable)
		r.rotateFails(problem.KindUnreachable)
		report := r.mustConfirm(Confirmation{Password: "set elsewhere"})
		require.Contains(t, report.Warning, "withdrew a rotation")
		r.remote.succeed()
		advance(time.Hour)
		require.Len(t, r.remote.sent(), 2, "the first password, and the one that withdrew a rotation")
		require.Equal(t, "set elsewhere", r.read().Password.Value)
	})
}

func TestDiscardedPasswordCanBeConfirmed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.HistorySize = 0 })
		r.remote.fail(needsRestart)
		r.mustRotate()
		calls := r.remote.changeCount()
		r.mustConfirm(Confirmation{Version: 2, Discard: true})
		r.requireState(credential.StateAssumed, 1, 0)
		advance(time.Hour)
		require.Equal(t, calls, r.remote.changeCount(), "no other password replaces it")
		r.mustConfirm(Confirmation{Password: "set by hand"})
		r.requireState(credential.StateAssumed, 3, 0)
		r.mustConfirm(Confirmation{Version: 2})
		r.requireState(credential.StateAssumed, 4, 0)
	})
}

// The remote system restarts between two changes: the older password comes into force.
func TestOlderStagedPasswordCanBeConfirmed(t *testing.T) {
	for name, second := range map[string]provider.Result{"staged over staged": needsRestart, "unknown over staged": unknown} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(nil)
				r.remote.fail(needsRestart)
				r.mustRotate()
				r.remote.fail(second)
				r.mustRotate()
				require.Equal(t, 3, r.role().Record.Next.Version)
				r.mustConfirm(Confirmation{Version: 2})
				require.Equal(t, 2, r.version())
				require.Equal(t, 3, r.read().Next.Version, "the newer one may wait for the next restart")
				r.remote.fail(needsRestart)
				advance(10 * time.Minute)
				r.requireState(credential.StateRestartRequired, 2, 3)
				require.Len(t, r.remote.sent(), 3)
				r.mustConfirm(Confirmation{Version: 3})
				r.requireState(credential.StateAssumed, 3, 0)
			})
		})
	}
}

// What an operator sees while a password is queued is about to change.
// A file often ends with a line break, which readers would get.
func TestStatedPasswordWithLineBreakIsRefused(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		for value, rule := range map[string]string{"Test-only.1\n": "ends with a line break", "Test-only.1\r\n": "ends with a line break", "Test\tonly.1": "control character"} {
			_, err := r.create(func(in *NewRole) { in.Password, in.Options.SkipInitialRotation = value, true })
			require.Equal(t, problem.KindMistake, kindOf(t, err))
			require.ErrorContains(t, err, rule)
			require.Empty(t, r.entries(store.RolePrefix))
		}
		r.mustCreate(nil)
		_, err := r.engine.Confirm(t.Context(), r.storage, "role", Confirmation{Password: "Test-only.1\n"})
		require.Equal(t, problem.KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "ends with a line break")
		r.requireState(credential.StateActive, 1, 0)
	})
}

// It gets a new version: a reader must never see the version go back.
func TestOlderVersionCanBeConfirmed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		first := r.read().Password.Value
		r.mustRotate()
		second := r.read().Password.Value
		r.mustRotate()
		report := r.mustConfirm(Confirmation{Version: 1})
		require.Equal(t, "Version 1 counts as in force because you say so, and is now version 4, because versions never go back. The remote system last confirmed version 3.", report.Warning)
		r.requireState(credential.StateAssumed, 4, 0)
		require.Equal(t, first, r.read().Password.Value)
		r.mustConfirm(Confirmation{Version: 1}) // repeated
		r.requireState(credential.StateAssumed, 4, 0)

		require.Contains(t, r.confirmFails(Confirmation{Version: 2, Discard: true}), "not waiting to take effect")
		require.Contains(t, r.mustConfirm(Confirmation{Password: second}).Warning, "now version 5")
		r.requireState(credential.StateAssumed, 5, 0)
		require.Contains(t, r.confirmFails(Confirmation{Version: 1}), "cannot be confirmed, because Vault no longer has it")
		require.Contains(t, r.confirmFails(Confirmation{Version: 77}), "cannot be confirmed, because it does not exist")
		require.Contains(t, r.confirmFails(Confirmation{Version: 77, Discard: true}), "cannot be discarded, because it does not exist")
		require.Contains(t, r.confirmFails(Confirmation{Version: 5, Discard: true}), "version=N")
		r.mustRotate()
		r.requireState(credential.StateActive, 6, 0)
	})
}

func TestConfirmationDoesNotStopQueuedPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createQueued(nil)
		settles := r.engine.Now().Add(settleAfter)
		require.Contains(t, r.confirmFails(Confirmation{Version: 2, Discard: true}), "counts as in force at "+explain.Time(settles))
		first := r.role().Record.Current.Value
		for _, c := range []Confirmation{{Version: 1}, {Password: first}} {
			r.mustConfirm(c)
			r.requireState(credential.StateAccepted, 1, 2)
		}
		r.mustConfirm(Confirmation{Password: "set elsewhere"})
		r.requireState(credential.StateAccepted, 3, 2)
		calls := r.remote.changeCount()
		r.mustRotate()
		require.False(t, r.engine.Now().Before(settles), "not before the queued one is in force")
		require.Equal(t, calls+1, r.remote.changeCount())
		r.requireState(credential.StateAccepted, 5, 4) // 2 came into force after 3

		advance(settleAfter)
		r.requireState(credential.StateAssumed, 6, 0)
		r.mustConfirm(Confirmation{Version: 4, Discard: true}) // the queued job failed silently
		r.requireState(credential.StateAssumed, 7, 0)
		advance(time.Hour)
		r.requireState(credential.StateAssumed, 7, 0)
	})
}

func TestConfirmedQueuedPasswordSettlesOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createQueued(func(in *NewRole) { in.Options.RotationPeriod = 3600 })
		queued := r.engine.Now()
		advance(10 * time.Second)
		r.mustConfirm(Confirmation{Version: 2})
		r.requireState(credential.StateAssumed, 2, 0)
		due := r.role().Due
		calls := r.remote.changeCount()
		r.mustRotate()
		require.Equal(t, calls+1, r.remote.changeCount())
		require.False(t, r.engine.Now().Before(queued.Add(settleAfter)), "a confirmation does not empty the queue")
		require.Equal(t, due, r.role().Due)
		r.requireState(credential.StateAccepted, 2, 3)
		advance(time.Minute)
		r.requireState(credential.StateAssumed, 3, 0)
	})
}

// Without a restart and a confirmation, the number of staged passwords is limited.
func TestTooManyStagedPasswordsNeedConfirmation(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(needsRestart)
		var err error
		for range 2 * credential.MaxCandidates {
			if _, err = r.rotate(); err != nil {
				break
			}
		}
		require.Equal(t, problem.KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "or password=… if it is none of them")
		r.mustConfirm(Confirmation{Version: 1})
		r.mustRotate()
		require.Equal(t, credential.StateRestartRequired, r.read().State)
	})
}

// The number of passwords with an unknown outcome is limited: an operator has to say which one works.
func TestTooManyUncertainPasswordsNeedOperator(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		var err error
		r.remote.fail(unknown)
		for n := range 3 * credential.MaxCandidates {
			if _, err = r.setPassword(fmt.Sprintf("%s%d", chosen, n)); err != nil {
				break
			}
			advance(3 * time.Minute)
		}
		require.Equal(t, problem.KindMistake, kindOf(t, err))
		r.remote.fail(weakPassword)
		advance(3 * time.Hour)
		require.Nil(t, r.role().Record.Next)
		calls := r.remote.changeCount()
		status := r.status()
		require.Zero(t, status.NextAttempt)
		require.NotContains(t, status.Advice, "Wait for the next attempt")
		advance(day)
		require.Equal(t, calls, r.remote.changeCount())
		r.mustConfirm(Confirmation{Password: r.remote.password("login")}) // found in history
		r.remote.succeed()
		advance(time.Hour)
		r.mustRotate()
		r.requireState(credential.StateActive, r.version(), 0)
	})
}

func TestConfirmationNamesServersOfRole(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r *rig) {
		r.createServers()
		r.mustRotate()
		for _, c := range []Confirmation{{Version: 2, Servers: []string{"x"}}, {Version: 9, Servers: []string{"a"}}} {
			r.confirmFails(c)
		}
		r.mustConfirm(Confirmation{Version: 2, Servers: slices.Clone(r.remote.parts)})
		r.requireState(credential.StateAssumed, 2, 0)
	})
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		_, err := r.confirm(Confirmation{Version: 1, Servers: []string{"a"}})
		require.ErrorContains(t, err, "one account")
	})
}

func TestPresentPasswordCanBeConfirmedWhileServersDiffer(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r *rig) {
		r.createServers()
		r.remote.fail(oneServerBusy)
		r.mustRotate()
		r.mustConfirm(Confirmation{Version: 1})
		r.requireState(credential.StateRestartRequired, 1, 2)
		r.mustConfirm(Confirmation{Password: r.role().Record.Current.Value})
		r.requireState(credential.StateRestartRequired, 1, 2)
		r.confirmFails(Confirmation{Version: 2})
	})
}

// A confirmation that no login checks leaves the next login planned.
func TestForcedConfirmationIsProvedInTime(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.proves()
		r.mustCreate(func(in *NewRole) {
			proved(&in.Options)
			in.Options.VerifyPeriod = 3600
		})
		r.mustConfirm(Confirmation{Password: "setoutside1", Force: true})
		require.Equal(t, credential.StateAssumed, r.read().State)
		r.remote.setPassword("login", "setoutside1")
		advance(2 * time.Hour)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}
