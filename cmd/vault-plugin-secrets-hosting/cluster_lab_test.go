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
		if t.Failed() { // a node may be away
			return
		}
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

// dueRoles are roles whose passwords become due by themselves, while one node takes over from another.
type dueRoles struct {
	*mount
	cluster *cluster
	roles   []*dueRole
	began   time.Time
	// since is when the active node last went.
	since time.Time
}

// dueRole is a role whose password is due again and again (period), or once for each time that it is read (afterRead).
type dueRole struct {
	name              string
	role              data
	period, afterRead time.Duration
	// heldAt is the takeover that meets the role while its change is in the middle; empty: none does.
	heldAt string
	// version is the last one that was read, reads is how many were, and lost how many more may have been, as the answer of a
	// request got lost.
	version     int64
	reads, lost int
}

// withOld tells whether the remote system wants to see the old password.
func (r *dueRole) withOld() bool { return r.role["connection"] == "cloud" }

// periodic is the shortest rotation_period: such roles change all the time, wherever a takeover meets them.
const periodic = 10 * time.Second

// becomeDue makes roles for the takeovers, on two remote systems at least: the engine sends to one the same again where an answer
// got lost, and finds out at the other with another password.
func (c *cluster) becomeDue(t *testing.T, ways []takeover) *dueRoles {
	t.Helper()
	active, err := c.Active(t.Context())
	require.NoError(t, err)
	state := simulator.DefaultState()
	w := &dueRoles{cluster: c}
	kinds := []*dueRole{
		{name: "periodic", period: periodic},
		{name: "soon", afterRead: time.Second},      // while no node is active
		{name: "later", afterRead: 4 * time.Second}, // when the next one is
	}
	for _, way := range ways {
		if way.holds {
			kinds = append(kinds, &dueRole{name: dashed(way.name), afterRead: 2 * time.Second, heldAt: way.name})
		}
	}
	for _, kind := range kinds {
		state.Plesk.Aliases = append(state.Plesk.Aliases, plesk.Alias{Login: kind.name, Password: lab.RandomPassword()})
		state.DCS.Instances[0].Accounts = append(state.DCS.Instances[0].Accounts, dcs.Account{
			ID: lab.RandomUUID(), Name: kind.name, Password: lab.RandomPassword(),
		})
	}
	w.mount = c.mount(t, active, simulator.Config{State: state})
	w.quick()
	for name, connection := range map[string]data{"panel": w.panel(), "cloud": w.cloud(), "mt": w.mt()} {
		w.must("config/"+name, with(connection, data{"request_timeout": int(tryTime.Seconds())}))
	}
	services := []data{w.service("root"), w.service("plesk"), with(w.service("root"), data{"service_id": "557"})}
	for _, kind := range kinds {
		add := func(system string, role data) {
			one := *kind
			one.name, one.role = kind.name+"-"+system, role
			w.roles = append(w.roles, &one)
		}
		add("alias", alias(kind.name))
		add("account", w.account(kind.name))
		if kind.heldAt != "" {
			add("mt", services[0])
			services = services[1:]
		}
	}
	w.began = time.Now()
	together(t, w.roles, func(r *dueRole) {
		w.must("roles/"+r.name, with(r.role, data{
			"rotation_period": int(r.period.Seconds()), "rotate_after_read": int(r.afterRead.Seconds()),
		}))
	})
	return w
}

// those are the roles of which something is so.
func (w *dueRoles) those(so func(*dueRole) bool) []*dueRole {
	return slices.DeleteFunc(slices.Clone(w.roles), func(r *dueRole) bool { return !so(r) })
}

// standbys waits until there are as many, which each know the active node.
func (c *cluster) standbys(t *testing.T, n int) []*vaulttest.Vault {
	t.Helper()
	var standbys []*vaulttest.Vault
	var err error
	require.Eventually(t, func() bool {
		standbys, err = c.Standbys(t.Context())
		return err != nil || len(standbys) == n
	}, 2*waitLong, tick, "%d standbys", n)
	require.NoError(t, err)
	return standbys
}

// throughStandby is the mount for requests to a standby, in a part of the test.
func (w *dueRoles) throughStandby(t *testing.T) *mount {
	t.Helper()
	return w.through(t, w.cluster.standbys(t, len(w.cluster.Nodes())-1)[0])
}

// handOut reads the roles' passwords, which makes each of them due once, through a standby.
func (w *dueRoles) handOut(t *testing.T, roles []*dueRole) {
	t.Helper()
	m := w.throughStandby(t)
	m.retries = 0
	together(t, roles, func(r *dueRole) {
		m.waitFor(r.name, "creds should be read", func() bool {
			secret, err := m.client().Logical().Read(m.path + "/creds/" + r.name)
			if err != nil {
				r.lost++
				return false
			}
			secrets.addAnswer(secret.Data)
			if version := versionOf(t, secret.Data); version != r.version {
				r.version = version
				r.reads++
			}
			return true
		})
	})
}

// waitUntil waits until something is so for the roles, and asserts that nothing was changed that should not have been.
func (w *dueRoles) waitUntil(t *testing.T, roles []*dueRole, what string, so func(*dueRole) bool) {
	t.Helper()
	missing := func() (names []string) {
		for _, r := range roles {
			if !so(r) {
				names = append(names, r.name)
			}
		}
		return names
	}
	require.Eventually(t, func() bool { return len(missing()) == 0 }, waitLong, tick, "%s; missing: %v\n%v", what,
		lazy{func() string { return strings.Join(missing(), ", ") }}, lazy{w.table})
	w.assertOnce(t)
}

