package modelcheck

import (
	"context"
	"errors"
	"fmt"

	"vault-plugin-secrets-hosting/backend/rotation"
)

// confirm says something, true or not, and keeps the books on it if the engine believes it. An older version than those
// that are open it does not take, but its password.
func (w *world) confirm(acc *account, word rotation.Word) (believed bool) {
	w.mu.Lock()
	role := w.role(acc.role)
	if role == nil {
		w.mu.Unlock()
		return false
	}
	said := word.Password
	for _, l := range role.Record.List() {
		if l.Version == word.Version && said == "" {
			said = l.Value
		}
	}
	w.mu.Unlock()
	what := fmt.Sprintf("confirm %s (version %d, servers %v) of", acc.label(said), word.Version, word.Servers)
	if word.Discard {
		what = fmt.Sprintf("discard %s (version %d) of", acc.label(said), word.Version)
	}
	writes := w.disk.writes[rolePrefix+acc.role]
	a, answered := w.ask(acc, what, false, func(ctx context.Context, n *node) (*rotation.Report, error) {
		return n.engine.Confirm(ctx, n.store, acc.role, word)
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	role = w.role(acc.role)
	if role == nil || w.disk.writes[rolePrefix+acc.role] == writes {
		return false
	}
	if !answered || a.err != nil { // it may be stored all the same
		stored := role.Record.Current != nil && role.Record.Current.Value == said
		if _, mistake := errors.AsType[*rotation.Error](a.err); mistake || !stored && len(word.Servers) == 0 {
			return false
		}
	}
	acc.advance(w.now())
	var about []*part
	for _, p := range acc.parts {
		if len(word.Servers) == 0 || contains(word.Servers, p.name) {
			about = append(about, p)
		}
	}
	if word.Discard {
		if c := role.Record.Current; c != nil { // what is in its place was in force before
			delete(acc.refused, c.Value)
			delete(acc.wrong, c.Value)
		}
		return true
	}
	acc.hear(said, about)
	return true
}

// hear: somebody said, and the engine believes, that the password is in force on these parts. w.mu is held.
func (acc *account) hear(password string, on []*part) {
	delete(acc.refused, password)
	delete(acc.wrong, password)
	whole := len(on) == len(acc.parts)
	if whole {
		acc.misled = false
		for _, a := range acc.attempts {
			a.worded = true
		}
		for _, p := range acc.parts {
			if p.waiting != nil {
				p.waiting.worded = true
			}
		}
	}
	for _, p := range on {
		if p.held == password {
			p.stranger = false
		} else {
			acc.misled = true
		}
	}
}

// truth is the password that all parts hold; "": they hold different ones.
func (acc *account) truth() string {
	acc.advance(acc.w.now())
	for _, p := range acc.parts {
		if p.held != acc.parts[0].held {
			return ""
		}
	}
	return acc.parts[0].held
}

// confirmTruth: a person finds out what works, and says so.
func (w *world) confirmTruth(acc *account) {
	w.mu.Lock()
	truth, role := acc.truth(), w.role(acc.role)
	w.mu.Unlock()
	if role == nil {
		return
	}
	if truth == "" {
		w.confirmServers(acc)
		return
	}
	for _, l := range role.Record.List() {
		if l.Value == truth && w.chance(80) && w.confirm(acc, rotation.Word{Version: l.Version}) {
			return
		}
	}
	w.confirm(acc, rotation.Word{Password: truth})
}

// confirmServers: a person says what works on some server.
func (w *world) confirmServers(acc *account) {
	w.confirmServer(acc, acc.parts[w.dice.IntN(len(acc.parts))])
}

func (w *world) confirmServer(acc *account, p *part) {
	w.mu.Lock()
	acc.advance(w.now())
	role := w.role(acc.role)
	w.mu.Unlock()
	if role == nil {
		return
	}
	for _, l := range role.Record.List() {
		if l.Value == p.held {
			w.confirm(acc, rotation.Word{Version: l.Version, Servers: []string{p.name}})
			return
		}
	}
	w.confirm(acc, rotation.Word{Version: w.anyVersion(acc), Servers: []string{"nowhere"}})
}

// discardTruth: a person says of the newest open password that does not work that it is not in force.
func (w *world) discardTruth(acc *account) {
	w.mu.Lock()
	truth, role := acc.truth(), w.role(acc.role)
	w.mu.Unlock()
	if role == nil {
		return
	}
	for _, l := range role.Record.List() {
		if l.Value != truth && truth != "" {
			w.confirm(acc, rotation.Word{Version: l.Version, Discard: true})
			return
		}
	}
}
