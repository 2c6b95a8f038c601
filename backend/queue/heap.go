package queue

import (
	"math"
	"time"
)

// instant is a time in nanoseconds since 1970. Each job has one, and it needs a third of the memory of a time.Time.
type instant int64

func instantOf(t time.Time) instant {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s >= math.MaxInt64/int64(time.Second): // only a damaged entry has such a time
		return math.MaxInt64
	default:
		return instant(t.UnixNano())
	}
}

// after returns i plus d, or the last possible instant.
func (i instant) after(d time.Duration) instant {
	if d > 0 && i > math.MaxInt64-instant(d) {
		return math.MaxInt64
	}
	return i + instant(d)
}

// byTime is a heap for container/heap with the earliest item first. Items know their index, so that they can be removed.
type byTime[K comparable] []*item[K]

func (h byTime[K]) Len() int           { return len(h) }
func (h byTime[K]) Less(i, j int) bool { return h[i].at < h[j].at }
func (h byTime[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j) //nolint:gosec // indexes of a slice in memory
}

// Push is for container/heap.
func (h *byTime[K]) Push(x any) {
	it, _ := x.(*item[K])
	it.index = int32(len(*h)) //nolint:gosec // an index of a slice in memory
	*h = append(*h, it)
}

// Pop is for container/heap.
func (h *byTime[K]) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