// held tells whether the remote system has kept an answer back for the role.
func (w *dueRoles) held(r *dueRole) bool {
	return slices.ContainsFunc(w.attempts(r.role), func(e lab.Entry) bool { return e.Fault == lab.Hold })
}

// goesOn tells whether a change whose answer was lost has been taken up again. Where the old password is wanted, the time of the
// request that was lost has to pass first, and nothing waits for that here.
func (w *dueRoles) goesOn(r *dueRole) bool {
	made := w.made(r)
	return r.withOld() || len(made) > r.reads && made[len(made)-1].repeated()
}

// changed tells whether all that became due was changed: for a periodic role, since the active node last went.
func (w *dueRoles) changed(r *dueRole) bool {
	made := w.made(r)
	if r.period > 0 {
		return made[len(made)-1].first().Arrived.After(w.since)
	}
	return len(made) > r.reads
}

// change is the requests by which the remote system got a new password, the first of which it carried out.
type change []lab.Entry

func (c change) first() lab.Entry { return c[0] }
func (c change) last() lab.Entry  { return c[len(c)-1] }

// repeated tells whether the last password was sent more than once.
func (c change) repeated() bool { return len(c) > 1 && c[len(c)-2].Nth == c.last().Nth }

// made are the changes of a role in the order in which they were made, the one that made the role included. Each has one
// password; but where an answer got lost, and the remote system wants to see the old password, the engine shows what it sent as
// that, once it can not be applied any more, and sends another one: this belongs to the same change.
func (w *dueRoles) made(r *dueRole) []change {
	var all []change
	for _, e := range w.attempts(r.role) {
		if n := len(all) - 1; n >= 0 {
			before := all[n]
			goesOn := r.withOld() && before.repeated() && e.Arrived.Sub(before.first().Arrived) >= tryTime-storing
			if e.Nth == before.last().Nth || goesOn {
				all[n] = append(before, e)
				continue
			}
		}
		if e.Applied {
			all = append(all, change{e})
		}
	}
	return all
}

// assertOnce asserts that each password takes the place of the one before when that is due and not sooner, that it is sent again
// only where its answer was lost, and that there is never more than one change at a time.
func (w *dueRoles) assertOnce(t *testing.T) {
	t.Helper()
	began, err := w.cluster.Began()
	require.NoError(t, err)
	for _, r := range w.roles {
		require.Empty(t, w.problem(r, began), "%s\n%v", r.name, lazy{w.table})
	}
}

// problem says what is wrong with how a role was changed; empty: nothing. began is when nodes became active.
func (w *dueRoles) problem(r *dueRole, began []time.Time) string {
	system, name := target(r.role)
	if n := w.sim.MaxConcurrentChanges(system, name); n > 1 {
		return fmt.Sprintf("%d changes at a time", n)
	}
	made := w.made(r)
	if most := 1 + r.reads + r.lost; r.afterRead > 0 && len(made) > most {
		return fmt.Sprintf("%d changes, and it was due for %d", len(made), most)
	}
	for i, c := range made {
		for j, e := range c[1:] {
			before := c[j]
			tookOver := slices.ContainsFunc(began, func(at time.Time) bool { return at.After(before.Arrived) && at.Before(e.Arrived) })
			if e.Nth == before.Nth && before.Fault == "" && !tookOver {
				return fmt.Sprintf("the password of change %d was sent again, and had been answered", i)
			}
		}
		if i > 0 && r.period > 0 {
			if after := c.first().Arrived.Sub(made[i-1].last().Arrived); after < r.period {
				return fmt.Sprintf("change %d came %s after the one before, and was not due", i, after)
			}
		}
	}
	return ""
}

// rest lets no password become due any more, and asserts that each role comes to rest with one that works.
func (w *dueRoles) rest(t *testing.T) {
	t.Helper()
	m := w.throughStandby(t)
	together(t, w.roles, func(r *dueRole) {
		m.must("roles/"+r.name, data{"rotation_period": 3600, "rotate_after_read": 0})
		var d data
		m.waitFor(r.name, "nothing should be open, and the password should work", func() bool {
			d = m.creds(r.name)
			return slices.Contains([]any{"active", "assumed"}, d["state"]) && m.login(r.role, d["password"]) == nil
		})
		passwords := 0
		for _, e := range w.attempts(r.role) {
			passwords = max(passwords, e.Nth)
		}
		if r.withOld() {
			passwords++ // the one that the role was given
		}
		require.EqualValues(t, passwords, versionOf(t, d), "%s: no password was made and not sent", r.name)
		require.True(t, r.heldAt == "" || w.held(r), "%s: the change was met in the middle", r.name)
	})
	w.assertOnce(t)
}

// table lists when the requests of each change came, in seconds.
func (w *dueRoles) table() string {
	var out strings.Builder
	for _, r := range w.roles {
		fmt.Fprintf(&out, "%-18s", r.name)
		for _, c := range w.made(r) {
			requests := make([]string, len(c))
			for i, e := range c {
				requests[i] = fmt.Sprintf("%.1f", e.Arrived.Sub(w.began).Seconds())
			}
			out.WriteString(" " + strings.Join(requests, "+"))
		}
		out.WriteString("\n")
	}
	return out.String()
}
