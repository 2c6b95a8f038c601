package role

import (
	"errors"
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/timing"
)

// Options are a role's fields other than its connection and target. Durations are in seconds.
type Options struct {
	RotationPeriod   int    `json:"rotation_period,omitempty"`
	RotationSchedule string `json:"rotation_schedule,omitempty"`
	RotationWindow   int    `json:"rotation_window,omitempty"`
	RotationMode     string `json:"rotation_mode"`
	RotateAfterRead  int    `json:"rotate_after_read,omitempty"`
	Disabled         bool   `json:"disable_automated_rotation,omitempty"`
	MaxReadTTL       int    `json:"max_read_ttl"`
	ReturnLast       bool   `json:"return_last_password,omitempty"`
	HistorySize      int    `json:"history_size"`
	PasswordPolicy   string `json:"password_policy,omitempty"`

	SkipInitialRotation bool `json:"skip_initial_rotation,omitempty"`
	ForceDelete         bool `json:"force_delete,omitempty"`

	// Verify is the kind of login that proves passwords, one of those of package provider; "" means none. VerifyAddress and
	// VerifyHostKey have one entry per line, of the form ID=… if the role has several servers. See [Role.Logins].
	Verify        LoginKind `json:"verify,omitempty"`
	VerifyAddress string    `json:"verify_address,omitempty"`
	VerifyHostKey string    `json:"verify_host_key,omitempty"`
	VerifyCACert  string    `json:"verify_ca_cert,omitempty"`
	VerifyTLS     bool      `json:"verify_tls"`
	VerifyPeriod  int       `json:"verify_period,omitempty"`
	OnDrift       string    `json:"on_drift"`
}

// Values of rotation_mode and on_drift.
const (
	ModeAuto     = "auto"
	ModeOnRead   = "on_read"
	DriftReport  = "report"
	DriftRecover = "recover"
	DriftRotate  = "rotate"
)

// Bounds and defaults of options.
const (
	minPeriod  = 10 * time.Second
	minWindow  = time.Hour
	minReadTTL = 10
	minVerify  = time.Hour
	// DefaultReadTTL is the default of max_read_ttl, in seconds.
	DefaultReadTTL = 300
	// DefaultHistory is the default of history_size. maxHistory bounds it, because the history is part of the role's entry.
	DefaultHistory = 5
	maxHistory     = 50
)

// Defaults are the options of a new role.
func Defaults() Options {
	return Options{RotationMode: ModeAuto, MaxReadTTL: DefaultReadTTL, HistorySize: DefaultHistory, VerifyTLS: true, OnDrift: DriftReport}
}

// Validate checks the options by themselves; [Role.Logins] checks how passwords are proved. Its errors are for the user who set them.
func (o Options) Validate() error {
	if err := o.validateSchedule(); err != nil {
		return err
	}
	for _, d := range []struct {
		name    string
		seconds int
	}{
		{"rotation_period", o.RotationPeriod}, {"rotation_window", o.RotationWindow}, {"rotate_after_read", o.RotateAfterRead},
		{"max_read_ttl", o.MaxReadTTL}, {"verify_period", o.VerifyPeriod},
	} {
		if d.seconds > timing.LongestOption {
			return fmt.Errorf("%s must be at most %d seconds (10 years)", d.name, timing.LongestOption)
		}
	}
	switch {
	case o.RotationMode != ModeAuto && o.RotationMode != ModeOnRead:
		return fmt.Errorf("rotation_mode must be %q or %q", ModeAuto, ModeOnRead)
	case o.RotateAfterRead < 0:
		return errors.New("rotate_after_read must not be negative; 0 disables it")
	case o.MaxReadTTL != 0 && o.MaxReadTTL < minReadTTL:
		return fmt.Errorf("max_read_ttl must be at least %d seconds, or 0 for no maximum", minReadTTL)
	case o.HistorySize < 0 || o.HistorySize > maxHistory:
		return fmt.Errorf("history_size must be between 0 and %d", maxHistory)
	default:
		return o.validateVerification()
	}
}
