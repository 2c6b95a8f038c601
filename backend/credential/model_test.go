package credential

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// margin is how long rotation waits after the deadline of an unresolved request.
const margin = 30 * time.Second

// request is a request to change the password, as the model of the remote system sees it.
type request struct {
	version int
	value   string
	// old must be the account's password when the request is carried out; empty if the request presents none.
	old      string
	deadline time.Time
	// laterChanges counts the changes that the remote system has confirmed since the request was sent. A queued repetition
	// with the same password counts too, once it is in force.
	laterChanges int
	// vouched: an operator or a login has shown since then which password is in force.
	vouched bool
}

// world is a model of a remote system with one account, and a driver that follows the record as rotation does. Its own
// bookkeeping is independent of the record; only the driver reads that.
//
// An unanswered request may be carried out at once, later, or never. "Later" is limited, because otherwise no rule could
// determine which password is in force. A request without an old password is carried out before its deadline plus the
// margin, or before the remote system has confirmed two later changes. A request with an old password is carried out only
// while that one is in force.
type world struct {
	t    *testing.T
	dice *rand.Rand
	name string
	now  time.Time
	rec  Record
	log  []string

	actual       string // the account's password
	setElsewhere bool   // actual was set outside Vault, and the record does not know it
	disordered   bool   // a request was carried out before those that were queued earlier
	lied         string // a password that the remote system reported in force, although it did not set it
	inFlight     []*request
	failing      bool   // queued changes may fail silently
	jobs         []job  // queued changes, in the order in which they come into force
	onPass       func() // runs when time passes
	onUnsettled  func() // runs when Make returns ErrUnsettled

	generated      int             // passwords made so far
	maxExposed     int             // the highest version that was in force, or may have been
	confirmedSince map[string]int  // by password sent: changes confirmed since its last request
	sentWithoutOld map[string]bool // passwords that were sent without an old one
	maybeApplied   map[string]bool // passwords with a request that may have been applied
	refused        map[string]bool // passwords that the remote system refused, and that were not proved since
	settled        map[string]bool // passwords settled by a login or an operator
	loginRefused   map[string]bool // passwords with which a login was refused, and that may not have come into force since
	trimmed        map[string]bool // passwords that Trim may drop, because many newer ones may be valid
	lastWorked     string          // the last password known to have been in force
	seen           map[string]int  // how often each noteworthy event happened
	attempts       []attempt       // attempts with an uncertain old password that may count as wrong
	fewLeftUntil   time.Time       // until when the remote system has few attempts left
}

type attempt struct{ until time.Time }

func newWorld(t *testing.T, name string, seed uint64) *world {
	t.Helper()
	w := &world{
		t: t, name: fmt.Sprintf("%s, seed %d", name, seed), dice: rand.New(rand.NewPCG(seed, seed)), now: start,
		actual: "theirs", setElsewhere: true,
		confirmedSince: map[string]int{}, sentWithoutOld: map[string]bool{}, maybeApplied: map[string]bool{},
		refused: map[string]bool{}, settled: map[string]bool{}, trimmed: map[string]bool{}, seen: map[string]int{},
		loginRefused: map[string]bool{},
	}
	w.onPass, w.onUnsettled = w.deliver, w.confirmOrAdopt
	return w
}

func (w *world) chance(percent int) bool { return w.dice.IntN(100) < percent }

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	require.FailNow(w.t, fmt.Sprintf(format, args...), "%s\nremote system: %s\nrecord: %s\n%s",
		w.name, w.actual, describe(w.rec), strings.Join(w.log, "\n"))
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%6.0fs ", w.now.Sub(start).Seconds())+fmt.Sprintf(format, args...))
}

// event applies an event to the record and to a copy from storage, and checks that it drops nothing it must not.
func (w *world) event(what string, happens func(Record) (Record, error)) error {
	w.t.Helper()
	before := w.rec
	out, err := step(w.t, before, happens)
	w.rec = out
	w.note("%s: %s", what, describe(out))
	if err == nil {
		w.nothingDropped(before, out)
		w.versionsNeverGoBack(before, out)
	}
	return err
}

func (w *world) do(what string, happens func(Record) Record) {
	w.t.Helper()
	_ = w.event(what, func(r Record) (Record, error) { return happens(r), nil })
}

