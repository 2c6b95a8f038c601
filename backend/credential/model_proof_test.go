package credential

import (
	"fmt"
	"slices"
)

// This file adds logins to the models. A login tells the truth about one password at any moment, and proves nothing else.

// logIn is a login with one of the passwords of the record. A login shows nothing about a queue that does not keep its order.
func (w *world) logIn() {
	if w.disordered && len(w.jobs) > 0 {
		return
	}
	if w.rec.Next.Unproved() && w.chance(70) {
		w.logInAfterReport()
		return
	}
	if p := w.pick(w.actual); p != nil {
		w.tryOut(*p)
	}
}

// pick chooses a password that the remote system may have: often the one that works.
func (w *world) pick(works string) *Password {
	var all []Password
	for _, l := range w.rec.List() {
		if l.State == string(Unsent) {
			continue
		}
		if l.Value == works && w.chance(50) {
			return &l.Password
		}
		all = append(all, l.Password)
	}
	if len(all) == 0 {
		return nil
	}
	return &all[w.dice.IntN(len(all))]
}

// tryOut logs in with a password, and applies what that shows.
func (w *world) tryOut(p Password) (works bool) {
	if p.Value != w.actual {
		w.loginRefuses(p)
		return false
	}
	before := w.rec
	w.shown(p.Value)
	w.do(fmt.Sprintf("login with %d works", p.Version), func(r Record) Record { return r.Proved(p.Version, w.now, margin) })
	if c := w.rec.Current; c == nil || c.Value != p.Value || c.Refused || c.Basis != BasisProof {
		w.fail("version %d works, but is not in force by proof", p.Version)
	}
	w.maxExposed = max(w.maxExposed, w.rec.Current.Version)
	switch c := before.Current; {
	case c != nil && c.Value == p.Value && len(w.rec.Candidates) > 0:
		w.seen["current proved while another may follow"]++
	case c != nil && p.Version < c.Version:
		w.seen["older one proved"]++
	}
	if !w.rec.Current.Confirmed && len(w.rec.Candidates) == 0 {
		w.seen["proved while a settled one may follow"]++
	}
	return true
}

// loginRefuses applies that a login was refused.
func (w *world) loginRefuses(p Password) {
	if c := w.rec.Current; c != nil && c.Version == p.Version {
		w.loginRefused[p.Value] = true
	}
	w.seen["login refused"]++
	w.do(fmt.Sprintf("login with %d is refused", p.Version), func(r Record) Record { return r.LoginRefused(p.Version, w.now, margin) })
}

// shown records that a login has shown which password is in force. That settles the others, except those that are queued, and
// those with a request that may still be carried out.
func (w *world) shown(inForce string) {
	for _, p := range exposedPasswords(w.rec) {
		mayFollow := w.queued(p.Value) || slices.ContainsFunc(w.inFlight, func(r *request) bool { return r.value == p.Value && !w.over(r) })
		w.settled[p.Value] = w.settled[p.Value] || !mayFollow
	}
	delete(w.refused, inForce)
	delete(w.loginRefused, inForce)
	w.lastWorked, w.setElsewhere = inForce, false
	for _, r := range w.inFlight {
		r.vouched = true
	}
}

// over reports whether a request is too old to be carried out after a login.
func (w *world) over(r *request) bool { return w.now.After(r.deadline.Add(margin)) }

// report is the answer that the change is in force, which is not always true. Logins show that later.
func (w *world) report(sent *request) {
	w.maybeApplied[sent.value] = true
	w.maxExposed = max(w.maxExposed, sent.version)
	w.lied = ""
	if w.chance(30) {
		w.note("(the remote system does not do what it reports)")
		w.lied = sent.value
	} else {
		w.carryOut(sent)
	}
	w.do("reported", func(r Record) Record { return r.Reported(false) })
}

// logInAfterReport logs in with a password that the remote system reports in force, and with the one before if that is
// refused. If no login can tell, what the remote system reports has to do.
func (w *world) logInAfterReport() {
	n, current := w.rec.Next, w.rec.Current
	if w.lied != n.Value && n.LoginsRefused == 0 && w.chance(30) {
		w.confirmed(&request{version: n.Version, value: n.Value}, false)
		w.setElsewhere = w.actual != n.Value
		w.do("no login can tell", func(r Record) Record { return r.Applied(w.now, r.Next.Exclusive) })
		w.seen["reported, and no login can tell"]++
		return
	}
	if w.tryOut(n.Password) {
		w.seen["reported and proved"]++
		return
	}
	if w.rec.Next.LoginsRefused != n.LoginsRefused+1 {
		w.fail("%d refused logins are counted", w.rec.Next.LoginsRefused)
	}
	if current != nil && w.tryOut(current.Password) {
		w.seen["reported, but the one before works"]++
		if view := w.rec.View(w.now); view.Password.Value != w.actual {
			w.fail("I4: version %d is handed out, although the one before works", view.Password.Version)
		}
	}
}

