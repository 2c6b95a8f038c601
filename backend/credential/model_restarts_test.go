package credential

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// host is a part of an account that puts a password in force when it restarts.
type host struct {
	actual       string
	pending      string // taken, waits for a restart; "" if nothing does
	setElsewhere bool   // actual was set outside Vault, and the record does not know it
	confirmed    int    // the version last confirmed on this host; 0: that of the account
	answered     bool   // the host has confirmed that it took pending
	loggedIn     bool   // a login has worked since the host took pending
	unseen       bool   // see unforeseen; the host has restarted since
}

// taking is a request in flight to one host.
type taking struct {
	request

	host *host
}

// restarts is a model of an account on one or more hosts. Each host puts the last password that it has taken in force when it
// restarts, at any time.
//
// A late request arrives before its deadline plus the margin. Nothing confirms a change here, so confirmed changes cannot
// limit it.
type restarts struct {
	*world

	hosts           []*host
	operatorPercent int  // how often an operator confirms or discards, in percent
	silent          bool // a host may report that it has taken a password, and forget it
	takings         []taking
	echo            map[string]bool // passwords that came into force while a repetition waited or was in flight
	maybeTaken      map[string]bool // passwords that a host may have taken
}

func newRestarts(t *testing.T, name string, seed uint64, hosts int, silent bool) *restarts {
	t.Helper()
	w := &restarts{world: newWorld(t, name, seed), silent: silent, operatorPercent: 5 + 95*int(seed%3)/2, echo: map[string]bool{}, maybeTaken: map[string]bool{}}
	for range hosts {
		w.hosts = append(w.hosts, &host{actual: "theirs", setElsewhere: true})
	}
	w.onPass, w.onUnsettled = w.deliverAndRestart, w.resolveUnsettled
	return w
}

func (w *restarts) all() []string { return servers[:len(w.hosts)] }

// deliverAndRestart delivers or drops requests in flight, and restarts hosts at random.
func (w *restarts) deliverAndRestart() {
	var left []taking
	for _, r := range w.takings {
		switch {
		case w.now.After(r.deadline.Add(margin)) || w.chance(20):
		case w.chance(30):
			w.seen["taken late"]++
			w.take(r.host, r.value)
		default:
			left = append(left, r)
		}
	}
	w.takings = left
	for _, h := range w.hosts {
		if w.chance(15) {
			w.start(h)
		}
	}
}

func (w *restarts) take(h *host, value string) {
	if w.silent && w.chance(25) {
		w.note("(%s silently does not take %s)", w.nameOf(h), value)
		return
	}
	w.note("(%s takes %s)", w.nameOf(h), value)
	h.pending, h.answered, h.loggedIn = value, false, false
}

func (w *restarts) start(h *host) {
	w.note("(%s restarts, with %q waiting)", w.nameOf(h), h.pending)
	if h.pending != "" {
		h.actual, h.pending, h.setElsewhere, h.unseen = h.pending, "", false, w.unforeseen(h)
	}
}

func (w *restarts) nameOf(h *host) string { return servers[slices.Index(w.hosts, h)] }

// push sends Next once, to the hosts that have not taken it.
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
		w.fail("wrong missing hosts: %v", missing)
	}
	for _, r := range w.takings {
		if r.value != value {
			w.fail("I5: %s is sent while the request with %s is in flight", value, r.value)
		}
	}
	w.do("send", func(r Record) Record { return r.Send(w.now.Add(requestTime), 0) })
	switch dice := w.dice.IntN(100); {
	case dice < 40:
		w.takenBy(missing)
		w.do("staged", func(r Record) Record { return r.Staged(RestartRequired, w.now) })
	case dice < 65 && len(missing) > 1: // one host takes it
		one := []string{missing[w.dice.IntN(len(missing))]}
		w.takenBy(one)
		w.do("taken by "+one[0], func(r Record) Record { return r.TakenByParts(one, RestartRequired, w.now) })
		w.notTakenBy(slices.DeleteFunc(missing, func(name string) bool { return name == one[0] }))
	default:
		w.notTakenBy(missing)
	}
}

// takenBy makes these hosts take Next.
func (w *restarts) takenBy(names []string) {
	w.maxExposed = max(w.maxExposed, w.rec.Next.Version)
	w.maybeTaken[w.rec.Next.Value] = true
	for _, name := range names {
		h := w.hosts[slices.Index(servers, name)]
		w.take(h, w.rec.Next.Value)
		h.answered = h.pending == w.rec.Next.Value
	}
}

