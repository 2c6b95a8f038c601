package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// shortRestart is the shortest restart_timeout, in seconds. In the plugin for tests, it is 3 seconds.
const shortRestart = 60

// restartRequests returns the requests to restart servers, in order.
func (m *mount) restartRequests() (out []lab.Entry) {
	for _, entry := range m.sim.Journal("ecs", "") {
		if entry.Operation == "BatchRebootServers" || entry.Operation == "ChangeServerPowerState" {
			out = append(out, entry)
		}
	}
	return out
}

// loginAfter returns when a server first accepted a login after a time.
func (m *mount) loginAfter(id string, after time.Time) time.Time {
	for _, entry := range m.sim.Journal("ssh", id) {
		if entry.Result == "ok" && entry.Time.After(after) {
			return entry.Time
		}
	}
	return time.Time{}
}

// A server is restarted only when the one before is back, and its new password logs in.
func TestServersRestartOneAtATime(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	require.NoError(t, m.sim.Switch("ecs", "plugin", true))
	role := with(m.adopted(m.proved(m.cloudServers("cloud-1", "cloud-2", "cloud-no-plugin"))), data{"restart": "soft"})
	m.must("roles/web", role)
	before := m.waitUntilProved("web", role, 1)
	m.sim.ClearJournal()
	require.Equal(t, "restart_required", m.must("rotate-role/web", nil).Data["state"])
	m.waitFor("web", "the first server should restart", func() bool { return len(m.restartRequests()) > 0 })
	d := m.creds("web")
	require.Equal(t, before["password"], d["password"], "it works on the other servers")
	require.Contains(t, m.read("status/web")["reason"], servers(role)[0]+" has been restarting since ")
	require.Empty(t, m.read("status")["needs_person"])
	m.waitFor("web", "one server should have the new password", func() bool { return versionOf(t, m.serversOf("web")[servers(role)[0]]) == 2 })
	require.EqualValues(t, 1, versionOf(t, m.serversOf("web")[servers(role)[2]]))
	m.waitUntilProved("web", role, 2)
	asked := m.restartRequests()
	require.Len(t, asked, 3)
	for i, id := range servers(role) {
		require.Equal(t, id, asked[i].Target)
		proved := m.loginAfter(id, asked[i].Time)
		require.False(t, proved.IsZero())
		if i+1 < len(asked) {
			require.False(t, asked[i+1].Time.Before(proved), "a server was restarted before the one before it was proved")
		}
	}
	m.restarted(role, 1)
	for _, refused := range m.refusedBy(servers(role)) {
		require.Empty(t, refused.Times)
	}
}

// Without a login, a finished restart is all that is known. A scheduled rotation of such a role does not wait for a person.
func TestRestartWithoutProofIsAssumed(t *testing.T) {
	t.Parallel()
	for _, operation := range serverOperations {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := with(m.adopted(m.roleFor(operation)), data{"restart": "soft", "rotation_period": 10})
			m.must("roles/web", role)
			m.waitFor("web", "the servers should be restarted with the next password", func() bool {
				d := m.creds("web")
				return d["state"] == "assumed" && versionOf(t, d) == 2
			})
			m.must("roles/web", data{"rotation_period": 3600})
			require.Contains(t, m.read("status/web")["reason"], "No login has proved it.")
			m.workingCreds("web", role)
			m.restarted(role, 1)
		})
	}
}

// allow_restart can be taken away at any time. A restart that was requested is followed to its end.
func TestRestartsEndWithTheirPermission(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	require.NoError(t, m.sim.Switch("ecs", "restart_ms", 1500))
	role := with(m.adopted(m.proved(m.cloudServers("cloud-1", "cloud-2"))), data{"restart": "soft"})
	ids := servers(role)
	m.must("roles/web", role)
	before := m.waitUntilProved("web", role, 1)
	m.must("rotate-role/web", nil)
	m.waitFor("web", "the first server should restart", func() bool { return m.sim.ECS(ids[0]).PowerActions == 1 })
	m.must("config/elastic", data{"allow_restart": false})
	m.waitFor("web", "the first server should have the new password", func() bool { return versionOf(t, m.serversOf("web")[ids[0]]) == 2 })
	require.Contains(t, m.read("status/web")["reason"], "allow_restart of config/elastic")
	require.Never(t, func() bool { return m.sim.ECS(ids[1]).PowerActions > 0 }, waitShort, tick)
	m.othersUntouched(role, before)
	m.must("config/elastic", data{"allow_restart": true})
	m.waitUntilProved("web", role, 2)
	m.restarted(role, 1)
}

// failedRestart is a restart of the first server that fails.
type failedRestart struct {
	name string
	// only is the operation that has it; "" means both.
	only  string
	spoil func(m *mount, first string)
	// reason is what status says.
	reason string
	// asked is how often the first server was restarted, and refused is how many logins it refuses.
	asked, refused int
	// back: the server comes back, so it needs some time.
	back bool
}

