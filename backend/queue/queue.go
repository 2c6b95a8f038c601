// Package queue runs jobs at their times, with one heap, one timer, and no goroutine for a waiting job.
//
// A job has a key, a time and a lane. Lanes keep jobs that share a resource from starving the others: due jobs wait in
// their lane, and the lanes take turns. A lane runs as many jobs as [Config.Room] allows, but at most half of the workers
// that are left, so a lane whose jobs hang cannot take all of them. Each lane can always run one job.
//
// The queue is not durable: its owner sets the jobs again after a restart. The queue knows nothing about what a job does.
package queue

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// Workers bounds the jobs that run at a time in all lanes, not counting the first job of each lane.
const Workers = 256

// Config is what a [Queue] needs. Its functions may be called concurrently.
type Config[K comparable] struct {
	// Clock returns the current time.
	Clock func() time.Time
	// Work runs a job, which has left the queue by then. Work must set it again, or let it rest.
	Work func(ctx context.Context, key K, lane string)
	// Room returns how many jobs of a lane may run at a time. It must not call the queue.
	Room func(lane string) int
	// MayStart reports whether jobs of a lane may start. It must not call the queue. Call [Queue.Wake] when it changes.
	MayStart func(lane string) bool
}

// Queue runs jobs at their times. Its methods may be called concurrently.
type Queue[K comparable] struct {
	config Config[K]

	mu    sync.Mutex // guards the fields below
	waits byTime[K]
	items map[K]*item[K]
	lanes map[string]*lane[K]
	// busy are the lanes with due jobs, and turn is the index of the next one to start a job.
	busy    []*lane[K]
	turn    int
	running int
	// alarm is when the timer of Run fires.
	alarm instant
	wake  chan struct{}
}

// item is a job. A resting job keeps its item, so that the queue knows it.
type item[K comparable] struct {
	key   K
	lane  *lane[K]
	at    instant
	index int32 // in its heap
	where where
}

type where uint8

const (
	resting where = iota // or running
	waiting              // for its time
	due                  // in its lane
)

// lane holds the due jobs of one resource.
type lane[K comparable] struct {
	name    string
	due     byTime[K]
	running int
	items   int  // items that refer to the lane
	busy    bool // in Queue.busy
}

// New returns an empty queue. Call [Queue.Run] to run its jobs.
func New[K comparable](c Config[K]) *Queue[K] {
	return &Queue[K]{
		config: c, items: map[K]*item[K]{}, lanes: map[string]*lane[K]{},
		alarm: math.MaxInt64, wake: make(chan struct{}, 1),
	}
}

// Set schedules a job, or changes its time. If lane is "", a known job stays in its lane.
func (q *Queue[K]) Set(key K, lane string, at time.Time) {
	q.mu.Lock()
	it := q.item(key, lane)
	q.put(it, instantOf(at))
	early := it.at < q.alarm
	q.mu.Unlock()
	if early {
		q.Wake()
	}
}

// Rest keeps a job in the queue without a time.
func (q *Queue[K]) Rest(key K, lane string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.take(q.item(key, lane))
}

// Forget removes a job.
func (q *Queue[K]) Forget(key K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it := q.items[key]; it != nil {
		q.take(it)
		q.leave(it.lane)
		delete(q.items, key)
	}
}

// Knows reports whether the job is in the queue, with or without a time.
func (q *Queue[K]) Knows(key K) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items[key] != nil
}

// Spread delays every job whose time has passed and whose key matches, each by its own duration from now, so that jobs that
// piled up do not start together.
func (q *Queue[K]) Spread(match func(K) bool, by func() time.Duration) {
	q.mu.Lock()
	now := instantOf(q.config.Clock())
	for key, it := range q.items {
		if it.where != resting && it.at <= now && match(key) {
			q.put(it, now.after(by()))
		}
	}
	q.mu.Unlock()
	q.Wake()
}

