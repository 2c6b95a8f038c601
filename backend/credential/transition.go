package credential

import (
	"errors"
	"slices"
	"time"
)

// Errors of transitions. Each is caused by the operator's request.
var (
	// ErrUnsettled: there are too many candidates. An operator has to say which password is in force.
	ErrUnsettled = errors.New("too many passwords of this role have an unknown outcome")
	// ErrNothingToConfirm: no password of this version can be confirmed or discarded.
	ErrNothingToConfirm = errors.New("no password of this version is waiting to be confirmed or discarded")
	// ErrQueued: the remote system has queued the password, so it may still come into force.
	ErrQueued = errors.New("the remote system has queued the password of this version")
	// ErrInForceOn: an operator has confirmed the password on parts of the account.
	ErrInForceOn = errors.New("the password of this version was confirmed on some servers")
)

// Make puts a new password in place as Next, unsent. A previous Next that was never exposed is dropped; any other becomes a
// candidate. given marks a password that an operator chose. Make returns ErrUnsettled if there would be too many
// candidates.
func (r Record) Make(value, reason string, given bool, now time.Time) (Record, error) {
	out := r.GiveUp() // a password that was never sent leaves no trace, and its version is reused
	if len(out.Candidates) > MaxCandidates {
		return r, ErrUnsettled
	}
	out.Next = &Next{
		Password: Password{Version: out.newVersion(), Value: value, Created: now, Reason: reason},
		Phase:    Unsent,
		Given:    given,
	}
	return out, nil
}

// retireNext turns an exposed Next into a candidate.
func (r *Record) retireNext(why Why) {
	n := r.Next
	c := Candidate{Password: n.Password, Why: why, SentUntil: n.SentUntil, Conditional: n.Conditional}
	if n.UnresolvedUntil.After(c.SentUntil) {
		c.SentUntil = n.UnresolvedUntil
	}
	c.Stage, c.StagedSince, c.Taken, c.InForceOn, c.PartsAssumed, c.Given = n.Stage, n.StagedSince, n.Taken, n.InForceOn, n.PartsAssumed, n.Given
	r.Candidates = append(r.Candidates, c)
	r.Next = nil
}

// Send marks Next as being sent until the deadline. old is the version presented as the old password, 0 if none. Store
// the result before the request leaves. An earlier request that was not answered "not applied" stays unresolved, including
// one that was interrupted by a crash.
func (r Record) Send(deadline time.Time, old int) Record {
	out := r.clone()
	n := out.Next
	if n == nil {
		return out
	}
	if n.Exposed() && !n.Staged() {
		n.Unresolved = true
		if n.SentUntil.After(n.UnresolvedUntil) {
			n.UnresolvedUntil = n.SentUntil
		}
	}
	n.Resent = n.Resent || n.Unproved()
	n.Confirmed, n.Exclusive, n.Reported = false, false, false // this request has no answer yet
	n.Conditional = old != 0 && (n.Conditional || !n.Exposed())
	n.Phase = Sending
	n.SentUntil = deadline
	n.OldVersion = old
	return out
}

// Applied: the remote system confirmed that Next is in force. exclusive means that it made the change only because the old
// password was right, so no earlier request that presented an old password can be applied any more.
func (r Record) Applied(now time.Time, exclusive bool) Record {
	out := r.clone()
	if out.Next == nil {
		return out
	}
	n := out.Next
	exclusive = exclusive || n.Exclusive
	out.Next = nil
	out.raiseNotBefore(n.UnresolvedUntil)
	if exclusive {
		out.OldTries = OldTries{}
		if at := out.candidateIndex(n.OldVersion); at >= 0 && out.Candidates[at].Conditional {
			// The old password was right, so this candidate was in force.
			worked := out.Candidates[at].Password
			out.remove(worked.Version)
			out.install(worked, now, BasisAnswer, true)
		}
	}
	var open []Candidate
	for _, c := range out.Candidates {
		if exclusive && c.Conditional || c.Outlived {
			out.archive(c.Password, ListedSuperseded)
			continue
		}
		c.Overtaken, c.Outlived = true, true
		open = append(open, c)
	}
	out.Candidates = open
	late := slices.ContainsFunc(out.History, func(p Past) bool { return p.Late })
	out.install(n.Password, now, BasisAnswer, len(open) == 0 && !late)
	out.Current.OpenUntil = n.UnresolvedUntil
	out.overtakePast()
	return out
}

