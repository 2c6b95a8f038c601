package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

func TestHistoryNeedsSudo(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	token := func(rules string) *api.Client {
		require.NoError(t, vault.Client.Sys().PutPolicy(m.path, rules))
		secret, err := vault.Client.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{m.path}})
		require.NoError(t, err)
		client := m.client()
		client.SetToken(secret.Auth.ClientToken)
		return client
	}
	_, err := token(`path "` + m.path + `/*" { capabilities = ["read"] }`).Logical().Read(m.path + "/history/web1")
	require.Equal(t, 403, status(err))
	secret, err := token(`path "` + m.path + `/*" { capabilities = ["read", "sudo"] }`).Logical().Read(m.path + "/history/web1")
	require.NoError(t, err)
	require.NotEmpty(t, secret.Data["passwords"])
}

// paths are all paths of the engine.
var paths = []string{"config", "config/x", "roles", "roles/x", "creds/x", "rotate-role/x", "set-password/x", "confirm-role/x", "status/x", "history/x", "settings"}

func TestEveryPathHasHelpAndATypedDescription(t *testing.T) {
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
				require.Contains(t, string(response), "schema", "%s %s answers something typed", verb, path)
			}
		}
	}
	require.GreaterOrEqual(t, found, len(paths), "all paths are described")
}

func TestOnePluginServesSeveralMounts(t *testing.T) {
	t.Parallel()
	one, other := newMount(t), newMount(t)
	one.must("roles/web1", alias("ops1"))
	other.must("roles/web1", alias("ops1"))
	require.NotEqual(t, one.works("web1", alias("ops1"))["password"], other.works("web1", alias("ops1"))["password"])
	require.NoError(t, vault.Client.Sys().Unmount(one.path))
	other.must("rotate-role/web1", nil)
	other.works("web1", alias("ops1"))
}
