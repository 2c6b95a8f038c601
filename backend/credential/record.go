package credential

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// MaxCandidates is how many candidates a record may hold before an operator has to settle them: Make then fails with
// ErrUnsettled.
const MaxCandidates = 8

// Record is everything that is known about the passwords of one account. The zero value holds none. Transitions return
// a changed copy and leave the receiver unchanged.
type Record struct {
	// Current is in force, as far as the engine knows; nil if no password is known to be.
	Current *Current `json:"current,omitempty"`
	// Next is being set.
	Next *Next `json:"next,omitempty"`
	// Candidates were sent, are no longer Next, and may be valid; oldest first.
	Candidates []Candidate `json:"candidates,omitempty"`
	// Previous was in force before Current, or counted as in force (see Past.Worked).
	Previous *Past `json:"previous,omitempty"`
	// History holds older passwords, newest version first.
	History []Past `json:"history,omitempty"`
	// Forgotten is the highest version that Trim has dropped. No other password may get it.
	Forgotten int `json:"forgotten,omitempty"`
	// NotBefore is the latest deadline of the unresolved requests that Next and Candidates no longer show. Their
	// passwords were confirmed by a repetition or settled by an operator, neither of which stops a request. See
	// SendNotBefore.
	NotBefore time.Time `json:"quiet,omitzero"`
	// OldTries counts the old passwords that the remote system may have rejected as wrong.
	OldTries OldTries `json:"old_tries,omitzero"`
}

// Password is one password.
type Password struct {
	// Version numbers the passwords of the account that were in force, or may have been. It is unique in a record.
	Version int    `json:"version"`
	Value   string `json:"value"`
	// Created is when the password was generated, or given by an operator.
	Created time.Time `json:"created"`
	// Reason is why it was made, as text for the history.
	Reason string `json:"reason"`
}

// String hides the value, so that it is not printed by mistake.
func (p Password) String() string { return "password (hidden)" }

// Format hides the value from every verb of fmt. A struct that embeds Password is hidden as a whole.
func (p Password) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// Format hides the passwords. Without it, fmt would follow the pointers and print the values for a verb that does not fit.
func (r Record) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "record (hidden)") }

// Current is the password in force.
type Current struct {
	Password
	// Since is when the password came into force, or was adopted.
	Since time.Time `json:"since"`
	// Confirmed: the remote system confirmed the password, or a login proved it, and no open password can replace it.
	Confirmed bool `json:"confirmed"`
	// Basis is why the password counts as in force.
	Basis Basis `json:"basis,omitempty"`
	// Refused: the remote system has since said that this is not the account's password.
	Refused bool `json:"refused,omitempty"`
	// Formerly is the version that the password had until it came into force again; 0 if it has its first one.
	Formerly int `json:"formerly,omitempty"`
	// OpenUntil is the deadline of the last unresolved request with this password, or when the remote system queued it, if
	// an operator or a repetition settled it before that was resolved; otherwise zero. The request may still be carried
	// out after another password has come into force.
	OpenUntil time.Time `json:"open_until,omitzero"`
}

// Basis is why a password counts as in force.
type Basis string

const (
	// BasisAnswer: the remote system confirmed the change.
	BasisAnswer Basis = "answer"
	// BasisProof: a login worked.
	BasisProof Basis = "proof"
	// BasisTime: the remote system had staged the password, and enough time has passed.
	BasisTime Basis = "time"
	// BasisRestart: the password waited for a restart, and the engine has restarted everything.
	BasisRestart Basis = "restart"
	// BasisOperator: an operator said so.
	BasisOperator Basis = "word"
)

// Assumed reports whether nobody has seen the password in force: only time has passed, or a restart.
func (b Basis) Assumed() bool { return b == BasisTime || b == BasisRestart }

// Phase is how far Next has got.
type Phase string

const (
	// Unsent: no request with the password can have been applied.
	Unsent Phase = "unsent"
	// Sending: a request is in flight, or was when the process ended.
	Sending Phase = "sending"
	// Unknown: a request was sent and its outcome is unknown.
	Unknown Phase = "unknown"
	// Accepted: the remote system has queued the password.
	Accepted Phase = "accepted"
	// RestartRequired: the password comes into force when the remote system restarts.
	RestartRequired Phase = "restart_required"
)

