package credential

import "time"

// This file holds what an operator says about a password: Confirm, ConfirmOn, Discard and Adopt. The engine believes it and
// sends nothing. It describes the present only: what the remote system has queued, or does at its next restart, still
// happens.

// Confirm: an operator says that the password of this version, which was sent, is in force. That settles the other
// passwords, except those that may come into force after it: see settleOthers. Confirming the version that is already in
// force settles the candidates, so a confirmation may be repeated; it fails while a request with Next is open. Confirming a
// settled or refused version adopts its password. Confirm returns ErrNothingToConfirm for any other version.
func (r Record) Confirm(version int, now time.Time) (Record, error) {
	if value := r.settled(version); value != "" {
		return r.Adopt(value, "", now), nil
	}
	return r.confirmOpen(version, now)
}

// confirmOpen is Confirm for a version that is in force or open.
func (r Record) confirmOpen(version int, now time.Time) (Record, error) {
	out := r.clone()
	out.keepNotBefore()
	out.doubtOld()
	if out.inForce(version) && (!out.Next.Exposed() || out.Next.Stage != "") {
		if len(out.Candidates) > 0 {
			out.Current.Confirmed = false
			out.settleOthers(0, "")
		}
		out.clearInForceOn()
		out.recordConfirmation()
		return out, nil
	}
	var value Password
	var stage Phase
	var until time.Time
	switch at := out.candidateIndex(version); {
	case out.Next.Exposed() && out.Next.Version == version:
		value, until = out.Next.Password, out.Next.openUntil()
		out.Next = nil
	case at >= 0:
		c := out.Candidates[at]
		value, stage, until = c.Password, c.Stage, c.openUntil()
		out.Candidates = append(out.Candidates[:at:at], out.Candidates[at+1:]...)
	default:
		return r, ErrNothingToConfirm
	}
	out.settleOthers(version, stage)
	out.replaceCurrent(value, now, BasisOperator)
	out.Current.OpenUntil = until
	out.recordConfirmation()
	return out, nil
}

// ConfirmOn: an operator says that the password of this version is in force on these parts of the account. Once that was said
// of all parts, it acts as Confirm. It returns ErrNothingToConfirm if no open password, nor the one in force, has this version.
func (r Record) ConfirmOn(version int, parts, all []string, now time.Time) (Record, error) {
	out, err := r.confirmOn(version, parts, all, now)
	if n := out.Next; err == nil && n != nil && n.Version == version {
		n.PartsAssumed = true
	}
	if at := out.candidateIndex(version); err == nil && at >= 0 {
		out.Candidates[at].PartsAssumed = true
	}
	return out, err
}

// confirmOn is ConfirmOn, whoever has shown it.
func (r Record) confirmOn(version int, parts, all []string, now time.Time) (Record, error) {
	out := r.clone()
	var on *[]string
	switch at := out.candidateIndex(version); {
	case out.Next.Exposed() && out.Next.Version == version:
		on = &out.Next.InForceOn
	case at >= 0:
		on = &out.Candidates[at].InForceOn
	case out.inForce(version):
		on = new([]string)
	default:
		if len(union(nil, parts)) == len(all) {
			return r.Confirm(version, now)
		}
		return r, ErrNothingToConfirm
	}
	if at := out.candidateIndex(version); at >= 0 && out.Candidates[at].Why == WhyDiscarded { // it is in force after all
		out.Candidates[at].Why = WhyUnresolved
		if c := out.Candidates[at]; c.Stage != "" && (len(c.Taken) == 0 || c.SentUntil.IsZero()) {
			out.Candidates[at].Why = WhyStaged
		}
	}
	in := union(*on, parts)
	if len(in) == len(all) && !out.inForce(version) {
		return r.Confirm(version, now)
	}
	out.removeInForceOn(0, parts)
	*on = in
	if n := out.Next; n != nil && n.Version == version && n.Partial() {
		n.Taken = union(n.Taken, parts)
		if len(n.Missing(all)) == 0 { // the outcome of the last request no longer matters
			n.Taken, n.Phase = nil, n.Stage
			if n.SentUntil.After(n.UnresolvedUntil) { // it may still be in flight
				n.UnresolvedUntil = n.SentUntil
			}
		}
	}
	return out, nil
}

// Discard: an operator says that the password of this version is not in force. It stays a candidate, because a late request
// or a restart may still put it in force. A password that was never sent is withdrawn. If Current came into force by
// time alone and nothing else is open, discarding it makes Previous Current again.
//
// Discard returns ErrNothingToConfirm if no password of this version can be discarded, ErrQueued if it is in the remote
// system's queue, and ErrInForceOn if an operator has confirmed it on some parts.
func (r Record) Discard(version int, now time.Time) (Record, error) {
	out := r.clone()
	at := out.candidateIndex(version)
	switch c, n := out.Current, out.Next; {
	case n != nil && n.Version == version && !n.Exposed(): // never sent: it leaves no trace
		out.withdrawNext()
	case n != nil && n.Version == version && n.Stage == Accepted, at >= 0 && out.Candidates[at].queued():
		return r, ErrQueued
	case n != nil && n.Version == version && len(n.InForceOn) > 0, at >= 0 && len(out.Candidates[at].InForceOn) > 0:
		return r, ErrInForceOn
	case n != nil && n.Version == version:
		out.retireNext(WhyDiscarded)
	case at >= 0:
		out.Candidates[at].Why = WhyDiscarded
	case out.inForce(version) && c.Basis.Assumed() && out.Previous != nil && !out.Exposed():
		out.Candidates = append(out.Candidates, Candidate{Password: c.Password, Why: WhyDiscarded})
		back := *out.Previous
		out.Previous = nil
		out.setCurrent(back.Password, now, BasisOperator)
		if back.State == ListedUnconfirmed { // discarding Current does not confirm Previous
			out.Current.Basis = BasisTime
		}
	default:
		return r, ErrNothingToConfirm
	}
	return out, nil
}

