package connection

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
)

// take takes a slot in the background.
func take(t *testing.T, s *slots) (release func()) {
	t.Helper()
	release, err := s.acquire(noWait)
	require.NoError(t, err)
	return release
}

func full(t *testing.T, s *slots) {
	t.Helper()
	_, err := s.acquire(noWait)
	require.ErrorIs(t, err, problem.ErrFull)
}

// Rewriting a connection does not let more changes run than max_in_flight.
func TestSlotsOutliveHandles(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h := r.open(nil)
		first, second := r.hang(noWait, h), r.hang(noWait, h)
		for revision := range 3 {
			r.cache.Drop("conn")
			_, ticket := r.cache.Get("conn")
			h = r.cache.Keep(r.open(func(c *Connection) { c.Revision = revision + 2 }), ticket)
			r.refuses(h, problem.ErrFull)
		}
		other := r.open(func(c *Connection) { c.Name = "other" })
		r.call(other, applied)
		first(applied)
		r.call(h, applied)
		second(applied)
		require.Zero(t, h.slots.used)
	})
}

func TestSlotsResizeWhileChangesRun(t *testing.T) {
	t.Parallel()
	s := newSlots()
	full(t, s)
	s.resize(2)
	a, b := take(t, s), take(t, s)
	full(t, s)
	s.resize(4)
	c, d := take(t, s), take(t, s)
	full(t, s)
	s.resize(1)
	a()
	b()
	full(t, s)
	c()
	full(t, s)
	d()
	e := take(t, s)
	full(t, s)
	e()
	require.Zero(t, s.used)
}

// Those who wait use the room that a new limit gives.
func TestWaitingChangesUseRoomOfResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots()
		s.resize(1)
		first := take(t, s)
		took := make(chan func(), 5)
		for range cap(took) {
			go func() {
				release, err := s.acquire(t.Context())
				if err == nil {
					took <- release
				}
			}()
		}
		synctest.Wait()
		require.Empty(t, took)
		s.resize(1)
		synctest.Wait()
		require.Empty(t, took)
		s.resize(3)
		synctest.Wait()
		require.Len(t, took, 2)
		s.resize(2)
		first()
		synctest.Wait()
		require.Len(t, took, 2, "three ran, and two may")
		for range 5 {
			(<-took)()
			synctest.Wait()
		}
		require.Zero(t, s.used)
		require.Zero(t, s.asked)
	})
}

func TestWaitForSlotEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots()
		s.resize(1)
		first := take(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		_, err := s.acquire(ctx)
		require.ErrorIs(t, err, problem.ErrGivenUp)
		require.Equal(t, time.Minute, time.Since(began))
		first()
		require.Zero(t, s.used)
		take(t, s)()
	})
}

// Workers leave slots to requests: what a request runs takes room from the background, and not the other way round.
func TestRoomLeavesSlotsToRequests(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h := r.open(func(c *Connection) { c.MaxInFlight = 3 })
		require.Equal(t, 3, h.Room())
		background := r.hang(noWait, h)
		require.Equal(t, 3, h.Room(), "the queue counts its own jobs")
		request := r.hang(t.Context(), h)
		require.Equal(t, 2, h.Room())
		request(applied)
		require.Equal(t, 3, h.Room())
		background(applied)
		require.Equal(t, 3, h.Room())
	})
}

func TestRoomIsBoundedByGuard(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.remote.lockout = five
		h := r.open(func(c *Connection) { c.MaxInFlight = 10 })
		require.Equal(t, 1, h.Room(), "no call has worked yet")
		r.call(h, applied)
		require.Equal(t, 2, h.Room())
		r.throttled(h)
		require.Equal(t, 1, h.Room())
	})
}

func TestSlotsMayBeUsedConcurrently(t *testing.T) {
	t.Parallel()
	s := newSlots()
	s.resize(3)
	var running, highest int
	var mu sync.Mutex
	count := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		running += n
		highest = max(highest, running)
	}
	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 300 {
				waiting := noWait
				if random.IntN(2) == 0 {
					waiting = t.Context()
				}
				release, err := s.acquire(waiting)
				if err != nil {
					continue
				}
				count(1)
				count(-1)
				release()
				if random.IntN(20) == 0 {
					s.resize(1 + random.IntN(3))
				}
			}
		})
	}
	users.Wait()
	require.Zero(t, s.used)
	require.Zero(t, s.asked)
	require.LessOrEqual(t, highest, 3)
}

func TestMaxInFlightIsAtLeastOne(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r *rig) {
		for _, limit := range []int{0, -1} { // of a damaged entry
			_, ticket := r.cache.Get("damaged")
			h := r.open(func(c *Connection) { c.Name, c.MaxInFlight = "damaged", limit })
			r.call(h, applied)
			r.call(r.cache.Keep(h, ticket), applied)
			r.cache.Drop("damaged")
		}
	})
}

// Where the remote system locks nothing, max_in_flight is the only bound.
func TestMaxInFlightBoundsChanges(t *testing.T) {
	inFakeTime(t, func(_ *testing.T, r *rig) {
		h := r.open(func(c *Connection) { c.MaxInFlight = 5 })
		var ends []func(provider.Result)
		for range 5 {
			ends = append(ends, r.hang(noWait, h))
		}
		r.refuses(h, problem.ErrFull)
		for _, end := range ends {
			end(applied)
		}
	})
}
