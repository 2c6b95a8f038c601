package modelcheck

import (
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// stored is called when a node has written the entry of a role, or failed to. What it was told before counts as stored
// then. w.mu is held.
func (w *world) stored(name string, before *role.Role, made bool) {
	acc := w.byRole[name]
	if acc == nil {
		return
	}
	if _, exists := w.disk.entries[store.RolePrefix+name]; !exists && made {
		acc.deleted()
		return
	}
	for _, a := range acc.attempts {
		if !a.answered || a.settled {
			continue
		}
		if made {
			acc.settle(a)
		}
		a.storeTried = true
	}
	after, now := w.role(name), w.now()
	if !made || after == nil {
		return
	}
	if before != nil {
		settled := *before
		settled.Refresh(now) // the same write stores what time has settled
		before = &settled
	}
	acc.checkBelieved(before, after, acc.learn(after), now)
	acc.checkRestarts(before, after, now)
	acc.checkDue(before, after, now)
	acc.checkBegin(before, after, now)
}

// accept notes that a password counts as in force again. w.mu is held.
func (acc *account) accept(password string) {
	delete(acc.refused, password)
	delete(acc.wrong, password)
	for _, p := range acc.parts {
		delete(acc.noLogin, noLogin{password, p})
	}
}

// settle notes an outcome that the engine has stored.
func (acc *account) settle(a *attempt) {
	a.settled = true
	if a.first && !a.storeTried && a.result.Outcome.Unchanged() && len(a.result.Taken) == 0 {
		delete(acc.touched, a.password)
	}
	switch {
	case a.result.Outcome == provider.Applied:
		for _, other := range acc.attempts {
			if other != a {
				other.later++
				other.repeated = other.repeated || other.password == a.password
			}
		}
		acc.accept(a.password)
		if acc.parts[0].held == a.password {
			acc.misled = false
		}
	case a.result.Outcome == provider.Staged:
		delete(acc.refused, a.password)
	case a.storeTried: // the engine may have lost the outcome
	case a.result.Outcome == provider.Rejected && a.result.Scope == provider.ScopePassword:
		acc.refused[a.password] = a.version
	case a.result.Outcome == provider.Mismatch:
		acc.wrong[a.old] = true
	}
}
