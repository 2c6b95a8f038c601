package rotation

import (
	"context"
	"time"
)

// timing are the options that a due time follows from.
func (o Options) timing() [2]any { return [2]any{o.RotationPeriod, o.RotationSchedule} }

// checkOptions validates what needs the role's connection and target.
func (e *Engine) checkOptions(ctx context.Context, l *live, role *Role, newPolicy bool) error {
	o := role.Options
	if err := o.validate(); err != nil {
		return err
	}
	if settle := l.settleAfter(); !o.leaves(settle, e.clock()) {
		return Mistake("the time between two rotations must exceed the connection's settle_after (%d seconds): set a longer rotation_period, or another rotation_schedule", int(settle.Seconds()))
	}
	if o.VerifyAddress != "" && !allowsAddress(l.AllowedVerifyAddresses, o.VerifyAddress) {
		return Mistake("the connection %q does not allow the verify_address %q: add it to allowed_verify_addresses of config/%s", l.Name, o.VerifyAddress, l.Name)
	}
	if !newPolicy {
		return nil
	}
	policy := o.PasswordPolicy
	if policy == "" {
		policy = l.PasswordPolicy
	}
	return e.tryPolicy(ctx, policy, l.kind.Rules(l.complete, role.Target))
}

// leaves tells whether a queued password settles before the next one is due.
func (o Options) leaves(settle time.Duration, now time.Time) bool {
	return o.RotationPeriod == 0 && o.RotationSchedule == "" || seconds(o.Period(now)) > settle
}

// validate checks the options that stand for themselves.
func (o Options) validate() error {
	if err := o.validateSchedule(); err != nil {
		return err
	}
	switch {
	case o.RotationMode != ModeAuto && o.RotationMode != ModeOnRead:
		return Mistake("rotation_mode must be %q or %q", ModeAuto, ModeOnRead)
	case o.RotateAfterRead < 0:
		return Mistake("rotate_after_read must not be negative; 0 switches it off")
	case o.MaxReadTTL != 0 && o.MaxReadTTL < minReadTTL:
		return Mistake("max_read_ttl must be at least %d seconds, or 0 for no bound", minReadTTL)
	case o.HistorySize < 0 || o.HistorySize > maxHistory:
		return Mistake("history_size must be between 0 and %d", maxHistory)
	case o.OnDrift != DriftReport && o.OnDrift != DriftRecover:
		return Mistake("on_drift must be %q or %q", DriftReport, DriftRecover)
	case o.Verify || o.VerifyPeriod > 0 || o.OnDrift == DriftRecover:
		return Mistake("this version cannot prove a password by a login: leave verify, verify_period and on_drift at their defaults; they would promise what is not done")
	case o.VerifyAddress != "" && !validAddress(o.VerifyAddress):
		return Mistake("verify_address must be host:port")
	}
	return nil
}

// DefaultHistory is history_size where nothing is said; maxHistory bounds it, as the history is part of the role's one
// storage entry.
const (
	DefaultHistory = 5
	maxHistory     = 50
)
