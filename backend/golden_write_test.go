package backend

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// writeGolden creates a mount with roles in every state, by requests, and writes its storage to a file. Later versions may
// make more requests.
func writeGolden(t *testing.T, version string) {
	t.Helper()
	m := mount(t)
	require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 100))
	require.NoError(t, m.sim.Switch("ecs", "restart_ms", 0))
	m.goldenConnections()
	instance, servers := m.sim.Output().DCS.Instances[0], m.sim.Output().ECS.Instances
	app, report := instance.Accounts[1], instance.Accounts[2]

	// In force, with older passwords, and with every option of a role.
	m.write("roles/active", map[string]any{
		"connection": "panel", "login": "ops1", "rotation_schedule": "0 3 * * 0", "rotation_window": "2h", "max_read_ttl": 60,
		"history_size": 3, "return_last_password": true,
	})
	for range 4 {
		m.write("rotate-role/active", nil)
	}
	m.write("roles/modified", map[string]any{
		"connection": "cloud", "instance_id": instance.ID, "account_id": app.ID, "username": app.Name, "password": app.Password,
		"rotation_period": "24h", "rotate_after_read": "1h",
	})
	m.write("rotate-role/modified", nil)
	// Assumed: confirmed by an operator, and settled by time.
	m.write("roles/said", map[string]any{"connection": "mt", "service_id": "556", "account": "plesk", "skip_initial_rotation": true})
	m.write("confirm-role/said", map[string]any{"password": "Golden-Said.by-a-Person.1"})
	m.lose("mediatemple", "556/plesk")
	m.write("rotate-role/said", nil)
	m.write("confirm-role/said", map[string]any{"version": 2}) // the request may still be carried out
	m.write("roles/queued", map[string]any{"connection": "mt", "service_id": "557", "account": "root"})
	m.comes("queued", "assumed")
	m.write("rotate-role/queued", nil)
	// Waiting for a restart on one of two servers.
	ids := []string{servers[0].ID, servers[1].ID}
	m.write("roles/waiting", map[string]any{"connection": "metal", "instance_ids": ids})
	m.write("confirm-role/waiting", map[string]any{"version": 1})
	m.write("rotate-role/waiting", nil)
	m.write("confirm-role/waiting", map[string]any{"version": 2, "servers": ids[:1]})
	// Uncertain, with automation disabled; and replaced by another one, so that it is a candidate.
	m.write("roles/uncertain", map[string]any{"connection": "mt", "service_id": "556", "account": "root", "disable_automated_rotation": true})
	m.comes("uncertain", "assumed")
	m.lose("mediatemple", "556/root")
	m.write("rotate-role/uncertain", nil)
	m.write("roles/candidate", map[string]any{"connection": "panel", "login": "ops2"})
	m.lose("plesk", "ops2")
	m.write("rotate-role/candidate", map[string]any{"version": 1})
	m.write("set-password/candidate", map[string]any{"password": "Golden.by-Hand_4711"})
	m.comes("candidate", "assumed")
	// Changed outside Vault, and deleted with a wrong old password counted.
	m.write("roles/drifted", map[string]any{
		"connection": "cloud", "instance_id": instance.ID, "account_id": report.ID, "username": report.Name, "password": report.Password,
	})
	gone := map[string]any{
		"connection": "cloud", "instance_id": instance.ID, "account_id": report.ID, "username": report.Name, "password": "Golden-Wrong.Old-Password.3",
	}
	require.NoError(t, m.sim.SetPassword("dcs", instance.ID+"/"+report.ID, "Golden-Set.Elsewhere.4"))
	m.ask("rotate-role/drifted", nil)
	m.do(logical.DeleteOperation, "roles/drifted", map[string]any{"force": true})
	// A credential that was refused as often as it may be, so that its connection waits for an operator.
	m.write("roles/shut", map[string]any{"connection": "shut", "instance_ids": []string{servers[2].ID}, "skip_initial_rotation": true})
	m.write("confirm-role/shut", map[string]any{"password": "Golden-Said.by-a-Person.5"})
	m.write("config/shut", map[string]any{"password": "golden-wrong-password-6", "verify_connection": false})
	for range 3 {
		m.ask("rotate-role/shut", nil)
		m.ask("config/shut", map[string]any{"password": "golden-wrong-password-6", "verify_connection": true})
	}
	m.write("settings", map[string]any{"catch_up_limit": "48h"})
	require.Equal(t, 3, m.creds("modified").Version) // this stores its first read
	m.write("freeze", map[string]any{"duration": 60, "reason": "a release"})

	g := golden{
		About:   "The storage of a mount as version " + version + " wrote it. All accounts, passwords and keys are those of a simulator.",
		Creds:   map[string]goldenCreds{},
		Gone:    gone,
		Storage: map[string]json.RawMessage{},
	}
	m.comes("queued", "assumed")
	keys, err := logical.CollectKeys(t.Context(), m.storage)
	require.NoError(t, err)
	for _, key := range keys {
		entry, err := m.storage.Get(t.Context(), key)
		require.NoError(t, err)
		g.Storage[key] = entry.Value
	}
	for _, role := range m.list("roles/") {
		g.Creds[role] = m.creds(role)
	}
	text, err := json.MarshalIndent(g, "", "\t")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join("testdata", "storage", version+".json"), append(text, '\n'), 0o644))
}

