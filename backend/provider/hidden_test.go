package provider_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

const secret = "Test-" + providertest.Canary + "-Passw0rd"

func TestProviderInputsHideSecrets(t *testing.T) {
	t.Parallel()
	settings := provider.Settings{"api_key": secret, "list": []string{secret}, "region": "r"}
	change := provider.Change{Target: provider.Target{Names: []string{"ops1"}}, NewPassword: secret, OldPassword: secret}
	connection := provider.Connection{URL: "https://h", Settings: settings}
	providertest.RequireSecretFree(t, settings, change, connection, &settings, &change, &connection,
		[]any{settings, change, connection}, map[string]any{"a": change}, struct{ In provider.Change }{change})

	require.Contains(t, settings.String("api_key"), secret, "the provider itself can read them")
	var log bytes.Buffer
	for _, asJSON := range []bool{false, true} { // Vault's plugins log in JSON
		logger := hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace, JSONFormat: asJSON})
		logger.Error("by mistake", "change", change, "connection", connection, "pointers", []any{&change, &connection})
	}
	require.NotContains(t, log.String(), providertest.Canary)
	require.Contains(t, log.String(), "ops1", "non-secret fields are logged")

	encoded, err := json.Marshal(settings)
	require.NoError(t, err)
	require.Contains(t, string(encoded), secret, "settings are stored with their values")
}
