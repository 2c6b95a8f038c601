package gate

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/store"
)

func TestGateIsClosedUntilLoaded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.requireClosed(time.Time{})
		require.Nil(t, r.read(), "it is closed, not frozen")
		r.gate.Wake()
		require.Zero(t, r.heartbeat(), "the last one is not compared yet")
		r.load()
		r.requireOpen()
		require.EqualValues(t, 1, r.opened.Load(), "requests may have queued roles")
		require.Equal(t, time.Now().UTC(), r.heartbeat())
		r.load()
		require.EqualValues(t, 1, r.opened.Load(), "it is loaded once")
	})
}

// A heartbeat that cannot be read may be an old one, and a freeze may be in force.
func TestUnreadableEntryKeepsGateClosed(t *testing.T) {
	for i, key := range entries {
		for name, value := range map[string]string{
			"storage is in error": "", "it is damaged": `{"schema":1,"catch_up_limit":"?","since":"?","time":"?"}`, "it is newer": `{"schema":99}`,
		} {
			if key == store.HeartbeatKey && name == "it is damaged" {
				continue // see TestDamagedHeartbeatFreezes
			}
			t.Run(key+", "+name, func(t *testing.T) {
				inFakeTime(t, func(t *testing.T, r *rig) {
					if value == "" {
						r.storage.Arm(i+1, storagetest.Fails, nil)
					} else {
						require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte(value)}))
					}
					err := r.gate.Load(t.Context(), r.store())
					require.ErrorContains(t, err, key)
					r.requireClosed(time.Time{})
					require.Zero(t, r.opened.Load())
					_, err = r.gate.Read(t.Context(), r.storage)
					require.ErrorContains(t, err, key, "an operator is told why")
					if key == store.FreezeKey && name == "it is damaged" {
						require.NoError(t, r.gate.End(t.Context(), r.storage), "an operator can end it")
						r.requireOpen()
						return
					}
					if key == store.SettingsKey && name == "it is damaged" {
						require.ErrorContains(t, err, "vault delete MOUNT/settings")
						require.NoError(t, r.gate.ResetSettings(t.Context(), r.storage), "an operator can reset them")
						r.requireOpen()
						return
					}
					if value != "" {
						require.ErrorContains(t, r.gate.End(t.Context(), r.storage), key)
						if key == store.SettingsKey {
							require.ErrorContains(t, r.gate.ResetSettings(t.Context(), r.storage), key)
						}
						entry, err := r.storage.Get(t.Context(), key)
						require.NoError(t, err)
						require.Equal(t, value, string(entry.Value), "it is left as it is")
						require.NoError(t, r.storage.Delete(t.Context(), key))
					}
					r.load()
					r.requireOpen()
				})
			})
		}
	}
}

// It may be an old one, so the mount is frozen as after a long stop. The next heartbeat replaces it.
func TestDamagedHeartbeatFreezes(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: store.HeartbeatKey, Value: []byte(`{"schema":1,"time":"?"}`)}))
		r.load()
		r.requireFrozen()
		require.Contains(t, r.read().Reason, "the heartbeat in storage is damaged")
		require.Equal(t, 1, r.logged("the heartbeat is damaged"))
		require.Equal(t, time.Now().UTC(), r.heartbeat())
		r.end()
		r.requireOpen()
		r.stopFor(time.Hour)
		r.requireOpen()
	})
}

// The heartbeats of a running engine are up to ten minutes apart, and Vault wakes it about every minute.
func TestStopLongerThanCatchUpLimitFreezes(t *testing.T) {
	const limit = store.DefaultCatchUpLimit * time.Second
	for stop, freezes := range map[time.Duration]bool{limit + lastBeat + wakeEvery: false, limit + lastBeat + wakeEvery + time.Second: true} {
		t.Run(stop.String(), func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.stopFor(stop)
				if !freezes {
					r.requireOpen()
					require.EqualValues(t, 1, r.opened.Load())
					return
				}
				r.requireFrozen()
				require.Zero(t, r.opened.Load())
				require.Contains(t, r.read().Reason, "catch_up_limit of 86400 seconds")
				r.stopFor(time.Hour) // the heartbeat is recent now
				r.requireFrozen()
				advance(365 * day)
				r.requireFrozen()
				require.Equal(t, 1, r.logged("did not run for longer than catch_up_limit"))

				_, err := r.gate.Write(t.Context(), r.storage, time.Hour, "a release")
				requireKind(t, problem.KindMistake, err)
				require.ErrorContains(t, err, "vault delete MOUNT/freeze", "that freeze would end at its time")
				r.requireFrozen()

				r.opened.Store(0)
				r.end()
				r.requireOpen()
				r.end() // repeated
				require.EqualValues(t, 1, r.opened.Load())
				r.gate.Wake()
				r.stopFor(time.Hour)
				r.requireOpen()
			})
		})
	}
}

// The gate may open only once the freeze that a long stop asks for is stored: a restart would not find it.
func TestGateStaysClosedIfFreezeCannotBeStored(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		last := r.heartbeat()
		r.restart()
		advance(2 * day)
		r.storage.Arm(len(entries)+1, storagetest.Fails, nil)
		require.ErrorIs(t, r.gate.Load(t.Context(), r.store()), storagetest.ErrFault)
		r.requireClosed(time.Time{})
		require.Equal(t, last, r.heartbeat(), "a new one would hide the stop")
		r.load()
		r.requireFrozen()
	})
}

