package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/dcs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
)

// dueRoles are roles whose passwords become due without a request, while one node takes over from another.
type dueRoles struct {
	*mount
	cluster *cluster
	roles   []*dueRole
	began   time.Time
	// since is when the last active node went.
	since time.Time
}

// dueRole is a role whose password becomes due periodically (period), or once for each time that it is read (afterRead).
type dueRole struct {
	name              string
	role              data
	period, afterRead time.Duration
	// heldAt is the takeover that comes in the middle of the role's change; "" if none does.
	heldAt string
	// version is the last one that was read, reads how many versions were, lost how many more may have been: the answers of
	// these reads were lost.
	version     int64
	reads, lost int
}

// withOld reports whether the remote system wants the old password.
func (r *dueRole) withOld() bool { return r.role["connection"] == "cloud" }

// periodic is the shortest rotation_period. Such roles change during every takeover.
const periodic = 10 * time.Second

// newDueRoles creates roles for the takeovers on at least two remote systems. After a lost answer, the engine sends the same
// password to one of them again, and resolves the outcome with another password at the other.
func (c *cluster) newDueRoles(t *testing.T, ways []takeover) *dueRoles {
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
		if way.midChange {
			kinds = append(kinds, &dueRole{name: roleName(way.name), afterRead: 2 * time.Second, heldAt: way.name})
		}
	}
	for _, kind := range kinds {
		state.Plesk.Aliases = append(state.Plesk.Aliases, plesk.Alias{Login: kind.name, Password: lab.RandomPassword()})
		state.DCS.Instances[0].Accounts = append(state.DCS.Instances[0].Accounts, dcs.Account{
			ID: lab.RandomUUID(), Name: kind.name, Password: lab.RandomPassword(),
		})
	}
	w.mount = c.mount(t, active, simulator.Config{State: state})
	w.speedUp()
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
	inParallel(t, w.roles, func(r *dueRole) {
		w.must("roles/"+r.name, with(r.role, data{
			"rotation_period": int(r.period.Seconds()), "rotate_after_read": int(r.afterRead.Seconds()),
		}))
	})
	return w
}

// filter returns the roles that meet a condition.
func (w *dueRoles) filter(condition func(*dueRole) bool) []*dueRole {
	return slices.DeleteFunc(slices.Clone(w.roles), func(r *dueRole) bool { return !condition(r) })
}

// throughStandby returns the mount for requests to a standby, in a subtest.
func (w *dueRoles) throughStandby(t *testing.T) *mount {
	t.Helper()
	return w.through(t, w.cluster.standbys(t, len(w.cluster.Nodes())-1)[0])
}

