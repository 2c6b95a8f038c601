package credential

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
)

// nameable returns the version under which an operator can confirm the password, because it is exposed or in force; 0 if
// there is none.
func (w *restarts) nameable(value string) int {
	for _, p := range exposedPasswords(w.rec) {
		if p.Value == value {
			return p.Version
		}
	}
	if c := w.rec.Current; c != nil && c.Value == value && !c.Refused {
		return c.Version
	}
	return 0
}

// confirmActual: an operator finds out which password works on which host, and confirms or adopts it.
func (w *restarts) confirmActual() {
	if len(w.hosts) > 1 && (w.chance(50) || !w.everyHost(func(h *host) bool { return h.actual == w.hosts[0].actual })) {
		for _, h := range w.hosts {
			if w.chance(80) {
				w.confirmOnHost(h)
			}
		}
		return
	}
	value := w.hosts[0].actual
	version := w.nameable(value)
	delete(w.refused, value)
	current := w.rec.Current
	switch inForce := current != nil && current.Version == version; {
	case inForce && w.rec.Next.Exposed():
		if !w.confirmCurrent(version) {
			return
		}
	case version != 0 && w.chance(80):
		newer := slices.ContainsFunc(exposedPasswords(w.rec), func(p Password) bool { return p.Version > version })
		before := w.rec
		require.NoError(w.t, w.event(fmt.Sprintf("confirm %d", version), func(r Record) (Record, error) { return r.Confirm(version, w.now) }))
		if !inForce {
			require.Equal(w.t, encoded(w.t, w.rec), encoded(w.t, before.Adopt(value, "model", w.now)), "adopting the password must have the same effect")
		}
		if newer && len(exposedPasswords(w.rec)) > 0 {
			w.seen["older confirmed, newer still waiting"]++
		}
	default:
		w.do("adopt "+value, func(r Record) Record { return r.Adopt(value, "model", w.now) })
	}
	w.allKnown()
}

// confirmCurrent: an operator confirms Current while another password is open. That one keeps waiting if it is staged, and the
// confirmation may be repeated. Otherwise the confirmation is refused.
func (w *restarts) confirmCurrent(version int) bool {
	confirm := func(r Record) (Record, error) { return r.Confirm(version, w.now) }
	before := w.rec
	err := w.event("confirm current", confirm)
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
		require.True(w.t, c.Stage != "" && !c.Overtaken, "version %d is not waiting for a restart", c.Version)
	}
	again, err := step(w.t, w.rec, confirm)
	require.NoError(w.t, err)
	require.Equal(w.t, encoded(w.t, w.rec), encoded(w.t, again))
	w.seen["current confirmed while another waits"]++
	return true
}

// allKnown records that the record knows the password of every host.
func (w *restarts) allKnown() {
	w.maxExposed = max(w.maxExposed, w.rec.Current.Version)
	for _, h := range w.hosts {
		h.setElsewhere = false
	}
	w.inForceEverywhere()
}

// confirmOnHost: an operator confirms the password that works on one host.
func (w *restarts) confirmOnHost(h *host) {
	version, on := w.nameable(h.actual), []string{w.nameOf(h)}
	confirm := func(r Record) (Record, error) { return r.ConfirmOn(version, on, w.all(), w.now) }
	what := fmt.Sprintf("confirm %d on %v", version, on)
	if version == 0 {
		require.ErrorIs(w.t, w.event(what, confirm), ErrNothingToConfirm)
		return
	}
	before := w.rec.Current
	delete(w.refused, h.actual)
	if err := w.event(what, confirm); err != nil {
		w.fail("%s: %s", what, err)
	}
	h.setElsewhere = false
	switch {
	case !isVersion(w.rec.Current, version):
		w.seen["confirmed on one host"]++
		h.confirmed = version
	case isVersion(before, version):
		w.seen["current confirmed on one host"]++
		h.confirmed = 0
	default:
		w.seen["confirmed on the last host"]++
		w.inForceEverywhere()
		w.maxExposed = max(w.maxExposed, w.rec.Current.Version)
	}
}

// isVersion reports whether the password in force has this version, or had it before it came into force again.
func isVersion(c *Current, version int) bool {
	return c != nil && (c.Version == version || c.Formerly == version)
}

// setByHand: an operator sets a password on every host and adopts it.
func (w *restarts) setByHand() {
	w.generated++
	value := fmt.Sprintf("theirs-%d", w.generated)
	for _, h := range w.hosts {
		h.actual = value
		if h.pending != "" {
			w.seen["set by hand while another waits"]++
		}
	}
	w.do("adopt "+value, func(r Record) Record { return r.Adopt(value, "model", w.now) })
	w.allKnown()
}

