package credential

import (
	"slices"
	"time"
)

// This file holds what logins show: Proved, ProvedOn and LoginRefused, and Reported for a change that a login still has to
// show. A login that works shows what is in force now. It does not undo what the remote system has queued, does at its next
// restart, or receives late: margin is how long after its deadline a request may still be carried out.

// Reported: the remote system reports that Next is in force, but no login has shown it yet. Proved follows, or Applied if no
// login can tell. exclusive is that of Applied.
func (r Record) Reported(exclusive bool) Record {
	out := r.Confirmed(exclusive)
	if n := out.Next; n != nil {
		n.Reported = true
	}
	return out
}

// Unproved reports whether the remote system reports the password in force, and no login has shown it.
func (n *Next) Unproved() bool { return n != nil && n.Phase == Unknown && n.Confirmed && n.Reported }

// How many logins contradict the remote system before the password is sent again, and before an operator is asked.
const (
	resendAfter  = 2
	contradicted = 3
)

// mayResend reports whether an unproved Next may be sent once more. An old password with which no login works is not presented
// again.
func (r Record) mayResend() bool {
	n, c := r.Next, r.Current
	return n.Unproved() && !n.Resent && (!n.Conditional || c != nil && !c.Refused)
}

// ToResend reports whether an unproved Next has to be sent again, because logins with it were refused.
func (r Record) ToResend() bool { return r.mayResend() && r.Next.LoginsRefused >= resendAfter }

// Contradicted reports whether the remote system reports Next in force, but logins with it are refused, even after it was sent
// again where that is possible.
func (r Record) Contradicted() bool {
	return r.Next.Unproved() && !r.mayResend() && r.Next.LoginsRefused >= contradicted
}

// Proved: a login with the password of this version has worked, on all parts of the account. That settles every other
// password that cannot come into force any more. A version that the record does not hold changes nothing.
func (r Record) Proved(version int, now time.Time, margin time.Duration) Record {
	return r.proved(version, false, now, margin)
}

// proved is Proved. restarts: parts take a password at their next restart, so one whose outcome is unknown may wait for that.
func (r Record) proved(version int, restarts bool, now time.Time, margin time.Duration) Record {
	out, overtakes := r.clone(), 0
	open := late(out.NotBefore, now, margin) // another password may follow
	if current := out.Current; current != nil && (current.Version == version || out.inForce(version)) {
		open = open && !out.NotBefore.Equal(current.OpenUntil) // unless the request is its own
		out.settleByProof(0, restarts, now, margin)
		current.Refused, current.Basis = false, BasisProof
		out.clearInForceOn()
	} else {
		if out.Next != nil && out.Next.Version == version || out.candidateIndex(version) >= 0 {
			overtakes = version
		}
		value, until, ok := out.take(version)
		if !ok {
			return out
		}
		out.settleByProof(overtakes, restarts, now, margin)
		out.replaceCurrent(value, now, BasisProof)
		out.Current.OpenUntil = until
	}
	if !late(out.SendNotBefore(), now, margin) {
		out.closePast(overtakes)
	}
	waits := func(p Past) bool { return restarts && p.Open && !p.Worked }
	out.Current.Confirmed = len(out.Candidates) == 0 && !open && !slices.ContainsFunc(out.History, waits)
	return out
}

// ProvedOn is Proved for some parts of the account. Once an open password has been proved on all parts, it acts as Proved; if
// on some it was only stated or restarted, as Confirm.
func (r Record) ProvedOn(version int, parts, all []string, now time.Time, margin time.Duration) Record {
	on, assumed := r.InForceOn(version)
	if len(all) == 0 {
		return r.Proved(version, now, margin)
	}
	if len(parts) >= len(all) || len(union(on, parts)) == len(all) && !assumed {
		return r.proved(version, true, now, margin)
	}
	if c := r.Current; c != nil && (c.Version == version || r.inForce(version)) {
		return r.NotInForceOn(0, parts...)
	}
	out, err := r.confirmOn(version, parts, all, now)
	if err != nil { // the password is not open: it is in force on all parts, or on none
		return r.clone()
	}
	return out
}

