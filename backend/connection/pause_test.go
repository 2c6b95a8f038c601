package connection

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A clock that was ahead stored the pause.
func TestPauseInFutureCountsFromNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, row := range map[string]struct{ since, probe, want time.Time }{
		"before":              {now.Add(-time.Minute), now.Add(5 * time.Minute), now.Add(5 * time.Minute)},
		"clock of a neighbor": {now.Add(time.Minute), now.Add(7 * time.Minute), now.Add(7 * time.Minute)},
		"ahead":               {now.Add(time.Hour), now.Add(time.Hour + 6*time.Minute), now.Add(6 * time.Minute)},
		"ahead, no probe":     {since: now.Add(time.Hour)},
	} {
		pause := &Pause{Since: row.since, NextProbe: row.probe, Reason: "refused"}
		require.Equal(t, row.want, pause.CorrectClock(now).NextProbe, name)
		require.Equal(t, row.probe, pause.NextProbe, "%s: others use the pause", name)
	}
}
