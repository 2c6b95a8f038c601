package rotation

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// createThrottled creates the roles "role" and "other", and throttles the connection for a while, which the former met.
func (r *rig) createThrottled(d time.Duration) {
	r.Helper()
	r.mustCreate(nil)
	r.createRoles("other")
	r.remote.fail(throttled(d))
	r.rotateFails(problem.KindBusy)
	r.remote.succeed()
}

func TestThrottledConnectionDelaysItsOtherRoles(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createThrottled(10 * time.Minute)
		for range 3 {
			err := r.rotateOther()
			require.Equal(t, problem.KindBusy, kindOf(t, err), "the request changed nothing")
			require.ErrorContains(t, err, "throttled")
		}
		require.Equal(t, 3, r.remote.changeCount())
		advance(15 * time.Minute)
		require.Equal(t, 5, r.remote.changeCount(), "the engine continues with both")
		require.Equal(t, 2, r.version())
		require.Nil(t, r.role().Retry.Last)
	})
}

func TestRequestWaitsForShortThrottle(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createThrottled(10 * time.Second)
		require.NoError(t, r.rotateOther())
		r.requireVersion("other", 2)
	})
}

func TestNewCredentialEndsThrottle(t *testing.T) {
	for name, met := range map[string]string{"for the role that met it": "role", "for a role that waits": "other"} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.mustCreate(nil)
				r.createRoles("other")
				r.remote.fail(throttled(30 * time.Minute))
				require.Equal(t, problem.KindBusy, kindOf(t, r.rotateAll(met)[0]))
				if met != "role" {
					require.Contains(t, r.rotateFails(problem.KindBusy), "throttled")
				}
				r.remote.succeed()
				r.mustWriteConn(withKey("another"))
				advance(time.Second)
				require.Equal(t, 2, r.version())
			})
		})
	}
}

func TestThrottleSurvivesRestart(t *testing.T) {
	for name, lockout := range map[string]provider.Lockout{"counted credential": {Credential: lockedKey("key"), Refusals: 5}, "uncounted credential": {}} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				r.remote.lockout = lockout
				r.engine.cache.Drop("conn")
				r.createThrottled(20 * time.Minute)
				calls := r.remote.changeCount()
				r.restart()
				require.Equal(t, problem.KindBusy, kindOf(t, r.rotateOther()))
				advance(19 * time.Minute)
				require.Equal(t, calls, r.remote.changeCount())
				advance(7 * time.Minute)
				require.Equal(t, calls+2, r.remote.changeCount())
			})
		})
	}
}

// throttle is a remote system that throttles changes for a while, and does not say for how long.
type throttle struct {
	*remote
	overlap overlap

	// What follows is guarded by remote.mu.

	times []time.Time // of the changes
	over  bool
}

// throttle throttles changes, each of which takes a tenth of a second.
func (r *rig) throttle() *throttle {
	h := &throttle{remote: r.remote}
	r.remote.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
		r.remote.mu.Lock()
		h.times = append(h.times, time.Now())
		over := h.over
		r.remote.mu.Unlock()
		h.overlap.count(func() { time.Sleep(100 * time.Millisecond) })
		if over {
			return applied, true
		}
		return throttled(0), false
	})
	return h
}

// end ends the throttling.
func (h *throttle) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
}

// seen returns the times of the changes so far.
func (h *throttle) seen() []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.times)
}

// A connection that is throttled without a hint waits a minute, then longer, whichever role met the throttle and however
// often that role had failed before. One call at a time finds out whether the throttle has ended.
func TestThrottleHasItsOwnBackoff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		others := roleNames(5)
		r.createRoles("failing")
		r.createRoles(others...)
		r.remote.onChange(func(_ context.Context, _ int, c provider.Change) (provider.Result, bool) {
			if c.Target.Username == "failing" {
				return provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeTarget, Reason: "no answer"}, false
			}
			return applied, true
		})
		require.Error(t, r.rotateAll("failing")[0])
		advance(2 * day)
		h := r.throttle()
		for range 2 * 60 * 60 { // the next attempt of the failing role is the first that is throttled
			if len(h.seen()) > 0 {
				break
			}
			advance(time.Second)
		}
		advance(time.Second) // until it is answered
		first := h.seen()
		require.Len(t, first, 1)
		for _, err := range r.rotateAll(others...) {
			require.Equal(t, problem.KindBusy, kindOf(t, err))
		}
		require.Equal(t, first, h.seen(), "nothing is sent while the connection waits")

		advance(2 * time.Minute)
		require.Greater(t, len(h.seen()), 1, "the wait does not depend on the role's backoff")
		advance(6 * time.Hour)
		times := h.seen()
		require.Greater(t, len(times), 12)
		require.Equal(t, 1, h.overlap.highest(), "one call at a time")
		wait := time.Minute
		for i := 1; i < len(times); i++ {
			gap := times[i].Sub(times[i-1])
			require.Greater(t, gap, wait*3/4, "wait %d", i)
			require.Less(t, gap, wait*5/4+15*time.Second, "wait %d", i)
			wait = min(2*wait, 30*time.Minute)
		}

		h.end()
		advance(80 * time.Minute) // a role's own backoff may be longer
		for _, name := range append(others, "failing") {
			r.requireVersion(name, 2)
		}

		h = r.throttle()
		require.Equal(t, problem.KindBusy, kindOf(t, r.rotateAll("role0")[0]))
		advance(85 * time.Second)
		times = h.seen()
		require.Len(t, times, 2, "after a call that worked, the wait is a minute again")
		require.Greater(t, times[1].Sub(times[0]), 45*time.Second)
	})
}