// Next is the password that is being set.
type Next struct {
	Password
	Phase Phase `json:"phase"`
	// SentUntil is the deadline of the last request that may have been applied, or still may be.
	SentUntil time.Time `json:"sent_until,omitzero"`
	// Unresolved: a request before the one in flight may have been applied.
	Unresolved bool `json:"unresolved,omitempty"`
	// UnresolvedUntil is the deadline of the last of those earlier requests.
	UnresolvedUntil time.Time `json:"unresolved_until,omitzero"`
	// OldVersion is the version that the request in flight presents as the old password; 0 if it presents none.
	OldVersion int `json:"old_version,omitempty"`
	// Conditional: every request that may have been applied presented an old password.
	Conditional bool `json:"conditional,omitempty"`
	// Confirmed: the remote system confirmed the last request, but has not reported the password in force. Exclusive: as in
	// Applied.
	Confirmed bool `json:"confirmed,omitempty"`
	Exclusive bool `json:"exclusive,omitempty"`
	// Reported: it has reported the password in force since, but no login has shown it. LoginsRefused counts the logins with
	// it that were refused, and Resent means that it was sent again because of that.
	Reported      bool `json:"reported,omitempty"`
	LoginsRefused int  `json:"logins_refused,omitempty"`
	Resent        bool `json:"resent,omitempty"`
	// Stage is Accepted or RestartRequired once the remote system, or a part of it, has taken the password; otherwise "".
	Stage Phase `json:"stage,omitempty"`
	// StagedSince is when the remote system last took the password.
	StagedSince time.Time `json:"staged_since,omitzero"`
	// Taken are the parts that have taken the password while others have not. Empty with a Stage: all parts have.
	Taken []string `json:"taken,omitempty"`
	// InForceOn are the parts on which the password is in force while it is open: an operator has confirmed it, a login has
	// proved it, or the engine has restarted them. PartsAssumed: no login has proved it on some of them.
	InForceOn    []string `json:"in_force_on,omitempty"`
	PartsAssumed bool     `json:"parts_assumed,omitempty"`
	// Given: an operator chose the password, so the engine must not replace it with another when the remote system
	// refuses it.
	Given bool `json:"given,omitempty"`
}

// openUntil returns the deadline of the last unresolved request with the password, or when the remote system queued it;
// the zero time if neither applies.
func (n *Next) openUntil() time.Time {
	switch {
	case (n.Phase == Sending || n.Phase == Unknown) && n.SentUntil.After(n.UnresolvedUntil):
		return n.SentUntil
	case n.Phase == Accepted && n.StagedSince.After(n.UnresolvedUntil):
		return n.StagedSince
	default:
		return n.UnresolvedUntil
	}
}

// openUntil is Next.openUntil for a candidate.
func (c Candidate) openUntil() time.Time {
	switch {
	case c.Why != WhyStaged:
		return c.SentUntil
	case c.Stage == Accepted:
		return c.StagedSince
	default:
		return time.Time{}
	}
}

// Exposed reports whether the remote system may hold the password, now or later.
func (n *Next) Exposed() bool {
	return n != nil && n.Phase != Unsent
}

// AwaitsForce reports whether the remote system confirmed the password and has not reported it in force yet. Nothing is sent
// until it has.
func (n *Next) AwaitsForce() bool { return n != nil && n.Confirmed && !n.Reported }

// Staged reports whether the remote system, or a part of it, has taken the password without putting it in force, and no
// request with it is open.
func (n *Next) Staged() bool {
	return n != nil && (n.Phase == Accepted || n.Phase == RestartRequired)
}

// Partial reports whether only some parts of the account have taken the password.
func (n *Next) Partial() bool {
	return n != nil && len(n.Taken) > 0
}

// Why is how a password became a candidate.
type Why string

const (
	// WhyUnresolved: it was sent, and another password replaced it before its outcome was known.
	WhyUnresolved Why = "unresolved"
	// WhyStaged: the remote system had taken it, and another password replaced it before it came into force.
	WhyStaged Why = "staged"
	// WhyRefused: it was sent with an unknown outcome and later refused. The first request may have been applied.
	WhyRefused Why = "refused"
	// WhyDiscarded: an operator said that it is not in force.
	WhyDiscarded Why = "discarded"
)

// Candidate is a password that is no longer Next and may be valid. The newest one becomes Next again if the password that
// replaced it is withdrawn without having been applied. A candidate is settled, and moves to the history, by
//   - a login with another password, unless it can still come into force after that: see [Record.Proved];
//   - an operator, who confirms or adopts a password;
//   - a change that the remote system made only because its old password was right, if every request with the candidate
//     presented an old password too: none of them can be applied after that;
//   - the second confirmed change after it. The first one overtakes the candidate, but a late request could still follow;
//   - the second change after it that came into force by time alone. The history then keeps the candidate as one that may
//     still be valid (Past.Open).
type Candidate struct {
	Password
	Why Why `json:"why"`
	// SentUntil is the deadline of the last request with the password.
	SentUntil time.Time `json:"sent_until,omitzero"`
	// Conditional: every request with the password presented an old one, so none can be applied after a change that
	// replaced that old password.
	Conditional bool `json:"conditional,omitempty"`
	// Stage, as in Next.
	Stage Phase `json:"stage,omitempty"`
	// StagedSince is when the remote system took the password.
	StagedSince time.Time `json:"staged_since,omitzero"`
	// Taken are the parts that took the password while others did not. Empty with a Stage: all parts did.
	Taken []string `json:"taken,omitempty"`
	// InForceOn and PartsAssumed, as in Next.
	InForceOn    []string `json:"in_force_on,omitempty"`
	PartsAssumed bool     `json:"parts_assumed,omitempty"`
	// Given: an operator chose the password.
	Given bool `json:"given,omitempty"`
	// Overtaken: a later password has come into force since, or waits for the same restart in place of this one. The
	// outcome of this one no longer has to be found out.
	Overtaken bool `json:"overtaken,omitempty"`
	// Outlived: the remote system has confirmed such a later password. One that came into force by time alone proves
	// nothing about the requests before it.
	Outlived bool `json:"outlived,omitempty"`
	// Refused: the remote system has since said that this is not the account's password.
	Refused bool `json:"refused,omitempty"`
}

