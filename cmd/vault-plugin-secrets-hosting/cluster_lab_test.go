package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/dcs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// duePeriod is the shortest rotation_period. The time between two takeovers follows from it.
const duePeriod = 10 * time.Second

// cluster is three Vaults of a test's own.
type cluster struct{ *vaulttest.Cluster }

func ownCluster(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "hosting") //nolint:usetesting // short, for Unix sockets
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c, err := vaulttest.StartCluster(t.Context(), binaries.vault, binaries.plugin, dir)
	require.NoError(t, err)
	t.Cleanup(func() { // the mounts' simulators have told what they saw: they ended before
		defer c.Stop()
		active, err := c.Active(context.Background())
		require.NoError(t, err)
		others := slices.DeleteFunc(slices.Clone(c.Nodes()), func(v *vaulttest.Vault) bool { return v == active })
		require.NoError(t, silence(context.Background(), active, others...))
	})
	return &cluster{c}
}

// mount is a mount whose requests go to a node. They are repeated where that is between two active ones, as Raft may elect
// another at any time.
func (c *cluster) mount(t *testing.T, v *vaulttest.Vault, config simulator.Config) *mount {
	t.Helper()
	m := mountIn(t, v, config)
	m.retries = 20
	return m
}

// through is the same mount, for requests to another node and a part of the test.
func (m *mount) through(t *testing.T, v *vaulttest.Vault) *mount {
	t.Helper()
	other := *m
	other.t, other.vault = t, v
	return &other
}

// dueRoles are roles whose passwords become due all the time.
type dueRoles struct {
	*mount
	cluster *cluster
	roles   []*dueRole
	// began is when they were made, and since when the active node last went.
	began, since time.Time
	gaps         []gap
}

// gap is from when an active node was made to go until another one had taken over, and for which roles.
type gap struct {
	from, until time.Time
	turn        int
}

type dueRole struct {
	name   string
	role   data
	period time.Duration
	// turn is the takeover that meets the role while its change is in the middle; -1: none.
	turn int
}

// withOld tells whether the remote system wants to see the old password.
func (r *dueRole) withOld() bool { return r.role["connection"] == "cloud" }

// becomeDue makes roles on three remote systems, one of each for each takeover, and some that rest or become due in one.
func (c *cluster) becomeDue(t *testing.T) *dueRoles {
	t.Helper()
	active, err := c.Active(t.Context())
	require.NoError(t, err)
	const each = 6
	state := simulator.DefaultState()
	for i := range each {
		state.Plesk.Aliases = append(state.Plesk.Aliases, plesk.Alias{Login: fmt.Sprintf("due%d", i), Password: lab.RandomPassword()})
		state.DCS.Instances[0].Accounts = append(state.DCS.Instances[0].Accounts, dcs.Account{
			ID: lab.RandomUUID(), Name: fmt.Sprintf("due%d", i), Password: lab.RandomPassword(),
		})
	}
	w := &dueRoles{mount: c.mount(t, active, simulator.Config{State: state}), cluster: c, began: time.Now()}
	w.quick()
	timeout := data{"request_timeout": int(tryTime.Seconds())}
	w.must("config/panel", with(w.panel(), timeout))
	w.must("config/cloud", with(w.cloud(), timeout))
	w.must("config/mt", with(w.mt(), timeout))
	for i := range each {
		turn, period := i, duePeriod
		if turn >= len(takeovers) { // these drift away from the others
			turn, period = -1, duePeriod+time.Duration(i-len(takeovers))*time.Second
		}
		login := fmt.Sprintf("due%d", i)
		w.roles = append(w.roles,
			&dueRole{fmt.Sprintf("alias%d", i), alias(login), period, turn},
			&dueRole{fmt.Sprintf("account%d", i), w.account(login), period, turn})
	}
	w.roles = append(w.roles,
		&dueRole{"root0", w.service("root"), duePeriod, 0},
		&dueRole{"plesk1", w.service("plesk"), duePeriod, 1},
		&dueRole{"root2", with(w.service("root"), data{"service_id": "557"}), duePeriod, 2})
	together(t, w.roles, func(r *dueRole) {
		w.must("roles/"+r.name, with(r.role, data{"rotation_period": int(r.period.Seconds())}))
	})
	w.since = time.Now()
	return w
}

// due is when the password that was set last is due.
func (w *dueRoles) due(r *dueRole) time.Time {
	all := w.passwordsSet(r.role)
	at := all[len(all)-1].last.Arrived.Add(r.period)
	if r.role["connection"] == "mt" { // it counts from when it is in force
		at = at.Add(settleAfter * time.Second)
	}
	return at
}

// oneIsDueSoon tells whether a password becomes due within a part of the time that a takeover takes.
func (w *dueRoles) oneIsDueSoon() bool {
	return slices.ContainsFunc(w.roles, func(r *dueRole) bool {
		left := time.Until(w.due(r))
		return left > 0 && left < 500*time.Millisecond
	})
}

// throughStandby is the mount for requests to a standby, in a part of the test.
func (w *dueRoles) throughStandby(t *testing.T) *mount {
	t.Helper()
	standbys, err := w.cluster.Standbys(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, standbys)
	return w.through(t, standbys[0])
}