// notTakenBy: these hosts do not take Next, or the outcome is unknown.
func (w *restarts) notTakenBy(names []string) {
	n := w.rec.Next
	partly := n.Partial()
	switch dice := w.dice.IntN(100); {
	case dice < 30:
		w.do("busy", Record.NotApplied)
	case dice < 45:
		w.refused[n.Value] = true
		w.do("refused", Record.PasswordRefused)
		w.checkKept(n)
	case dice < 60:
		w.do("target refused", Record.TargetRefused)
		w.checkKept(n)
		if w.maybeTaken[n.Value] && (w.rec.Next == nil || w.rec.Next.Version != n.Version) {
			w.fail("version %d is no longer Next, although only the request was refused", n.Version)
		}
	default:
		w.maxExposed = max(w.maxExposed, n.Version)
		w.maybeTaken[n.Value] = true
		for _, name := range names {
			h := w.hosts[slices.Index(servers, name)]
			switch w.dice.IntN(3) {
			case 0:
				w.take(h, n.Value)
			case 1:
				w.takings = append(w.takings, taking{request{value: n.Value, deadline: n.SentUntil}, h})
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

// checkKept requires that a refused password leaves no trace, unless a host may have taken it.
func (w *restarts) checkKept(refused *Next) {
	if slices.ContainsFunc(w.rec.List(), func(l Listed) bool { return l.Value == refused.Value }) != w.maybeTaken[refused.Value] {
		w.fail("refused version %d must be listed exactly if a host may have taken it", refused.Version)
	}
	if n := w.rec.Next; n != nil && n.Version < refused.Version {
		w.seen["candidate became next again"]++
	}
}

// restart: the engine restarts the hosts after all have taken Next, and may prove it by a login.
func (w *restarts) restart() {
	if !w.chance(w.operatorPercent / 2) {
		if w.chance(30) {
			w.makeNext()
		}
		return
	}
	if w.chance(40) {
		w.restartOneByOne()
		return
	}
	for _, h := range w.hosts {
		w.start(h)
	}
	n := w.rec.Next
	proved := w.chance(60) && w.everyHost(func(h *host) bool { return h.actual == n.Value })
	delete(w.refused, n.Value)
	w.do(fmt.Sprintf("restarted, proved: %t", proved), func(r Record) Record {
		if proved {
			return r.Proved(n.Version, w.now, margin)
		}
		return r.InForce(w.now)
	})
	w.inForceEverywhere()
}

func (w *restarts) everyHost(is func(*host) bool) bool {
	return !slices.ContainsFunc(w.hosts, func(h *host) bool { return !is(h) })
}

// inForceEverywhere records that, as far as the record knows, Current is in force on all hosts.
func (w *restarts) inForceEverywhere() {
	value := w.rec.Current.Value
	for _, h := range w.hosts {
		h.confirmed = 0
		w.echo[value] = w.echo[value] || h.pending == value
	}
	for _, r := range w.takings {
		w.echo[value] = w.echo[value] || r.value == value
	}
}

func (w *restarts) randomEvent() {
	switch dice := w.dice.IntN(100); {
	case dice < 50:
		w.push()
	case dice < 62:
		w.pass(120)
	case dice < 70:
		w.makeNext()
	case dice < 87 && w.chance(w.operatorPercent):
		switch {
		case dice < 82:
			w.confirmActual()
		case dice < 86:
			w.discardUnused()
		default:
			w.setByHand()
		}
	case dice >= 92:
		w.logIn()
	case dice < 88:
		h := w.hosts[w.dice.IntN(len(w.hosts))]
		w.generated++
		h.actual, h.setElsewhere = fmt.Sprintf("theirs-%d", w.generated), true
		w.note("(%s is set outside Vault on %s)", h.actual, w.nameOf(h))
	default:
		w.trim(w.mayBeValid)
	}
}

// TestRandomRestartsLoseNoPassword runs random events against hosts that put a password in force when they restart, also
// without the engine's knowledge.
func TestRandomRestartsLoseNoPassword(t *testing.T) {
	const seeds, steps = 150, 70
	states, seen := map[State]int{}, map[string]int{}
	for _, hosts := range []int{1, 2} {
		for _, silent := range []bool{false, true} {
			for seed := range uint64(seeds) {
				w := newRestarts(t, fmt.Sprintf("restarts, %d hosts, silent %t", hosts, silent), seed, hosts, silent)
				for range steps {
					w.randomEvent()
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
		require.NotZero(t, states[state], "no story reached the state %s", state)
	}
	t.Logf("seeds 0 to %d, states seen: %v, also: %v", seeds-1, states, seen)
	for _, what := range []string{
		"taken late", "partly taken", "older confirmed, newer still waiting", "confirmed on one host", "current confirmed on one host",
		"confirmed on the last host", "set by hand while another waits", "discarded while it waits", "too many candidates",
		"proved on all hosts", "proved on one host", "proved on the last host", "current proved on one host", "login refused",
		"current proved while another waits", "restarted one by one",
		"candidate became next again", "confirmed on a host, so not discarded", "in force by time, then discarded", "current confirmed while another waits",
	} {
		require.NotZero(t, seen[what], what)
	}
}
