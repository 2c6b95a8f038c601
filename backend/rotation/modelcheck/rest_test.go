package modelcheck

import (
	"testing/synctest"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// rest is I7. All faults end, the credentials are mended and the mount is not frozen: every role settles without a request,
// and can be rotated then. Operators say what only they can know.
func (w *world) rest() {
	w.log("all faults end")
	w.setFault(noFault)
	w.mu.Lock()
	w.node.crash = nil
	for _, s := range w.ordered {
		s.weather = calm
	}
	for _, acc := range w.accounts {
		if acc.opens = w.chance(80); acc.opens {
			acc.openDoors()
		}
	}
	w.mu.Unlock()
	w.settle(3 * time.Minute)
	for _, s := range w.ordered {
		if w.disk.entries[store.ConnectionPrefix+s.name] != nil {
			w.mendCredential(s)
		}
	}
	w.endFreeze(w.accounts[0])
	for _, acc := range w.accounts {
		if acc.opens && provesOverSSH(w, acc) {
			w.trustDoors(acc)
		}
	}
	for _, acc := range w.accounts {
		w.updateOptions(acc, "enable the automation of", func(o *role.Options) { o.Disabled = false })
	}
	w.settle(2 * time.Hour)
	w.checkUpToDate()
	for _, acc := range w.accounts {
		w.updateOptions(acc, "remove the schedule of", noTiming)
	}
	for range 6 {
		w.settle(30 * time.Minute)
	}
	for _, acc := range w.accounts {
		if acc.state != "" && w.violation == "" {
			w.checkSettled(acc)
			w.checkWorks(acc)
		}
	}
}

// mendCredential writes the right credential, and tries again later where the engine asks for that, whatever it risks.
func (w *world) mendCredential(s *system) {
	for i := range 6 {
		patch := connection.Patch{Settings: provider.Settings{"key": s.key, "allow_restart": "true"}, Force: i > 0}
		if w.violation != "" || w.writeConnection(w.accountOf(s), "write the right credential of", patch) {
			return
		}
		w.settle(7 * time.Minute)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail("I7: the right credential of %s cannot be written", s.name)
}

func (w *world) accountOf(s *system) *account {
	for _, acc := range w.accounts {
		if acc.system == s {
			return acc
		}
	}
	return nil
}

// settle lets time pass, and checks all accounts.
func (w *world) settle(d time.Duration) {
	if w.violation != "" {
		return
	}
	w.pass(d)
	synctest.Wait()
	w.look()
}

// stuck reports whether so many passwords are open that an operator has to say which one is in force. Where changes present
// the old password, each attempt may need another new one.
func (acc *account) stuck(rec credential.Record) bool {
	return len(rec.Candidates) > credential.MaxCandidates || acc.system.spec.old && tooMany(rec)
}

// tooMany reports whether no other password can be made before an operator has said which one is in force.
func tooMany(rec credential.Record) bool {
	open := len(rec.Candidates)
	if rec.Next.Exposed() {
		open++
	}
	return open > credential.MaxCandidates
}

// checkUpToDate checks that no role is late, after hours in which nothing went wrong.
func (w *world) checkUpToDate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for _, acc := range w.accounts {
		r := w.role(acc.role)
		if r == nil || r.Options.RotationMode != role.ModeAuto || !windowOpen(r.Options, now) || !windowOpen(r.Options, now.Add(-patience)) {
			continue
		}
		due, state := acc.due(r), r.Record.View(now).State
		if !due.IsZero() && due.Before(now.Add(-patience)) && !r.Record.Unfinished() && !role.Waits(state) && state != credential.StateDrifted {
			w.fail("I7: %s is late: it was due at %s, and nothing was in the way for hours", acc.role, due)
		}
	}
}

// checkSettled checks that nothing is left to do without an operator.
func (w *world) checkSettled(acc *account) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.role(acc.role)
	rec := r.Record
	acc.checkRecovered(r)
	acc.checkRestarted(r)
	switch state := credential.State(acc.state); {
	case rec.Next.Unproved() && !acc.honest(r), rec.Contradicted() && !acc.logsIn(rec.Next.Value): // an operator has to say what is in force
	case state == credential.StateUncertain && !acc.stuck(rec), state == credential.StateAccepted && !role.StaysQueued(r):
		w.fail("I7: %s is still %s (%s; %s, next attempt %s): %s", acc.role, state, r.Retry.Last, w.now(), r.Retry.NextAttempt, acc.describe(r))
	case rec.Unfinished() && state != credential.StateDrifted && !acc.stuck(rec):
		w.fail("I7: %s is %s, and something is left to do: %s", acc.role, state, r.Retry.Last)
	case state == credential.StateAssumed && !acc.logsIn(rec.Current.Value) && !acc.explained(rec):
		w.fail("I7: %s is %s with %s, and %s holds another password", acc.role, state, acc.label(rec.Current.Value), acc.login)
	}
}

