package credential

import "time"

// What an operator knows and says about an account's password. A word is about now; it is believed, and sends nothing.

// Confirm: an operator says that the password of this version, which was sent, is in force. That settles the others,
// but for those that may come into force after it: see settle. The version that is in force already is no error, so that
// a request may be repeated: it settles the candidates, and is refused while a request with Next is open. Returns
// ErrNothingToConfirm for any other.
func (r Record) Confirm(version int, now time.Time) (Record, error) {
	out := r.clone()
	inForce := out.Current != nil && out.Current.Version == version && !out.Current.Refused
	out.keepQuiet()
	if inForce && (!out.Next.Exposed() || out.Next.Stage != "") {
		if len(out.Candidates) > 0 {
			out.Current.Confirmed = false
			out.settle(0, "")
		}
		out.everywhere()
		out.heard()
		return out, nil
	}
	var value Password
	var stage Phase
	var until time.Time
	switch at := out.candidate(version); {
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
	out.settle(version, stage)
	out.installByWord(value, now)
	out.Current.OpenUntil = until
	out.heard()
	return out, nil
}

// ConfirmOn: an operator says that the password of this version is in force on these parts of the account. Once it is
// on all of them, that is Confirm. Returns ErrNothingToConfirm as Confirm does.
func (r Record) ConfirmOn(version int, parts, all []string, now time.Time) (Record, error) {
	out := r.clone()
	var on *[]string
	switch at := out.candidate(version); {
	case out.Next.Exposed() && out.Next.Version == version:
		on = &out.Next.InForceOn
	case at >= 0:
		on = &out.Candidates[at].InForceOn
	case out.Current != nil && out.Current.Version == version && !out.Current.Refused:
		on = new([]string)
	default:
		return r, ErrNothingToConfirm
	}
	if at := out.candidate(version); at >= 0 && out.Candidates[at].Why == WhyDiscarded { // not after all
		out.Candidates[at].Why = WhyUnresolved
		if c := out.Candidates[at]; c.Stage != "" && (len(c.Taken) == 0 || c.SentUntil.IsZero()) {
			out.Candidates[at].Why = WhyStaged
		}
	}
	in := union(*on, parts)
	if len(in) == len(all) && (out.Current == nil || out.Current.Version != version) {
		return r.Confirm(version, now)
	}
	out.leave(parts)
	*on = in
	if n := out.Next; n != nil && n.Version == version && n.Partial() {
		n.Taken = union(n.Taken, parts)
		if len(n.Missing(all)) == 0 { // whatever became of the last request, nobody has to find out
			n.Taken, n.Phase = nil, n.Stage
			if n.SentUntil.After(n.UnresolvedUntil) { // it may still be under way
				n.UnresolvedUntil = n.SentUntil
			}
		}
	}
	return out, nil
}

// Discard: an operator says that the password of this version is not in force. It stays a candidate, since a late
// request or a start may still put it there; one that was never sent is withdrawn. One that counts as in force by time
// alone gives way to the one before. Returns ErrNothingToConfirm where there is none, ErrQueued and ErrInForceOn where
// nothing is to be said yet, or something else was said.
func (r Record) Discard(version int, now time.Time) (Record, error) {
	out := r.clone()
	at := out.candidate(version)
	switch c, n := out.Current, out.Next; {
	case n != nil && n.Version == version && !n.Exposed(): // it was never sent: nothing is left of it
		out.withdraw()
	case n != nil && n.Version == version && n.Stage == Accepted, at >= 0 && out.Candidates[at].queued():
		return r, ErrQueued
	case n != nil && n.Version == version && len(n.InForceOn) > 0, at >= 0 && len(out.Candidates[at].InForceOn) > 0:
		return r, ErrInForceOn
	case n != nil && n.Version == version:
		out.retireNext(WhyDiscarded)
	case at >= 0:
		out.Candidates[at].Why = WhyDiscarded
	case c != nil && c.Version == version && c.Basis == BasisTime && out.Previous != nil && !out.Exposed():
		out.Candidates = append(out.Candidates, Candidate{Password: c.Password, Why: WhyDiscarded})
		out.Current = &Current{Password: out.Previous.Password, Since: now, Basis: BasisWord}
		if out.Previous.State == ListedUnconfirmed { // the word says nothing of it
			out.Current.Basis = BasisTime
		}
		out.Previous = nil
	default:
		return r, ErrNothingToConfirm
	}
	return out, nil
}

// Adopt: an operator says that this password is in force. Nothing is sent; what was open is settled by that word.
// A password that the record holds keeps its version.
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
		if out, err := r.Confirm(adopted.Version, now); err == nil { // it was sent and is open
			return out
		}
	}
	out := r.clone()
	out.keepQuiet()
	if inForce {
		if out.Next.Exposed() || len(out.Candidates) > 0 {
			out.Current.Confirmed = false // it was, but what was sent since may still follow
		}
		out.Current.Refused = false
		out.settle(0, "")
		out.heard()
		return out
	}
	if !out.Next.Exposed() { // whoever changes the password elsewhere does not wait for this one
		out.Next = nil
	}
	out.forget(adopted.Version)
	out.settle(0, "")
	if adopted.Version == 0 {
		adopted.Version = out.newVersion()
	}
	out.installByWord(adopted, now)
	out.heard()
	return out
}

// installByWord puts a password in force since a person says so. The one before stays open where a request with it may still
// be carried out, which a word does not undo.
func (r *Record) installByWord(value Password, now time.Time) {
	before := r.Current
	r.install(value, now, BasisWord, false)
	if before == nil || before.OpenUntil.IsZero() {
		return
	}
	if r.Previous != nil && r.Previous.Version == before.Version {
		r.Previous.Open = true
	}
	for i := range r.History {
		if r.History[i].Version == before.Version {
			r.History[i].Open = true
		}
	}
}

// settle moves Next, if it was sent, and the candidates to the history, as a person says that another password is in
// force: the one of this version that was open until now, or one that was not (0). The word is about now, and does not
// undo what the remote system does later: what waits in its queue or for its next start stays what it is, and the history
// keeps the others as open. Of those that were sent before the one in force none waits any more. Where that came by a
// start itself (stage), all that were sent after it stay: they may wait for the next one.
func (r *Record) settle(version int, stage Phase) {
	stays := func(v int, waits bool) bool { return v > version && (waits || stage == RestartRequired) }
	if n := r.Next; n.Exposed() && !stays(n.Version, n.Stage != "") {
		r.keep(Past{Password: n.Password, State: ListedSuperseded, Open: true})
		r.Next = nil
	}
	var open []Candidate
	for _, c := range r.Candidates {
		if stays(c.Version, c.Stage != "" && !c.Overtaken) {
			open = append(open, c)
			continue
		}
		r.keep(Past{Password: c.Password, State: ListedSuperseded, Open: true})
	}
	r.Candidates = open
	r.everywhere()
}

// keepQuiet remembers when the requests had to end whose passwords are about to be settled by a person's word, and when
// the last one came into the remote system's queue.
func (r *Record) keepQuiet() {
	r.quiet(r.QuietUntil())
	r.quiet(r.QueuedSince())
	if r.Next.Exposed() {
		r.quiet(r.Next.SentUntil)
		r.quiet(r.Next.UnresolvedUntil)
	}
}

// heard: a person has said what is in force now. Past passwords stay open, since the word may have come before what it
// does not undo, but the distance that is kept from a request (Quiet) now holds for the late ones.
func (r *Record) heard() {
	if !r.Current.Confirmed {
		r.Current.Basis = BasisWord
	}
	for i := range r.History {
		r.History[i].Late = false
	}
}
