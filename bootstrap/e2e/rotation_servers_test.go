package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// serversOf returns the servers of status/:name by id.
func (m *mount) serversOf(role string) map[string]data {
	m.t.Helper()
	out := map[string]data{}
	list, _ := m.read("status/" + role)["servers"].([]any)
	for _, entry := range list {
		if server, ok := entry.(map[string]any); ok {
			id, _ := server["id"].(string)
			out[id] = server
		}
	}
	return out
}

// forBothAPIs runs a test with each API that sets passwords of servers.
func forBothAPIs(t *testing.T, test func(t *testing.T, m *mount, role data)) {
	t.Helper()
	t.Parallel()
	for _, operation := range serverOperations {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			m := newStagedMount(t)
			test(t, m, m.roleFor(operation))
		})
	}
}

func TestServerPasswordWaitsForRestart(t *testing.T) {
	forBothAPIs(t, func(t *testing.T, m *mount, role data) {
		created := m.must("roles/web", role)
		require.Equal(t, "restart_required", created.Data["state"])
		require.Contains(t, strings.Join(created.Warnings, " "), "confirm-role/web with version=1")
		before := m.putInEffect("web", role)
		rotated := m.must("rotate-role/web", data{"version": 1})
		require.EqualValues(t, 1, versionOf(t, rotated.Data))
		require.Equal(t, json.Number("2"), rotated.Data["next_version"])
		calls := m.calls(role)
		again := m.must("rotate-role/web", data{"version": 1})
		require.Contains(t, again.Warnings[0], "carried out before")
		require.Never(t, func() bool { return m.calls(role) != calls }, waitShort, tick)
		d := m.workingCreds("web", role)
		require.Equal(t, before["password"], d["password"])
		require.Equal(t, "restart_required", d["state"])

		require.Equal(t, 400, statusCode(m.delete("roles/web")), "deleting would lose the staged password")
		_, err := m.write("confirm-role/web", data{"version": 3})
		require.Equal(t, 400, statusCode(err))
		require.Contains(t, text(m.read("status/web")), "confirm-role/web")
		require.EqualValues(t, 2, versionOf(t, m.putInEffect("web", role)))
	})
}

// At a start, the server takes the last password that was set before, even if its answer was lost. The engine does not see
// the start, so it keeps all of them.
func TestConfirmationSettlesRestartBetweenChanges(t *testing.T) {
	for _, second := range []string{"staged", "unknown"} {
		t.Run(second+" over staged", func(t *testing.T) {
			forBothAPIs(t, func(t *testing.T, m *mount, role data) {
				m.must("roles/web", with(role, data{"disable_automated_rotation": true}))
				m.putInEffect("web", role)
				m.must("rotate-role/web", nil)
				two := m.creds("web")["next_password"]
				m.restart(servers(role)...) // without a confirmation
				if second == "unknown" {
					m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
				}
				m.must("rotate-role/web", nil)
				d := m.creds("web")
				require.NoError(t, m.login(role, two))
				require.Error(t, m.login(role, d["next_password"]))

				m.must("confirm-role/web", data{"version": 2})
				d = m.workingCreds("web", role)
				require.Equal(t, two, d["password"])
				require.NotNil(t, d["next_password"], "the newer one waits for the next restart")
				m.must("roles/web", data{"disable_automated_rotation": false})
				require.EqualValues(t, 3, versionOf(t, m.putInEffect("web", role)))
			})
		})
	}
}

func TestLastChangeBeforeRestartWins(t *testing.T) {
	forBothAPIs(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", role)
		m.putInEffect("web", role)
		m.must("rotate-role/web", nil)
		m.must("rotate-role/web", nil)
		require.EqualValues(t, 3, versionOf(t, m.putInEffect("web", role)))
		m.must("set-password/web", data{"password": "Chosen.by-Hand_4711"})
		require.Equal(t, "Chosen.by-Hand_4711", m.putInEffect("web", role)["password"])
	})
}

func TestDiscardedServerPasswordIsRecoverable(t *testing.T) {
	forBothAPIs(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", with(role, data{"history_size": 0}))
		before := m.putInEffect("web", role)
		m.must("rotate-role/web", nil)
		next := m.creds("web")["next_password"]
		m.must("confirm-role/web", data{"version": 2, "discard": true})
		d := m.workingCreds("web", role)
		require.Equal(t, "assumed", d["state"])
		require.Equal(t, before["password"], d["password"])
		require.NotContains(t, d, "next_password")
		require.Never(t, func() bool { return m.creds("web")["next_password"] != nil }, waitShort, tick, "no other password takes its place")

		m.restart(servers(role)...)
		require.NoError(t, m.login(role, next))
		m.must("confirm-role/web", data{"version": 2})
		require.Equal(t, next, m.workingCreds("web", role)["password"])
		m.must("rotate-role/web", nil)
		m.putInEffect("web", role)
	})
}

