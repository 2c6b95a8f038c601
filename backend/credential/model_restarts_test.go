package credential

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// host is a part of an account that takes a password at its next start.
type host struct {
	held     string
	pending  string // "": nothing waits
	stranger bool   // somebody else set what it holds, and Vault has not learned of it
	said     int    // the version that was last said to be in force there; 0: that of the account
	answered bool   // it has said that it takes what waits
}

// taking is a request to one host that is on its way.
type taking struct {
	request

	host *host
}

// restarts is an account on one host or on several, each of which puts the last password that it has taken in force when
// it starts, at times of its own.
//
// Late ends with the deadline and the margin here: nothing confirms a change, so that no count of later ones could.
type restarts struct {
	*world

	hosts    []*host
	words    int  // how much in a hundred a person says of what there is to be said
	silent   bool // a host may say that it has taken a password, and forget it
	underway []taking
	echo     map[string]bool // passwords that came in force while a repetition of them waited or was on its way
	came     map[string]bool // passwords that a host may have taken
}

func newRestarts(t *testing.T, name string, seed uint64, hosts int, silent bool) *restarts {
	t.Helper()
	w := &restarts{world: newWorld(t, name, seed), silent: silent, words: 5 + 95*int(seed%3)/2, echo: map[string]bool{}, came: map[string]bool{}}
	for range hosts {
		w.hosts = append(w.hosts, &host{held: "theirs", stranger: true})
	}
	w.lands, w.speaks = w.goOn, w.repair
	return w
}

func (w *restarts) all() []string { return servers[:len(w.hosts)] }

// goOn: requests arrive or come to nothing, and hosts restart without being asked.
func (w *restarts) goOn() {
	var left []taking
	for _, r := range w.underway {
		switch {
		case w.now.After(r.deadline.Add(margin)) || w.chance(20):
		case w.chance(30):
			w.seen["took it late"]++
			w.take(r.host, r.value)
		default:
			left = append(left, r)
		}
	}
	w.underway = left
	for _, h := range w.hosts {
		if w.chance(15) {
			w.start(h)
		}
	}
}

func (w *restarts) take(h *host, value string) {
	if w.silent && w.chance(25) {
		w.note("(%s does not take %s, and says nothing)", w.nameOf(h), value)
		return
	}
	w.note("(%s takes %s)", w.nameOf(h), value)
	h.pending, h.answered = value, false
}

func (w *restarts) start(h *host) {
	w.note("(%s starts, with %q waiting)", w.nameOf(h), h.pending)
	if h.pending != "" {
		h.held, h.pending, h.stranger = h.pending, "", false
	}
}

func (w *restarts) nameOf(h *host) string { return servers[slices.Index(w.hosts, h)] }

// push sends Next once, to the hosts that do not have it.
func (w *restarts) push() {
	if w.rec.Next == nil && !w.makeNext() {
		return
	}
	n := w.rec.Next
	if n.Staged() && !n.Partial() {
		w.restart()
		return
	}
	if !w.ready() {
		return
	}
	value, missing := n.Value, w.rec.Next.Missing(w.all())
	if n.Stage == "" && len(missing) != len(w.hosts) || len(missing) == 0 {
		w.fail("missing %v", missing)
	}
	for _, r := range w.underway {
		if r.value != value {
			w.fail("I5: %s is sent while the request with %s is under way", value, r.value)
		}
	}
	w.do("send", func(r Record) Record { return r.Send(w.now.Add(requestTime), 0) })
	switch dice := w.dice.IntN(100); {
	case dice < 40:
		w.reach(missing)
		w.do("staged", func(r Record) Record { return r.Staged(RestartRequired, w.now) })
	case dice < 65 && len(missing) > 1: // one takes it
		one := []string{missing[w.dice.IntN(len(missing))]}
		w.reach(one)
		w.do(one[0]+" took it", func(r Record) Record { return r.Took(one, RestartRequired, w.now) })
		w.otherwise(slices.DeleteFunc(missing, func(name string) bool { return name == one[0] }))
	default:
		w.otherwise(missing)
	}
}

// reach: these hosts take Next.
func (w *restarts) reach(names []string) {
	w.exposed = max(w.exposed, w.rec.Next.Version)
	w.came[w.rec.Next.Value] = true
	for _, name := range names {
		h := w.hosts[slices.Index(servers, name)]
		w.take(h, w.rec.Next.Value)
		h.answered = h.pending == w.rec.Next.Value
	}
}

