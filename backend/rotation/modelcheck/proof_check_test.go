package modelcheck

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// drawProof draws whether and how the passwords of a role are proved.
func (w *world) drawProof(acc *account, o *role.Options) {
	o.Verify, o.VerifyAddress, o.VerifyHostKey, o.VerifyPeriod, o.OnDrift, o.VerifyTLS = "", "", "", 0, role.DriftReport, true
	if !w.chance(60) {
		return
	}
	w.drawDrift(o)
	if acc.system.spec.api && w.chance(50) {
		o.Verify = provider.LoginWebCLI
		return
	}
	o.Verify = provider.LoginSSH
	var addresses []string
	for _, p := range acc.parts {
		addresses = append(addresses, acc.ofPart(p)+p.door.address)
	}
	o.VerifyAddress, o.VerifyHostKey = strings.Join(addresses, "\n"), acc.hostKeys()
}

// drawDrift draws when a password at rest is proved, and what follows from a refusal.
func (w *world) drawDrift(o *role.Options) {
	o.VerifyPeriod = []int{0, 3600, 7200}[w.rng.IntN(3)]
	o.OnDrift = []string{role.DriftReport, role.DriftRecover}[w.rng.IntN(2)]
}

// ofPart is how an entry for a part begins.
func (acc *account) ofPart(p *part) string {
	if acc.system.spec.parts == 0 {
		return ""
	}
	return p.name + "="
}

// hostKeys are those that the doors present now.
func (acc *account) hostKeys() string {
	var keys []string
	for _, p := range acc.parts {
		keys = append(keys, acc.ofPart(p)+p.door.hostKey())
	}
	return strings.Join(keys, "\n")
}

// proofOf is what the story calls how passwords are proved.
func proofOf(o role.Options) string {
	if !o.Proves() {
		return "no proof"
	}
	return fmt.Sprintf("verify %s every %d, on_drift %s", o.Verify, o.VerifyPeriod, o.OnDrift)
}

// checkLogin is P2 for a login that begins. w.mu is held.
func (d *door) checkLogin(password string, now time.Time) {
	acc, w := d.acc, d.acc.w
	r := w.role(acc.role)
	if r == nil {
		w.fail("P2: a login to %s is made for no role", acc.login)
		return
	}
	if writes := w.disk.writes[roleKey(acc)]; writes != d.writes {
		d.chain, d.writes = nil, writes
	}
	if acc.stated == password { // an operator says that it is in force
		return
	}
	if !holds(r.Record.List(), password) {
		w.fail("P2: a login to %s is made with %s, which is not in the record", acc.login, acc.label(password))
	}
	n := w.node
	if d.chain == nil && n.operators[acc]+n.readers[acc] == 0 { // a request may have begun a change that is not stored yet
		if first := d.first(r); first != nil && !slices.Contains(first, password) {
			w.fail("P2: the first login to %s (%s) is made with %s, and not with the password that is believed in force", acc.login, d.part.name, acc.label(password))
		}
	}
}

// first returns the passwords of which one must be tried first; nil: any. w.mu is held.
func (d *door) first(r *role.Role) []string {
	rec := r.Record
	next, current := rec.Next, rec.Current
	switch {
	case r.Restarts.Part != "" || rec.Exposed() && !next.Staged() && !next.Unproved():
		return nil
	case next.Unproved():
		return []string{next.Value}
	case current == nil || current.Refused:
		return nil
	}
	list := []string{current.Value}
	for _, l := range rec.List() {
		known := l.Version == rec.VersionOn(d.part.name)
		refusedBefore := next.Staged() && l.Version == next.Version && r.Proofs.Verdict == provider.Refused
		if known || refusedBefore {
			list = append(list, l.Value)
		}
	}
	return list
}

// checkProved is P3 for what creds returns. w.mu is held.
func (acc *account) checkProved(view credential.View) {
	if view.State != credential.StateActive {
		return
	}
	for _, p := range acc.parts {
		if acc.noLogin[noLogin{view.Password.Value, p}] {
			acc.w.fail("P3: %s is active with %s, and the last login with it to %s (%s) was refused", acc.role, acc.label(view.Password.Value), acc.login, p.name)
		}
	}
}

// honest reports whether all logins to the account show which password works. w.mu is held.
func (acc *account) honest(r *role.Role) bool {
	if r.Options.Verify == provider.LoginWebCLI {
		return acc.api.mood == isOpen || acc.api.mood == isSlow
	}
	return !slices.ContainsFunc(acc.parts, func(p *part) bool { return !p.door.honest() })
}
