package rotation

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// workers bounds how many items are worked on at a time.
const workers = 64

// item is what waits for its time: a role, or a paused connection.
type item struct {
	role       string
	connection string
}

// timer calls a function for each item when its time has come: one heap and one timer, no goroutine per item. Storage
// is the truth about what is due; the timer may forget, and be told again.
type timer struct {
	clock func() time.Time
	work  func(context.Context, item)

	mu     sync.Mutex
	queue  queue
	places map[item]*place
	wake   chan struct{}
}

type place struct {
	item
	at    time.Time
	index int
}

func newTimer(clock func() time.Time, work func(context.Context, item)) *timer {
	return &timer{clock: clock, work: work, places: map[item]*place{}, wake: make(chan struct{}, 1)}
}

// set puts the item on the heap, or moves it.
func (t *timer) set(i item, at time.Time) {
	t.mu.Lock()
	if p := t.places[i]; p != nil {
		p.at = at
		heap.Fix(&t.queue, p.index)
	} else {
		p = &place{item: i, at: at}
		t.places[i] = p
		heap.Push(&t.queue, p)
	}
	t.mu.Unlock()
	t.poke()
}

func (t *timer) forget(i item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.places[i]; p != nil {
		heap.Remove(&t.queue, p.index)
		delete(t.places, i)
	}
}

func (t *timer) knows(i item) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.places[i] != nil
}

// poke makes run look at the heap again.
func (t *timer) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// run works until its context ends, and returns when its workers have.
func (t *timer) run(ctx context.Context) {
	due := make(chan item)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range due {
				t.work(ctx, i)
			}
		})
	}
	defer group.Wait()
	defer close(due)

	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	for ctx.Err() == nil {
		i, wait, ok := t.pop()
		if ok {
			select {
			case due <- i:
			case <-ctx.Done():
			}
			continue
		}
		clock.Reset(wait)
		select {
		case <-clock.C:
		case <-t.wake:
		case <-ctx.Done():
		}
	}
}

// pop takes the first item off the heap if its time has come, and says how long until it has otherwise.
func (t *timer) pop() (item, time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return item{}, time.Hour, false
	}
	first := t.queue[0]
	if wait := first.at.Sub(t.clock()); wait > 0 {
		return item{}, wait, false
	}
	heap.Pop(&t.queue)
	delete(t.places, first.item)
	return first.item, 0, true
}

// queue is a heap by time.
type queue []*place

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	p, _ := x.(*place)
	p.index = len(*q)
	*q = append(*q, p)
}

func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}
