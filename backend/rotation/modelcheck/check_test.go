package modelcheck

import (
	"context"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// manyOpen is how many newer passwords that may be valid there have to be before the engine gives an older one up
// (credential.Record.Trim).
const manyOpen = 8

func holds(list []credential.Listed, password string) bool {
	return slices.ContainsFunc(list, func(l credential.Listed) bool { return l.Value == password })
}

// checkSending holds a request that has arrived against I2 and I5, and returns the role's state before it.
func (acc *account) checkSending(a *attempt, now time.Time) string {
	w := acc.w
	role := w.role(acc.role)
	if role == nil {
		w.fail("I2: %s is sent to %s, and there is no role in storage", acc.label(a.password), acc.login)
		return ""
	}
	next := role.Record.Next
	if next != nil {
		a.version = next.Version
	}
	switch {
	case next == nil || next.Value != a.password || next.Phase != credential.Sending:
		w.fail("I2: %s is sent to %s before it is stored as being sent", acc.label(a.password), acc.login)
	case next.SentUntil.Before(a.deadline):
		w.fail("I2: the stored deadline of %s on %s is before that of the request", acc.label(a.password), acc.login)
	}
	for _, other := range acc.attempts {
		if other.password == a.password || other.settled || other.old != "" && acc.over(other, now) {
			continue
		}
		if now.Before(other.deadline.Add(acc.margin())) {
			w.fail("I5: %s is sent to %s while %s may still be on its way", acc.label(a.password), acc.login, acc.label(other.password))
		}
	}
	if acc.underWay > 0 && !w.node.dead && slices.ContainsFunc(acc.attempts, func(o *attempt) bool { return o.node == a.node && !o.answered && o.result.Outcome == "" }) {
		w.fail("I5: two requests to %s overlap", acc.login)
	}
	return string(role.Record.View(now).State)
}

// check holds what Vault says against the truth, for every account.
func (w *world) check() {
	reader := &handle{w: w, node: w.node, well: true}
	for _, acc := range w.accounts {
		report, err := acc.read(reader)
		w.mu.Lock()
		now := w.now()
		acc.advance(now)
		acc.state = ""
		if err == nil {
			acc.state = string(report.View.State)
			acc.check(report, now)
		} else if w.disk.entries[rolePrefix+acc.role] != nil {
			w.fail("%s cannot be read: %s", acc.role, err)
		}
		acc.prune(now)
		w.mu.Unlock()
	}
}

// seen is what creds said, which stays the same until something happens.
type seen struct {
	node   *node
	at     time.Time
	writes int
	report *rotation.Report
	err    error
}

func (acc *account) read(reader *handle) (*rotation.Report, error) {
	s := seen{node: reader.node, at: acc.w.now(), writes: acc.w.disk.writes[rolePrefix+acc.role]}
	if last := acc.seen; last.node == s.node && last.at.Equal(s.at) && last.writes == s.writes && (last.report != nil || acc.w.disk.entries[rolePrefix+acc.role] == nil) {
		return last.report, last.err
	}
	s.report, s.err = reader.node.engine.Read(context.Background(), reader, acc.role)
	acc.seen = s
	return s.report, s.err
}

// check holds one account against I1, I3 and I4.
func (acc *account) check(report *rotation.Report, now time.Time) {
	w, list := acc.w, report.Role.Record.List()
	for _, p := range acc.parts {
		if !p.stranger && !acc.kept(report.Role.Record, list, p.held) {
			w.fail("I1: %s (%s) holds %s, which is lost", acc.login, p.name, acc.label(p.held))
		}
		if a := p.waiting; a != nil && !a.orphan && !acc.kept(report.Role.Record, list, a.password) {
			w.fail("I3: %s waits for the next start of %s (%s), and is lost", acc.label(a.password), acc.login, p.name)
		}
	}
	for _, f := range acc.flights {
		if f.queued && !f.fails && !f.attempt.orphan && !acc.kept(report.Role.Record, list, f.attempt.password) {
			w.fail("I3: %s is in the queue of %s, and is lost", acc.label(f.attempt.password), acc.login)
		}
	}
	for _, a := range acc.attempts {
		if acc.mayFollow(a, now) && !acc.kept(report.Role.Record, list, a.password) {
			w.fail("I3: %s was sent to %s, nobody knows what became of it, and it is lost", acc.label(a.password), acc.login)
		}
	}
	acc.checkView(report.Role.Record, report.View, now)
}

// mayFollow tells whether, for all that the engine can know, the request may still have an effect or has had one.
func (acc *account) mayFollow(a *attempt, now time.Time) bool {
	return !a.settled && !a.orphan && !acc.over(a, now)
}

// kept tells whether a password that may be valid is in the record, or was given up by the one rule that there is for it.
func (acc *account) kept(rec credential.Record, list []credential.Listed, password string) bool {
	if holds(list, password) || acc.misled {
		return true
	}
	newer := 0
	for _, p := range rec.History {
		if p.Open {
			newer++
		}
	}
	return newer >= manyOpen
}

// checkView is I4.
func (acc *account) checkView(rec credential.Record, view credential.View, now time.Time) {
	w := acc.w
	if view.Password != nil && acc.refused[view.Password.Value] == view.Password.Version {
		w.fail("I4: creds gives %s as the password of %s, which refused it", acc.label(view.Password.Value), acc.login)
	}
	if view.Password != nil && acc.wrong[view.Password.Value] && (view.State == credential.StateActive || view.State == credential.StateAssumed) {
		w.fail("I4: %s is %s with %s, which %s said is wrong", acc.role, view.State, acc.label(view.Password.Value), acc.login)
	}
	if view.Password == nil && view.State != credential.StateNone && view.State != credential.StateUncertain && view.State != credential.StateRestartRequired {
		w.fail("%s is %s without a password", acc.role, view.State)
	}
	pending := view.State == credential.StateAccepted || view.State == credential.StateRestartRequired || view.State == credential.StateUncertain
	if view.Next != nil && !pending {
		w.fail("%s is %s with a next password", acc.role, view.State)
	}
	if view.State != credential.StateActive {
		return
	}
	sending := "" // readers see nothing of a first request that is under way
	if n := rec.Next; n != nil && n.Phase == credential.Sending && !now.After(n.SentUntil) {
		sending = n.Value
	}
	for _, p := range acc.parts {
		if !p.stranger && p.held != view.Password.Value && p.held != sending {
			w.fail("I4: %s is active with %s, and %s (%s) holds %s", acc.role, acc.label(view.Password.Value), acc.login, p.name, acc.label(p.held))
		}
	}
	for _, a := range acc.attempts {
		if a.password != view.Password.Value && a.password != sending && acc.mayFollow(a, now) {
			w.fail("I4: %s is active with %s, and the request with %s may follow", acc.role, acc.label(view.Password.Value), acc.label(a.password))
		}
	}
}
