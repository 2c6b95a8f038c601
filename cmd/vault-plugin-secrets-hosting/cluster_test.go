package main

import (
	"context"
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

// takeover is a way in which the active node ceases to be that, and how it becomes a standby afterwards.
type takeover struct {
	name      string
	end, back func(context.Context, *cluster, *vaulttest.Vault) error
	// holds: it meets changes in the middle, as the remote systems hold their answers.
	holds bool
}

// The first node leaves its requests open while it hangs: none of them is held, as the next node does not wait for it with the
// same password. One that has stepped down may not be active again for ten seconds: that comes last.
var takeovers = []takeover{
	{
		"hang",
		func(_ context.Context, c *cluster, v *vaulttest.Vault) error { return c.Suspend(v) },
		// It takes itself for the active node then, and passwords for overdue that the next one has changed.
		func(ctx context.Context, c *cluster, v *vaulttest.Vault) error { return c.Resume(ctx, v) },
		false,
	},
	{
		"seal",
		func(ctx context.Context, c *cluster, v *vaulttest.Vault) error { return c.Seal(ctx, v) },
		func(ctx context.Context, c *cluster, v *vaulttest.Vault) error { return c.Unseal(ctx, v) },
		true,
	},
	{
		"kill -9",
		func(_ context.Context, c *cluster, v *vaulttest.Vault) error { c.Kill(v); return nil },
		func(ctx context.Context, c *cluster, v *vaulttest.Vault) error { return c.Restart(ctx, v) },
		true,
	},
	{
		"step-down",
		func(ctx context.Context, c *cluster, _ *vaulttest.Vault) error { return c.StepDown(ctx) },
		func(context.Context, *cluster, *vaulttest.Vault) error { return nil },
		true,
	},
}

// One node takes over from another in several ways, while passwords become due: before, with an answer that is lost with the node;
// while no node is active; and after. What is done is seen at the remote systems, where nothing but the engine changes anything.
func TestAPasswordThatIsDueIsChangedOnceWhicheverWayTheActiveNodeGoes(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	require.True(t, t.Run("standbys forward requests", c.forward))
	w := c.becomeDue(t, takeovers)
	for _, way := range takeovers {
		require.True(t, t.Run(way.name, func(t *testing.T) { w.takeOver(t, way) }))
	}
	w.waitUntil(t, w.roles, "the last node should change every password", w.changed)
	w.rest(t)
	w.nothingLocked()
	require.Zero(t, w.sim.Trapped(), "no redirect is ever followed")
	t.Log("changes and when their requests came, in seconds:\n" + w.table())
}

// takeOver lets another node take over while changes of some roles are in the middle, and others become due.
func (w *dueRoles) takeOver(t *testing.T, way takeover) {
	t.Helper()
	inTheMiddle := w.those(func(r *dueRole) bool { return r.heldAt == way.name })
	for _, r := range inTheMiddle {
		w.fault(r.role, lab.Fault{Kind: lab.Hold, Count: 1})
	}
	w.handOut(t, inTheMiddle)
	w.waitUntil(t, inTheMiddle, "the remote system should have the request", w.held)
	others := w.those(func(r *dueRole) bool { return r.afterRead > 0 && r.heldAt == "" })
	w.handOut(t, others)

	active, err := w.cluster.Active(t.Context())
	require.NoError(t, err)
	w.since = time.Now()
	require.NoError(t, way.end(t.Context(), w.cluster, active))
	next, err := w.cluster.Active(t.Context())
	require.NoError(t, err)
	took := time.Since(w.since)
	w.waitUntil(t, others, "the next node should change what has become due", w.changed)
	w.waitUntil(t, inTheMiddle, "the next node should go on with what was interrupted", w.goesOn)
	t.Logf("%s took over from %s in %.1f s, and had changed what was due %.1f s later", next.Name(), active.Name(),
		took.Seconds(), (time.Since(w.since) - took).Seconds())
	require.NoError(t, way.back(t.Context(), w.cluster, active))
}

// forward asks standbys for everything.
func (c *cluster) forward(t *testing.T) {
	t.Helper()
	standbys := c.standbys(t, 2)
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
		c.answerAlike(t, m, "creds/"+name, "status/"+name, "history/"+name, "roles/"+name)

		m.must("roles/"+name, data{"disable_automated_rotation": true}) // what is unknown stays so
		m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
		require.Equal(t, "uncertain", other.must("rotate-role/"+name, data{"version": versionOf(t, m.creds(name))}).Data["state"])
		sent := m.read("status/" + name)["next_version"]
		m.must("confirm-role/"+name, data{"version": sent})
		require.Equal(t, sent, other.works(name, role)["version"])

		_, err := other.client().Logical().DeleteWithData(m.path+"/roles/"+name, map[string][]string{"force": {"true"}})
		require.NoError(t, err)
		_, err = m.client().Logical().Read(m.path + "/creds/" + name)
		require.Equal(t, http.StatusBadRequest, status(err), "the role is gone")
	}
	bare := with(alias("ops2"), data{"skip_initial_rotation": true})
	m.must("roles/web2", bare)
	require.Zero(t, m.changes(bare))
	require.Equal(t, "active", other.works("web2", bare)["state"], "the first read sets a password")

	m.must("freeze", data{"duration": "1h", "reason": "a release"})
	require.Equal(t, "a release", other.read("freeze")["reason"])
	c.answerAlike(t, m, "freeze", "status", "config/panel")
	_, err := other.client().Logical().Delete(m.path + "/freeze")
	require.NoError(t, err)
	require.Equal(t, false, m.read("freeze")["frozen"])
	c.answerAlike(t, m, "freeze", "status", "settings")

	for _, v := range standbys {
		answers, err := os.ReadFile(v.AnswersFile())
		require.NoError(t, err)
		require.Positive(t, strings.Count(string(answers), m.path+"/creds/"), "%s answers", v.Name())
		require.Zero(t, strings.Count(string(answers), ": 307 "), "%s sends nobody elsewhere", v.Name())
	}
}

// answerAlike asserts that all nodes answer reads in the same way.
func (c *cluster) answerAlike(t *testing.T, m *mount, paths ...string) {
	t.Helper()
	active, err := c.Active(t.Context())
	require.NoError(t, err)
	for _, path := range paths {
		expected := without(m.through(t, active).read(path), "ttl") // it counts down
		for _, v := range c.Nodes() {
			require.Equal(t, expected, without(m.through(t, v).read(path), "ttl"), "%s of %s", path, v.Name())
		}
	}
}
