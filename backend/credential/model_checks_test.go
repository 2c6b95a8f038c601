package credential

import (
	"fmt"
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

// valid tells whether the password is the account's, or may become it without anybody asking.
func (w *world) valid(password string) bool {
	if !w.stranger && w.held == password || w.queued(password) {
		return true
	}
	return slices.ContainsFunc(w.flying, func(r *request) bool {
		over := w.now.After(r.deadline.Add(margin)) && (r.worded || r.later >= 2)
		return r.value == password && !over && r.old == ""
	})
}

// trim drops old passwords. One that is valid may go only where many newer ones may be valid too.
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
		if newer < maxOpenPast || p.Value == w.worked {
			w.fail("version %d is valid and was trimmed", p.Version)
		}
		w.givenUp[p.Value] = true
	}
}

// check holds the invariants against the world.
func (w *world) check() {
	w.t.Helper()
	holds := slices.ContainsFunc(w.rec.List(), func(l Listed) bool { return l.Value == w.held })
	if !holds && !w.stranger && !w.givenUp[w.held] {
		w.fail("I1: the password of the account is lost")
	}
	if view := w.rec.View(w.now); view.State == StateActive && !w.rec.Next.Exposed() && !w.stranger {
		w.active(view.Password.Value)
	}
	w.checkQueue()
	w.checkRecord()
}

// checkRecord holds the record against itself and what was refused.
func (w *world) checkRecord() {
	w.t.Helper()
	versions := map[int]bool{}
	for _, listed := range w.rec.List() {
		if versions[listed.Version] || listed.Version < 1 {
			w.fail("version %d is there twice, or is none", listed.Version)
		}
		versions[listed.Version] = true
	}
	if len(w.rec.Candidates) > MaxCandidates+1 {
		w.fail("%d candidates", len(w.rec.Candidates))
	}
	view := w.rec.View(w.now)
	if view.Password != nil && w.refused[view.Password.Value] {
		w.fail("I4: version %d was refused and is handed out", view.Password.Version)
	}
	if view.Password == nil && !slices.Contains([]State{StateNone, StateUncertain, StateRestartRequired}, view.State) {
		w.fail("state %s without a password", view.State)
	}
	if view.Next != nil && !slices.Contains([]State{StateAccepted, StateRestartRequired, StateUncertain}, view.State) {
		w.fail("a next password in the state %s", view.State)
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
