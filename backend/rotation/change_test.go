package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

var unknown = provider.Result{Outcome: provider.Unknown, Reason: "no answer"}

func TestAnUndisturbedRotationCostsTwoWritesAndOneRead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		synctest.Wait() // what the new connection set going in the background
		r.storage.reset()
		_, err := r.rotate()
		require.NoError(t, err)
		gets, puts, lists, deletes := r.storage.operations()
		require.Equal(t, [4]int{1, 2, 0, 0}, [4]int{gets, puts, lists, deletes}, "reads, writes, lists, deletes of a rotation")

		r.storage.reset()
		r.read()
		gets, puts, lists, deletes = r.storage.operations()
		require.Equal(t, [4]int{1, 0, 0, 0}, [4]int{gets, puts, lists, deletes}, "reads, writes, lists, deletes of a read")
	})
}

func TestAPasswordIsStoredBeforeItIsSent(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			next := r.role().Record.Next
			require.NotNil(t, next)
			require.Equal(t, c.NewPassword, next.Value)
			require.Equal(t, credential.Sending, next.Phase)
			require.False(t, next.SentUntil.IsZero())
			return provider.Result{Outcome: provider.Applied}, true
		})
		_, err := r.rotate()
		require.NoError(t, err)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

func TestNothingIsSentThatCouldNotBeStored(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before, calls := r.read(), r.remote.count()
		r.storage.failing(func(operation, _ string) error {
			if operation == "put" {
				return errors.New("storage is full")
			}
			return nil
		})
		_, err := r.rotate()
		require.ErrorContains(t, err, "storage is full")
		require.Equal(t, calls, r.remote.count())
		r.storage.failing(nil)
		require.Equal(t, before, r.read())
	})
}

func TestAReadOnlyNodeSaysSoWithTheBareError(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.storage.failing(func(operation, _ string) error {
			if operation == "put" { // as it comes over gRPC: a text
				return fmt.Errorf("rpc: %s", logical.ErrReadOnly.Error())
			}
			return nil
		})
		_, err := r.rotate()
		require.Equal(t, logical.ErrReadOnly, err, "Vault compares without unwrapping")
	})
}

func TestARestartResumesWithoutAnyoneAsking(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		hang := make(chan struct{})
		release := sync.OnceFunc(func() { close(hang) })
		defer release()
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == 2 {
				<-hang // it does not heed its context, as a stuck system call would not
				return unknown, true
			}
			return provider.Result{Outcome: provider.Applied}, true
		})
		go func() { _, _ = r.rotate() }()
		synctest.Wait()
		began := time.Now()
		r.engine.Stop()
		require.Less(t, time.Since(began), 2*time.Second, "Vault stops all mounts of a plugin one after the other")
		r.start()
		after(time.Second)
		require.Equal(t, 3, r.remote.count(), "the same password was sent again")
		require.Equal(t, r.remote.calls[1].NewPassword, r.remote.calls[2].NewPassword)
		require.Equal(t, credential.StateActive, r.read().State)
		release()
		synctest.Wait()
		r.held()
	})
}

// What the remote system has done for a process that was ended in the meantime is not known to any reader, also within the
// time that the request had.
func TestAReaderIsToldAtOnceThatTheProcessThatSentAPasswordHasEnded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true }) // nothing goes on by itself
		before := r.read()
		r.remote.set(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
			<-ctx.Done() // the remote system has done it
			return unknown, true
		})
		go func() { _, _ = r.rotate() }()
		synctest.Wait()
		require.Equal(t, before, r.read(), "of a change that goes well a reader sees nothing before its end")
		r.storage.failing(func(operation, _ string) error { // the process ends before it can store that
			if operation == "put" {
				return errors.New("gone")
			}
			return nil
		})
		r.engine.Stop()
		r.storage.failing(nil)
		r.readOnly.Store(true)
		r.start()
		require.Equal(t, before, r.read(), "who is not the one to change it cannot know that nobody does")
		r.readOnly.Store(false)
		r.restart()
		read := r.read()
		require.Equal(t, credential.StateUncertain, read.State)
		require.Equal(t, before.Password, read.Password)
		require.Equal(t, r.remote.holds("login"), read.Next.Value)
	})
}

