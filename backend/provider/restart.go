package provider

import (
	"context"
	"time"
)

// How the parts of a target are restarted, if a password comes into force only then.
const (
	RestartNone = "none"
	RestartSoft = "soft"
	RestartHard = "hard"
)

// Restart is the restart of one part of a target.
type Restart struct {
	// Part is one of Target.Parts.
	Part string
	// Kind is RestartSoft or RestartHard.
	Kind string
	// Since is when the restart was requested.
	Since time.Time
	// Job is what the last call returned; "" if the outcome of the request is unknown. The engine stores it.
	Job string
}

// Progress is how far a restart is.
type Progress string

const (
	// Restarting: the part is not back yet, or that is not known.
	Restarting Progress = "restarting"
	// Restarted: the part has been restarted and is running again.
	Restarted Progress = "restarted"
	// RestartFailed: the remote system reports that the restart failed. It will not come. Not every remote system does.
	RestartFailed Progress = "failed"
)

// Restarter is a [Client] that can restart the parts of a target.
type Restarter interface {
	// Restart requests the restart of one part, with a single modifying request that it sends at most once, and only if it
	// has found out that the part is running and can be followed. The outcome is Applied if the remote system has taken the
	// request, and Unknown if it may have. job is passed to Follow; it is "" unless the outcome is Applied. The outcome is
	// Rejected if the connection does not allow restarts.
	Restart(ctx context.Context, target Target, restart Restart) (result Result, job string)
	// Follow reports how far the restart is. It makes read-only calls, except that it turns a part on again that a hard
	// restart has turned off. It returns Restarting if a call fails, with the Result of that call; otherwise the outcome is
	// Applied. If Restart.Job is "", it returns Restarted only after it has seen the part down: the request may not have
	// arrived. job replaces Restart.Job.
	Follow(ctx context.Context, target Target, restart Restart) (result Result, progress Progress, job string)
}
