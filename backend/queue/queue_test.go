package queue

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestJobsStartInOrderOfTheirTimes(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() { b.rooms["c"] = 1 })
		began := time.Now()
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(200) {
			b.Set(fmt.Sprintf("role%03d", i), "c", began.Add(time.Duration(i)*time.Second))
		}
		var want []string
		for i := range 200 {
			want = append(want, fmt.Sprintf("role%03d", i))
		}
		after(100 * time.Second)
		require.Equal(t, want[:101], b.keys(), "each at its time")
		after(100 * time.Second)
		require.Equal(t, want, b.keys())
		for i, job := range b.jobs {
			require.Equal(t, began.Add(time.Duration(i)*time.Second), job.at)
		}
		require.Empty(t, b.waits)
		_, items, _ := b.kept()
		require.Equal(t, 200, items, "they are known")
	})
}

func TestDueJobsOfLaneStartInOrderOfTheirTimes(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() { b.rooms["c"], b.takes = 1, func(string) time.Duration { return time.Second } })
		for _, i := range []int{3, 1, 4, 2, 5} {
			b.Set(fmt.Sprint(i), "c", time.Now().Add(time.Duration(i)*time.Millisecond))
		}
		after(10 * time.Second)
		require.Equal(t, []string{"1", "2", "3", "4", "5"}, b.keys())
	})
}

func TestJobsCanBeMovedRestedAndForgotten(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		soon, late := time.Now().Add(time.Minute), time.Now().Add(time.Hour)
		b.Set("moved", "c", late)
		b.Set("moved", "", soon) // in its lane
		b.Set("rests", "c", soon)
		b.Rest("rests", "c")
		b.Rest("new", "c")
		b.Set("gone", "d", soon)
		b.Forget("gone")
		b.Forget("never set")
		b.Set("p", "p", soon)
		b.Set("q", "q", soon)
		b.Forget("q")
		after(2 * time.Minute)
		require.ElementsMatch(t, []started{{"moved", "c", soon}, {"p", "p", soon}}, b.jobs)
		for key, known := range map[string]bool{"moved": true, "rests": true, "new": true, "p": true, "gone": false, "q": false, "never set": false} {
			require.Equal(t, known, b.Knows(key), key)
		}
		require.NotContains(t, b.lanes, "d", "a lane without jobs is not kept")
		b.Set("moved", "elsewhere", soon)
		after(time.Second)
		require.Equal(t, 1, b.count("elsewhere"))
		after(2 * time.Hour)
		require.Len(t, b.keys(), 3)
	})
}

// A job is in one place, whatever it was when it was set.
func TestSetMovesJobToAnotherLane(t *testing.T) {
	for name, prepare := range map[string]func(b *bench){
		"while it waits":          func(b *bench) { b.Set("job", "from", time.Now().Add(time.Hour)) },
		"while it rests":          func(b *bench) { b.Rest("job", "from") },
		"while it is due":         func(b *bench) { b.set(func() { b.rooms["from"] = 0 }); b.Set("job", "from", time.Now()) },
		"while the queue is shut": func(b *bench) { b.set(func() { b.shut = true }); b.Set("job", "from", time.Now()) },
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(t *testing.T, b *bench) {
				prepare(b)
				after(time.Second)
				require.Empty(t, b.keys())
				b.Set("job", "to", time.Now().Add(time.Second))
				b.set(func() { b.rooms["from"], b.shut = 4, false })
				b.Wake()
				after(2 * time.Hour)
				require.Len(t, b.jobs, 1)
				require.Equal(t, "to", b.jobs[0].lane)
				lanes, items, busy := b.kept()
				require.Equal(t, []int{1, 1, 0}, []int{lanes, items, busy}, "lanes, jobs, busy lanes")
				b.Set("job", "", time.Now())
				after(time.Second)
				require.Equal(t, 2, b.count("to"), "without a lane it stays where it is")
			})
		})
	}
}

// A job that runs is counted in the lane in which it started.
func TestSetMovesRunningJob(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() {
			b.rooms["from"], b.rooms["to"] = 1, 1
			b.takes = func(string) time.Duration { return time.Minute }
		})
		b.Set("job", "from", time.Now())
		after(time.Second)
		b.Set("job", "to", time.Now())
		b.Set("other", "from", time.Now())
		after(time.Second)
		require.Equal(t, []string{"job", "job"}, b.keys(), "the lane from has no room while the first one runs")
		after(time.Minute)
		require.Equal(t, []string{"job", "job", "other"}, b.keys())
		after(time.Minute)
		b.Forget("other")
		b.Forget("job")
		lanes, items, busy := b.kept()
		require.Equal(t, []int{0, 0, 0}, []int{lanes, items, busy}, "lanes, jobs, busy lanes")
	})
}

func TestJobSetsItselfAgain(t *testing.T) {
	for name, at := range map[string]func() time.Time{
		"later":                      func() time.Time { return time.Now().Add(time.Minute) },
		"at once":                    time.Now,
		"for a time that has passed": func() time.Time { return time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(t *testing.T, b *bench) {
				runs := 0
				b.set(func() {
					b.rooms["c"] = 1
					b.takes = func(string) time.Duration { return time.Second }
					b.during = func(key string) { // one at a time
						if runs++; runs < 5 {
							b.Set(key, "", at())
						}
					}
				})
				b.Set("job", "c", time.Now())
				after(time.Hour)
				require.Equal(t, 5, b.count("c"))
				require.Equal(t, 1, b.mostIn("c"))
				require.True(t, b.Knows("job"))
			})
		})
	}
}

