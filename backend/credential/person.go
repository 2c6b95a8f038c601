package credential

import "time"

// What an operator knows and says about an account's password. A word is about now; it is believed, and sends nothing.

// Confirm: an operator says that the password of this version, which was sent, is in force. That settles the others,
// but for those that may come into force after it: see settle. The version that is in force already is no error, so that
// a request may be repeated: it changes nothing while Next waits for a start, and is refused while Next is open otherwise;
// else it settles the candidates too. Returns ErrNothingToConfirm for any other.
func (r Record) Confirm(version int, now time.Time) (Record, error) {
	out := r.clone()
	inForce := out.Current != nil && out.Current.Version == version && !out.Current.Refused
	if inForce && out.Next.Exposed() && out.Next.Stage == RestartRequired {
		return out, nil
	}
	out.keepQuiet()
	if inForce && !out.Next.Exposed() {
		if len(out.Candidates) > 0 {
			out.Current.Confirmed = false
			out.settle(0, "")
		}
		out.heard()
		return out, nil
	}
	var value Password
	var stage Phase
	switch at := out.candidate(version); {
	case out.Next.Exposed() && out.Next.Version == version:
		value = out.Next.Password
		out.Next = nil
	case at >= 0:
		value, stage = out.Candidates[at].Password, out.Candidates[at].Stage
		out.Candidates = append(out.Candidates[:at:at], out.Candidates[at+1:]...)
	default:
		return r, ErrNothingToConfirm
	}
	out.settle(version, stage)
	out.install(value, now, BasisWord, false)
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
// request may still put it there; one that was never sent is withdrawn. Returns ErrNothingToConfirm where there is none.
func (r Record) Discard(version int) (Record, error) {
	out := r.clone()
	if out.Next.Exposed() && out.Next.Version == version {
		out.Next.InForceOn = nil
		out.retireNext(WhyDiscarded)
		return out, nil
	}
	if out.Next != nil && out.Next.Version == version { // it was never sent: nothing is left of it
		out.Next = nil
		return out, nil
	}
	if at := out.candidate(version); at >= 0 {
		out.Candidates[at].Why, out.Candidates[at].InForceOn = WhyDiscarded, nil
		return out, nil
	}
	return r, ErrNothingToConfirm
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
	out.forget(adopted.Version)
	out.settle(0, "")
	if adopted.Version == 0 {
		adopted.Version = out.newVersion()
	}
	out.install(adopted, now, BasisWord, false)
	out.heard()
	return out
}

// settle moves Next and the candidates to the history, as a person says that another password is in force: the one of
// this version that was open until now, or one that was not (0). The word is about now, and does not undo what the remote
// system does later: what waits for its next start stays what it is, and the history keeps the others as open. Of those
// that were sent before the one in force none waits any more. Where that came by such a start itself (stage), all that
// were sent after it stay: they may wait for the next one.
func (r *Record) settle(version int, stage Phase) {
	stays := func(v int, waits bool) bool { return v > version && (waits || stage == RestartRequired) }
	if n := r.Next; n.Exposed() && !stays(n.Version, n.Stage == RestartRequired) {
		r.keep(Past{Password: n.Password, State: ListedSuperseded, Open: true})
		r.Next = nil
	}
	if !r.Next.Exposed() {
		r.Next = nil
	}
	var open []Candidate
	for _, c := range r.Candidates {
		if stays(c.Version, c.Stage == RestartRequired && !c.Overtaken) {
			open = append(open, c)
			continue
		}
		r.keep(Past{Password: c.Password, State: ListedSuperseded, Open: true})
	}
	r.Candidates = open
	r.everywhere()
}

// keepQuiet remembers when the requests had to end whose passwords are about to be settled by a person's word.
func (r *Record) keepQuiet() {
	r.quiet(r.QuietUntil())
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