func TestServersAreConfirmedOneByOne(t *testing.T) {
	forBothAPIs(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", role)
		before := m.putInEffect("web", role)
		m.must("rotate-role/web", nil)
		ids := servers(role)
		next := m.creds("web")["next_password"]
		m.restart(ids[0])
		for says, confirmation := range map[string]data{
			"discard is about":    {"version": 2, "servers": ids[0], "discard": true},
			"servers is empty":    {"version": 2, "servers": ""},
			"give either":         {"password": "x", "servers": ids[0]},
			"password is empty":   {"password": ""},
			"version or password": {"servers": ids[0]},
		} {
			_, err := m.write("confirm-role/web", confirmation)
			require.Equal(t, 400, statusCode(err), says)
			require.Contains(t, message(err), says)
		}
		_, err := m.write("confirm-role/web", data{"version": 2, "servers": "another"})
		require.Equal(t, 400, statusCode(err))
		require.Contains(t, message(err), ids[1], "the message should name the role's servers")
		m.must("confirm-role/web", data{"version": 2, "servers": ids[0]})
		d := m.creds("web")
		require.Equal(t, "restart_required", d["state"])
		require.Equal(t, before["password"], d["password"])
		all := m.serversOf("web")
		require.EqualValues(t, 2, versionOf(t, all[ids[0]]))
		require.Equal(t, "assumed", all[ids[0]]["state"])
		require.EqualValues(t, 1, versionOf(t, all[ids[1]]))
		require.Equal(t, "restart_required", all[ids[1]]["state"])
		require.NotContains(t, all[ids[0]], "next_version")
		require.Equal(t, json.Number("2"), all[ids[1]]["next_version"])
		one := with(role, data{"instance_ids": ids[1]})
		require.NoError(t, m.login(one, d["password"]))
		m.restart(ids[1])
		m.must("confirm-role/web", data{"version": 2, "servers": ids[1]})
		require.Equal(t, next, m.workingCreds("web", role)["password"])
	})
}

// Elastic Cloud Server changes the servers that it can. The engine sends a request for the others only.
func TestFailedServersAreRetriedAlone(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	role := m.cloudServers("cloud-1", "cloud-2")
	ids := servers(role)
	m.must("roles/web", role)
	m.putInEffect("web", role)
	for _, answer := range []data{
		{"partial_response": "present", "partial_status": "400"},
		{"partial_response": "present", "partial_status": "200"},
		{"partial_response": "absent", "partial_status": "400"},
		{"partial_response": "present", "partial_status": "500"},
	} {
		t.Run(fmt.Sprint(answer), func(t *testing.T) {
			for name, value := range answer {
				require.NoError(t, m.sim.Switch("ecs", name, value))
			}
			require.NoError(t, m.sim.Switch("ecs", "partial", map[string]string{ids[1]: "Ecs.0000"}))
			version := versionOf(t, m.creds("web")) + 1
			secret := m.must("rotate-role/web", nil)
			require.NotEmpty(t, secret.Warnings)
			d := m.workingCreds("web", role)
			if answer["partial_response"] == "present" && answer["partial_status"] != "500" {
				require.Equal(t, "restart_required", d["state"])
				require.Contains(t, secret.Warnings[0], "Only 1 of 2 servers")
				require.Contains(t, m.serversOf("web")[ids[1]]["last_error"], "Ecs.0000")
				_, err := m.write("confirm-role/web", data{"version": version})
				require.Equal(t, 400, statusCode(err), "the engine knows that one server has not accepted it")
				require.Contains(t, message(err), ids[1])
				require.Equal(t, "restart_required", m.serversOf("web")[ids[0]]["state"])
				first := m.sim.ECS(ids[0]).Changes
				require.NoError(t, m.sim.Switch("ecs", "partial", map[string]string{}))
				require.Eventually(t, func() bool { return m.sim.ECS(ids[1]).Pending }, waitLong, tick)
				require.Equal(t, first, m.sim.ECS(ids[0]).Changes, "the server that has the password should get no other request")
			} else {
				require.NoError(t, m.sim.Switch("ecs", "partial", map[string]string{}))
			}
			require.Eventually(t, func() bool { return m.sim.ECS(ids[1]).Pending && m.creds("web")["state"] == "restart_required" }, waitLong, tick)
			require.Equal(t, version, versionOf(t, m.putInEffect("web", role)), "all servers should have the same password")
		})
	}
}

