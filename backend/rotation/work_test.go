package rotation

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// panicOnce panics in the n-th change, and applies the others.
func panicOnce(n int) respond {
	return func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
		if call == n {
			panic("in a provider")
		}
		return applied, true
	}
}

func TestRestartResumesInterruptedChange(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		stuck := r.remote.blockChange(2, unknown) // like a system call that ignores its context
		defer stuck.release()
		go func() { _, _ = r.rotate() }()
		synctest.Wait()
		require.Less(t, r.stopped(), stopLimit)
		r.start()
		advance(time.Second)
		require.Equal(t, 3, r.remote.changeCount(), "the same password is sent again")
		require.Equal(t, r.remote.changes[1].NewPassword, r.remote.changes[2].NewPassword)
		require.Equal(t, credential.StateActive, r.read().State)
		stuck.release()
		synctest.Wait()
		r.requireKnown()
	})
}

func TestChangesOfRoleNeverOverlap(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		overlap := r.remote.countOverlap(aSecond)
		done := make(chan error, 20)
		for range cap(done) {
			go func() { _, err := r.rotate(); done <- err }()
		}
		for range cap(done) {
			require.NoError(t, <-done)
		}
		require.Equal(t, 1, overlap.highest())
		require.Equal(t, 21, r.version())
	})
}

func TestReadOnlyNodeDoesNoWork(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.answer(unknown, true)
		r.mustRotate()
		r.readOnly.Store(true)
		calls := r.remote.changeCount()
		advance(time.Hour)
		r.restart()
		advance(time.Hour)
		require.Equal(t, calls, r.remote.changeCount())
		r.readOnly.Store(false)
		r.remote.succeed()
		r.engine.Wake() // the sweep finds what the queue does not know
		advance(time.Minute)
		require.Equal(t, credential.StateActive, r.read().State)
	})
}

func TestPanicInRequestIsRetried(t *testing.T) {
	for name, restarts := range map[string]bool{"by the running engine": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(nil)
				r.remote.onChange(panicOnce(2))
				_, err := r.rotate()
				require.NoError(t, err, "the password may have been sent")
				if restarts {
					r.restart()
				}
				r.wakeFor(2)
				require.Equal(t, credential.StateActive, r.read().State)
				require.Equal(t, 2, r.version())
				require.Equal(t, 3, r.remote.changeCount())
				r.requireKnown()
			})
		})
	}
}

// The engine retries after a panic without a restart, a request or the next due time.
func TestPanicInDueChangeIsRetried(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(day, nil)
		r.remote.onChange(panicOnce(2))
		advance(day)
		require.Equal(t, 2, r.remote.changeCount(), "the call that panics")
		r.wakeFor(2)
		require.Equal(t, 3, r.remote.changeCount())
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, 2, r.version())
		r.requireKnown()
	})
}

func TestPanicInPasswordPolicyIsRetried(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var panics atomic.Bool
		r.policy = func(string) (string, error) {
			if panics.Swap(false) {
				panic("in a policy")
			}
			return "abcdefgh12345678", nil
		}
		r.createDue(day, func(o *role.Options) { o.PasswordPolicy = "policy" })
		panics.Store(true)
		advance(day)
		require.False(t, panics.Load(), "the policy panicked")
		require.Equal(t, 1, r.remote.changeCount())
		r.wakeFor(2)
		require.Equal(t, 2, r.version())
	})
}

func TestPanicInStorageIsRetried(t *testing.T) {
	for _, operation := range []string{opGet, opPut} {
		t.Run(operation, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createDue(day, nil)
				panicked := false
				r.storage.failIf(func(o, key string) error {
					if !panicked && o == operation && key == roleKey {
						panicked = true
						panic("in storage")
					}
					return nil
				})
				advance(day)
				require.True(t, panicked)
				r.wakeFor(2)
				require.Equal(t, 2, r.version())
				r.requireKnown()
			})
		})
	}
}

func TestPanicInCreationIsRetried(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.onChange(panicOnce(1))
		_, err := r.create(nil)
		require.NoError(t, err, "the password may have been sent")
		r.wakeFor(2)
		require.Equal(t, credential.StateActive, r.read().State)
		require.Equal(t, 2, r.remote.changeCount())
		r.requireKnown()
	})
}

func TestPanicInProbeIsRetried(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createPaused()
		panicked := false
		r.remote.onCheck(func() provider.Result {
			if !panicked {
				panicked = true
				panic("in a provider")
			}
			return applied
		})
		r.remote.succeed()
		r.wakeFor(8)
		require.True(t, panicked, "the probe")
		r.wakeFor(15)
		require.Empty(t, r.engine.Health().Paused)
		require.Equal(t, 2, r.version())
	})
}

// Work that panics every time is retried with a growing backoff.
func TestRepeatedPanicsBackOff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(day, nil)
		r.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) { panic("in a provider") })
		advance(day)
		calls := r.remote.changeCount()
		r.wakeFor(180)
		require.Greater(t, r.remote.changeCount()-calls, 4)
		require.Less(t, r.remote.changeCount()-calls, 40)
		r.remote.succeed()
		r.wakeFor(80) // the longest wait is an hour and a quarter
		require.Equal(t, credential.StateActive, r.read().State)
		r.requireKnown()
	})
}

// faulty is a provider that can be made to panic wherever it is asked about an account.
type faulty struct {
	*remote
	panics atomic.Bool
}

func (f *faulty) OldPassword(t provider.Target) provider.OldPassword {
	if f.panics.Load() {
		panic("in a provider")
	}
	return f.remote.OldPassword(t)
}

// A panic while a role is put back in the queue ends neither the process nor the role.
func TestPanicWhileRoleIsQueuedIsRetried(t *testing.T) {
	inChild(t, func(t *testing.T) {
		inFakeTime(t, func(t *testing.T, r *rig) {
			f := &faulty{remote: r.remote}
			r.restartWith(f)
			r.createDue(day, nil)
			stored := 0 // the outcome is the second write
			r.storage.failIf(func(operation, key string) error {
				if operation == opPut && key == roleKey {
					if stored++; stored == 2 {
						f.panics.Store(true)
					}
				}
				return nil
			})
			advance(day)
			require.True(t, f.panics.Load())
			f.panics.Store(false)
			r.storage.heal()
			require.Equal(t, 2, r.version())
			require.NotEmpty(t, r.log.lines("panic"))
			looked := r.storage.blockAt(on(opGet, roleKey))
			defer looked.release()
			advance(10 * time.Second) // the sweep would find it within ten minutes
			require.True(t, looked.isReached(), "it is looked at again soon")
			looked.release()
			r.wakeFor(3 * 24 * 60)
			require.GreaterOrEqual(t, r.version(), 4, "the role is still in the queue")
		})
	})
}

// After a long outage of storage, roles are read again within minutes: that makes no call to the remote system.
func TestRolesRecoverSoonAfterStorageOutage(t *testing.T) {
	for _, operation := range []string{opGet, opPut} {
		t.Run(operation, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.createDue(time.Hour, nil)
				attempts := 0
				r.storage.failIf(func(o, key string) error {
					if o == opGet && key == roleKey {
						attempts++
					}
					if o == operation && key == roleKey {
						return errors.New("storage is down")
					}
					return nil
				})
				r.wakeFor(6 * 60)
				before := attempts
				r.wakeFor(2 * 60)
				require.GreaterOrEqual(t, attempts-before, 8, "attempts in two hours")
				r.storage.heal()
				r.wakeFor(12)
				require.Equal(t, 2, r.version())
			})
		})
	}
}
