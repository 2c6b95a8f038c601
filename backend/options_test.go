package backend

import (
	"fmt"
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/stretchr/testify/require"
)

func TestConnectionOptionsReadBackAsWritten(t *testing.T) {
	t.Parallel()
	requireOwnValues(t, configOptions())
}

func TestRoleOptionsReadBackAsWritten(t *testing.T) {
	t.Parallel()
	requireOwnValues(t, roleOptions())
}

// requireOwnValues requires that each option reads and writes a value of its own, and that absent and null fields change
// nothing.
func requireOwnValues[T any](t *testing.T, options []option[T]) {
	t.Helper()
	schema, raw := addOptions(map[string]*framework.FieldSchema{}, options), map[string]any{}
	var all T
	for i, o := range options {
		raw[o.name] = map[framework.FieldType]any{
			framework.TypeBool: true, framework.TypeInt: i + 1, framework.TypeDurationSecond: i + 1,
			framework.TypeString: fmt.Sprint(i), framework.TypeCommaStringSlice: []string{fmt.Sprint(i)}, framework.TypeStringSlice: []string{fmt.Sprint(i)},
		}[o.schema.Type]

		var one T
		before := values(options, &one)
		apply(&framework.FieldData{Schema: schema, Raw: map[string]any{o.name: raw[o.name]}}, options, &one)
		before[o.name] = raw[o.name]
		require.Equal(t, before, values(options, &one), "only %s changes", o.name)
		apply(&framework.FieldData{Schema: schema, Raw: map[string]any{o.name: nil}}, options, &one)
		require.Equal(t, before, values(options, &one), "%s is null", o.name)
	}
	apply(&framework.FieldData{Schema: schema, Raw: raw}, options, &all)
	require.Equal(t, raw, values(options, &all))
}
