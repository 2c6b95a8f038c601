package rotation

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestAfterAStopOfAnHourWhatIsDueIsChangedOnceAndSpreadOut(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		const roles = 120
		for i := range roles {
			name := fmt.Sprintf("role%d", i)
			r.mustCreate(func(in *NewRole) {
				in.Name, in.Target = name, provider.Settings{"login": name}
				in.Options.RotationPeriod = 20 * 60
				if i%2 == 1 {
					in.Options.RotationPeriod = 100 * 60
				}
			})
		}
		after(10 * time.Minute)
		r.engine.Stop()
		after(time.Hour)
		calls := r.remote.count()
		r.start()
		var times []int
		for range 60 {
			times = append(times, r.remote.count()-calls)
			after(time.Second)
		}
		synctest.Wait()
		require.Equal(t, roles/2, r.remote.count()-calls, "what was due, once, and nothing else")
		require.Less(t, times[1], roles/8, "not all at once")
		require.Greater(t, times[30], roles/8)
		require.Less(t, times[30], roles*3/8)
	})
}

func TestAfterAStopLongerThanTheCatchUpLimitNothingIsChangedUntilAnOperatorSaysGo(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.engine.WriteSettings(t.Context(), r.storage, Settings{CatchUpLimit: DefaultCatchUpLimit}))
		r.period(time.Hour, nil)
		r.mustCreate(func(in *NewRole) {
			in.Name, in.Target = "other", provider.Settings{"login": "other"}
			in.Options.RotationPeriod, in.Options.RotationMode = 3600, ModeOnRead
		})
		r.mustCreate(func(in *NewRole) {
			in.Name, in.Target, in.Options.SkipInitialRotation = "none", provider.Settings{"login": "none"}, true
		})
		r.remote.set(always(unknown, true))
		_, err := r.rotate() // what is open is not sent again either
		require.NoError(t, err)
		r.remote.set(nil)
		r.engine.Stop()
		after(26 * time.Hour)
		calls := r.remote.count()
		r.start()
		for range 2 { // over a restart, with a heartbeat that is fresh again
			for range 100 {
				r.engine.Wake()
				after(time.Minute)
			}
			r.restart()
		}
		other, err := r.engine.Serve(t.Context(), r.storage, "other")
		require.NoError(t, err)
		require.Equal(t, 1, other.View.Password.Version)
		require.Equal(t, 5*time.Minute, other.TTL)
		_, err = r.engine.Serve(t.Context(), r.storage, "none")
		require.Equal(t, KindBusy, kindOf(t, err))
		require.ErrorContains(t, err, "vault delete MOUNT/freeze")
		require.Equal(t, calls, r.remote.count(), "nothing was sent")
		require.Len(t, r.log.lines("nothing is changed automatically"), 1)
		status, err := r.engine.Explain(t.Context(), r.storage, "other")
		require.NoError(t, err)
		require.Contains(t, status.Reason, "catch_up_limit of 86400 seconds")

		_, err = r.engine.Rotate(t.Context(), r.storage, "other", 0)
		require.NoError(t, err, "requests of operators go on")
		_, err = r.engine.WriteFreeze(t.Context(), r.storage, time.Hour, "a release")
		require.Equal(t, KindMistake, kindOf(t, err), "which would end by itself")
		require.Equal(t, calls+1, r.remote.count())

		require.NoError(t, r.engine.Thaw(t.Context(), r.storage))
		after(2 * time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, calls+2, r.remote.count(), "what was open is settled")
		require.NoError(t, r.engine.Thaw(t.Context(), r.storage), "said twice")
	})
}

