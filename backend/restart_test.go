package backend

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/ecs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Whoever writes a connection can stop restarts at any time, and nothing else about its roles changes.
func TestConnectionMayStopRestarts(t *testing.T) {
	m := mount(t)
	m.goldenConnections()
	server := map[string]any{
		"connection": "metal", "instance_ids": []string{m.sim.Output().ECS.Instances[0].ID}, "restart": "soft", "restart_timeout": "5m",
		"skip_initial_rotation": true, "password": "What-Is.There-1",
	}
	require.Contains(t, m.refuses("roles/server", server), "restart=soft needs allow_restart=true on the connection")
	m.write("config/metal", map[string]any{"allow_restart": true})
	m.write("roles/server", server)
	stored := m.do(logical.ReadOperation, "roles/server", nil).Data
	require.Equal(t, "soft", stored["restart"])
	require.Equal(t, json.Number("300"), stored["restart_timeout"])
	require.NotContains(t, m.do(logical.ReadOperation, "creds/server", nil).Data, "restart_timeout")

	m.write("config/metal", map[string]any{"allow_restart": false})
	require.Equal(t, "What-Is.There-1", m.do(logical.ReadOperation, "creds/server", nil).Data["password"])
	server["restart_timeout"] = 600
	require.Contains(t, m.refuses("roles/server", server), "restart=soft needs allow_restart=true on the connection")
	m.write("roles/server", map[string]any{"restart": "none", "restart_timeout": 600})
	stored = m.do(logical.ReadOperation, "roles/server", nil).Data
	require.Equal(t, "none", stored["restart"])
	require.Equal(t, json.Number("600"), stored["restart_timeout"])
}

// restarts are the servers of a simulator and a client that restarts one of them.
type restarts struct {
	*mounted
	id      string
	client  provider.Client
	target  provider.Target
	restart provider.Restart
}

func (m *mounted) restarts(api, kind string) *restarts {
	m.Helper()
	out := m.sim.Output()
	key, url, id := out.HuaweiCloud.AccessKeys[0], out.ECS.CloudDCURL, out.ECS.Instances[0].ID
	if api == "cloudservers" {
		url, id = out.ECS.URL, out.ECS.CloudServers[0].ID
	}
	connection := provider.Connection{URL: url, TLS: provider.TLS{Insecure: true}, Settings: provider.Settings{
		"api": api, "allow_restart": true, "project_id": out.ECS.Instances[0].ProjectID, "access_key": key.AccessKey, "secret_key": key.SecretKey,
	}}
	client, err := ecs.Type{}.Open(connection)
	require.NoError(m, err)
	target, err := ecs.Type{}.Target(connection, provider.Settings{"instance_ids": []string{id}, "restart": kind})
	require.NoError(m, err)
	r := &restarts{mounted: m, id: id, client: client, target: target, restart: provider.Restart{Part: id, Kind: kind, Since: time.Now()}}
	require.Equal(m, provider.Staged, client.Change(m.Context(), provider.Change{Target: target, NewPassword: "Simulated-1.Qq", Parts: target.Parts}).Outcome)
	require.Error(m, r.logsIn())
	return r
}

func (r *restarts) restarter() provider.Restarter {
	restarter, ok := r.client.(provider.Restarter)
	require.True(r, ok)
	return restarter
}

// begin requests the restart.
func (r *restarts) begin(want provider.Outcome) {
	r.Helper()
	result, job := r.restarter().Restart(r.Context(), r.target, r.restart)
	require.Equal(r, want, result.Outcome, result.Reason)
	r.restart.Job = job
}

// goes lets time pass, and follows the restart.
func (r *restarts) goes(by time.Duration) provider.Progress {
	r.Helper()
	r.sim.Advance(by)
	result, progress, job := r.restarter().Follow(r.Context(), r.target, r.restart)
	require.Equal(r, provider.Applied, result.Outcome, result.Reason)
	r.restart.Job = job
	return progress
}

func (r *restarts) logsIn() error {
	return r.sim.LoginSSH(r.sim.SSHAddress(r.id), "root", "Simulated-1.Qq")
}

// The clients follow restarts of the simulated services until the new password logs in.
func TestSimulatedServersRestart(t *testing.T) {
	for _, api := range []string{"instances", "cloudservers"} {
		for _, kind := range []string{"soft", "hard"} {
			for _, lost := range []bool{false, true} { // the response to the request
				t.Run(fmt.Sprintf("%s %s, lost: %t", api, kind, lost), func(t *testing.T) {
					m := mount(t)
					require.NoError(t, m.sim.Switch("ecs", "restart_ms", 300_000))
					r := m.restarts(api, kind)
					if lost {
						require.NoError(t, m.sim.SetFault(lab.Fault{System: "ecs", Target: r.id, Kind: lab.ApplyCut, Count: 1, Operations: []string{lab.OpRestart}}))
						r.begin(provider.Unknown)
					} else {
						r.begin(provider.Applied)
					}
					require.Error(t, r.logsIn(), "down")
					actions := 1
					require.Equal(t, provider.Restarting, r.goes(200*time.Second))
					if api == "instances" && kind == "hard" {
						require.Equal(t, provider.Restarting, r.goes(150*time.Second), "off, and turned on")
						require.Equal(t, provider.Restarting, r.goes(time.Second), "being turned on")
						require.Equal(t, provider.Restarted, r.goes(300*time.Second))
						actions++
					} else {
						require.Equal(t, provider.Restarted, r.goes(300*time.Second))
					}
					require.NoError(t, r.logsIn())
					require.Equal(t, actions, m.sim.ECS(r.id).PowerActions)
					require.Equal(t, 1, m.sim.ECS(r.id).Restarts)
				})
			}
		}
	}
}

func TestSimulatedServerDoesNotComeBack(t *testing.T) {
	for result, progress := range map[string]provider.Progress{"fail": provider.RestartFailed, "off": provider.RestartFailed, "hang": provider.Restarting} {
		m := mount(t)
		require.NoError(t, m.sim.Switch("ecs", "restart_result", result))
		r := m.restarts("cloudservers", "soft")
		r.begin(provider.Applied)
		require.Equal(t, progress, r.goes(600*time.Second), result)
		require.Error(t, r.logsIn())
	}
	for _, result := range []string{"off", "hang"} {
		for _, kind := range []string{"soft", "hard"} {
			m := mount(t)
			require.NoError(t, m.sim.Switch("ecs", "restart_result", result))
			r := m.restarts("instances", kind)
			r.begin(provider.Applied)
			require.Equal(t, provider.Restarting, r.goes(300*time.Second))
			require.Equal(t, provider.Restarting, r.goes(300*time.Second))
			require.Error(t, r.logsIn())
		}
	}
}

// A reboot that CloudDC does not show counts as finished after a while, unless the request may not have arrived.
func TestSimulatedRebootIsNotSeen(t *testing.T) {
	m := mount(t)
	require.NoError(t, m.sim.Switch("ecs", "reboot_power", "on"))
	r := m.restarts("instances", "soft")
	r.begin(provider.Applied)
	require.Equal(t, provider.Restarting, r.goes(time.Minute))
	r.restart.Since = r.restart.Since.Add(-2 * time.Minute)
	require.Equal(t, provider.Restarted, r.goes(0))
	require.NoError(t, r.logsIn())
	r.restart.Job = ""
	require.Equal(t, provider.Restarting, r.goes(0))
}
