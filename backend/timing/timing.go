// Package timing computes the engine's waiting times and adds jitter to them. Times that an operator can set are fields of
// connections and roles.
package timing

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"strconv"
	"time"
)

// Scale divides the engine's waiting times. It is 1 in release builds. Test builds set it with the linker, so that retries
// take seconds instead of minutes. It must not change while an engine runs.
var Scale = "1"

const (
	// FirstBackoff is the wait after the first failure.
	FirstBackoff = 5 * time.Second
	// LastBackoff is the longest wait after a failure.
	LastBackoff = time.Hour
	// Skew is how far the clocks of two nodes may differ. What is stored as having happened later than that from now was
	// stored by a clock that was ahead.
	Skew = 5 * time.Minute
	// LongestOption is the longest time that an operator can set, in seconds: 10 years.
	LongestOption = 10 * 365 * 24 * 60 * 60
	// storeWait bounds storing an outcome while the engine is stopping.
	storeWait = time.Second
)

// Scaled returns d divided by Scale.
func Scaled(d time.Duration) time.Duration {
	by, err := strconv.ParseFloat(Scale, 64)
	if err != nil || by <= 0 {
		return d
	}
	return time.Duration(float64(d) / by)
}

// Seconds returns n seconds, or the longest duration if there are more.
func Seconds[N int | int64 | float64](n N) time.Duration {
	const longest = float64(math.MaxInt64 / time.Second)
	return time.Duration(max(-longest, min(float64(n), longest))) * time.Second
}

// Timing is a clock and a source of randomness for jitter. Both may be used concurrently.
type Timing struct {
	Now    func() time.Time
	Random io.Reader
}

// Backoff returns the wait after the n-th failure in a row (n ≥ 1). It doubles from FirstBackoff to LastBackoff, plus up to
// a quarter of jitter, so that roles that failed together do not retry together.
func (t Timing) Backoff(n int) time.Duration { return t.Grow(FirstBackoff, n) }

// Grow is Backoff with a different first wait.
func (t Timing) Grow(first time.Duration, n int) time.Duration {
	wait := LastBackoff
	if shift := max(n, 1) - 1; shift < 20 && first<<shift < LastBackoff {
		wait = first << shift
	}
	return Scaled(t.Jitter(wait))
}

// Soon returns the wait before something is checked again.
func (t Timing) Soon() time.Duration { return Scaled(t.Jitter(FirstBackoff)) }

// Moment returns a short random time, for jobs that wait for the same moment.
func (t Timing) Moment() time.Duration { return Scaled(t.Jitter(time.Second) - time.Second) }

// Jitter returns d plus up to a quarter of it, at random.
func (t Timing) Jitter(d time.Duration) time.Duration {
	return d + time.Duration(float64(d/4)*t.Chance())
}

// Within returns a random time of at most d.
func (t Timing) Within(d time.Duration) time.Duration { return time.Duration(float64(d) * t.Chance()) }

// Chance returns a random number between 0 and 1.
func (t Timing) Chance() float64 {
	var by [4]byte
	if _, err := io.ReadFull(t.Random, by[:]); err != nil {
		return 0 // it only spreads load
	}
	return float64(binary.BigEndian.Uint32(by[:])) / math.MaxUint32
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Ahead reports whether a time at which something happened cannot be right, because it lies in the future.
func Ahead(t, now time.Time) bool { return t.Sub(now) > Skew }

// LastEffort returns a context for a short storage call that must be tried even if the request or the engine has ended.
func LastEffort(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storeWait)
}
