// Package credential is the memory of one account's passwords, and the rules by which it changes.
//
// A [Record] holds every password that the remote system may hold: the one in force (Current), the one that is being
// set (Next), others that were sent and never settled (Candidates), and the ones that worked before. The functions
// of this package are pure: they take a record and an event and return the record that follows. They do no I/O and
// read no clock, so that every state can be met with every event in a test.
//
// # How a password is changed
//
//	Make      a new password becomes Next, not sent yet
//	          — store the record —
//	Send      Next is about to be sent: this must be stored before the request leaves
//	          — store the record, then send —
//	Applied, Staged, NotApplied, Refused, TurnedDown, OldRefused or Unresolved
//	          what the answer proves about this one request
//	          — store the record —
//
// A crash between any two of these steps leaves a record that says the truth: a password that may be valid is in
// it, and [Next.Exposed] says that it may be.
//
// # What is never done
//
// A password that was sent and whose fate is open is never dropped. It stays Next, or becomes a candidate when another
// one takes its place. A refusal or a busy answer settles the one request it answers, not the earlier ones. What
// settles a candidate is listed at [Candidate].
package credential

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// MaxCandidates bounds how many open passwords a record holds beside Next before a person has to settle them.
const MaxCandidates = 8

// Record is everything that is known about the passwords of one account. The zero value knows none. Transitions
// return a changed copy and leave the receiver as it was.
type Record struct {
	// Current is in force to the best of the engine's knowledge; nil if none is known to be.
	Current *Current `json:"current,omitempty"`
	// Next is being set; at most one.
	Next *Next `json:"next,omitempty"`
	// Candidates were sent, are not Next any more, and may be valid; oldest first.
	Candidates []Candidate `json:"candidates,omitempty"`
	// Previous is the last that is known to have worked before Current.
	Previous *Past `json:"previous,omitempty"`
	// History holds older ones, newest version first.
	History []Past `json:"history,omitempty"`
	// Forgotten is the highest version that Trim has dropped: no other password gets it.
	Forgotten int `json:"forgotten,omitempty"`
	// Quiet is when the last request had to end that nobody resolved and that Next and the candidates tell nothing of:
	// its password was confirmed by a repetition, or settled by a person's word, and neither stops the request.
	Quiet time.Time `json:"quiet,omitzero"`
	// OldTries counts old passwords that the remote system may have taken for wrong ones.
	OldTries OldTries `json:"old_tries,omitzero"`
}

// Password is one password.
type Password struct {
	// Version counts the passwords of the account that were, or may have been, in force. No two that a record holds
	// have the same one.
	Version int    `json:"version"`
	Value   string `json:"value"`
	// Created is when it was made or given.
	Created time.Time `json:"created"`
	// Reason is why it was made, in words for the history.
	Reason string `json:"reason"`
}

// String keeps the value out of what is printed by mistake.
func (p Password) String() string { return "password (hidden)" }

// Format does the same for every verb of fmt. Whatever embeds a password is hidden as a whole.
func (p Password) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// Format hides the passwords, which fmt prints behind a pointer all the same where the verb does not fit one.
func (r Record) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "record (hidden)") }

// Current is the password in force.
type Current struct {
	Password
	// Since is when it came into force, or was adopted.
	Since time.Time `json:"since"`
	// Confirmed: the remote system confirmed it, or a login proved it, and nothing that is open can follow.
	Confirmed bool `json:"confirmed"`
	// Basis is who says that it is in force.
	Basis Basis `json:"basis,omitempty"`
	// Refused: the remote system has said since then that this is not the account's password.
	Refused bool `json:"refused,omitempty"`
	// OpenUntil is when the last request with it had to end that nobody resolved, or when the remote system queued it, where
	// a person or a repetition settled it before; the zero time: neither. It may still be carried out when another password is
	// in force.
	OpenUntil time.Time `json:"open_until,omitzero"`
}

