package rotation

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

// createUncertain creates the role "role" with a change whose outcome is unknown. Its request can take effect for only five
// seconds.
func (r *rig) createUncertain() {
	r.Helper()
	r.mustWriteConn(connection.Patch{Change: func(o *connection.Options) { o.RequestTimeout = 5 }})
	r.mustCreate(nil)
	r.remote.fail(unknown)
	r.mustRotate()
	r.remote.succeed()
}

func TestAbandonedRequestLetsChangeFinish(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.delay(10*time.Second, applied)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		report, err := r.engine.Rotate(ctx, r.storage, "role", 0)
		require.NoError(t, err)
		require.NotEmpty(t, report.Warning)
		advance(10 * time.Second)
		require.Equal(t, r.remote.password("login"), r.read().Password.Value)
		require.Equal(t, 2, r.version())
		require.Equal(t, 2, r.remote.changeCount(), "it was sent once")
	})
}

func TestRequestWithoutTurnChangesNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.delay(20*time.Second, applied)
		go func() { _, _ = r.rotate() }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := r.engine.SetPassword(ctx, r.storage, "role", chosen)
		require.Equal(t, problem.KindBusy, kindOf(t, err))
		advance(10 * time.Minute)
		require.NotEqual(t, chosen, r.remote.password("login"), "the request was told so")
		require.Equal(t, 2, r.remote.changeCount())
	})
}

// Vault repeats a request during which the plugin ended, and its client one during which Vault ended.
func TestRepeatedRequestAfterCrashResendsPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true }) // otherwise the engine might resend it first
		defer r.remote.blockChange(2, applied).release()
		go func() { _, _ = r.rotateVersion(1) }()
		synctest.Wait()
		r.restart()
		report, err := r.rotateVersion(1)
		require.NoError(t, err)
		require.Equal(t, 2, report.View.Password.Version)
		require.Equal(t, r.remote.changes[1].NewPassword, r.remote.changes[2].NewPassword)
		require.Equal(t, credential.StateActive, report.View.State)
		r.requireKnown()
	})
}

func TestRotationOfVersionHappensOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		for range 3 { // the client lost the answer and repeats the request
			report, err := r.rotateVersion(1)
			require.NoError(t, err)
			require.Equal(t, 2, report.View.Password.Version)
		}
		_, err := r.rotateVersion(3)
		require.Equal(t, problem.KindMistake, kindOf(t, err), "that version does not exist yet")
		require.Equal(t, 2, r.remote.changeCount())
	})
}

// A request waits for the distance between two different passwords, if that is short enough.
func TestRequestWaitsForShortDistance(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createUncertain()
		report, err := r.setPassword(chosen)
		require.NoError(t, err)
		require.Equal(t, chosen, report.View.Password.Value)
		require.Equal(t, chosen, r.remote.password("login"))
	})
}

// A request that has to wait is answered with its own state, not with the refusal of an earlier one.
func TestWaitingRequestDoesNotReportOlderRefusal(t *testing.T) {
	for name, row := range map[string]struct {
		staged  bool
		refusal provider.Result
		request func(r *rig) string
		verify  func(r *rig)
	}{
		"a rotation after a refused account": {
			staged: true, refusal: noAccount,
			request: func(r *rig) string { return r.rotateFails(problem.KindBusy) },
			verify:  func(r *rig) { r.requireState(credential.StateRestartRequired, 1, 3) },
		},
		"a given password after a refused one": {
			refusal: weakPassword,
			request: func(r *rig) string { return r.setPasswordFails(problem.KindBusy, chosen) },
			verify:  func(r *rig) { require.Equal(r, chosen, r.remote.password("login")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(nil)
				r.createRoles("other")
				if row.staged {
					r.remote.fail(needsRestart)
					r.mustRotate()
				}
				r.remote.fail(row.refusal)
				require.Contains(t, r.setPasswordFails(problem.KindMistake, chosen), row.refusal.Reason)
				r.remote.fail(throttled(10 * time.Minute))
				require.Error(t, r.rotateOther())
				r.remote.succeed()
				if row.staged {
					r.remote.fail(needsRestart)
				}
				require.NotContains(t, row.request(r), row.refusal.Reason)
				advance(time.Hour)
				row.verify(r)
			})
		})
	}
}

// The engine's timer may fire just before the request that waits for the same time.
func TestRotationSentByEngineAnswersRequest(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.queueChanges()
		r.mustCreate(nil)
		r.remote.onChange(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == 2 {
				return weakPassword, false // replaced at once
			}
			return queued, true
		})
		report := r.mustRotate()
		require.Equal(t, credential.StateAccepted, report.View.State)
		require.Equal(t, 3, r.remote.changeCount())
		r.requireState(credential.StateAccepted, 1, 2)
	})
}