func failedRestarts() []failedRestart {
	turn := func(name string, value any) func(*mount, string) {
		return func(m *mount, _ string) { require.NoError(m.t, m.sim.Switch("ecs", name, value)) }
	}
	fault := func(f lab.Fault) func(*mount, string) {
		return func(m *mount, first string) {
			f.System, f.Target, f.Operations = "ecs", first, []string{lab.OpRestart}
			require.NoError(m.t, m.sim.SetFault(f))
		}
	}
	noSSH := func(m *mount, first string) {
		m.switchSSH("auth_methods", map[string]string{first: "publickey"})
	}
	const late = "it has not come back within restart_timeout"
	return []failedRestart{
		{name: "no permission", spoil: fault(lab.Fault{Kind: lab.Deny, Variant: "forbidden"}), reason: "the remote system refuses to restart it"},
		{name: "refused", spoil: fault(lab.Fault{Kind: lab.RejectTarget}), reason: "the remote system refuses to restart it"},
		{name: "request lost", spoil: fault(lab.Fault{Kind: lab.Cut}), reason: late},
		{name: "hangs", spoil: turn("restart_result", "hang"), reason: late, asked: 1},
		{name: "stays off", only: "instances", spoil: turn("restart_result", "off"), reason: late, asked: 1},
		{name: "job fails, and stays off", only: "cloudservers", spoil: turn("restart_result", "off"), reason: "its restart failed", asked: 1},
		{name: "job fails", only: "cloudservers", spoil: turn("restart_result", "fail"), reason: "its restart failed", asked: 1},
		{name: "another host key", spoil: turn("restart_host_key", "new"), reason: "is not in verify_host_key", asked: 1, back: true},
		{name: "no logins with a password", spoil: noSSH, reason: "it is not known whether the new password works there", asked: 1, back: true},
		{name: "guest ignored the reset", only: "cloudservers", spoil: turn("guest_script", "fails"), reason: "the new password does not log in there", asked: 1, refused: 2, back: true},
	}
}

// The first failure stops the restarts: the other servers run as before, and an operator is asked.
func TestFailedRestartStopsTheOthers(t *testing.T) {
	t.Parallel()
	for _, f := range failedRestarts() {
		for _, operation := range serverOperations {
			if f.only != "" && f.only != operation {
				continue
			}
			t.Run(f.name+" of "+operation, func(t *testing.T) {
				t.Parallel()
				m := newProvedMount(t)
				role := with(m.adopted(m.proved(m.roleFor(operation))), data{"restart": "soft", "restart_timeout": shortRestart})
				if f.back {
					role["restart_timeout"] = 2 * shortRestart
				}
				m.must("roles/web", role)
				before := m.waitUntilProved("web", role, 1)
				ids := servers(role)
				known := m.sim.SSH(ids[0]).Fingerprint
				f.spoil(m, ids[0])
				m.must("rotate-role/web", nil)
				m.waitFor("web", "an operator should be asked", func() bool { return numberOf(t, m.read("status"), "needs_person_count") == 1 })
				s := m.read("status/web")
				require.Contains(t, s["reason"], "The restarts have stopped at server "+ids[0]+": ")
				require.Contains(t, s["reason"], f.reason)
				require.Contains(t, s["advice"], "restart the servers")
				if f.name == "another host key" {
					require.Contains(t, s["reason"], known)
					require.Contains(t, s["reason"], m.sim.SSH(ids[0]).Fingerprint)
				}
				require.Contains(t, text(m.read("status")["needs_person"].([]any)[0].(data)), "restart")
				require.Equal(t, f.asked, m.sim.ECS(ids[0]).PowerActions)
				m.othersUntouched(role, before)
				d := m.creds("web")
				require.Equal(t, "restart_required", d["state"])
				require.Equal(t, before["password"], d["password"])
				require.LessOrEqual(t, m.refusedCount(role), f.refused)
				m.withinBudget(role)

				m.repair(role)
				if f.refused > 0 { // the servers never got it
					m.must("confirm-role/web", data{"version": 2, "discard": true, "force": true}) // the budget may be spent
					require.Equal(t, before["password"], m.workingCreds("web", role)["password"])
					return
				}
				m.restart(ids...)
				_, results := m.verifies("verify-role", "web")
				require.Equal(t, map[string]string{"2 " + ids[0]: "works", "2 " + ids[1]: "works"}, withoutRefused(results))
				d = m.waitUntilProved("web", role, 2)
				require.NotEqual(t, before["password"], d["password"])
				m.withinBudget(role)
				require.Equal(t, f.asked, m.sim.ECS(ids[0]).PowerActions, "the engine should restart nothing any more")
			})
		}
	}
}

// othersUntouched asserts that the servers after the first were not restarted, and accept the password.
func (m *mount) othersUntouched(role, before data) {
	m.t.Helper()
	for _, id := range servers(role)[1:] {
		require.Zero(m.t, m.sim.ECS(id).PowerActions)
		require.Zero(m.t, m.sim.ECS(id).Restarts)
		require.NoError(m.t, m.login(with(role, data{"instance_ids": id}), before["password"]))
	}
}

// repair ends what keeps servers from restarting and from being proved.
func (m *mount) repair(role data) {
	m.t.Helper()
	m.clearFaults()
	for name, value := range map[string]any{"restart_result": "success", "restart_host_key": "keep", "guest_script": "ok"} {
		require.NoError(m.t, m.sim.Switch("ecs", name, value))
	}
	m.switchSSH("auth_methods", "password")
	m.must("roles/web", data{"verify_host_key": m.proved(role)["verify_host_key"]})
}

// withoutRefused returns the results of passwords that worked, or of which a login could not tell.
func withoutRefused(results map[string]string) map[string]string {
	out := tried(results)
	for key, result := range out {
		if result == "refused" {
			delete(out, key)
		}
	}
	return out
}
