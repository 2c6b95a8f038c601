package e2e

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Without restart, the engine finds out by itself that an operator has restarted a server, each of several by itself. Each
// server refuses one login.
func TestRestartByOperatorIsNoticed(t *testing.T) {
	t.Parallel()
	for _, operation := range serverOperations {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := m.adopted(m.proved(m.roleFor(operation)))
			ids := servers(role)
			m.must("roles/web", role)
			before := m.waitUntilProved("web", role, 1)
			require.Equal(t, "restart_required", m.must("rotate-role/web", nil).Data["state"])
			s := m.read("status/web")
			require.Contains(t, s["advice"], "the engine logs in from time to time to see")
			require.NotNil(t, s["next_proof_time"])
			require.Empty(t, m.read("status")["needs_person"])

			m.restart(ids[0])
			m.waitFor("web", "the first server should have the new password", func() bool {
				return versionOf(t, m.serversOf("web")[ids[0]]) == 2
			})
			all := m.serversOf("web")
			require.EqualValues(t, 1, versionOf(t, all[ids[1]]))
			require.Equal(t, json.Number("2"), all[ids[1]]["next_version"])
			d := m.creds("web")
			require.Equal(t, "restart_required", d["state"])
			require.Equal(t, before["password"], d["password"])

			m.restart(ids[1])
			m.waitUntilProved("web", role, 2)
			for _, refused := range m.refusedBy(ids) {
				require.Len(t, refused.Times, 1, "each server should refuse the old password once")
			}
		})
	}
}

// The password in force is tried, so a queue that is slow costs no refused logins.
func TestSlowQueueIsFollowedByLogins(t *testing.T) {
	t.Parallel()
	for _, account := range []string{"root", "plesk"} {
		t.Run(account, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := m.proved(m.service(account))
			m.must("roles/r", role)
			before := m.waitUntilProved("r", role, 1)
			require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 5500))
			require.Equal(t, "accepted", m.must("rotate-role/r", nil).Data["state"])
			m.waitForProof("r", "accepted", "works") // after settle_after
			d := m.workingCreds("r", role)
			require.Equal(t, before["password"], d["password"])
			require.Zero(t, m.refusedCount(role))
			m.waitUntilProved("r", role, 2)
			require.Equal(t, 1, m.refusedCount(role))
			require.Equal(t, 2, m.sim.MediaTemple("556/"+account).Accepted)
		})
	}
}

// A job that fails is visible to a login: the old password stays the one to use.
func TestFailedJobNeverReplacesProvedPassword(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	role := m.proved(m.service("root"))
	m.must("roles/r", role)
	before := m.waitUntilProved("r", role, 1)
	require.NoError(t, m.sim.Switch("mediatemple", "job_fails", true))
	m.must("rotate-role/r", nil)
	first := m.waitForProof("r", "accepted", "works")["last_proof_time"]
	m.waitFor("r", "another login should follow", func() bool { return m.read("status/r")["last_proof_time"] != first })
	d := m.workingCreds("r", role)
	require.Equal(t, "accepted", d["state"])
	require.Equal(t, before["password"], d["password"])
	require.Zero(t, m.refusedCount(role))

	require.NoError(t, m.sim.Switch("mediatemple", "job_fails", false))
	m.must("rotate-role/r", nil) // a job that has not come by now does not come
	m.waitUntilProved("r", role, 3)
	m.withinBudget(role)
}

// Media Temple's queue and a lost answer: logins show what came of it.
func TestDiscardIsContradictedByLogin(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	role := m.adopted(m.proved(m.instances("metal-1")))
	m.must("roles/web", role)
	m.waitUntilProved("web", role, 1)
	m.must("rotate-role/web", nil)
	_, err := m.write("confirm-role/web", data{"version": 2})
	require.Equal(t, 400, statusCode(err))
	require.Contains(t, message(err), "a login with it was refused")
	require.Contains(t, message(err), "force=true")
	require.Equal(t, 1, m.refusedCount(role))
	m.restart(servers(role)...)
	_, err = m.write("confirm-role/web", data{"version": 2, "discard": true})
	require.Equal(t, 400, statusCode(err))
	require.Contains(t, message(err), "a login with it works")
	m.must("confirm-role/web", data{"version": 2})
	m.waitUntilProved("web", role, 2)
	m.withinBudget(role)
}

// A queued password that counts as in force by time alone can be discarded, but not while it logs in.
func TestDiscardOfQueuedPasswordIsContradicted(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	role := m.proved(m.service("root"))
	m.must("roles/r", role)
	m.waitUntilProved("r", role, 1)
	m.switchSSH("auth_methods", "publickey") // so that no login shows that it is in force
	m.must("rotate-role/r", nil)
	next := m.waitForState("r", "assumed")["password"]
	m.switchSSH("auth_methods", "password")
	_, err := m.write("confirm-role/r", data{"version": 2, "discard": true})
	require.Equal(t, 400, statusCode(err))
	require.Contains(t, message(err), "version 2 of role \"r\" was not discarded, because a login with it works")
	require.Contains(t, message(err), "force=true")
	m.must("verify-role/r", nil) // need not wait for the engine
	require.Equal(t, next, m.waitUntilProved("r", role, 2)["password"])
	require.Zero(t, m.refusedCount(role))
}

// A server without SSH, such as Windows has none by default, is confirmed by hand as without a proof.
func TestServerWithoutSSHIsConfirmedByHand(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	role := with(m.proved(m.instances("metal-windows")), data{"username": "Administrator"})
	require.NoError(t, m.sim.SetFault(lab.Fault{System: "ssh", Target: "*", Kind: lab.Unreachable}))
	m.must("roles/win", role)
	s := m.waitForProof("win", "restart_required", "cannot_tell")
	require.NotNil(t, s["next_proof_time"])
	m.restart(servers(role)...)
	m.must("confirm-role/win", data{"version": 1})
	require.Contains(t, m.read("status/win")["reason"], "An operator stated that this password is in force")
	m.clearFaults()
	require.Equal(t, "assumed", m.workingCreds("win", role)["state"])
	require.Zero(t, m.refusedCount(role))
	m.must("verify-role/win", nil)
	m.waitUntilProved("win", role, 1)
}

// Where root may not log in with a password, the right one is refused too. That settles nothing, and keeps the budget.
func TestRootWithoutPasswordLoginsKeepsBudget(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	role := m.proved(m.service("root"))
	m.must("roles/r", role)
	before := m.waitUntilProved("r", role, 1)
	m.switchSSH("permit_root_login", "prohibit-password")
	m.must("rotate-role/r", nil)
	s := m.waitForProof("r", "accepted", "refused")
	require.Contains(t, s["last_proof_reason"], "PermitRootLogin prohibit-password")
	d := m.creds("r")
	require.Equal(t, before["password"], d["password"])
	require.NotNil(t, d["next_password"])
	require.Equal(t, 2, m.refusedCount(role))
	m.withinBudget(role)

	m.switchSSH("permit_root_login", "yes")
	m.must("roles/r", data{"verify": "none", "verify_address": "", "verify_host_key": ""})
	require.Equal(t, d["next_password"], m.waitForState("r", "assumed")["password"])
	m.workingCreds("r", role)
}
