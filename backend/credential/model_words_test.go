package credential

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
)

// known is the version of a password that a person can name: it is open, or in force.
func (w *restarts) known(value string) int {
	for _, p := range pending(w.rec) {
		if p.Value == value {
			return p.Version
		}
	}
	if c := w.rec.Current; c != nil && c.Value == value && !c.Refused {
		return c.Version
	}
	return 0
}

// tell: a person finds out what works where, and says so.
func (w *restarts) tell() {
	if len(w.hosts) > 1 && (w.chance(50) || !w.everyHost(func(h *host) bool { return h.held == w.hosts[0].held })) {
		for _, h := range w.hosts {
			if w.chance(80) {
				w.tellOn(h)
			}
		}
		return
	}
	value := w.hosts[0].held
	version := w.known(value)
	delete(w.refused, value)
	current := w.rec.Current
	switch inForce := current != nil && current.Version == version; {
	case inForce && w.rec.Next.Exposed():
		if !w.confirmUnder(version) {
			return
		}
	case version != 0 && w.chance(80):
		newer := slices.ContainsFunc(pending(w.rec), func(p Password) bool { return p.Version > version })
		before := w.rec
		require.NoError(w.t, w.event(fmt.Sprintf("confirm %d", version), func(r Record) (Record, error) { return r.Confirm(version, w.now) }))
		if !inForce {
			require.Equal(w.t, encoded(w.t, w.rec), encoded(w.t, before.Adopt(value, "model", w.now)), "adopting it says the same")
		}
		if newer && len(pending(w.rec)) > 0 {
			w.seen["older one confirmed, newer ones stay"]++
		}
	default:
		w.do("adopt "+value, func(r Record) Record { return r.Adopt(value, "model", w.now) })
	}
	w.learned()
}

// confirmUnder: a person says that what was there is in force, while another password is open. It stays where it waits, and
// the word may be repeated.
func (w *restarts) confirmUnder(version int) bool {
	confirm := func(r Record) (Record, error) { return r.Confirm(version, w.now) }
	before := w.rec
	err := w.event("confirm what was there", confirm)
	if before.Next.Stage == "" {
		require.ErrorIs(w.t, err, ErrNothingToConfirm)
		require.Equal(w.t, encoded(w.t, before), encoded(w.t, w.rec))
		return false
	}
	require.NoError(w.t, err)
	next := *before.Next
	next.InForceOn = nil
	require.Equal(w.t, next, *w.rec.Next)
	for _, c := range w.rec.Candidates {
		require.True(w.t, c.Stage != "" && !c.Overtaken, "version %d waits for nothing", c.Version)
	}
	again, err := step(w.t, w.rec, confirm)
	require.NoError(w.t, err)
	require.Equal(w.t, encoded(w.t, w.rec), encoded(w.t, again))
	w.seen["confirmed under one that waits"]++
	return true
}

// learned: Vault knows what all hosts hold.
func (w *restarts) learned() {
	w.exposed = max(w.exposed, w.rec.Current.Version)
	for _, h := range w.hosts {
		h.stranger = false
	}
	w.everywhere()
}

func (w *restarts) tellOn(h *host) {
	version, on := w.known(h.held), []string{w.nameOf(h)}
	confirm := func(r Record) (Record, error) { return r.ConfirmOn(version, on, w.all(), w.now) }
	what := fmt.Sprintf("confirm %d on %v", version, on)
	if version == 0 {
		require.ErrorIs(w.t, w.event(what, confirm), ErrNothingToConfirm)
		return
	}
	before := w.rec.Current
	delete(w.refused, h.held)
	require.NoError(w.t, w.event(what, confirm))
	h.stranger = false
	switch now := w.rec.Current; {
	case now == nil || now.Version != version:
		w.seen["in force on one host"]++
		h.said = version
	case before != nil && before.Version == version:
		w.seen["still in force on one host"]++
		h.said = 0
	default:
		w.seen["in force on the last host"]++
		w.everywhere()
		w.exposed = max(w.exposed, version)
	}
}

// byHand: a person sets a password on every host, and says so.
func (w *restarts) byHand() {
	w.makes++
	value := fmt.Sprintf("theirs-%d", w.makes)
	for _, h := range w.hosts {
		h.held = value
		if h.pending != "" {
			w.seen["set by hand while another waits"]++
		}
	}
	w.do("adopt "+value, func(r Record) Record { return r.Adopt(value, "model", w.now) })
	w.learned()
}

