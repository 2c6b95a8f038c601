package connection

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestCallIsCountedThenStoredThenMade(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h := r.open(nil)
		used, limits := 0, time.Duration(0)
		result, err := h.Call(t.Context(), t.Context(), r, r.before, func(ctx context.Context, c provider.Client) provider.Result {
			r.note("call")
			used = h.slots.used
			deadline, _ := ctx.Deadline()
			limits = time.Until(deadline)
			require.Same(t, h.client, c)
			return applied
		})
		require.NoError(t, err)
		require.Equal(t, applied, result)
		require.Equal(t, []string{"counted", "before", "call", "counted"}, r.noted(), "the last is what may run together")
		require.Equal(t, 1, used, "in a slot")
		require.Equal(t, 30*time.Second, limits, "request_timeout bounds the call")
		require.Zero(t, h.slots.used)

		r.call(h, applied)
		require.Equal(t, []string{"call"}, r.noted(), "once the credential works, counting costs nothing")
	})
}

// Each of them is looked at only where those before it let the call pass, and none holds a slot or a permit afterwards.
func TestFirstObstacleIsReported(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h, other := r.open(nil), r.open(func(c *Connection) { c.Name = "other" })
		for range 3 {
			r.call(h, refused)
			done, err := h.Guard.Check(t.Context(), 0)
			require.NoError(t, err)
			done()
		}
		r.call(h, throttle)
		synctest.Wait()
		time.Sleep(time.Until(h.Guard.HeldUntil()))
		r.call(h, refused) // four refusals: no more, and the credential is suspected
		r.entries[h.Guard.Key()] = lockout.Attempts{Refused: 4, Last: time.Now()}
		r.entries[h.Guard.HoldKey()] = lockout.Attempts{Hold: time.Now().Add(time.Hour)}
		r.cache.guards.Invalidate(h.Guard.Key())
		r.cache.guards.Invalidate(h.Guard.HoldKey())
		require.NoError(t, h.Guard.Load(t.Context(), r))
		pause := &Pause{Reason: "refused"}
		h.SetPause(pause)
		permit, err := other.Guard.Enter(noWait)
		require.NoError(t, err)
		slots := []func(){}
		for range 2 {
			release, err := h.slots.acquire(noWait)
			require.NoError(t, err)
			slots = append(slots, release)
		}

		r.refuses(h, problem.ErrFull) // of the slots
		slots[0]()
		r.refuses(h, problem.ErrFull) // of the permits
		require.Equal(t, 1, h.slots.used)
		permit.Leave()
		slots[1]()

		var paused *PausedError
		_, err = h.Call(t.Context(), noWait, r, r.before, r.result(applied))
		require.ErrorAs(t, err, &paused)
		require.Equal(t, PausedError{"conn", pause}, *paused)
		require.ErrorContains(t, err, `"conn" is paused: refused`)
		h.EndPause(time.Now())

		r.refuses(h, ErrChecking)
		done, err := h.Guard.Check(t.Context(), 0)
		require.NoError(t, err)
		done()

		r.refuses(h, ErrThrottled)
		time.Sleep(time.Hour)

		var spent *lockout.SpentError
		_, err = h.Call(t.Context(), noWait, r, r.before, r.result(applied))
		require.ErrorAs(t, err, &spent)
		require.Equal(t, 4, spent.Attempts.Refused)
		require.Empty(t, r.noted())

		r.entries[h.Guard.Key()] = lockout.Attempts{}
		r.cache.guards.Invalidate(h.Guard.Key())
		r.call(h, applied)
		require.Equal(t, []string{"counted", "call", "counted"}, r.noted())
		require.Zero(t, h.slots.used)
	})
}

func TestStorageErrorStopsCall(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h := r.open(nil)
		r.failing(true)
		_, err := h.Call(t.Context(), noWait, r, r.before, r.result(applied))
		require.ErrorIs(t, err, errStorage)
		require.ErrorContains(t, err, "connection conn")
		require.Empty(t, r.noted())
		r.failing(false)
		r.call(h, applied)

		h = r.open(func(c *Connection) { c.Name = "stopping" })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r.cache.guards.Invalidate(h.Guard.Key())
		r.noted()
		_, err = h.Call(ctx, noWait, r, r.before, r.result(applied))
		require.ErrorContains(t, err, "nothing was changed")
		require.Empty(t, r.noted(), "no call after the engine has ended")
	})
}

// A call that is not made costs no attempt, though the engine is stopping.
func TestErrorOfBeforeGivesAttemptBack(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h := r.open(nil)
		stop := errors.New("the password could not be stored")
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := h.Call(ctx, noWait, r, func() error { cancel(); return stop }, r.result(applied))
			require.Same(t, stop, err)
			require.Equal(t, []string{"counted", "stored"}, r.noted())
			require.Zero(t, r.entries[h.Guard.Key()].Unanswered)
		}
		require.Zero(t, h.slots.used)
		r.call(h, applied)
	})
}

// What came of a call is stored, though the engine is stopping.
func TestOutcomeIsCountedThoughContextEnds(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h := r.open(nil)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := h.Call(ctx, noWait, r, nothing, func(ctx context.Context, _ provider.Client) provider.Result {
			cancel()
			require.Error(t, ctx.Err(), "the call ends with it")
			return refused
		})
		require.NoError(t, err)
		require.Equal(t, 1, r.entries[h.Guard.Key()].Refused)
		require.True(t, h.Guard.Suspected())
	})
}