func (m *mounted) goldenConnections() {
	m.Helper()
	out := m.sim.Output()
	key, user, project := out.HuaweiCloud.AccessKeys[0], out.HuaweiCloud.Users[0], out.DCS.Instances[0].ProjectID
	m.write("config/panel", map[string]any{
		"provider": "plesk", "url": out.Plesk.URL, "username": "admin", "password": out.Plesk.AdminPassword,
		"ca_cert": out.CAPEM, "allowed_roles": "*", "request_timeout": 2, "max_in_flight": 2,
	})
	m.write("config/cloud", map[string]any{
		"provider": "dcs", "url": out.DCS.URL, "project_id": project, "access_key": key.AccessKey, "secret_key": key.SecretKey,
		"insecure_tls": true, "allowed_roles": "*", "allowed_targets": "*", "allowed_verify_addresses": "10.0.0.0/8",
	})
	m.write("config/mt", map[string]any{
		"provider": "mediatemple", "url": out.MediaTemple.URL, "api_key": out.MediaTemple.Accounts[0].APIKeys[0], "settle_after": 1,
		"insecure_tls": true, "allowed_roles": "*",
	})
	login := map[string]any{
		"provider": "ecs", "url": out.ECS.CloudDCURL, "project_id": project, "username": user.Name, "password": user.Password,
		"domain_name": out.HuaweiCloud.DomainName, "iam_url": out.HuaweiCloud.IAMURL, "insecure_tls": true, "allowed_roles": "*",
	}
	m.write("config/shut", login)
	m.write("config/metal", map[string]any{
		"provider": "ecs", "url": out.ECS.CloudDCURL, "project_id": project, "access_key": key.AccessKey, "secret_key": key.SecretKey,
		"insecure_tls": true, "allowed_roles": "*",
	})
}

func (m *mounted) write(path string, data map[string]any) {
	m.Helper()
	m.do(logical.UpdateOperation, path, data)
}

// ask makes a write that may fail.
func (m *mounted) ask(path string, data map[string]any) {
	m.Helper()
	_, err := m.backend.HandleRequest(m.Context(), &logical.Request{Operation: logical.UpdateOperation, Path: path, Data: data, Storage: m.storage})
	m.Log(path, err)
}

// lose makes the simulator drop the response to the next change of an account.
func (m *mounted) lose(system, target string) {
	m.Helper()
	require.NoError(m, m.sim.SetFault(lab.Fault{System: system, Target: target, Kind: lab.Cut, Count: 1}))
}

// comes waits until the role is in a state.
func (m *mounted) comes(role, state string) {
	m.Helper()
	require.Eventually(m, func() bool { return m.creds(role).State == state }, 2*time.Minute, 100*time.Millisecond, "%s should be %s", role, state)
}
