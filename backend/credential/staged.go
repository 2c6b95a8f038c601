package credential

import (
	"slices"
	"time"
)

// Staged: the remote system has taken Next and puts it in force later. phase is Accepted or RestartRequired.
func (r Record) Staged(phase Phase, now time.Time) Record {
	out := r.clone()
	n := out.Next
	if n == nil {
		return out
	}
	n.Phase, n.Stage, n.StagedSince, n.Taken = phase, phase, now, nil
	n.SentUntil = n.UnresolvedUntil // this request has its answer
	if phase == RestartRequired {
		for i := range out.Candidates {
			if c := &out.Candidates[i]; c.Stage == RestartRequired { // only the last one before the restart counts
				out.raiseNotBefore(c.SentUntil)
				c.Overtaken = true
			}
		}
	}
	return out
}

// TakenByParts: these parts of the account have taken Next and put it in force later. Follow it with NotApplied, Unresolved,
// PasswordRefused or TargetRefused for the other parts.
func (r Record) TakenByParts(parts []string, phase Phase, now time.Time) Record {
	out := r.clone()
	n := out.Next
	if n == nil || len(parts) == 0 {
		return out
	}
	whole := n.Stage != "" && !n.Partial()
	n.Stage, n.StagedSince = phase, now
	if n.Phase != Sending && n.Phase != Unknown { // no request is known to have asked for it, but it may be valid
		n.Phase = phase
	}
	if !whole {
		n.Taken = union(n.Taken, parts)
	}
	for i := range out.Candidates { // on each part, only the last one before the restart counts
		c := &out.Candidates[i]
		instead := !slices.ContainsFunc(c.Taken, func(part string) bool { return !slices.Contains(n.Taken, part) })
		if phase == RestartRequired && c.Stage == RestartRequired && len(c.Taken) > 0 && c.SentUntil.IsZero() && instead {
			c.Overtaken = true
		}
	}
	return out
}

// Missing returns the parts of all that have not taken Next: all of them, as long as none has.
func (n *Next) Missing(all []string) []string {
	if n == nil || n.Stage != "" && !n.Partial() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(part string) bool { return slices.Contains(n.Taken, part) })
}

// InForce: a staged Next has come into force, as far as anybody can tell without a login.
func (r Record) InForce(now time.Time) Record {
	if !r.Next.Staged() {
		return r.clone()
	}
	return r.putInForce(r.Next.Version, now)
}

// RestartedOn: these parts have been restarted, and nobody has logged in there. Once all have been, a staged password of this
// version counts as in force.
func (r Record) RestartedOn(version int, parts, all []string, now time.Time) Record {
	if on, _ := r.InForceOn(version); len(union(on, parts)) == len(all) {
		n, at := r.Next, r.candidateIndex(version)
		if n.Staged() && n.Version == version || at >= 0 && r.Candidates[at].Stage != "" && len(r.Candidates[at].Taken) == 0 {
			return r.putInForce(version, now)
		}
		return r.clone()
	}
	out, err := r.ConfirmOn(version, parts, all, now)
	if err != nil {
		return r.clone()
	}
	return out
}

// SettleByTime: enough time has passed for everything that was queued up to queuedUntil. The newest such password counts as
// in force.
func (r Record) SettleByTime(queuedUntil, now time.Time) Record {
	if version, since := r.queued(); version != 0 && !since.After(queuedUntil) {
		return r.putInForce(version, now)
	}
	for _, c := range slices.Backward(r.Candidates) { // the newest one may have been queued later
		if c.queued() && !c.StagedSince.After(queuedUntil) {
			return r.putInForce(c.Version, now)
		}
	}
	return r.clone()
}

// QueuedSince returns when the remote system queued the newest password that is still in its queue; the zero time if there
// is none.
func (r Record) QueuedSince() time.Time {
	_, since := r.queued()
	return since
}

// queued returns the version of the newest password in the remote system's queue, and since when; 0 if there is none.
func (r Record) queued() (version int, since time.Time) {
	if r.Next != nil && r.Next.Phase == Accepted {
		return r.Next.Version, r.Next.StagedSince
	}
	for _, c := range slices.Backward(r.Candidates) {
		if c.queued() {
			return c.Version, c.StagedSince
		}
	}
	return 0, time.Time{}
}

// queued reports whether the candidate is in the remote system's queue.
func (c Candidate) queued() bool { return c.Stage == Accepted && c.open() }

