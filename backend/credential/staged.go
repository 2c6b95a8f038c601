package credential

import (
	"slices"
	"time"
)

// Staged: the remote system took Next and puts it in force later.
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
			if c := &out.Candidates[i]; c.Stage == RestartRequired { // the last one before the start counts
				out.quiet(c.SentUntil)
				c.Overtaken = true
			}
		}
	}
	return out
}

// Took: these parts of the account took Next, and put it in force later. What became of the others NotApplied,
// Unresolved or Refused has to say.
func (r Record) Took(parts []string, phase Phase, now time.Time) Record {
	out := r.clone()
	n := out.Next
	if n == nil || len(parts) == 0 {
		return out
	}
	whole := n.Stage != "" && !n.Partial()
	n.Stage, n.StagedSince = phase, now
	if n.Phase != Sending && n.Phase != Unknown { // no request asked for it, but it may be valid
		n.Phase = phase
	}
	if !whole {
		n.Taken = union(n.Taken, parts)
	}
	for i := range out.Candidates { // the last one before the start counts on each part
		c := &out.Candidates[i]
		instead := !slices.ContainsFunc(c.Taken, func(part string) bool { return !slices.Contains(n.Taken, part) })
		if phase == RestartRequired && c.Stage == RestartRequired && len(c.Taken) > 0 && c.SentUntil.IsZero() && instead {
			c.Overtaken = true
		}
	}
	return out
}

// Missing are the parts of the account that have not taken Next: all of them while nothing has.
func (n *Next) Missing(all []string) []string {
	if n == nil || n.Stage != "" && !n.Partial() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(part string) bool { return slices.Contains(n.Taken, part) })
}

// InForce: a staged Next has come into force; proved says whether anybody saw it.
func (r Record) InForce(now time.Time, proved bool) Record {
	if !r.Next.Staged() {
		return r.clone()
	}
	return r.comeInForce(r.Next.Version, now, proved)
}

// Ripe: the newest password that the remote system had queued until then has come into force, as enough time has passed.
func (r Record) Ripe(queuedUntil, now time.Time) Record {
	if version, since := r.queued(); version != 0 && !since.After(queuedUntil) {
		return r.comeInForce(version, now, false)
	}
	for _, c := range slices.Backward(r.Candidates) { // a newer one may have been queued since
		if c.queued() && !c.StagedSince.After(queuedUntil) {
			return r.comeInForce(c.Version, now, false)
		}
	}
	return r.clone()
}

// QueuedSince is when the remote system queued the last password that waits in its queue; the zero time: none does.
func (r Record) QueuedSince() time.Time {
	_, since := r.queued()
	return since
}

// queued is the newest password that waits in the remote system's queue, and since when; 0: none does.
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

// queued tells whether the candidate waits in the remote system's queue.
func (c Candidate) queued() bool { return c.Stage == Accepted && c.open() }

// comeInForce installs a staged password. Those sent before it are overtaken; the second one that overtakes them sends
// them to the history.
func (r Record) comeInForce(version int, now time.Time, proved bool) Record {
	out := r.clone()
	var value Password
	if out.Next != nil && out.Next.Version == version {
		value = out.Next.Password
		out.quiet(out.Next.UnresolvedUntil)
		out.Next = nil
	}
	var open []Candidate
	for _, c := range out.Candidates {
		switch {
		case c.Version == version:
			value = c.Password
			out.quiet(c.SentUntil)
		case proved:
			out.archive(c.Password, ListedSuperseded)
		case c.Version > version: // nothing is known of it
			open = append(open, c)
		case c.Overtaken:
			out.quiet(c.SentUntil)
			out.keep(Past{Password: c.Password, State: ListedSuperseded, Open: true, Late: !c.Outlived})
		default:
			c.Overtaken = true
			open = append(open, c)
		}
	}
	out.Candidates = open
	basis := BasisTime
	if proved {
		basis = BasisProof
	}
	out.install(value, now, basis, proved)
	if proved {
		out.provePast()
	} else if out.Previous != nil {
		out.Previous.Open = true
	}
	return out
}

// leave: other passwords than before are in force on these parts.
func (r *Record) leave(parts []string) {
	without := func(on []string) []string {
		return slices.DeleteFunc(on, func(part string) bool { return slices.Contains(parts, part) })
	}
	if r.Next != nil {
		r.Next.InForceOn = without(r.Next.InForceOn)
	}
	for i := range r.Candidates {
		r.Candidates[i].InForceOn = without(r.Candidates[i].InForceOn)
	}
}

// everywhere: a password is in force on all parts of the account, so that the others are on none.
func (r *Record) everywhere() {
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

// PartView is how one part of an account stands.
type PartView struct {
	Part string
	// State is that of the account, as far as it concerns this part.
	State State
	// Version is that of the password in force there; 0: none is known to be.
	Version int
	// NextVersion is that of a password that may take its place there; 0: none.
	NextVersion int
}

// Parts tells how each part of the account stands.
func (r Record) Parts(all []string, now time.Time) []PartView {
	out := make([]PartView, 0, len(all))
	for _, part := range all {
		v := PartView{Part: part, State: r.settled()}
		if r.Current != nil {
			v.Version = r.Current.Version
		}
		for _, c := range r.Candidates {
			if slices.Contains(c.InForceOn, part) {
				v.Version, v.State = c.Version, StateAssumed
			}
		}
		switch n := r.Next; {
		case n != nil && slices.Contains(n.InForceOn, part):
			v.Version, v.State = n.Version, StateAssumed
		default:
			if state, version := r.pendingOn(part, now); version != 0 && version != v.Version {
				v.State, v.NextVersion = state, version
			}
		}
		out = append(out, v)
	}
	return out
}

// pendingOn is the state that an open password brings about on a part of the account, and its version; 0: there is none.
func (r Record) pendingOn(part string, now time.Time) (State, int) {
	took := func(stage Phase, taken []string) bool {
		return stage != "" && (len(taken) == 0 || slices.Contains(taken, part))
	}
	switch n := r.Next; {
	case !n.Exposed() || r.firstSend(now):
	case took(n.Stage, n.Taken):
		return stateOf(n.Stage), n.Version
	case !n.Staged() && !r.underWay(now):
		return StateUncertain, n.Version
	}
	for _, c := range slices.Backward(r.Candidates) {
		switch {
		case !c.open() || c.Stage != "" && c.SentUntil.IsZero() && !took(c.Stage, c.Taken): // the others answered
		case took(c.Stage, c.Taken):
			return stateOf(c.Stage), c.Version
		default:
			return StateUncertain, c.Version
		}
	}
	return "", 0
}