// LoginRefused: a login with the password of this version was refused. The caller decides whether that means anything: a
// password that waits for a restart is refused too.
func (r Record) LoginRefused(version int, now time.Time, margin time.Duration) Record {
	out := r.clone()
	switch at := out.candidateIndex(version); {
	case out.Next != nil && out.Next.Version == version:
		if out.Next.Unproved() {
			out.Next.LoginsRefused++
		}
	case out.Current != nil && out.Current.Version == version:
		out.Current.Refused, out.Current.Confirmed = true, false
	case at >= 0:
		if c := &out.Candidates[at]; c.Stage == "" && len(c.InForceOn) == 0 && !late(c.SentUntil, now, margin) {
			c.Refused = true
		}
	case out.Previous != nil && out.Previous.Version == version:
		out.Previous.Refused = true
	}
	return out
}

// NotInForceOn: logins have shown that the open password of this version is not in force on these parts; with 0, that none is.
func (r Record) NotInForceOn(version int, parts ...string) Record {
	out := r.clone()
	out.removeInForceOn(version, parts)
	return out
}

// late reports whether a request with this deadline may still be carried out.
func late(deadline, now time.Time, margin time.Duration) bool {
	return !deadline.IsZero() && !now.After(deadline.Add(margin))
}

// take removes the password of this version from wherever the record holds it, except as Current. until is the deadline of
// its last request that may still be carried out.
func (r *Record) take(version int) (value Password, until time.Time, ok bool) {
	at := r.candidateIndex(version)
	past := slices.IndexFunc(r.History, func(p Past) bool { return p.Version == version })
	switch n := r.Next; {
	case n.Exposed() && n.Version == version:
		value, until, r.Next = n.Password, n.UnresolvedUntil, nil
		if n.Unresolved && !n.Confirmed { // only one of several requests is known to have been carried out
			until = n.openUntil()
		}
	case at >= 0:
		c := r.Candidates[at]
		value, until = c.Password, c.SentUntil
		if c.Stage == Accepted && c.StagedSince.After(until) { // it may be queued more than once
			until = c.StagedSince
		}
	case r.Previous != nil && r.Previous.Version == version:
		value = r.Previous.Password
	case past >= 0:
		value = r.History[past].Password
	default:
		return value, until, false
	}
	r.remove(version)
	r.raiseNotBefore(until)
	return value, until, true
}

// settleByProof moves the candidates to the history, except those that can still come into force: staged after the version
// that a login has proved, or with a request that may be late. overtakes is that version if it was open until then, so that
// it was sent after those with a lower one; otherwise 0. In the history, the others stay open: an outcome that nobody has seen
// may be that the password waits for a restart. restarts is that of proved.
func (r *Record) settleByProof(overtakes int, restarts bool, now time.Time, margin time.Duration) {
	var open []Candidate
	for _, c := range r.Candidates {
		later := c.Version > overtakes
		waits := later && !c.Overtaken && (c.Stage != "" || restarts && !c.SentUntil.IsZero())
		if waits || late(c.SentUntil, now, margin) {
			open = append(open, c)
			continue
		}
		r.addPast(Past{Password: c.Password, State: ListedSuperseded, Open: later && !c.Outlived})
	}
	r.Candidates = open
}

// InForceOn returns the parts on which an open password is known to be in force, and whether no login has shown some of that.
func (r Record) InForceOn(version int) (parts []string, assumed bool) {
	if n := r.Next; n != nil && n.Version == version {
		return n.InForceOn, n.PartsAssumed
	}
	if at := r.candidateIndex(version); at >= 0 {
		return r.Candidates[at].InForceOn, r.Candidates[at].PartsAssumed
	}
	return nil, false
}
