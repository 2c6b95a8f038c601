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

// margin is the distance that rotation keeps from the end of an unresolved request.
const margin = 30 * time.Second

// request is one request to change the password, as the model of the remote system sees it.
type request struct {
	version int
	value   string
	// old has to be the account's password when the request is carried out; empty: it presents none.
	old      string
	deadline time.Time
	// later counts the changes that the remote system confirmed since the request was sent; a repetition with the same
	// password that it queued counts too, once that is in force.
	later int
	// worded: a person or a login has said since then which password is in force.
	worded bool
}

// world is a remote system with one account, a driver that obeys the record as rotation does, and what both know. It
// keeps its own books: nothing in it is read from the record but what the driver needs.
//
// A request that is not answered may be carried out at once, later, or never. "Later" has an end, or no rule could tell
// what is in force: a request without an old password is carried out by its deadline and the margin, or before the remote
// system has confirmed two later changes; one with an old password, only while that one is in force.
type world struct {
	t    *testing.T
	dice *rand.Rand
	name string
	now  time.Time
	rec  Record
	log  []string

	held     string // what the account's password is
	stranger bool   // somebody else set it, and Vault has not learned of it
	flying   []*request
	failing  bool  // what it queues may fail without a word
	jobs     []job // what the remote system has queued, in the order in which it comes into force
	lands    func()
	speaks   func()

	makes    int
	exposed  int             // the highest version that was ever in force, or may have been
	sentTo   map[string]int  // for each password sent: changes confirmed since its last request
	blind    map[string]bool // passwords that were sent without an old one
	open     map[string]bool // passwords of which a request is not known to have changed nothing
	refused  map[string]bool // passwords that the remote system refused, and nobody proved since
	settled  map[string]bool // passwords that a proof or a person's word settled
	givenUp  map[string]bool // passwords that Trim dropped as too many newer ones may be valid
	worked   string          // the last password that somebody is known to have seen in force
	seen     map[string]int  // what is worth telling that it happened
	tries    []try
	fewUntil time.Time // the remote system said that few tries are left
}

type try struct{ until time.Time }

func newWorld(t *testing.T, name string, seed uint64) *world {
	t.Helper()
	w := &world{
		t: t, name: fmt.Sprintf("%s, seed %d", name, seed), dice: rand.New(rand.NewPCG(seed, seed)), now: start, held: "theirs", stranger: true,
		sentTo: map[string]int{}, blind: map[string]bool{}, open: map[string]bool{}, refused: map[string]bool{}, settled: map[string]bool{},
		givenUp: map[string]bool{}, seen: map[string]int{},
	}
	w.lands, w.speaks = w.land, w.speak
	return w
}

func (w *world) chance(percent int) bool { return w.dice.IntN(100) < percent }

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	require.FailNow(w.t, fmt.Sprintf(format, args...), "%s\nremote system: %s\nrecord: %s\n%s",
		w.name, w.held, describe(w.rec), strings.Join(w.log, "\n"))
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%6.0fs ", w.now.Sub(start).Seconds())+fmt.Sprintf(format, args...))
}

// event applies an event to the record, to a copy from storage too, and checks what may have gone.
func (w *world) event(what string, happens func(Record) (Record, error)) error {
	w.t.Helper()
	before := w.rec
	out, err := step(w.t, before, happens)
	w.rec = out
	w.note("%s: %s", what, describe(out))
	if err == nil {
		w.nothingDropped(before, out)
	}
	return err
}

func (w *world) do(what string, happens func(Record) Record) {
	w.t.Helper()
	_ = w.event(what, func(r Record) (Record, error) { return happens(r), nil })
}

// settle: a proof or a word says that this password is in force, so that the others are not; what is queued may follow.
func (w *world) settle(inForce string) {
	for _, p := range pending(w.rec) {
		w.settled[p.Value] = w.settled[p.Value] || !w.queued(p.Value)
	}
	delete(w.refused, inForce)
	w.worked = inForce
	for _, r := range w.flying {
		r.worded = true
	}
}

