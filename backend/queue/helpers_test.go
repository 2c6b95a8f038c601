package queue

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// started is a job that started, and when.
type started struct {
	key, lane string
	at        time.Time
}

// bench is a queue in fake time. Jobs of a lane without a room in rooms have room for four.
type bench struct {
	*Queue[string]

	mu    sync.Mutex // guards the fields below
	jobs  []started  // in the order in which they started
	rooms map[string]int
	shut  bool
	// most is how many jobs ran at a time, by lane; "" for all lanes.
	running, most map[string]int
	// takes is how long a job takes; nil: no time.
	takes func(key string) time.Duration
	// during is called while a job runs.
	during func(key string)
}

// onBench runs a test with a running queue. All jobs must have ended when it returns, or end with their context.
func onBench(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{rooms: map[string]int{}, running: map[string]int{}, most: map[string]int{}}
		b.Queue = New(Config[string]{Clock: time.Now, Work: b.work, Room: b.room, MayStart: b.open})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Run(ctx); close(done) }()
		defer func() { cancel(); <-done }()
		synctest.Wait()
		test(t, b)
	})
}

func (b *bench) room(lane string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room, ok := b.rooms[lane]; ok {
		return room
	}
	return 4
}

func (b *bench) open(string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.shut
}

// set changes what the queue's functions answer.
func (b *bench) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *bench) work(ctx context.Context, key, lane string) {
	b.mu.Lock()
	b.jobs = append(b.jobs, started{key, lane, time.Now()})
	for _, counted := range []string{lane, ""} {
		b.running[counted]++
		b.most[counted] = max(b.most[counted], b.running[counted])
	}
	takes, during := b.takes, b.during
	b.mu.Unlock()
	if during != nil {
		during(key)
	}
	if takes != nil {
		select {
		case <-time.After(takes(key)):
		case <-ctx.Done():
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running[lane]--
	b.running[""]--
}

// keys are those of the jobs that started, in order.
func (b *bench) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys := make([]string, 0, len(b.jobs))
	for _, job := range b.jobs {
		keys = append(keys, job.key)
	}
	return keys
}

// count is how many jobs of a lane started.
func (b *bench) count(lane string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, job := range b.jobs {
		if job.lane == lane {
			n++
		}
	}
	return n
}

// mostIn is how many jobs of a lane ran at a time; "": of all lanes.
func (b *bench) mostIn(lane string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.most[lane]
}

// kept are the lanes, the jobs and the busy lanes that the queue holds.
func (b *bench) kept() (lanes, items, busy int) {
	b.Queue.mu.Lock()
	defer b.Queue.mu.Unlock()
	return len(b.lanes), len(b.items), len(b.busy)
}

// after lets time pass, and lets all jobs start that become due in it.
func after(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}
