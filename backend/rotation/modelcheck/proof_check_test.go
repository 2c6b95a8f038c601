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
	acc.drawDrift(o)
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
func (acc *account) drawDrift(o *role.Options) {
	w, choices := acc.w, []string{role.DriftReport, role.DriftRecover}
	if !acc.system.spec.old {
		choices = append(choices, role.DriftRotate)
	}
	o.VerifyPeriod = []int{0, 3600, 7200}[w.rng.IntN(3)]
	o.OnDrift = choices[w.rng.IntN(len(choices))]
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
	settled := *r
	settled.Refresh(now)
	r = &settled
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
		return r.Proofs.Worked && (acc.api.mood == isOpen || acc.api.mood == isSlow) // before a login has worked, a refusal says nothing
	}
	return !slices.ContainsFunc(acc.parts, func(p *part) bool { return !p.door.honest() })
}

// checkBelieved is P3 for a write that stores what logins have shown. w.mu is held.
func (acc *account) checkBelieved(before, after *role.Role, round []seen, now time.Time) {
	works := map[string]map[*part]bool{}
	for _, s := range round {
		if s.verdict == provider.Works {
			if works[s.password] == nil {
				works[s.password] = map[*part]bool{}
			}
			works[s.password][s.part] = true
		}
	}
	view := after.Record.View(now)
	for password, on := range works {
		if len(on) == len(acc.parts) && (view.Password == nil || view.Password.Value != password) {
			acc.w.fail("P3: logins have shown that %s is in force on %s, and creds returns another password", acc.label(password), acc.login)
		}
	}
	if before == nil {
		return
	}
	was, is := before.Record, after.Record
	columns := append(acc.conditions(now), string(was.View(now).State))
	count := func(event string, happened bool) {
		if happened {
			acc.w.cover.count(columns, event)
		}
	}
	current := is.Current != nil && (was.Current == nil || was.Current.Version != is.Current.Version) && len(works[is.Current.Value]) > 0
	count(proofWaits, after.Proofs.Time.Equal(now) && after.Proofs.Verdict == provider.CannotTell && strings.Contains(after.Proofs.Reason, "could block Vault"))
	if len(round) == 0 {
		return
	}
	count(driftFound, was.Current != nil && !was.Current.Refused && is.Current != nil && is.Current.Refused)
	count(driftRecovered, current && was.Current != nil && was.Current.Refused && !was.Exposed())
	count(proofSettles, current && was.View(now).State == credential.StateUncertain)
	count(provedEarly, current && was.View(now).State == credential.StateAccepted && now.Before(before.SettlesAt))
}

// longestUnproved is how much later than verify_period a password at rest may be proved: an earlier login could not tell, and
// the budget may be spent.
const longestUnproved = time.Hour + budgetWindow + time.Minute + patience

// watchDrift is P3: a password at rest is proved in time, so that drift is found. w.mu is held.
func (acc *account) watchDrift(now time.Time) {
	r := acc.w.role(acc.role)
	if r == nil || !acc.showsDrift(r, now) {
		acc.proving = occasion{}
		return
	}
	if p := acc.proving; p.node != acc.w.node || p.at.Before(r.Proofs.Time) {
		acc.proving = occasion{acc.w.node, now}
	}
	if late := now.Sub(acc.proving.at) - time.Duration(r.Options.VerifyPeriod)*time.Second - longestUnproved; late > 0 {
		acc.w.fail("P3: %s has verify_period %d, and its password was not proved for %s more", acc.role, r.Options.VerifyPeriod, late+longestUnproved)
	}
}

// showsDrift reports whether a login would find drift now, and nothing is in its way. w.mu is held.
func (acc *account) showsDrift(r *role.Role, now time.Time) bool {
	o, rec := r.Options, r.Record
	return o.Proves() && o.VerifyPeriod > 0 && !o.Disabled && rec.Current != nil && !rec.Current.Refused && !rec.Exposed() && !rec.Unfinished() &&
		acc.background == nil && acc.system.obstacle(now) == "" && acc.system.pause() == nil && acc.honest(r)
}

// checkRecovered is P3 for a role at the end: with on_drift=recover, a password that works is found. w.mu is held.
func (acc *account) checkRecovered(r *role.Role) {
	truth := acc.truth()
	if r.Options.Proves() && r.Options.OnDrift == role.DriftRecover && r.Options.VerifyPeriod > 0 && // otherwise it is tried once
		r.Record.View(acc.w.now()).State == credential.StateDrifted &&
		acc.honest(r) && truth != "" && holds(r.Record.List(), truth) {
		acc.w.fail("P3: %s has on_drift=recover and is drifted, and %s works: %s", acc.role, acc.label(truth), acc.describe(r))
	}
}
