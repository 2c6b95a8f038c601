package backend

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Each role has a request in progress that the remote system does not answer. Cleanup must end within two seconds, and
// TestMain reports goroutines that it leaves behind.
func TestCleanupDoesNotWaitForHangingChanges(t *testing.T) {
	m := mount(t)
	m.connect()
	m.do(logical.UpdateOperation, "config/panel", map[string]any{"request_timeout": 60})
	roles := []string{"ops1", "ops2"}
	for _, name := range roles {
		m.do(logical.UpdateOperation, "roles/"+name, map[string]any{"connection": "panel", "login": name})
		require.NoError(t, m.sim.SetFault(lab.Fault{System: "plesk", Target: name, Kind: lab.Hold}))
	}
	ended := make(chan struct{}, len(roles))
	for _, name := range roles {
		go func() {
			defer func() { ended <- struct{}{} }()
			_, _ = m.backend.HandleRequest(context.Background(), &logical.Request{
				Operation: logical.UpdateOperation, Path: "rotate-role/" + name, Data: map[string]any{}, Storage: m.storage,
			})
		}()
	}
	require.Eventually(t, func() bool {
		holding := 0
		for _, fault := range m.sim.Faults() {
			holding += fault.Holding
		}
		return holding == len(roles)
	}, 30*time.Second, 10*time.Millisecond, "requests should be in progress")
	began := time.Now()
	m.backend.Cleanup(t.Context())
	require.Less(t, time.Since(began), 2*time.Second, "Vault waits for Cleanup")
	for range roles {
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("a request did not end after Cleanup")
		}
	}
}
