package registry

import (
	"slices"
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestEveryProviderIsFoundByItsName(t *testing.T) {
	names := make([]string, 0, len(All()))
	for _, want := range All() {
		got, ok := ByName(want.Name())
		require.True(t, ok)
		require.Equal(t, want, got)
		names = append(names, want.Name())
	}
	require.True(t, slices.IsSorted(names))
	require.Len(t, slices.Compact(names), len(All()), "names are unique")
	_, ok := ByName("nobody")
	require.False(t, ok)
}

// What the engine builds its fields from must fit together, whoever adds a provider.
func TestFieldsOfAllProvidersFitTogether(t *testing.T) {
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
			if field.Local { // what is sent, or where, cannot change without a new check
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

// A field that several providers have is one field of the path, with one type.
func requireSameTypes(t *testing.T, known map[string]framework.FieldType, fields []provider.Field) {
	t.Helper()
	for _, field := range fields {
		if kind, ok := known[field.Name]; ok {
			require.Equal(t, kind, field.Schema.Type, field.Name)
		}
		known[field.Name] = field.Schema.Type
	}
}
