package connection

import (
	"bytes"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestConnectionsHideSecrets(t *testing.T) {
	t.Parallel()
	const secret = "Test-" + providertest.Canary + "-Passw0rd"
	settings := provider.Settings{"key": secret, "tags": []string{secret}}
	stored := Connection{Name: "conn", Provider: "remote", Settings: settings}
	h, err := newRig(t).cache.Open(stored, Limits{})
	require.NoError(t, err)
	patch := Patch{Settings: settings}
	values := []any{stored, &stored, h, []*Connection{&stored}, []*Handle{h}, map[string]Connection{"a": stored},
		struct{ C Connection }{stored}, patch, &patch, h.Completed}
	providertest.RequireSecretFree(t, values...)
	var log bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})
	for _, value := range values {
		logger.Error("by mistake", "value", value)
	}
	require.NotContains(t, log.String(), providertest.Canary)
}