// makeDue reads the roles' passwords through a standby, which makes each of them due once.
func (w *dueRoles) makeDue(t *testing.T, roles []*dueRole) {
	t.Helper()
	m := w.throughStandby(t)
	m.retries = 0
	inParallel(t, roles, func(r *dueRole) {
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

// waitUntil waits until the roles meet a condition, and asserts that no password was changed that was not due.
func (w *dueRoles) waitUntil(t *testing.T, roles []*dueRole, what string, condition func(*dueRole) bool) {
	t.Helper()
	missing := func() (names []string) {
		for _, r := range roles {
			if !condition(r) {
				names = append(names, r.name)
			}
		}
		return names
	}
	require.Eventually(t, func() bool { return len(missing()) == 0 }, waitLong, tick, "%s; missing: %v\n%v", what,
		lazy{func() string { return strings.Join(missing(), ", ") }}, lazy{w.table})
	w.assertOnce(t)
}

// held reports whether the remote system has held an answer back for the role.
func (w *dueRoles) held(r *dueRole) bool {
	return slices.ContainsFunc(w.requestsByArrival(r.role), func(e lab.Entry) bool { return e.Fault == lab.Hold })
}

// resumed reports whether a change whose answer was lost has been resumed. Where the old password is wanted, the time limit of
// the lost request has to pass first, which the test does not wait for.
func (w *dueRoles) resumed(r *dueRole) bool {
	made := w.made(r)
	return r.withOld() || len(made) > r.reads && made[len(made)-1].repeated()
}

// changed reports whether every password that became due was changed: for a periodic role, since the last active node went.
func (w *dueRoles) changed(r *dueRole) bool {
	made := w.made(r)
	if r.period > 0 {
		return made[len(made)-1].first().Arrived.After(w.since)
	}
	return len(made) > r.reads
}

// change is the requests that make up one change. The remote system carried out the first of them.
type change []lab.Entry

func (c change) first() lab.Entry { return c[0] }
func (c change) last() lab.Entry  { return c[len(c)-1] }

// repeated reports whether the last password was sent more than once.
func (c change) repeated() bool { return len(c) > 1 && c[len(c)-2].Nth == c.last().Nth }

// made returns the changes of a role in their order, including the one that created it. Each has one password, with an
// exception: if an answer is lost and the remote system wants the old password, the engine presents the password that it sent
// as the old one, once the lost request cannot be applied any more, and sends another one. That belongs to the same change.
func (w *dueRoles) made(r *dueRole) []change {
	var all []change
	for _, e := range w.requestsByArrival(r.role) {
		if n := len(all) - 1; n >= 0 {
			before := all[n]
			resumes := r.withOld() && before.repeated() && e.Arrived.Sub(before.first().Arrived) >= tryTime-storing
			if e.Nth == before.last().Nth || resumes {
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

// assertOnce asserts that each password is replaced when it is due and not sooner, that a password is sent again only if its
// answer was lost, and that there is never more than one change at a time.
func (w *dueRoles) assertOnce(t *testing.T) {
	t.Helper()
	began, err := w.cluster.Began()
	require.NoError(t, err)
	for _, r := range w.roles {
		require.Empty(t, w.problem(r, began), "%s\n%v", r.name, lazy{w.table})
	}
}

// problem describes what is wrong with the changes of a role; "" if nothing is. began is when nodes became active.
func (w *dueRoles) problem(r *dueRole, began []time.Time) string {
	system, name := target(r.role)
	if n := w.sim.MaxConcurrentChanges(system, name); n > 1 {
		return fmt.Sprintf("%d changes at a time", n)
	}
	made := w.made(r)
	if most := 1 + r.reads + r.lost; r.afterRead > 0 && len(made) > most {
		return fmt.Sprintf("%d changes, but only %d were due", len(made), most)
	}
	for i, c := range made {
		for j, e := range c[1:] {
			before := c[j]
			tookOver := slices.ContainsFunc(began, func(at time.Time) bool { return at.After(before.Arrived) && at.Before(e.Arrived) })
			if e.Nth == before.Nth && before.Fault == "" && !tookOver {
				return fmt.Sprintf("the password of change %d was sent again although it had been answered", i)
			}
		}
		if i > 0 && r.period > 0 {
			if after := c.first().Arrived.Sub(made[i-1].last().Arrived); after < r.period {
				return fmt.Sprintf("change %d came %s after the previous one and was not due", i, after)
			}
		}
	}
	return ""
}

// windDown keeps passwords from becoming due, and asserts that each role becomes idle with a password that works.
func (w *dueRoles) windDown(t *testing.T) {
	t.Helper()
	m := w.throughStandby(t)
	inParallel(t, w.roles, func(r *dueRole) {
		m.must("roles/"+r.name, data{"rotation_period": 3600, "rotate_after_read": 0})
		var d data
		m.waitFor(r.name, "no change should be open, and the password should work", func() bool {
			d = m.creds(r.name)
			return slices.Contains([]any{"active", "assumed"}, d["state"]) && m.login(r.role, d["password"]) == nil
		})
		passwords := 0
		for _, e := range w.requestsByArrival(r.role) {
			passwords = max(passwords, e.Nth)
		}
		if r.withOld() {
			passwords++ // the one that was given with the role
		}
		require.EqualValues(t, passwords, versionOf(t, d), "%s: every password that was generated should have been sent", r.name)
		require.True(t, r.heldAt == "" || w.held(r), "%s: the takeover should come in the middle of the change", r.name)
	})
	w.assertOnce(t)
}

// table lists when the requests of each change arrived, in seconds.
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
