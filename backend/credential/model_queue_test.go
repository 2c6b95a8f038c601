package credential

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
)

// settleAfter is how long a change that the remote system of the stories has queued takes at most.
const settleAfter = 60 * time.Second

// job is a change that the remote system has queued.
type job struct {
	value string
	since time.Time
	at    time.Time
	fails bool
}

// queue takes a change into the queue. It comes into force after those before it.
func (w *world) queue(r *request) {
	at := w.now.Add(time.Duration(w.dice.IntN(int(settleAfter/time.Second))) * time.Second)
	if n := len(w.jobs); n > 0 && at.Before(w.jobs[n-1].at) {
		at = w.jobs[n-1].at
	}
	w.jobs = append(w.jobs, job{value: r.value, since: w.now, at: at, fails: w.failing && w.chance(40)})
}

// work does what the queue holds and has come to; all of it, where a change is confirmed, since that comes after it.
func (w *world) work(all bool) {
	for len(w.jobs) > 0 && (all || !w.jobs[0].at.After(w.now)) {
		done := w.jobs[0]
		w.jobs = w.jobs[1:]
		for _, r := range w.flying { // an earlier request with it: its repetition counts
			if r.value == done.value {
				r.later++
			}
		}
		if done.fails {
			w.note("(the remote system fails to set %s)", done.value)
			continue
		}
		w.note("(the remote system sets %s from its queue)", done.value)
		w.held, w.stranger = done.value, false
	}
}

// queued tells whether the remote system has a change to this password in its queue.
func (w *world) queued(value string) bool {
	return slices.ContainsFunc(w.jobs, func(j job) bool { return j.value == value })
}

// withdraw: a person takes back what was not sent yet. Nothing is left of it, and all else stays.
func (w *world) withdraw() {
	n, before := w.rec.Next, pending(w.rec)
	if n == nil || n.Exposed() || w.chance(50) {
		return
	}
	require.NoError(w.t, w.event("withdraw", func(r Record) (Record, error) { return r.Discard(n.Version, w.now) }))
	require.ElementsMatch(w.t, before, pending(w.rec))
	if w.rec.Next.Exposed() {
		w.seen["the one before is next again"]++
	}
}

// checkQueue is I5: whoever asks when the last request may have had an effect hears of what is still queued.
func (w *world) checkQueue() {
	for _, j := range w.jobs {
		if w.rec.LastRequest().Before(j.since) {
			w.fail("I5: %s is queued, and the record knows of no request since %s", j.value, w.rec.LastRequest())
		}
	}
}

// discard: a person says of the newest password that does not work that it is not in force. What the remote system has in
// its queue is not discarded; what came in force by time alone, and did not, gives way to the one before.
func (w *world) discard() {
	w.withdraw()
	for _, p := range pending(w.rec) {
		if p.Value == w.held {
			continue
		}
		before := encoded(w.t, w.rec)
		err := w.event(fmt.Sprintf("discard %d", p.Version), func(r Record) (Record, error) { return r.Discard(p.Version, w.now) })
		switch {
		case err == nil && w.queued(p.Value):
			w.fail("version %d was discarded while it was queued", p.Version)
		case err == nil:
			return
		case !errors.Is(err, ErrQueued) || w.rec.QueuedSince().IsZero() || encoded(w.t, w.rec) != before:
			w.fail("discard: %s", err)
		}
		w.seen["queued, and not discarded"]++
	}
	c, last := w.rec.Current, w.rec.Previous
	if c == nil || c.Basis != BasisTime || c.Value == w.held || last == nil || w.rec.Exposed() {
		return
	}
	require.NoError(w.t, w.event(fmt.Sprintf("discard %d", c.Version), func(r Record) (Record, error) { return r.Discard(c.Version, w.now) }))
	require.Equal(w.t, last.Password, w.rec.Current.Password)
	w.seen["discarded after its time"]++
}

// pushOrRipen changes the password of a remote system that queues, or takes notice of what has come into force. Now and
// then one is queued while others are.
func (w *world) pushOrRipen() {
	if w.rec.QueuedSince().IsZero() || w.chance(25) {
		if w.rec.Next.Staged() && !w.makeNext() {
			return
		}
		w.push(true)
		return
	}
	w.pass(90)
	if n := w.rec.Next; n.Staged() && w.held == n.Value && len(w.jobs) == 0 && w.chance(40) { // a login
		w.settle(n.Value)
		w.do("proved", func(r Record) Record { return r.InForce(w.now, true) })
		w.flying = nil // a login proves something only when nothing is on its way any more
		return
	}
	w.do(fmt.Sprintf("ripe, %d queued", len(w.jobs)), func(r Record) Record { return r.Ripe(w.now.Add(-settleAfter), w.now) })
	if w.rec.Current != nil {
		w.exposed = max(w.exposed, w.rec.Current.Version)
	}
}
