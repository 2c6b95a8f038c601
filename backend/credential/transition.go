package credential

import (
	"errors"
	"slices"
	"time"
)

// Errors of transitions. They are mistakes of a request, not of the engine.
var (
	// ErrUnsettled: too many passwords are open; a person has to say which one is in force.
	ErrUnsettled = errors.New("too many passwords of this role were sent with unknown outcome")
	// ErrNothingToConfirm: no password of that version waits for a word.
	ErrNothingToConfirm = errors.New("no password of this version is waiting to be confirmed or discarded")
	// ErrQueued: the remote system has queued the password, so that a word about now would be wrong soon.
	ErrQueued = errors.New("the remote system has queued the password of this version")
	// ErrInForceOn: a person has said that the password is in force on parts of the account.
	ErrInForceOn = errors.New("the password of this version was confirmed on some servers")
)

// Make puts a new password in place as Next, not sent yet. A Next that no request can have put in force is replaced;
// any other becomes a candidate. given marks a password that a person chose. Returns ErrUnsettled where that would make
// too many.
func (r Record) Make(value, reason string, given bool, now time.Time) (Record, error) {
	out := r.GiveUp() // a password that was never sent leaves no trace, and its version is free again
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
	c.Stage, c.StagedSince, c.Taken, c.InForceOn, c.Given = n.Stage, n.StagedSince, n.Taken, n.InForceOn, n.Given
	r.Candidates = append(r.Candidates, c)
	r.Next = nil
}

// Send marks Next as being sent until the deadline. old is the version presented as the old password, 0 if none.
// Store the result before the request leaves. Whatever was sent before and has no answer "not applied" stays unresolved,
// a request that the process did not see the end of too.
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
	n.Conditional = old != 0 && (n.Conditional || !n.Exposed())
	n.Phase = Sending
	n.SentUntil = deadline
	n.OldVersion = old
	return out
}