// Vault repeats a request in whose middle the plugin ended, and so does its client where Vault ended.
func TestARequestThatComesAgainAfterACrashMakesNoOtherPassword(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.Disabled = true }) // else the engine could be first
		hang := make(chan struct{})
		defer close(hang)
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == 2 {
				<-hang
			}
			return provider.Result{Outcome: provider.Applied}, true
		})
		go func() { _, _ = r.engine.Rotate(r.Context(), r.storage, "role", 1) }()
		synctest.Wait()
		r.restart()
		report, err := r.engine.Rotate(r.Context(), r.storage, "role", 1)
		require.NoError(t, err)
		require.Equal(t, 2, report.View.Password.Version)
		require.Equal(t, r.remote.calls[1].NewPassword, r.remote.calls[2].NewPassword)
		require.Equal(t, credential.StateActive, report.View.State)
		r.held()
	})
}

func TestARestartRotatesNothing(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotationPeriod = 3600 })
		before := r.read()
		for range 3 {
			r.restart()
			after(time.Hour / 4)
		}
		require.Equal(t, before, r.read())
		require.Equal(t, 1, r.remote.count())
	})
}

func TestReadersDoNotWaitForAChange(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		before := r.read()
		release := make(chan struct{})
		r.remote.set(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
			select {
			case <-release:
				return provider.Result{Outcome: provider.Applied}, true
			case <-ctx.Done():
				return unknown, false
			}
		})
		done := make(chan error, 1)
		go func() { _, err := r.rotate(); done <- err }()
		synctest.Wait()
		began := time.Now()
		require.Equal(t, before, r.read(), "during a first send within its deadline nothing changes")
		require.Zero(t, time.Since(began))
		close(release)
		require.NoError(t, <-done)
	})
}

func TestARequestThatGoesAwayLeavesItsChangeUnderWay(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
			select {
			case <-time.After(10 * time.Second):
				return provider.Result{Outcome: provider.Applied}, true
			case <-ctx.Done():
				return unknown, false
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		report, err := r.engine.Rotate(ctx, r.storage, "role", 0)
		require.NoError(t, err)
		require.NotEmpty(t, report.Warning)
		after(10 * time.Second)
		require.Equal(t, r.remote.holds("login"), r.read().Password.Value)
		require.Equal(t, 2, r.read().Password.Version)
		require.Equal(t, 2, r.remote.count(), "and in one piece")
	})
}

func TestTwoChangesOfARoleNeverOverlap(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		most := r.remote.countOverlap()
		done := make(chan error, 20)
		for range cap(done) {
			go func() { _, err := r.rotate(); done <- err }()
		}
		for range cap(done) {
			require.NoError(t, <-done)
		}
		require.Equal(t, 1, most())
		require.Equal(t, 21, r.read().Password.Version)
	})
}

func TestWhatWasReadBeforeAChangeIsNotCachedAfterIt(t *testing.T) {
	t.Parallel()
	var c connections
	_, drops := c.cached("conn")
	c.drop("conn") // another node, or another request, writes the connection
	old := &live{Connection: Connection{Name: "conn"}}
	require.Same(t, old, c.keep(old, drops), "it serves the request that read it")
	cached, _ := c.cached("conn")
	require.Nil(t, cached, "and no other")
}

func TestARequestWhoseTurnDoesNotComeSaysThatNothingWasChanged(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
			select {
			case <-time.After(20 * time.Second): // of the bubble
			case <-ctx.Done():
			}
			return provider.Result{Outcome: provider.Applied}, true
		})
		go func() { _, _ = r.engine.Rotate(t.Context(), r.storage, "role", 0) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := r.engine.SetPassword(ctx, r.storage, "role", "chosenbyhand")
		require.Equal(t, KindBusy, kindOf(t, err))
		after(10 * time.Minute)
		require.NotEqual(t, "chosenbyhand", r.remote.holds("login"), "and nothing is")
		require.Equal(t, 2, r.remote.count())
	})
}

