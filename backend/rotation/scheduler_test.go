package rotation

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// bench is a scheduler in fake time whose jobs a test decides about.
type bench struct {
	*scheduler
	mu sync.Mutex
	// began are the jobs in the order in which they began.
	began []job
	under map[string]int
	most  map[string]int
	total int
	rooms map[string]int
	shut  bool
	// takes is how long a job takes; 0: no time.
	takes func(job) time.Duration
}

func (b *bench) work(ctx context.Context, j job) {
	b.mu.Lock()
	b.began = append(b.began, j)
	b.under[j.connection]++
	b.total++
	b.most[j.connection] = max(b.most[j.connection], b.under[j.connection])
	b.most[""] = max(b.most[""], b.total)
	takes := b.takes
	b.mu.Unlock()
	if takes != nil {
		select {
		case <-time.After(takes(j)):
		case <-ctx.Done():
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under[j.connection]--
	b.total--
}

func (b *bench) count(connection string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, j := range b.began {
		if j.connection == connection {
			n++
		}
	}
	return n
}

func (b *bench) names() (names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, j := range b.began {
		names = append(names, j.role)
	}
	return names
}

func onBench(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{under: map[string]int{}, most: map[string]int{}, rooms: map[string]int{}}
		b.scheduler = newScheduler(time.Now, b.work, func(connection string) int {
			if room, ok := b.rooms[connection]; ok {
				return room
			}
			return 4
		}, func() bool { return !b.shut })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.run(ctx); close(done) }()
		synctest.Wait() // the test sets what it reads
		test(t, b)
		cancel()
		<-done
	})
}

func TestJobsBeginInTheOrderOfTheirTimes(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.rooms["c"] = 1
		var want []string
		order := rand.New(rand.NewPCG(1, 2)).Perm(200)
		for _, i := range order {
			b.set(fmt.Sprintf("role%03d", i), "c", time.Now().Add(time.Duration(i)*time.Second))
		}
		for i := range 200 {
			want = append(want, fmt.Sprintf("role%03d", i))
		}
		after(100 * time.Second)
		require.Equal(t, want[:101], b.names(), "each at its time")
		after(100 * time.Second)
		require.Equal(t, want, b.names())
		require.Empty(t, b.queue)
		require.Len(t, b.roles, 200, "they are known")
	})
}

func TestAJobIsMovedPutToRestAndForgotten(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		soon, late := time.Now().Add(time.Minute), time.Now().Add(time.Hour)
		b.set("moved", "c", late)
		b.set("moved", "", soon) // its connection is known
		b.set("rests", "c", soon)
		b.rest("rests", "c")
		b.set("gone", "d", soon)
		b.forget("gone")
		b.forget("never there")
		b.probe("p", soon)
		b.probe("q", soon)
		b.endProbes("q")
		after(2 * time.Minute)
		require.ElementsMatch(t, []job{{role: "moved", connection: "c"}, {connection: "p", probe: true}}, b.began)
		require.True(t, b.knows("rests"))
		require.False(t, b.knows("gone"))
		require.NotContains(t, b.lanes, "d", "nothing is kept for a connection without roles")
		b.set("moved", "elsewhere", soon) // a role of that name was made anew
		after(time.Second)
		require.Equal(t, 1, b.count("elsewhere"))
	})
}

func TestAConnectionHasAsManyJobsUnderWayAsItHasRoomFor(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.takes = func(job) time.Duration { return time.Second }
		b.rooms["a"], b.rooms["b"], b.rooms["none"] = 2, 5, 0
		for i := range 20 {
			for _, c := range []string{"a", "b", "none"} {
				b.set(fmt.Sprint(c, i), c, time.Now())
			}
		}
		after(3500 * time.Millisecond)
		require.Equal(t, 8, b.count("a"))
		require.Equal(t, 20, b.count("b"))
		require.Zero(t, b.count("none"))
		require.Equal(t, 2, b.most["a"])
		require.Equal(t, 5, b.most["b"])
		b.rooms["none"] = 1
		b.poke()
		after(time.Second / 2)
		require.Equal(t, 1, b.count("none"))
	})
}

// The jobs of a connection that hangs never end. Others go on as if it were not there, and one that comes anew finds a worker.
func TestConnectionsThatHangLeaveWorkersToOthers(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.takes = func(j job) time.Duration {
			if j.connection[0] == 'h' {
				return 1000 * time.Hour
			}
			return time.Second
		}
		const hanging = 40
		for c := range hanging {
			connection := fmt.Sprint("h", c)
			b.rooms[connection] = 100
			for i := range 100 {
				b.set(fmt.Sprint(connection, "-", i), connection, time.Now())
			}
			after(time.Second)
			require.LessOrEqual(t, b.most[""], workers+c+1)
		}
		for i := range 10 {
			b.set(fmt.Sprint("w", i), "works", time.Now())
		}
		after(11 * time.Second)
		require.Equal(t, 10, b.count("works"))
		require.Equal(t, 100, b.count("h0"), "while there is room it is used")
	})
}

func TestConnectionsTakeTurns(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.takes = func(job) time.Duration { return time.Second }
		b.rooms["many"], b.rooms["few"] = math.MaxInt, math.MaxInt
		for i := range 2000 {
			b.set(fmt.Sprint("many", i), "many", time.Now().Add(-time.Hour))
		}
		for i := range 20 {
			b.set(fmt.Sprint("few", i), "few", time.Now())
		}
		after(time.Second / 2)
		require.Equal(t, 20, b.count("few"), "they do not wait behind those that were due before")
	})
}

func TestNothingBeginsWhileItMayNotAndThenNotAllAtOnce(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.rooms["c"] = 1000
		b.shut = true
		for i := range 60 {
			b.set(fmt.Sprint("late", i), "c", time.Now().Add(time.Duration(i)*time.Second))
		}
		b.set("ahead", "c", time.Now().Add(time.Hour+time.Second))
		after(time.Hour)
		require.Empty(t, b.names())
		b.shut = false
		next := time.Duration(0)
		b.spread(func(string) time.Duration { next += time.Second; return next })
		for i := range 60 {
			after(time.Second)
			want := i + 1
			require.Len(t, slices.DeleteFunc(b.names(), func(name string) bool { return name == "ahead" }), want)
		}
		require.Contains(t, b.names(), "ahead", "at its own time")
	})
}

func TestATimeThatNoClockHasIsTheEndOfTime(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{{}, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0), time.Unix(0, -1)} {
		require.Zero(t, instantOf(at))
	}
	for _, at := range []time.Time{time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)} {
		require.Equal(t, instant(math.MaxInt64), instantOf(at))
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 7, time.UTC)
	require.Equal(t, now, instantOf(now).time())
}
