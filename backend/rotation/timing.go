package rotation

import (
	"encoding/binary"
	"io"
	"math"
	"strconv"
	"time"
)

// timescale divides the engine's own waiting times. Release builds leave it at 1; a build for tests sets it with the
// linker, so that a test of retries takes seconds and not minutes.
var timescale = "1"

// The engine's own times. Those that an operator can set are fields of connections and roles.
const (
	// requestWait is how long a request waits for the change it asked for before it answers with the state so far.
	// Vault ends requests after 90 s.
	requestWait = 45 * time.Second
	// quietMargin is how long after the deadline of an unresolved request a different password may be sent: the
	// remote system may still be working on it.
	quietMargin = 30 * time.Second
	// firstBackoff and lastBackoff bound the wait after a failure, which doubles in between.
	firstBackoff = 5 * time.Second
	lastBackoff  = time.Hour
	// firstProbe is when a paused connection is tried again for the first time. Huawei Cloud locks a key for five
	// minutes after five failures in a row.
	firstProbe = 6 * time.Minute
	// checkWait is how long a role waits while the connection's credential is being checked.
	checkWait = time.Second
	// stopWait bounds how long Stop waits for work under way: Vault stops all mounts of a plugin one after the other.
	stopWait = 1500 * time.Millisecond
	// storeWait bounds the storing of an outcome when the engine is stopping.
	storeWait = time.Second
	// catchUp is over how long the changes are spread that became due while the engine did not run.
	catchUp = time.Minute
	// sweepEvery is how often the names of all roles are listed, to find those that the scheduler does not know.
	sweepEvery = 10 * time.Minute
)

// scaled is d in this build's time.
func scaled(d time.Duration) time.Duration {
	by, err := strconv.ParseFloat(timescale, 64)
	if err != nil || by <= 0 {
		return d
	}
	return time.Duration(float64(d) / by)
}

// backoff is the wait after the n-th failure in a row (n ≥ 1): from firstBackoff doubling to lastBackoff, with up to a
// quarter more by chance, so that roles that failed together do not come back together.
func (e *Engine) backoff(n int) time.Duration {
	return e.grow(firstBackoff, n)
}

func (e *Engine) grow(first time.Duration, n int) time.Duration {
	wait := lastBackoff
	if n < 1 {
		n = 1
	}
	if shift := n - 1; shift < 20 && first<<shift < lastBackoff {
		wait = first << shift
	}
	return scaled(e.jitter(wait))
}

// spread is a little time by chance, for things that wait for the same moment.
func (e *Engine) spread() time.Duration { return e.jitter(time.Second) - time.Second }

// spreadOut is a time by chance within catchUp, for one of many roles that are late.
func (e *Engine) spreadOut() time.Duration { return time.Duration(float64(e.catchUp) * e.chance()) }

// jitter is d with up to a quarter more, by the engine's source of randomness.
func (e *Engine) jitter(d time.Duration) time.Duration {
	return d + time.Duration(float64(d/4)*e.chance())
}

// chance is a number between 0 and 1, by the engine's source of randomness.
func (e *Engine) chance() float64 {
	var by [4]byte
	if _, err := io.ReadFull(e.random, by[:]); err != nil {
		return 0 // it spreads load and guards nothing
	}
	return float64(binary.BigEndian.Uint32(by[:])) / math.MaxUint32
}

// seconds is n of them, or the longest time there is: only damaged storage asks for more.
func seconds[N int | float64](n N) time.Duration {
	const longest = float64(math.MaxInt64 / time.Second)
	return time.Duration(max(-longest, min(float64(n), longest))) * time.Second
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
