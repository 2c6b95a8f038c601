package backend

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// Vault asks whether a connection exists before it is written. An error then would keep it from being mended.
func TestUnusableConnectionCanBeWritten(t *testing.T) {
	m := mount(t)
	m.connect()
	m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1"})
	password := m.do(logical.ReadOperation, "creds/web1", nil).Data["password"]
	for _, entry := range []string{
		`{"schema":1,"provider":7}`,
		`{"schema":1,"provider":"plesk","address":"` + m.sim.PleskURL() + `","request_timeout":30,"max_in_flight":4,"allowed_targets":["*"],"settings":{"username":"admin","password":"ends with a line break\n"}}`,
	} {
		require.NoError(t, m.storage.Put(t.Context(), &logical.StorageEntry{Key: "config/panel", Value: []byte(entry)}))
		m.backend.engine.Invalidate("config/panel")
		m.connect()
		require.Equal(t, password, m.do(logical.ReadOperation, "creds/web1", nil).Data["password"])
	}
	m.do(logical.UpdateOperation, "rotate-role/web1", map[string]any{"version": 1})
	require.Equal(t, 2, m.sim.Plesk("ops1").Changes)
}
