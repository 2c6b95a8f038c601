package modelcheck

import (
	"context"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/verify"
)

// seen is what the engine was told by a login. It counts once it is stored.
type seen struct {
	part     *part
	password string
	verdict  provider.Verdict
	at       time.Time
}

// proved is the last password that a login has shown on a part, as stored, and when.
type proved struct {
	password string
	at       time.Time
}

func optionsKey(acc *account) string { return store.OptionsPrefix + acc.role }

// login makes a login over SSH, for verify.Login.Prove.
func (n *node) login(ctx context.Context, l verify.Login) provider.Proof {
	n.w.mu.Lock()
	d := n.w.byAddress[l.Address]
	n.w.mu.Unlock()
	fits := func() bool { return strings.Contains(strings.Join(l.HostKeys, "\n"), d.hostKey()) }
	if d == nil || d.acc.login != l.Username {
		n.w.log("login to %s", l.Address)
		n.w.mu.Lock()
		defer n.w.mu.Unlock()
		n.w.fail("P2: a login to %s as %s is for no part of that account", l.Address, l.Username)
		return provider.Proof{Verdict: provider.CannotTell, Unsent: true}
	}
	return n.knock(ctx, d, l.Password, fits)
}

// Prove makes a login through the remote system's API.
func (c *client) Prove(ctx context.Context, target provider.Target, password string) (provider.Result, provider.Proof) {
	w := c.system.w
	w.mu.Lock()
	none := provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: "no login was made"}
	if c.node.dead || ctx.Err() != nil {
		w.mu.Unlock()
		return provider.Result{Outcome: provider.Unknown}, none
	}
	result, acc := c.answer(), w.byLogin[target.Username]
	w.mu.Unlock()
	if result.Outcome != provider.Applied {
		return result, none
	}
	return result, c.node.knock(ctx, acc.api, password, func() bool { return true })
}

// knock makes a login. fits: the host key is the right one.
func (n *node) knock(ctx context.Context, d *door, password string, fits func() bool) provider.Proof {
	w, acc := n.w, d.acc
	w.mu.Lock()
	unsent := provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: "the host key is another one"}
	if n.dead || ctx.Err() != nil {
		w.mu.Unlock()
		return unsent
	}
	if n.crashes(onArrival, acc.login) {
		if d.rng.IntN(2) == 0 && fits() {
			d.answer(password)
		}
		w.mu.Unlock()
		return unsent
	}
	d.checkLogin(password, w.now())
	proof, delay := unsent, time.Duration(0)
	if fits() {
		proof, delay = d.answer(password)
	}
	acc.loggingIn++
	w.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-n.gone:
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	acc.loggingIn--
	if ctx.Err() != nil {
		proof = provider.Proof{Verdict: provider.CannotTell, Reason: "no answer in time"}
	}
	if n.crashes(onAnswer, acc.login) {
		return provider.Proof{Verdict: provider.CannotTell}
	}
	acc.logins++
	w.cover.count(acc.storedColumns(w.now()), "login: "+string(proof.Verdict))
	w.note("   login to %s (%s) with %s: %s", acc.login, d.part.name, acc.label(password), proof.Verdict)
	if proof.Verdict != provider.Refused {
		d.chain = nil
	} else {
		d.chain = append(d.chain, password)
	}
	if d == acc.api && proof.Verdict == provider.Refused { // without a login that worked, the engine does not believe that
		return proof
	}
	acc.seen = append(acc.seen, seen{d.part, password, proof.Verdict, w.now()})
	return proof
}

// learn notes what logins have shown, once the engine has stored it: Proofs.Time tells that. It returns them. w.mu is held.
func (acc *account) learn(after *role.Role) (stored []seen) {
	list := acc.seen
	acc.seen = nil
	known := after.Record.List()
	for _, s := range list {
		if s.at.After(after.Proofs.Time) || !holds(known, s.password) { // it was not stored, or was about a statement that was not
			continue
		}
		stored = append(stored, s)
		switch s.verdict {
		case provider.Works:
			s.part.proved = proved{s.password, s.at}
			if s.part.held == s.password {
				s.part.foreign = false
			}
			delete(acc.refused, s.password)
			delete(acc.wrong, s.password)
			delete(acc.noLogin, noLogin{s.password, s.part})
			acc.provedEverywhere(s.password)
		case provider.Refused:
			acc.noLogin[noLogin{s.password, s.part}] = true
		default: // it says nothing
		}
	}
	return stored
}

// noLogin is a password that a part has refused.
type noLogin struct {
	password string
	part     *part
}

// provedEverywhere notes that earlier requests can have no effect any more, if a password was proved on all parts after
// them. w.mu is held.
func (acc *account) provedEverywhere(password string) {
	first := acc.parts[0].proved.at
	for _, p := range acc.parts {
		if p.proved.password != password {
			return
		}
		if p.proved.at.Before(first) {
			first = p.proved.at
		}
	}
	if acc.truth() == password {
		acc.misled = false
	}
	acc.carriedOut(password, first)
	for _, a := range acc.attempts {
		if a.deadline.Add(acc.margin()).Before(first) {
			a.confirmed, a.proved = true, true
		} else if a.password == password && !a.repeated { // as if it had been confirmed
			a.later, a.repeated = a.later+1, true
		}
	}
	for _, p := range acc.parts {
		if a := p.waiting; a != nil && a.deadline.Add(acc.margin()).Before(first) {
			a.confirmed, a.proved = true, true
		}
	}
}

// carriedOut notes that the only unresolved request with a password was carried out: logins on all parts have shown that,
// the first one at this time. w.mu is held.
func (acc *account) carriedOut(password string, first time.Time) {
	var open []*attempt
	for _, a := range acc.attempts {
		if a.password == password && !a.settled {
			open = append(open, a)
		}
	}
	if len(open) == 1 && !open[0].arrived.After(first) {
		open[0].settled, open[0].proved = true, true
	}
}

// forgetLogins forgets what logins have shown that is not stored: storage has failed, so it will not be. w.mu is held.
func (w *world) forgetLogins() {
	for _, acc := range w.accounts {
		acc.seen = nil
	}
}