// The queue does not keep a job that was set again from running twice at a time: its owner has a lock for that.
func TestJobSetWhileRunningMayRunTwice(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() { b.takes = func(string) time.Duration { return time.Minute } })
		for range 2 {
			b.Set("job", "c", time.Now())
			after(time.Second)
		}
		require.Equal(t, 2, b.mostIn("c"))
		b.Forget("job")
		require.False(t, b.Knows("job"))
		after(time.Hour)
		require.Equal(t, 2, b.count("c"), "running does not set it again")
	})
}

func TestLastSetTimeApplies(t *testing.T) {
	for name, times := range map[string][]time.Duration{
		"by a later one":    {time.Minute, time.Hour},
		"by an earlier one": {3 * time.Hour, time.Hour},
		"by the same":       {time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			onBench(t, func(t *testing.T, b *bench) {
				began := time.Now()
				for _, d := range times {
					b.Set("job", "c", began.Add(d))
					synctest.Wait()
				}
				after(5 * time.Hour)
				require.Equal(t, []started{{"job", "c", began.Add(time.Hour)}}, b.jobs)
			})
		})
	}
}

func TestSpreadDelaysDueJobs(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() { b.rooms["c"], b.shut = 1000, true })
		began := time.Now()
		for i := range 60 {
			b.Set(fmt.Sprint("late", i), "c", began.Add(time.Duration(i)*time.Second))
		}
		b.Set("ahead", "c", began.Add(time.Hour+time.Second))
		b.Rest("rests", "c")
		after(time.Hour)
		require.Empty(t, b.keys(), "nothing starts while the queue is shut")
		b.set(func() { b.shut = false })
		next := time.Duration(0)
		b.Spread(func(string) bool { return true }, func() time.Duration { next += time.Second; return next })
		for i := range 60 {
			after(time.Second)
			late := b.count("c")
			require.Contains(t, b.keys(), "ahead", "at its own time")
			require.Equal(t, i+1, late-1)
		}
		require.NotContains(t, b.keys(), "rests")
	})
}

func TestSpreadDelaysOnlyMatchingJobs(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() { b.shut = true })
		began := time.Now()
		for _, key := range []string{"role1", "role2", "probe1", "probe2"} {
			b.Set(key, "c", began)
		}
		after(time.Second)
		b.set(func() { b.shut = false })
		b.Spread(func(key string) bool { return key[0] == 'r' }, func() time.Duration { return time.Minute })
		after(time.Second)
		require.ElementsMatch(t, []string{"probe1", "probe2"}, b.keys(), "these start at once")
		after(time.Minute)
		require.ElementsMatch(t, []string{"probe1", "probe2", "role1", "role2"}, b.keys())
		for _, job := range b.jobs[2:] {
			require.Equal(t, began.Add(time.Second+time.Minute), job.at, "counted from when the jobs were spread")
		}
	})
}

func TestSpreadLeavesRunningJobsAlone(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.set(func() { b.takes = func(string) time.Duration { return time.Minute } })
		b.Set("job", "c", time.Now())
		after(time.Second)
		b.Spread(func(string) bool { return true }, func() time.Duration { return time.Second })
		after(time.Hour)
		require.Len(t, b.keys(), 1)
	})
}

func TestTimesOutOfRangeAreClamped(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{{}, time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0), time.Unix(0, -1)} {
		require.Zero(t, instantOf(at))
	}
	for _, at := range []time.Time{time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)} {
		require.Equal(t, instant(math.MaxInt64), instantOf(at))
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 7, time.UTC)
	require.Equal(t, now, time.Unix(0, int64(instantOf(now))).UTC())
	require.Equal(t, now.Add(time.Hour), time.Unix(0, int64(instantOf(now).after(time.Hour))).UTC())
	require.Equal(t, now, time.Unix(0, int64(instantOf(now).after(0))).UTC())
	require.Equal(t, instant(math.MaxInt64), instant(math.MaxInt64).after(time.Hour), "there is no later time")
	require.Equal(t, instant(math.MaxInt64), instant(math.MaxInt64-1).after(2))
	require.Equal(t, instant(math.MaxInt64), instant(math.MaxInt64-1).after(1))
}

// A damaged entry may ask for any time.
func TestExtremeTimesDoNotStopQueue(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.Set("first", "c", time.Time{})
		b.Set("last", "c", time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
		b.Set("normal", "c", time.Now().Add(2*time.Hour))
		after(time.Second)
		require.Equal(t, []string{"first"}, b.keys())
		after(1000 * time.Hour)
		require.Equal(t, []string{"first", "normal"}, b.keys())
		b.Spread(func(string) bool { return true }, func() time.Duration { return 1 })
		after(time.Hour)
		require.Len(t, b.keys(), 2)
	})
}

// The clock may be set, so the queue looks at it at least once an hour.
func TestQueueChecksClockHourly(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		set := time.Duration(0)
		b.config.Clock = func() time.Time {
			b.mu.Lock()
			defer b.mu.Unlock()
			return time.Now().Add(set)
		}
		b.Set("job", "c", time.Now().Add(100*time.Hour))
		after(90 * time.Minute)
		b.set(func() { set = 200 * time.Hour })
		after(time.Minute)
		require.Empty(t, b.keys())
		after(time.Hour)
		require.Equal(t, []string{"job"}, b.keys())
	})
}
