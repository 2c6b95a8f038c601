package modelcheck

import (
	"cmp"
	"fmt"
	"testing/synctest"
	"time"
)

// occurrences are events that no one asks the engine for.
var occurrences = []event{
	{"seconds pass", 10, nil, func(w *world, _ *account) { w.pass(time.Duration(1+w.rng.IntN(20)) * time.Second) }},
	{"a minute passes", 8, nil, func(w *world, _ *account) { w.pass(time.Duration(20+w.rng.IntN(80)) * time.Second) }},
	{"minutes pass", 4, nil, func(w *world, _ *account) { w.pass(time.Duration(3+w.rng.IntN(10)) * time.Minute) }},
	{"hours pass", 2, nil, func(w *world, _ *account) { w.pass(time.Duration(40+w.rng.IntN(150)) * time.Minute) }},
	{"the weather changes", 8, nil, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.system.weather = []weather{fair, fair, stormy, stormy, stormy, down}[w.rng.IntN(6)]
		w.note("%s: the weather is %s", acc.system.name, acc.system.weather)
	}},
	{"the remote system gets a new credential", 2, nil, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.system.keys++
		acc.system.key = fmt.Sprintf("key%d", acc.system.keys)
		w.note("%s: a new credential", acc.system.name)
	}},
	{"the paused connection's credential works", 4, paused, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if c := acc.system.connection(); c != nil {
			acc.system.key = c.Settings.String("key")
		}
		w.note("%s: the connection's credential works again", acc.system.name)
	}},
	{"the first credential works", 2, func(_ *world, acc *account) bool { return acc.system.keys > 1 }, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.system.key = "key1"
		w.note("%s: the first credential works again", acc.system.name)
	}},
	{"others change the password", 3, nil, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.advance(w.now())
		p := acc.parts[w.rng.IntN(len(acc.parts))]
		p.held, p.foreign, p.others = w.foreignPassword(), true, true
		w.note("others set %s on %s (%s)", acc.label(p.held), acc.login, p.name)
	}},
	{"others set an older password", 2, exists, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.advance(w.now())
		if r := w.role(acc.role); r != nil {
			if list := r.Record.List(); len(list) > 0 {
				older := list[w.rng.IntN(len(list))].Value
				for _, p := range acc.parts {
					p.held, p.foreign, p.others = older, true, true
				}
				w.note("others set %s on %s", acc.label(older), acc.login)
			}
		}
	}},
	{"a door changes", 6, proves, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		d := acc.anyDoor()
		d.mood = w.drawMood()
		w.note("the door of %s (%s) is %s", acc.login, d.part.name, d.mood)
	}},
	{"all doors open", 4, proves, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.openDoors()
	}},
	{"a server gets another host key", 1, provesOverSSH, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		d := acc.parts[w.rng.IntN(len(acc.parts))].door
		d.keys++
		w.note("%s (%s) has another host key", acc.login, d.part.name)
	}},
	{"a user mistypes the old password", 2, asksOld, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if now := w.now(); acc.theirs.at(now) < usersAttempts && !now.Before(acc.lockedUntil) {
			acc.theirs.add(now)
			w.note("a user mistypes the password of %s: %d wrong", acc.login, acc.wrongInRow(now))
		}
	}},
	{"a user locks the account", 1, asksOld, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.ours, acc.theirs, acc.lockedUntil = wrongPasswords{}, wrongPasswords{}, w.now().Add(lockWindow) // the lock resets the count
		w.note("a user locks %s", acc.login)
	}},
	{"a server restarts", 8, func(_ *world, acc *account) bool { return acc.system.spec.restart }, func(w *world, acc *account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		acc.advance(w.now())
		for _, p := range acc.parts {
			if w.chance(50) {
				if p.isDown() { // a person turns it on
					acc.bringBack(p)
				}
				acc.start(p, w.chance(5))
				w.note("%s (%s) restarts, and holds %s", acc.login, p.name, acc.label(p.held))
			}
		}
	}},
	{"storage breaks", 1, nil, func(w *world, _ *account) {
		w.setFault([]fault{writesFail, writesLie, allFails, someFail}[w.rng.IntN(4)])
	}},
	{"the node becomes read-only", 1, nil, func(w *world, _ *account) { w.setFault(readOnly) }},
	{"storage works again", 4, func(w *world, _ *account) bool { return w.fault != noFault }, func(w *world, _ *account) { w.setFault(noFault) }},
	{"the plugin is reloaded", 2, nil, func(w *world, _ *account) {
		w.log("the plugin is reloaded")
		w.restart(0)
	}},
	{"the plugin is down for a while", 1, nil, func(w *world, _ *account) {
		d := []time.Duration{2 * time.Minute, 20 * time.Minute, 3 * time.Hour, 30 * time.Hour}[w.rng.IntN(4)]
		w.log("the plugin is down for %s", d)
		w.restart(d)
	}},
	{"the process is killed", 1, nil, func(w *world, _ *account) {
		w.log("the process is killed")
		w.replaceNode()
	}},
	{"the process is about to be killed", 6, nil, func(w *world, _ *account) {
		c := &crash{at: []crashPoint{beforeWrite, afterWrite, onArrival, onAnswer}[w.rng.IntN(4)], in: 1 + w.rng.IntN(2)}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.node.crash = c
		w.note("the process will be killed %s (%d)", c.at, c.in)
	}},
}

func asksOld(_ *world, acc *account) bool { return acc.system.spec.old }

// usersAttempts are the wrong old passwords that users may present in one lock window without the engine's locking the
// account: the engine presents two that may be wrong, and one before them that it was certain of and lost the answer to.
const usersAttempts = 1

// pass lets time pass, and checks about every minute that the engine does what is due.
func (w *world) pass(d time.Duration) {
	w.log("%s pass", d)
	for end := time.Now().Add(d); w.violation == "" && time.Now().Before(end); {
		select {
		case <-time.After(min(time.Until(end), time.Minute)):
		case <-w.node.gone:
			return
		}
		synctest.Wait()
		w.watch()
	}
}

// setFault changes what is wrong with storage.
func (w *world) setFault(f fault) {
	w.mu.Lock()
	w.fault = f
	if f == noFault {
		w.faultEnded = w.now()
	}
	w.note("storage: %s", cmp.Or(string(f), "works"))
	w.mu.Unlock()
	synctest.Wait()
}
