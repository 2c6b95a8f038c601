package rotation

import (
	"math"
	"strings"
	"time"

	cron "github.com/hashicorp/vault/sdk/rotation"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/password"
)

// Bounds of the fields that concern time.
const (
	minPeriod  = 10 * time.Second
	minWindow  = 3600 * time.Second
	minReadTTL = 10
	// DefaultReadTTL is max_read_ttl where nothing is said, in seconds.
	DefaultReadTTL = 300
	// overdueTTL is the least that a reader waits while the engine works on the role.
	overdueTTL = 5 * time.Second
)

// cronCharacters may stand in a rotation_schedule.
const cronCharacters = password.Lower + password.Upper + password.Digits + " */,?-"

// validateSchedule checks the fields that say when a password is due.
func (o Options) validateSchedule() error {
	if o.RotationPeriod != 0 && o.RotationSchedule != "" {
		return Mistake("set either rotation_period or rotation_schedule, not both")
	}
	if o.RotationPeriod != 0 && o.RotationPeriod < int(minPeriod/time.Second) {
		return Mistake("rotation_period must be at least %d seconds", int(minPeriod/time.Second))
	}
	if o.RotationWindow != 0 && o.RotationSchedule == "" {
		return Mistake("rotation_window goes with rotation_schedule only")
	}
	if o.RotationWindow != 0 && o.RotationWindow < int(minWindow/time.Second) {
		return Mistake("rotation_window must be at least %d seconds", int(minWindow/time.Second))
	}
	if o.RotationSchedule == "" {
		return nil
	}
	next, err := parseSchedule(o.RotationSchedule)
	if err != nil {
		return err
	}
	if next(time.Now()).IsZero() {
		return Mistake("rotation_schedule never comes: no such date exists in the next years")
	}
	return nil
}

// parseSchedule reads a cron expression, from a request or from storage, and returns what tells the next time after one,
// zero where none comes in the next years. The parser also takes descriptors and time zones,
// and panics on some of the latter; all times here are UTC.
func parseSchedule(text string) (next func(time.Time) time.Time, err error) {
	if strings.Trim(text, cronCharacters) != "" {
		return nil, Mistake("rotation_schedule is not a cron expression of five fields: it may hold only letters, digits, blanks and * / , ? -; times are in UTC")
	}
	parsed, err := cron.DefaultScheduler.Parse(text)
	if err != nil {
		return nil, Mistake("rotation_schedule is not a cron expression of five fields (minute, hour, day of month, month, day of week; UTC)")
	}
	return parsed.Next, nil
}

// dueAfter is when a password that came into force then is due to be changed; zero: only by hand.
func (o Options) dueAfter(t time.Time) time.Time {
	switch {
	case o.RotationPeriod > 0:
		return t.Add(max(minPeriod, seconds(o.RotationPeriod))) // only damaged storage has less
	case o.RotationSchedule != "":
		next, err := parseSchedule(o.RotationSchedule)
		if err != nil { // only damaged storage has one that cannot be read
			return time.Time{}
		}
		return next(t.UTC())
	default:
		return time.Time{}
	}
}

// Period is what readers are told as rotation_period: the seconds between two due times, or how often to look
// where a password is changed by hand only. At least 1: Vault Agent and the Vault Secrets Operator take a response
// without it for one that never changes.
func (o Options) Period(now time.Time) int {
	switch {
	case o.RotationPeriod > 0:
		return o.RotationPeriod
	case o.RotationSchedule != "":
		next := o.dueAfter(now)
		if seconds := int(o.dueAfter(next).Sub(next).Seconds()); !next.IsZero() && seconds > 0 {
			return seconds
		}
	}
	return o.lookAgain()
}

// lookAgain is how often readers look for changes that no schedule announces, in seconds.
func (o Options) lookAgain() int {
	if o.MaxReadTTL > 0 {
		return o.MaxReadTTL
	}
	return DefaultReadTTL
}

// ttl is how long until it pays to read the role again: at least a second. With a bound, the time that remains is cut
// into equal parts, so that one of the reads falls on the due time. frozen: nothing goes on by itself.
func ttl(role *Role, view credential.View, now time.Time, frozen bool) time.Duration {
	remaining := remains(role, view, now, frozen)
	parts := 1.0
	if bound := float64(role.Options.MaxReadTTL); bound > 0 {
		parts = max(1, math.Ceil(remaining.Seconds()/bound))
	}
	return max(time.Second, seconds(math.Ceil(remaining.Seconds()/parts)))
}

// remains is how long until the next password will be in force, or until the next attempt at it.
func remains(role *Role, view credential.View, now time.Time, frozen bool) time.Duration {
	if queued := role.queued(); view.State == credential.StateAccepted && !queued.IsZero() {
		return queued.Sub(now)
	}
	byHand := seconds(role.Options.lookAgain())
	switch {
	case role.Options.Disabled, frozen, role.stuck(): // nothing is tried before somebody asks
		return byHand
	case view.State == credential.StateUncertain:
		return max(overdueTTL, role.Retry.NextAttempt.Sub(now))
	case view.State == credential.StateRestartRequired:
		return byHand
	}
	if at, ok := role.resumesAt(now); ok {
		return max(overdueTTL, at.Sub(now))
	}
	at, ok := role.begins(now)
	switch {
	case !ok:
		return byHand
	case at.After(now):
		return at.Sub(now)
	default:
		return overdueTTL
	}
}
