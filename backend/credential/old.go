package credential

import (
	"slices"
	"time"
)

// Some remote systems change a password only if the request presents the present one, and lock the account after a few
// wrong attempts. These limits keep the engine from locking the account, and leave attempts for people who mistype.
const (
	// maxOldTries is how many attempts with an uncertain old password are made in one lock window.
	maxOldTries = 2
	// minTriesLeft is how many attempts must be left on the remote system before the engine makes one.
	minTriesLeft = 3
)

// OldTries counts the attempts that the remote system may have counted as wrong old passwords.
type OldTries struct {
	// Count is the number of attempts since the lock window began.
	Count int `json:"count,omitempty"`
	// Until is when the lock window ends.
	Until time.Time `json:"until,omitzero"`
	// Left is how many attempts the remote system reported as left after the last wrong one; nil if it did not say.
	Left *int `json:"left,omitempty"`
}

// Counted reports whether there was such an attempt.
func (t OldTries) Counted() bool { return t.Count > 0 || t.Left != nil }

// Old is the result of [Record.Old].
type Old struct {
	// Password is the one to present. It is nil if the record holds none that the remote system has not refused, or if too
	// few attempts are left to try one.
	Password *Password
	// Certain: as far as the engine knows the password is in force, so presenting it costs no attempt.
	Certain bool
	// NotBefore is when the password may be presented; the zero time means now.
	NotBefore time.Time
}

// Old chooses the password to present as the old one with the next request: Current or, once the remote system has refused
// that, the candidates, newest first, and then Previous, which a restored backup puts in force again. Each is presented once.
// If Next itself may be in force, it has to become a candidate first: see Make.
func (r Record) Old(now time.Time) Old {
	var out Old
	switch {
	case r.Current != nil && !r.Current.Refused:
		out.Password = copyOf(&r.Current.Password)
		out.Certain = r.Current.Confirmed && !r.Next.Exposed() && len(r.Candidates) == 0
	case r.OldTries.Left != nil && *r.OldTries.Left < minTriesLeft:
		return out
	default:
		for _, c := range slices.Backward(r.Candidates) {
			if !c.Refused {
				out.Password = copyOf(&c.Password)
				break
			}
		}
		if p := r.Previous; out.Password == nil && r.Current != nil && p != nil && !p.Refused && p.Value != r.Current.Value {
			out.Password = copyOf(&p.Password)
		}
	}
	if out.Password == nil || !now.Before(r.OldTries.Until) {
		return out
	}
	few := r.OldTries.Left != nil && *r.OldTries.Left < minTriesLeft
	if few || r.OldTries.Count >= maxOldTries && !out.Certain {
		out.NotBefore = r.OldTries.Until
	}
	return out
}

// SendWithOld is Send for a request that presents an old password. The attempt is counted before it is made, because a
// crash may hide its answer. window is how long the remote system remembers wrong attempts.
func (r Record) SendWithOld(now, deadline time.Time, old Old, window time.Duration) Record {
	out := r.Send(deadline, old.Password.Version)
	if !now.Before(out.OldTries.Until) {
		out.OldTries = OldTries{}
	}
	if !old.Certain {
		out.OldTries.Count++
	}
	if !old.Certain || out.OldTries.Count == 0 { // one that is certain counts once an operator says otherwise: see doubtOld
		out.OldTries.Until = deadline.Add(window)
	}
	return out
}

// doubtOld counts an attempt that presented an old password as certain and has no answer: an operator says that another one is
// in force, so it may be refused as wrong when it is carried out late.
func (r *Record) doubtOld() {
	conditional := func(c Candidate) bool { return c.Conditional && !c.SentUntil.IsZero() }
	if r.Next.Exposed() && r.Next.Conditional || slices.ContainsFunc(r.Candidates, conditional) {
		r.OldTries.Count++
	}
}

// OldTryNotCounted takes back the count of an attempt whose answer proves that the remote system did not check the old
// password. NotApplied alone does not: a wrong old password is "not applied" too. certain is Old.Certain of the password
// that was presented.
func (r Record) OldTryNotCounted(certain bool) Record {
	out := r.clone()
	if !certain && out.OldTries.Count > 0 {
		out.OldTries.Count--
	}
	return out
}

// OldRefused: the remote system says that the old password of this request is wrong. The request changed nothing. left is
// how many attempts are left, nil if the remote system did not say. until is when the lock window ends.
func (r Record) OldRefused(certain bool, left *int, until time.Time) Record {
	out := r.clone()
	if out.Next == nil {
		return out
	}
	version := out.Next.OldVersion
	out = out.NotApplied()
	if out.Current != nil && out.Current.Version == version {
		out.Current.Refused = true
		out.Current.Confirmed = false
	}
	if at := out.candidateIndex(version); at >= 0 {
		out.Candidates[at].Refused = true
	}
	if out.Previous != nil && out.Previous.Version == version {
		out.Previous.Refused = true
	}
	if certain {
		if out.OldTries.Count == 0 { // it was the only one
			out.OldTries.Until = time.Time{}
		}
		out.OldTries.Count++
	}
	if until.After(out.OldTries.Until) { // an earlier attempt whose answer was lost may count for longer
		out.OldTries.Until = until
	}
	out.OldTries.Left = copyOf(left)
	return out
}

// OldExhausted reports whether the engine has no old password left to present, so that an operator has to name one. An
// exposed Next counts as one that it can present, once that is a candidate.
func (r Record) OldExhausted() bool {
	return r.GiveUp().Old(time.Time{}).Password == nil
}
