package connections

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/timing"
)

func (r *rig) probe() (again time.Time) { return r.c.Probe(r.Context(), r.store(), "conn") }

// probeWhenDue makes the next probe at its time, and returns how long it took.
func (r *rig) probeWhenDue() time.Duration {
	r.Helper()
	wait := time.Until(r.requirePaused().NextProbe)
	time.Sleep(wait)
	require.Zero(r, r.probe())
	return wait
}

func TestProbesBackOffAndEndPause(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		since := r.pause().Since
		for n, want := range []time.Duration{6 * time.Minute, 12 * time.Minute, 24 * time.Minute, 48 * time.Minute, time.Hour, time.Hour} {
			used := r.remote.used("key")
			require.Equal(t, want, r.probeWhenDue())
			require.Equal(t, used+1, r.remote.used("key"))
			pause := r.requirePaused()
			require.Equal(t, since, pause.Since)
			require.Equal(t, n+1, pause.Probes)
		}
		r.retries()
		r.remote.answer("key", applied)
		r.probeWhenDue()
		r.requireNotPaused()
		require.Equal(t, 1, r.retries())
		require.Equal(t, 1, r.logged("connection resumed"))
		require.Equal(t, r.c.Now(), r.handle().OpenedAt())
		r.restart()
		r.requireNotPaused()
	})
}

// The last attempt that cannot lock the credential comes late, and an operator makes the one after it.
func TestProbesStopBeforeTheyLockCredential(t *testing.T) {
	for refusals, want := range map[int][]time.Duration{
		3: nil, // the change and the check were refused
		4: {timing.LastBackoff},
		5: {6 * time.Minute, timing.LastBackoff},
		7: {6 * time.Minute, 12 * time.Minute, 24 * time.Minute, timing.LastBackoff},
	} {
		withRemote(t, &remote{refusals: refusals}, func(t *testing.T, r *rig) {
			used := r.remote.used("key")
			r.pause()
			var waits []time.Duration
			for !r.requirePaused().NextProbe.IsZero() {
				waits = append(waits, r.probeWhenDue())
			}
			require.Equal(t, want, waits)
			require.Equal(t, refusals-1, r.remote.used("key")-used)
			require.Equal(t, min(1, len(want)), r.logged("needs an operator"))
		})
	}
}

// A probe that comes too early makes no call.
func TestEarlyProbeOfSpentCredentialWaits(t *testing.T) {
	withRemote(t, &remote{refusals: 2}, func(t *testing.T, r *rig) {
		pause, used := r.pause(), r.remote.used("key")
		require.Zero(t, r.probe())
		require.Equal(t, used, r.remote.used("key"))
		require.Equal(t, pause.NextProbe, r.requirePaused().NextProbe)
		r.remote.answer("key", applied)
		r.probeWhenDue()
		r.requireNotPaused()
	})
}

func TestProbeThatDoesNotGetThroughIsRepeatedSoon(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.pause()
		r.remote.answer("key", unreachable)
		r.probeWhenDue()
		require.Contains(t, r.requirePaused().Reason, "did not get through")
		require.Equal(t, time.Minute, r.probeWhenDue())
		require.Equal(t, 2*time.Minute, r.probeWhenDue())
	})
}

func TestProbeIsRepeatedAfterError(t *testing.T) {
	withRemote(t, &remote{refusals: 5}, func(t *testing.T, r *rig) {
		pause := r.pause()
		soon := r.c.Now().Add(40 * time.Second)
		r.storage.Arm(1, storagetest.Fails, nil)
		require.Equal(t, soon, r.probe(), "the attempt was not counted")
		r.restart()
		r.storage.Arm(1, storagetest.Fails, nil)
		require.Equal(t, soon, r.probe(), "the connection could not be read")
		r.remote.onCall(func(string) { panic("a fault") })
		require.Equal(t, soon, r.probe())
		require.Equal(t, 1, r.logged("recovered from a panic"))
		require.Equal(t, pause, r.handle().Paused())
	})
}

func TestProbeOfDeletedConnectionEnds(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.pause()
		require.NoError(t, r.delete())
		require.Zero(t, r.probe())
		r.requireGone()
	})
}

func TestProbeOfReplacedCredentialPausesNothing(t *testing.T) {
	for name, works := range map[string]bool{"it is refused": false, "it works": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.pause()
				if works {
					r.remote.answer("key", applied)
				}
				release := r.remote.blockCalls("key")
				defer release()
				probe := inBackground(func() error { r.probe(); return nil })
				require.Empty(t, probe)
				r.mustWrite(withKey("new"))
				r.retries()
				release()
				require.NoError(t, <-probe)
				r.requireNotPaused()
				require.Zero(t, r.retries(), "the write retried them")
				require.Zero(t, r.logged("connection resumed"))
			})
		})
	}
}

// A connection is written with the same credential during a probe: the result of the probe applies to it.
func TestProbeOpensConnectionWrittenMeanwhile(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r *rig) {
		r.pause()
		r.remote.answer("key", applied)
		release := r.remote.blockCalls("key")
		defer release()
		probe := inBackground(func() error { r.probe(); return nil })
		r.mustWrite(connection.Patch{Change: func(o *connection.Options) { o.MaxInFlight = 2 }})
		r.requirePaused() // which opens it
		release()
		require.NoError(r, <-probe)
		r.requireNotPaused()
	})
}

// The sweep may note a pause that is just ending. The next probe corrects that.
func TestPauseThatEndedIsNotShown(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h, used := r.handle(), r.remote.used("key")
		r.c.Health.Paused(h, &connection.Pause{Revision: h.Revision, NextProbe: time.Now()})
		require.Zero(t, r.probe())
		r.requireNotPaused()
		require.Equal(t, used, r.remote.used("key"))
	})
}

// The end of a pause that cannot be stored is found again after a restart.
func TestUnstoredEndOfPauseHolds(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.pause()
		r.remote.answer("key", applied)
		r.remote.onCall(func(string) { r.storage.Arm(2, storagetest.Down, nil) })
		require.Zero(t, r.probe())
		r.storage.Heal()
		r.remote.onCall(nil)
		require.Nil(t, r.handle().Paused())
		require.Equal(t, 1, r.logged("could not store the end of a pause"))
		r.restart()
		require.NotNil(t, r.handle().Paused())
		require.Zero(t, r.probe())
		r.requireNotPaused()
	})
}

// The engine stops before it can record the result of a check.
func TestStoppingEngineLeavesPauseAsItIs(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		unlock, err := r.c.Index.Lock(t.Context(), "conn")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.remote.answer("key", denied)
		require.False(t, r.c.Denied(ctx, r.store(), r.handle(), r.c.Now()))
		r.requireNotPaused()
		unlock()
		pause := r.pause()
		unlock, err = r.c.Index.Lock(t.Context(), "conn")
		require.NoError(t, err)
		defer unlock()
		r.remote.answer("key", applied)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Zero(t, r.c.Probe(ctx, r.store(), "conn"))
		require.Equal(t, pause, r.requirePaused())
	})
}
