package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

// A rotation of each operation ends with a login, and nobody has to ask for it. In the usual course, no login is refused, except
// one of a password that the remote system has queued: the old one is tried first.
func TestRotationIsProvedByLogin(t *testing.T) {
	t.Parallel()
	for _, k := range proofKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := m.roleOf(k)
			created := m.must("roles/r", role)
			first := m.waitUntilProved("r", role, firstVersion(k))
			require.Zero(t, m.refusedCount(role), "nothing is tried that cannot work; %v", created.Data)
			m.must("rotate-role/r", nil)
			second := m.waitUntilProved("r", role, firstVersion(k)+1)
			require.NotEqual(t, first["password"], second["password"])
			refused := 0
			if k.operation == "mt root" || k.operation == "mt plesk" {
				refused = 1
			}
			require.Equal(t, refused, m.refusedCount(role))
			m.restarted(role, 2)
			m.waitFor("r", "nothing is left to do", func() bool { return m.idle("r") })
			require.NotContains(t, m.read("status/r"), "next_proof_time")
			require.Empty(t, m.read("status")["needs_person"])
			require.Error(t, m.login(role, first["password"]))
			m.withinBudget(role)
			m.nothingLocked()
		})
	}
}

// firstVersion is the version of the first password that the engine sets.
func firstVersion(k proofKind) int64 {
	if k.operation == "account" && k.more["rotation_method"] != "reset" { // 1 is the one that is given with the role
		return 2
	}
	return 1
}

// createProved creates the role "r" of a kind, and returns it, its version and what creds returns once a login has proved its
// password.
func (m *mount) createProved(k proofKind) (role data, version int64, creds data) {
	m.t.Helper()
	role, version = m.roleOf(k), firstVersion(k)
	m.must("roles/r", role)
	return role, version, m.waitUntilProved("r", role, version)
}

// It is not documented whether an account may log in to the Web CLI. Where it may not, every login is refused, which proves
// nothing as long as none has worked, and locks nothing.
func TestWebCLIWithoutAccountsProvesNothing(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	require.NoError(t, m.sim.Switch("dcs", "webcli_login", "default"))
	require.NoError(t, m.sim.Switch("dcs", "webcli_counts", true))
	role := with(m.account("app"), data{"verify": "webcli"})
	require.Equal(t, "active", m.must("roles/r", role).Data["state"])
	m.must("rotate-role/r", nil)
	m.must("rotate-role/r", nil) // without a login: the budget is spent
	s := m.read("status/r")
	require.Equal(t, "active", s["state"])
	require.Equal(t, "cannot_tell", s["last_proof_result"])
	require.Contains(t, s["reason"], "The remote system confirmed the password. No login has proved it: ")
	require.Equal(t, 2, m.refusedCount(role))
	d := m.workingCreds("r", role)
	require.EqualValues(t, 4, versionOf(t, d))
	m.withinBudget(role)
	m.nothingLocked()

	require.NoError(t, m.sim.Switch("dcs", "webcli_login", "name")) // another edition
	m.must("roles/r", data{"verify": "redis", "verify_address": m.sim.RedisAddress(), "verify_tls": false})
	m.waitUntilProved("r", role, 4)
}

// Where they are installed, the logins are made at OpenSSH and Redis.
func TestRealServersProvePasswords(t *testing.T) {
	t.Parallel()
	t.Run("sshd", func(t *testing.T) {
		t.Parallel()
		m := provedMountIn(t, vault, simulator.Config{SSHD: findSSHD(t)})
		for _, methods := range []string{"password", "keyboard-interactive"} {
			m.switchSSH("auth_methods", methods)
			for name, role := range map[string]data{
				"root": m.proved(m.service("root")), "web": with(m.proved(m.cloudServers("cloud-1")), data{"restart": "soft"}),
			} {
				version := int64(1)
				if methods == "password" {
					m.must("roles/"+name, role)
				} else {
					m.must("rotate-role/"+name, nil)
					version++
				}
				m.waitUntilProved(name, role, version)
				require.LessOrEqual(t, m.refusedCount(role), 1)
			}
		}
		role := m.proved(m.service("root"))
		m.switchSSH("permit_root_login", "prohibit-password")
		answer, results := m.verifies("verify-role", "root")
		require.Equal(t, "drifted", answer["state"])
		require.Equal(t, "refused", results["2"])
		require.Contains(t, m.read("status/root")["reason"], "PermitRootLogin prohibit-password")
		m.switchSSH("permit_root_login", "yes")
		m.withinBudget(role)
		require.NoError(t, m.login(role, m.creds("root")["password"]))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		address, installed := startRedis(t)
		m := provedMountIn(t, vault, simulator.Config{RedisServer: address})
		role := m.proved(m.account("app"))
		if installed {
			role["verify_address"] = address
		}
		m.must("roles/cache", role)
		m.waitUntilProved("cache", role, 2)
		m.must("rotate-role/cache", nil)
		d := m.waitUntilProved("cache", role, 3)
		address, _ = role["verify_address"].(string)
		value, _ := d["password"].(string)
		require.NoError(t, login.Redis(t.Context(), address, "app", value))
		m.must("confirm-role/cache", data{"password": strange, "force": true})
		_, results := m.verifies("verify-role", "cache")
		require.Equal(t, "refused", results["4"])
	})
}