// repair: too many are open, and maybe no word about what there is would help.
func (w *restarts) repair() {
	w.seen["too many"]++
	w.byHand()
}

// dismiss: a person says of a password that is in force nowhere that it is not. It may still come. Where it was said to be
// in force somewhere, that has to be said of another one first.
func (w *restarts) dismiss() {
	w.withdraw()
	nowhere := func(p Password) bool { return w.everyHost(func(h *host) bool { return h.held != p.Value }) }
	discard := func(p Password) error {
		return w.event(fmt.Sprintf("discard %d", p.Version), func(r Record) (Record, error) { return r.Discard(p.Version, w.now) })
	}
	for _, p := range pending(w.rec) {
		switch {
		case !nowhere(p):
		case slices.ContainsFunc(w.hosts, func(h *host) bool { return h.said == p.Version }):
			before := encoded(w.t, w.rec)
			require.ErrorIs(w.t, discard(p), ErrInForceOn)
			require.Equal(w.t, before, encoded(w.t, w.rec))
			w.seen["confirmed on some, not discarded"]++
		default:
			require.NoError(w.t, discard(p))
			if slices.ContainsFunc(w.hosts, func(h *host) bool { return h.pending == p.Value }) {
				w.seen["discarded, and comes"]++
			}
			return
		}
	}
	if c := w.rec.Current; c != nil && c.Basis == BasisTime && nowhere(c.Password) && w.rec.Previous != nil && !w.rec.Exposed() {
		last := w.rec.Previous.Password
		require.NoError(w.t, discard(c.Password))
		require.Equal(w.t, last, w.rec.Current.Password)
		w.seen["discarded after its time"]++
	}
}

func (w *restarts) mayBeValid(value string) bool {
	valid := slices.ContainsFunc(w.hosts, func(h *host) bool { return h.held == value && !h.stranger || h.pending == value }) ||
		slices.ContainsFunc(w.underway, func(r taking) bool { return r.value == value })
	if valid && w.echo[value] {
		w.seen["an echo was trimmed"]++
		w.givenUp[value] = true
		return false
	}
	return valid
}

// check holds the invariants against each host: what it holds, and what waits there or is on its way to it.
func (w *restarts) check() {
	w.t.Helper()
	lost := func(value string) bool {
		return value != "" && !w.givenUp[value] && !slices.ContainsFunc(w.rec.List(), func(l Listed) bool { return l.Value == value })
	}
	view := w.rec.View(w.now)
	active := view.State == StateActive && !w.rec.Next.Exposed()
	for at, h := range w.hosts {
		if !h.stranger && lost(h.held) {
			w.fail("I1: what %s holds (%s) is lost", servers[at], h.held)
		}
		if h.pending != "" && h.answered && !w.echo[h.pending] && !w.rec.Open(w.now) {
			w.fail("I3: %s waits on %s, and the record may be deleted", h.pending, servers[at])
		}
		if lost(h.pending) {
			w.fail("I1: what waits on %s (%s) is lost", servers[at], h.pending)
		}
		if active && (!h.stranger && h.held != view.Password.Value || h.pending != "" && h.pending != view.Password.Value) {
			w.fail("I4: version %d is said to be active", view.Password.Version)
		}
	}
	for _, r := range w.underway {
		if lost(r.value) {
			w.fail("I3: %s is on its way and lost", r.value)
		}
		if active && r.value != view.Password.Value {
			w.fail("I4: %s is on its way", r.value)
		}
	}
	w.checkRecord()
	w.checkParts()
}

// checkParts: each host stands as it was said to.
func (w *restarts) checkParts() {
	w.t.Helper()
	for at, v := range w.rec.Parts(w.all(), w.now) {
		want := w.hosts[at].said
		if want == 0 && w.rec.Current != nil {
			want = w.rec.Current.Version
		}
		if v.Part != servers[at] || v.Version != want {
			w.fail("version %d is shown on %s, and %d was said to be there", v.Version, v.Part, want)
		}
		waits := v.State == StateUncertain || v.State == StateRestartRequired
		if waits != (v.NextVersion != 0) || v.NextVersion == v.Version && waits {
			w.fail("%+v", v)
		}
		if waits && !slices.ContainsFunc(pending(w.rec), func(p Password) bool { return p.Version == v.NextVersion }) {
			w.fail("%+v: nothing of that version is open", v)
		}
	}
}
