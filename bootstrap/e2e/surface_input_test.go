package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Bad input is refused with 400 and a message that says what is wrong. It changes nothing in Vault or on the remote system.
func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("config/other", with(m.panel(), data{"allowed_roles": "nobody", "allowed_targets": "x*"}))
	m.must("roles/web1", alias("ops1"))
	m.must("roles/cache", m.account("app"))
	m.must("config/token", m.asUser(m.cloud()))
	policy := func(name, rules string) {
		putPolicy(t, m.path+name, rules)
	}
	policy("short", `length = 4
rule "charset" { charset = "abcdefghij" }`)
	policy("quotes", `length = 20
rule "charset" { charset = "abcdefghijABCDEFGHIJ0123456789\"'" }`)

	m.must("config/panel", data{"allowed_password_policies": m.path + "*"})
	cases := []struct {
		name, path string
		data       data
		says       string
	}{
		{"unknown field of a connection", "config/panel", data{"alowed_roles": "x"}, `did you mean "allowed_roles"`},
		{"unknown field of a role", "roles/web1", data{"rotation_perriod": 60}, "rotation_perriod"},
		{"force when a role is written", "roles/web1", data{"force": true}, `did you mean "force_delete"`},
		{"field of another provider", "config/panel", data{"access_key": "AK"}, "access_key"},
		{"target field of another provider", "roles/web2", with(alias("ops2"), data{"account_id": "1"}), "account_id"},
		{"no provider", "config/new", without(m.panel(), "provider"), "provider"},
		{"unknown provider", "config/new", with(m.panel(), data{"provider": "cpanel"}), "cpanel"},
		{"provider changed", "config/panel", data{"provider": "dcs"}, "cannot be changed"},
		{"no url", "config/new", without(m.panel(), "url"), "url"},
		{"no credential", "config/new", without(m.panel(), "username", "password"), "secret_key"},
		{"credential that Plesk cannot have", "config/new", with(m.panel(), data{"password": "has a Blank.1234567"}), "character"},
		{"credential of an IAM user with a line break", "config/token", with(m.asUser(m.cloud()), data{"password": "Has-a-Line-Break.1\n"}), "line break"},
		{"wrong credential", "config/new", with(m.panel(), data{"password": "Wrong-credential.1"}), "1001"},
		{"url with user info", "config/new", with(m.panel(), data{"url": "https://me:secret@127.0.0.1:8443"}), "url"},
		{"url with a query", "config/new", with(m.panel(), data{"url": "https://127.0.0.1:8443?x=1"}), "url"},
		{"url with a fragment", "config/new", with(m.panel(), data{"url": "https://127.0.0.1:8443#x"}), "url"},
		{"plain http to a name", "config/new", with(m.panel(), data{"url": "http://localhost:8880", "insecure_tls": true}), "http"},
		{"plain http without insecure_tls", "config/new", with(m.panel(), data{"url": "http://127.0.0.1:8880"}), "http"},
		{"plain http to another host", "config/new", with(m.panel(), data{"url": "http://203.0.113.7:8880", "insecure_tls": true}), "http"},
		{"link-local address", "config/new", with(m.panel(), data{"url": "https://169.254.169.254"}), "link-local"},
		{"url without the credential", "config/panel", data{"url": "https://127.0.0.1:1"}, "credential"},
		{"TLS without the credential", "config/panel", data{"insecure_tls": true}, "credential"},
		{"host of a connection in use", "config/panel", with(m.panel(), data{"url": "https://127.0.0.1:1"}), "web1"},
		{"project of a connection in use", "config/cloud", with(m.cloud(), data{"project_id": "ffffffffffffffffffffffffffffffff"}), "cache"},
		{"request_timeout too long", "config/panel", data{"request_timeout": "2m"}, "request_timeout"},
		{"request_timeout that is no duration", "config/panel", data{"request_timeout": "soon"}, "request_timeout"},
		{"max_in_flight", "config/panel", data{"max_in_flight": 0}, "max_in_flight"},
		{"verify address", "config/panel", data{"allowed_verify_addresses": "nowhere"}, "allowed_verify_addresses"},
		{"connection's policy does not exist", "config/panel", data{"password_policy": "no-such-policy"}, "no-such-policy"},
		{"connection's policy cannot comply", "config/panel", data{"password_policy": m.path + "short"}, "too short"},
		{"secret of a wrong type", "config/panel", data{"password": data{"a": "Nested-Secret.1"}}, "must be a string"},
		{"connection logs in with a role's account", "config/new", with(m.panel(), data{"username": "ops1", "password": "x-Y-z-1-2-3"}), "a role of this mount changes the password"},

		{"no connection", "roles/web2", data{"login": "ops2"}, "connection"},
		{"connection does not exist", "roles/web2", with(alias("ops2"), data{"connection": "nope"}), "nope"},
		{"connection does not allow the role", "roles/web2", with(alias("ops2"), data{"connection": "other"}), "allowed_roles"},
		{"connection does not allow the target", "roles/nobody", with(alias("ops2"), data{"connection": "other"}), "allowed_targets"},
		{"no target", "roles/web2", data{"connection": "panel"}, "login"},
		{"target of a wrong type", "roles/web2", data{"connection": "panel", "login": data{"a": 1}}, "login"},
		{"target with a blank", "roles/web2", alias("ops 2"), "login"},
		{"main administrator", "roles/web2", alias("admin"), "admin"},
		{"second role for a target", "roles/web2", alias("ops1"), "another role of this mount already manages"},
		{"second role for a target, in another case", "roles/web2", alias("OPS1"), "another role of this mount already manages"},
		{"second role for an account", "roles/cache2", m.account("app"), "another role of this mount already manages"},
		{"dcs without the present password", "roles/report", without(m.account("report"), "password"), "password"},
		{"dcs with a wrong password", "roles/report", with(m.account("report"), data{"password": "Not-the-Password.1"}), "password"},
		{"dcs with a password that it cannot have", "roles/report", with(m.account("report"), data{"password": "Has:a:Colon.1"}), "character"},
		{"dcs with a password that is too long", "roles/report", with(m.account("report"), data{"password": strings.Repeat("Long-1", 11)}), "too long"},
		{"adopted password that Plesk cannot have", "roles/web2", with(alias("ops2"), data{"skip_initial_rotation": true, "password": "has a Blank.1234567"}), "character"},
		{"adopted password with a line break", "roles/web2", with(alias("ops2"), data{"skip_initial_rotation": true, "password": "Has-a-Line-Break.1\n"}), "line break"},
		{"dcs account with another name", "roles/report", with(m.account("report"), data{"username": "someone"}), "username"},
		{"dcs default account", "roles/default", with(m.account("default"), data{}), "default"},
		{"dcs account that does not exist", "roles/report", with(m.account("report"), data{"account_id": "00000000-0000-0000-0000-000000000000"}), "account"},
		{"adopted dcs account that does not exist", "roles/report", with(m.account("report"), data{"account_id": "00000000-0000-0000-0000-000000000000", "skip_initial_rotation": true}), "account"},
		{"rotation method", "roles/report", with(m.account("report"), data{"rotation_method": "guess"}), "rotation_method"},
		{"password without a need", "roles/web2", with(alias("ops2"), data{"password": "Some-Password.1"}), "skip_initial_rotation"},
		{"both period and schedule", "roles/web2", with(alias("ops2"), data{"rotation_period": 60, "rotation_schedule": "0 0 * * *"}), "not both"},
		{"period too short", "roles/web1", data{"rotation_period": 9}, "at least 10"},
		{"negative period", "roles/web1", data{"rotation_period": -60}, "rotation_period"},
		{"cron", "roles/web1", data{"rotation_schedule": "every day"}, "cron"},
		{"cron with seconds", "roles/web1", data{"rotation_schedule": "0 0 0 * * *"}, "cron"},
		{"30 February", "roles/web1", data{"rotation_schedule": "0 0 30 2 *"}, "never"},
		{"window too short", "roles/web1", data{"rotation_schedule": "0 0 * * *", "rotation_window": 3599}, "3600"},
		{"window without schedule", "roles/web1", data{"rotation_window": 7200}, "rotation_schedule"},
		{"rotation mode", "roles/web1", data{"rotation_mode": "sometimes"}, "rotation_mode"},
		{"read ttl", "roles/web1", data{"max_read_ttl": 3}, "max_read_ttl"},
		{"history size", "roles/web1", data{"history_size": -1}, "history_size"},
		{"history size that is no number", "roles/web1", data{"history_size": true}, "whole number"},
		{"fraction", "config/panel", data{"max_in_flight": 2.7}, "whole number"},
		{"fraction of a second", "roles/web1", data{"rotate_after_read": "500ms"}, "whole seconds"},
		{"another name in the request", "roles/web1", data{"name": "web2"}, "part of the path"},
		{"time zone in a schedule", "roles/web1", data{"rotation_schedule": "TZ=UTC"}, "cron"},
		{"schedule in another time zone", "roles/web1", data{"rotation_schedule": "TZ=Asia/Tokyo 0 0 * * *"}, "UTC"},
		{"iam_url without the credential", "config/token", data{"iam_url": "https://127.0.0.1:1"}, "credential"},
		{"confirmed password that dcs cannot have", "confirm-role/cache", data{"password": "Has:a:Colon.1"}, "character"},
		{"long confirmation", "confirm-role/web1", data{"password": strings.Repeat("Long", 1000)}, "too long"},
		{"history size of a wrong type", "roles/web1", data{"history_size": "many"}, "history_size"},
		{"role's policy does not exist, or may not be named", "roles/web1", data{"password_policy": "no-such-policy"}, "no-such-policy"},
		{"role's policy cannot comply", "roles/web1", data{"password_policy": m.path + "quotes"}, "character"},
		{"verify", "roles/web1", data{"verify": true}, "verify"},
		{"verify address", "roles/web1", data{"verify": "plesk", "verify_address": "127.0.0.1:22"}, "allowed_verify_addresses"},
		{"connection changed", "roles/web1", data{"connection": "other"}, "cannot be changed"},
		{"login changed", "roles/web1", data{"login": "ops2"}, "cannot be changed"},
		{"account changed", "roles/cache", data{"account_id": m.account("report")["account_id"]}, "cannot be changed"},
		{"skip_initial_rotation changed", "roles/web1", data{"skip_initial_rotation": true}, "skip_initial_rotation"},
		{"password of an existing role", "roles/cache", data{"password": "Some-Password.1"}, "set-password"},

		{"role that does not exist", "rotate-role/nope", nil, "does not exist"},
		{"unknown field of a rotation", "rotate-role/web1", data{"forced": true}, "force"},
		{"version that does not exist", "rotate-role/web1", data{"version": 99}, "99"},
		{"version of a wrong type", "rotate-role/web1", data{"version": "two"}, "version"},
		{"no password", "set-password/web1", nil, "password"},
		{"password with a blank", "set-password/web1", data{"password": "has a Blank.1234567"}, "character"},
		{"password with a quote", "set-password/web1", data{"password": `has"a"Quote.1234567`}, "character"},
		{"password with the login", "set-password/web1", data{"password": "is-OPS1-in-here.1234567"}, "name"},
		{"password too short", "set-password/cache", data{"password": "Ab1-"}, "too short"},
		{"password with a colon", "set-password/cache", data{"password": "Has:a:Colon.1"}, "character"},
		{"password with one kind of character", "set-password/cache", data{"password": "abcdefghijkl"}, "kinds"},
		{"nothing to confirm", "confirm-role/web1", data{"version": 2}, "version"},
		{"confirm nothing", "confirm-role/web1", nil, "version"},
		{"confirm both", "confirm-role/web1", data{"version": 1, "password": "x"}, "not both"},
		{"settings", "settings", data{"catch_up_limit": 1}, "catch_up_limit"},
		{"unknown setting", "settings", data{"catch_up": 1}, "catch_up_limit"},
	}
	before := m.snapshot()
	changed := len(m.sim.Journal("", ""))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := m.write(c.path, c.data)
			require.Equal(t, 400, statusCode(err), message(err))
			require.Contains(t, message(err), c.says)
			for _, field := range []string{"password", "secret_key"} {
				if value, ok := c.data[field].(string); ok && len(value) > 3 {
					require.NotContains(t, message(err), value, "an error never contains a secret")
				}
			}
			require.NotContains(t, message(err), "Nested-Secret")
			require.Equal(t, before, m.snapshot())
		})
	}
	for _, entry := range m.sim.Journal("", "")[changed:] {
		require.False(t, entry.Applied, "the remote system changed a password: %v", entry)
	}
	err := m.delete("config/panel")
	require.Equal(t, 400, statusCode(err))
	require.Contains(t, message(err), "web1", "the message should name the roles that use the connection")
	require.Equal(t, before, m.snapshot())
	m.workingCreds("web1", alias("ops1"))
	m.workingCreds("cache", m.account("app"))
}

