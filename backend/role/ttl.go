package role

import (
	"math"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/timing"
)

// OverdueTTL is the minimum ttl while the engine is working on a role.
const OverdueTTL = 5 * time.Second

// Period returns the rotation_period for readers: the seconds between two due times, or how often to read again if the
// password is rotated only manually. It is at least 1, because Vault Agent and the Vault Secrets Operator take a response
// without it for one that never changes.
func (o Options) Period(now time.Time) int {
	switch {
	case o.RotationPeriod > 0:
		return o.RotationPeriod
	case o.RotationSchedule != "":
		next := o.DueAfter(now)
		if seconds := int(o.DueAfter(next).Sub(next).Seconds()); !next.IsZero() && seconds > 0 {
			return seconds
		}
	}
	return o.lookAgain()
}

// lookAgain returns how often readers should check for unscheduled changes, in seconds.
func (o Options) lookAgain() int {
	if o.MaxReadTTL > 0 {
		return o.MaxReadTTL
	}
	return DefaultReadTTL
}

// TTL returns after how long readers should read again, at least a second. max_read_ttl divides the remaining time into
// equal parts, so that one of the reads falls on the due time.
func (r *Role) TTL(now time.Time, env Env) time.Duration {
	remaining := r.remaining(now, env)
	parts := 1.0
	if bound := float64(r.Options.MaxReadTTL); bound > 0 {
		parts = max(1, math.Ceil(remaining.Seconds()/bound))
	}
	return max(time.Second, timing.Seconds(math.Ceil(remaining.Seconds()/parts)))
}

// remaining returns how long until the next password is in force, or until the next attempt at it.
func (r *Role) remaining(now time.Time, env Env) time.Duration {
	state, queued := r.Record.View(now).State, r.QueuedUntil()
	switch {
	case r.inFlight(now): // whatever is in the way of the next request
		return OverdueTTL
	case state == credential.StateAccepted && !queued.IsZero():
		if !queued.After(now) && !r.settlesByTime() { // a login has to show it
			return OverdueTTL
		}
		return queued.Sub(now)
	}
	unannounced := timing.Seconds(r.Options.lookAgain())
	wait, step := OverdueTTL, r.change(now, env)
	if proof, first := r.prove(now, env); first {
		step = proof
	}
	switch {
	case step.Do == Prove:
		wait = min(unannounced, max(OverdueTTL, step.At.Sub(now)))
	case step.Do == Rest, state == credential.StateRestartRequired:
		wait = unannounced
	case step.Do == Send:
		wait = max(OverdueTTL, step.At.Sub(now))
	case step.At.After(now):
		wait = step.At.Sub(now)
	}
	if step.Why == Frozen || step.Why == Paused { // an operator may end it earlier
		wait = min(wait, unannounced)
	}
	if !queued.IsZero() {
		wait = min(wait, queued.Sub(now))
	}
	return wait
}
