package credential

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
)

// settleAfter is the longest time that a queued change takes.
const settleAfter = 60 * time.Second

// job is a change in the remote system's queue.
type job struct {
	value string
	since time.Time
	at    time.Time
	fails bool
}

// enqueue queues a change. It comes into force after those before it.
func (w *world) enqueue(r *request) {
	at := w.now.Add(time.Duration(w.dice.IntN(int(settleAfter/time.Second))) * time.Second)
	if n := len(w.jobs); n > 0 && at.Before(w.jobs[n-1].at) {
		at = w.jobs[n-1].at
	}
	w.jobs = append(w.jobs, job{value: r.value, since: w.now, at: at, fails: w.failing && w.chance(40)})
}

// runQueue carries out the queued changes that are due. all carries out the whole queue, because a change that is confirmed
// comes after it.
func (w *world) runQueue(all bool) {
	for len(w.jobs) > 0 && (all || !w.jobs[0].at.After(w.now)) {
		done := w.jobs[0]
		w.jobs = w.jobs[1:]
		for _, r := range w.inFlight { // its repetition counts as a later change
			if r.value == done.value {
				r.laterChanges++
			}
		}
		if done.fails {
			w.note("(the remote system fails to set %s)", done.value)
			continue
		}
		w.note("(the remote system sets %s from its queue)", done.value)
		w.actual, w.setElsewhere = done.value, false
	}
}

// queued reports whether a change to this password is in the queue.
func (w *world) queued(value string) bool {
	return slices.ContainsFunc(w.jobs, func(j job) bool { return j.value == value })
}

// withdraw: an operator discards a password that was not sent yet. It leaves no trace, and everything else stays.
func (w *world) withdraw() {
	n, before := w.rec.Next, exposedPasswords(w.rec)
	if n == nil || n.Exposed() || w.chance(50) {
		return
	}
	require.NoError(w.t, w.event("withdraw", func(r Record) (Record, error) { return r.Discard(n.Version, w.now) }))
	require.ElementsMatch(w.t, before, exposedPasswords(w.rec))
	if w.rec.Next.Exposed() {
		w.seen["candidate became next again"]++
	}
}

// checkQueue checks I5: LastRequest covers every change that is still queued.
func (w *world) checkQueue() {
	for _, j := range w.jobs {
		if w.rec.LastRequest().Before(j.since) {
			w.fail("I5: %s is queued, but LastRequest is %s", j.value, w.rec.LastRequest())
		}
	}
}

// discard: an operator discards a password that does not work. A queued one must not be discarded. If Current came into force
// by time alone but does not work, discarding it makes the one before Current again.
func (w *world) discard() {
	w.withdraw()
	for _, p := range exposedPasswords(w.rec) {
		if p.Value == w.actual {
			continue
		}
		before := encoded(w.t, w.rec)
		err := w.event(fmt.Sprintf("discard %d", p.Version), func(r Record) (Record, error) { return r.Discard(p.Version, w.now) })
		switch {
		case err == nil && w.queued(p.Value):
			w.fail("version %d was discarded while queued", p.Version)
		case err == nil:
			return
		case !errors.Is(err, ErrQueued) || w.rec.QueuedSince().IsZero() || encoded(w.t, w.rec) != before:
			w.fail("discard: %s", err)
		}
		w.seen["queued, so not discarded"]++
	}
	c, last := w.rec.Current, w.rec.Previous
	if c == nil || !c.Basis.Assumed() || c.Refused || c.Value == w.actual || last == nil || w.rec.Exposed() {
		return
	}
	require.NoError(w.t, w.event(fmt.Sprintf("discard %d", c.Version), func(r Record) (Record, error) { return r.Discard(c.Version, w.now) }))
	require.True(w.t, again(w.rec.Current.Password, last.Password))
	w.seen["in force by time, then discarded"]++
}

// pushOrSettle queues a change, or settles one that is queued. Sometimes it queues a change on top of others.
func (w *world) pushOrSettle() {
	if w.rec.QueuedSince().IsZero() || w.chance(25) {
		if w.rec.Next.Staged() && !w.makeNext() {
			return
		}
		w.push(true)
		return
	}
	w.pass(90)
	if n := w.rec.Next; n.Staged() && w.actual == n.Value && len(w.jobs) == 0 && w.chance(40) { // a login
		w.settle(n.Value)
		w.do("proved", func(r Record) Record { return r.Proved(n.Version, w.now, margin) })
		w.inFlight = nil // a login proves something only once no request is in flight
		return
	}
	w.do(fmt.Sprintf("settle by time, %d queued", len(w.jobs)), func(r Record) Record { return r.SettleByTime(w.now.Add(-settleAfter), w.now) })
	if w.rec.Current != nil {
		w.maxExposed = max(w.maxExposed, w.rec.Current.Version)
	}
}
