package modelcheck

import (
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// checkRestart checks R1, R2, R3 and A2 for the request of a restart. w.mu is held.
func (acc *account) checkRestart(req *reboot, restart provider.Restart, now time.Time) {
	w, part := acc.w, req.part
	r := w.role(acc.role)
	if r == nil || r.Record.Next == nil || r.Record.Next.Phase != credential.RestartRequired || r.Record.Next.Partial() {
		w.fail("R2: %s (%s) is restarted, and no password waits for that", acc.login, part.name)
		return
	}
	next, g := r.Record.Next, &req.node.gate
	req.version = next.Version
	if r.Restarts.Part != part.name || r.Restarts.Version != next.Version || r.Restarts.Job != "" {
		w.fail("R1: the restart of %s (%s) is requested before it is stored", acc.login, part.name)
	}
	for _, other := range acc.parts {
		if other != part && other.isDown() && other.reboot.version == next.Version && slices.Contains(acc.reboots, other.reboot) {
			w.fail("R1: %s (%s) is restarted while %s is not back", acc.login, part.name, other.name)
		}
	}
	for _, before := range acc.reboots {
		switch {
		case before.version != next.Version || before.undone:
		case before.part == part && acc.replaced[next.Version]: // what came of it is not known
		case before.part == part:
			w.fail("R2: %s (%s) is restarted twice for %s", acc.login, part.name, acc.label(next.Value))
		case !slices.Contains(r.Restarts.Done, before.part.name):
			w.fail("R1: %s (%s) is restarted, and it is not known what came of the restart of %s", acc.login, part.name, before.part.name)
		case !acc.passed(r, before.part, next.Value):
			w.fail("R1: %s (%s) is restarted, and no login has shown that %s works on %s", acc.login, part.name, acc.label(next.Value), before.part.name)
		}
	}
	took := part.waiting != nil && part.waiting.password == next.Value || part.held == next.Value
	switch {
	case acc.restartFailed[next.Version]:
		w.fail("R3: %s (%s) is restarted after another restart has failed", acc.login, part.name)
	case r.Target.Restart == "" || r.Target.Restart != restart.Kind:
		w.fail("R2: %s (%s) is restarted (%s), and the role has %q", acc.login, part.name, restart.Kind, r.Target.Restart)
	case !took && !acc.forgot && !part.foreign && !part.others && !acc.misled:
		w.fail("R2: %s (%s) is restarted, and does not wait for %s", acc.login, part.name, acc.label(next.Value))
	case acc.dueChange[next.Value] && !windowOpen(r.Options, now):
		w.fail("R2: %s (%s) is restarted for a due change outside its window", acc.login, part.name)
	case r.Options.Disabled || !g.compared || !g.unsure && g.frozen(now):
		w.fail("A2: %s (%s) is restarted automatically", acc.login, part.name)
	}
}

// passed reports whether a login has shown the password on a server that was restarted, if one must. w.mu is held.
func (acc *account) passed(r *role.Role, p *part, password string) bool {
	return !r.Options.Proves() || r.Options.Verify != provider.LoginSSH || p.proved.password == password || !r.Proofs.Worked || acc.provesSince(r)
}

// provesSince reports whether the role began to prove passwords after a restart that was not proved.
func (acc *account) provesSince(r *role.Role) bool {
	return slices.ContainsFunc(acc.reboots, func(b *reboot) bool { return b.version == r.Restarts.Version && !b.asked.After(acc.provesFrom) })
}

// checkRestarts notes what storage has of the restarts. w.mu is held.
func (acc *account) checkRestarts(before, after *role.Role, now time.Time) {
	if after.Restarts.Failed != "" {
		acc.restartFailed[after.Restarts.Version] = true
	}
	if of := after.Restarts; of.Part != "" && (after.Record.Next == nil || after.Record.Next.Version != of.Version) {
		acc.replaced[of.Version] = true
	}
	if before == nil {
		return
	}
	columns := append(acc.conditions(now), string(before.Record.View(now).State))
	if after.Restarts.Failed != "" && before.Restarts.Failed == "" {
		acc.w.cover.count(columns, restartStops)
	}
	if len(after.Restarts.Done) > len(before.Restarts.Done) {
		acc.w.cover.count(columns, restartPasses)
	}
	if before.Options.Verification() != after.Options.Verification() {
		acc.provesFrom = now
	}
}

// restartsNow reports whether the engine has to restart a server now, or to look at one. w.mu is held.
func (acc *account) restartsNow(r *role.Role, now time.Time) bool {
	of := r.Restarts
	switch {
	case of.Part != "":
		return of.Failed == "" && !of.Back // once it is back, only logins follow
	case r.NextRestart() == "" || r.Options.Disabled || !acc.system.restartsAllowed():
		return false
	default:
		waits := of.Version == r.Record.Next.Version && of.NotBefore.After(now)
		return !waits && (r.Record.Next.Reason != role.ReasonDue || windowOpen(r.Options, now))
	}
}

// restartsAllowed reports whether the connection allows restarts. w.mu is held.
func (s *system) restartsAllowed() bool {
	c := s.connection()
	return c != nil && c.Settings.String("allow_restart") == "true"
}

// checkRestarted is R4, at the end: no restart is left to do. w.mu is held.
func (acc *account) checkRestarted(r *role.Role) {
	if acc.system.restartsAllowed() && r.Restarts.Failed == "" && (r.NextRestart() != "" || r.Restarts.Part != "") {
		acc.w.fail("R4: %s still has a server to restart: %s", acc.role, acc.describe(r))
	}
}

// checkRestartsItself is R4 for a change at the end: the engine restarts the servers, and the password comes into force.
func (w *world) checkRestartsItself(acc *account) {
	if w.violation != "" || acc.read.report == nil {
		return
	}
	w.mu.Lock()
	r := w.role(acc.role)
	restarts := r.Target.Restart != "" && acc.system.restartsAllowed() && r.NextRestart() != ""
	w.mu.Unlock()
	if !restarts {
		return
	}
	w.settle(time.Hour) // the budget may be spent for a while
	w.mu.Lock()
	defer w.mu.Unlock()
	r = w.role(acc.role)
	switch view := r.Record.View(w.now()); {
	case w.violation != "" || r.Restarts.Failed != "":
	case view.State != credential.StateActive && view.State != credential.StateAssumed:
		w.fail("R4: the servers of %s are not restarted: %s", acc.role, acc.describe(r))
	case !acc.logsIn(view.Password.Value):
		w.fail("R4: the servers of %s were restarted, and %s does not log in: %s", acc.role, acc.label(view.Password.Value), acc.describe(r))
	}
}
