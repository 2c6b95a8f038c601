package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Vault compares an allowed parameter as the text that was sent. It does not know that the engine splits a list at commas.
func TestVaultPolicyDoesNotLimitLists(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	b := m.as(`
path "MOUNT/config/team-b-*" {
  capabilities       = ["create", "update"]
  allowed_parameters = { "allowed_roles" = ["team-b-*"], "*" = [] }
}
path "MOUNT/roles/team-b-*" {
  capabilities       = ["create", "update"]
  allowed_parameters = { "instance_ids" = ["INSTANCE*"], "*" = [] }
}`)
	_, err := b.write("config/team-b-cloud", with(m.cloud(), data{"allowed_roles": "*"}))
	require.Equal(t, 403, statusCode(err), "the policy refuses the plain form")
	_, err = b.write("config/team-b-cloud", with(m.cloud(), data{"allowed_roles": "team-b-1,*"}))
	require.NoError(t, err)
	require.Equal(t, []any{"team-b-1", "*"}, m.read("config/team-b-cloud")["allowed_roles"], "and passes a list that says the same")
}

// What limits a team: connections that somebody else writes for it, with allowed_roles and allowed_targets.
func TestConnectionLimitsTeam(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	app := m.account("app")
	m.must("config/team-b-cloud", with(m.cloud(), data{
		"allowed_roles": "team-b-*", "allowed_targets": strings.Join([]string{app["instance_id"].(string), app["account_id"].(string)}, "/"),
	}))
	b := m.as(`
path "MOUNT/roles/team-b-*"       { capabilities = ["create", "read", "update", "delete"] }
path "MOUNT/rotate-role/team-b-*" { capabilities = ["update"] }
path "MOUNT/status/team-b-*"      { capabilities = ["read"] }
path "MOUNT/creds/team-b-*"       { capabilities = ["read"] }
path "MOUNT/status"               { capabilities = ["list"] }`)
	through := func(connection string, role data) data { return with(role, data{"connection": connection}) }

	_, err := b.write("roles/team-b-other", through("team-b-cloud", m.account("report")))
	require.Equal(t, 400, statusCode(err))
	require.Contains(t, message(err), "allowed_targets")
	m.must("config/cloud", data{"allowed_roles": "team-a-*"})
	_, err = b.write("roles/team-b-other", through("cloud", m.account("report")))
	require.Equal(t, 400, statusCode(err))
	require.Contains(t, message(err), "allowed_roles")
	for _, path := range []string{"roles/team-a-app", "config/team-b-cloud", "rotate-role/team-a-app", "settings", "freeze"} {
		_, err = b.write(path, app)
		require.Equal(t, 403, statusCode(err), path)
	}
	_, err = b.client().Logical().Read(m.path + "/status")
	require.Equal(t, 403, statusCode(err), "status shows all teams")

	_, err = b.write("roles/team-b-app", through("team-b-cloud", app))
	require.NoError(t, err)
	_, err = b.write("rotate-role/team-b-app", data{"version": 2})
	require.NoError(t, err)
	require.Equal(t, "active", b.read("status/team-b-app")["state"])
	require.NoError(t, m.login(app, b.creds("team-b-app")["password"]))
	names, err := b.client().Logical().List(m.path + "/status")
	require.NoError(t, err)
	require.Equal(t, []any{"team-b-app"}, names.Data["keys"])
}
