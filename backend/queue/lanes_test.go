package queue

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLaneRunsAsManyJobsAsItHasRoomFor(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() {
			b.takes = func(string) time.Duration { return time.Second }
			b.rooms["a"], b.rooms["b"], b.rooms["none"] = 2, 5, 0
		})
		for i := range 20 {
			for _, lane := range []string{"a", "b", "none"} {
				b.Set(fmt.Sprint(lane, i), lane, time.Now())
			}
		}
		after(3500 * time.Millisecond)
		require.Equal(t, 8, b.count("a"))
		require.Equal(t, 20, b.count("b"))
		require.Zero(t, b.count("none"))
		require.Equal(t, 2, b.mostIn("a"))
		require.Equal(t, 5, b.mostIn("b"))
		b.set(func() { b.rooms["none"] = 1 })
		b.Wake()
		after(time.Second / 2)
		require.Equal(t, 1, b.count("none"))
	})
}

// The jobs of a lane that hangs never end. Other lanes work as if it were not there, and a new one finds a worker.
func TestLanesThatHangLeaveWorkersToOthers(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() {
			b.takes = func(key string) time.Duration {
				if key[0] == 'h' {
					return 1000 * time.Hour
				}
				return time.Second
			}
		})
		const hanging = 40
		for i := range hanging {
			lane := fmt.Sprint("h", i)
			b.set(func() { b.rooms[lane] = 100 })
			for j := range 100 {
				b.Set(fmt.Sprint(lane, "-", j), lane, time.Now())
			}
			after(time.Second)
			require.LessOrEqual(t, b.mostIn(""), Workers+i+1)
		}
		for i := range 10 {
			b.Set(fmt.Sprint("w", i), "works", time.Now())
		}
		after(11 * time.Second)
		require.Equal(t, 10, b.count("works"))
		require.Equal(t, 100, b.count("h0"), "while there is room it is used")
	})
}

// A lane takes at most half of the workers that are left.
func TestLaneTakesAtMostHalfOfWorkers(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() { b.takes = func(string) time.Duration { return 1000 * time.Hour } })
		left := Workers
		for _, lane := range []string{"a", "b", "c"} {
			b.set(func() { b.rooms[lane] = math.MaxInt })
			for i := range 2 * Workers {
				b.Set(fmt.Sprint(lane, i), lane, time.Now())
			}
			after(time.Second)
			require.Equal(t, left/2, b.count(lane), lane)
			left -= left / 2
		}
	})
}

func TestLanesTakeTurns(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() {
			b.takes = func(string) time.Duration { return time.Second }
			b.rooms["many"], b.rooms["few"] = math.MaxInt, math.MaxInt
		})
		for i := range 2000 {
			b.Set(fmt.Sprint("many", i), "many", time.Now().Add(-time.Hour))
		}
		for i := range 20 {
			b.Set(fmt.Sprint("few", i), "few", time.Now())
		}
		after(time.Second / 2)
		require.Equal(t, 20, b.count("few"), "they do not wait behind those that were due before")
	})
}

// Lanes that become due together start one job each before any of them starts another.
func TestLanesStartOneJobInTurn(t *testing.T) {
	t.Parallel()
	q := New(Config[string]{Clock: time.Now, Room: func(string) int { return 3 }, MayStart: func(string) bool { return true }})
	for i := range 4 {
		for _, lane := range []string{"a", "b", "c"} {
			q.Set(fmt.Sprint(lane, i), lane, time.Time{})
		}
	}
	jobs, _ := q.next()
	require.Len(t, jobs, 9)
	for i := 0; i < len(jobs); i += 3 {
		var lanes []string
		for _, job := range jobs[i : i+3] {
			lanes = append(lanes, job.lane.name)
		}
		require.ElementsMatch(t, []string{"a", "b", "c"}, lanes)
	}
	again, _ := q.next()
	require.Empty(t, again, "there is no room")
	for _, job := range jobs[:2] {
		q.ended(job.lane)
	}
	again, _ = q.next()
	require.Len(t, again, 2)
	require.ElementsMatch(t, []string{jobs[0].lane.name, jobs[1].lane.name}, []string{again[0].lane.name, again[1].lane.name})
}

func TestClosedQueueStartsNothing(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() { b.shut = true })
		b.Set("job", "c", time.Now())
		after(3 * time.Hour)
		require.Empty(t, b.keys())
		b.set(func() { b.shut = false })
		b.Wake()
		after(0)
		require.Equal(t, []string{"job"}, b.keys(), "it is woken")
	})
}

