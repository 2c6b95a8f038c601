package e2e

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// The fields that an answer of creds has, those that it may have, and those of the target.
var (
	credsRequired = []string{
		"username", "password", "version", "state", "connection", "provider", "last_vault_rotation", "rotation_period", "ttl",
	}
	credsOptional = []string{"next_password", "last_password"}
	credsTarget   = []string{"service_id", "account", "login", "instance_ids", "instance_id", "account_id"}
)

// assertConsumerContract asserts what Vault Agent and the operators for Kubernetes rely on, to the type. If it is violated,
// they exit or never read again. docs/consumers.md says which consumer reads which field.
func assertConsumerContract(t testing.TB, secret *api.Secret) {
	t.Helper()
	require.Empty(t, secret.LeaseID)
	require.Zero(t, secret.LeaseDuration)
	require.False(t, secret.Renewable)
	require.Nil(t, secret.Auth)
	require.Empty(t, secret.Warnings, "consumers log every warning with every read")

	for _, name := range credsRequired {
		require.Contains(t, secret.Data, name)
	}
	for name, value := range secret.Data {
		require.NotNil(t, value, name)
		require.True(t, slices.Contains(credsRequired, name) || slices.Contains(credsOptional, name) || slices.Contains(credsTarget, name),
			"creds has the unexpected field %s", name)
		_, nested := value.(map[string]any)
		require.False(t, nested, "%s should not be nested", name)
		if list, ok := value.([]any); ok {
			require.NotEmpty(t, list, name)
			for _, one := range list {
				require.IsType(t, "", one, name)
			}
		}
	}
	for _, name := range []string{"ttl", "rotation_period", "version"} {
		require.GreaterOrEqual(t, numberOf(t, secret.Data, name), int64(1), name)
	}
	const wholeSecondsInUTC = "2006-01-02T15:04:05Z"
	text, ok := secret.Data["last_vault_rotation"].(string)
	require.True(t, ok, "last_vault_rotation should be a string")
	at, err := time.Parse(wholeSecondsInUTC, text)
	require.NoError(t, err)
	require.Equal(t, text, at.Format(wholeSecondsInUTC), "last_vault_rotation should have no fraction, which the parser would accept")
	require.False(t, at.After(time.Now()), "last_vault_rotation should not be in the future")
	require.Greater(t, at.Year(), 2000, "last_vault_rotation should be set")

	if next, open := secret.Data["next_password"]; open {
		require.Contains(t, []any{"accepted", "restart_required", "uncertain"}, secret.Data["state"])
		same := next == secret.Data["password"]
		require.False(t, same, "next_password should differ from password")
	}
}

