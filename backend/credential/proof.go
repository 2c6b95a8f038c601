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

// ToResend reports whether an unproved password has to be sent again, because logins with it were refused.
func (n *Next) ToResend() bool { return n.Unproved() && n.LoginsRefused == resendAfter && !n.Resent }

// Contradicted reports whether the remote system reports the password in force, but logins with it are refused, even after it
// was sent again.
func (n *Next) Contradicted() bool {
	return n.Unproved() && n.Resent && n.LoginsRefused >= contradicted
}

// Proved: a login with the password of this version has worked, on all parts of the account. That settles every other
// password that cannot come into force any more. A version that the record does not hold changes nothing.
func (r Record) Proved(version int, now time.Time, margin time.Duration) Record {
	out := r.clone()
	current := out.Current
	if current == nil || current.Version != version && !out.inForce(version) {
		value, until, ok := out.take(version)
		if !ok {
			return out
		}
		out.settleByProof(version, now, margin)
		out.install(value, now, BasisProof, true)
		out.Current.OpenUntil = until
	} else {
		out.settleByProof(current.Version, now, margin)
		current.Refused, current.Basis = false, BasisProof
		out.clearInForceOn()
	}
	out.Current.Confirmed = len(out.Candidates) == 0
	if !late(out.SendNotBefore(), now, margin) {
		out.closePast()
	}
	return out
}

// ProvedOn is Proved for some parts of the account. Once an open password has been proved on all parts, it acts as Proved.
func (r Record) ProvedOn(version int, parts, all []string, now time.Time, margin time.Duration) Record {
	if c := r.Current; c != nil && (c.Version == version || r.inForce(version)) {
		out := r.clone()
		out.removeInForceOn(parts)
		return out
	}
	if len(union(r.InForceOn(version), parts)) == len(all) {
		return r.Proved(version, now, margin)
	}
	out, err := r.ConfirmOn(version, parts, all, now)
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
		if c := &out.Candidates[at]; c.Stage == "" && !late(c.SentUntil, now, margin) {
			c.Refused = true
		}
	case out.Previous != nil && out.Previous.Version == version:
		out.Previous.Refused = true
	}
	return out
}

// late reports whether a request with this deadline may still be carried out.
func late(deadline, now time.Time, margin time.Duration) bool {
	return !deadline.IsZero() && now.Before(deadline.Add(margin))
}

// take removes the password of this version from wherever the record holds it, except as Current. until is the deadline of
// its last unresolved request.
func (r *Record) take(version int) (value Password, until time.Time, ok bool) {
	if n := r.Next; n.Exposed() && n.Version == version {
		r.raiseNotBefore(n.UnresolvedUntil)
		r.Next = nil
		return n.Password, n.openUntil(), true
	}
	if at := r.candidateIndex(version); at >= 0 {
		value, until, ok = r.Candidates[at].Password, r.Candidates[at].openUntil(), true
		r.raiseNotBefore(r.Candidates[at].SentUntil)
	} else if p := r.Previous; p != nil && p.Version == version {
		value, ok = p.Password, true
	} else if at := slices.IndexFunc(r.History, func(p Past) bool { return p.Version == version }); at >= 0 {
		value, ok = r.History[at].Password, true
	}
	if ok {
		r.remove(version)
	}
	return value, until, ok
}

// settleByProof moves the candidates to the history, except those that may come into force after the version that a login
// has proved: staged later, or with a request that may be late.
func (r *Record) settleByProof(version int, now time.Time, margin time.Duration) {
	var open []Candidate
	for _, c := range r.Candidates {
		if late(c.SentUntil, now, margin) || c.Stage != "" && !c.Overtaken && c.Version > version {
			open = append(open, c)
			continue
		}
		r.archive(c.Password, ListedSuperseded)
	}
	r.Candidates = open
}

// InForceOn returns the parts on which an open password is known to be in force.
func (r Record) InForceOn(version int) []string {
	if n := r.Next; n != nil && n.Version == version {
		return n.InForceOn
	}
	if at := r.candidateIndex(version); at >= 0 {
		return r.Candidates[at].InForceOn
	}
	return nil
}
