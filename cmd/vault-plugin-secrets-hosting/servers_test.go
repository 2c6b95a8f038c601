package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// serversOf are the servers of status/:name by id.
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

var serverOperations = []string{"instances", "cloudservers"}

// eachAPI runs a test for both services that set passwords of servers.
func eachAPI(t *testing.T, test func(t *testing.T, m *mount, role data)) {
	t.Helper()
	t.Parallel()
	for _, operation := range serverOperations {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			m := newStagedMount(bareMount(t))
			test(t, m, m.staged(operation))
		})
	}
}

func TestAServersPasswordWaitsForItsRestart(t *testing.T) {
	eachAPI(t, func(t *testing.T, m *mount, role data) {
		created := m.must("roles/web", role)
		require.Equal(t, "restart_required", created.Data["state"])
		require.Contains(t, strings.Join(created.Warnings, " "), "confirm-role/web with version=1")
		before := m.comes("web", role)
		rotated := m.must("rotate-role/web", data{"version": 1})
		require.EqualValues(t, 1, versionOf(t, rotated.Data))
		require.Equal(t, json.Number("2"), rotated.Data["next_version"])
		calls := m.calls(role)
		again := m.must("rotate-role/web", data{"version": 1})
		require.Contains(t, again.Warnings[0], "done already")
		require.Never(t, func() bool { return m.calls(role) != calls }, waitShort, tick)
		d := m.works("web", role)
		require.Equal(t, before["password"], d["password"])
		require.Equal(t, "restart_required", d["state"])

		_, err := m.client().Logical().Delete(m.path + "/roles/web")
		require.Equal(t, 400, status(err), "deleting would lose the password that waits")
		_, err = m.write("confirm-role/web", data{"version": 3})
		require.Equal(t, 400, status(err))
		require.Contains(t, text(m.read("status/web")), "confirm-role/web")
		require.EqualValues(t, 2, versionOf(t, m.comes("web", role)))
	})
}

// The last one set before the start wins, whatever became of the answer; the record has them all.
func TestARestartBetweenTwoChangesIsSettledByAWord(t *testing.T) {
	for _, second := range []string{"staged", "unknown"} {
		t.Run(second+" over staged", func(t *testing.T) {
			eachAPI(t, func(t *testing.T, m *mount, role data) {
				m.must("roles/web", with(role, data{"disable_automated_rotation": true}))
				m.comes("web", role)
				m.must("rotate-role/web", nil)
				two := m.creds("web")["next_password"]
				m.restart(servers(role)...) // nobody tells Vault
				if second == "unknown" {
					m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
				}
				m.must("rotate-role/web", nil)
				d := m.creds("web")
				require.NoError(t, m.login(role, two))
				require.Error(t, m.login(role, d["next_password"]))

				m.must("confirm-role/web", data{"version": 2})
				d = m.works("web", role)
				require.Equal(t, two, d["password"])
				require.NotNil(t, d["next_password"], "the newer one waits for the next start")
				m.must("roles/web", data{"disable_automated_rotation": false})
				require.EqualValues(t, 3, versionOf(t, m.comes("web", role)))
			})
		})
	}
}

func TestTheLastOfTwoChangesBeforeOneRestartWins(t *testing.T) {
	eachAPI(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", role)
		m.comes("web", role)
		m.must("rotate-role/web", nil)
		m.must("rotate-role/web", nil)
		require.EqualValues(t, 3, versionOf(t, m.comes("web", role)))
		m.must("set-password/web", data{"password": "Chosen.by-Hand_4711"})
		require.Equal(t, "Chosen.by-Hand_4711", m.comes("web", role)["password"])
	})
}

func TestADiscardedServerPasswordThatComesIntoForceAfterAllIsNotLost(t *testing.T) {
	eachAPI(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", with(role, data{"history_size": 0}))
		before := m.comes("web", role)
		m.must("rotate-role/web", nil)
		next := m.creds("web")["next_password"]
		m.must("confirm-role/web", data{"version": 2, "discard": true})
		d := m.works("web", role)
		require.Equal(t, "assumed", d["state"])
		require.Equal(t, before["password"], d["password"])
		require.NotContains(t, d, "next_password")
		require.Never(t, func() bool { return m.creds("web")["next_password"] != nil }, waitShort, tick, "nothing is made up in its place")

		m.restart(servers(role)...)
		require.NoError(t, m.login(role, next))
		m.must("confirm-role/web", data{"version": 2})
		require.Equal(t, next, m.works("web", role)["password"])
		m.must("rotate-role/web", nil)
		m.comes("web", role)
	})
}

