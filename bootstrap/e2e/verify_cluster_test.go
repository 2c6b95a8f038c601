package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// keepProofs kills the active node in the middle of a restart and of a login. The next one follows the restart, and logs in.
func (c *cluster) keepProofs(t *testing.T) {
	t.Helper()
	active, err := c.Active(t.Context())
	require.NoError(t, err)
	standby := c.standbys(t, len(c.Nodes())-1)[0]
	m := c.mount(t, standby, simulator.Config{})
	m.speedUp()
	m.connect()
	roles := map[string]data{
		"cache": m.proved(m.account("app")),
		"web":   with(m.adopted(m.proved(m.cloudServers("cloud-1", "cloud-2"))), data{"restart": "soft"}),
	}
	before := map[string]int64{"cache": 2, "web": 1}
	for name, role := range roles {
		m.must("roles/"+name, role)
		m.waitUntilProved(name, role, before[name])
	}
	require.NoError(t, m.sim.Switch("ecs", "restart_ms", 5000))
	m.must("rotate-role/web", nil)
	m.fault(roles["cache"], lab.Fault{System: "redis", Target: "*", Kind: lab.Stall, Operations: []string{lab.OpLogin}})
	answer := m.writeAsync(t.Context(), "rotate-role/cache", data{"version": 2})
	require.Eventually(t, func() bool {
		return m.sim.Faults()[0].Holding > 0 && m.sim.ECS(servers(roles["web"])[0]).PowerActions == 1
	}, waitLong, tick, "a login should be under way, and a restart")
	c.Kill(active)
	m.clearFaults()
	require.NoError(t, m.sim.Switch("ecs", "restart_ms", restartMS))
	_, err = c.Active(t.Context())
	require.NoError(t, err)
	if err := <-answer; err != nil {
		require.True(t, vaultGone(err), "the caller got %v", err)
	}
	for name, role := range roles {
		m.waitUntilProved(name, role, before[name]+1)
		require.Zero(t, m.refusedCount(role))
	}
	m.restarted(roles["web"], 1)
	require.Equal(t, 2, m.changes(roles["cache"]), "the password was not sent again")
	require.NoError(t, c.Restart(t.Context(), active))
}
