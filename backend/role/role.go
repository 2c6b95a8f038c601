// Package role implements roles: one account on a remote system, with its options, its passwords and its last failure.
//
// The package is pure: it does no I/O, reads no clock, and knows no other role. [Role.Next] decides what to do next for a
// role, when, and why not earlier. The queue, the workers, the readers and the status all use it, so they cannot disagree.
// Package rotation takes the steps, and package explain puts them into words.
package role

import (
	"crypto/subtle"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Role is one account on one connection, as stored. It is a single entry, so that a read of creds costs one storage read.
type Role struct {
	provider.Hidden `json:"-"`

	Name   string `json:"-"`
	Schema int    `json:"schema"`

	Connection string          `json:"connection"`
	Provider   string          `json:"provider"`
	Target     provider.Target `json:"target"`
	Options    Options         `json:"options"`
	// LongOptions: the options that may be long are in an entry of their own, and Options does not have them.
	LongOptions bool `json:"long_options,omitempty"`

	Record credential.Record `json:"record"`
	Retry  Retry             `json:"retry,omitzero"`
	// Proofs is what logins have shown; zero without verify.
	Proofs Proofs `json:"proofs,omitzero"`
	// Restarts is how far restarts of the servers are; zero without restart.
	Restarts Restarts `json:"restarts,omitzero"`
	// Due is when the password in force is due for rotation; zero if it is rotated only manually.
	Due time.Time `json:"due,omitzero"`
	// SettlesAt is when the last queued password counts as in force.
	SettlesAt time.Time `json:"settles_at,omitzero"`
	// Adopted is set if the role was created with a password, because tools repeat it in every update. Older versions stored a
	// digest of the password here, which the next write of the role drops.
	Adopted *struct{} `json:"adopted,omitempty"`

	// settled: time has settled a queued password. derived: Due was computed, or times that a clock stored that was ahead
	// were corrected. Neither is stored yet.
	settled, derived bool
	// read is the last stored first read; set only with rotate_after_read.
	read firstRead
}

// firstRead is when the password with this version and creation time was first read.
type firstRead struct {
	version     int
	created, at time.Time
}

// AdoptedVersion is the version of the password with which a role is created.
const AdoptedVersion = 1

// AdoptedIs compares a password with the one with which the role was created. It is known only until another one is in force;
// after that, nobody can find it out here.
func (r *Role) AdoptedIs(password string) (is, known bool) {
	current := r.Record.Current
	if r.Adopted == nil || current == nil || current.Version != AdoptedVersion {
		return false, false
	}
	return subtle.ConstantTimeCompare([]byte(current.Value), []byte(password)) == 1, true
}

// Refresh brings a role that was read from storage up to date. It settles what time has settled, and computes a due time
// that an older version did not store; that never makes the role due. All readers see the same, whether or not the result
// has been stored.
func (r *Role) Refresh(now time.Time) {
	r.correctClock(now)
	r.SettleByTime(now)
	if r.Due.IsZero() && r.Record.Current != nil && r.Options.Timing() != (Options{}).Timing() {
		r.Due = r.Options.DueAgain(r.Record.Current.Since, now)
		r.derived = !r.Due.IsZero()
	}
}

// correctClock counts from now what a clock that was ahead has stored, so that it does not delay the role until that time.
func (r *Role) correctClock(now time.Time) {
	if rec, wrong := r.Record.CorrectClock(now, timing.Skew); wrong {
		if queued := r.Record.QueuedSince(); !queued.Equal(rec.QueuedSince()) {
			r.SettlesAt = now.Add(max(0, r.SettlesAt.Sub(queued)))
		}
		r.Record, r.derived = rec, true
	}
	if timing.Ahead(r.Due, now) {
		if latest := r.Options.DueAfter(now.Add(timing.Skew)); !latest.IsZero() && r.Due.After(latest) {
			r.Due, r.derived = r.Options.DueAfter(now), true
		}
	}
	if last := r.Retry.Last; last != nil && timing.Ahead(last.Time, now) {
		r.Retry.NextAttempt = time.Time{}
	}
	if timing.Ahead(r.Proofs.Time, now) {
		r.Proofs.Time = now
	}
	if longest := max(lastMissing, timing.Seconds(r.Options.VerifyPeriod)); timing.Ahead(r.Proofs.Next, now.Add(longest)) {
		r.Proofs.Next = now
	}
	if timing.Ahead(r.Restarts.Since, now) {
		r.Restarts.Since, r.Restarts.NotBefore, r.derived = now, time.Time{}, true
	}
	if timing.Ahead(r.Retry.UnknownSince, now) {
		r.Retry.UnknownSince, r.derived = now, true
	}
}

// RotatedAhead returns when the password in force was rotated, if a clock that was ahead has recorded that; otherwise zero.
func (r *Role) RotatedAhead(now time.Time) time.Time {
	if c := r.Record.Current; c != nil && timing.Ahead(c.Since, now) {
		return c.Since
	}
	return time.Time{}
}

// SettleByTime puts the queued password in force once its time has passed.
func (r *Role) SettleByTime(now time.Time) {
	if r.SettlesAt.IsZero() || now.Before(r.SettlesAt) || !r.settlesByTime() {
		return
	}
	at := r.SettlesAt
	r.SettlesAt = time.Time{}
	r.settled = true
	if r.Record.QueuedSince().IsZero() { // an operator has already settled it
		return
	}
	r.Record = r.Record.SettleByTime(at, at).Trim(r.Options.HistorySize)
	r.Due = r.Options.DueAfter(at)
}

// Settled reports whether time has settled a password that is still queued in storage.
func (r *Role) Settled() bool { return r.settled }

// Stored must be called after the role was stored.
func (r *Role) Stored() { r.settled, r.derived = false, false }

// FirstRead tells the role when the password of this version and creation time was first read, and reports whether that
// changes what it knew of the password in force. A password may be read before it is known to be in force: readers are given
// one whose outcome is unknown where there is no other.
func (r *Role) FirstRead(version int, created, at time.Time) bool {
	before := r.firstReadAt()
	r.read = firstRead{version, created, at}
	return !r.firstReadAt().Equal(before)
}

// firstReadAt returns when the password in force was first read; zero if that is not known.
func (r *Role) firstReadAt() time.Time {
	if c := r.Record.Current; c != nil && c.Version == r.read.version && c.Created.Equal(r.read.created) {
		return r.read.at
	}
	return time.Time{}
}

// DueTime returns when the password in force is due for rotation, by its schedule or because it was read; zero if it is
// rotated only manually.
func (r *Role) DueTime() time.Time {
	due := r.Due
	rotates := r.Options.Proves() && r.Options.OnDrift == DriftRotate && !r.Record.Exposed()
	if drifted(r) && rotates && !r.Record.Current.Basis.Assumed() { // one that nobody saw in force would be refused again
		due = r.Proofs.Time
	}
	if first := r.firstReadAt(); r.Options.RotateAfterRead > 0 && !first.IsZero() {
		if read := first.Add(timing.Seconds(r.Options.RotateAfterRead)); due.IsZero() || read.Before(due) {
			due = read
		}
	}
	return due
}

// QueuedUntil returns when the queued password counts as in force; zero if none is queued.
func (r *Role) QueuedUntil() time.Time {
	if r.Record.QueuedSince().IsZero() {
		return time.Time{}
	}
	return r.SettlesAt
}

// Waits reports whether a due rotation has to wait because the last password is not in force yet: of two passwords that
// wait for the same restart, the first would be lost.
func Waits(state credential.State) bool {
	return state == credential.StateAccepted || state == credential.StateRestartRequired
}

// Unsettled reports whether so many outcomes are unknown that the engine may not generate another password, be it to resolve
// them or because the last one is due. An operator has to state which password works.
func (r *Role) Unsettled(now time.Time, env Env) bool {
	rec := r.Record
	return (rec.Next == nil || rec.Unfinished() && !r.inFlight(now) && r.NeedsAnother(env.OldPassword)) &&
		len(rec.GiveUp().Candidates) > credential.MaxCandidates // as in Make
}

// Sending reports whether a request is in flight, or was when the process ended.
func (r *Role) Sending() bool {
	return r != nil && r.Record.Next != nil && r.Record.Next.Phase == credential.Sending
}

// inFlight reports whether a request is under way and within its deadline, unless its process has ended.
func (r *Role) inFlight(now time.Time) bool {
	return r.Sending() && !now.After(r.Record.Next.SentUntil)
}

// LastRotation is when the password that a reader gets came into force or was adopted; zero if there is none.
func LastRotation(view credential.View) time.Time {
	switch {
	case !view.Since.IsZero():
		return view.Since
	case view.Password != nil:
		return view.Password.Created
	default:
		return time.Time{}
	}
}

// ChangedAt returns when a change last succeeded, or was staged; zero if the role has made none, or if somebody else has changed
// the password since.
func (r *Role) ChangedAt() time.Time {
	var at time.Time
	if c := r.Record.Current; c != nil && c.Basis != credential.BasisOperator && !c.Refused {
		at = c.Since
	}
	if next := r.Record.Next; next.Staged() {
		at = timing.Later(at, next.StagedSince)
	}
	return at
}

// ChangedWithin reports whether ChangedAt is less than d ago.
func (r *Role) ChangedWithin(d time.Duration, now time.Time) bool {
	return now.Sub(r.ChangedAt()).Abs() < d // a clock may have been ahead
}
