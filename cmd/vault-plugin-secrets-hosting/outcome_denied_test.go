package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// A credential that is refused for good is shown twice: for the change, and for the check that follows. After that nobody
// shows it, also not for the other accounts, until another one is written; and then the password is sent that was to be sent.
func TestARefusedCredentialPausesItsConnection(t *testing.T) {
	t.Parallel()
	for _, op := range append(everyOperation(), byToken()...) {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			m := bareMount(t)
			role, before := m.begin(op.alone())
			other := op.other(m)
			m.must("roles/other", other)
			m.comes("other", other)
			m.sim.ClearJournal()
			m.refuse(op, role)

			_, err := m.write("rotate-role/r", nil)
			require.Equal(t, 502, status(err), message(err))
			require.Equal(t, 2, m.refusals(op), "one failure and one check")
			waiting := m.listed("r", versionOf(t, before)+1)
			for _, name := range []string{"other", "r", "other"} {
				_, err := m.write("rotate-role/"+name, nil)
				require.Equal(t, 503, status(err), message(err))
				require.Contains(t, message(err), "is paused")
				require.True(t, m.paused(name))
			}
			m.goOn() // and the engine leaves it alone too
			require.Never(t, func() bool { return m.refusals(op) > 2 }, waitShort, tick, "nobody shows the credential again")
			require.Equal(t, before["password"], m.works("r", role)["password"])
			m.works("other", other)

			m.heal()
			connection, _ := role["connection"].(string)
			m.must("config/"+connection, op.renewed(m))
			d := m.comesToRest(role, op.rest(), versionOf(t, before)+1)
			require.Equal(t, waiting, d["password"], "the one that waited is sent")
			require.Equal(t, 1, m.changes(role))
			require.False(t, m.paused("other"))
			m.must("rotate-role/other", nil)
			m.comes("other", other)
			m.nothingLocked()
		})
	}
}

// refuse lets the remote system refuse the connection's credential, whatever it is shown for, until heal.
func (m *mount) refuse(op operation, role data) {
	m.t.Helper()
	system, _ := target(role)
	faults := []lab.Fault{{System: system, Target: "*", Operations: []string{lab.OpChange, lab.OpList, lab.OpCheck}}}
	switch {
	case op.token:
		require.NoError(m.t, m.sim.Switch("iam", "revoke_tokens", true))
		faults = []lab.Fault{{System: "iam", Target: "*"}}
	case system == "plesk": // where the accounts log in too
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

// refusals is how many times the credential was refused.
func (m *mount) refusals(op operation) int {
	n := 0
	for _, entry := range m.sim.Journal("", "") {
		if entry.Fault == lab.Deny && (entry.System == "iam") == op.token {
			n++
		}
	}
	return n
}

// A connection whose credential works again opens by itself, with one call.
func TestAPausedConnectionOpensByItself(t *testing.T) {
	t.Parallel()
	for _, op := range everyOperation() {
		if op.family == queued || op.family == atRestart && op.looks == lab.OpList || op.name == "dcs reset" {
			continue // the engine's part is the same for all: one of each kind of credential
		}
		t.Run(strings.ReplaceAll(op.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			m := bareMount(t)
			role, before := m.begin(op)
			m.refuse(op, role)
			_, err := m.write("rotate-role/r", nil)
			require.Equal(t, 502, status(err), message(err))
			require.True(t, m.paused("r"))
			m.heal()
			m.goOn()
			m.comesToRest(role, op.rest(), versionOf(t, before)+1)
			require.False(t, m.paused("r"))
			m.nothingLocked()
		})
	}
}
