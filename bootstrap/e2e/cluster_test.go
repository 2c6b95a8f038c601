package e2e

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// cluster is three Vaults of a test.
type cluster struct{ *vaulttest.Cluster }

func newCluster(t *testing.T) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "hosting") //nolint:usetesting // short, for Unix sockets
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c, err := vaulttest.StartCluster(t.Context(), binaries.vault, binaries.plugin, dir)
	require.NoError(t, err)
	t.Cleanup(func() { // the simulators have ended and reported what they saw
		defer c.Stop()
		if t.Failed() { // a node may be down
			return
		}
		active, err := c.Active(context.Background())
		require.NoError(t, err)
		others := slices.DeleteFunc(slices.Clone(c.Nodes()), func(v *vaulttest.Vault) bool { return v == active })
		require.NoError(t, findSecrets(context.Background(), active, others...))
	})
	return &cluster{c}
}

// mount returns a mount whose requests go to a node. They are repeated while the cluster has no active node, as Raft may
// elect another one at any time.
func (c *cluster) mount(t *testing.T, v *vaulttest.Vault, config simulator.Config) *mount {
	t.Helper()
	m := bareMountIn(t, v, config)
	m.retries = 20
	return m
}

// through returns the same mount for requests to another node, in a subtest.
func (m *mount) through(t *testing.T, v *vaulttest.Vault) *mount {
	t.Helper()
	other := *m
	other.t, other.vault = t, v
	return &other
}

// standbys waits until the cluster has n standbys that know the active node.
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

// takeover is a way in which the active node goes, and how it becomes a standby afterwards.
type takeover struct {
	name         string
	end, restore func(context.Context, *cluster, *vaulttest.Vault) error
	// midChange: the takeover comes in the middle of changes, while the remote systems hold their answers.
	midChange bool
}

// A hanging node keeps its requests open. It is not caught in the middle of a change, because the next node does not wait
// for its request before it sends the same password. A node that has stepped down cannot become active again for ten
// seconds, so step-down is last.
var takeovers = []takeover{
	{
		"hang",
		func(_ context.Context, c *cluster, v *vaulttest.Vault) error { return c.Suspend(v) },
		// When it resumes, it still believes that it is active and that passwords are overdue which the next node has changed.
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

// The active node goes in several ways while passwords become due: before it goes, with an answer that is lost with the
// node; while no node is active; and afterwards. The remote systems show what was changed. Only the engine changes
// anything there.
func TestTakeoverChangesDuePasswordsOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	require.True(t, t.Run("standbys forward requests", c.forwardRequests))
	w := c.newDueRoles(t, takeovers)
	for _, way := range takeovers {
		require.True(t, t.Run(way.name, func(t *testing.T) { w.takeOver(t, way) }))
	}
	w.waitUntil(t, w.roles, "the last active node should change every password", w.changed)
	w.windDown(t)
	w.nothingLocked()
	require.Zero(t, w.sim.Trapped(), "the engine never follows a redirect")
	require.True(t, t.Run("proofs and restarts", c.keepProofs))
	t.Log("changes and when their requests arrived, in seconds:\n" + w.table())
}

// takeOver makes another node take over while some roles are in the middle of a change and others become due.
func (w *dueRoles) takeOver(t *testing.T, way takeover) {
	t.Helper()
	midChange := w.filter(func(r *dueRole) bool { return r.heldAt == way.name })
	for _, r := range midChange {
		w.fault(r.role, lab.Fault{Kind: lab.Hold, Count: 1})
	}
	w.makeDue(t, midChange)
	w.waitUntil(t, midChange, "the remote system should have the request", w.held)
	others := w.filter(func(r *dueRole) bool { return r.afterRead > 0 && r.heldAt == "" })
	w.makeDue(t, others)

	active, err := w.cluster.Active(t.Context())
	require.NoError(t, err)
	w.since = time.Now()
	require.NoError(t, way.end(t.Context(), w.cluster, active))
	next, err := w.cluster.Active(t.Context())
	require.NoError(t, err)
	took := time.Since(w.since)
	w.waitUntil(t, others, "the next node should change what has become due", w.changed)
	w.waitUntil(t, midChange, "the next node should resume what was interrupted", w.resumed)
	t.Logf("%s took over from %s in %.1f s, and had changed what was due %.1f s later", next.Name(), active.Name(),
		took.Seconds(), (time.Since(w.since) - took).Seconds())
	require.NoError(t, way.restore(t.Context(), w.cluster, active))
}

// forwardRequests sends every kind of request to standbys.
func (c *cluster) forwardRequests(t *testing.T) {
	t.Helper()
	standbys := c.standbys(t, 2)
	m := c.mount(t, standbys[0], simulator.Config{})
	other := m.through(t, standbys[1])
	m.must("config/panel", m.panel())
	other.must("config/cloud", m.cloud())
	for name, role := range map[string]data{"web1": alias("ops1"), "cache": m.account("app")} {
		created := m.must("roles/"+name, role)
		require.Equal(t, "active", created.Data["state"])
		first := other.workingCreds(name, role)
		other.must("rotate-role/"+name, data{"version": versionOf(t, first)})
		second := m.workingCreds(name, role)
		require.Equal(t, versionOf(t, first)+1, versionOf(t, second))
		require.Error(t, m.login(role, first["password"]), "the previous password should not work any more")

		const chosen = "chosen_BY-hand~4713!long" // #nosec G101 -- of a simulated account
		m.must("set-password/"+name, data{"password": chosen})
		require.Equal(t, chosen, other.workingCreds(name, role)["password"])
		require.Equal(t, "active", other.read("status/" + name)["state"])
		c.assertSameAnswers(t, m, "creds/"+name, "status/"+name, "history/"+name, "roles/"+name)

		m.must("roles/"+name, data{"disable_automated_rotation": true}) // so that the outcome stays unknown
		m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
		require.Equal(t, "uncertain", other.must("rotate-role/"+name, data{"version": versionOf(t, m.creds(name))}).Data["state"])
		sent := m.read("status/" + name)["next_version"]
		m.must("confirm-role/"+name, data{"version": sent})
		require.Equal(t, sent, other.workingCreds(name, role)["version"])

		require.NoError(t, other.forceDelete("roles/"+name))
		_, err := m.client().Logical().Read(m.path + "/creds/" + name)
		require.Equal(t, http.StatusBadRequest, statusCode(err), "the role should be deleted")
	}
	bare := with(alias("ops2"), data{"skip_initial_rotation": true})
	m.must("roles/web2", bare)
	require.Zero(t, m.changes(bare))
	require.Equal(t, "active", other.workingCreds("web2", bare)["state"], "the first read sets a password")

	m.must("freeze", data{"duration": "1h", "reason": "a release"})
	require.Equal(t, "a release", other.read("freeze")["reason"])
	c.assertSameAnswers(t, m, "freeze", "status", "config/panel")
	require.NoError(t, other.delete("freeze"))
	require.Equal(t, false, m.read("freeze")["frozen"])
	c.assertSameAnswers(t, m, "freeze", "status", "settings")

	for _, v := range standbys {
		answers, err := os.ReadFile(v.AnswersFile())
		require.NoError(t, err)
		require.Positive(t, strings.Count(string(answers), m.path+"/creds/"), "%s should answer", v.Name())
		require.Zero(t, strings.Count(string(answers), ": 307 "), "%s should not redirect", v.Name())
	}
}

// assertSameAnswers asserts that all nodes answer reads in the same way.
func (c *cluster) assertSameAnswers(t *testing.T, m *mount, paths ...string) {
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