func TestServersRestartOneByOne(t *testing.T) {
	eachAPI(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", role)
		before := m.comes("web", role)
		m.must("rotate-role/web", nil)
		ids := servers(role)
		next := m.creds("web")["next_password"]
		m.restart(ids[0])
		for says, word := range map[string]data{
			"discard is about":  {"version": 2, "servers": ids[0], "discard": true},
			"servers is empty":  {"version": 2, "servers": ""},
			"give either":       {"password": "x", "servers": ids[0]},
			"password is empty": {"password": ""},
			"say what is":       {"servers": ids[0]},
		} {
			_, err := m.write("confirm-role/web", word)
			require.Equal(t, 400, status(err), says)
			require.Contains(t, message(err), says)
		}
		_, err := m.write("confirm-role/web", data{"version": 2, "servers": "another"})
		require.Equal(t, 400, status(err))
		require.Contains(t, message(err), ids[1], "the message names the role's servers")
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
		require.Equal(t, next, m.works("web", role)["password"])
	})
}

// Elastic Cloud Server changes what it can. Only the servers that are left are asked again.
func TestServersThatFailAloneAreAskedAgain(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	role := m.cloudServers("cloud-1", "cloud-2")
	ids := servers(role)
	m.must("roles/web", role)
	m.comes("web", role)
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
			d := m.works("web", role)
			if answer["partial_response"] == "present" && answer["partial_status"] != "500" {
				require.Equal(t, "restart_required", d["state"])
				require.Contains(t, secret.Warnings[0], "only 1 of 2 servers")
				require.Contains(t, m.serversOf("web")[ids[1]]["last_error"], "Ecs.0000")
				_, err := m.write("confirm-role/web", data{"version": version})
				require.Equal(t, 400, status(err), "the engine knows that one has not taken it")
				require.Contains(t, message(err), ids[1])
				require.Equal(t, "restart_required", m.serversOf("web")[ids[0]]["state"])
				first := m.sim.ECS(ids[0]).Changes
				require.NoError(t, m.sim.Switch("ecs", "partial", map[string]string{}))
				require.Eventually(t, func() bool { return m.sim.ECS(ids[1]).Pending }, waitLong, tick)
				require.Equal(t, first, m.sim.ECS(ids[0]).Changes, "it has the password already")
			} else {
				require.NoError(t, m.sim.Switch("ecs", "partial", map[string]string{}))
			}
			require.Eventually(t, func() bool { return m.sim.ECS(ids[1]).Pending && m.creds("web")["state"] == "restart_required" }, waitLong, tick)
			require.Equal(t, version, versionOf(t, m.comes("web", role)), "one password for all")
		})
	}
}

// CloudDC changes all or none.
func TestOneInstanceThatCannotKeepsAllFromChanging(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	role := m.instances("metal-1", "metal-2")
	ids := servers(role)
	m.must("roles/web", role)
	before := m.comes("web", role)
	require.NoError(t, m.sim.Switch("ecs", "instance_state", map[string]string{ids[1]: "stopped"}))
	_, err := m.write("rotate-role/web", nil)
	require.Equal(t, 400, status(err))
	require.Contains(t, message(err), ids[1])
	require.Contains(t, message(err), "stopped")
	require.False(t, m.sim.ECS(ids[0]).Pending)
	require.NoError(t, m.sim.Switch("ecs", "instance_state", "running"))
	require.NoError(t, m.sim.Switch("ecs", "operation_state", map[string]string{ids[0]: "reinstall-processing"}))
	_, err = m.write("rotate-role/web", nil)
	require.Equal(t, 503, status(err), "an instance that is being installed is busy: %s", message(err))
	require.False(t, m.sim.ECS(ids[0]).Pending)
	require.NoError(t, m.sim.Switch("ecs", "operation_state", "install-succeed"))
	require.Eventually(t, func() bool { return m.creds("web")["state"] == "restart_required" }, waitLong, tick)
	require.NotEqual(t, before["password"], m.comes("web", role)["password"])
}

