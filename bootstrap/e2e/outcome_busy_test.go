package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// dcsBusyCodes are the answers of DCS that mean "later": the instance is not running, or another operation is.
var dcsBusyCodes = []string{
	"DCS.4017", "DCS.4026", "DCS.4049", "DCS.4096", "DCS.4097", "DCS.4104", "DCS.4111", "DCS.4113", "DCS.4114", "DCS.4115",
	"DCS.4116", "DCS.4117", "DCS.4118", "DCS.4120", "DCS.4121", "DCS.4231", "DCS.4975", "CBC.99003651",
}

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

// dcsMethods returns the operations of DCS.
func dcsMethods() (ops []operation) {
	for _, op := range allOperations() {
		if op.name == "dcs modify" || op.name == "dcs reset" {
			ops = append(ops, op)
		}
	}
	return ops
}

// DCS confirms a change before it is in force. The previous password is handed out as long as it is the one that works.
func TestPasswordIsActiveOnceInForce(t *testing.T) {
	t.Parallel()
	for _, op := range dcsMethods() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			m := bareMount(t)
			role, before := m.setUp(op)
			m.must("config/cloud", data{"request_timeout": 20})
			require.NoError(t, m.sim.Switch("dcs", "settle_ms", 1000))
			answer := m.writeAsync(t.Context(), "rotate-role/r", nil)
			require.Eventually(t, func() bool { return m.calls(role) == 1 }, waitLong, tick)
			require.Equal(t, before["password"], m.creds("r")["password"])
			require.NoError(t, <-answer)
			d := m.workingCreds("r", role)
			require.Equal(t, "active", d["state"])
			require.Equal(t, versionOf(t, before)+1, versionOf(t, d))
			require.Equal(t, 1, m.calls(role))
		})
	}
}

// If that takes longer than a request may, the engine goes on looking, and sends nothing again.
func TestSlowChangeIsSentOnce(t *testing.T) {
	t.Parallel()
	for _, op := range dcsMethods() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			m := bareMount(t)
			role, before := m.setUp(op)
			require.NoError(t, m.sim.Switch("dcs", "settle_ms", 3600_000))
			rotated := m.must("rotate-role/r", nil)
			require.Equal(t, "uncertain", rotated.Data["state"])
			require.Contains(t, rotated.Warnings[0], "has not reported it in force: the account is being created or changed")
			d := m.workingCreds("r", role)
			require.Equal(t, before["password"], d["password"])
			next := d["next_password"]
			require.Error(t, m.login(role, next))
			m.enableAutomation()
			require.Eventually(t, func() bool { return m.read("status/r")["last_error_class"] == "busy" }, waitLong, tick, "the engine should look again")
			require.Equal(t, before["password"], m.workingCreds("r", role)["password"])

			require.NoError(t, m.sim.Switch("dcs", "settle_ms", 0))
			d = m.waitForState("r", "active")
			require.Equal(t, next, d["password"])
			require.Equal(t, next, m.workingCreds("r", role)["password"])
			require.Equal(t, 1, m.calls(role))
			_, name := target(role)
			require.Zero(t, m.sim.DCS(name).Failed, "no wrong old password was presented")
		})
	}
}

func TestFailedAccountNeedsOperator(t *testing.T) {
	t.Parallel()
	for _, op := range dcsMethods() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			m := bareMount(t)
			role, before := m.setUp(op)
			require.NoError(t, m.sim.Switch("dcs", "settle_ms", 1))
			require.NoError(t, m.sim.Switch("dcs", "settle_result", "error"))
			require.Equal(t, "uncertain", m.must("rotate-role/r", nil).Data["state"])
			m.enableAutomation()
			require.Eventually(t, func() bool { return m.read("status/r")["last_error_class"] == "rejected" }, waitLong, tick)
			require.EqualValues(t, 1, numberOf(t, m.read("status"), "needs_person_count"))
			require.Equal(t, "uncertain", m.creds("r")["state"])
			require.Equal(t, before["password"], m.workingCreds("r", role)["password"])

			require.NoError(t, m.sim.Switch("dcs", "settle_ms", 0))
			require.NoError(t, m.sim.Switch("dcs", "account_status", "AVAILABLE"))
			m.must("confirm-role/r", data{"password": before["password"]})
			m.must("rotate-role/r", nil)
			require.Equal(t, "active", m.workingCreds("r", role)["state"])
		})
	}
}