// settle records that a login or an operator has shown which password is in force. The others are not; those that are queued
// may still follow.
func (w *world) settle(inForce string) {
	for _, p := range exposedPasswords(w.rec) {
		w.settled[p.Value] = w.settled[p.Value] || !w.queued(p.Value)
	}
	delete(w.refused, inForce)
	delete(w.loginRefused, inForce)
	w.lastWorked = inForce
	for _, r := range w.inFlight {
		r.vouched = true
	}
}

// deliver carries out requests in flight, or drops them.
func (w *world) deliver() {
	w.runQueue(false)
	var left []*request
	for _, r := range w.inFlight {
		late := w.now.After(r.deadline.Add(margin))
		switch {
		case late && (r.vouched || r.laterChanges >= 2 && r.old == ""):
		case w.chance(10):
			w.note("(the request with %s is lost)", r.value)
		case w.chance(15):
			w.carryOut(r)
		default:
			left = append(left, r)
		}
	}
	w.inFlight = left
}

func (w *world) carryOut(r *request) bool {
	if r.old != "" && r.old != w.actual {
		w.note("(the request with %s presents a wrong old password)", r.value)
		return false
	}
	w.note("(the remote system sets %s)", r.value)
	w.disordered = len(w.jobs) > 0
	w.actual, w.setElsewhere = r.value, false
	return true
}

func (w *world) makeNext() bool {
	w.generated++
	given := fmt.Sprintf("v%d", w.generated)
	err := w.event("make "+given, func(r Record) (Record, error) { return r.Make(given, "model", false, w.now) })
	if errors.Is(err, ErrUnsettled) {
		w.onUnsettled()
		return false
	}
	require.NoError(w.t, err)
	if v := w.rec.Next.Version; v <= w.maxExposed {
		w.fail("version %d is used again, and version %d was exposed", v, w.maxExposed)
	}
	return true
}

// sending records that a request is about to be sent.
func (w *world) sending(old string) *request {
	n := w.rec.Next
	for _, r := range w.inFlight {
		if r.value != n.Value && r.old == "" && !w.over(r) {
			w.fail("I5: %s is sent while the request with %s may still be carried out", n.Value, r.value)
		}
	}
	w.confirmedSince[n.Value] = 0
	w.sentWithoutOld[n.Value] = w.sentWithoutOld[n.Value] && w.maybeApplied[n.Value] || old == ""
	delete(w.settled, n.Value)
	delete(w.loginRefused, n.Value)
	return &request{version: n.Version, value: n.Value, old: old, deadline: n.SentUntil}
}

// confirmed records that the remote system has confirmed a change. It counts as a later change for other requests only.
func (w *world) confirmed(done *request, exclusive bool) {
	value := done.value
	w.lastWorked = value
	w.maxExposed = max(w.maxExposed, done.version)
	for sent := range w.confirmedSince {
		if sent != value {
			w.confirmedSince[sent]++
			if exclusive && !w.sentWithoutOld[sent] {
				w.settled[sent] = true
			}
		}
	}
	for _, r := range w.inFlight {
		r.laterChanges++
	}
	delete(w.maybeApplied, value)
	for _, r := range w.inFlight { // an earlier request with the same password
		w.maybeApplied[value] = w.maybeApplied[value] || r.value == value
	}
	w.setElsewhere = false
}

// confirmOrAdopt: an operator finds out which password works and confirms or adopts it.
func (w *world) confirmOrAdopt() {
	for _, p := range exposedPasswords(w.rec) {
		if p.Value == w.actual {
			w.settle(w.actual)
			if err := w.event(fmt.Sprintf("confirm %d", p.Version), func(r Record) (Record, error) { return r.Confirm(p.Version, w.now) }); err != nil {
				w.fail("confirm: %s", err)
			}
			return
		}
	}
	w.settle(w.actual)
	w.setElsewhere = false
	if len(w.jobs) > 0 {
		w.seen["adopted while another was queued"]++
	}
	w.do("adopt "+w.actual, func(r Record) Record { return r.Adopt(w.actual, "model", w.now) })
	w.maxExposed = max(w.maxExposed, w.rec.Current.Version)
}

func (w *world) pass(most int) {
	w.now = w.now.Add(time.Duration(1+w.dice.IntN(most)) * time.Second)
	w.onPass()
}

// ready reports whether Next may be sent according to I5. Half of the time it waits until it may.
func (w *world) ready() bool {
	notBefore := w.rec.SendNotBefore()
	if notBefore.IsZero() || w.now.After(notBefore.Add(margin)) {
		return true
	}
	if w.chance(50) {
		return false
	}
	for !w.now.After(notBefore.Add(margin)) {
		w.pass(40)
	}
	return true
}

