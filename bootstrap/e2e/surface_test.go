package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

func TestHistoryNeedsSudo(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	_, err := m.as(`path "MOUNT/*" { capabilities = ["read"] }`).client().Logical().Read(m.path + "/history/web1")
	require.Equal(t, 403, statusCode(err))
	secret, err := m.as(`path "MOUNT/*" { capabilities = ["read", "sudo"] }`).client().Logical().Read(m.path + "/history/web1")
	require.NoError(t, err)
	require.NotEmpty(t, secret.Data["passwords"])
}

// paths are all paths of the mount.
var paths = []string{"config", "config/x", "roles", "roles/x", "creds/x", "rotate-role/x", "set-password/x", "confirm-role/x", "verify-role/x", "recover-role/x", "status/x", "history/x", "settings"}

func TestEveryPathHasHelpAndSchema(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	for _, path := range append([]string{""}, paths...) {
		help, err := vault.Client.Help(m.path + "/" + path)
		require.NoError(t, err, path)
		require.Greater(t, len(help.Help), 150, "the help of %q", path)
	}
	help, err := vault.Client.Help(m.path + "/")
	require.NoError(t, err)
	body, err := json.Marshal(help.OpenAPI)
	require.NoError(t, err)
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(body, &document))
	found := 0
	for path, operations := range document.Paths {
		found++
		for _, verb := range []string{"get", "post", "delete"} {
			raw, ok := operations[verb]
			if !ok {
				continue
			}
			var operation struct {
				OperationID string                     `json:"operationId"`
				Responses   map[string]json.RawMessage `json:"responses"`
			}
			require.NoError(t, json.Unmarshal(raw, &operation))
			require.True(t, strings.HasPrefix(operation.OperationID, "hosting-"), "%s %s: %s", verb, path, operation.OperationID)
			require.NotEmpty(t, operation.Responses, "%s %s", verb, path)
			if response, ok := operation.Responses["200"]; ok {
				require.Contains(t, string(response), "schema", "%s %s should have a response schema", verb, path)
			}
		}
	}
	require.GreaterOrEqual(t, found, len(paths), "every path should be described")
}

// Vault's own client sends a patch with "vault patch".
func TestPatchUpdatesConnectionAndRole(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	patch := func(path string, d data) error {
		_, err := m.client().Logical().JSONMergePatch(t.Context(), m.path+"/"+path, d)
		return err
	}
	require.NoError(t, patch("config/panel", data{"max_in_flight": 7}))
	require.NoError(t, patch("roles/web1", data{"history_size": 3}))
	require.Equal(t, json.Number("7"), m.read("config/panel")["max_in_flight"])
	require.Equal(t, json.Number("3"), m.read("roles/web1")["history_size"])
	require.Equal(t, 400, statusCode(patch("config/new", m.panel())))
	require.Equal(t, 400, statusCode(patch("roles/new", alias("ops2"))))
	secret, err := m.client().Logical().List(m.path + "/status")
	require.NoError(t, err)
	require.Equal(t, []any{"web1"}, secret.Data["keys"])
}

func TestDeletedSettingsAreTheDefaults(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	before := m.read("settings")
	for range 2 {
		m.must("settings", data{"catch_up_limit": 600})
		require.Equal(t, int64(600), numberOf(t, m.read("settings"), "catch_up_limit"))
		require.NoError(t, m.delete("settings"))
		require.Equal(t, before, m.read("settings"))
		require.NoError(t, m.delete("settings"), "repeated")
	}
}

func TestPluginServesSeveralMounts(t *testing.T) {
	t.Parallel()
	one, other := newMount(t), newMount(t)
	one.must("roles/web1", alias("ops1"))
	other.must("roles/web1", alias("ops1"))
	require.NotEqual(t, one.workingCreds("web1", alias("ops1"))["password"], other.workingCreds("web1", alias("ops1"))["password"])
	require.NoError(t, vault.Client.Sys().Unmount(one.path))
	other.must("rotate-role/web1", nil)
	other.workingCreds("web1", alias("ops1"))
}

func TestPluginReportsRegisteredVersion(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	mounted, err := vault.Client.Sys().ListMounts()
	require.NoError(t, err)
	require.Equal(t, vault.Version, mounted[m.path+"/"].RunningVersion)
	require.Equal(t, vaulttest.Plugin, mounted[m.path+"/"].Type)
}