// logsIn reports whether the password works on all parts.
func (acc *account) logsIn(password string) bool {
	acc.advance(acc.w.now())
	return acc.truth() == password
}

// explained reports whether the password may not work for a reason that the engine cannot know, or reports itself.
func (acc *account) explained(rec credential.Record) bool {
	open := len(rec.Candidates) > 0 || acc.forgot || acc.misled || acc.overtaken
	for _, p := range acc.parts {
		open = open || p.foreign
	}
	for _, p := range rec.History {
		open = open || p.Open
	}
	return open || rec.Previous != nil && rec.Previous.Open
}

// checkWorks rotates the role once more, and checks that the password that creds returns logs in.
func (w *world) checkWorks(acc *account) {
	if !acc.opens && proves(w, acc) {
		w.updateOptions(acc, "prove nothing any more on", func(o *role.Options) { *o = withoutProof(*o) })
	}
	w.mu.Lock()
	r := w.role(acc.role)
	rec := r.Record
	needsOperator := acc.state == string(credential.StateAccepted) || rec.Next.Unproved() || acc.stuck(rec) || acc.state == string(credential.StateDrifted) || acc.system.spec.old && !acc.logsIn(orZero(rec.Current).Value)
	w.mu.Unlock()
	if needsOperator || acc.system.spec.restart {
		w.confirmAll(acc)
	}
	w.rotate(acc, 0)
	w.settle(2 * time.Minute)
	if credential.State(acc.state) == credential.StateAccepted { // the budget of logins may be used up until then
		w.settle(20 * time.Minute)
	}
	w.checkRestartsItself(acc)
	if acc.system.spec.restart {
		w.mu.Lock()
		for _, p := range acc.parts {
			if p.isDown() {
				acc.bringBack(p)
			}
			acc.start(p, false)
		}
		w.mu.Unlock()
		w.confirmTruth(acc)
		w.settle(time.Second)
	}
	if w.violation != "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	view := acc.read.report.View
	if view.Password == nil || !acc.logsIn(view.Password.Value) {
		w.fail("I7: after all faults have ended and %s was rotated, it is %s and the password that creds returns does not log in", acc.role, view.State)
	}
}

// confirmAll confirms what works on each server. Where too many passwords are open and the servers hold different ones, all
// of them get one by hand first.
func (w *world) confirmAll(acc *account) {
	w.mu.Lock()
	rec := w.role(acc.role).Record
	if tooMany(rec) && acc.truth() == "" {
		byHand := w.foreignPassword()
		for _, p := range acc.parts {
			acc.start(p, false)
			p.held, p.foreign = byHand, true
		}
	}
	same := acc.truth() != ""
	w.mu.Unlock()
	if same {
		w.confirmTruth(acc)
		return
	}
	for _, p := range acc.parts {
		w.confirmServer(acc, p)
	}
}

// withoutProof are the options without those of a proof.
func withoutProof(o role.Options) role.Options {
	o.Verify, o.VerifyAddress, o.VerifyHostKey, o.VerifyPeriod, o.OnDrift = "", "", "", 0, role.DriftReport
	return o
}

func orZero(c *credential.Current) credential.Current {
	if c == nil {
		return credential.Current{}
	}
	return *c
}
