package credential

import (
	"fmt"
	"slices"
	"time"
)

// modify sends Next once with an old password, as rotation does.
func (w *world) modify() {
	if n := w.rec.Next; n == nil || n.Exposed() && (w.rec.Current == nil || w.rec.Current.Refused) {
		if !w.makeNext() {
			return
		}
	}
	old := w.rec.Old(w.now)
	if old.Password == nil {
		w.do("give up", Record.GiveUp)
		if w.chance(30) {
			w.speak()
		}
		return
	}
	if !w.ready() {
		return
	}
	if old = w.rec.Old(w.now); w.now.Before(old.NotBefore) {
		w.pass(300)
		return
	}
	if !old.Certain {
		w.countTry()
	}
	w.do("send with "+old.Password.Value, func(r Record) Record {
		return r.SendWithOld(w.now, w.now.Add(requestTime), r.Old(w.now), lockWindow)
	})
	sent := w.sending(old.Password.Value)
	switch dice := w.dice.IntN(100); {
	case dice < 12:
		w.do("busy", func(r Record) Record { return r.OldTryFree(old.Certain).NotApplied() })
		w.freeTry(old)
	case dice < 20:
		w.refused[sent.value] = true
		w.do("free", func(r Record) Record { return r.OldTryFree(old.Certain) })
		w.freeTry(old)
		w.refuse(sent)
	case dice < 26:
		w.do("free", func(r Record) Record { return r.OldTryFree(old.Certain) })
		w.freeTry(old)
		w.turnDown(sent)
	case dice < 52:
		w.lose(sent)
	case w.carryOut(sent):
		w.confirmed(sent, true)
		delete(w.refused, old.Password.Value)
		w.tries, w.fewUntil = nil, time.Time{}
		w.do("applied", func(r Record) Record { return r.Applied(w.now, true) })
	default:
		w.mismatch(old)
	}
}

func (w *world) mismatch(old Old) {
	var left *int
	if w.chance(70) {
		n := 1 + w.dice.IntN(5)
		left = &n
	}
	until := w.now.Add(lockWindow)
	w.fewUntil = time.Time{}
	if left != nil && *left < 3 {
		w.fewUntil = until
	}
	if old.Certain { // the others were counted when they were sent
		w.tries = append(w.tries, try{until})
	}
	w.do(fmt.Sprintf("mismatch, left %v", left != nil), func(r Record) Record { return r.OldRefused(old.Certain, left, until) })
}

// countTry checks the budget: two tries that may be wrong in a window, none where few are left.
func (w *world) countTry() {
	w.tries = slices.DeleteFunc(w.tries, func(t try) bool { return !w.now.Before(t.until) })
	if len(w.tries) >= 2 {
		w.fail("a third try in one window")
	}
	if w.now.Before(w.fewUntil) {
		w.fail("a try where few are left")
	}
	w.tries = append(w.tries, try{w.now.Add(requestTime + lockWindow)})
}

func (w *world) freeTry(old Old) {
	if !old.Certain {
		w.tries = w.tries[:len(w.tries)-1]
	}
}
