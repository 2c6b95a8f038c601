package rotation

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestARefusedCredentialPausesTheConnectionForAllItsRoles(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		r.remote.refuseCredential()
		checks := r.remote.checked()
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		for range 10 {
			_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
			require.Equal(t, KindBusy, kindOf(t, err))
		}
		require.Equal(t, 3, r.remote.count(), "two first passwords and one failure")
		require.Equal(t, checks+1, r.remote.checked())
		require.Len(t, r.log.lines("connection paused"), 1, "the log says so once")

		r.restart() // the pause is stored
		_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.Equal(t, KindBusy, kindOf(t, err))
		require.Equal(t, 3, r.remote.count())
		after(5 * time.Minute)
		require.Equal(t, checks+1, r.remote.checked(), "the first probe comes after a lock of five minutes would be over")

		r.remote.mu.Lock()
		r.remote.check = nil
		r.remote.mu.Unlock()
		r.remote.set(nil)
		after(10 * time.Minute)
		require.Equal(t, checks+2, r.remote.checked(), "a single probe opens it")
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value, "and the role that waited goes on")
		require.Equal(t, 2, r.read().Password.Version)
	})
}

func TestADeniedRoleDoesNotPauseAConnectionThatWorks(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Denied, Reason: "not allowed", Code: "1006"}, false))
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		r.remote.set(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
	})
}

func TestAThrottledConnectionLetsItsOtherRolesWait(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 10 * time.Minute}, false))
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		r.remote.set(nil)
		for range 3 {
			_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
			require.Equal(t, KindBusy, kindOf(t, err), "a request that did nothing does not say that it did")
			require.ErrorContains(t, err, "asked this connection to wait")
		}
		require.Equal(t, 3, r.remote.count())
		after(15 * time.Minute)
		require.Equal(t, 5, r.remote.count(), "both go on by themselves")
		require.Equal(t, 2, r.read().Password.Version)
		require.Nil(t, r.role().Retry.Last)
	})
}

func TestAShortThrottleIsWaitedFor(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 10 * time.Second}, false))
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		r.remote.set(nil)
		report, err := r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.NoError(t, err)
		require.Equal(t, 2, report.View.Password.Version)
		require.Equal(t, r.remote.holds("other"), report.View.Password.Value)
	})
}

func TestTheSameCredentialWrittenAgainOpensAPausedConnectionIfItWorks(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.refuseCredential()
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		again := Patch{Settings: provider.Settings{"key": "key"}}
		require.Error(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", again))
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{MaxInFlight: ptr(7)}))
		after(10 * time.Second)
		_, err = r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err), "another field does not open it")
		r.remote.check = nil
		r.remote.set(nil)
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", again))
		after(time.Second)
		require.Equal(t, 2, r.read().Password.Version, "the role that waited goes on at once")
		r.restart()
		_, err = r.rotate()
		require.NoError(t, err)
	})
}

func TestAnotherCredentialEndsTheBackoffThatTheOldOneBegan(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Denied, Reason: "not allowed", Code: "1006"}, false))
		_, err := r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err))
		r.remote.set(nil)
		_, err = r.rotate()
		require.Equal(t, KindUnreachable, kindOf(t, err), "in the backoff, the same answer")
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "better"}}))
		after(time.Second)
		require.Equal(t, 2, r.read().Password.Version)
	})
}

func TestADeadConnectionDelaysNoOther(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "dead", Patch{
			Provider: ptr("remote"), Address: ptr("https://dead.example"), AllowedRoles: &[]string{"*"}, MaxInFlight: ptr(2),
			Settings: provider.Settings{"key": "key"},
		}))
		r.mustCreate(nil)
		for i := range 100 {
			name := fmt.Sprintf("dead%d", i)
			r.mustCreate(func(in *NewRole) {
				in.Name, in.Connection, in.Target = name, "dead", provider.Settings{"login": name}
			})
		}
		r.remote.set(func(ctx context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if c.Target.Username != "login" {
				<-ctx.Done() // hangs until its time limit
			}
			return unknown, false
		})
		for i := range 100 {
			go func() { _, _ = r.engine.Rotate(t.Context(), r.storage, fmt.Sprintf("dead%d", i), 0) }()
		}
		after(10 * time.Minute)
		calls := r.remote.count()
		_, err := r.rotate()
		require.NoError(t, err)
		after(8 * time.Second)
		own := 0
		for _, c := range r.remote.calls[calls:] {
			if c.Target.Username == "login" {
				own++
			}
		}
		require.Equal(t, 2, own, "its first retry comes in time")
	})
}

