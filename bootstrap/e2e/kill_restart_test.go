package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// These tests restart the Vault of the package, so they are not parallel.

func TestChangeResumesAfterVaultRestart(t *testing.T) {
	m := newMount(t)
	roles := map[string]data{"web1": alias("ops1"), "cache": m.account("app")}
	before := map[string]data{}
	for name, role := range roles {
		m.must("roles/"+name, role)
		before[name] = m.workingCreds(name, role)
		m.fault(role, lab.Fault{Kind: lab.Hold, Count: 1})
	}
	ended := make(chan struct{}, len(roles))
	for name := range roles {
		go func() {
			_, _ = m.write("rotate-role/"+name, nil) // it ends with Vault
			ended <- struct{}{}
		}()
	}
	require.Eventually(t, func() bool { // applied, and the answers held back
		held := 0
		for _, f := range m.sim.Faults() {
			held += f.Holding
		}
		return held == len(roles)
	}, waitLong, tick)
	require.NoError(t, vault.Restart(t.Context()))
	m.clearFaults()
	for range roles {
		<-ended
	}
	for name, role := range roles {
		require.Eventually(t, func() bool {
			d := m.creds(name)
			return d["state"] == "active" && versionOf(t, d) > versionOf(t, before[name])
		}, waitLong, tick)
		m.workingCreds(name, role)
	}
	m.nothingLocked()
}

func TestKilledPluginLosesNothing(t *testing.T) {
	m := newMount(t)
	roles := map[string]data{"web1": alias("ops1"), "cache": m.account("app")}
	for name, role := range roles {
		m.must("roles/"+name, role)
		m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
		secret := m.must("rotate-role/"+name, nil)
		require.NotEmpty(t, secret.Warnings, "an unknown outcome comes with a warning")
	}
	require.NoError(t, vault.KillPlugin())
	m.waitUntilServed("creds/web1")
	for name, role := range roles {
		m.waitForState(name, "active")
		m.workingCreds(name, role)
	}
	m.nothingLocked()
}

func TestKilledPluginForgetsNoConfirmedChange(t *testing.T) {
	m := newMount(t)
	role := m.account("app")
	m.must("roles/cache", role)
	before := m.workingCreds("cache", role)
	require.NoError(t, m.sim.Switch("dcs", "settle_ms", 3600_000))
	m.sim.ClearJournal()
	require.Equal(t, "uncertain", m.must("rotate-role/cache", nil).Data["state"])
	require.NoError(t, vault.KillPlugin())
	m.waitUntilServed("creds/cache")
	require.Equal(t, before["password"], m.workingCreds("cache", role)["password"])
	require.NoError(t, m.sim.Switch("dcs", "settle_ms", 0))
	m.waitForState("cache", "active")
	d := m.workingCreds("cache", role)
	require.Equal(t, versionOf(t, before)+1, versionOf(t, d))
	require.Equal(t, 1, m.calls(role), "the password is in force, so the old one is wrong")
	_, name := target(role)
	require.Zero(t, m.sim.DCS(name).Failed)
}

// waitUntilServed reads until Vault has started the plugin again, which the first request makes it do.
func (m *mount) waitUntilServed(path string) {
	m.t.Helper()
	require.Eventually(m.t, func() bool {
		_, err := m.client().Logical().Read(m.path + "/" + path)
		return err == nil
	}, waitLong, tick, "Vault should start the plugin again")
}

func TestStagedPasswordsOutliveVaultRestart(t *testing.T) {
	m := newStagedMount(t)
	require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 1000))
	m.must("config/mt", data{"settle_after": 3})
	for _, operation := range stagedOperations {
		m.must("roles/"+roleName(operation), m.roleFor(operation))
	}
	for _, operation := range stagedOperations {
		m.putInEffect(roleName(operation), m.roleFor(operation))
		m.must("rotate-role/"+roleName(operation), nil)
	}
	require.NoError(t, vault.Restart(t.Context()))
	for _, operation := range stagedOperations {
		role := m.roleFor(operation)
		d := m.putInEffect(roleName(operation), role)
		require.EqualValues(t, 2, versionOf(t, d))
		require.Equal(t, 2*max(1, len(servers(role))), m.acceptedChanges(role), "nothing is sent twice")
	}
}

// acceptedChanges returns how many changes the remote system accepted for all servers of a role.
func (m *mount) acceptedChanges(role data) int {
	ids := servers(role)
	if len(ids) == 0 {
		_, name := target(role)
		return m.sim.MediaTemple(name).Accepted
	}
	n := 0
	for _, id := range ids {
		n += m.sim.ECS(id).Changes
	}
	return n
}
