package modelcheck

import (
	"context"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

// manyOpen is how many newer passwords that may be valid the history must hold before the engine drops an older one
// (credential.Record.Trim).
const manyOpen = 8

func roleKey(acc *account) string { return store.RolePrefix + acc.role }

func holds(list []credential.Listed, password string) bool {
	return slices.ContainsFunc(list, func(l credential.Listed) bool { return l.Value == password })
}

// checkSending checks I2 and I5 for a request that arrives, and that it may be sent automatically. It returns the state of
// the role before the request.
func (acc *account) checkSending(a *attempt, now time.Time) string {
	w := acc.w
	r := w.role(acc.role)
	a.startedBy(acc, now)
	if r == nil {
		w.fail("I2: %s is sent to %s, and storage has no role", acc.label(a.password), acc.login)
		return ""
	}
	next := r.Record.Next
	if next != nil {
		a.version = next.Version
	}
	acc.checkAutomatic(a, r, now)
	a.first = !acc.touched[a.password]
	acc.touched[a.password] = true
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
			w.fail("I5: %s is sent to %s while a request with %s may still be in flight", acc.label(a.password), acc.login, acc.label(other.password))
		}
	}
	if acc.inFlight > 0 && !w.node.dead && slices.ContainsFunc(acc.attempts, func(o *attempt) bool { return o.node == a.node && !o.answered && o.result.Outcome == "" }) {
		w.fail("I5: two requests to %s overlap", acc.login)
	}
	return string(r.Record.View(now).State)
}

// check compares what Vault says with the truth, for every account.
func (w *world) check() {
	reader := &nodeStorage{w: w, node: w.node, check: true}
	for _, acc := range w.accounts {
		report, err := acc.creds(reader)
		w.mu.Lock()
		now := w.now()
		acc.advance(now)
		acc.state = ""
		if err == nil {
			acc.state = string(report.View.State)
			acc.check(report, now)
		} else if w.disk.entries[store.RolePrefix+acc.role] != nil {
			w.fail("%s cannot be read: %s", acc.role, err)
		}
		acc.prune(now)
		w.mu.Unlock()
	}
}

// lastRead is what creds said last. It stays the same until something happens.
type lastRead struct {
	node   *node
	at     time.Time
	writes int
	report *roles.Report
	err    error
}

// creds reads the role as creds does.
func (acc *account) creds(reader *nodeStorage) (*roles.Report, error) {
	key := store.RolePrefix + acc.role
	r := lastRead{node: reader.node, at: acc.w.now(), writes: acc.w.disk.writes[key]}
	if last := acc.read; last.node == r.node && last.at.Equal(r.at) && last.writes == r.writes && (last.report != nil || acc.w.disk.entries[key] == nil) {
		return last.report, last.err
	}
	r.report, r.err = reader.node.engine.Read(context.Background(), reader, acc.role)
	acc.read = r
	return r.report, r.err
}

// check checks I1, I3 and I4 for one account.
func (acc *account) check(report *roles.Report, now time.Time) {
	w := acc.w
	stored := *w.role(acc.role)
	stored.Refresh(now)
	record, list := stored.Record, stored.Record.List()
	for _, p := range acc.parts {
		if !p.foreign && !acc.kept(record, list, p.held) {
			w.fail("I1: %s (%s) holds %s, which is lost", acc.login, p.name, acc.label(p.held))
		}
		if a := p.waiting; a != nil && !a.orphan && !p.others && !acc.kept(record, list, a.password) {
			w.fail("I3: %s waits for a restart of %s (%s), and is lost", acc.label(a.password), acc.login, p.name)
		}
	}
	for _, f := range acc.effects {
		if f.queued && !f.fails && !f.attempt.orphan && !acc.kept(record, list, f.attempt.password) {
			w.fail("I3: %s is in the queue of %s, and is lost", acc.label(f.attempt.password), acc.login)
		}
	}
	for _, a := range acc.attempts {
		if acc.mayFollow(a, now) && !acc.kept(record, list, a.password) {
			w.fail("I3: %s was sent to %s with an unknown outcome, and is lost", acc.label(a.password), acc.login)
		}
	}
	acc.checkView(record, report.View, now)
}

// mayFollow reports whether the request may still have an effect or has had one, for all that the engine can know.
func (acc *account) mayFollow(a *attempt, now time.Time) bool {
	return !a.settled && !a.orphan && !acc.over(a, now)
}

// kept reports whether a password that may be valid is in the record, or was dropped by the one rule for that.
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

// checkView checks I4 and P3.
func (acc *account) checkView(rec credential.Record, view credential.View, now time.Time) {
	w := acc.w
	if view.Password != nil && acc.refused[view.Password.Value] == view.Password.Version {
		w.fail("I4: creds returns %s as the password of %s, which refused it", acc.label(view.Password.Value), acc.login)
	}
	if view.Password != nil && acc.wrong[view.Password.Value] && (view.State == credential.StateActive || view.State == credential.StateAssumed) {
		w.fail("I4: %s is %s with %s, which %s refused as the old password", acc.role, view.State, acc.label(view.Password.Value), acc.login)
	}
	acc.checkProved(view)
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
	sending := "" // readers see nothing of a first request in flight
	if n := rec.Next; n != nil && n.Phase == credential.Sending && !now.After(n.SentUntil) {
		sending = n.Value
	}
	for _, p := range acc.parts {
		if !p.foreign && p.held != view.Password.Value && p.held != sending {
			w.fail("I4: %s is active with %s, and %s (%s) holds %s", acc.role, acc.label(view.Password.Value), acc.login, p.name, acc.label(p.held))
		}
	}
	for _, a := range acc.attempts {
		if a.password != view.Password.Value && a.password != sending && acc.mayFollow(a, now) {
			w.fail("I4: %s is active with %s, and the request with %s may still have an effect", acc.role, acc.label(view.Password.Value), acc.label(a.password))
		}
	}
}
