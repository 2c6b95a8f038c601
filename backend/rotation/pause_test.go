package rotation

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

// requireNotPaused asserts that no pause is stored, and none is reported.
func (r *rig) requireNotPaused() {
	r.Helper()
	require.False(r, r.exists(store.PausePrefix+"conn"), "storage has no pause")
	require.Empty(r, r.engine.Health().Paused, "health reports no pause")
}

func TestRefusedCredentialPausesConnection(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.createRoles("other")
		r.remote.refuseCredential()
		checks := r.remote.checkCount()
		r.rotateFails(problem.KindUnreachable)
		for range 10 {
			require.Equal(t, problem.KindBusy, kindOf(t, r.rotateOther()))
		}
		require.Equal(t, 3, r.remote.changeCount(), "two first passwords and one denied change")
		require.Equal(t, checks+1, r.remote.checkCount())
		require.Len(t, r.log.lines("connection paused"), 1, "it is logged once")

		r.restart() // the pause is stored
		require.Equal(t, problem.KindBusy, kindOf(t, r.rotateOther()))
		require.Equal(t, 3, r.remote.changeCount())
		advance(5 * time.Minute)
		require.Equal(t, checks+1, r.remote.checkCount(), "the first probe comes when a lock of five minutes would have ended")

		r.remote.acceptCredential()
		advance(10 * time.Minute)
		require.Equal(t, checks+2, r.remote.checkCount(), "one probe ends the pause")
		r.requireVersion("role", 2)
	})
}

// A denial for one account does not put the credential in doubt. A check that does not get through proves nothing about the
// credential, and is reported as such.
func TestMissingRightsDoNotCheckCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		checks := r.remote.checkCount()
		r.remote.fail(provider.Result{Outcome: provider.Denied, Scope: provider.ScopeTarget, Reason: "no rights"})
		r.rotateFails(problem.KindUnreachable)
		require.Equal(t, checks, r.remote.checkCount())
		r.remote.fail(provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Reason: "wrong key"})
		r.remote.answerCheck(provider.Result{Outcome: provider.Unknown, Reason: "a proxy's page"})
		advance(time.Hour)
		require.Contains(t, r.status().Reason, "did not get through (a proxy's page)")
	})
}

func TestDenialWithWorkingCredentialConcernsRole(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		checks := r.remote.checkCount()
		r.remote.fail(provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Reason: "not allowed"})
		message := r.rotateFails(problem.KindUnreachable)
		require.Contains(t, message, "The credential of config/conn works, so only this account is affected")
		require.Equal(t, checks+1, r.remote.checkCount())
		require.Equal(t, provider.ScopeTarget, r.role().Retry.Last.Scope)
		require.Contains(t, r.status().Advice, "The credential of config/conn works")
	})
}

func TestMissingRightsDoNotPauseConnection(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		roles := roleNames(8)
		r.createRoles(roles...)
		r.remote.delay(time.Second, provider.Result{Outcome: provider.Denied, Scope: provider.ScopeTarget, Code: "403", Reason: "no permission"})
		for _, err := range r.rotateAll(roles...) {
			require.Equal(t, problem.KindUnreachable, kindOf(t, err))
		}
		r.requireNotPaused()
	})
}

// The unknown outcome of what was sent matters more than the pause.
func TestPausedRoleReportsUncertainPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.createRoles("other")
		r.remote.answer(unknown, true)
		r.mustRotate()
		r.pauseConn()
		calls := r.remote.changeCount()
		report := r.mustRotate()
		require.Equal(t, credential.StateUncertain, report.View.State)
		require.Contains(t, report.Warning, "its outcome is unknown")
		require.Equal(t, calls, r.remote.changeCount())
	})
}

func TestPauseAdviceCoversStagedPassword(t *testing.T) {
	const write = "Write a working credential to config/conn; the current one is tried again at "
	for advice, answer := range map[string]provider.Result{
		"Restart the remote system and try the new password": needsRestart,
		"Write a working":            queued,
		"Write a working credential": applied,
	} {
		t.Run(advice, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.setSettleAfter(settleAfter)
				r.mustCreate(nil)
				r.createRoles("other")
				r.remote.answer(answer, true)
				r.mustRotate()
				r.pauseConn()
				status := r.status()
				require.Contains(t, status.Reason, `The connection "conn" has been paused since`)
				require.True(t, strings.HasPrefix(status.Advice, advice), status.Advice)
				require.Contains(t, status.Advice, write)
			})
		})
	}
}

func TestPauseStoredByOtherNodeApplies(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		pause := &connection.Pause{Revision: 1, Since: time.Now(), Reason: "refused", NextProbe: time.Now().Add(time.Hour)}
		require.NoError(t, r.store().PutPause(t.Context(), "conn", pause))
		r.engine.Invalidate(store.PausePrefix + "conn")
		r.rotateFails(problem.KindBusy)
		pause.Revision = 0 // of an older credential
		require.NoError(t, r.store().PutPause(t.Context(), "conn", pause))
		r.engine.Invalidate(store.PausePrefix + "conn")
		r.mustRotate()
	})
}

func TestDeadConnectionDelaysNoOther(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		dead := newConn("key", func(o *connection.Options) { o.Address, o.MaxInFlight = "https://dead.example", 2 })
		require.NoError(t, r.engine.Connections.Write(t.Context(), r.storage, "dead", dead))
		r.mustCreate(nil)
		roles := roleNames(100)
		for _, name := range roles {
			r.createAs(name, func(in *NewRole) { in.Connection = "dead" })
		}
		r.remote.onChange(func(ctx context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if c.Target.Username != "login" {
				<-ctx.Done() // hangs until its deadline
			}
			return unknown, false
		})
		go r.rotateAll(roles...)
		advance(10 * time.Minute)
		calls := r.remote.changeCount()
		r.mustRotate()
		advance(8 * time.Second)
		own := 0
		for _, c := range r.remote.changesSince(calls) {
			if c.Target.Username == "login" {
				own++
			}
		}
		require.Equal(t, 2, own, "its first retry is in time")
	})
}

// Whoever may set a password, but not read it, does not find out the one in force by trying while nothing can be sent: the
// first wrong guess waits to be sent, and the next ones are not compared.
func TestSetPasswordRevealsNothingDuringPause(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		password := r.read().Password.Value
		r.createRoles("other")
		r.pauseConn()
		for n := range 3 {
			_, err := r.setPassword(fmt.Sprintf("%s.%d", chosen, n))
			require.Error(t, err)
		}
		_, err := r.setPassword(password)
		require.Error(t, err, "it is answered like the others")
		require.Equal(t, password, r.read().Password.Value)
	})
}