// snapshot returns everything that can be read from a mount.
func (m *mount) snapshot() string {
	m.t.Helper()
	all := data{}
	for _, kind := range []string{"config", "roles"} {
		secret, err := m.client().Logical().List(m.path + "/" + kind)
		require.NoError(m.t, err)
		keys, ok := secret.Data["keys"].([]any)
		require.True(m.t, ok)
		for _, key := range keys {
			path := kind + "/" + key.(string)
			all[path] = m.read(path)
			if kind == "roles" {
				all["history/"+key.(string)] = m.read("history/" + key.(string))
			}
		}
	}
	all["settings"] = m.read("settings")
	encoded, err := json.Marshal(all)
	require.NoError(m.t, err)
	return string(encoded)
}

func TestNamesWithDotsAndSlashesChangeNothing(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	m.must("roles/web1", alias("ops1"))
	before := m.snapshot()
	for _, name := range []string{"..", "../web1", "a..b", "web1..", "a/b", "a/../web1", "%2e%2e", "a%2fb", "..%2f..%2fsys", "%2e%2e%2fweb1", ".", "-", "a.", "%00", "%c3%bc", "//", "web1%0a"} {
		for _, path := range []string{"config/", "roles/", "creds/", "rotate-role/", "set-password/", "confirm-role/", "status/", "history/"} {
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, "LIST"} {
				code := m.rawRequest(method, path+name, with(alias("ops2"), data{"password": "x"}))
				require.Less(t, code, 500, "%s %s%s", method, path, name)
				require.False(t, code < 300 && method != http.MethodDelete, "%s %s%s: %d", method, path, name, code)
			}
		}
	}
	require.Equal(t, before, m.snapshot())
	m.workingCreds("web1", alias("ops1"))
}