// Whatever happens to its jobs, a lane is gone when no job refers to it and none runs.
func TestIdleLanesAreRemoved(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		random, lengths := rand.New(rand.NewPCG(3, 4)), rand.New(rand.NewPCG(5, 6))
		b.set(func() {
			b.takes = func(string) time.Duration {
				b.mu.Lock()
				defer b.mu.Unlock()
				return time.Duration(lengths.IntN(3000)) * time.Millisecond
			}
		})
		for range 5000 {
			key, lane := fmt.Sprint(random.IntN(30)), fmt.Sprint(random.IntN(10))
			at := time.Now().Add(time.Duration(random.IntN(4000)-1000) * time.Millisecond)
			switch random.IntN(8) {
			case 0:
				b.Forget(key)
			case 1:
				b.Rest(key, lane)
			case 2:
				b.set(func() { b.shut = random.IntN(2) == 0 })
				b.Wake()
			case 3:
				b.set(func() { b.rooms[lane] = random.IntN(3) })
			case 4:
				b.Spread(func(key string) bool { return key < "2" }, func() time.Duration { return time.Second })
			case 5:
				after(time.Duration(random.IntN(500)) * time.Millisecond)
			default:
				b.Set(key, lane, at)
			}
			b.requireConsistent(t)
		}
		b.set(func() { b.shut = false; clear(b.rooms) })
		b.Wake()
		after(time.Hour)
		require.NotEmpty(t, b.keys())
		b.requireConsistent(t)
		for i := range 30 {
			b.Forget(fmt.Sprint(i))
		}
		lanes, items, busy := b.kept()
		require.Equal(t, []int{0, 0, 0}, []int{lanes, items, busy}, "lanes, jobs, busy lanes")
		require.Zero(t, b.Queue.running)
	})
}

// requireConsistent checks that each job is in exactly the heap that it says, and that lanes count what refers to them.
func (b *bench) requireConsistent(t *testing.T) {
	t.Helper()
	b.Queue.mu.Lock()
	defer b.Queue.mu.Unlock()
	perLane, waits, inLanes, running := map[*lane[string]]int{}, 0, 0, 0
	for key, it := range b.items {
		require.Equal(t, key, it.key)
		require.Same(t, it.lane, b.lanes[it.lane.name])
		perLane[it.lane]++
		switch it.where {
		case waiting:
			require.Same(t, it, b.waits[it.index])
			waits++
		case due:
			require.Same(t, it, it.lane.due[it.index])
			require.True(t, it.lane.busy)
			inLanes++
		case resting:
		}
	}
	require.Len(t, b.waits, waits)
	listed := map[*lane[string]]bool{}
	for _, l := range b.busy {
		require.False(t, listed[l], "the lane %s would have two turns", l.name)
		listed[l] = true
	}
	for name, l := range b.lanes {
		require.Equal(t, name, l.name)
		require.Equal(t, perLane[l], l.items)
		require.Positive(t, l.items+l.running, "the lane %s is empty", name)
		require.Equal(t, l.busy, listed[l], name)
		inLanes -= len(l.due)
		running += l.running
	}
	require.Zero(t, inLanes)
	require.Equal(t, b.Queue.running, running)
}

func TestRunReturnsAfterItsJobs(t *testing.T) {
	t.Parallel()
	var running atomic.Int64
	q := New(Config[int]{
		Clock: time.Now, Room: func(string) int { return 4 }, MayStart: func(string) bool { return true },
		Work: func(ctx context.Context, _ int, _ string) {
			running.Add(1)
			<-ctx.Done()
			running.Add(-1)
		},
	})
	for i := range 20 {
		q.Set(i, "c", time.Now())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	require.Eventually(t, func() bool { return running.Load() == 4 }, 10*time.Second, time.Millisecond)
	cancel()
	<-done
	require.Zero(t, running.Load())
	q.Set(100, "c", time.Now())
	q.Run(ctx)
	require.Zero(t, running.Load(), "an ended context starts nothing")
}

func TestQueueMayBeUsedConcurrently(t *testing.T) {
	t.Parallel()
	var q *Queue[int]
	var runs, last atomic.Int64
	q = New(Config[int]{
		Clock: time.Now, Room: func(string) int { return 2 }, MayStart: func(string) bool { return true },
		Work: func(_ context.Context, key int, lane string) {
			switch {
			case key >= 10:
				last.Add(1)
			case runs.Add(1)%3 == 0:
				q.Set(key, lane, time.Now().Add(time.Microsecond))
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			for j := range 300 {
				key := (i + j) % 10
				q.Set(key, fmt.Sprint(j%4), time.Now().Add(time.Duration(j%3)*time.Microsecond))
				switch j % 7 {
				case 0:
					q.Forget(key)
				case 1:
					q.Rest(key, "1")
				case 2:
					q.Spread(func(k int) bool { return k > 5 }, func() time.Duration { return time.Microsecond })
				case 3:
					q.Knows(key)
				}
			}
		})
	}
	users.Wait()
	for key := range 50 {
		q.Set(10+key, fmt.Sprint(key%4), time.Now().Add(time.Duration(key)*time.Microsecond))
	}
	require.Eventually(t, func() bool { return last.Load() == 50 }, 10*time.Second, time.Millisecond, "no job is left behind")
	cancel()
	<-done
}
