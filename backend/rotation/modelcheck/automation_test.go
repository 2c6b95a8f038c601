package modelcheck

import (
	"context"
	"time"

	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
	"vault-plugin-secrets-hosting/backend/timing"
)

// gate is what the model knows about a node's automation gate.
type gate struct {
	// compared: the node has read the settings, the freeze and the heartbeat since its start, in this order. step counts how
	// far it has got.
	compared bool
	step     int
	// storing: the comparison must store a freeze, and is repeated until that succeeds.
	storing bool
	// freeze must be in force; nil: none. since is when the node learned of it.
	freeze *role.Freeze
	since  time.Time
	// unsure: storing a freeze or its end has failed, so it may be in force or not.
	unsure bool
}

// frozen reports whether a freeze must be in force.
func (g *gate) frozen(now time.Time) bool {
	return g.freeze != nil && (g.freeze.Until.IsZero() || now.Before(g.freeze.Until))
}

// reads follows what the node reads, to notice when it compares its heartbeat. w.mu is held.
func (n *node) reads(key string) {
	switch {
	case key == store.SettingsKey && n.gate.compared && !n.gate.storing: // for another setting
		n.gate.step = 0
	case key == store.SettingsKey:
		n.gate.step = 1
	case key == store.FreezeKey && n.gate.step == 1:
		n.gate.step = 2
	case key == store.HeartbeatKey && n.gate.step == 2 && (!n.gate.compared || !n.gate.unsure):
		n.compare(n.w.now())
	case key == store.HeartbeatKey: // to store the next one
		n.gate.step = 0
	}
}

// compare decides whether the node must be frozen from now on. w.mu is held.
func (n *node) compare(now time.Time) {
	limit := store.DefaultCatchUpLimit * time.Second
	if settings := entry[store.Settings](n.w, store.SettingsKey); settings != nil {
		limit = time.Duration(settings.CatchUpLimit) * time.Second
	}
	last := entry[struct{ Time time.Time }](n.w, store.HeartbeatKey)
	late := last != nil && now.Sub(last.Time) > limit+min(10*time.Minute, limit/4)+time.Minute
	f := entry[role.Freeze](n.w, store.FreezeKey)
	storing := late && (f == nil || !f.Until.IsZero())
	if storing {
		f = &role.Freeze{Since: now}
		if !n.gate.compared { // else storing the freeze failed
			n.w.countAll(nil, startFrozen)
		}
	}
	n.gate = gate{compared: true, storing: storing, freeze: f, since: now}
}

// checkGate is A1. w.mu is held.
func (w *world) checkGate(now time.Time) {
	n := w.node
	if g := &n.gate; g.freeze != nil && !g.frozen(now) {
		if g.freeze.Until.After(g.since) { // else it was over when the node read it
			w.countAll(nil, freezeOver)
		}
		g.freeze = nil
	}
	if n.gate.unsure || w.fault != noFault || now.Before(timing.Later(n.faultAt, w.faultEnded).Add(2*time.Minute)) {
		return
	}
	if !n.gate.compared {
		w.fail("A1: the node does not find out whether the mount is frozen")
		return
	}
	if got, want := n.engine.Gate.Freeze() != nil, n.gate.frozen(now); got != want {
		w.fail("A1: frozen is %t, and must be %t", got, want)
	}
	if !n.gate.frozen(now) && !n.engine.Gate.Open() {
		w.fail("A1: the mount is not frozen, and its gate is closed")
	}
}

// byOperator counts a request while it runs, as one that may change the password whatever the automation may do.
func byOperator(acc *account, r request) request {
	return counted(acc, func(n *node) map[*account]int { return n.operators }, r)
}

// byReader is byOperator for a read, which may do what the automation may do.
func byReader(acc *account, r request) request {
	return counted(acc, func(n *node) map[*account]int { return n.readers }, r)
}

func counted(acc *account, by func(*node) map[*account]int, r request) request {
	add := func(n *node, i int) {
		n.w.mu.Lock()
		defer n.w.mu.Unlock()
		by(n)[acc] += i
	}
	return func(ctx context.Context, n *node) (*roles.Report, error) {
		add(n, 1)
		defer add(n, -1)
		return r(ctx, n)
	}
}

// startedBy notes how the call to the remote system came about. Calls that follow each other without a wait are one piece
// of work. w.mu is held.
func (a *attempt) startedBy(acc *account, now time.Time) {
	a.began, a.asked, a.read = now, a.node.operators[acc] > 0, a.node.readers[acc] > 0
	if last := acc.last; last != nil && last.node == a.node && last.ended.Equal(now) {
		a.began, a.asked, a.read = last.began, a.asked || last.asked, a.read || last.read
	}
	acc.last = a
}

// readWait is how long a read may wait for its turn before it sends something, like any request.
const readWait = 45 * time.Second

// checkAutomatic checks A2 and A3 for a call that no operator asked for. w.mu is held.
func (acc *account) checkAutomatic(a *attempt, r *role.Role, now time.Time) {
	w, g := acc.w, &a.node.gate
	if a.asked || a.node.dead {
		return
	}
	frozenSince, windowSince := g.since, now
	if a.read {
		frozenSince, windowSince = frozenSince.Add(readWait), now.Add(-readWait)
	}
	firstPassword := r.Record.Current == nil && a.read // a read sets it even with disable_automated_rotation
	switch {
	case !g.compared:
		w.fail("A2: %s is sent to %s before the node knows whether the mount is frozen", acc.label(a.password), acc.login)
	case !g.unsure && g.frozen(now) && a.began.After(frozenSince):
		w.fail("A2: %s is sent to %s while the mount is frozen", acc.label(a.password), acc.login)
	case r.Options.Disabled && !firstPassword:
		w.fail("A2: %s is sent to %s, and the role has disable_automated_rotation", acc.label(a.password), acc.login)
	case acc.dueChange[a.password] && !acc.touched[a.password] && !windowOpen(r.Options, now) && !windowOpen(r.Options, windowSince):
		w.fail("A3: the due change of %s begins outside its window", acc.login)
	case acc.touched[a.password]:
		w.cover.count(append(acc.conditions(now), string(r.Record.View(now).State)), retries)
	}
}

// checkBegin checks T2 and A4 for a new next password that was just stored. w.mu is held.
func (acc *account) checkBegin(before, after *role.Role, now time.Time) {
	next := after.Record.Next
	if next == nil || acc.made[next.Value] {
		return
	}
	acc.made[next.Value] = true
	if before == nil {
		before = &role.Role{}
	}
	n, last, due := acc.w.node, before.Record.Next, acc.due(before)
	if last != nil && acc.dueChange[last.Value] && !acc.touched[last.Value] && n.operators[acc] == 0 {
		acc.dueChange[next.Value] = true // the same change with another password
		return
	}
	if next.Reason != role.ReasonDue {
		return
	}
	acc.dueChange[next.Value] = true
	onRead := after.Options.RotationMode == role.ModeOnRead
	switch reading := n.readers[acc] > 0; {
	case due.IsZero() || due.After(now):
		acc.w.fail("T2: %s is changed because it is due, and its due time is %s", acc.role, due)
	case onRead && !reading:
		acc.w.fail("A4: %s has rotation_mode=on_read, and is changed without a read", acc.role)
	case after.Options.Disabled:
		acc.w.fail("A2: %s has disable_automated_rotation, and is changed because it is due", acc.role)
	}
	event := dueChange
	if onRead {
		event = readChange
	}
	acc.w.cover.count(append(acc.conditions(now), string(before.Record.View(now).State)), event)
}