// land lets requests that are on their way be carried out, or come to nothing.
func (w *world) land() {
	w.work(false)
	var left []*request
	for _, r := range w.flying {
		late := w.now.After(r.deadline.Add(margin))
		switch {
		case late && (r.worded || r.later >= 2 && r.old == ""):
		case w.chance(10):
			w.note("(the request with %s comes to nothing)", r.value)
		case w.chance(15):
			w.carryOut(r)
		default:
			left = append(left, r)
		}
	}
	w.flying = left
}

func (w *world) carryOut(r *request) bool {
	if r.old != "" && r.old != w.held {
		w.note("(the request with %s finds a wrong old password)", r.value)
		return false
	}
	w.note("(the remote system sets %s)", r.value)
	w.held, w.stranger = r.value, false
	return true
}

func (w *world) makeNext() bool {
	w.makes++
	given := fmt.Sprintf("v%d", w.makes)
	err := w.event("make "+given, func(r Record) (Record, error) { return r.Make(given, "model", false, w.now) })
	if errors.Is(err, ErrUnsettled) {
		w.speaks()
		return false
	}
	require.NoError(w.t, err)
	if v := w.rec.Next.Version; v <= w.exposed {
		w.fail("version %d is used again: %d was in use", v, w.exposed)
	}
	return true
}

// sending keeps the books on a request that is about to leave.
func (w *world) sending(old string) *request {
	n := w.rec.Next
	w.sentTo[n.Value] = 0
	w.blind[n.Value] = w.blind[n.Value] && w.open[n.Value] || old == ""
	delete(w.settled, n.Value)
	return &request{version: n.Version, value: n.Value, old: old, deadline: n.SentUntil}
}

// confirmed keeps the books on a change that the remote system confirmed. It does not count for the request itself.
func (w *world) confirmed(done *request, exclusive bool) {
	value := done.value
	w.worked = value
	w.exposed = max(w.exposed, done.version)
	for sent := range w.sentTo {
		if sent != value {
			w.sentTo[sent]++
			if exclusive && !w.blind[sent] {
				w.settled[sent] = true
			}
		}
	}
	for _, r := range w.flying {
		r.later++
	}
	delete(w.open, value)
	for _, r := range w.flying { // an earlier request with it
		w.open[value] = w.open[value] || r.value == value
	}
	w.stranger = false
}

// speak: a person finds out which password works, and says so.
func (w *world) speak() {
	for _, p := range pending(w.rec) {
		if p.Value == w.held {
			w.settle(w.held)
			if err := w.event(fmt.Sprintf("confirm %d", p.Version), func(r Record) (Record, error) { return r.Confirm(p.Version, w.now) }); err != nil {
				w.fail("confirm: %s", err)
			}
			return
		}
	}
	w.settle(w.held)
	w.stranger = false
	if len(w.jobs) > 0 {
		w.seen["adopted while another was queued"]++
	}
	w.do("adopt "+w.held, func(r Record) Record { return r.Adopt(w.held, "model", w.now) })
	w.exposed = max(w.exposed, w.rec.Current.Version)
}

func (w *world) pass(most int) {
	w.now = w.now.Add(time.Duration(1+w.dice.IntN(most)) * time.Second)
	w.lands()
}

// ready waits, mostly, for the distance that I5 demands, and tells whether it is kept.
func (w *world) ready() bool {
	quiet := w.rec.QuietUntil()
	if quiet.IsZero() || w.now.After(quiet.Add(margin)) {
		return true
	}
	if w.chance(50) {
		return false
	}
	for !w.now.After(quiet.Add(margin)) {
		w.pass(40)
	}
	return true
}