func TestAFreezeEndsByItself(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		for _, wrong := range []struct {
			duration time.Duration
			reason   string
		}{{time.Hour, " "}, {0, "a release"}, {-time.Hour, "a release"}, {91 * 24 * time.Hour, "a release"}} {
			_, err := r.engine.WriteFreeze(t.Context(), r.storage, wrong.duration, wrong.reason)
			require.Equal(t, KindMistake, kindOf(t, err))
		}
		none, err := r.engine.ReadFreeze(t.Context(), r.storage)
		require.NoError(t, err)
		require.Nil(t, none)
		freeze, err := r.engine.WriteFreeze(t.Context(), r.storage, 3*time.Hour, "a release")
		require.NoError(t, err)
		require.Equal(t, 3*time.Hour, freeze.Until.Sub(freeze.Since))
		after(2 * time.Hour)
		r.restart()
		read, err := r.engine.ReadFreeze(t.Context(), r.storage)
		require.NoError(t, err)
		require.Equal(t, "a release", read.Reason)
		after(time.Hour - time.Second)
		require.Equal(t, 1, r.version())
		after(2 * time.Minute)
		require.Equal(t, 2, r.version())
		read, err = r.engine.ReadFreeze(t.Context(), r.storage)
		require.NoError(t, err)
		require.Nil(t, read)
	})
}

// The heartbeat that a long limit asks for is too old for a short one.
func TestAShorterCatchUpLimitDoesNotFreezeAnEngineThatRan(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		after(8 * time.Minute)
		require.NoError(t, r.engine.WriteSettings(t.Context(), r.storage, Settings{CatchUpLimit: 60}))
		after(time.Second)
		r.restart()
		none, err := r.engine.ReadFreeze(t.Context(), r.storage)
		require.NoError(t, err)
		require.Nil(t, none)
	})
}

func TestAFreezeIsToldWhereverARoleWouldGoOn(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		freeze, err := r.engine.WriteFreeze(t.Context(), r.storage, time.Hour, "a release")
		require.NoError(t, err)
		r.remote.set(always(provider.Result{Outcome: provider.Unreachable, Reason: "no connection"}, false))
		_, err = r.rotate()
		require.ErrorContains(t, err, "does not go on by itself")
		require.ErrorContains(t, err, "a release")
		explain := func() Status {
			status, err := r.engine.Explain(t.Context(), r.storage, "role")
			require.NoError(t, err)
			return status
		}
		require.Contains(t, explain().Reason, "a release")
		require.Equal(t, freeze.Until, explain().Next)
		require.Contains(t, explain().Advice, "vault delete MOUNT/freeze")
		r.remote.set(nil)
		after(time.Hour + 2*time.Minute)
		require.Equal(t, 2, r.version())

		r.updates(func(o *Options) { o.RotationPeriod = 3 * 3600 })
		_, err = r.engine.WriteFreeze(t.Context(), r.storage, time.Hour, "another")
		require.NoError(t, err)
		require.Equal(t, "Nothing.", explain().Advice, "it ends before the password is due")
		_, err = r.engine.WriteFreeze(t.Context(), r.storage, 4*time.Hour, "another")
		require.NoError(t, err)
		require.Contains(t, explain().Advice, "vault delete MOUNT/freeze")
	})
}

// A heartbeat that cannot be read might be an old one.
func TestNothingGoesOnBeforeStorageHasToldForHowLongTheEngineDidNotRun(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		for _, key := range []string{heartbeatKey, freezeKey, settingsKey} {
			r.engine.Stop()
			r.storage.failing(func(operation, k string) error {
				if operation == "get" && k == key {
					return errors.New("gone")
				}
				return nil
			})
			r.start()
			r.updates(func(o *Options) { o.MaxReadTTL++ }) // so that the scheduler is told of the role
			calls, version := r.remote.count(), r.version()
			after(2 * time.Hour)
			require.Equal(t, calls, r.remote.count(), key)
			_, err := r.engine.ReadFreeze(t.Context(), r.storage)
			require.ErrorContains(t, err, "gone")
			r.storage.failing(nil)
			r.engine.Wake()
			after(2 * time.Minute)
			require.Equal(t, version+1, r.version(), "soon after storage is there again")
		}
	})
}

func TestOnlyANodeThatMayWriteChangesWhatIsDue(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.period(time.Hour, nil)
		r.readOnly.Store(true)
		after(time.Hour + time.Minute)
		require.Equal(t, 1, r.version())
		r.restart()
		for range 30 {
			r.engine.Wake()
			after(time.Minute)
		}
		require.Equal(t, 1, r.version())
		r.readOnly.Store(false)
		r.engine.Wake()
		after(2 * time.Minute)
		require.Equal(t, 2, r.version(), "it has become the one that may")
	})
}