// The engine may send the password that a request waits to send.
func TestRefusalMetByEngineAnswersRequest(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(throttled(10 * time.Second))
		r.rotateFails(problem.KindBusy)
		advance(time.Until(r.role().Retry.NextAttempt) - time.Second)
		r.remote.fail(noAccount)
		advance(5 * time.Second) // the engine has sent it
		_, err := r.follow(t.Context(), change{value: "a replaced password"})
		require.Equal(t, problem.KindMistake, kindOf(t, err))
		require.ErrorContains(t, err, "no such account")
	})
}

// The engine may be sending the very password that a request waits to send.
func TestWaitingRequestReportsPendingChange(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		unlock := r.engine.locks.Try("role") // held by a worker while the remote system hangs
		defer unlock()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		report, err := r.follow(over, change{})
		require.NoError(t, err, "Vault's client would repeat a busy request")
		require.Contains(t, report.Warning, "still in progress")
	})
}

func TestReplacedRequestOfBusyRoleReportsBusy(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(busy)
		r.rotateFails(problem.KindBusy)
		for _, c := range []change{
			{value: "a replaced password", version: 9},
			{value: "a replaced password", version: 2, given: "a replaced password"},
		} {
			_, err := r.follow(t.Context(), c)
			require.Equal(t, problem.KindBusy, kindOf(t, err))
			require.ErrorContains(t, err, "replaced this one, whose password was not sent")
		}
	})
}

func TestWithdrawnRequestReportsBusy(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.createRoles("other")
		r.remote.fail(throttled(20 * time.Second))
		require.Error(t, r.rotateOther())
		r.remote.succeed()
		waiting := make(chan error, 1)
		go func() { _, err := r.rotate(); waiting <- err }()
		synctest.Wait()
		r.mustConfirm(Confirmation{Version: 2, Discard: true})
		require.Equal(t, problem.KindBusy, kindOf(t, <-waiting))
		require.Equal(t, 1, r.version())
	})
}

// An operator who has fixed the account does not get the refusal of a minute ago.
func TestRequestRetriesRefusedAccount(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(noAccount)
		for range 3 {
			r.rotateFails(problem.KindMistake)
		}
		require.Equal(t, 4, r.remote.changeCount())
		r.remote.succeed()
		r.mustRotate()
		r.requireState(credential.StateActive, 2, 0)
	})
}

func TestRepeatedRefusalsDoNotLengthenBackoff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		for _, refusal := range []provider.Result{noAccount, weakPassword} {
			r.remote.fail(refusal)
			for range 10 {
				r.setPasswordFails(problem.KindMistake, chosen)
			}
		}
		require.Equal(t, 21, r.remote.changeCount())
		r.remote.fail(busy)
		r.rotateFails(problem.KindBusy)
		require.WithinDuration(t, r.engine.Now(), r.role().Retry.NextAttempt, time.Minute)
	})
}

func TestNotChangedYetIsReportedOnlyWhilePending(t *testing.T) {
	for name, row := range map[string]struct {
		staged bool
		answer provider.Result
		text   string
	}{
		"it waits":                        {answer: busy, text: "not been changed yet: busy"},
		"it waits behind a staged one":    {staged: true, answer: busy, text: "not been changed yet: busy"},
		"it is dropped":                   {answer: noAccount, text: "not changed: no such account"},
		"it is dropped over a staged one": {staged: true, answer: noAccount, text: "not changed: no such account"},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(nil)
				if row.staged {
					r.remote.fail(needsRestart)
					r.mustRotate()
				}
				r.remote.fail(row.answer)
				_, err := r.rotate()
				require.ErrorContains(t, err, row.text)
			})
		})
	}
}

// A waiting request has stored its password, which the engine may be sending. An error would say that nothing was changed.
func TestWaitingRequestIsNotFailedByUnreadableRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		unlock := r.engine.locks.Try("role") // held by a worker
		require.NotNil(t, unlock)
		defer unlock()
		r.storage.fail(opGet, roleKey, "gone")
		waiting, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		report, err := r.follow(waiting, change{value: "x", version: 2})
		require.NoError(t, err)
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.NotEmpty(t, report.Warning)
	})
}

// A slow check of the credential delays other requests and fails none of them.
func TestRequestWaitsForSlowCheckOfCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createRoles("refused", "other")
		r.remote.onChange(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if c.Target.Username == "refused" {
				return refusedCredential, false
			}
			return applied, true
		})
		r.remote.onCheck(func() provider.Result {
			r.remote.mu.Unlock() // held by Check
			time.Sleep(10 * time.Second)
			r.remote.mu.Lock()
			return applied
		})
		refused := make(chan error, 1)
		go func() { refused <- r.rotateAll("refused")[0] }()
		synctest.Wait()
		require.NoError(t, r.rotateOther())
		r.requireVersion("other", 2)
		require.Error(t, <-refused)
	})
}