// NotApplied: the answer proves that this request changed nothing, or nothing beyond what TakenByParts has recorded. It
// settles no earlier request.
func (r Record) NotApplied() Record {
	out := r.clone()
	n := out.Next
	if n == nil || n.Phase != Sending {
		return out
	}
	n.OldVersion = 0
	if n.Unresolved {
		n.Phase = Unknown
		n.SentUntil = n.UnresolvedUntil
		return out
	}
	n.Phase = Unsent
	if n.Stage != "" {
		n.Phase = n.Stage // some parts have taken it
	}
	n.SentUntil = time.Time{}
	return out
}

// Unresolved: it is unknown whether the request was applied, or will be.
func (r Record) Unresolved() Record {
	out := r.clone()
	if out.Next != nil && out.Next.Phase == Sending {
		out.Next.Phase = Unknown
	}
	return out
}

// Confirmed: the remote system confirmed the request, but has not reported Next in force. Applied follows once it has, and
// TargetRefused if it never will. exclusive is that of Applied.
func (r Record) Confirmed(exclusive bool) Record {
	out := r.Unresolved()
	if n := out.Next; n != nil {
		n.Confirmed, n.Exclusive = true, exclusive
	}
	return out
}

// PasswordRefused: the remote system does not accept Next as a password, so it is not sent again. It is dropped if every
// request with it was answered "not applied"; otherwise it becomes a candidate.
func (r Record) PasswordRefused() Record {
	out := r.NotApplied()
	if out.Next.Exposed() {
		out.retireNext(WhyRefused)
	} else {
		out.withdrawNext()
	}
	return out
}

// TargetRefused: the remote system refuses the account or the request, whatever the password. Next is dropped if every
// request with it was answered "not applied". Otherwise it stays Next, because another password would be refused too.
func (r Record) TargetRefused() Record {
	out := r.NotApplied()
	if !out.Next.Exposed() {
		out.withdrawNext()
	} else {
		out.Next.Confirmed, out.Next.Exclusive, out.Next.Reported = false, false, false
	}
	return out
}

// withdrawNext drops a Next that was never applied, and makes the candidate that it replaced Next again: the engine still
// has to find out its outcome, or to finish it.
func (r *Record) withdrawNext() {
	if r.Next == nil { // there is none, so it replaced no candidate
		return
	}
	r.Next = nil
	last := len(r.Candidates) - 1
	if last < 0 || !r.Candidates[last].open() || r.Candidates[last].Why == WhyRefused {
		return
	}
	c := r.Candidates[last]
	r.Candidates = r.Candidates[:last:last]
	r.Next = &Next{
		Password: c.Password, Phase: Unknown, SentUntil: c.SentUntil, Unresolved: !c.SentUntil.IsZero(), UnresolvedUntil: c.SentUntil,
		Conditional: c.Conditional, Stage: c.Stage, StagedSince: c.StagedSince, Taken: c.Taken, InForceOn: c.InForceOn, PartsAssumed: c.PartsAssumed,
		Given: c.Given,
	}
	if c.Why == WhyStaged {
		r.Next.Phase = c.Stage
	}
}

// GiveUp stops setting Next. It is dropped if every request with it was answered "not applied"; otherwise it becomes a
// candidate.
func (r Record) GiveUp() Record {
	out := r.clone()
	switch {
	case out.Next.Staged():
		out.retireNext(WhyStaged)
	case out.Next.Exposed():
		out.retireNext(WhyUnresolved)
	}
	out.Next = nil
	return out
}

// raiseNotBefore moves NotBefore to the given time if that is later.
func (r *Record) raiseNotBefore(until time.Time) {
	if until.After(r.NotBefore) {
		r.NotBefore = until
	}
}

// remove takes a version out of Candidates, Previous and History, because it is about to become Current again.
func (r *Record) remove(version int) {
	if version == 0 {
		return
	}
	if at := r.candidateIndex(version); at >= 0 {
		r.Candidates = append(r.Candidates[:at:at], r.Candidates[at+1:]...)
	}
	if r.Previous != nil && r.Previous.Version == version {
		r.Previous = nil
	}
	for i, p := range r.History {
		if p.Version == version {
			r.History = append(r.History[:i:i], r.History[i+1:]...)
			break
		}
	}
}

// install makes a password Current. The old Current becomes Previous, or part of the history if it was refused.
func (r *Record) install(value Password, now time.Time, basis Basis, confirmed bool) {
	if old := r.Current; old != nil {
		switch {
		case old.Refused:
			r.addPast(Past{Password: old.Password, State: ListedOld, Open: old.Basis.Assumed() || old.Basis == BasisOperator}) // it may still come
		default:
			if r.Previous != nil {
				r.addPast(r.Previous.older())
			}
			r.Previous = &Past{Password: old.Password, State: ListedPrevious, Worked: !old.Basis.Assumed()}
			if !r.Previous.Worked {
				r.Previous.State = ListedUnconfirmed
			}
		}
	}
	r.setCurrent(value, now, basis)
	r.Current.Confirmed = confirmed
	r.clearInForceOn()
}

