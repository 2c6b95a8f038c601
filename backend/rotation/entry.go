package rotation

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// schemaVersion of stored entries. An entry of a newer one is refused and left alone.
const schemaVersion = 1

// Connection is a remote system and the credential for it, as stored.
type Connection struct {
	Name     string `json:"-"`
	Schema   int    `json:"schema"`
	Provider string `json:"provider"`
	// Address is the url as the user gave it; empty: derived.
	Address string       `json:"address,omitempty"`
	TLS     provider.TLS `json:"tls"`
	// Settings are the provider's own fields as the user gave them.
	Settings provider.Settings `json:"settings"`

	AllowedRoles           []string `json:"allowed_roles"`
	AllowedTargets         []string `json:"allowed_targets"`
	AllowedVerifyAddresses []string `json:"allowed_verify_addresses"`
	PasswordPolicy         string   `json:"password_policy,omitempty"`
	VerifyConnection       bool     `json:"verify_connection"`
	// RequestTimeout bounds one call to the remote system, in seconds.
	RequestTimeout int `json:"request_timeout"`
	// MaxInFlight bounds the concurrent changes.
	MaxInFlight int `json:"max_in_flight"`
	// Revision counts changes of the address, the TLS settings or the credential: a pause holds for one revision.
	Revision int `json:"revision"`
}

// Complete returns the connection as its provider sees it, validated and with what is derived.
func (c Connection) Complete(kind provider.Type) (provider.Connection, error) {
	out := provider.Connection{URL: c.Address, TLS: c.TLS, Settings: c.Settings.Clone()}
	if out.Settings == nil {
		out.Settings = provider.Settings{}
	}
	err := kind.Complete(&out)
	return out, err
}

// Timeout is RequestTimeout as a duration.
func (c Connection) Timeout() time.Duration { return seconds(c.RequestTimeout) }

// Pause is stored while the remote system refuses a connection's credential: more tries would lock it.
type Pause struct {
	Schema   int       `json:"schema"`
	Revision int       `json:"revision"`
	Since    time.Time `json:"since"`
	Code     string    `json:"code"`
	Reason   string    `json:"reason"`
	// Probes made since, and when the next one is due; zero: not before a person acts.
	Probes    int       `json:"probes"`
	NextProbe time.Time `json:"next_probe,omitzero"`
}

// Role is one account on one connection with its passwords, as stored: one entry, so that a read costs one read.
type Role struct {
	Name   string `json:"-"`
	Schema int    `json:"schema"`

	Connection string          `json:"connection"`
	Provider   string          `json:"provider"`
	Target     provider.Target `json:"target"`
	Options    Options         `json:"options"`

	Record credential.Record `json:"record"`
	Retry  Retry             `json:"retry,omitzero"`
	// Due is when the password in force is due to be changed; zero: only by hand.
	Due time.Time `json:"due,omitzero"`
	// SettlesAt is when the password that the remote system queued last counts as in force.
	SettlesAt time.Time `json:"settles_at,omitzero"`
	// Adopted recognises the password that the role was made with: tools write it again with every update.
	Adopted *Digest `json:"adopted,omitempty"`

	// ripened: time has settled what storage says is queued.
	ripened bool
	// derived: storage has no due time yet.
	derived bool
	// readAt is when the password in force was read first, where rotate_after_read asks for it.
	readAt time.Time
}

// Options are a role's fields beyond its connection and target. Durations are whole seconds.
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

	Verify        bool   `json:"verify,omitempty"`
	VerifyAddress string `json:"verify_address,omitempty"`
	VerifyHostKey string `json:"verify_host_key,omitempty"`
	VerifyCACert  string `json:"verify_ca_cert,omitempty"`
	VerifyTLS     bool   `json:"verify_tls"`
	VerifyPeriod  int    `json:"verify_period,omitempty"`
	OnDrift       string `json:"on_drift"`
}

// Values of rotation_mode and on_drift.
const (
	ModeAuto     = "auto"
	ModeOnRead   = "on_read"
	DriftReport  = "report"
	DriftRecover = "recover"
)

// Retry is what the engine remembers about failures, between tries and over restarts.
type Retry struct {
	// Attempts that failed in a row.
	Attempts int `json:"attempts,omitempty"`
	// NextAttempt is when the engine goes on by itself; no request makes it go on before.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	// Last failure; nil: none since the last success.
	Last *Failure `json:"last,omitempty"`
}

// resting tells whether nothing is to be tried now. A failure that another credential may have mended does not count once
// the connection has one; revision is the connection's.
func (r Retry) resting(now time.Time, revision int) bool {
	if r.Last != nil && r.Last.Revision != 0 && r.Last.Revision != revision && r.Last.ofConnection() {
		return false
	}
	return now.Before(r.NextAttempt)
}

// Failure is one failed call, in words that may be shown.
type Failure struct {
	Class     provider.Outcome `json:"class"`
	Scope     provider.Scope   `json:"scope,omitempty"`
	Code      string           `json:"code,omitempty"`
	RequestID string           `json:"request_id,omitempty"`
	Reason    string           `json:"reason"`
	Time      time.Time        `json:"time"`
	// Revision of the connection that it happened with.
	Revision int `json:"revision,omitempty"`
	// Parts of the account that did not take the change, where the remote system tells them apart.
	Parts []provider.PartFailure `json:"parts,omitempty"`
}

// person tells whether it is unlikely to pass by itself.
func (f *Failure) person() bool {
	switch f.Class {
	case provider.Rejected, provider.Mismatch:
		return true
	case provider.Denied:
		return f.Scope == provider.ScopeTarget
	default:
		return false
	}
}

// same tells whether another failure says the same.
func (f *Failure) same(other *Failure) bool {
	return f != nil && other != nil && f.Class == other.Class && f.Scope == other.Scope && f.Code == other.Code && f.Reason == other.Reason
}

// ofConnection tells whether it was a matter of the connection more than of the role.
func (f *Failure) ofConnection() bool {
	return f.Class == provider.Denied || f.Class == provider.Unreachable || f.Scope == provider.ScopeConnection && f.Class == provider.Busy
}

// String is the failure as one sentence with its code.
func (f *Failure) String() string {
	if f.Code == "" {
		return f.Reason
	}
	return f.Reason + " (" + f.Code + ")"
}

// LastRotation is when the password in force came into force or was adopted; zero if there is none.
func (r *Role) LastRotation(view credential.View) time.Time {
	switch {
	case !view.Since.IsZero():
		return view.Since
	case view.Password != nil:
		return view.Password.Created
	default:
		return time.Time{}
	}
}

// Digest recognises a password without keeping it.
type Digest struct {
	Salt []byte `json:"salt"`
	Sum  []byte `json:"sum"`
}

func newDigest(password string, random io.Reader) (*Digest, error) {
	d := &Digest{Salt: make([]byte, 16)}
	if _, err := io.ReadFull(random, d.Salt); err != nil {
		return nil, fmt.Errorf("reading randomness: %w", err)
	}
	d.Sum = d.sum(password)
	return d, nil
}

func (d *Digest) sum(password string) []byte {
	mac := hmac.New(sha256.New, d.Salt)
	mac.Write([]byte(password))
	return mac.Sum(nil)
}

// Is tells whether this is the password that the digest was made of.
func (d *Digest) Is(password string) bool {
	return d != nil && hmac.Equal(d.Sum, d.sum(password))
}