// Basis is who says that a password is in force.
type Basis string

const (
	// BasisAnswer: the remote system confirmed the change.
	BasisAnswer Basis = "answer"
	// BasisProof: a login worked.
	BasisProof Basis = "proof"
	// BasisTime: the remote system had taken it for later, and enough time has passed.
	BasisTime Basis = "time"
	// BasisWord: a person said so.
	BasisWord Basis = "word"
)

// Phase is how far Next has come.
type Phase string

const (
	// Unsent: no request with it can have been applied.
	Unsent Phase = "unsent"
	// Sending: a request with it is under way, or was when the process ended.
	Sending Phase = "sending"
	// Unknown: a request with it was sent and nobody knows what became of it.
	Unknown Phase = "unknown"
	// Accepted: the remote system has queued it.
	Accepted Phase = "accepted"
	// RestartRequired: it comes into force at the next start of the remote system.
	RestartRequired Phase = "restart_required"
)

// Next is the password that is being set.
type Next struct {
	Password
	Phase Phase `json:"phase"`
	// SentUntil is when the last request that may have been applied, or still may be, had to end.
	SentUntil time.Time `json:"sent_until,omitzero"`
	// Unresolved: a request before the one under way may have been applied.
	Unresolved bool `json:"unresolved,omitempty"`
	// UnresolvedUntil is when the last of those requests had to end.
	UnresolvedUntil time.Time `json:"unresolved_until,omitzero"`
	// OldVersion is the version that the request under way presents as the old password; 0: none.
	OldVersion int `json:"old_version,omitempty"`
	// Conditional: each request with it that may have been applied presented an old password.
	Conditional bool `json:"conditional,omitempty"`
	// Stage is what it waits for on the remote system that has taken it, wholly or in part; "": nothing has taken it.
	Stage Phase `json:"stage,omitempty"`
	// StagedSince is when the remote system took it last.
	StagedSince time.Time `json:"staged_since,omitzero"`
	// Taken are the parts of the account that have taken it while others have not; empty with a Stage: all of it has.
	Taken []string `json:"taken,omitempty"`
	// InForceOn are the parts of the account on which it is in force already.
	InForceOn []string `json:"in_force_on,omitempty"`
	// Given: a person chose it, so that no other may take its place when the remote system refuses it.
	Given bool `json:"given,omitempty"`
}

// openUntil is when the last request with it had to end that nobody resolved, or when the remote system queued it; the zero
// time: neither.
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

// openUntil is the same for a candidate.
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

// Exposed tells whether the remote system may hold this password, now or later.
func (n *Next) Exposed() bool {
	return n != nil && n.Phase != Unsent
}

// Staged tells whether the remote system has taken the password, wholly or in part, without putting it in force, and no
// request with it is open.
func (n *Next) Staged() bool {
	return n != nil && (n.Phase == Accepted || n.Phase == RestartRequired)
}

// Partial tells whether only some parts of the account have taken the password.
func (n *Next) Partial() bool {
	return n != nil && len(n.Taken) > 0
}

// Why says how a password became a candidate.
type Why string

const (
	// WhyUnresolved: it was sent, and another one took its place before anybody knew the outcome.
	WhyUnresolved Why = "unresolved"
	// WhyStaged: the remote system had taken it, and another one took its place before it came into force.
	WhyStaged Why = "staged"
	// WhyRefused: it was sent with an unknown outcome and refused later; the first request may have been applied.
	WhyRefused Why = "refused"
	// WhyDiscarded: an operator said that it is not in force.
	WhyDiscarded Why = "discarded"
)

