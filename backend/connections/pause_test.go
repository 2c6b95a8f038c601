package connections

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestFailedCheckPausesConnection(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		used := r.remote.used("key")
		pause := r.pause()
		require.Equal(t, used+2, r.remote.used("key"), "the change and one check")
		require.Equal(t, &connection.Pause{
			Schema: store.Schema, Revision: 1, Since: r.c.Now(), Code: "11003", Reason: "wrong key", NextProbe: r.c.Now().Add(6 * time.Minute),
		}, pause, "the remote system may lock a credential for five minutes")
		require.Equal(t, 1, r.logged("connection paused"))

		require.False(t, r.c.Denied(t.Context(), r.store(), r.handle(), r.c.Now()), "another refusal of a call that began before")
		_, err := r.change(r.handle())
		requireKind(t, problem.KindBusy, err)
		require.ErrorContains(t, err, "has been paused since")
		r.restart() // the pause is stored
		_, err = r.change(r.handle())
		requireKind(t, problem.KindBusy, err)
		require.Equal(t, used+2, r.remote.used("key"))
		require.Equal(t, 1, r.logged("connection paused"))
	})
}

// A check that does not get through proves nothing about the credential, and is reported as such.
func TestCheckThatDoesNotGetThroughPausesBriefly(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.answer("key", unreachable)
		require.False(t, r.c.Denied(t.Context(), r.store(), r.handle(), r.c.Now()))
		pause := r.requirePaused()
		require.Contains(t, pause.Reason, "did not get through (no route)")
		require.Equal(t, 30*time.Second, pause.NextProbe.Sub(pause.Since))
	})
}

// The refusal concerns one role, which may lack a permission.
func TestWorkingCredentialIsNotPaused(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h, used := r.handle(), r.remote.used("key")
		began := r.c.Now().Add(-1)
		require.True(t, r.c.Denied(t.Context(), r.store(), h, began))
		require.True(t, r.c.Denied(t.Context(), r.store(), h, began), "it began before the check, too")
		require.Equal(t, used+1, r.remote.used("key"))
		require.True(t, r.c.Denied(t.Context(), r.store(), h, r.c.Now()))
		require.Equal(t, used+2, r.remote.used("key"))
		r.requireNotPaused()
		works, err := r.change(h)
		require.NoError(t, err)
		require.True(t, works)
	})
}

func TestRefusedCallsShareOneCheck(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.answer("key", denied)
		h, used := r.handle(), r.remote.used("key")
		release := r.remote.blockCalls("key")
		defer release()
		var calls []<-chan error
		for range connection.DefaultMaxInFlight {
			calls = append(calls, inBackground(func() error { _, err := r.change(h); return err }))
		}
		r.remote.onCall(func(string) { time.Sleep(time.Second) }) // the check
		release()
		synctest.Wait()
		_, err := r.change(h)
		requireKind(t, problem.KindBusy, err)
		require.ErrorContains(t, err, "is being checked (connection \"conn\"). Try again later")
		for _, done := range calls {
			require.NoError(t, <-done)
		}
		require.Equal(t, used+len(calls)+1, r.remote.used("key"))
		r.requirePaused()
		require.Equal(t, 1, r.logged("connection paused"))
	})
}

// A refusal of a credential that has been replaced meanwhile says nothing about the one in use.
func TestRefusalOfReplacedCredentialPausesNothing(t *testing.T) {
	for refusals, name := range map[int]string{0: "a check would follow", 2: "another refusal would lock it"} {
		t.Run(name, func(t *testing.T) {
			withRemote(t, &remote{refusals: refusals}, func(t *testing.T, r *rig) {
				r.remote.answer("key", denied)
				h := r.handle()
				release := r.remote.blockCalls("key")
				defer release()
				done := inBackground(func() error { _, err := r.change(h); return err })
				r.mustWrite(unchecked("new"))
				used := r.remote.used("key")
				release()
				require.NoError(t, <-done)
				require.Equal(t, used, r.remote.used("key"), "the old credential is not checked")
				r.requireNotPaused()
				err := r.c.Refuse(t.Context(), r.store(), h, &lockout.SpentError{})
				requireKind(t, problem.KindBusy, err)
				r.requireNotPaused()
				require.Zero(t, r.logged("connection paused"))
			})
		})
	}
}