// checkLogins checks I4: the password in force is not handed out after a login with it was refused, if another may work.
func (w *world) checkLogins() {
	current, view := w.rec.Current, w.rec.View(w.now)
	if current == nil || view.Password == nil || view.Password.Version != current.Version || !w.loginRefused[current.Value] {
		return
	}
	for _, c := range w.rec.Candidates {
		if !w.refused[c.Value] && !w.loginRefused[c.Value] && c.Why != WhyDiscarded && !c.Refused {
			w.fail("I4: version %d is handed out although a login with it was refused, and version %d may work", current.Version, c.Version)
		}
	}
}

// logIn is a login with one password on each host, or on some.
func (w *restarts) logIn() {
	p := w.pick(w.hosts[w.dice.IntN(len(w.hosts))].actual)
	if n := w.rec.Next; n != nil && len(n.InForceOn) > 0 && w.chance(50) {
		p = &n.Password
	}
	if p == nil {
		return
	}
	var on []string
	for _, h := range w.hosts {
		if h.actual == p.Value && (len(w.hosts) == 1 || w.chance(80)) {
			on = append(on, w.nameOf(h))
			h.setElsewhere, h.loggedIn, h.unseen = false, true, false
		}
	}
	before := w.rec.Current
	switch isCurrent := isVersion(before, p.Version); {
	case len(on) == len(w.hosts):
		delete(w.refused, p.Value)
		delete(w.loginRefused, p.Value)
		w.do(fmt.Sprintf("login with %d works on all", p.Version), func(r Record) Record { return r.Proved(p.Version, w.now, margin) })
		w.maxExposed = max(w.maxExposed, w.rec.Current.Version)
		w.inForceEverywhere()
		w.seen["proved on all hosts"]++
		if w.rec.Next.Exposed() && isCurrent {
			w.seen["current proved while another waits"]++
		}
	case len(on) > 0:
		delete(w.refused, p.Value)
		w.do(fmt.Sprintf("login with %d works on %v", p.Version, on), func(r Record) Record { return r.ProvedOn(p.Version, on, w.all(), w.now, margin) })
		w.learnOn(on, p.Version, isCurrent)
	case w.everyHost(func(h *host) bool { return h.actual != p.Value }):
		w.loginRefuses(*p)
	}
}

// unforeseen reports whether a login has worked on the host while a password waits there that the record does not expect any
// more: nobody has seen the host take it, or it was in force already. It stays in the history.
func (w *restarts) unforeseen(h *host) bool {
	return h.pending != "" && h.loggedIn && (!h.answered || w.echo[h.pending])
}

// learnOn records what a login on some hosts has shown.
func (w *restarts) learnOn(on []string, version int, wasCurrent bool) {
	exposed := slices.ContainsFunc(exposedPasswords(w.rec), func(p Password) bool { return p.Version == version })
	inForce := isVersion(w.rec.Current, version)
	for _, name := range on {
		switch h := w.hosts[slices.Index(servers, name)]; {
		case wasCurrent:
			h.confirmed = 0
			w.seen["current proved on one host"]++
		case exposed:
			h.confirmed = version
			w.seen["proved on one host"]++
		}
	}
	if inForce && !wasCurrent {
		w.seen["proved on the last host"]++
		w.inForceEverywhere()
		w.maxExposed = max(w.maxExposed, w.rec.Current.Version)
	}
}

// restartOneByOne: the engine restarts the hosts one after the other, and logs in to each, or to none.
func (w *restarts) restartOneByOne() {
	n, logsIn := w.rec.Next, w.chance(60)
	delete(w.refused, n.Value)
	for _, h := range w.hosts {
		if h.confirmed == n.Version {
			continue
		}
		w.start(h)
		on := []string{w.nameOf(h)}
		switch {
		case logsIn && h.actual != n.Value:
			return
		case logsIn:
			h.setElsewhere, h.loggedIn, h.unseen = false, true, false
			w.do(on[0]+" was restarted and proved", func(r Record) Record { return r.ProvedOn(n.Version, on, w.all(), w.now, margin) })
		default:
			w.do(on[0]+" was restarted", func(r Record) Record { return r.RestartedOn(n.Version, on, w.all(), w.now) })
		}
		h.confirmed = n.Version
		if w.rec.Next == nil {
			w.seen[map[bool]string{true: "proved on the last host", false: "restarted one by one"}[logsIn]]++
			w.inForceEverywhere()
			w.maxExposed = max(w.maxExposed, w.rec.Current.Version)
			return
		}
		if w.chance(10) {
			return
		}
	}
}
