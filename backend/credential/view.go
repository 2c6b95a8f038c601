package credential

import (
	"slices"
	"time"
)

// State is what a reader is told about a role's password.
type State string

const (
	// StateNone: no password yet.
	StateNone State = "none"
	// StateActive: confirmed by the remote system or proved by a login.
	StateActive State = "active"
	// StateAssumed: believed in force, but nobody confirmed it.
	StateAssumed State = "assumed"
	// StateAccepted: the remote system has queued the next password.
	StateAccepted State = "accepted"
	// StateRestartRequired: the next password comes into force at the next start.
	StateRestartRequired State = "restart_required"
	// StateUncertain: the next password was sent and its outcome is unknown.
	StateUncertain State = "uncertain"
	// StateDrifted: the remote system refuses what the record holds.
	StateDrifted State = "drifted"
)

// States lists every state, in the order of the documentation.
func States() []State {
	return []State{StateNone, StateActive, StateAssumed, StateAccepted, StateRestartRequired, StateUncertain, StateDrifted}
}

// View is what a reader is told.
type View struct {
	State State
	// Password is in force to the best of the engine's knowledge; if none is known to be, the newest one set; nil in
	// StateNone.
	Password *Password
	// Since is when Password came into force; zero if it is not known to be.
	Since time.Time
	// Next may take its place; set in the states accepted, restart_required and uncertain only, and only if it differs.
	Next *Password
	// Last is the one known to have worked before.
	Last *Password
}

// View tells what the record means to a reader at this time.
func (r Record) View(now time.Time) View {
	state, next := r.pending(now)
	if state == "" {
		state = r.settled()
	}
	v := View{State: state}
	switch {
	case r.Current != nil && !r.Current.Refused:
		v.Password, v.Since = copyOf(&r.Current.Password), r.Current.Since
	default:
		v.Password = r.believed(now)
	}
	if v.Password == nil && r.Current != nil {
		v.Password, v.Since = copyOf(&r.Current.Password), r.Current.Since
	}
	if next != nil && (v.Password == nil || next.Value != v.Password.Value) {
		v.Next = copyOf(next)
	}
	if r.Previous != nil {
		v.Last = copyOf(&r.Previous.Password)
	}
	return v
}

// pending returns the state that an open password brings about, and that password.
func (r Record) pending(now time.Time) (State, *Password) {
	if n := r.Next; n.Exposed() && !r.firstSend(now) {
		if n.Staged() || n.Stage != "" && r.underWay(now) { // the rest of it is being sent
			return stateOf(n.Stage), &n.Password
		}
		return StateUncertain, &n.Password
	}
	return r.pendingCandidate()
}

// pendingCandidate is pending without Next.
func (r Record) pendingCandidate() (State, *Password) {
	for _, c := range slices.Backward(r.Candidates) {
		if !c.open() {
			continue
		}
		if c.Stage != "" {
			return stateOf(c.Stage), &c.Password
		}
		if r.Current != nil && r.Current.Refused && r.OldTries.Left != nil && *r.OldTries.Left < minTriesLeft {
			return StateDrifted, nil
		}
		return StateUncertain, &c.Password
	}
	return "", nil
}

// stateOf is the state that a staged password brings about.
func stateOf(stage Phase) State {
	if stage == Accepted {
		return StateAccepted
	}
	return StateRestartRequired
}

// firstSend: the first request with Next is under way and within its deadline. Readers see nothing of it: between two
// changes that go well, their answer does not change.
func (r Record) firstSend(now time.Time) bool {
	return r.underWay(now) && r.Next.Stage == ""
}

// underWay: a request with Next is under way and within its deadline, and no other one is open.
func (r Record) underWay(now time.Time) bool {
	n := r.Next
	return n != nil && n.Phase == Sending && !n.Unresolved && !now.After(n.SentUntil)
}

// settled returns the state of a record in which nothing is open.
func (r Record) settled() State {
	switch {
	case r.Current == nil:
		return StateNone
	case r.Current.Refused:
		return StateDrifted
	case r.Current.Confirmed && len(r.Candidates) == 0: // one that was discarded since may still follow
		return StateActive
	default:
		return StateAssumed
	}
}

// believed is the newest password that the remote system may hold and has not refused.
func (r Record) believed(now time.Time) *Password {
	if r.Next.Exposed() && !r.firstSend(now) {
		return copyOf(&r.Next.Password)
	}
	for _, c := range slices.Backward(r.Candidates) {
		if !c.Refused && c.Why != WhyRefused && c.Why != WhyDiscarded {
			return copyOf(&c.Password)
		}
	}
	return nil
}
