package credential

import (
	"fmt"
	"slices"
	"time"
)

// modify sends Next once, with an old password, as rotation does.
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
			w.confirmOrAdopt()
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
		w.countAttempt()
	}
	w.do("send with "+old.Password.Value, func(r Record) Record {
		return r.SendWithOld(w.now, w.now.Add(requestTime), r.Old(w.now), lockWindow)
	})
	sent := w.sending(old.Password.Value)
	switch dice := w.dice.IntN(100); {
	case dice < 12:
		w.do("busy", func(r Record) Record { return r.OldTryNotCounted(old.Certain).NotApplied() })
		w.uncountAttempt(old)
	case dice < 20:
		w.refused[sent.value] = true
		w.do("old password not checked", func(r Record) Record { return r.OldTryNotCounted(old.Certain) })
		w.uncountAttempt(old)
		w.refusePassword(sent)
	case dice < 26:
		w.do("old password not checked", func(r Record) Record { return r.OldTryNotCounted(old.Certain) })
		w.uncountAttempt(old)
		w.refuseTarget(sent)
	case dice < 52:
		w.lose(sent)
	case w.carryOut(sent):
		w.confirmed(sent, true)
		delete(w.refused, old.Password.Value)
		w.attempts, w.fewLeftUntil = nil, time.Time{}
		w.do("applied", func(r Record) Record { return r.Applied(w.now, true) })
	default:
		w.mismatch(old)
	}
}

// mismatch is the answer that the old password is wrong.
func (w *world) mismatch(old Old) {
	var left *int
	if w.chance(70) {
		n := 1 + w.dice.IntN(5)
		left = &n
	}
	until := w.now.Add(lockWindow)
	w.fewLeftUntil = time.Time{}
	if left != nil && *left < 3 {
		w.fewLeftUntil = until
	}
	if old.Certain { // an uncertain one was counted when it was sent
		w.attempts = append(w.attempts, attempt{until})
	}
	w.do(fmt.Sprintf("old password refused, attempts left reported: %t", left != nil), func(r Record) Record { return r.OldRefused(old.Certain, left, until) })
}

// countAttempt checks the limits: at most two attempts with an uncertain old password in a lock window, and none when few
// are left.
func (w *world) countAttempt() {
	w.attempts = slices.DeleteFunc(w.attempts, func(t attempt) bool { return !w.now.Before(t.until) })
	if len(w.attempts) >= 2 {
		w.fail("third attempt in one lock window")
	}
	if w.now.Before(w.fewLeftUntil) {
		w.fail("attempt made when few are left")
	}
	w.attempts = append(w.attempts, attempt{w.now.Add(requestTime + lockWindow)})
}

// uncountAttempt takes back the count of an attempt whose old password was not checked.
func (w *world) uncountAttempt(old Old) {
	if !old.Certain {
		w.attempts = w.attempts[:len(w.attempts)-1]
	}
}
