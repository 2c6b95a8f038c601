package modelcheck

import (
	"context"
	"testing/synctest"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// rest is I7: all troubles end, and time passes. Every role comes to rest without anybody's asking, and can be rotated
// then. What people alone know, they say.
func (w *world) rest() {
	w.line("all troubles end")
	w.mu.Lock()
	w.trouble, w.node.death = healthy, nil
	for _, s := range w.ordered {
		s.weather = calm
	}
	w.mu.Unlock()
	w.settle(3 * time.Minute)
	for _, s := range w.ordered {
		if w.disk.entries["config/"+s.name] != nil {
			w.mendCredential(s)
		}
	}
	for _, acc := range w.accounts {
		w.ask(acc, "go on with", false, func(ctx context.Context, n *node) (*rotation.Report, error) {
			return n.engine.Update(ctx, n.store, acc.role, func(role *rotation.Role) (rotation.Options, provider.Settings, error) {
				options := role.Options
				options.Disabled = false
				return options, nil, nil
			})
		})
	}
	for range 6 {
		w.settle(30 * time.Minute)
	}
	for _, acc := range w.accounts {
		if acc.state != "" && w.violation == "" {
			w.atRest(acc)
			w.works(acc)
		}
	}
}

// mendCredential: a person writes what works, and comes again where the engine asks to wait.
func (w *world) mendCredential(s *system) {
	for range 6 {
		if w.violation != "" || w.writeConnection(w.accountOf(s), "write the right credential of", rotation.Patch{Settings: provider.Settings{"key": s.key}}) {
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

// settle lets time pass, and looks.
func (w *world) settle(d time.Duration) {
	if w.violation != "" {
		return
	}
	w.pass(d)
	synctest.Wait()
	w.poll()
	w.check()
}

// stuck: so many passwords are open that a person has to say which one is in force. With an old password each try needs a
// new one.
func (acc *account) stuck(rec credential.Record) bool {
	return len(rec.Candidates) > credential.MaxCandidates || acc.system.spec.old && tooMany(rec)
}

// tooMany: no other password can be made before a person has said which one is in force.
func tooMany(rec credential.Record) bool {
	open := len(rec.Candidates)
	if rec.Next.Exposed() {
		open++
	}
	return open > credential.MaxCandidates
}

// atRest tells whether nothing is left to be done without a person.
func (w *world) atRest(acc *account) {
	w.mu.Lock()
	defer w.mu.Unlock()
	role := w.role(acc.role)
	rec := role.Record
	switch state := credential.State(acc.state); {
	case state == credential.StateUncertain && !acc.stuck(rec), state == credential.StateAccepted:
		w.fail("I7: %s is %s still (%s; %s, again %s): %s", acc.role, state, role.Retry.Last, role.Retry.NextAttempt, w.now(), acc.record(role))
	case rec.Unfinished() && state != credential.StateDrifted && !acc.stuck(rec):
		w.fail("I7: %s is %s, and something is left to be done: %s", acc.role, state, role.Retry.Last)
	case state == credential.StateAssumed && !acc.logsIn(rec.Current.Value) && !acc.explained(rec):
		w.fail("I7: %s is %s with %s, and %s holds another", acc.role, state, acc.label(rec.Current.Value), acc.login)
	}
}

// logsIn tells whether the password works everywhere.
func (acc *account) logsIn(password string) bool {
	acc.advance(acc.w.now())
	return acc.truth() == password
}

// explained tells whether something that the engine cannot know, or says itself, keeps the password from working.
func (acc *account) explained(rec credential.Record) bool {
	open := len(rec.Candidates) > 0 || acc.forgot || acc.misled || acc.overtaken
	for _, p := range acc.parts {
		open = open || p.stranger
	}
	for _, p := range rec.History {
		open = open || p.Open
	}
	return open || rec.Previous != nil && rec.Previous.Open
}

// works rotates the role once more, and sees that what creds gives logs in then.
func (w *world) works(acc *account) {
	w.mu.Lock()
	rec := w.role(acc.role).Record
	needsPerson := acc.stuck(rec) || acc.state == string(credential.StateDrifted) || acc.system.spec.old && !acc.logsIn(orZero(rec.Current).Value)
	w.mu.Unlock()
	if needsPerson || acc.system.spec.restart {
		w.sayAll(acc)
	}
	w.rotate(acc, 0)
	w.settle(2 * time.Minute)
	if acc.system.spec.restart {
		w.mu.Lock()
		for _, p := range acc.parts {
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
	view := acc.seen.report.View
	if view.Password == nil || !acc.logsIn(view.Password.Value) {
		w.fail("I7: after all troubles have ended and %s was rotated, it is %s and what creds gives does not log in", acc.role, view.State)
	}
}

// sayAll: a person finds out what works where, and says so. Where too much is open and servers have different passwords,
// all get one by hand.
func (w *world) sayAll(acc *account) {
	w.mu.Lock()
	rec := w.role(acc.role).Record
	if tooMany(rec) && acc.truth() == "" {
		byHand := acc.foreign()
		for _, p := range acc.parts {
			acc.start(p, false)
			p.held, p.stranger = byHand, true
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

func orZero(c *credential.Current) credential.Current {
	if c == nil {
		return credential.Current{}
	}
	return *c
}