// push sends Next once, without an old password, and deals with what comes of it.
func (w *world) push(staging bool) {
	if w.rec.Next == nil && !w.makeNext() || w.rec.Next.Staged() || !w.ready() {
		return
	}
	w.do("send", func(r Record) Record { return r.Send(w.now.Add(requestTime), 0) })
	sent := w.sending("")
	switch dice := w.dice.IntN(100); {
	case dice < 35 && staging:
		w.open[sent.value] = true
		w.exposed = max(w.exposed, sent.version)
		w.queue(sent)
		w.do("accepted", func(r Record) Record { return r.Staged(Accepted, w.now) })
	case dice < 45:
		w.work(true)
		w.carryOut(sent)
		w.confirmed(sent, false)
		w.do("applied", func(r Record) Record { return r.Applied(w.now, false) })
	case dice < 60:
		w.do("busy", Record.NotApplied)
	case dice < 67:
		w.refuse(sent)
	case dice < 74:
		w.turnDown(sent)
	default:
		w.lose(sent)
	}
}

func (w *world) refuse(sent *request) {
	w.refused[sent.value] = true
	w.do("refused", Record.Refused)
	w.checkDropped(sent)
}

func (w *world) turnDown(sent *request) {
	w.do("turned down", Record.TurnedDown)
	w.checkDropped(sent)
	if n := w.rec.Next; w.open[sent.value] && (n == nil || n.Value != sent.value) {
		w.fail("the request was refused, not version %d", sent.version)
	}
}

// checkDropped: of a password that was never applied nothing is left once the remote system has refused it.
func (w *world) checkDropped(sent *request) {
	for _, listed := range w.rec.List() {
		if listed.Value == sent.value && !w.open[sent.value] {
			w.fail("version %d was never applied and is listed", listed.Version)
		}
	}
	if n := w.rec.Next; n != nil && n.Version < sent.version {
		w.seen["the one before is next again"]++
	}
}

// lose: the answer is lost, or the process ends before it comes.
func (w *world) lose(sent *request) {
	w.open[sent.value] = true
	w.exposed = max(w.exposed, sent.version)
	switch w.dice.IntN(3) {
	case 0:
		w.carryOut(sent)
	case 1:
		w.flying = append(w.flying, sent)
	}
	if w.chance(50) {
		w.do("lost", Record.Unresolved)
		return
	}
	w.note("crash")
}

// Three kinds of remote systems: one confirms, one queues, one wants the old password.
func TestLongRandomStories(t *testing.T) {
	const seeds, steps = 100, 70
	kinds := map[string]func(*world){
		"confirms":                   func(w *world) { w.push(false) },
		"queues":                     func(w *world) { w.pushOrRipen() },
		"queues, and fails silently": func(w *world) { w.failing = true; w.pushOrRipen() },
		"wants the old password": func(w *world) {
			if w.rec.Current == nil && w.rec.Next == nil && len(w.rec.Candidates) == 0 {
				w.speak()
			}
			w.modify()
		},
		"wants the old password, and is reset now and then": func(w *world) {
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
				w.happen(act)
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
		if state != StateRestartRequired { // it differs from accepted by its name only
			require.NotZero(t, states[state], "the stories never came to the state %s", state)
		}
	}
	t.Logf("states seen: %v, also: %v", states, seen)
	for _, what := range []string{
		"adopted while another was queued", "queued, and not discarded", "discarded after its time", "the one before is next again",
	} {
		require.NotZero(t, seen[what], what)
	}
}

func (w *world) happen(act func(*world)) {
	switch dice := w.dice.IntN(100); {
	case dice < 60:
		act(w)
	case dice < 75:
		w.pass(120)
	case dice < 83:
		w.makeNext()
	case dice < 86:
		w.speak()
	case dice < 90:
		w.discard()
	case dice < 92:
		w.makes++
		w.held, w.stranger = fmt.Sprintf("theirs-%d", w.makes), true
		w.note("(somebody else sets %s)", w.held)
	default:
		w.trim(w.valid)
	}
}