// A request that stops waiting is not carried out, however soon there is room after that.
func TestNoCallAfterCancelledWait(t *testing.T) {
	for name, lock := range map[string]provider.Lockout{"for a slot": {}, "for a permit": five} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.lockout = lock
				h := r.open(nil)
				ends := []func(provider.Result){r.hang(t.Context(), h)}
				if !h.Guard.Counts() {
					ends = append(ends, r.hang(t.Context(), h))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				began := time.Now()
				_, err := h.Call(t.Context(), ctx, r, r.before, r.result(applied))
				require.ErrorIs(t, err, problem.ErrGivenUp)
				require.Equal(t, 5*time.Second, time.Since(began))
				for _, end := range ends {
					end(applied)
				}
				time.Sleep(time.Hour)
				require.NotContains(t, r.noted(), "call")
				require.Zero(t, h.slots.used)
				require.Zero(t, h.slots.asked)
				r.call(h, applied)
			})
		})
	}
}

func TestWaitingCallIsMadeWhenThereIsRoom(t *testing.T) {
	for name, lock := range map[string]provider.Lockout{"a slot": {}, "a permit": five} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.lockout = lock
				h := r.open(func(c *Connection) { c.MaxInFlight = 1 })
				end := r.hang(noWait, h)
				time.AfterFunc(time.Minute, func() { end(applied) })
				began := time.Now()
				_, err := h.Call(t.Context(), t.Context(), r, nothing, r.result(applied))
				require.NoError(t, err)
				require.Equal(t, time.Minute, time.Since(began))
			})
		})
	}
}

// A pause that begins while a request waits is looked at when its turn comes.
func TestWaitingCallFindsPause(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h := r.open(func(c *Connection) { c.MaxInFlight = 1 })
		end := r.hang(noWait, h)
		waits := make(chan error, 1)
		go func() {
			_, err := h.Call(t.Context(), t.Context(), r, r.before, r.result(applied))
			waits <- err
		}()
		synctest.Wait()
		h.SetPause(&Pause{Reason: "refused"})
		end(refused)
		var paused *PausedError
		require.ErrorAs(t, <-waits, &paused)
		require.Empty(t, r.noted())
	})
}

// A panic of a provider's client holds neither a slot nor a permit.
func TestPanicReleasesSlotAndPermit(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h := r.open(nil)
		for range 3 {
			require.Panics(t, func() {
				_, _ = h.Call(t.Context(), noWait, r, nothing, func(context.Context, provider.Client) provider.Result { panic("of a client") })
			})
		}
		require.Equal(t, 3, r.entries[h.Guard.Key()].Unanswered, "each may have shown the credential")
		r.call(h, applied)
	})
}

// A client that panics may have shown the credential, though storage does not count the call.
func TestPanicOfProvedCredentialCounts(t *testing.T) {
	for name, lock := range map[string]provider.Lockout{"a key": five, "a session": {Credential: "remote|user", Refusals: 5, Session: true}} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.lockout = lock
				h := r.open(nil)
				r.call(h, applied)
				for range 3 {
					require.Panics(t, func() {
						_, _ = h.Call(t.Context(), noWait, r, nothing, func(context.Context, provider.Client) provider.Result { panic("of a client") })
					})
				}
				r.call(h, refused)
				a := r.entries[h.Guard.Key()]
				require.Equal(t, []int{1, 3}, []int{a.Refused, a.Unanswered})
				require.Zero(t, h.slots.used)
			})
		})
	}
}

func TestCheckIgnoresPauseAndHold(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h := r.open(nil)
		r.call(h, refused)
		r.throttled(h)
		h.SetPause(&Pause{Reason: "refused"})
		result, err := h.Check(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, applied, result)
		require.NotNil(t, h.Paused(), "the caller ends the pause")
		require.Equal(t, 0, h.slots.used)
	})
}

func TestCheckIsBoundedAndCounted(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h := r.open(func(c *Connection) { c.RequestTimeout = 7 })
		r.remote.check = func(ctx context.Context) provider.Result {
			r.note("check")
			<-ctx.Done()
			return provider.Result{Outcome: provider.Unknown}
		}
		began := time.Now()
		_, err := h.Check(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, 7*time.Second, time.Since(began))
		require.Equal(t, []string{"counted", "check"}, r.noted())

		r.remote.check = func(context.Context) provider.Result { return refused }
		for range 3 {
			_, err = h.Check(t.Context(), r)
			require.NoError(t, err)
		}
		require.False(t, h.Guard.Suspected(), "no check follows a check")
		var spent *lockout.SpentError
		_, err = h.Check(t.Context(), r)
		require.ErrorAs(t, err, &spent)
		_, err = h.Try(t.Context(), r, lockout.Trial{By: "conn"})
		require.ErrorAs(t, err, &spent)
		time.Sleep(h.Guard.Forgets())
		_, err = h.Check(t.Context(), r)
		require.ErrorAs(t, err, &spent)
		_, err = h.Try(t.Context(), r, lockout.Trial{By: "conn"})
		require.NoError(t, err)
	})
}

func TestCheckWaitsForPermit(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h := r.open(nil)
		end := r.hang(noWait, h)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := h.Check(ctx, r)
		require.ErrorIs(t, err, problem.ErrGivenUp)
		time.AfterFunc(time.Second, func() { end(applied) })
		_, err = h.Check(t.Context(), r)
		require.NoError(t, err)
	})
}