func TestAHoldEndsWithTheCredentialItWasFor(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "login locked", RetryAfter: 30 * time.Minute}, false))
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		r.remote.set(nil)
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "another"}}))
		after(time.Second)
		require.Equal(t, 2, r.read().Password.Version)
	})
}

func TestAConnectionThatOpenedStaysOpenOverARestart(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.refuseCredential()
		_, err := r.rotate()
		require.Error(t, err)
		checks := r.remote.checked()
		after(9 * time.Minute)
		require.Equal(t, checks+1, r.remote.checked())
		after(9 * time.Minute)
		require.Equal(t, checks+1, r.remote.checked(), "the distances grow")
		r.remote.mu.Lock()
		r.remote.check = nil
		r.remote.mu.Unlock()
		r.remote.set(nil)
		after(time.Hour)
		require.Equal(t, 2, r.read().Password.Version)
		left, err := r.storage.List(t.Context(), pausePrefix)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

func TestAPauseThatAnotherNodeStoredIsHeeded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		pause := &Pause{Revision: 1, Since: time.Now(), Reason: "refused", NextProbe: time.Now().Add(time.Hour)}
		require.NoError(t, store{r.storage}.putPause(t.Context(), "conn", pause))
		r.engine.Invalidate(pausePrefix + "conn")
		_, err := r.rotate()
		require.Equal(t, KindBusy, kindOf(t, err))
		pause.Revision = 0 // of an older credential
		require.NoError(t, store{r.storage}.putPause(t.Context(), "conn", pause))
		r.engine.Invalidate(pausePrefix + "conn")
		_, err = r.rotate()
		require.NoError(t, err)
	})
}

func TestANodeThatMustNotWriteLeavesTheWorkToOthers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(unknown, true))
		_, err := r.rotate()
		require.NoError(t, err)
		r.readOnly.Store(true)
		calls := r.remote.count()
		after(time.Hour)
		r.restart()
		after(time.Hour)
		require.Equal(t, calls, r.remote.count())
		r.readOnly.Store(false)
		r.remote.set(nil)
		r.engine.Wake() // Vault's heartbeat finds what the timer does not know
		after(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

func TestRolesThatWaitBehindAHoldGoOnWithAnotherCredential(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "login locked", RetryAfter: 30 * time.Minute}, false))
		_, err := r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.Equal(t, KindBusy, kindOf(t, err))
		_, err = r.rotate()
		require.ErrorContains(t, err, "asked this connection to wait")
		r.remote.set(nil)
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{Settings: provider.Settings{"key": "another"}}))
		after(time.Second)
		require.Equal(t, 2, r.read().Password.Version)
	})
}

func TestMissingRightsOfManyRolesDoNotPauseAConnectionThatWorks(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		for i := range 8 {
			name := fmt.Sprintf("role%d", i)
			r.mustCreate(func(in *NewRole) { in.Name, in.Target = name, provider.Settings{"login": name} })
		}
		r.remote.set(func(context.Context, int, provider.Change) (provider.Result, bool) {
			time.Sleep(time.Second)
			return provider.Result{Outcome: provider.Denied, Scope: provider.ScopeTarget, Code: "403", Reason: "no permission"}, false
		})
		done := make(chan error, 8)
		for i := range cap(done) {
			go func() {
				_, err := r.engine.Rotate(t.Context(), r.storage, fmt.Sprintf("role%d", i), 0)
				done <- err
			}()
		}
		for range cap(done) {
			require.Equal(t, KindUnreachable, kindOf(t, <-done))
		}
		left, err := r.storage.List(t.Context(), pausePrefix)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

func TestAConnectionMadeAgainIsAnotherOne(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "login locked", RetryAfter: 30 * time.Minute}, false))
		_, err := r.rotate()
		require.Error(t, err)
		require.NoError(t, r.engine.Delete(t.Context(), r.storage, "role", false))
		require.NoError(t, r.engine.DeleteConnection(t.Context(), r.storage, "conn"))
		r.remote.set(nil)
		require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{
			Provider: ptr("remote"), Address: ptr("https://another.example"), AllowedRoles: &[]string{"*"}, Settings: provider.Settings{"key": "key"},
		}))
		r.mustCreate(nil)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}