// Applied: the remote system confirmed Next. With exclusive, it did so only because the old password was right, and no
// earlier request that presents one can follow.
func (r Record) Applied(now time.Time, exclusive bool) Record {
	out := r.clone()
	if out.Next == nil {
		return out
	}
	n := out.Next
	out.Next = nil
	out.quiet(n.UnresolvedUntil)
	if exclusive {
		out.OldTries = OldTries{}
		if at := out.candidate(n.OldVersion); at >= 0 && out.Candidates[at].Conditional { // it was right, so in force
			worked := out.Candidates[at].Password
			out.forget(worked.Version)
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

// NotApplied: the answer proves that this request changed nothing, or nothing more than Took has said. What earlier
// requests did stays open.
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
		n.Phase = n.Stage // by parts of the account
	}
	n.SentUntil = time.Time{}
	return out
}

// Unresolved: nobody knows whether the request was applied, or will be.
func (r Record) Unresolved() Record {
	out := r.clone()
	if out.Next != nil && out.Next.Phase == Sending {
		out.Next.Phase = Unknown
	}
	return out
}

// Refused: the remote system refuses Next as a password. It is never sent again: dropped if every request with it was
// answered "not applied", else kept as a candidate.
func (r Record) Refused() Record {
	out := r.NotApplied()
	if out.Next.Exposed() {
		out.retireNext(WhyRefused)
	} else {
		out.withdraw()
	}
	return out
}

// TurnedDown: the remote system refuses the account or the request, whatever the password. Next is dropped if every
// request with it was answered "not applied". Else it stays what it is: another password would fare no better.
func (r Record) TurnedDown() Record {
	out := r.NotApplied()
	if !out.Next.Exposed() {
		out.withdraw()
	}
	return out
}

// withdraw drops a Next that no request can have put in force, and makes the newest candidate Next again, whose place it
// took: what was to be found out or to be finished then still is.
func (r *Record) withdraw() {
	if r.Next == nil { // nothing took its place
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
		Conditional: c.Conditional, Stage: c.Stage, StagedSince: c.StagedSince, Taken: c.Taken, InForceOn: c.InForceOn,
		Given: c.Given,
	}
	if c.Why == WhyStaged {
		r.Next.Phase = c.Stage
	}
}

// GiveUp: no more requests are made with Next. It is dropped if every request with it was answered "not applied", else
// kept as a candidate.
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

func (r *Record) quiet(until time.Time) {
	if until.After(r.Quiet) {
		r.Quiet = until
	}
}

// forget removes a version from the candidates, Previous and the history: it is about to be installed again.
func (r *Record) forget(version int) {
	if version == 0 {
		return
	}
	if at := r.candidate(version); at >= 0 {
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

// install puts a password in force. The present one becomes Previous if it worked, else part of the history.
func (r *Record) install(value Password, now time.Time, basis Basis, confirmed bool) {
	if old := r.Current; old != nil {
		switch {
		case old.Refused:
			r.archive(old.Password, ListedOld)
		default:
			if r.Previous != nil {
				r.keep(r.Previous.older())
			}
			r.Previous = &Past{Password: old.Password, State: ListedPrevious, Worked: old.Basis != BasisTime}
			if !r.Previous.Worked {
				r.Previous.State = ListedUnconfirmed
			}
		}
	}
	r.Current = &Current{Password: value, Since: now, Basis: basis, Confirmed: confirmed}
	r.everywhere()
}

// archive puts a password into the history.
func (r *Record) archive(p Password, state string) { r.keep(Past{Password: p, State: state}) }

// older is the one before, once there is another.
func (p Past) older() Past {
	if p.State == ListedPrevious {
		p.State = ListedOld
	}
	return p
}

// keep puts a past password into the history, which is sorted by version so that Trim drops the oldest first.
func (r *Record) keep(p Past) {
	at := 0
	for at < len(r.History) && r.History[at].Version > p.Version {
		at++
	}
	r.History = slices.Insert(r.History, at, p)
}

// provePast: somebody has seen that the present password is in force, which settles those before it.
func (r *Record) provePast() {
	if r.Previous != nil {
		r.Previous.Open = false
	}
	for i := range r.History {
		r.History[i].Open, r.History[i].Late = false, false
	}
}

// overtakePast: the remote system has confirmed a change. That settles the past passwords, late ones the second time.
func (r *Record) overtakePast() {
	if r.Previous != nil {
		r.Previous.Open = false
	}
	for i := range r.History {
		p := &r.History[i]
		p.Open, p.Late = p.Late, false
	}
}

func (r *Record) candidate(version int) int {
	for i, c := range r.Candidates {
		if c.Version == version {
			return i
		}
	}
	return -1
}

// QuietUntil is when the last request with a password other than Next had to end that nobody resolved: a different
// password must not be sent before that, plus a margin. The zero time: there is none.
func (r Record) QuietUntil() time.Time {
	until := r.Quiet
	for _, c := range r.Candidates {
		if !c.Overtaken && c.SentUntil.After(until) {
			until = c.SentUntil
		}
	}
	return until
}

// Exposed tells whether a password is open whose outcome the engine has to find out.
func (r Record) Exposed() bool {
	return r.Next.Exposed() || slices.ContainsFunc(r.Candidates, Candidate.open)
}

// LastRequest is when the last request had to end that nobody resolved, with whichever password. The zero time: there is
// none.
func (r Record) LastRequest() time.Time {
	out := r.clone()
	out.keepQuiet()
	return out.Quiet
}

// Heed takes over what an earlier record for the same account knew: when its last unresolved request had to end, and the
// old passwords that the remote system may have counted as wrong.
func (r Record) Heed(lastRequest time.Time, tries OldTries) Record {
	out := r.clone()
	out.quiet(lastRequest)
	out.OldTries = tries
	out.OldTries.Left = copyOf(tries.Left)
	return out
}

// Open tells whether a password other than the one in force may be in force, or may come in force: it is staged, its
// outcome is unknown, or a request with it may still be under way.
func (r Record) Open(now time.Time) bool {
	waits := func(c Candidate) bool { return c.Stage == RestartRequired && !c.Overtaken }
	return r.Exposed() || slices.ContainsFunc(r.Candidates, waits) || now.Before(r.QuietUntil())
}

// Unfinished tells whether the engine has something to find out or to finish that waits for no one else.
func (r Record) Unfinished() bool {
	if r.Next != nil {
		return !r.Next.Staged() || r.Next.Partial()
	}
	for _, c := range r.Candidates {
		if c.open() && (c.Stage == "" || c.Why == WhyRefused) { // refused by some parts, and taken by others
			return true
		}
	}
	return false
}