func TestAPanicEndsNeitherThePluginNorTheWork(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
			if call == 2 {
				panic("of a provider")
			}
			return provider.Result{Outcome: provider.Applied}, true
		})
		_, err := r.rotate()
		require.NoError(t, err, "what was sent is not an error that says that nothing was changed")
		r.restart()
		after(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, 3, r.remote.count())
	})
}

func TestHistoryKeepsWhatItIsToldTo(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.HistorySize = 2 })
		for range 8 {
			_, err := r.rotate()
			require.NoError(t, err)
		}
		require.Len(t, r.role().Record.History, 2)
		require.Len(t, r.role().Record.List(), 4, "the one in force, the one before, and two older ones")
	})
}

func TestAPendingPasswordCanBeWithdrawn(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "refused"}, false))
		_, err := r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.ErrorContains(t, err, "yet")
		status, err := r.engine.Explain(t.Context(), r.storage, "role")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "set by hand")
		_, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2, Discard: true})
		require.NoError(t, err)
		r.remote.set(nil)
		after(time.Hour)
		require.Equal(t, 1, r.read().Password.Version)
		require.Nil(t, r.role().Retry.Last)

		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "refused"}, false))
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.Error(t, err)
		r.remote.set(nil)
		_, err = r.rotate()
		require.NoError(t, err)
		require.NotEqual(t, "chosenbyhand", r.remote.holds("login"), "a rotation takes the place of a password that somebody knows")
	})
}

func TestSecretsAreSealWrapped(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"config/", "role/"}, SealWrapped())
	require.Equal(t, []string{connectionPrefix, rolePrefix}, SealWrapped())
}

func TestARequestWhosePasswordWasWithdrawnSaysSo(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 20 * time.Second}, false))
		_, err := r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.Error(t, err)
		r.remote.set(nil)
		waiting := make(chan error, 1)
		go func() { _, err := r.rotate(); waiting <- err }()
		synctest.Wait()
		_, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2, Discard: true})
		require.NoError(t, err)
		require.Equal(t, KindBusy, kindOf(t, <-waiting))
		require.Equal(t, 1, r.read().Password.Version)
	})
}

func TestAnOldRefusalIsNotTheAnswerToANewOrderThatWaits(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.mustCreate(func(in *NewRole) { in.Name = "other"; in.Target = provider.Settings{"login": "other"} })
		r.remote.set(always(provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: "too simple"}, false))
		_, err := r.engine.SetPassword(t.Context(), r.storage, "role", "toosimple")
		require.Equal(t, KindMistake, kindOf(t, err))
		r.remote.set(always(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: 10 * time.Minute}, false))
		_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.Error(t, err)
		r.remote.set(nil)
		_, err = r.engine.SetPassword(t.Context(), r.storage, "role", "chosenbyhand")
		require.Equal(t, KindBusy, kindOf(t, err))
		require.NotContains(t, err.Error(), "too simple")
		after(time.Hour)
		require.Equal(t, "chosenbyhand", r.remote.holds("login"))
	})
}

func TestAnOperatorsWordEndsTheFailureAndSetsTheDueTime(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(func(in *NewRole) { in.Options.RotationPeriod = 3600 })
		r.remote.set(always(unknown, true))
		_, err := r.rotate()
		require.NoError(t, err)
		after(10 * time.Minute)
		require.NotNil(t, r.role().Retry.Last)
		_, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2})
		require.NoError(t, err)
		require.Equal(t, Retry{}, r.role().Retry)
		require.Equal(t, r.engine.Now().Add(time.Hour), r.role().Due)
		due := r.role().Due
		after(time.Minute)
		_, err = r.engine.Confirm(t.Context(), r.storage, "role", Word{Version: 2})
		require.NoError(t, err)
		require.Equal(t, due, r.role().Due, "said twice")
	})
}

func TestADeletedRoleIsNotLookedAtAgain(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "refused"}, false))
		_, err := r.rotate()
		require.Error(t, err)
		require.NoError(t, r.engine.Delete(t.Context(), r.storage, "role", false))
		r.storage.reset()
		after(5 * time.Minute)
		gets, _, _, _ := r.storage.operations()
		require.Zero(t, gets)
	})
}
