package role

import (
	"cmp"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Retry is what the engine remembers about failures between attempts and across restarts.
type Retry struct {
	// Attempts counts failed attempts in a row.
	Attempts int `json:"attempts,omitempty"`
	// NextAttempt is when the engine retries. A repeated request does not make it retry earlier.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	// Last is the last failure since the last success, or nil.
	Last *Failure `json:"last,omitempty"`
	// Unknowns counts the calls with an unknown outcome since the last success. UnknownSince is when the first one ended.
	Unknowns     int       `json:"unknowns,omitempty"`
	UnknownSince time.Time `json:"unknown_since,omitzero"`
}

const (
	// maxUnknowns and maxUnknown are how often in a row, and for how long, the outcome may be unknown before an operator is
	// asked.
	maxUnknowns = 3
	maxUnknown  = time.Hour
)

// maxSlow is for how long the engine looks every few seconds whether a confirmed password is in force.
const maxSlow = 10 * time.Minute

// InForceSoon reports whether the remote system has confirmed the next password, and should put it in force any moment.
func (r *Role) InForceSoon(now time.Time) bool {
	next := r.Record.Next
	return next.AwaitsForce() && now.Before(next.SentUntil.Add(timing.Scaled(maxSlow)))
}

// Failed records a failed call that the given revision of the connection made. The caller sets NextAttempt.
func (r *Role) Failed(result provider.Result, now time.Time, revision int) {
	retry, busy := &r.Retry, result.Outcome == provider.Busy && result.Scope == provider.ScopeTarget
	retry.Attempts++
	if (busy || result.Confirmed) && r.InForceSoon(now) { // it only waits
		retry.Attempts = 0
	}
	if result.Outcome == provider.Unknown {
		retry.CountUnknown(now)
	}
	parts := result.Failures
	if parts == nil && retry.Last != nil && r.Record.Next.Partial() { // the last known failures of the parts
		parts = retry.Last.Parts
	}
	retry.Last = &Failure{
		Class: result.Outcome, Scope: result.Scope, Code: result.Code, RequestID: result.RequestID,
		Reason: result.Reason, Time: now, Revision: revision, Parts: parts,
	}
}

// CountUnknown counts a call with an unknown outcome that ended now.
func (r *Retry) CountUnknown(now time.Time) {
	if r.Unknowns++; r.Unknowns == 1 {
		r.UnknownSince = now
	}
}

// OperatorFrom returns from when on an operator is asked about the unknown outcome; zero if none is known.
func (r Retry) OperatorFrom() time.Time {
	switch {
	case r.Unknowns == 0:
		return time.Time{}
	case r.Unknowns >= maxUnknowns:
		return r.UnknownSince
	default:
		return r.UnknownSince.Add(timing.Scaled(maxUnknown))
	}
}

// AfterRefusal returns what to remember after a request whose password was refused and left no trace. A failure that is about
// to be retried, or that an operator has to know, is still true. Any other was about a password that is gone.
func (r Retry) AfterRefusal(unfinished bool) Retry {
	if unfinished || r.Last != nil && r.Last.NeedsOperator() {
		return r
	}
	return Retry{}
}

// RetryOnRequest allows the next request at once if the engine does not retry: an operator who has fixed the cause does not
// have to wait.
func (r *Role) RetryOnRequest(now time.Time) {
	if !r.Record.Unfinished() {
		r.Retry.NextAttempt, r.Retry.Attempts = now, 1
	}
}

// Waiting reports whether a request has to wait for the next attempt.
func (r Retry) Waiting(now time.Time, env Env) bool { return now.Before(r.notBefore(env)) }

// notBefore returns NextAttempt, or zero if the last failure concerns the connection and the connection was fixed since.
func (r Retry) notBefore(env Env) time.Time {
	if f := r.Last; f != nil && f.OfConnection() && f.mended(env) {
		return time.Time{}
	}
	return r.NextAttempt
}

// Failure is one failed call. Its texts contain no secrets.
type Failure struct {
	Class     provider.Outcome `json:"class"`
	Scope     provider.Scope   `json:"scope,omitempty"`
	Code      string           `json:"code,omitempty"`
	RequestID string           `json:"request_id,omitempty"`
	Reason    string           `json:"reason"`
	Time      time.Time        `json:"time"`
	// Given: an operator chose the password.
	Given bool `json:"given,omitempty"`
	// Revision is the revision of the connection that made the call.
	Revision int `json:"revision,omitempty"`
	// Parts are the parts of the account that did not take the change, if the remote system reports them.
	Parts []provider.PartFailure `json:"parts,omitempty"`
}

// NeedsOperator reports whether the failure will probably remain until an operator does something about this role.
func (f *Failure) NeedsOperator() bool {
	switch f.Class {
	case provider.Rejected:
		return !f.OfRemote()
	case provider.Mismatch:
		return true
	case provider.Denied:
		return f.Scope == provider.ScopeTarget
	default:
		return false
	}
}

// MendedByOptions reports whether other options of the role may fix the failure.
func (f *Failure) MendedByOptions() bool {
	return f != nil && (f.Class == provider.Rejected && !f.OfRemote() || f.Class == provider.Mismatch)
}

// OfRemote reports whether the remote system refuses requests for any account of the connection.
func (f *Failure) OfRemote() bool {
	return f != nil && f.Class == provider.Rejected && f.Scope == provider.ScopeConnection
}

// Same reports whether two failures are the same, apart from their time.
func (f *Failure) Same(other *Failure) bool {
	return f != nil && other != nil && f.Class == other.Class && f.Scope == other.Scope && f.Code == other.Code && f.Reason == other.Reason
}

// OfConnection reports whether the failure concerns the connection rather than the role.
func (f *Failure) OfConnection() bool {
	return f.Class == provider.Denied || f.Class == provider.Unreachable || f.OfRemote() || f.Scope == provider.ScopeConnection && f.Class == provider.Busy
}

// mended reports whether the connection has changed, or was found to work, since the failure.
func (f *Failure) mended(env Env) bool {
	another := f.Revision != 0 && env.Revision != 0 && f.Revision != env.Revision
	return another || f.Time.Before(env.OpenedAt) || f.Class == provider.Busy && f.Time.Before(env.ReleasedAt)
}

// String returns the reason and the code, and is never empty.
func (f *Failure) String() string {
	reason := cmp.Or(f.Reason, "no reason is known")
	if f.Code == "" {
		return reason
	}
	return reason + " (" + f.Code + ")"
}
