package credential

import (
	"fmt"
	"slices"
)

// exposedPasswords returns Next, if it is exposed, and the candidates.
func exposedPasswords(r Record) []Password {
	var out []Password
	if r.Next.Exposed() {
		out = append(out, r.Next.Password)
	}
	for _, c := range r.Candidates {
		out = append(out, c.Password)
	}
	return out
}

// nothingDropped checks I3: a password that may be valid is settled only in the ways listed at Candidate.
func (w *world) nothingDropped(before, after Record) {
	w.t.Helper()
	for _, p := range exposedPasswords(before) {
		kept := slices.ContainsFunc(exposedPasswords(after), func(q Password) bool { return q == p })
		if kept || after.Current != nil && again(after.Current.Password, p) || w.settled[p.Value] || !w.maybeApplied[p.Value] {
			continue
		}
		if slices.ContainsFunc(after.History, func(q Past) bool { return q.Open && q.Password == p }) {
			continue
		}
		if w.confirmedSince[p.Value] < 2 {
			w.fail("I3: version %d was dropped with only %d changes confirmed since it was sent", p.Version, w.confirmedSince[p.Value])
		}
	}
}

// again reports whether p is q, which may have got a new version when it came into force again.
func again(p, q Password) bool {
	if p.Version > q.Version {
		q.Version = p.Version
	}
	return p == q
}

// versionsNeverGoBack: readers take a higher version for a newer password.
func (w *world) versionsNeverGoBack(before, after Record) {
	w.t.Helper()
	if before.Current == nil || after.Current == nil || after.Current.Version > before.Current.Version {
		return
	}
	if after.Current.Password != before.Current.Password {
		w.fail("the version went back from %d to %d", before.Current.Version, after.Current.Version)
	}
}

// valid reports whether the password is the account's, or may become so without a further request.
func (w *world) valid(password string) bool {
	if !w.setElsewhere && w.actual == password || w.queued(password) {
		return true
	}
	return slices.ContainsFunc(w.inFlight, func(r *request) bool {
		over := w.now.After(r.deadline.Add(margin)) && (r.vouched || r.laterChanges >= 2)
		return r.value == password && !over && r.old == ""
	})
}

// trim drops old passwords. A valid one may be dropped only if many newer ones may be valid too.
func (w *world) trim(valid func(string) bool) {
	size, before := w.dice.IntN(4), w.rec
	w.do(fmt.Sprintf("trim to %d", size), func(r Record) Record { return r.Trim(size) })
	for _, p := range before.List() {
		if slices.ContainsFunc(w.rec.List(), func(q Listed) bool { return q.Password == p.Password }) || !valid(p.Value) {
			continue
		}
		newer := 0
		for _, q := range w.rec.History {
			if q.Open && q.Version > p.Version {
				newer++
			}
		}
		if newer < maxOpenPast || p.Value == w.lastWorked {
			w.fail("version %d was trimmed although it is valid", p.Version)
		}
		w.trimmed[p.Value] = true
	}
}

// check compares the record with the world.
func (w *world) check() {
	w.t.Helper()
	listed := slices.ContainsFunc(w.rec.List(), func(l Listed) bool { return l.Value == w.actual })
	if !listed && !w.setElsewhere && !w.trimmed[w.actual] {
		w.fail("I1: the account's password is lost")
	}
	if view := w.rec.View(w.now); view.State == StateActive && !w.rec.Next.Exposed() && !w.setElsewhere {
		w.active(view.Password.Value)
	}
	w.checkQueue()
	w.checkRecord()
	w.checkLogins()
}

// checkRecord checks that the record is consistent and that no refused password is handed out.
func (w *world) checkRecord() {
	w.t.Helper()
	versions := map[int]bool{}
	for _, listed := range w.rec.List() {
		if versions[listed.Version] || listed.Version < 1 {
			w.fail("version %d is listed twice or invalid", listed.Version)
		}
		versions[listed.Version] = true
	}
	if len(w.rec.Candidates) > MaxCandidates+1 {
		w.fail("%d candidates", len(w.rec.Candidates))
	}
	view := w.rec.View(w.now)
	if view.Password != nil && w.refused[view.Password.Value] {
		w.fail("I4: version %d is handed out although it was refused", view.Password.Version)
	}
	if view.Password == nil && !slices.Contains([]State{StateNone, StateUncertain, StateRestartRequired}, view.State) {
		w.fail("state %s without a password", view.State)
	}
	if view.Next != nil && !slices.Contains([]State{StateAccepted, StateRestartRequired, StateUncertain}, view.State) {
		w.fail("state %s with a next password", view.State)
	}
}

// active checks I4: a password is reported active only if it is in force and no request can replace it.
func (w *world) active(password string) {
	w.t.Helper()
	if w.actual != password {
		w.fail("I4: %s is reported active but is not in force", password)
	}
	for _, r := range w.inFlight {
		over := w.now.After(r.deadline.Add(margin)) && (r.vouched || r.laterChanges >= 2)
		if r.value != password && !over && (r.old == "" || r.old == w.actual) {
			w.fail("I4: %s is reported active, but the request with %s may still be carried out", password, r.value)
		}
	}
}

func (w *world) refusePassword(sent *request) {
	w.refused[sent.value] = true
	w.do("refused", Record.PasswordRefused)
	w.checkDropped(sent)
}

func (w *world) refuseTarget(sent *request) {
	w.do("target refused", Record.TargetRefused)
	w.checkDropped(sent)
	if n := w.rec.Next; w.maybeApplied[sent.value] && (n == nil || n.Value != sent.value) {
		w.fail("version %d is no longer Next, although only the request was refused", sent.version)
	}
}

// checkDropped requires that a refused password which was never applied leaves no trace.
func (w *world) checkDropped(sent *request) {
	for _, listed := range w.rec.List() {
		if listed.Value == sent.value && !w.maybeApplied[sent.value] {
			w.fail("version %d was refused and never applied, but is still listed", listed.Version)
		}
	}
	if n := w.rec.Next; n != nil && n.Version < sent.version {
		w.seen["candidate became next again"]++
	}
}
