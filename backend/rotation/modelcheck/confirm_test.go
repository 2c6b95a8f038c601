package modelcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// confirm makes a confirmation, true or not, and reports whether the engine believed it. The engine does not take a version
// that is older than the open ones, but does take its password.
func (w *world) confirm(acc *account, c rotation.Confirmation) (believed bool) {
	w.mu.Lock()
	r := w.role(acc.role)
	if r == nil {
		w.mu.Unlock()
		return false
	}
	said := c.Password
	for _, l := range r.Record.List() {
		if l.Version == c.Version && said == "" {
			said = l.Value
		}
	}
	writes := w.disk.writes[roleKey(acc)]
	acc.stated = said
	c.Force = c.Force || w.chance(15) || !acc.honest(r) && w.chance(50)
	w.mu.Unlock()
	what := fmt.Sprintf("confirm %s (version %d, servers %v, force %t) of", acc.label(said), c.Version, c.Servers, c.Force)
	if c.Discard {
		what = fmt.Sprintf("discard %s (version %d) of", acc.label(said), c.Version)
	}
	a, answered := w.call(acc, what, false, func(ctx context.Context, n *node) (*roles.Report, error) {
		return n.engine.Confirm(ctx, n.store, acc.role, c)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	acc.stated = ""
	r = w.role(acc.role)
	if r == nil || w.disk.writes[roleKey(acc)] == writes {
		acc.seen = nil // the logins that contradict it are not stored
		return false
	}
	if !answered || a.err != nil { // it may be stored all the same
		stored := r.Record.Current != nil && r.Record.Current.Value == said
		if _, mistake := errors.AsType[*problem.Error](a.err); mistake || !stored && len(c.Servers) == 0 {
			return false
		}
	}
	acc.advance(w.now())
	if c.Discard {
		if current := r.Record.Current; current != nil { // it was in force before
			acc.accept(current.Value)
		}
		return true
	}
	var on []*part
	for _, p := range acc.parts {
		if len(c.Servers) == 0 || slices.Contains(c.Servers, p.name) {
			on = append(on, p)
		}
	}
	acc.confirmed(said, on)
	return true
}

// confirmed notes that the engine believes that the password is in force on these parts. w.mu is held.
func (acc *account) confirmed(password string, on []*part) {
	acc.accept(password)
	if len(on) == len(acc.parts) {
		acc.misled = false
		for _, a := range acc.attempts {
			a.confirmed = true
		}
		for _, p := range acc.parts {
			if p.waiting != nil {
				p.waiting.confirmed = true
			}
		}
	}
	for _, p := range on {
		if p.held == password {
			p.foreign = false
		} else {
			acc.misled = true
		}
	}
}

// truth returns the password that all parts hold; empty: they hold different ones.
func (acc *account) truth() string {
	acc.advance(acc.w.now())
	for _, p := range acc.parts {
		if p.held != acc.parts[0].held {
			return ""
		}
	}
	return acc.parts[0].held
}

// confirmTruth confirms what works, as an operator does who has tried it.
func (w *world) confirmTruth(acc *account) {
	w.mu.Lock()
	truth, r := acc.truth(), w.role(acc.role)
	w.mu.Unlock()
	if r == nil {
		return
	}
	if truth == "" {
		w.confirmAnyServer(acc)
		return
	}
	for _, l := range r.Record.List() {
		if l.Value == truth && w.chance(80) && w.confirm(acc, rotation.Confirmation{Version: l.Version}) {
			return
		}
	}
	w.insist(acc, rotation.Confirmation{Password: truth})
}

// insist confirms what works. An operator who is sure adds force=true if no login can check it yet.
func (w *world) insist(acc *account, c rotation.Confirmation) {
	if !w.confirm(acc, c) {
		c.Force = true
		w.confirm(acc, c)
	}
}

// confirmAnyServer confirms what works on one of the servers.
func (w *world) confirmAnyServer(acc *account) {
	w.confirmServer(acc, acc.parts[w.rng.IntN(len(acc.parts))])
}

func (w *world) confirmServer(acc *account, p *part) {
	w.mu.Lock()
	acc.advance(w.now())
	r := w.role(acc.role)
	w.mu.Unlock()
	if r == nil {
		return
	}
	for _, l := range r.Record.List() {
		if l.Value == p.held {
			w.insist(acc, rotation.Confirmation{Version: l.Version, Servers: []string{p.name}})
			return
		}
	}
	w.confirm(acc, rotation.Confirmation{Version: w.anyVersion(acc), Servers: []string{"unknown"}})
}

// discardTruth discards the newest password that does not work.
func (w *world) discardTruth(acc *account) {
	w.mu.Lock()
	truth, r := acc.truth(), w.role(acc.role)
	w.mu.Unlock()
	if r == nil {
		return
	}
	for _, l := range r.Record.List() {
		if l.Value != truth && truth != "" {
			w.confirm(acc, rotation.Confirmation{Version: l.Version, Discard: true})
			return
		}
	}
}