// push sends Next once, without an old password, and applies the outcome.
func (w *world) push(staging bool) {
	if w.rec.Next == nil && !w.makeNext() || w.rec.Next.Staged() || !w.ready() {
		return
	}
	if w.rec.Next.Unproved() && w.chance(70) {
		w.logInAfterReport()
		return
	}
	w.do("send", func(r Record) Record { return r.Send(w.now.Add(requestTime), 0) })
	sent := w.sending("")
	switch dice := w.dice.IntN(100); {
	case dice < 35 && staging:
		w.maybeApplied[sent.value] = true
		w.maxExposed = max(w.maxExposed, sent.version)
		w.enqueue(sent)
		w.do("accepted", func(r Record) Record { return r.Staged(Accepted, w.now) })
	case dice < 45:
		w.runQueue(true)
		if w.chance(40) {
			w.report(sent)
			return
		}
		w.carryOut(sent)
		w.confirmed(sent, false)
		w.do("applied", func(r Record) Record { return r.Applied(w.now, false) })
	case dice < 60:
		w.do("busy", Record.NotApplied)
	case dice < 67:
		w.refusePassword(sent)
	case dice < 74:
		w.refuseTarget(sent)
	default:
		w.lose(sent)
	}
}

// lose: the answer is lost, or the process ends before it comes.
func (w *world) lose(sent *request) {
	w.maybeApplied[sent.value] = true
	w.maxExposed = max(w.maxExposed, sent.version)
	switch w.dice.IntN(3) {
	case 0:
		w.carryOut(sent)
	case 1:
		w.inFlight = append(w.inFlight, sent)
	}
	if w.chance(50) {
		w.do("lost", Record.Unresolved)
		return
	}
	w.note("crash")
}

// TestRandomEventsLoseNoPassword runs random events against three kinds of remote systems: those that confirm a change,
// those that queue it, and those that require the old password.
func TestRandomEventsLoseNoPassword(t *testing.T) {
	const seeds, steps = 100, 70
	kinds := map[string]func(*world){
		"confirms":                   func(w *world) { w.push(false) },
		"queues":                     func(w *world) { w.pushOrSettle() },
		"queues, and fails silently": func(w *world) { w.failing = true; w.pushOrSettle() },
		"requires the old password": func(w *world) {
			if w.rec.Current == nil && w.rec.Next == nil && len(w.rec.Candidates) == 0 {
				w.confirmOrAdopt()
			}
			w.modify()
		},
		"requires the old password, with occasional resets": func(w *world) {
			if w.chance(15) {
				w.push(false)
				return
			}
			if w.rec.Current == nil && len(w.rec.Candidates) == 0 {
				w.push(false)
				return
			}
			w.modify()
		},
	}
	states, seen := map[State]int{}, map[string]int{}
	for name, act := range kinds {
		for seed := range uint64(seeds) {
			w := newWorld(t, name, seed)
			for range steps {
				w.randomEvent(act)
				w.check()
				states[w.rec.View(w.now).State]++
			}
			for what, times := range w.seen {
				seen[what] += times
			}
		}
		t.Logf("%s: seeds 0 to %d", name, seeds-1)
	}
	for _, state := range States() {
		if state != StateRestartRequired { // covered by TestRandomRestartsLoseNoPassword
			require.NotZero(t, states[state], "no story reached the state %s", state)
		}
	}
	t.Logf("states seen: %v, also: %v", states, seen)
	for _, what := range []string{
		"adopted while another was queued", "queued, so not discarded", "in force by time, then discarded", "candidate became next again",
		"login refused", "older one proved", "current proved while another may follow", "proved while a settled one may follow",
		"reported and proved", "reported, and no login can tell", "reported, but the one before works",
	} {
		require.NotZero(t, seen[what], what)
	}
}

func (w *world) randomEvent(act func(*world)) {
	switch dice := w.dice.IntN(100); {
	case dice < 60:
		act(w)
	case dice < 75:
		w.pass(120)
	case dice < 83:
		w.makeNext()
	case dice < 86:
		w.confirmOrAdopt()
	case dice < 88:
		w.discard()
	case dice < 91:
		w.logIn()
	case dice < 93:
		w.generated++
		w.actual, w.setElsewhere = fmt.Sprintf("theirs-%d", w.generated), true
		w.note("(%s is set outside Vault)", w.actual)
	default:
		w.trim(w.valid)
	}
}
