package rotation

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/role"
)

// ahead sets how far the engine's clock is ahead.
type ahead struct{ by atomic.Int64 }

func (a *ahead) set(d time.Duration) { a.by.Store(int64(d)) }

// withClock restarts the engine with a clock that can be ahead.
func (r *rig) withClock() *ahead {
	a := &ahead{}
	r.clock = func() time.Time { return time.Now().UTC().Round(0).Add(time.Duration(a.by.Load())) }
	r.restart()
	return a
}

// While the clock is ahead, passwords become due. After that they are due as usual, counted from when the clock is right.
func TestClockAheadDelaysNoRotation(t *testing.T) {
	for name, restarts := range map[string]bool{"while the engine runs": false, "across a restart": true} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				clock := r.withClock()
				r.createDue(10*time.Minute, nil)
				clock.set(90 * day)
				r.wakeFor(2)
				require.Equal(t, 2, r.version())
				clock.set(0)
				if restarts {
					r.restart()
				}
				r.wakeFor(2)
				status := r.status()
				require.WithinDuration(t, time.Now().Add(8*time.Minute), status.Due, 2*time.Minute)
				require.Contains(t, status.Reason, "in the future: a clock was wrong")
				require.Equal(t, 1, r.engine.Health().RotatedAhead)
				r.wakeFor(10)
				require.Equal(t, 3, r.version())
				require.Equal(t, r.remote.password("login"), r.read().Password.Value)
				require.NotContains(t, r.status().Reason, "in the future")
				require.Zero(t, r.engine.Health().RotatedAhead)
			})
		})
	}
}

// Whatever a clock that is ahead stores holds the role up no longer than if it had happened when the clock was right again.
func TestClockAheadHoldsNothingUp(t *testing.T) {
	for name, row := range map[string]struct {
		// while is what happens while the clock is ahead, then what happens once it is right, and after what after a restart.
		while, then, after func(r *rig)
		minutes            int
		version            int
	}{
		"a backoff": {
			while: func(r *rig) { r.remote.fail(unreachable); r.rotateFails(problem.KindUnreachable) },
			then:  func(r *rig) { r.remote.succeed() }, minutes: 3, version: 2,
		},
		"a hold": {
			while: func(r *rig) { r.remote.fail(throttled(20 * time.Minute)); r.rotateFails(problem.KindBusy) },
			then:  func(r *rig) { r.remote.succeed() }, minutes: 3, version: 2,
		},
		"a pause": {
			while: func(r *rig) { r.remote.refuseCredential(); r.rotateFails(problem.KindUnreachable) },
			then:  func(r *rig) { r.remote.acceptCredential() }, minutes: 12, version: 2,
		},
		"an unknown outcome": {
			while: func(r *rig) { r.remote.answer(unknown, true); r.mustRotate() },
			then:  func(r *rig) { r.remote.succeed() }, minutes: 3, version: 2,
		},
		"another password after an unknown outcome": {
			while: func(r *rig) { r.remote.answer(unknown, true); r.mustRotate(); _, _ = r.setPassword(chosen) },
			then:  func(r *rig) { r.remote.succeed() }, minutes: 4, version: 3,
		},
		"a queue": {
			while:   func(r *rig) { r.remote.setSettleAfter(time.Minute); r.remote.answer(queued, true); r.mustRotate() },
			minutes: 4, version: 2,
		},
		"a first read": {
			while: func(r *rig) {
				r.update(func(o *role.Options) { o.RotateAfterRead = 600 }, nil)
				r.serve()
			},
			after: func(r *rig) { r.wakeFor(1); r.serve() }, minutes: 12, version: 2,
		},
	} {
		for when, restarts := range map[string]bool{"while the engine runs": false, "across a restart": true} {
			t.Run(name+", "+when, func(t *testing.T) {
				inFakeTime(t, func(t *testing.T, r *rig) {
					clock := r.withClock()
					r.mustCreate(nil)
					clock.set(90 * day)
					row.while(r)
					clock.set(0)
					if row.then != nil {
						row.then(r)
					}
					if restarts {
						r.restart()
					}
					if row.after != nil {
						row.after(r)
					}
					r.wakeFor(row.minutes)
					require.Equal(t, row.version, r.version())
					require.Contains(t, []credential.State{credential.StateActive, credential.StateAssumed}, r.read().State)
					require.Equal(t, r.remote.password("login"), r.read().Password.Value)
				})
			})
		}
	}
}
