//go:build failpoints

package failpoint

import (
	"os"
	"path/filepath"
	"time"
)

// look is how often a role that has stopped looks whether it may go on.
const look = 10 * time.Millisecond

// Reach stops the caller if the role is to stop at this point, until it may go on.
func Reach(point, role string) {
	folder := os.Getenv(Variable)
	if folder == "" || !wanted(folder, point, role) {
		return
	}
	mark, err := os.OpenFile(filepath.Join(folder, role+Mark), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // for tests
	if err != nil {
		return // it has stopped once
	}
	if err := mark.Close(); err != nil {
		return
	}
	for wanted(folder, point, role) {
		time.Sleep(look)
	}
}

func wanted(folder, point, role string) bool {
	stop, err := os.ReadFile(filepath.Join(folder, role)) //nolint:gosec // for tests
	return err == nil && string(stop) == point
}
