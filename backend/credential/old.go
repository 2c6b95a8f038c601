package credential

import (
	"slices"
	"time"
)

// Some remote systems change a password only for who presents the present one, and lock the account after a few wrong
// ones. These bounds keep the engine from locking anybody out: people who mistype need tries too.
const (
	// maxOldTries is how many old passwords that may be wrong are presented in one lock window.
	maxOldTries = 2
	// minTriesLeft is how many tries the remote system must have left.
	minTriesLeft = 3
)

// OldTries counts what the remote system may have counted as wrong old passwords.
type OldTries struct {
	// Count of tries since the window began.
	Count int `json:"count,omitempty"`
	// Until is when the window ends.
	Until time.Time `json:"until,omitzero"`
	// Left is how many the remote system said were left, after the last wrong one; nil: it did not say.
	Left *int `json:"left,omitempty"`
}

// Old is the answer of [Record.Old].
type Old struct {
	// Password to present; nil: the record holds none that the remote system has not refused, or no try may be
	// spent on one.
	Password *Password
	// Certain: the password is in force for all that is known, so that presenting it costs no try.
	Certain bool
	// NotBefore is when it may be presented; the zero time: now.
	NotBefore time.Time
}

// Old chooses the password to present as the old one with the next request: the one in force, or, once the remote
// system has refused that, the candidates, newest first, each once. Where Next itself may be in force it has to become a
// candidate first (Make).
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

// SendWithOld is Send for a request that presents an old password. The try is counted before it is made, as a crash may
// hide its answer; window is how long the remote system remembers wrong ones.
func (r Record) SendWithOld(now, deadline time.Time, old Old, window time.Duration) Record {
	out := r.Send(deadline, old.Password.Version)
	if !now.Before(out.OldTries.Until) {
		out.OldTries = OldTries{}
	}
	if !old.Certain {
		out.OldTries.Count++
		out.OldTries.Until = deadline.Add(window)
	}
	return out
}

// OldTryFree takes back the count of a try whose answer proves that the old password was not looked at. NotApplied
// does not, since a wrong old password is "not applied" too. certain is that of the Old that was presented.
func (r Record) OldTryFree(certain bool) Record {
	out := r.clone()
	if !certain && out.OldTries.Count > 0 {
		out.OldTries.Count--
	}
	return out
}

// OldRefused: the remote system says that the old password of this request is wrong; nothing was changed by it. left is
// how many more wrong ones it takes, nil if it did not say.
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
	if at := out.candidate(version); at >= 0 {
		out.Candidates[at].Refused = true
	}
	if certain {
		out.OldTries.Count++
	}
	if until.After(out.OldTries.Until) { // a try before this one, whose answer was lost, may count for longer
		out.OldTries.Until = until
	}
	out.OldTries.Left = copyOf(left)
	return out
}

// OldExhausted tells whether the engine can present no old password any more without a person's help. An exposed Next
// is one that it can present, once it is a candidate.
func (r Record) OldExhausted(now time.Time) bool {
	return r.GiveUp().Old(now).Password == nil
}