// An answer that does not name every server proves nothing for the others.
func TestAnAnswerThatNamesTooFewServersIsNotBelieved(t *testing.T) {
	eachAPI(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", role)
		before := m.comes("web", role)
		require.NoError(t, m.sim.Switch("ecs", "omit", 1))
		require.Equal(t, "uncertain", m.must("rotate-role/web", nil).Data["state"])
		require.Equal(t, before["password"], m.works("web", role)["password"])
		require.NoError(t, m.sim.Switch("ecs", "omit", 0))
		m.eventually("web", "restart_required")
		require.EqualValues(t, 2, versionOf(t, m.comes("web", role)))
	})
}

func TestAServerWithoutTheResetPluginIsToldBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	role := m.cloudServers("cloud-1", "cloud-no-plugin")
	_, err := m.write("roles/web", role)
	require.Equal(t, 400, status(err))
	require.Contains(t, message(err), servers(role)[1])
	require.Contains(t, message(err), "plug-in")
	require.Zero(t, m.calls(role))
	_, err = m.write("roles/web", with(role, data{"skip_initial_rotation": true}))
	require.Equal(t, 400, status(err), "adopting looks too")

	role = m.cloudServers("cloud-1")
	m.must("roles/web", role)
	m.comes("web", role)
	require.NoError(t, m.sim.Switch("ecs", "plugin", false))
	calls := m.calls(role)
	_, err = m.write("rotate-role/web", nil)
	require.Equal(t, 400, status(err))
	require.Equal(t, calls, m.calls(role))
	m.works("web", role)
}

// The script in the guest fails, and the API says nothing of it: only a login shows it.
func TestAResetThatFailsInTheGuestIsDiscarded(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	role := m.cloudServers("cloud-1", "cloud-2")
	m.must("roles/web", role)
	before := m.comes("web", role)
	require.NoError(t, m.sim.Switch("ecs", "guest_script", "fails"))
	m.must("rotate-role/web", nil)
	m.restart(servers(role)...)
	require.Error(t, m.login(role, m.creds("web")["next_password"]))
	m.must("confirm-role/web", data{"version": 2, "discard": true})
	require.Equal(t, before["password"], m.works("web", role)["password"])
	require.NoError(t, m.sim.Switch("ecs", "guest_script", "ok"))
	m.must("rotate-role/web", nil)
	m.comes("web", role)
}

// CloudDC checks no password: ours are the only rules.
func TestPasswordsOfServersAreCheckedHere(t *testing.T) {
	eachAPI(t, func(t *testing.T, m *mount, role data) {
		m.must("roles/web", role)
		m.comes("web", role)
		calls := m.calls(role)
		for _, bad := range []string{"Short.1", "nodigitsORspecials", "Ab1!" + strings.Repeat("x", 23), "MyRoot-Passw0rd", "toor-Passw0rd.1", "Blank in.Passw0rd1", "Quote\"Passw0rd.1", "hash#Passw0rd.1", "xADMINISTRATORx1."} {
			_, err := m.write("set-password/web", data{"password": bad})
			require.Equal(t, 400, status(err), "the password %q should be refused", bad)
		}
		_, err := m.write("set-password/web", data{"password": "Curly{Bra}ce.Passw0rd"})
		if role["connection"] == "metal" {
			require.NoError(t, err)
			calls++
		} else {
			require.Equal(t, 400, status(err), "Elastic Cloud Server takes fewer characters")
		}
		require.Equal(t, calls, m.calls(role))
	})
}

func TestAWindowsServersAdministratorLogsIn(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	role := with(m.instances("metal-windows"), data{"username": "Administrator"})
	m.must("roles/win", role)
	d := m.comes("win", role)
	require.Equal(t, "Administrator", d["username"])
	m.must("rotate-role/win", nil)
	m.comes("win", role)
}