// inForce reports whether the password of this version is in force, as far as the engine knows.
func (r Record) inForce(version int) bool {
	c := r.Current
	return c != nil && !c.Refused && (c.Version == version || c.Formerly != 0 && c.Formerly == version)
}

// settled returns the password of this version if it is past or refused, and otherwise "".
func (r Record) settled(version int) string {
	if r.Current != nil && r.Current.Version == version && r.Current.Refused {
		return r.Current.Value
	}
	if r.Previous != nil && r.Previous.Version == version {
		return r.Previous.Value
	}
	for _, p := range r.History {
		if p.Version == version {
			return p.Value
		}
	}
	return ""
}

// Adopt: an operator says that this password is in force. That settles what was open, as Confirm does. A password that the
// record already holds keeps its version, unless a newer one was in force: see setCurrent.
func (r Record) Adopt(value, reason string, now time.Time) Record {
	adopted := Password{Value: value, Created: now, Reason: reason}
	for _, known := range r.List() {
		if known.Value == value {
			adopted = known.Password
			break
		}
	}
	inForce := r.Current != nil && r.Current.Version == adopted.Version
	if !inForce && adopted.Version != 0 {
		if out, err := r.confirmOpen(adopted.Version, now); err == nil { // it was sent and is open
			return out
		}
	}
	out := r.clone()
	out.keepNotBefore()
	out.doubtOld()
	if inForce {
		if out.Next.Exposed() || len(out.Candidates) > 0 {
			out.Current.Confirmed = false // it was, but a password sent since may still come into force
		}
		out.Current.Refused = false
		out.settleOthers(0, "")
		out.recordConfirmation()
		return out
	}
	if !out.Next.Exposed() { // the password was changed elsewhere, so this one is no longer wanted
		out.Next = nil
	}
	out.remove(adopted.Version)
	out.settleOthers(0, "")
	if adopted.Version == 0 {
		adopted.Version = out.newVersion()
	}
	out.replaceCurrent(adopted, now, BasisOperator)
	out.recordConfirmation()
	return out
}

// replaceCurrent makes a password Current because an operator or a login says so, unconfirmed. The one before stays open if a
// request with it may still be carried out.
func (r *Record) replaceCurrent(value Password, now time.Time, basis Basis) {
	before := r.Current
	r.install(value, now, basis, false)
	if before != nil && !before.OpenUntil.IsZero() {
		r.openPast(before.Version)
	}
}

// openPast records that a past password may still be valid.
func (r *Record) openPast(version int) {
	if r.Previous != nil && r.Previous.Version == version {
		r.Previous.Open = true
	}
	for i := range r.History {
		if r.History[i].Version == version {
			r.History[i].Open = true
		}
	}
}

// settleOthers moves Next, if it was sent, and the candidates to the history, as open ones: an operator says that another
// password is in force. That is the version given, which was open until now, or one that was not open (0).
//
// Passwords that the remote system may still put in force stay where they are. Those are the staged ones that were sent
// after the version given and are not overtaken. If the password in force itself came by a restart (stage), they are all
// that were sent after it, because any of them may be waiting for the next restart.
func (r *Record) settleOthers(version int, stage Phase) {
	stays := func(v int, waits bool) bool { return v > version && (waits || stage == RestartRequired) }
	if n := r.Next; n.Exposed() && !stays(n.Version, n.Stage != "") {
		r.addPast(Past{Password: n.Password, State: ListedSuperseded, Open: true})
		r.Next = nil
	}
	var open []Candidate
	for _, c := range r.Candidates {
		if stays(c.Version, c.Stage != "" && !c.Overtaken) {
			open = append(open, c)
			continue
		}
		r.addPast(Past{Password: c.Password, State: ListedSuperseded, Open: true})
	}
	r.Candidates = open
	r.clearInForceOn()
}

// keepNotBefore raises NotBefore to the deadlines of all unresolved requests, and to the time at which the remote system
// last queued a password, because the record is about to lose track of them.
func (r *Record) keepNotBefore() {
	r.raiseNotBefore(r.SendNotBefore())
	r.raiseNotBefore(r.QueuedSince())
	if r.Next.Exposed() {
		r.raiseNotBefore(r.Next.SentUntil)
		r.raiseNotBefore(r.Next.UnresolvedUntil)
	}
}

// recordConfirmation records that an operator has said which password is in force. Past passwords stay open, because the
// remote system may still put one in force. They are no longer late, because NotBefore now covers their requests.
func (r *Record) recordConfirmation() {
	if !r.Current.Confirmed {
		r.Current.Basis = BasisOperator
	}
	for i := range r.History {
		r.History[i].Late = false
	}
}