// Wake makes Run check the queue now. Call it when the result of MayStart or Room, or the clock, has changed.
func (q *Queue[K]) Wake() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run starts jobs until ctx ends, and returns when all of them have returned.
func (q *Queue[K]) Run(ctx context.Context) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for ctx.Err() == nil {
		started, wait := q.next()
		for _, it := range started {
			jobs.Go(func() {
				defer q.ended(it.lane)
				q.config.Work(ctx, it.key, it.lane.name)
			})
		}
		alarm.Reset(wait)
		select {
		case <-alarm.C:
		case <-q.wake:
		case <-ctx.Done():
		}
	}
}

// put moves an item to the heap of waiting jobs. q.mu must be held.
func (q *Queue[K]) put(it *item[K], at instant) {
	q.take(it)
	it.at, it.where = at, waiting
	heap.Push(&q.waits, it)
}

// take removes an item from its heap. q.mu must be held.
func (q *Queue[K]) take(it *item[K]) {
	switch it.where {
	case waiting:
		heap.Remove(&q.waits, int(it.index))
	case due:
		heap.Remove(&it.lane.due, int(it.index))
	case resting:
	}
	it.where = resting
}

// item returns the item of a key, in the lane. q.mu must be held.
func (q *Queue[K]) item(key K, name string) *item[K] {
	it := q.items[key]
	if it == nil {
		it = &item[K]{key: key}
		q.items[key] = it
	}
	if it.lane != nil && (name == "" || it.lane.name == name) {
		return it
	}
	q.take(it)
	if it.lane != nil {
		q.leave(it.lane)
	}
	it.lane = q.lanes[name]
	if it.lane == nil {
		it.lane = &lane[K]{name: name}
		q.lanes[name] = it.lane
	}
	it.lane.items++
	return it
}

// leave removes an item from a lane, and deletes the lane if it is empty. q.mu must be held.
func (q *Queue[K]) leave(l *lane[K]) {
	if l.items--; l.items == 0 && l.running == 0 {
		delete(q.lanes, l.name)
	}
}

// start is a job that starts, with the lane in which it counts.
type start[K comparable] struct {
	key  K
	lane *lane[K]
}

// next returns the jobs to start, and how long Run may sleep unless it is woken.
func (q *Queue[K]) next() (started []start[K], wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := instantOf(q.config.Clock())
	for len(q.waits) > 0 && q.waits[0].at <= now {
		it := q.waits[0]
		heap.Pop(&q.waits)
		if !it.lane.busy {
			it.lane.busy = true
			q.busy = append(q.busy, it.lane)
		}
		it.where = due
		heap.Push(&it.lane.due, it)
	}
	started = q.start()
	wait = time.Hour
	if len(q.waits) > 0 {
		wait = min(wait, time.Duration(q.waits[0].at-now))
	}
	q.alarm = now.after(wait)
	return started, wait
}

// start lets the lanes take turns until none of them may start another job. q.mu must be held.
func (q *Queue[K]) start() (started []start[K]) {
	for passed := 0; passed < len(q.busy); {
		if q.turn >= len(q.busy) {
			q.turn = 0
		}
		l := q.busy[q.turn]
		if len(l.due) == 0 {
			l.busy = false
			q.busy = slices.Delete(q.busy, q.turn, q.turn+1)
			continue
		}
		if l.running > 0 && l.running >= Workers-q.running || l.running >= q.config.Room(l.name) || !q.config.MayStart(l.name) {
			q.turn++
			passed++
			continue
		}
		it := l.due[0]
		q.take(it)
		l.running++
		q.running++
		started = append(started, start[K]{it.key, l})
		passed = 0
		q.turn++
	}
	return started
}

// ended records that a job of the lane has returned.
func (q *Queue[K]) ended(l *lane[K]) {
	q.mu.Lock()
	l.running--
	q.running--
	if l.items == 0 && l.running == 0 && q.lanes[l.name] == l {
		delete(q.lanes, l.name)
	}
	waiting := len(q.busy) > 0
	q.mu.Unlock()
	if waiting {
		q.Wake()
	}
}
