package lockout

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Calls that run may all be refused: with them, proofs must not exceed the limit.
func TestProofLeavesRoomForCallsThatRun(t *testing.T) {
	t.Parallel()
	for running := range 4 {
		r := newRig(t, unlocked)
		g := r.of("", "right")
		require.NoError(t, r.attempt(g, applied))
		for range running {
			_, err := g.Enter(noWait)
			require.NoError(t, err)
		}
		p, taken := r.proofs("a", server), 0
		for range 3 {
			if _, err := p.Take(t.Context(), noWait, r.memory); err == nil {
				taken++
			} else {
				require.ErrorIs(t, err, ErrFull)
			}
		}
		require.Equal(t, min(2, 3-running), taken, running)
	}
}

// Busy connections leave a proof its turn, and a proof that waits leaves them at least one.
func TestProofGetsTurnAmongBusyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, unlocked)
		g := r.of("", "right")
		require.NoError(t, r.attempt(g, applied))
		running := []*Permit{}
		enter := func() (err error) {
			p, err := g.Enter(noWait)
			if err == nil {
				running = append(running, p)
			}
			return err
		}
		for range 3 {
			require.NoError(t, enter())
		}
		taken := make(chan error, 1)
		go func() {
			_, err := r.proofs("a", server).Take(t.Context(), t.Context(), r.memory)
			taken <- err
		}()
		synctest.Wait()
		require.Empty(t, taken)
		require.Equal(t, 2, g.Room())
		running[0].Leave()
		require.ErrorIs(t, enter(), ErrFull, "it is the proof's turn")
		require.NoError(t, <-taken)
		require.ErrorIs(t, enter(), ErrFull)
		running[1].Leave()
		require.NoError(t, enter())
		require.Equal(t, 2, g.Room())
	})
}

func TestProofWaitsForOthers(t *testing.T) {
	for name, row := range map[string]struct {
		first, second provider.Proof
		taken         bool
	}{
		"one works":        {proofWorks, proofRefused, true},
		"the second works": {proofRefused, proofWorks, true},
		"both are refused": {proofRefused, proofLost, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, unlocked)
				p := r.proofs("a", noSender)
				first, second := r.take(p), r.take(p)
				taken := make(chan error, 1)
				go func() {
					_, err := p.Take(t.Context(), t.Context(), r.memory)
					taken <- err
				}()
				synctest.Wait()
				first.Answered(row.first)
				second.Answered(row.second)
				if err := <-taken; row.taken {
					require.NoError(t, err)
				} else {
					var blocked *BlockedError
					require.ErrorAs(t, err, &blocked)
				}
			})
		})
	}
}

// Those who stop waiting hold up nobody.
func TestProofStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, unlocked)
		g := r.of("", "key")
		p := r.proofs("a", server)
		open := []*Attempt{r.take(p), r.take(p)}
		for range 2 {
			ended, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := p.Take(t.Context(), ended, r.memory)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, err = p.Take(ended, t.Context(), r.memory)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		require.Equal(t, 1, g.Room())
		for _, a := range open {
			a.Answered(proofWorks)
		}
		require.Equal(t, 3, g.Room())
		require.Equal(t, 0, r.guards.budgets[p.key].users)
	})
}