// putInForce installs a staged password. Candidates sent before it are overtaken; those that were overtaken before move to
// the history.
func (r Record) putInForce(version int, now time.Time) Record {
	out := r.clone()
	var value Password
	var stage Phase
	var until time.Time
	if out.Next != nil && out.Next.Version == version {
		value, stage, until = out.Next.Password, out.Next.Phase, out.Next.UnresolvedUntil
		out.Next = nil
	}
	var open []Candidate
	for _, c := range out.Candidates {
		switch {
		case c.Version == version:
			value, stage, until = c.Password, c.Stage, c.SentUntil
		case c.Version > version: // sent later: still open
			open = append(open, c)
		case c.Overtaken:
			out.raiseNotBefore(c.SentUntil)
			out.addPast(Past{Password: c.Password, State: ListedSuperseded, Open: true, Late: !c.Outlived})
		default:
			c.Overtaken = true
			open = append(open, c)
		}
	}
	out.Candidates = open
	basis := BasisTime
	if stage == RestartRequired {
		basis = BasisRestart
	}
	out.raiseNotBefore(until)
	before := out.Current
	out.replaceCurrent(value, now, basis)
	out.Current.OpenUntil = until
	if before != nil {
		out.openPast(before.Version)
	}
	return out
}

// removeInForceOn records that the open password of this version, or any with 0, is not in force on these parts.
func (r *Record) removeInForceOn(version int, parts []string) {
	without := func(on []string) []string {
		return slices.DeleteFunc(on, func(part string) bool { return slices.Contains(parts, part) })
	}
	if n := r.Next; n != nil && (version == 0 || n.Version == version) {
		n.InForceOn = without(n.InForceOn)
	}
	for i := range r.Candidates {
		if c := &r.Candidates[i]; version == 0 || c.Version == version {
			c.InForceOn = without(c.InForceOn)
		}
	}
}

// clearInForceOn records that Current is in force on all parts, so no open password is in force on any.
func (r *Record) clearInForceOn() {
	if r.Next != nil {
		r.Next.InForceOn = nil
	}
	for i := range r.Candidates {
		r.Candidates[i].InForceOn = nil
	}
}

// union returns the parts of both lists, sorted.
func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// VersionOn returns the version of the open password that is in force on a part of the account; 0 if none is known to be.
func (r Record) VersionOn(part string) int {
	if n := r.Next; n != nil && slices.Contains(n.InForceOn, part) {
		return n.Version
	}
	for _, c := range r.Candidates {
		if slices.Contains(c.InForceOn, part) {
			return c.Version
		}
	}
	return 0
}

// PartView is the state of one part of an account.
type PartView struct {
	Part string
	// State is the state of the account as far as it concerns this part.
	State State
	// Version is the version in force there; 0 if none is known to be.
	Version int
	// NextVersion is the version that may replace it there; 0 if there is none.
	NextVersion int
}

// Parts returns the state of each part of the account.
func (r Record) Parts(all []string, now time.Time) []PartView {
	out := make([]PartView, 0, len(all))
	for _, part := range all {
		v := PartView{Part: part, State: r.settledState()}
		if r.Current != nil {
			v.Version = r.Current.Version
		}
		if version := r.VersionOn(part); version != 0 {
			v.Version, v.State = version, StateActive
			if _, assumed := r.InForceOn(version); assumed {
				v.State = StateAssumed
			}
		}
		if n := r.Next; n == nil || !slices.Contains(n.InForceOn, part) {
			if state, version := r.pendingOn(part, now); version != 0 && version != v.Version {
				v.State, v.NextVersion = state, version
			}
		}
		out = append(out, v)
	}
	return out
}

// pendingOn returns the state that an open or staged password causes on a part of the account, and its version; 0 if there
// is none.
func (r Record) pendingOn(part string, now time.Time) (State, int) {
	took := func(stage Phase, taken []string) bool {
		return stage != "" && (len(taken) == 0 || slices.Contains(taken, part))
	}
	switch n := r.Next; {
	case !n.Exposed() || r.firstSend(now):
	case took(n.Stage, n.Taken):
		return stateOf(n.Stage), n.Version
	case !n.Staged() && !r.inFlight(now):
		return StateUncertain, n.Version
	}
	for _, c := range slices.Backward(r.Candidates) {
		switch {
		case !c.open() || c.Stage != "" && c.SentUntil.IsZero() && !took(c.Stage, c.Taken): // only other parts have taken it
		case took(c.Stage, c.Taken):
			return stateOf(c.Stage), c.Version
		default:
			return StateUncertain, c.Version
		}
	}
	return "", 0
}
