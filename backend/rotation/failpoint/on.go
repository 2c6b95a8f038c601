//go:build failpoints

package failpoint

import (
	"os"
	"path/filepath"
	"time"
)

// pollInterval is how often a stopped role checks whether it may continue.
const pollInterval = 10 * time.Millisecond

// Reach blocks while the role is told to stop at this failpoint. A role stops once.
func Reach(point, role string) {
	dir := os.Getenv(Variable)
	if dir == "" || !selected(dir, point, role) {
		return
	}
	mark, err := os.OpenFile(filepath.Join(dir, role+Mark), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // for tests
	if err != nil {
		return // it has stopped before
	}
	if err := mark.Close(); err != nil {
		return
	}
	for selected(dir, point, role) {
		time.Sleep(pollInterval)
	}
}

// selected reports whether the role is told to stop at this failpoint.
func selected(dir, point, role string) bool {
	text, err := os.ReadFile(filepath.Join(dir, role)) //nolint:gosec // for tests
	return err == nil && string(text) == point
}
