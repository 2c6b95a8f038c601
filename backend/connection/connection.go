// Package connection implements connections: remote systems and the credentials for them.
//
// A [Connection] is what Vault stores: the address, the credential, and which roles may use it. A [Handle] is an open
// connection, and owns the provider's client. [Handle.Call] is the only way to use the client for an account, so that all
// limits apply to every call: max_in_flight, the pause after a refused credential, the lockout guard, and throttling.
//
// The package knows nothing about roles and their passwords. Package connections stores connections and pauses.
package connection

import (
	"errors"
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Bounds and defaults of a connection's fields. Times are in seconds.
const (
	DefaultRequestTimeout = 30
	minRequestTimeout     = 1
	maxRequestTimeout     = 60
	DefaultMaxInFlight    = 4
	maxMaxInFlight        = 100
)

// Connection is a remote system and the credential for it, as stored.
type Connection struct {
	provider.Hidden `json:"-"`

	Name     string `json:"-"`
	Schema   int    `json:"schema"`
	Provider string `json:"provider"`
	Options
	// Settings are the provider's own fields, as the user gave them.
	Settings provider.Settings `json:"settings"`
	// Revision counts changes of the address, the TLS settings or the credential. A pause applies to one revision.
	Revision int `json:"revision"`
	// System is provider.Result.System of the last check before the connection was stored; "" if it is not known.
	System string `json:"system,omitempty"`
}

// SameSystem reports whether both connections are known to lead to one remote system.
func (c Connection) SameSystem(other Connection) bool {
	return c.System != "" && c.System == other.System
}

// Options are the fields that every connection has. None of them is secret.
type Options struct {
	// Address is the url that the user gave; "" if it is derived.
	Address string       `json:"address,omitempty"`
	TLS     provider.TLS `json:"tls"`

	AllowedRoles           []string `json:"allowed_roles"`
	AllowedTargets         []string `json:"allowed_targets"`
	AllowedVerifyAddresses []string `json:"allowed_verify_addresses"`
	PasswordPolicy         string   `json:"password_policy,omitempty"`
	// AllowedPasswordPolicies are those that roles may name, apart from PasswordPolicy.
	AllowedPasswordPolicies []string `json:"allowed_password_policies,omitempty"`
	VerifyConnection        bool     `json:"verify_connection"`
	// RequestTimeout bounds one call to the remote system, in seconds.
	RequestTimeout int `json:"request_timeout"`
	// MaxInFlight bounds concurrent changes.
	MaxInFlight int `json:"max_in_flight"`
}

// Complete returns the connection for its provider: validated, and with derived values.
func (c Connection) Complete(kind provider.Type) (provider.Connection, error) {
	out := provider.Connection{URL: c.Address, TLS: c.TLS, Settings: c.Settings.Clone()}
	if out.Settings == nil {
		out.Settings = provider.Settings{}
	}
	err := kind.Complete(&out)
	return out, err
}

// Timeout returns RequestTimeout as a duration.
func (c Connection) Timeout() time.Duration {
	return timing.Seconds(max(c.RequestTimeout, 0))
}

// Validate checks the fields that every connection has. Its errors are for the user who set them.
func (c Connection) Validate() error {
	switch {
	case c.RequestTimeout < minRequestTimeout || c.RequestTimeout > maxRequestTimeout:
		return fmt.Errorf("request_timeout must be between %d and %d seconds", minRequestTimeout, maxRequestTimeout)
	case c.MaxInFlight < 1 || c.MaxInFlight > maxMaxInFlight:
		return fmt.Errorf("max_in_flight must be between 1 and %d", maxMaxInFlight)
	}
	for _, address := range c.AllowedVerifyAddresses {
		if err := checkAllowedAddress(address); err != nil {
			return err
		}
	}
	return c.validateGlobs()
}

// Hold is a time during which a service is not called, because it throttles the connection's credential.
type Hold = lockout.Hold

// Pause is stored while the remote system refuses a connection's credential, because more attempts could lock it.
type Pause struct {
	Schema   int       `json:"schema"`
	Revision int       `json:"revision"`
	Since    time.Time `json:"since"`
	Code     string    `json:"code"`
	Reason   string    `json:"reason"`
	// Probes is the number of probes so far, and NextProbe is when the next one is due; zero if an operator has to act first.
	Probes    int       `json:"probes"`
	NextProbe time.Time `json:"next_probe,omitzero"`
}

// CorrectClock returns the pause. If it was stored by a clock that was ahead, its next probe is counted from now.
func (p *Pause) CorrectClock(now time.Time) *Pause {
	if !timing.Ahead(p.Since, now) || p.NextProbe.IsZero() {
		return p
	}
	corrected := *p
	corrected.NextProbe = now.Add(max(0, p.NextProbe.Sub(p.Since)))
	return &corrected
}

// PausedError is the error of a call that was not made because the connection is paused.
type PausedError struct {
	Connection string
	Pause      *Pause
}

func (e *PausedError) Error() string {
	return fmt.Sprintf("the connection %q is paused: %s", e.Connection, e.Pause.Reason)
}

// Errors of [Handle.Call]. No call was made.
var (
	// ErrChecking: the credential was refused a moment ago and is being checked.
	ErrChecking = errors.New("the connection's credential was refused a moment ago and is being checked")
	// ErrThrottled: the remote system is throttling the credential; see lockout.Guard.Held.
	ErrThrottled = errors.New("the remote system is throttling the connection's credential")
)
