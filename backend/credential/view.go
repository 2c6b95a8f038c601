package credential

import (
	"slices"
	"time"
)

// State is the state of a role's password, as reported to readers.
type State string

const (
	// StateNone: there is no password yet.
	StateNone State = "none"
	// StateActive: confirmed by the remote system or proved by a login.
	StateActive State = "active"
	// StateAssumed: believed to be in force, but not confirmed.
	StateAssumed State = "assumed"
	// StateAccepted: the remote system has queued the next password.
	StateAccepted State = "accepted"
	// StateRestartRequired: the next password comes into force when the remote system restarts.
	StateRestartRequired State = "restart_required"
	// StateUncertain: the next password was sent and its outcome is unknown.
	StateUncertain State = "uncertain"
	// StateDrifted: the remote system refuses the passwords that the record holds.
	StateDrifted State = "drifted"
)

// States returns every state, in the order of the documentation.
func States() []State {
	return []State{StateNone, StateActive, StateAssumed, StateAccepted, StateRestartRequired, StateUncertain, StateDrifted}
}

// View is what a reader of the role is told.
type View struct {
	State State
	// Password is the one to use: the password in force, as far as the engine knows, or else the newest one that the
	// remote system may hold and has not refused. A refused password in force is the last resort. Nil if there is none.
	Password *Password
	// Since is when Password came into force; zero if that is not known.
	Since time.Time
	// Next may replace Password. Set only in the states accepted, restart_required and uncertain, and only if it differs
	// from Password.
	Next *Password
	// Last was in force before.
	Last *Password
}

// View returns what a reader is told at the given time.
func (r Record) View(now time.Time) View {
	state, next := r.pendingState(now)
	if state == "" {
		state = r.settledState()
	}
	v := View{State: state}
	switch {
	case r.Current != nil && !r.Current.Refused:
		v.Password, v.Since = copyOf(&r.Current.Password), r.Current.Since
	default:
		v.Password = r.newestPossible(now)
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

// pendingState returns the state caused by an open or staged password, and that password; "" if there is none.
func (r Record) pendingState(now time.Time) (State, *Password) {
	if n := r.Next; n.Exposed() && !r.firstSend(now) {
		if n.Staged() || n.Stage != "" && r.inFlight(now) { // the other parts are being asked
			return stateOf(n.Stage), &n.Password
		}
		return StateUncertain, &n.Password
	}
	return r.pendingCandidateState()
}

// pendingCandidateState is pendingState for the candidates only.
func (r Record) pendingCandidateState() (State, *Password) {
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

// stateOf returns the state caused by a password at this stage.
func stateOf(stage Phase) State {
	if stage == Accepted {
		return StateAccepted
	}
	return StateRestartRequired
}

// firstSend reports whether the first request with Next is in flight and within its deadline. Readers see nothing of it,
// so that a change that goes well changes their answer exactly once.
func (r Record) firstSend(now time.Time) bool {
	return r.inFlight(now) && r.Next.Stage == ""
}

// inFlight reports whether a request with Next is in flight and within its deadline, and no earlier one is open.
func (r Record) inFlight(now time.Time) bool {
	n := r.Next
	return n != nil && n.Phase == Sending && !n.Unresolved && !now.After(n.SentUntil)
}

// settledState returns the state of a record in which nothing is pending.
func (r Record) settledState() State {
	switch {
	case r.Current == nil:
		return StateNone
	case r.Current.Refused:
		return StateDrifted
	case r.Current.Confirmed && len(r.Candidates) == 0: // a discarded one may still come into force
		return StateActive
	default:
		return StateAssumed
	}
}

// newestPossible returns the newest password that the remote system may hold and has not refused.
func (r Record) newestPossible(now time.Time) *Password {
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