// A mount restored from a snapshot stays frozen though an operator freezes it before its old heartbeat can be read.
func TestFreezeBeforeHeartbeatKeepsSnapshotFrozen(t *testing.T) {
	for name, restarts := range map[string]bool{"the freeze ends": false, "a restart before its end": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(_ *testing.T, r *rig) {
				r.load()
				advance(26 * time.Hour)
				r.restart()
				r.storage.Arm(len(entries), storagetest.Fails, nil)
				f := r.freeze(time.Hour, "a release")
				r.requireClosed(f.Until)
				if restarts {
					r.restart()
				} else {
					advance(2 * time.Hour)
					r.requireClosed(time.Time{})
				}
				r.load()
				r.requireFrozen()
			})
		})
	}
}

// A snapshot may contain a freeze. When that ends, the old heartbeat still keeps the mount frozen.
func TestStoredFreezeKeepsSnapshotFrozen(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r *rig) {
		r.load()
		r.freeze(28*time.Hour, "a release")
		r.stopFor(26 * time.Hour)
		r.requireFrozen()
		advance(3 * time.Hour)
		r.requireFrozen()
	})
}

// A freeze written while the gate is loaded is not overwritten by what was read before.
func TestFreezeDuringLoadIsKept(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		reading, release := r.storage.Hang(store.HeartbeatKey)
		defer release()
		loaded, written := make(chan error, 1), make(chan error, 1)
		go func() { loaded <- r.gate.Load(t.Context(), r.store()) }()
		<-reading
		go func() {
			_, err := r.gate.Write(t.Context(), r.storage, time.Hour, "a release")
			written <- err
		}()
		synctest.Wait()
		release()
		require.NoError(t, <-loaded)
		require.NoError(t, <-written)
		require.Equal(t, "a release", r.gate.Freeze().Reason)
		require.False(t, r.gate.Open())
	})
}

func TestHeartbeatsFollowCatchUpLimit(t *testing.T) {
	for limit, most := range map[int]int{60: 60, 1200: 12, store.DefaultCatchUpLimit: 6, 9_999_999_999: 6, math.MaxInt: 6} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			r.load()
			r.setLimit(limit)
			beats, last := 0, r.heartbeat()
			for range 60 {
				advance(time.Minute)
				r.gate.Wake()
				if now := r.heartbeat(); now != last {
					beats, last = beats+1, now
				}
			}
			require.Equal(t, most, beats, limit)
			r.stopFor(2 * time.Hour)
			require.Equal(t, limit > 7200, r.gate.Open(), "a limit of %d seconds", limit)
		})
	}
}

// With a long limit the heartbeat may be older than a shorter limit allows.
func TestShorterCatchUpLimitDoesNotFreezeRunningEngine(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r *rig) {
		r.load()
		advance(8 * time.Minute)
		r.setLimit(60)
		r.restart()
		advance(time.Second)
		r.load()
		r.requireOpen()
	})
}

// A heartbeat in the future says nothing about how long the engine did not run.
func TestHeartbeatInFutureFreezes(t *testing.T) {
	for ahead, freezes := range map[time.Duration]bool{time.Hour: false, 90 * day: true} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			require.NoError(t, r.store().PutHeartbeat(t.Context(), time.Now().UTC().Add(ahead)))
			r.load()
			require.Equal(t, time.Now().UTC(), r.heartbeat())
			if !freezes {
				r.requireOpen()
				return
			}
			r.requireFrozen()
			require.Contains(t, r.read().Reason, "in the future, because a clock is or was wrong")
		})
	}
}

func TestHeartbeatsGoOnAfterClockWasAhead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		ahead := time.Duration(0)
		r.gate.Now = func() time.Time { return time.Now().UTC().Add(ahead) }
		r.load()
		ahead = 90 * day
		r.gate.Wake()
		require.Equal(t, time.Now().UTC().Add(ahead), r.heartbeat())
		ahead = 0
		advance(time.Minute)
		r.gate.Wake()
		require.Equal(t, time.Now().UTC(), r.heartbeat())
	})
}

func TestFailedHeartbeatIsLoggedAndRepeated(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.load()
		r.requireOpen()
		advance(lastBeat)
		r.storage.Arm(1, storagetest.Fails, nil)
		r.gate.Wake()
		require.Equal(t, 1, r.logged("could not store the heartbeat"))
		advance(lastBeat)
		r.gate.Wake()
		require.Equal(t, time.Now().UTC(), r.heartbeat())
		require.Equal(t, 1, r.logged("could not store the heartbeat"))
	})
}

func TestSettingsAreStoredAndChecked(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		limit := func() int {
			settings, err := r.gate.Settings(t.Context(), r.storage)
			require.NoError(t, err)
			return settings.CatchUpLimit
		}
		require.Equal(t, store.DefaultCatchUpLimit, limit())
		write := func(limit int) error {
			return r.gate.WriteSettings(t.Context(), r.storage, func(s *store.Settings) { s.CatchUpLimit = limit })
		}
		requireKind(t, problem.KindMistake, write(59))
		require.NoError(t, write(60))
		require.Zero(t, r.heartbeat(), "the last one is not compared yet")
		r.storage.Arm(2, storagetest.Fails, nil) // the settings are read before they are written
		require.ErrorContains(t, write(61), "may have taken effect")
		require.Equal(t, 60, limit())
		r.storage.Arm(1, storagetest.Fails, nil)
		_, err := r.gate.Settings(t.Context(), r.storage)
		require.ErrorIs(t, err, storagetest.ErrFault)
	})
}
