package rotation

import (
	"math"
	"time"
)

// instant is a time in nanoseconds since 1970: a third of a time.Time, of which there is one for each role.
type instant int64

func instantOf(t time.Time) instant {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s >= math.MaxInt64/int64(time.Second): // only damaged storage has such
		return math.MaxInt64
	default:
		return instant(t.UnixNano())
	}
}

func (i instant) time() time.Time { return time.Unix(0, int64(i)).UTC() }

// timed is what a heap orders by time. It remembers where it is, so that it can be moved and removed.
type timed interface {
	when() instant
	moved(index int32)
}

// byTime is a heap for package heap whose first element is the earliest.
type byTime[T timed] []T

func (h byTime[T]) Len() int           { return len(h) }
func (h byTime[T]) Less(i, j int) bool { return h[i].when() < h[j].when() }
func (h byTime[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].moved(int32(i)) //nolint:gosec // an index in memory
	h[j].moved(int32(j)) //nolint:gosec // an index in memory
}

// Push is for package heap.
func (h *byTime[T]) Push(x any) {
	t, _ := x.(T)
	t.moved(int32(len(*h))) //nolint:gosec // an index in memory
	*h = append(*h, t)
}

// Pop is for package heap.
func (h *byTime[T]) Pop() any {
	var none T
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = none
	*h = old[:len(old)-1]
	return last
}