// open reports whether the outcome of the candidate still has to be found out.
func (c Candidate) open() bool {
	return !c.Overtaken && !c.Refused && c.Why != WhyDiscarded
}

// Past is a password that is no longer in force.
type Past struct {
	Password
	// State is one of the Listed states.
	State string `json:"state"`
	// Open: the password may still be valid, or become so. Either the password after it came into force by time alone,
	// and the remote system may not have carried out what it had queued; or an operator settled it, which does not
	// undo what the remote system does later.
	Open bool `json:"open,omitempty"`
	// Late: the password is open and was a candidate, so a late request with it may follow the next confirmed change.
	Late bool `json:"late,omitempty"`
	// Worked: the password was in force by more than elapsed time: the remote system confirmed it, a login proved it, or
	// an operator said so.
	Worked bool `json:"worked,omitempty"`
	// Refused: the remote system has said, since the password was last in force, that it is not the account's.
	Refused bool `json:"refused,omitempty"`
}

// clone returns a copy that shares nothing with r.
func (r Record) clone() Record {
	out := r
	out.Current = copyOf(r.Current)
	out.Next = copyOf(r.Next)
	out.Previous = copyOf(r.Previous)
	if n := out.Next; n != nil {
		n.Taken, n.InForceOn = slices.Clone(n.Taken), slices.Clone(n.InForceOn)
	}
	out.Candidates = slices.Clone(r.Candidates)
	for i := range out.Candidates {
		c := &out.Candidates[i]
		c.Taken, c.InForceOn = slices.Clone(c.Taken), slices.Clone(c.InForceOn)
	}
	out.History = slices.Clone(r.History)
	out.OldTries.Left = copyOf(r.OldTries.Left)
	return out
}

func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// newVersion returns a version above every one that the record holds or has dropped.
func (r Record) newVersion() int {
	newest := r.Forgotten
	for _, p := range r.List() {
		newest = max(newest, p.Version)
	}
	return newest + 1
}

// States of a listed password beside the phases of Next, as history/:name shows them.
const (
	ListedCurrent  = "current"
	ListedRefused  = "refused"
	ListedPrevious = "previous"
	ListedOld      = "old"
	// ListedUnconfirmed: counted as in force by time alone.
	ListedUnconfirmed = "unconfirmed"
	ListedSuperseded  = "superseded"
)

// Listed is a password as history/:name shows it.
type Listed struct {
	Password
	State string
}

// List returns every password of the record: those that may be valid first, then the past ones.
func (r Record) List() []Listed {
	var out []Listed
	if r.Current != nil {
		state := ListedCurrent
		if r.Current.Refused {
			state = ListedRefused
		}
		out = append(out, Listed{r.Current.Password, state})
	}
	if r.Next != nil {
		out = append(out, Listed{r.Next.Password, string(r.Next.Phase)})
	}
	for _, c := range slices.Backward(r.Candidates) {
		state := "candidate: " + string(c.Why)
		if c.Refused {
			state = ListedRefused
		}
		out = append(out, Listed{c.Password, state})
	}
	if r.Previous != nil {
		state := r.Previous.State
		if r.Previous.Refused {
			state = ListedRefused
		}
		out = append(out, Listed{r.Previous.Password, state})
	}
	for _, p := range r.History {
		out = append(out, Listed{p.Password, p.State})
	}
	return out
}

// maxOpenPast is how many past passwords that may still be valid Trim keeps beyond the size it is given.
const maxOpenPast = 8

// Trim drops history beyond size entries. Of the passwords in the history that may still be valid, it keeps the newest
// maxOpenPast and, unless Previous is known to have worked, the newest one that is. Without that limit the history of an
// account whose changes only come into force by time would grow forever: no confirmation ever settles them. Trim drops
// nothing outside the history.
func (r Record) Trim(size int) Record {
	out := r.clone()
	kept, open := out.History[:0:0], 0
	worked := out.Previous != nil && out.Previous.Worked
	for i, p := range out.History { // newest first
		if p.Open {
			open++
		}
		last := p.Open && p.Worked && !worked
		worked = worked || last
		if i < size || p.Open && open <= maxOpenPast || last {
			kept = append(kept, p)
			continue
		}
		out.Forgotten = max(out.Forgotten, p.Version)
	}
	if len(kept) < len(out.History) {
		out.History = kept
	}
	return out
}
