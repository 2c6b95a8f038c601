package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// takeover is a way in which the active node ceases to be that, and how it becomes a standby.
type takeover struct {
	name string
	end  func(*testing.T, *cluster, *vaulttest.Vault) error
	back func(*testing.T, *cluster, *vaulttest.Vault) error
}

// A node that has stepped down takes ten seconds before it may be active again, even if it is the only candidate: it comes last.
var takeovers = []takeover{
	{
		"seal",
		func(t *testing.T, c *cluster, v *vaulttest.Vault) error { t.Helper(); return c.Seal(t.Context(), v) },
		func(t *testing.T, c *cluster, v *vaulttest.Vault) error { t.Helper(); return c.Unseal(t.Context(), v) },
	},
	{
		"kill -9",
		func(t *testing.T, c *cluster, v *vaulttest.Vault) error { t.Helper(); c.Kill(v); return nil },
		func(t *testing.T, c *cluster, v *vaulttest.Vault) error { t.Helper(); return c.Restart(t.Context(), v) },
	},
	{
		"step-down",
		func(t *testing.T, c *cluster, _ *vaulttest.Vault) error { t.Helper(); return c.StepDown(t.Context()) },
		func(*testing.T, *cluster, *vaulttest.Vault) error { return nil },
	},
}

// Passwords become due every few seconds while one node takes over from another, in several ways. Where the active node ends, the
// remote systems have made some of the changes and not answered them yet. What goes on is seen there: nobody asks Vault.
func TestAPasswordThatIsDueIsChangedOnceWhicheverWayTheActiveNodeGoes(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	w := c.becomeDue(t)
	require.True(t, t.Run("standbys forward requests", c.forward)) // until the first passwords are due
	require.True(t, t.Run("hang", w.hang))
	for turn, way := range takeovers {
		require.True(t, t.Run(way.name, func(t *testing.T) { w.takeOver(t, turn, way) }))
	}
	w.waitForAll(t, "the last node should change every password", func(r *dueRole) bool { return w.changedSince(r, w.since) })
	w.rest(t)
	w.nothingLocked()
	require.Zero(t, w.sim.Trapped(), "no redirect is ever followed")
	t.Log("passwords and when they were sent, in seconds:\n" + w.table())
}

// hang stops the active node when passwords are about to become due, and lets it go on when another one has changed them. It
// takes itself for the active node then, and the passwords for overdue.
func (w *dueRoles) hang(t *testing.T) {
	t.Helper()
	active, err := w.cluster.Active(t.Context())
	require.NoError(t, err)
	require.Eventually(t, w.oneIsDueSoon, waitLong, tick, "a password is due soon")
	began := time.Now()
	require.NoError(t, w.cluster.Suspend(active))
	w.since = time.Now()
	next, err := w.cluster.Active(t.Context())
	require.NoError(t, err)
	w.gaps = append(w.gaps, gap{began, time.Now(), -1})
	t.Logf("%s took over from %s in %.1f s", next.Name(), active.Name(), time.Since(began).Seconds())
	w.waitForAll(t, "what became due in between should be changed", func(r *dueRole) bool { return w.changedSince(r, w.since) })
	require.NoError(t, w.cluster.Resume(t.Context(), active))
}