// CloudDC changes all servers or none.
func TestUnavailableInstanceBlocksWholeRole(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	role := m.instances("metal-1", "metal-2")
	ids := servers(role)
	m.must("roles/web", role)
	before := m.putInEffect("web", role)
	require.NoError(t, m.sim.Switch("ecs", "instance_state", map[string]string{ids[1]: "stopped"}))
	_, err := m.write("rotate-role/web", nil)
	require.Equal(t, 400, statusCode(err))
	require.Contains(t, message(err), ids[1])
	require.Contains(t, message(err), "stopped")
	require.False(t, m.sim.ECS(ids[0]).Pending)
	require.NoError(t, m.sim.Switch("ecs", "instance_state", "running"))
	require.NoError(t, m.sim.Switch("ecs", "operation_state", map[string]string{ids[0]: "reinstall-processing"}))
	_, err = m.write("rotate-role/web", nil)
	require.Equal(t, 503, statusCode(err), "an instance that is being reinstalled is busy: %s", message(err))
	require.False(t, m.sim.ECS(ids[0]).Pending)
	require.NoError(t, m.sim.Switch("ecs", "operation_state", "install-succeed"))
	require.Eventually(t, func() bool { return m.creds("web")["state"] == "restart_required" }, waitLong, tick)
	require.NotEqual(t, before["password"], m.putInEffect("web", role)["password"])
}

// An answer that omits a server proves nothing for it.
func TestAnswerOmittingServersIsUncertain(t *testing.T) {
	forBothAPIs(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", role)
		before := m.putInEffect("web", role)
		require.NoError(t, m.sim.Switch("ecs", "omit", 1))
		require.Equal(t, "uncertain", m.must("rotate-role/web", nil).Data["state"])
		require.Equal(t, before["password"], m.workingCreds("web", role)["password"])
		require.NoError(t, m.sim.Switch("ecs", "omit", 0))
		m.waitForState("web", "restart_required")
		require.EqualValues(t, 2, versionOf(t, m.putInEffect("web", role)))
	})
}

func TestMissingResetPluginIsRefusedBeforeSending(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	role := m.cloudServers("cloud-1", "cloud-no-plugin")
	_, err := m.write("roles/web", role)
	require.Equal(t, 400, statusCode(err))
	require.Contains(t, message(err), servers(role)[1])
	require.Contains(t, message(err), "plug-in")
	require.Zero(t, m.calls(role))
	_, err = m.write("roles/web", with(role, data{"skip_initial_rotation": true}))
	require.Equal(t, 400, statusCode(err), "adoption checks it too")

	role = m.cloudServers("cloud-1")
	m.must("roles/web", role)
	m.putInEffect("web", role)
	require.NoError(t, m.sim.Switch("ecs", "plugin", false))
	calls := m.calls(role)
	_, err = m.write("rotate-role/web", nil)
	require.Equal(t, 400, statusCode(err))
	require.Equal(t, calls, m.calls(role))
	m.workingCreds("web", role)
}

// The reset script fails in the guest. The API does not report it: only a login shows it.
func TestFailedGuestResetIsDiscarded(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	role := m.cloudServers("cloud-1", "cloud-2")
	m.must("roles/web", role)
	before := m.putInEffect("web", role)
	require.NoError(t, m.sim.Switch("ecs", "guest_script", "fails"))
	m.must("rotate-role/web", nil)
	m.restart(servers(role)...)
	require.Error(t, m.login(role, m.creds("web")["next_password"]))
	m.must("confirm-role/web", data{"version": 2, "discard": true})
	require.Equal(t, before["password"], m.workingCreds("web", role)["password"])
	require.NoError(t, m.sim.Switch("ecs", "guest_script", "ok"))
	m.must("rotate-role/web", nil)
	m.putInEffect("web", role)
}

// CloudDC checks no passwords, so the engine's rules are the only ones.
func TestServerPasswordRulesAreEnforced(t *testing.T) {
	forBothAPIs(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", role)
		m.putInEffect("web", role)
		calls := m.calls(role)
		for _, bad := range []string{"Short.1", "nodigitsORspecials", "Ab1!" + strings.Repeat("x", 23), "MyRoot-Passw0rd", "toor-Passw0rd.1", "Blank in.Passw0rd1", "Quote\"Passw0rd.1", "hash#Passw0rd.1", "xADMINISTRATORx1."} {
			_, err := m.write("set-password/web", data{"password": bad})
			require.Equal(t, 400, statusCode(err), "the password %q should be refused", bad)
		}
		_, err := m.write("set-password/web", data{"password": "Curly{Bra}ce.Passw0rd"})
		if role["connection"] == "metal" {
			require.NoError(t, err)
			calls++
		} else {
			require.Equal(t, 400, statusCode(err), "Elastic Cloud Server allows fewer characters")
		}
		require.Equal(t, calls, m.calls(role))
	})
}

func TestWindowsAdministratorLogsIn(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	role := with(m.instances("metal-windows"), data{"username": "Administrator"})
	m.must("roles/win", role)
	d := m.putInEffect("win", role)
	require.Equal(t, "Administrator", d["username"])
	m.must("rotate-role/win", nil)
	m.putInEffect("win", role)
}