// Candidate is a password that may be valid and is not Next any more. The newest is Next again when the one that took its
// place goes without having been applied. It is settled, and moves to the history, by
//   - a proof that another one is in force,
//   - the word of an operator,
//   - a change that the remote system made only because its old password was right, where each request with the
//     candidate presented one too: nothing older can follow,
//   - the second confirmed change after it: the first one overtakes it but could be followed by a late request,
//   - the second change after it that came into force by time alone; the history then says that it may be valid still
//     (Past.Open).
type Candidate struct {
	Password
	Why Why `json:"why"`
	// SentUntil is when the last request with it had to end.
	SentUntil time.Time `json:"sent_until,omitzero"`
	// Conditional: each request with it presented an old password, so that none can follow a change that it did not
	// know of.
	Conditional bool `json:"conditional,omitempty"`
	// Stage is what it waits for on the remote system that has taken it, wholly or in part.
	Stage Phase `json:"stage,omitempty"`
	// StagedSince is when the remote system took it.
	StagedSince time.Time `json:"staged_since,omitzero"`
	// Taken are the parts of the account that took it while others did not; empty with a Stage: all of it did.
	Taken []string `json:"taken,omitempty"`
	// InForceOn are the parts of the account on which it came into force.
	InForceOn []string `json:"in_force_on,omitempty"`
	// Given: a person chose it.
	Given bool `json:"given,omitempty"`
	// Overtaken: a later password has come into force since, or waits for the same start instead of this one, so that
	// nobody has to find out what became of it.
	Overtaken bool `json:"overtaken,omitempty"`
	// Outlived: the remote system has confirmed such a later change. One that came into force by time alone proves
	// nothing about the requests before it.
	Outlived bool `json:"outlived,omitempty"`
	// Refused: the remote system has said since then that this is not the account's password.
	Refused bool `json:"refused,omitempty"`
}

// open tells whether it is to be found out what became of the candidate.
func (c Candidate) open() bool {
	return !c.Overtaken && !c.Refused && c.Why != WhyDiscarded
}

// Past is a password that is not in force any more.
type Past struct {
	Password
	// State says what it was: see the Listed states.
	State string `json:"state"`
	// Open: it may still be valid, or become so. What came after it came into force by time alone, and the remote
	// system may not have done what it had queued; or a person's word settled it, which does not undo what a remote
	// system does later.
	Open bool `json:"open,omitempty"`
	// Late: it is open, and was a candidate, so that a request with it may follow even a confirmed change, the next one.
	Late bool `json:"late,omitempty"`
	// Worked: it was in force, and not for all that time alone can tell: the remote system confirmed it, a login proved
	// it, or a person said so.
	Worked bool `json:"worked,omitempty"`
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

// newVersion is above every version that the record holds.
func (r Record) newVersion() int {
	newest := r.Forgotten
	for _, p := range r.List() {
		newest = max(newest, p.Version)
	}
	return newest + 1
}

// List states of passwords, as history/:name shows them.
const (
	ListedCurrent  = "current"
	ListedRefused  = "refused"
	ListedPrevious = "previous"
	ListedOld      = "old"
	// ListedUnconfirmed counted as in force by time alone.
	ListedUnconfirmed = "unconfirmed"
	ListedSuperseded  = "superseded"
)

// Listed is a password as history/:name shows it.
type Listed struct {
	Password
	State string
}

// List returns every password of the record: those that may be valid first, then the older ones.
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
		out = append(out, Listed{r.Previous.Password, r.Previous.State})
	}
	for _, p := range r.History {
		out = append(out, Listed{p.Password, p.State})
	}
	return out
}

// maxOpenPast is how many older passwords that may still be valid are kept whatever size Trim is told.
const maxOpenPast = 8

// Trim drops history beyond size entries. Passwords that may be valid it keeps, but for those of the history that at
// least maxOpenPast newer ones follow: an account whose changes come into force by time alone never has a confirmation
// that would settle them. The newest of them that is known to have worked stays in any case.
func (r Record) Trim(size int) Record {
	out := r.clone()
	kept, open := out.History[:0:0], 0
	worked := out.Previous != nil && out.Previous.Worked
	for i, p := range out.History { // the newest come first
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