// setCurrent replaces Current. Versions never go back: an older password that is in force again gets a new version.
func (r *Record) setCurrent(value Password, now time.Time, basis Basis) {
	former := 0
	if r.Current != nil && value.Version <= r.Current.Version {
		former, value.Version = value.Version, r.newVersion()
	}
	r.Current = &Current{Password: value, Since: now, Basis: basis, Formerly: former}
}

// archive adds a settled password to the history.
func (r *Record) archive(p Password, state string) { r.addPast(Past{Password: p, State: state}) }

// older returns p as it appears in the history once another password is Previous.
func (p Past) older() Past {
	if p.State == ListedPrevious {
		p.State = ListedOld
	}
	return p
}

// addPast adds a password to the history, which is sorted by version so that Trim drops the oldest first.
func (r *Record) addPast(p Past) {
	at := 0
	for at < len(r.History) && r.History[at].Version > p.Version {
		at++
	}
	r.History = slices.Insert(r.History, at, p)
}

// closePast settles past passwords: a login has proved that Current is in force. Those in the history that are not known to
// have worked, and are not older than the version given, may still wait in a queue or for a restart.
func (r *Record) closePast(version int) {
	if r.Previous != nil {
		r.Previous.Open = false
	}
	for i := range r.History {
		p := &r.History[i]
		p.Open, p.Late = p.Open && !p.Worked && p.Version > version, false
	}
}

// overtakePast records that the remote system has confirmed a change. That settles past passwords; late ones need a second
// confirmed change.
func (r *Record) overtakePast() {
	if r.Previous != nil {
		r.Previous.Open = false
	}
	for i := range r.History {
		p := &r.History[i]
		p.Open, p.Late = p.Late, false
	}
}

// candidateIndex returns the index of the candidate with this version, or -1.
func (r *Record) candidateIndex(version int) int {
	for i, c := range r.Candidates {
		if c.Version == version {
			return i
		}
	}
	return -1
}

// SendNotBefore returns the latest deadline of the unresolved requests with passwords other than Next; the zero time if
// there are none. Until then, plus a margin, Next must not be sent: such a request could still be applied after it.
func (r Record) SendNotBefore() time.Time {
	until := r.NotBefore
	for _, c := range r.Candidates {
		if !c.Overtaken && c.SentUntil.After(until) {
			until = c.SentUntil
		}
	}
	return until
}

// Exposed reports whether Next is exposed or a candidate is open: the record holds a password that may yet turn out to be in
// force.
func (r Record) Exposed() bool {
	return r.Next.Exposed() || slices.ContainsFunc(r.Candidates, Candidate.open)
}

// LastRequest returns the latest deadline of all unresolved requests, or when the remote system last queued a password
// that is still in its queue, whichever is later; the zero time if there are none.
func (r Record) LastRequest() time.Time {
	out := r.clone()
	out.keepNotBefore()
	return out.NotBefore
}

// InheritLimits takes over the limits of an earlier record for the same account: its LastRequest, and the old passwords that
// the remote system may have counted as wrong.
func (r Record) InheritLimits(lastRequest time.Time, tries OldTries) Record {
	out := r.clone()
	out.raiseNotBefore(lastRequest)
	out.OldTries = tries
	out.OldTries.Left = copyOf(tries.Left)
	return out
}

// Open reports whether a password other than Current may be in force, or may come into force: it is staged, its outcome is
// unknown, or a request with it may still be in flight.
func (r Record) Open(now time.Time) bool {
	waits := func(c Candidate) bool { return c.Stage == RestartRequired && !c.Overtaken }
	return r.Exposed() || slices.ContainsFunc(r.Candidates, waits) || now.Before(r.SendNotBefore())
}

// Unfinished reports whether the engine itself has work left: an outcome to find out, or a password to send. What waits for
// the remote system or for an operator does not count.
func (r Record) Unfinished() bool {
	if r.Next != nil {
		return !r.Next.Staged() || r.Next.Partial()
	}
	for _, c := range r.Candidates {
		if c.open() && (c.Stage == "" || c.Why == WhyRefused) { // some parts refused it after others had taken it
			return true
		}
	}
	return false
}