// otherwise: these hosts do not take Next, or nobody knows.
func (w *restarts) otherwise(names []string) {
	n := w.rec.Next
	partly := n.Partial()
	switch dice := w.dice.IntN(100); {
	case dice < 30:
		w.do("busy", Record.NotApplied)
	case dice < 45:
		w.refused[n.Value] = true
		w.do("refused", Record.Refused)
		w.checkKept(n)
	case dice < 60:
		w.do("turned down", Record.TurnedDown)
		w.checkKept(n)
		if w.came[n.Value] && (w.rec.Next == nil || w.rec.Next.Version != n.Version) {
			w.fail("the request was refused, not version %d", n.Version)
		}
	default:
		w.exposed = max(w.exposed, n.Version)
		w.came[n.Value] = true
		for _, name := range names {
			h := w.hosts[slices.Index(servers, name)]
			switch w.dice.IntN(3) {
			case 0:
				w.take(h, n.Value)
			case 1:
				w.underway = append(w.underway, taking{request{value: n.Value, deadline: n.SentUntil}, h})
			}
		}
		if w.chance(50) {
			w.do("lost", Record.Unresolved)
		} else {
			w.note("crash")
		}
	}
	if partly {
		w.seen["partly taken"]++
	}
}

// checkKept: of a password that was refused nothing is left, unless a host may have taken it.
func (w *restarts) checkKept(refused *Next) {
	if slices.ContainsFunc(w.rec.List(), func(l Listed) bool { return l.Value == refused.Value }) != w.came[refused.Value] {
		w.fail("version %d was refused", refused.Version)
	}
	if n := w.rec.Next; n != nil && n.Version < refused.Version {
		w.seen["the one before is next again"]++
	}
}

// restart: the engine restarts the hosts that all have taken Next, and may try it out then.
func (w *restarts) restart() {
	if !w.chance(w.words / 2) {
		if w.chance(30) {
			w.makeNext()
		}
		return
	}
	for _, h := range w.hosts {
		w.start(h)
	}
	n := w.rec.Next
	proved := w.chance(60) && w.everyHost(func(h *host) bool { return h.held == n.Value })
	delete(w.refused, n.Value)
	w.do(fmt.Sprintf("restarted, proved: %t", proved), func(r Record) Record { return r.InForce(w.now, proved) })
	w.everywhere()
}

func (w *restarts) everyHost(is func(*host) bool) bool {
	return !slices.ContainsFunc(w.hosts, func(h *host) bool { return !is(h) })
}

// everywhere: a password is in force on all hosts, for what the record knows.
func (w *restarts) everywhere() {
	value := w.rec.Current.Value
	for _, h := range w.hosts {
		h.said = 0
		w.echo[value] = w.echo[value] || h.pending == value
	}
	for _, r := range w.underway {
		w.echo[value] = w.echo[value] || r.value == value
	}
}

func (w *restarts) happen() {
	switch dice := w.dice.IntN(100); {
	case dice < 50:
		w.push()
	case dice < 62:
		w.pass(120)
	case dice < 70:
		w.makeNext()
	case dice < 87 && w.chance(w.words):
		switch {
		case dice < 82:
			w.tell()
		case dice < 86:
			w.dismiss()
		default:
			w.byHand()
		}
	case dice < 90:
		h := w.hosts[w.dice.IntN(len(w.hosts))]
		w.makes++
		h.held, h.stranger = fmt.Sprintf("theirs-%d", w.makes), true
		w.note("(somebody else sets %s on %s)", h.held, w.nameOf(h))
	default:
		w.trim(w.mayBeValid)
	}
}

// Hosts that take a password at their next start, some of it behind the engine's back.
func TestLongRandomStoriesOfRestarts(t *testing.T) {
	const seeds, steps = 150, 70
	states, seen := map[State]int{}, map[string]int{}
	for _, hosts := range []int{1, 2} {
		for _, silent := range []bool{false, true} {
			for seed := range uint64(seeds) {
				w := newRestarts(t, fmt.Sprintf("restarts, %d hosts, silent %t", hosts, silent), seed, hosts, silent)
				for range steps {
					w.happen()
					w.check()
					states[w.rec.View(w.now).State]++
				}
				for what, times := range w.seen {
					seen[what] += times
				}
			}
		}
	}
	for _, state := range []State{StateNone, StateActive, StateAssumed, StateRestartRequired, StateUncertain} {
		require.NotZero(t, states[state], "the stories never came to the state %s", state)
	}
	t.Logf("seeds 0 to %d, states seen: %v, also: %v", seeds-1, states, seen)
	for _, what := range []string{
		"took it late", "partly taken", "older one confirmed, newer ones stay", "in force on one host", "still in force on one host",
		"in force on the last host", "set by hand while another waits", "discarded, and comes", "too many",
		"the one before is next again", "confirmed on some, not discarded", "discarded after its time", "confirmed under one that waits",
	} {
		require.NotZero(t, seen[what], what)
	}
}