// takeOver lets another node take over while some roles' changes are in the middle, and others become due.
func (w *dueRoles) takeOver(t *testing.T, turn int, way takeover) {
	t.Helper()
	for _, r := range w.roles {
		if r.turn == turn {
			w.fault(r.role, lab.Fault{Kind: lab.Hold, Count: 1})
		}
	}
	w.waitForAll(t, "passwords should become due", func(r *dueRole) bool {
		switch {
		case r.turn == turn:
			return w.holds(r.role)
		case r.turn == turn-1 && r.withOld(): // the time of the try that nobody answered has to pass first
			return true
		default:
			return r.period > duePeriod || w.changedSince(r, w.since)
		}
	})
	require.Eventually(t, w.oneIsDueSoon, tryTime, tick, "another password is due soon")
	requests, due := map[string]int{}, map[string]time.Time{}
	for _, r := range w.roles {
		require.True(t, r.turn != turn || w.holds(r.role), "%s: the try has ended before this machine came to the end of the node", r.name)
		requests[r.name], due[r.name] = w.calls(r.role), w.due(r)
	}
	active, err := w.cluster.Active(t.Context())
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, way.end(t, w.cluster, active))
	w.since = time.Now()
	next, err := w.cluster.Active(t.Context())
	require.NoError(t, err)
	w.gaps = append(w.gaps, gap{began, time.Now(), turn})
	t.Logf("%s took over from %s in %.1f s", next.Name(), active.Name(), time.Since(began).Seconds())
	for name, at := range due {
		if at.After(began) && at.Before(time.Now()) {
			t.Logf("%s was due in between", name)
		}
	}
	w.heal()
	require.NoError(t, way.back(t, w.cluster, active))

	w.waitForAll(t, "what was interrupted should go on", func(r *dueRole) bool {
		return r.turn != turn || w.calls(r.role) > requests[r.name]
	})
	m := w.throughStandby(t)
	together(t, w.roles, func(r *dueRole) { m.logsIn(r.name, r.role) })
}

// forward asks standbys for everything.
func (c *cluster) forward(t *testing.T) {
	t.Helper()
	standbys, err := c.Standbys(t.Context())
	require.NoError(t, err)
	require.Len(t, standbys, 2)
	m := c.mount(t, standbys[0], simulator.Config{})
	other := m.through(t, standbys[1])
	m.must("config/panel", m.panel())
	other.must("config/cloud", m.cloud())
	for name, role := range map[string]data{"web1": alias("ops1"), "cache": m.account("app")} {
		created := m.must("roles/"+name, role)
		require.Equal(t, "active", created.Data["state"])
		first := other.works(name, role)
		other.must("rotate-role/"+name, data{"version": versionOf(t, first)})
		second := m.works(name, role)
		require.Equal(t, versionOf(t, first)+1, versionOf(t, second))
		require.Error(t, m.login(role, first["password"]), "the password before must not work any more")

		const chosen = "chosen_BY-hand~4713!long" // #nosec G101 -- of a simulated account
		m.must("set-password/"+name, data{"password": chosen})
		require.Equal(t, chosen, other.works(name, role)["password"])
		require.Equal(t, "active", other.read("status/" + name)["state"])

		m.must("roles/"+name, data{"disable_automated_rotation": true}) // what is unknown stays so
		m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
		require.Equal(t, "uncertain", other.must("rotate-role/"+name, data{"version": versionOf(t, m.creds(name))}).Data["state"])
		sent := m.read("status/" + name)["next_version"]
		m.must("confirm-role/"+name, data{"version": sent})
		require.Equal(t, sent, other.works(name, role)["version"])

		_, err = other.client().Logical().DeleteWithData(m.path+"/roles/"+name, map[string][]string{"force": {"true"}})
		require.NoError(t, err)
		_, err = m.client().Logical().Read(m.path + "/creds/" + name)
		require.Equal(t, http.StatusBadRequest, status(err), "the role is gone")
	}
	bare := with(alias("ops2"), data{"skip_initial_rotation": true})
	m.must("roles/web2", bare)
	require.Zero(t, m.changes(bare))
	require.Equal(t, "active", other.works("web2", bare)["state"], "the first read sets a password")
	for _, v := range standbys {
		answers, err := os.ReadFile(v.AnswersFile())
		require.NoError(t, err)
		require.Positive(t, strings.Count(string(answers), m.path+"/creds/"), "%s answers", v.Name())
		require.Zero(t, strings.Count(string(answers), ": 307 "), "%s sends nobody elsewhere", v.Name())
	}
}