// A role that becomes due after a throttle was ended by a new credential does not wait for the throttle.
func TestRoleIsChangedWhenDueThoughConnectionWasThrottled(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.createDue(time.Hour, nil)
		r.createRoles("other")
		r.wakeFor(45)
		r.remote.fail(throttled(50 * time.Minute))
		require.Error(t, r.rotateOther())
		r.update(func(o *role.Options) { o.ReturnLast = true }, nil)
		r.remote.succeed()
		r.mustWriteConn(withKey("key"))
		r.wakeFor(18)
		require.Equal(t, 2, r.version())
	})
}

// A role that has failed for long waits an hour between two attempts. A throttle that it meets ends earlier.
func TestThrottledRoleWaitsForHoldOnly(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.mustCreate(nil)
		r.remote.fail(provider.Result{Outcome: provider.Unreachable, Scope: provider.ScopeTarget, Reason: "no answer"})
		r.rotateFails(problem.KindUnreachable)
		advance(2 * day)
		require.Greater(t, time.Until(r.role().Retry.NextAttempt), time.Minute, "it has backed off")
		r.remote.fail(throttled(0))
		advance(time.Until(r.role().Retry.NextAttempt) + 5*time.Second)
		require.Equal(t, provider.Busy, r.role().Retry.Last.Class)
		r.remote.succeed()
		advance(90 * time.Second)
		require.Equal(t, 2, r.version())
	})
}

// Requests repeat while a throttle lasts, whose end the remote system does not announce.
func TestRequestsFindOutThatThrottleEnded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = provider.Lockout{Credential: lockedKey("key"), Refusals: 5}
		r.engine.cache.Drop("conn")
		roles := roleNames(25)
		r.createRoles(roles...)
		h := r.throttle()
		for _, err := range r.rotateAll(roles...) {
			require.Equal(t, problem.KindBusy, kindOf(t, err))
			require.Regexp(t, `throttled at 2000-01-01T00:0.*Z|throttled\. `, err.Error())
		}
		began := time.Now()
		for i := 0; time.Since(began) < 5*time.Minute; i++ {
			if report, err := r.engine.Rotate(t.Context(), r.storage, roles[i%25], 0); err != nil {
				require.Equal(t, problem.KindBusy, kindOf(t, err))
			} else { // it waited too long for the call of another
				require.Contains(t, report.Warning, "is still in progress")
			}
			advance(2 * time.Second)
		}
		refused := len(h.seen())
		require.LessOrEqual(t, refused, 12)
		require.Greater(t, refused, 6, "requests probe")
		h.end()
		ended := time.Now()
		for i := 0; time.Since(ended) < 30*time.Second; i++ {
			_ = r.rotateAll(roles[i%25])
			advance(2 * time.Second)
		}
		advance(time.Minute - time.Since(ended))
		for _, name := range roles {
			report, err := r.engine.Read(t.Context(), r.storage, name)
			require.NoError(t, err)
			require.GreaterOrEqual(t, report.View.Password.Version, 2, name)
			require.False(t, report.BeingSet(), name)
		}
		require.LessOrEqual(t, h.overlap.highest(), 2)
	})
}

// Without a request, the engine itself finds out. Everything is done within a minute of that.
func TestThrottleCostsFewCalls(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = provider.Lockout{Credential: lockedKey("key"), Refusals: 5}
		r.engine.cache.Drop("conn")
		roles := roleNames(25)
		r.createRoles(roles...)
		h := r.throttle()
		r.rotateAll(roles...)
		advance(5 * time.Minute)
		refused := len(h.seen())
		require.LessOrEqual(t, refused, 5)
		h.end()
		for range 15 * 60 {
			if len(h.seen()) > refused {
				break
			}
			advance(time.Second)
		}
		advance(time.Minute)
		for _, name := range roles {
			r.requireVersion(name, 2)
		}
	})
}

// A service is not held because it shares its key with one that throttles.
func TestThrottleHoldsOneServiceOfKey(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = provider.Lockout{Credential: lockedKey("key"), Refusals: 5}
		r.engine.cache.Drop("conn")
		require.NoError(t, r.engine.Connections.Write(t.Context(), r.storage, "service", newConn("key", func(o *connection.Options) {
			o.Address = "https://service.example"
		})))
		require.NoError(t, r.engine.Connections.Write(t.Context(), r.storage, "same", newConn("key")))
		r.createRoles("role")
		r.createAs("other", func(in *NewRole) { in.Connection = "service" })
		r.createAs("third", func(in *NewRole) { in.Connection = "same" })
		r.remote.fail(throttled(0))
		r.rotateFails(problem.KindBusy)
		r.remote.succeed()
		require.NoError(t, r.rotateOther())
		require.Equal(t, problem.KindBusy, kindOf(t, r.rotateAll("third")[0]), "the same service and key")
	})
}
