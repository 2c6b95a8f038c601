package backend

import (
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

func TestSettingsReadBackAndReset(t *testing.T) {
	m := mount(t)
	defaults := map[string]any{
		"catch_up_limit": 86400, "allowed_hosts": []string{}, "forbid_insecure_tls": false,
		"min_rotation_interval": 0, "max_roles_per_connection": 0, "min_password_bits": 64,
	}
	require.Equal(t, defaults, m.do(logical.ReadOperation, "settings", nil).Data)
	m.do(logical.UpdateOperation, "settings", map[string]any{
		"allowed_hosts": "*.example.com,10.0.0.0/8", "forbid_insecure_tls": true, "min_rotation_interval": "5m", "max_roles_per_connection": 50,
	})
	m.do(logical.UpdateOperation, "settings", map[string]any{"min_password_bits": 0})
	require.Equal(t, map[string]any{
		"catch_up_limit": 86400, "allowed_hosts": []string{"*.example.com", "10.0.0.0/8"}, "forbid_insecure_tls": true,
		"min_rotation_interval": 300, "max_roles_per_connection": 50, "min_password_bits": 0,
	}, m.do(logical.ReadOperation, "settings", nil).Data, "absent fields keep their values")
	m.do(logical.DeleteOperation, "settings", nil)
	require.Equal(t, defaults, m.do(logical.ReadOperation, "settings", nil).Data)
	require.Contains(t, m.backend.PathsSpecial.Root, "settings", "they stand above the writers of connections")
}