// changedFields returns the fields other than ttl that differ between two answers of creds. Consumers restart programs if
// there are any.
func changedFields(before, after data) (names []string) {
	for name := range with(before, after) {
		if name != "ttl" && !reflect.DeepEqual(before[name], after[name]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestCredsTTLTellsReadersWhenToReadAgain(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	m.must("roles/cache", role)
	for _, c := range []struct {
		about       string
		change      data
		period, ttl int64
		remaining   bool // ttl counts down from it
	}{
		{"manual", nil, 300, 300, false},
		{"manual, with another limit", data{"max_read_ttl": 60}, 60, 60, false},
		{"manual, without a limit", data{"max_read_ttl": 0}, 300, 300, false},
		{"with a period, without a limit", data{"rotation_period": 3600}, 3600, 3600, true},
		{"with a period", data{"max_read_ttl": 300}, 3600, 300, true},
		{"with a period, automation disabled", data{"disable_automated_rotation": true}, 3600, 300, false},
		{"with a period, rotated by readers", data{"disable_automated_rotation": false, "rotation_mode": "on_read"}, 3600, 300, true},
		{"with a schedule", data{"rotation_mode": "auto", "rotation_schedule": "0 3 * * *"}, 86400, 300, true},
		{"with a schedule, without a limit", data{"max_read_ttl": 0}, 86400, 86400, true},
	} {
		if c.change != nil {
			m.must("roles/cache", c.change)
		}
		d := m.creds("cache")
		require.Equal(t, c.period, numberOf(t, d, "rotation_period"), c.about)
		if c.remaining {
			require.LessOrEqual(t, numberOf(t, d, "ttl"), c.ttl, c.about)
		} else {
			require.Equal(t, c.ttl, numberOf(t, d, "ttl"), c.about)
		}
	}

	m.must("roles/adopted", with(m.account("report"), data{"skip_initial_rotation": true}))
	adopted := m.creds("adopted")
	require.Equal(t, "assumed", adopted["state"])
	require.Equal(t, int64(1), versionOf(t, adopted))
	at, err := time.Parse(time.RFC3339, adopted["last_vault_rotation"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), at, time.Minute, "adoption counts as a rotation")
}

// Time passes, a rotation is under way, another is refused: the rest of the answer stays the same until a new password is
// in effect.
func TestOnlyTTLChangesBetweenRotations(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for name, role := range map[string]data{"web1": alias("ops1"), "cache": m.account("app")} {
		m.must("config/"+role["connection"].(string), data{"request_timeout": 60})
		m.must("roles/"+name, with(role, data{"rotation_period": 3600, "max_read_ttl": 0}))
		first := m.creds(name)
		var later data
		require.Eventually(t, func() bool {
			later = m.creds(name)
			return later["ttl"] != first["ttl"]
		}, waitLong, tick, "ttl should count down")
		require.Less(t, numberOf(t, later, "ttl"), numberOf(t, first, "ttl"))
		require.Empty(t, changedFields(first, later))

		release := m.hangRotation(name, role)
		require.Empty(t, changedFields(first, m.creds(name)), "the remote system has applied another password and not answered yet")
		release()
		rotated := m.workingCreds(name, role)
		require.Contains(t, [][]string{
			{"last_vault_rotation", "password", "version"}, {"password", "version"}, // within the same second
		}, changedFields(first, rotated))

		m.fault(role, lab.Fault{Kind: lab.Busy})
		_, err := m.write("rotate-role/"+name, nil)
		require.Equal(t, 503, statusCode(err), name)
		require.Empty(t, changedFields(rotated, m.creds(name)), "the remote system has refused a password")
		m.clearFaults()
	}
}

// Terraform's vault_generic_endpoint compares each field that it has written with what it reads, as JSON. If they differ,
// every plan wants to write it again.
func TestWrittenJSONReadsBackUnchanged(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	account := with(m.account("app"), data{"connection": "cache"})
	for _, c := range []struct {
		path    string
		written data
		never   []string // secrets, which are never returned
	}{
		{"config/panel", with(m.panel(), data{
			"allowed_roles": []string{"web*", "ops"}, "allowed_targets": []string{"ops*"}, "allowed_verify_addresses": []string{},
			"max_in_flight": 2, "verify_connection": true, "insecure_tls": false, "tls_server_name": "",
		}), []string{"password"}},
		{"config/cache", with(m.cloud(), data{"allowed_roles": []string{"*"}}), []string{"secret_key"}},
		{"config/mt", with(m.mt(), data{"allowed_roles": []string{"*"}, "settle_after": 60}), []string{"api_key"}},
		{"config/metal", with(m.metal(), data{"allowed_roles": []string{"*"}, "allow_restart": true, "api": "instances"}), []string{"secret_key"}},
		{"roles/web1", with(alias("ops1"), data{
			"rotation_period": 86400, "max_read_ttl": 60, "rotate_after_read": 0, "disable_automated_rotation": false, "history_size": 3,
		}), nil},
		{"roles/ops", with(alias("ops2"), data{"rotation_schedule": "0 3 * * 6", "rotation_window": 7200, "rotation_mode": "auto"}), nil},
		{"roles/cache", with(account, data{"rotation_method": "modify", "return_last_password": true}), []string{"password"}},
		{"roles/root", with(m.service("root"), data{"rotation_period": 604800}), nil},
		{"roles/server", data{"connection": "metal", "instance_ids": servers(m.instances("metal-1")), "username": "root", "restart": "none"}, nil},
	} {
		for range 2 { // writing it again is no error
			m.must(c.path, c.written)
			read := m.read(c.path)
			for name, value := range c.written {
				if slices.Contains(c.never, name) {
					require.NotContains(t, read, name, c.path)
					continue
				}
				require.Equal(t, asJSON(t, value), asJSON(t, read[name]), "%s of %s", name, c.path)
			}
		}
	}
}

func asJSON(t testing.TB, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	require.NoError(t, err)
	return string(encoded)
}
