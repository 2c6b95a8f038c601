package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// A refused credential is shown twice: for the change and for the check that follows. Then the engine does not show it
// again, for other accounts either, until the operator writes another one. The password that waited is sent then.
func TestRefusedCredentialPausesConnection(t *testing.T) {
	t.Parallel()
	for _, op := range append(allOperations(), tokenOperations()...) {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			m := bareMount(t)
			role, before := m.setUp(op.withOneServer())
			other := op.other(m)
			m.must("roles/other", other)
			m.putInEffect("other", other)
			m.sim.ClearJournal()
			m.refuseCredential(op, role)

			_, err := m.write("rotate-role/r", nil)
			require.Equal(t, 502, statusCode(err), message(err))
			require.Equal(t, 2, m.refusals(op), "one failure and one check")
			waiting := m.inHistory("r", versionOf(t, before)+1)
			for _, name := range []string{"other", "r", "other"} {
				_, err := m.write("rotate-role/"+name, nil)
				require.Equal(t, 503, statusCode(err), message(err))
				require.Contains(t, message(err), "has been paused")
				require.True(t, m.paused(name))
			}
			m.enableAutomation()
			require.Never(t, func() bool { return m.refusals(op) > 2 }, waitShort, tick, "retries do not show the credential either")
			require.Equal(t, before["password"], m.workingCreds("r", role)["password"])
			m.workingCreds("other", other)

			m.clearFaults()
			connection, _ := role["connection"].(string)
			m.must("config/"+connection, op.renewed(m))
			d := m.waitUntilIdle(role, op.idleState(), versionOf(t, before)+1)
			require.Equal(t, waiting["password"], d["password"], "the password that waited should be sent")
			require.Equal(t, 1, m.changes(role))
			require.False(t, m.paused("other"))
			m.must("rotate-role/other", nil)
			m.putInEffect("other", other)
			m.nothingLocked()
		})
	}
}

// refuseCredential makes the remote system refuse the connection's credential for every call, until clearFaults.
func (m *mount) refuseCredential(op operation, role data) {
	m.t.Helper()
	system, _ := target(role)
	faults := []lab.Fault{{System: system, Target: "*", Operations: []string{lab.OpChange, lab.OpList, lab.OpCheck}}}
	switch {
	case op.token:
		require.NoError(m.t, m.sim.Switch("iam", "revoke_tokens", true))
		faults = []lab.Fault{{System: "iam", Target: "*"}}
	case system == "plesk": // the accounts log in there too
		faults = []lab.Fault{
			{System: system, Target: "*", Operations: []string{lab.OpChange}},
			{System: system, Target: "admin", Operations: []string{lab.OpCheck}},
		}
	}
	for _, f := range faults {
		f.Kind = lab.Deny
		require.NoError(m.t, m.sim.SetFault(f))
	}
}

// refusals returns how often the credential was refused.
func (m *mount) refusals(op operation) int {
	n := 0
	for _, entry := range m.sim.Journal("", "") {
		if entry.Fault == lab.Deny && (entry.System == "iam") == op.token {
			n++
		}
	}
	return n
}

// A credential that works again resumes its connection, with one call.
func TestPausedConnectionResumes(t *testing.T) {
	t.Parallel()
	for _, op := range allOperations() {
		if op.family == queued || op.family == atRestart && op.precheck == lab.OpList || op.name == "dcs reset" {
			continue // one operation for each kind of credential; the engine treats the others alike
		}
		t.Run(roleName(op.name), func(t *testing.T) {
			t.Parallel()
			m := bareMount(t)
			role, before := m.setUp(op)
			m.refuseCredential(op, role)
			_, err := m.write("rotate-role/r", nil)
			require.Equal(t, 502, statusCode(err), message(err))
			require.True(t, m.paused("r"))
			m.clearFaults()
			m.enableAutomation()
			m.waitUntilIdle(role, op.idleState(), versionOf(t, before)+1)
			require.False(t, m.paused("r"))
			m.nothingLocked()
		})
	}
}

// A tool writes an obsolete password of the connection's login over and over. Plesk sees it once, and the connection goes
// on. If the password works later, one request stores it.
func TestObsoletePasswordDoesNotPauseConnection(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	m.speedUp()
	require.NoError(t, m.sim.Switch("plesk", "fail2ban", 5))
	m.must("config/panel", m.panel())
	m.must("roles/r", alias("ops1"))
	const obsolete = "Obsolete-Password.1"
	for i := range 12 {
		_, err := m.write("config/panel", data{"username": "admin", "password": obsolete})
		require.Equal(t, 400, statusCode(err), message(err))
		if i > 0 {
			require.Contains(t, message(err), "write of config/panel), and it is not tried again")
		}
		m.must("rotate-role/r", nil)
	}
	require.Equal(t, 1, m.sim.PleskSenders().Most)
	require.False(t, m.paused("r"))
	m.workingCreds("r", alias("ops1"))

	require.NoError(t, m.sim.SetPassword("plesk", "admin", obsolete))
	m.must("config/panel", data{"username": "admin", "password": obsolete, "force": true})
	m.must("rotate-role/r", nil)
	m.workingCreds("r", alias("ops1"))
	m.nothingLocked()
}

// A ban of Vault's address reads as an outage, and the engine continues when it has ended.
func TestBanOfAddressEndsByItself(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	m.speedUp()
	m.must("config/panel", m.panel())
	m.must("roles/r", alias("ops1"))
	before := m.putInEffect("r", alias("ops1"))
	require.NoError(t, m.sim.Switch("plesk", "fail2ban", 1))
	require.Error(t, m.sim.LoginPlesk("admin", "wrong"), "another program behind the same address")
	_, err := m.write("rotate-role/r", nil)
	if err != nil { // the connection was not open any more
		require.Equal(t, 502, statusCode(err), message(err))
	}
	require.False(t, m.paused("r"))
	m.sim.Advance(10 * time.Minute)
	require.Eventually(t, func() bool {
		d := m.creds("r")
		return d["state"] == "active" && versionOf(t, d) > versionOf(t, before)
	}, waitLong, tick)
	m.workingCreds("r", alias("ops1"))
	require.Equal(t, 1, m.sim.PleskSenders().Bans)
}
