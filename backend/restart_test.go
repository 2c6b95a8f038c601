package backend

import (
	"encoding/json"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
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