// A pause of a connection that is deleted meanwhile could never be ended.
func TestRefusalOfDeletedConnectionPausesNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.answer("key", denied)
		h := r.handle()
		require.NoError(t, r.delete())
		used := r.remote.used("key")
		require.False(t, r.c.Denied(t.Context(), r.store(), h, r.c.Now()))
		r.requireGone()
		require.Equal(t, used, r.remote.used("key"), "the deleted credential is not checked")
	})
}

// A connection is written with the same credential during a change: a refusal pauses it.
func TestRefusalPausesConnectionWrittenMeanwhile(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.answer("key", denied)
		old := r.handle()
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 2 }})
		require.NotSame(t, old, r.handle())
		works, err := r.change(old)
		require.NoError(t, err)
		require.False(t, works)
		require.Equal(t, old.Paused(), r.requirePaused())
	})
}

// One more refusal could lock the credential: a pause takes the place of the check.
func TestSpentCredentialIsPausedUnchecked(t *testing.T) {
	withRemote(t, &remote{refusals: 2}, func(t *testing.T, r *rig) {
		used := r.remote.used("key")
		pause := r.pause()
		require.Equal(t, used+1, r.remote.used("key"))
		require.Contains(t, pause.Reason, "locks it after 2")
		require.Equal(t, 6*time.Minute, pause.NextProbe.Sub(pause.Since), "the remote system has forgotten the refusal by then")

		require.NoError(t, r.storage.Delete(t.Context(), store.PausePrefix+"conn"))
		r.restart() // the pause was not stored, and the attempts are
		_, err := r.change(r.handle())
		requireKind(t, problem.KindBusy, err)
		require.ErrorContains(t, err, "locks it after 2")
		r.requirePaused()
		require.Equal(t, used+1, r.remote.used("key"))
	})
}

func TestErrorsOfCallsAreForUsers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		other := errors.New("storage is gone")
		for err, want := range map[error]string{
			problem.ErrFull:         problem.ErrFull.Error(),
			problem.ErrGivenUp:      problem.ErrGivenUp.Error(),
			connection.ErrThrottled: "throttled requests",
			connection.ErrChecking:  "is being checked",
			&connection.PausedError{Connection: "conn", Pause: &connection.Pause{Reason: "wrong key"}}: "wrong key. Write a working credential",
		} {
			got := r.c.Refuse(t.Context(), r.store(), r.handle(), err)
			requireKind(t, problem.KindBusy, got)
			require.ErrorContains(t, got, want)
		}
		require.Equal(t, other, r.c.Refuse(t.Context(), r.store(), r.handle(), other))
		r.requireNotPaused()
	})
}

// The check of the next refusal decides.
func TestUnfinishedCheckPausesNothing(t *testing.T) {
	for name, c := range map[string]func(r *rig, cancel func()){
		"storage is in error":       func(r *rig, _ func()) { r.storage.Arm(1, storagetest.Fails, nil) },
		"the attempt is not stored": func(r *rig, _ func()) { r.storage.Arm(3, storagetest.Fails, nil) },
		"the engine stops":          func(r *rig, cancel func()) { r.remote.onCall(func(string) { cancel() }) },
	} {
		t.Run(name, func(t *testing.T) {
			withRemote(t, &remote{refusals: 50}, func(t *testing.T, r *rig) {
				r.restart()
				h := r.handle()
				r.remote.answer("key", denied)
				for range 10 { // a lock may be free as the context ends: chance decides what comes first
					ctx, cancel := context.WithCancel(t.Context())
					c(r, cancel)
					require.False(t, r.c.Denied(ctx, r.store(), h, r.c.Now()))
					cancel()
					r.storage.Heal()
					r.requireNotPaused()
				}
			})
		})
	}
}

// Until the next start, a pause that cannot be stored holds all the same.
func TestUnstoredPauseHolds(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h := r.handle()
		r.remote.answer("key", denied)
		r.remote.onCall(func(string) { r.storage.Arm(1, storagetest.Down, nil) })
		require.False(t, r.c.Denied(t.Context(), r.store(), h, r.c.Now()))
		require.NotNil(t, r.handle().Paused())
		require.Len(t, r.c.Health.Report(time.Now()).Paused, 1)
		require.Equal(t, 1, r.logged("could not store the pause of a connection"))
	})
}