// waitForAll waits until something is so for every role, and names those for which it is not. It asserts that nothing was
// changed that should not have been.
func (w *dueRoles) waitForAll(t *testing.T, what string, so func(*dueRole) bool) {
	t.Helper()
	those := func(be func(*dueRole) bool) (names []string) {
		for _, r := range w.roles {
			if be(r) {
				names = append(names, r.name)
			}
		}
		return names
	}
	behind := func() []string { return those(func(r *dueRole) bool { return !so(r) }) }
	wrong := func() []string { return those(func(r *dueRole) bool { return w.problem(r) != "" }) }
	require.Eventually(t, func() bool { return len(behind()) == 0 || len(wrong()) > 0 }, waitLong, tick, "%s; missing: %v\n%v", what,
		lazy{func() string { return strings.Join(behind(), ", ") }}, lazy{w.table})
	for _, r := range w.roles {
		require.Empty(t, w.problem(r), "%s\n%v", r.name, lazy{w.table})
	}
}

// holds tells whether the remote system has made a change for the role and holds its answer.
func (w *dueRoles) holds(role data) bool {
	system, name := target(role)
	return slices.ContainsFunc(w.sim.Faults(), func(f lab.FaultStatus) bool {
		return f.System == system && f.Target == name && f.Holding > 0
	})
}

// sending is one password that the remote system was sent for a role, and has set.
type sending struct {
	first, last lab.Entry
	times       int
}

// passwordsSet are the passwords of a role in the order in which they were sent.
func (w *dueRoles) passwordsSet(role data) []sending {
	var all []sending
	for _, e := range w.attempts(role) {
		switch {
		case len(all) > 0 && all[len(all)-1].first.Nth == e.Nth:
			all[len(all)-1].last = e
			all[len(all)-1].times++
		case e.Applied:
			all = append(all, sending{e, e, 1})
		}
	}
	return all
}

// changedSince tells whether a new password was set for the role after that time.
func (w *dueRoles) changedSince(r *dueRole, t time.Time) bool {
	return slices.ContainsFunc(w.passwordsSet(r.role), func(s sending) bool { return s.first.Arrived.After(t) })
}

// rest lets no password become due any more, and asserts that each role comes to rest with one that works.
func (w *dueRoles) rest(t *testing.T) {
	t.Helper()
	m := w.throughStandby(t)
	together(t, w.roles, func(r *dueRole) {
		m.must("roles/"+r.name, data{"rotation_period": 3600})
		m.waitFor(r.name, "nothing should be open any more", func() bool {
			return slices.Contains([]any{"active", "assumed"}, m.creds(r.name)["state"])
		})
		d := m.works(r.name, r.role)
		set := int64(len(w.passwordsSet(r.role)))
		if r.withOld() {
			set++ // the one that the role was given
		}
		require.Equal(t, set, versionOf(t, d), "%s: no password was made and not sent", r.name)
	})
}

// problem says what is wrong with how the role was changed: each password takes the place of the one before when that is due,
// and not sooner; it is sent again only where its answer was lost; and there is never more than one change at a time.
func (w *dueRoles) problem(r *dueRole) string {
	system, name := target(r.role)
	if n := w.sim.MaxConcurrentChanges(system, name); n > 1 {
		return fmt.Sprintf("%d changes at a time", n)
	}
	passwords := w.passwordsSet(r.role)
	for i, s := range passwords {
		if s.times > 1 && !w.answerLost(r, s) {
			return fmt.Sprintf("the password %d was sent again, and had been answered", i+1)
		}
		if i == 0 {
			continue
		}
		before, least := passwords[i-1], r.period
		since := before.last
		if before.times > 1 && r.withOld() { // what was sent is shown as the old password, once it could not be applied any more
			since, least = before.first, tryTime
		}
		if after := s.first.Arrived.Sub(since.Arrived); after < least {
			return fmt.Sprintf("the password %d was changed after %s, before it was due", i, after)
		}
	}
	return ""
}

// answerLost tells whether the active node may have gone before it had the first answer: one that was held, or one that came
// when the node went.
func (w *dueRoles) answerLost(r *dueRole, s sending) bool {
	return slices.ContainsFunc(w.gaps, func(g gap) bool {
		sent := s.first.Arrived
		return sent.Before(g.until) && s.last.Arrived.After(g.from) &&
			(r.turn == g.turn && s.first.Fault != "" || sent.After(g.from.Add(-time.Second)))
	})
}

// table lists the passwords of each role by when they were sent.
func (w *dueRoles) table() string {
	var out strings.Builder
	for _, r := range w.roles {
		fmt.Fprintf(&out, "%-9s", r.name)
		for _, s := range w.passwordsSet(r.role) {
			fmt.Fprintf(&out, " %5.1f", s.first.Arrived.Sub(w.began).Seconds())
			if s.times > 1 {
				fmt.Fprintf(&out, " (%d times until %.1f)", s.times, s.last.Arrived.Sub(w.began).Seconds())
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}
