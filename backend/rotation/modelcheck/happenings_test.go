package modelcheck

import (
	"fmt"
	"testing/synctest"
	"time"
)

// happenings are what nobody asks the engine for.
var happenings = []event{
	{"seconds pass", 10, nil, func(w *world, _ *account) { w.pass(time.Duration(1+w.dice.IntN(20)) * time.Second) }},
	{"a minute passes", 8, nil, func(w *world, _ *account) { w.pass(time.Duration(20+w.dice.IntN(80)) * time.Second) }},
	{"minutes pass", 4, nil, func(w *world, _ *account) { w.pass(time.Duration(3+w.dice.IntN(10)) * time.Minute) }},
	{"hours pass", 1, nil, func(w *world, _ *account) { w.pass(time.Duration(40+w.dice.IntN(150)) * time.Minute) }},
	{"the weather changes", 8, nil, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.system.weather = []weather{fair, fair, stormy, stormy, stormy, down}[w.dice.IntN(6)]
		w.note("%s: the weather is %s", acc.system.name, acc.system.weather)
	}},
	{"somebody changes the credential", 1, nil, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.system.keys++
		acc.system.key = fmt.Sprintf("key%d", acc.system.keys)
		w.note("%s: somebody changes the credential", acc.system.name)
	}},
	{"the old credential works again", 2, func(_ *world, acc *account) bool { return acc.system.keys > 1 }, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.system.key = "key1"
		w.note("%s: the first credential works again", acc.system.name)
	}},
	{"somebody changes the password", 3, nil, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.advance(w.now())
		p := acc.parts[w.dice.IntN(len(acc.parts))]
		p.held, p.stranger = acc.foreign(), true
		w.note("somebody sets %s on %s (%s)", acc.label(p.held), acc.login, p.name)
	}},
	{"somebody mistypes the old password", 2, asksOld, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if now := w.now(); acc.theirs.at(now) < peoplesTries && !now.Before(acc.lockedUntil) {
			acc.theirs.add(now)
			w.note("somebody mistypes the password of %s: %d wrong", acc.login, acc.mistyped(now))
		}
	}},
	{"somebody locks the account", 1, asksOld, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.ours, acc.theirs, acc.lockedUntil = wrongs{}, wrongs{}, w.now().Add(lockWindow) // and then it has forgotten
		w.note("somebody locks %s", acc.login)
	}},
	{"a server restarts", 8, func(_ *world, acc *account) bool { return acc.system.spec.restart }, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.advance(w.now())
		for _, p := range acc.parts {
			if w.chance(50) {
				acc.start(p, w.chance(5))
				w.note("%s (%s) restarts, and holds %s", acc.login, p.name, acc.label(p.held))
			}
		}
	}},
	{"storage breaks", 1, nil, func(w *world, _ *account) {
		w.suffer([]trouble{putsFail, putsLieThere, allFails, someFail}[w.dice.IntN(4)])
	}},
	{"the node becomes read-only", 1, nil, func(w *world, _ *account) { w.suffer(readOnly) }},
	{"storage works again", 4, func(w *world, _ *account) bool { return w.trouble != healthy }, func(w *world, _ *account) { w.suffer(healthy) }},
	{"the plugin is reloaded", 2, nil, func(w *world, _ *account) {
		w.line("the plugin is reloaded")
		w.restart()
	}},
	{"the process is killed", 1, nil, func(w *world, _ *account) {
		w.line("the process is killed")
		w.bury()
	}},
	{"the process will be killed", 6, nil, func(w *world, _ *account) {
		d := &death{at: []moment{beforeWrite, afterWrite, onArrival, onAnswer}[w.dice.IntN(4)], in: 1 + w.dice.IntN(2)}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.node.death = d
		w.note("the process will be killed %s (%d)", d.at, d.in)
	}},
}

func asksOld(_ *world, acc *account) bool { return acc.system.spec.old }

// peoplesTries are the wrong old passwords that people may present in one lock window without the engine's locking the
// account: it presents two that may be wrong, and one before them that it was certain of and lost the answer to.
const peoplesTries = 1

// pass lets time pass, with Vault's heartbeat at the end of it.
func (w *world) pass(d time.Duration) {
	w.line("%s pass", d)
	gone := w.node.gone
	select {
	case <-time.After(d):
		w.node.engine.Wake()
	case <-gone:
	}
}

// suffer changes what storage suffers from.
func (w *world) suffer(t trouble) {
	w.mu.Lock()
	w.trouble = t
	w.note("storage: %s", orElse(string(t), "well"))
	w.mu.Unlock()
	synctest.Wait()
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
