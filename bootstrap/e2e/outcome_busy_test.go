package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// A backup, a restart and the like ask nobody and waste no password: each request gets 503 or waits, and the engine sends
// the same password later.
func TestBusyInstanceAsksNobody(t *testing.T) {
	t.Parallel()
	for _, code := range dcsBusyCodes {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			m := bareMount(t)
			require.NoError(t, m.sim.Switch("dcs", "busy_code", code))
			app, report := m.account("app"), m.account("report")
			m.must("config/cloud", m.cloud())
			m.must("roles/app", app)
			before := m.workingCreds("app", app)
			m.sim.ClearJournal()

			m.fault(app, lab.Fault{Target: "*", Kind: lab.Busy, Operations: []string{lab.OpList}})
			m.fault(app, lab.Fault{Kind: lab.Busy})
			m.fault(report, lab.Fault{Kind: lab.Busy})
			for path, body := range map[string]data{
				"config/again":    m.cloud(),
				"roles/report":    with(report, data{"skip_initial_rotation": true}),
				"rotate-role/app": nil,
			} {
				_, err := m.write(path, body)
				require.Equal(t, 503, statusCode(err), "%s: %s", path, message(err))
				require.Contains(t, message(err), code)
				require.NotContains(t, message(err), "orrect it")
			}
			require.Zero(t, m.calls(app), "no password should be sent")

			require.NoError(t, m.sim.ClearFaults("dcs", "*")) // now the change itself is answered so
			require.NotEmpty(t, m.must("roles/report", report).Warnings)
			for _, role := range []data{app, report} {
				require.Eventually(t, func() bool { return m.calls(role) > 0 }, waitLong, tick, "the engine should send the password")
			}
			require.Zero(t, numberOf(t, m.read("status"), "needs_person_count"))
			require.Equal(t, before["password"], m.workingCreds("app", app)["password"])
			m.clearFaults()

			for name, role := range map[string]data{"app": app, "report": report} {
				m.waitFor(name, "the role should become idle", func() bool { return m.idle(name) })
				d := m.workingCreds(name, role)
				require.Equal(t, "active", d["state"])
				require.Equal(t, map[string]int64{"app": versionOf(t, before) + 1, "report": 2}[name], versionOf(t, d), "one password should be enough")
				m.assertHistory(name, d)
				require.Equal(t, 1, m.changes(role))
			}
			m.nothingLocked()
		})
	}
}

// withEachDCSMethod runs a test for both methods of DCS, with a role as setUp leaves it.
func withEachDCSMethod(t *testing.T, test func(m *mount, role, before data)) {
	t.Helper()
	for _, op := range allOperations() {
		if op.name == "dcs modify" || op.name == "dcs reset" {
			t.Run(op.name, func(t *testing.T) {
				t.Parallel()
				m := bareMount(t)
				role, before := m.setUp(op)
				test(m, role, before)
			})
		}
	}
}

// A change that is not in force yet is sent once, although the connection is written meanwhile.
func TestSlowChangeIsSentOnce(t *testing.T) {
	t.Parallel()
	withEachDCSMethod(t, func(m *mount, role, before data) {
		require.NoError(m.t, m.sim.Switch("dcs", "settle_ms", 3600_000))
		rotated := m.must("rotate-role/r", nil)
		require.Equal(m.t, "uncertain", rotated.Data["state"])
		require.Contains(m.t, rotated.Warnings[0], "has not reported it in force: the account is being created or changed")
		next := m.creds("r")["next_password"]
		m.enableAutomation()
		for _, timeout := range []int{2, 3} {
			m.must("config/cloud", data{"request_timeout": timeout})
			m.sim.ClearJournal()
			m.waitFor("r", "the engine should look again and again", func() bool { return len(m.sim.Journal("dcs", "")) > 2 })
			require.Zero(m.t, m.calls(role))
			require.Zero(m.t, numberOf(m.t, m.read("status"), "failing"))
			require.Equal(m.t, before["password"], m.workingCreds("r", role)["password"])
		}
		require.NoError(m.t, m.sim.Switch("dcs", "settle_ms", 0))
		require.Equal(m.t, next, m.waitForState("r", "active")["password"])
		require.Equal(m.t, next, m.workingCreds("r", role)["password"])
		require.Zero(m.t, m.calls(role))
		_, name := target(role)
		require.Zero(m.t, m.sim.DCS(name).Failed, "no wrong old password was presented")
	})
}

func TestFailedAccountNeedsOperator(t *testing.T) {
	t.Parallel()
	withEachDCSMethod(t, func(m *mount, role, before data) {
		require.NoError(m.t, m.sim.Switch("dcs", "settle_ms", 1))
		require.NoError(m.t, m.sim.Switch("dcs", "settle_result", "error"))
		require.Equal(m.t, "uncertain", m.must("rotate-role/r", nil).Data["state"])
		m.enableAutomation()
		m.waitFor("r", "the account should be refused", func() bool { return m.read("status/r")["last_error_class"] == "rejected" })
		require.EqualValues(m.t, 1, numberOf(m.t, m.read("status"), "needs_person_count"))
		require.Equal(m.t, "uncertain", m.creds("r")["state"])
		require.Equal(m.t, before["password"], m.workingCreds("r", role)["password"])

		require.NoError(m.t, m.sim.Switch("dcs", "settle_ms", 0))
		require.NoError(m.t, m.sim.Switch("dcs", "account_status", "AVAILABLE"))
		m.must("confirm-role/r", data{"password": before["password"]})
		m.must("rotate-role/r", nil)
		require.Equal(m.t, "active", m.workingCreds("r", role)["state"])
	})
}
