package backend

import (
	"maps"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// Consumers take a change of any field but ttl for a new password. If the times of a schedule are unevenly spaced,
// rotation_period must depend on the password only, not on the time of the read.
func TestRotationPeriodDependsOnPasswordOnly(t *testing.T) {
	inTheFuture(t, "paused", func(t *testing.T) { // frozen, so that due times pass without a rotation
		m := openGolden(t, golden{})
		m.do(logical.UpdateOperation, "config/panel", map[string]any{
			"provider": "plesk", "url": "https://plesk.example.com:8443", "secret_key": "of-no-remote-system", "allowed_roles": "*",
		})
		m.do(logical.UpdateOperation, "roles/web1", map[string]any{
			"connection": "panel", "login": "ops1", "rotation_schedule": "0 0 * * 1,3", "disable_automated_rotation": true,
		})
		read := func() map[string]any {
			data := m.do(logical.ReadOperation, "creds/web1", nil).Data
			require.Contains(t, []any{2 * 86400, 5 * 86400}, data["rotation_period"], "Monday to Wednesday, or Wednesday to Monday")
			delete(data, "ttl")
			return data
		}
		first := read()
		for range 14 {
			time.Sleep(12 * time.Hour)
			require.True(t, maps.Equal(first, read()), "the response changed at %s", time.Now())
		}
	})
}
