package timing

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// bytesOf is randomness of one byte.
type bytesOf byte

func (b bytesOf) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b)
	}
	return len(p), nil
}

var (
	least = Timing{Random: bytesOf(0)}
	most  = Timing{Random: bytesOf(math.MaxUint8)}
)

func TestSecondsNeverOverflow(t *testing.T) {
	t.Parallel()
	const longest = 9223372036 * time.Second
	require.Equal(t, time.Minute, Seconds(60))
	require.Equal(t, -time.Second, Seconds(int64(-1)))
	require.Equal(t, time.Second, Seconds(1.5), "whole ones")
	for _, n := range []int{9223372036, 9223372037, math.MaxInt} {
		require.Equal(t, longest, Seconds(n))
		require.Equal(t, -longest, Seconds(-n))
	}
	require.Equal(t, longest, Seconds(1e300))
	require.Equal(t, -longest, Seconds(-1e300))
}

func TestBackoffDoublesUpToAnHour(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{
		math.MinInt: 5 * time.Second, -1: 5 * time.Second, 0: 5 * time.Second,
		1: 5 * time.Second, 2: 10 * time.Second, 3: 20 * time.Second, 4: 40 * time.Second, 9: 1280 * time.Second, 10: 2560 * time.Second,
		11: time.Hour, 12: time.Hour, 20: time.Hour, 21: time.Hour, 64: time.Hour, 65: time.Hour, math.MaxInt: time.Hour,
	} {
		require.Equal(t, want, least.Backoff(n), "%d", n)
		require.Equal(t, want+want/4, most.Backoff(n), "%d", n)
	}
}

func TestGrowDoublesFromFirstWait(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{1: 6 * time.Minute, 2: 12 * time.Minute, 4: 48 * time.Minute, 5: time.Hour, 100: time.Hour} {
		require.Equal(t, want, least.Grow(6*time.Minute, n), "%d", n)
	}
	require.Equal(t, time.Hour, least.Grow(2*time.Hour, 1), "an hour is the longest wait")
}

func TestJitterAddsUpToAQuarter(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{0, time.Second, time.Hour} {
		require.Equal(t, d, least.Jitter(d))
		require.Equal(t, d+d/4, most.Jitter(d))
		between := Timing{Random: bytesOf(0x80)}.Jitter(d)
		require.GreaterOrEqual(t, between, d)
		require.LessOrEqual(t, between, d+d/4)
	}
	require.Equal(t, 5*time.Second, least.Soon())
	require.Equal(t, 6250*time.Millisecond, most.Soon())
	require.Zero(t, least.Moment())
	require.Equal(t, time.Second/4, most.Moment())
	require.Zero(t, least.Within(time.Hour))
	require.Equal(t, time.Hour, most.Within(time.Hour))
}

// It only spreads load, so a source that fails stops nothing.
func TestChanceIsZeroWithoutRandomness(t *testing.T) {
	t.Parallel()
	for _, random := range []io.Reader{iotest.ErrReader(errors.New("closed")), bytes.NewReader([]byte{255, 255, 255})} {
		require.Zero(t, Timing{Random: random}.Chance())
	}
	for by, want := range map[byte]float64{0: 0, 255: 1} {
		require.InDelta(t, want, Timing{Random: iotest.OneByteReader(bytesOf(by))}.Chance(), 0)
	}
}

func TestScaleDividesWaits(t *testing.T) {
	defer func(before string) { Scale = before }(Scale)
	for scale, want := range map[string]time.Duration{
		"1": time.Hour, "2": 30 * time.Minute, "0.5": 2 * time.Hour, "": time.Hour, "0": time.Hour, "-3": time.Hour, "fast": time.Hour,
	} {
		Scale = scale
		require.Equal(t, want, Scaled(time.Hour), scale)
		require.Equal(t, want, least.Grow(time.Hour, 1), scale)
	}
	Scale = "5"
	require.Equal(t, time.Second, least.Backoff(1))
	require.Equal(t, time.Second, least.Soon())
	require.Equal(t, time.Hour, least.Jitter(time.Hour), "waits that operators set are not scaled")
	require.Equal(t, time.Hour, most.Within(time.Hour))
}

func TestLaterReturnsLaterTime(t *testing.T) {
	t.Parallel()
	a := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b := a.Add(1)
	require.Equal(t, b, Later(a, b))
	require.Equal(t, b, Later(b, a))
	require.Equal(t, a, Later(a, time.Time{}))
	require.Equal(t, a, Later(time.Time{}, a))
	require.Equal(t, a, Later(a, a.In(time.FixedZone("", 3600))))
}

func TestLastEffortOutlivesContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		ended, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		cancel()
		ctx, done := LastEffort(ended)
		defer done()
		require.NoError(t, ctx.Err())
		require.Equal(t, "value", ctx.Value(key{}))
		began := time.Now()
		<-ctx.Done()
		require.Equal(t, time.Second, time.Since(began))
	})
}