// resolveUnsettled: there are too many candidates. Confirming one may not help, so an operator sets a password by hand.
func (w *restarts) resolveUnsettled() {
	w.seen["too many candidates"]++
	w.setByHand()
}

// discardUnused: an operator discards a password that is in force on no host. It may still come into force. If it was confirmed
// on a host, another password has to be confirmed there first.
func (w *restarts) discardUnused() {
	w.withdraw()
	nowhere := func(p Password) bool { return w.everyHost(func(h *host) bool { return h.actual != p.Value }) }
	discard := func(p Password) error {
		return w.event(fmt.Sprintf("discard %d", p.Version), func(r Record) (Record, error) { return r.Discard(p.Version, w.now) })
	}
	for _, p := range exposedPasswords(w.rec) {
		switch {
		case !nowhere(p):
		case slices.ContainsFunc(w.hosts, func(h *host) bool { return h.confirmed == p.Version }):
			before := encoded(w.t, w.rec)
			require.ErrorIs(w.t, discard(p), ErrInForceOn)
			require.Equal(w.t, before, encoded(w.t, w.rec))
			w.seen["confirmed on a host, so not discarded"]++
		default:
			require.NoError(w.t, discard(p))
			if slices.ContainsFunc(w.hosts, func(h *host) bool { return h.pending == p.Value }) {
				w.seen["discarded while it waits"]++
			}
			return
		}
	}
	if c := w.rec.Current; c != nil && c.Basis.Assumed() && !c.Refused && nowhere(c.Password) && w.rec.Previous != nil && !w.rec.Exposed() {
		last := w.rec.Previous.Password
		require.NoError(w.t, discard(c.Password))
		require.True(w.t, again(w.rec.Current.Password, last))
		w.seen["in force by time, then discarded"]++
	}
}

func (w *restarts) mayBeValid(value string) bool {
	valid := slices.ContainsFunc(w.hosts, func(h *host) bool { return h.actual == value && !h.setElsewhere || h.pending == value }) ||
		slices.ContainsFunc(w.takings, func(r taking) bool { return r.value == value })
	if valid && w.echo[value] {
		w.seen["repetition trimmed"]++
		w.trimmed[value] = true
		return false
	}
	return valid
}

// check compares the record with each host: its password, what waits for its restart, and what is in flight to it.
func (w *restarts) check() {
	w.t.Helper()
	lost := func(value string) bool {
		return value != "" && !w.trimmed[value] && !slices.ContainsFunc(w.rec.List(), func(l Listed) bool { return l.Value == value })
	}
	view := w.rec.View(w.now)
	active := view.State == StateActive && !w.rec.Next.Exposed()
	for at, h := range w.hosts {
		if !h.setElsewhere && lost(h.actual) {
			w.fail("I1: the password of %s (%s) is lost", servers[at], h.actual)
		}
		if h.pending != "" && h.answered && !w.echo[h.pending] && !w.rec.Open(w.now) {
			w.fail("I3: %s waits on %s, but the record is not open and may be deleted", h.pending, servers[at])
		}
		if lost(h.pending) {
			w.fail("I1: the password waiting on %s (%s) is lost", servers[at], h.pending)
		}
		if active && (!h.setElsewhere && !h.unseen && h.actual != view.Password.Value || h.pending != "" && h.pending != view.Password.Value && !w.unforeseen(h)) {
			w.fail("I4: version %d is reported active, but another password is in force or waiting", view.Password.Version)
		}
	}
	for _, r := range w.takings {
		if lost(r.value) {
			w.fail("I3: %s is in flight and lost", r.value)
		}
		if active && r.value != view.Password.Value {
			w.fail("I4: active is reported while %s is in flight", r.value)
		}
	}
	w.checkRecord()
	w.checkParts()
}

// checkParts checks the view of each host against what was confirmed there.
func (w *restarts) checkParts() {
	w.t.Helper()
	for at, v := range w.rec.Parts(w.all(), w.now) {
		want := w.hosts[at].confirmed
		if want == 0 && w.rec.Current != nil {
			want = w.rec.Current.Version
		}
		if v.Part != servers[at] || v.Version != want {
			w.fail("version %d is shown on %s, but %d was confirmed there", v.Version, v.Part, want)
		}
		waits := v.State == StateUncertain || v.State == StateRestartRequired
		if waits != (v.NextVersion != 0) || v.NextVersion == v.Version && waits {
			w.fail("%+v: a next version must be set exactly if one is pending", v)
		}
		if waits && !slices.ContainsFunc(exposedPasswords(w.rec), func(p Password) bool { return p.Version == v.NextVersion }) {
			w.fail("%+v: no exposed password has the next version", v)
		}
	}
}
