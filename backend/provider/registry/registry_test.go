package registry

import (
	"slices"
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/provider"
)

func TestNamesAreUniqueAndSorted(t *testing.T) {
	names := make([]string, 0, len(All()))
	for _, p := range All() {
		names = append(names, p.Name())
	}
	require.True(t, slices.IsSorted(names))
	require.Len(t, slices.Compact(names), len(All()))
}

// The engine compares hosts to refuse a move of a connection in use.
func TestHostIgnoresPathAndCase(t *testing.T) {
	key := provider.Settings{"access_key": "AK", "secret_key": "Test-secret-key", "project_id": "p1"}
	settings := map[string]provider.Settings{
		"dcs": key, "ecs": key, "mediatemple": {"api_key": "Test-api-key"}, "plesk": {"secret_key": "Test-secret-key"},
	}
	for _, p := range All() {
		for address, want := range map[string]string{
			"https://Host.example.com/":     "host.example.com:443",
			"https://host.example.com:443":  "host.example.com:443",
			"https://host.example.com:8443": "host.example.com:8443",
			"https://[2001:DB8::1]":         "[2001:db8::1]:443",
		} {
			connection := provider.Connection{URL: address, Settings: settings[p.Name()]}
			require.NoError(t, p.Complete(&connection), p.Name())
			require.Equal(t, want, p.Host(connection), p.Name())
			if p.Name() != "plesk" { // takes no path
				connection.URL += "/v2"
				require.NoError(t, p.Complete(&connection), p.Name())
				require.Equal(t, want, p.Host(connection), p.Name())
			}
		}
		require.Empty(t, p.Host(provider.Connection{URL: "\x00"}), p.Name())
	}
}

// The engine merges the fields of all providers, so new providers must be compatible.
func TestProviderFieldsAreCompatible(t *testing.T) {
	connections, targets := map[string]framework.FieldType{}, map[string]framework.FieldType{}
	for _, p := range All() {
		requireSameTypes(t, connections, p.ConnectionFields())
		requireSameTypes(t, targets, p.TargetFields())
		own := map[string]provider.Field{}
		for _, field := range p.ConnectionFields() {
			require.NotContains(t, own, field.Name, p.Name())
			own[field.Name] = field
		}
		for _, field := range own {
			require.NotEmpty(t, field.Schema.Description)
			if field.Local { // a field that affects what is sent, or where, needs a new check
				require.False(t, field.Secret || field.Address || field.Immutable, "%s of %s", field.Name, p.Name())
				for _, form := range p.CredentialForms() {
					require.NotContains(t, form, field.Name, p.Name())
				}
			}
		}
		for _, form := range p.CredentialForms() {
			secrets := 0
			for _, name := range form {
				require.Contains(t, own, name, p.Name())
				if own[name].Secret {
					secrets++
				}
			}
			require.Positive(t, secrets, p.Name())
		}
		for _, field := range p.TargetFields() {
			require.False(t, field.Secret, p.Name())
			require.NotEmpty(t, field.Schema.Description)
		}
	}
}

// The lockout guard cannot protect a credential that fewer refusals lock.
func TestGuardCanProtectEveryCredential(t *testing.T) {
	counted := map[string]bool{}
	for _, p := range All() {
		for _, form := range p.CredentialForms() {
			settings := provider.Settings{}
			for _, name := range form {
				settings[name] = "Test-value"
			}
			locks := p.Lockout(provider.Connection{URL: "https://host.example.com", Settings: settings})
			if locks.Refusals != 0 {
				counted[p.Name()] = true
				require.GreaterOrEqual(t, locks.Refusals, lockout.MinRefusals, "%s: %q", p.Name(), form)
				require.NotEmpty(t, locks.Credential, "%s: %q", p.Name(), form)
			}
		}
	}
	require.Len(t, counted, 3, "Media Temple locks nothing")
}

// Providers that share a field name share one field of the path, so it must have one type.
func requireSameTypes(t *testing.T, known map[string]framework.FieldType, fields []provider.Field) {
	t.Helper()
	for _, field := range fields {
		if kind, ok := known[field.Name]; ok {
			require.Equal(t, kind, field.Schema.Type, field.Name)
		}
		known[field.Name] = field.Schema.Type
	}
}
