package credential

import (
	"slices"
)

func pending(r Record) []Password {
	var out []Password
	if r.Next.Exposed() {
		out = append(out, r.Next.Password)
	}
	for _, c := range r.Candidates {
		out = append(out, c.Password)
	}
	return out
}

// nothingDropped is I3: a password that may be valid is settled only by what the comment of Candidate lists.
func (w *world) nothingDropped(before, after Record) {
	w.t.Helper()
	for _, p := range pending(before) {
		kept := slices.ContainsFunc(pending(after), func(q Password) bool { return q == p })
		if kept || after.Current != nil && after.Current.Password == p || w.settled[p.Value] || !w.open[p.Value] {
			continue
		}
		if slices.ContainsFunc(after.History, func(q Past) bool { return q.Open && q.Password == p }) {
			continue
		}
		if w.sentTo[p.Value] < 2 {
			w.fail("password %d was dropped, with %d changes confirmed since it was sent", p.Version, w.sentTo[p.Value])
		}
	}
}

// watch: nothing is trimmed while a request is on its way whose password was settled by a word.
func (w *world) watch(r *request) {
	if end := r.deadline.Add(margin); r.worded && end.After(w.noTrim) {
		w.noTrim = end
	}
}

// check holds the invariants against the world.
func (w *world) check() {
	w.t.Helper()
	versions := map[int]bool{}
	holds := false
	for _, listed := range w.rec.List() {
		if versions[listed.Version] || listed.Version < 1 {
			w.fail("version %d is there twice, or is none", listed.Version)
		}
		versions[listed.Version] = true
		holds = holds || listed.Value == w.held
	}
	if !holds && !w.stranger {
		w.fail("I1: the password of the account is lost")
	}
	if len(w.rec.Candidates) > MaxCandidates+1 {
		w.fail("%d candidates", len(w.rec.Candidates))
	}
	view := w.rec.View(w.now)
	if view.Password != nil && w.refused[view.Password.Value] {
		w.fail("I4: version %d was refused and is handed out", view.Password.Version)
	}
	if (view.Password == nil) != (w.rec.Current == nil && len(pending(w.rec)) == 0) && view.State != StateNone && view.State != StateUncertain {
		w.fail("state %s without a password", view.State)
	}
	if view.Next != nil && !slices.Contains([]State{StateAccepted, StateRestartRequired, StateUncertain}, view.State) {
		w.fail("a next password in the state %s", view.State)
	}
	if view.State == StateActive && !w.rec.Next.Exposed() && !w.stranger {
		w.active(view.Password.Value)
	}
}

func (w *world) active(password string) {
	w.t.Helper()
	if w.held != password {
		w.fail("I4: %s is said to be active", password)
	}
	for _, r := range w.flying {
		over := w.now.After(r.deadline.Add(margin)) && (r.worded || r.later >= 2)
		if r.value != password && !over && (r.old == "" || r.old == w.held) {
			w.fail("I4: %s is said to be active, and the request with %s may follow", password, r.value)
		}
	}
}