// rawRequest makes a request with a path that Vault's client would clean, and returns the status.
func (m *mount) rawRequest(method, path string, body data) int {
	m.t.Helper()
	encoded, err := json.Marshal(body)
	require.NoError(m.t, err)
	request, err := http.NewRequestWithContext(context.Background(), method, vault.Address(), bytes.NewReader(encoded))
	require.NoError(m.t, err)
	request.URL.Opaque = strings.TrimPrefix(vault.Address(), "http:") + "/v1/" + m.path + "/" + path
	request.Header.Set("X-Vault-Token", vault.Client.Token())
	client := http.Client{Transport: vault.Client.CloneConfig().HttpClient.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	require.NoError(m.t, err)
	require.NoError(m.t, answer.Body.Close())
	return answer.StatusCode
}

func TestConnectionFailingVerificationIsNotStored(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	_, err := m.write("config/panel", with(m.panel(), data{"url": "https://127.0.0.1:1"}))
	require.Equal(t, 502, statusCode(err), message(err))
	_, err = m.write("config/panel", without(m.panel(), "ca_cert"))
	require.Equal(t, 502, statusCode(err))
	require.Contains(t, message(err), "ca_cert", "the message should say what to do about the certificate")
	secret, err := m.client().Logical().List(m.path + "/config")
	require.NoError(t, err)
	require.Nil(t, secret)

	m.must("config/panel", with(m.panel(), data{"url": "https://127.0.0.1:1", "verify_connection": false}))
	_, err = m.write("roles/web1", alias("ops1"))
	require.Equal(t, 502, statusCode(err), message(err))
	secret, err = m.client().Logical().List(m.path + "/roles")
	require.NoError(t, err)
	require.Nil(t, secret, "no password was set, so no role should be stored")
	require.NoError(t, m.delete("config/panel"))
}

func TestRoleReadsBackAsWritten(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := with(alias("ops1"), data{
		"rotation_period": "24h", "rotation_mode": "on_read", "rotate_after_read": "5m", "max_read_ttl": "1m",
		"disable_automated_rotation": true, "return_last_password": true, "history_size": 3,
	})
	written := m.must("roles/web1", role)
	require.Empty(t, written.Warnings, "every stored option has an effect")
	got := m.read("roles/web1")
	for name, want := range map[string]any{
		"rotation_period": "86400", "rotate_after_read": "300", "max_read_ttl": "60", "history_size": "3",
		"rotation_mode": "on_read", "disable_automated_rotation": true, "return_last_password": true, "login": "ops1", "connection": "panel",
	} {
		if number, ok := got[name].(json.Number); ok {
			require.Equal(t, want, number.String(), name)
			continue
		}
		require.Equal(t, want, got[name], name)
	}
	require.NotContains(t, got, "password")
	m.must("roles/web1", got) // an answer can be written back

	m.must("roles/web1", data{"rotation_schedule": "30 3 * * 6", "rotation_window": "2h"})
	got = m.read("roles/web1")
	require.Equal(t, "0", got["rotation_period"].(json.Number).String(), "a schedule clears the period")
	require.Equal(t, "30 3 * * 6", got["rotation_schedule"])
	m.must("roles/web1", data{"rotation_period": 3600})
	got = m.read("roles/web1")
	require.Empty(t, got["rotation_schedule"])
	require.Equal(t, "0", got["rotation_window"].(json.Number).String())

	m.must("rotate-role/web1", nil)
	require.Contains(t, m.creds("web1"), "last_password")
	config := m.read("config/cloud")
	require.NotContains(t, config, "secret_key")
	require.NotContains(t, config, "password")
	m.must("config/cloud", without(config, "name"))
}
