package backend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/canary"
)

// A secret in a field of another type is neither returned nor logged, whatever the field and the type.
func TestValueOfWrongTypeIsNeverPrinted(t *testing.T) {
	const secret, digits = "Canary-Secret.1", "47114711471147114711.5"
	var secrets canary.Set
	secrets.Add("the secret", secret)
	secrets.Add("the digits", digits)
	number := json.Number(digits)
	wrong := []any{
		map[string]any{"a": secret}, map[string]any{secret: 1}, map[string]any{"a": map[string]any{"b": []any{secret}}},
		[]any{map[string]any{"a": secret}}, []any{[]any{secret}}, []any{secret, nil}, []any{secret, true}, []any{number, map[string]any{}},
		map[string]string{"a": secret}, []map[string]any{{"a": secret}}, []byte(secret), []any{nil, secret}, true, nil,
	}
	others := map[framework.FieldType][]any{ // wrong for this type only
		framework.TypeString:           {[]any{secret}, []string{secret}},
		framework.TypeCommaStringSlice: nil,
		framework.TypeStringSlice:      nil,
		framework.TypeBool:             {secret, []any{secret}, []string{secret}},
		framework.TypeInt:              {secret, number, []any{secret}, []string{secret}},
		framework.TypeDurationSecond:   {secret, number, secret + "s", []any{secret}, []string{secret}},
	}
	inTheFuture(t, "types", func(t *testing.T) {
		m, log := openGolden(t, golden{}), &bytes.Buffer{}
		require.NoError(t, m.backend.Setup(t.Context(), &logical.BackendConfig{Logger: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Trace}), System: m.view}))
		tried := 0
		for _, path := range m.backend.Paths {
			m.do(logical.UpdateOperation, "config/panel", map[string]any{
				"provider": "plesk", "url": "https://127.0.0.1:1", "username": "admin", "password": "Test-Admin.1", "allowed_roles": "*",
			})
			m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1"})
			pattern := strings.TrimSuffix(strings.Trim(path.Pattern, "^$"), "/?")
			room, _, named := strings.Cut(pattern, "(?P<name>")
			for operation := range path.Operations {
				for _, name := range append(slices.Collect(maps.Keys(path.Fields)), "unknown") {
					values := slices.Concat(wrong, []any{secret, []any{secret}, number})
					if schema := path.Fields[name]; schema != nil {
						require.Contains(t, others, schema.Type, "%s of %s has a type that is not checked", name, path.Pattern)
						values = slices.Concat(wrong, others[schema.Type])
					}
					var said strings.Builder
					for _, value := range values {
						for _, subject := range []string{"panel", "web1", "absent"} {
							req := &logical.Request{Operation: operation, Path: pattern, Storage: m.storage, Data: map[string]any{name: value}}
							if named {
								req.Path = room + subject
							}
							require.NotNil(t, m.backend.Route(req.Path), req.Path)
							fmt.Fprintf(&said, "%T: %s", value, m.said(req))
							tried++
						}
					}
					require.Empty(t, secrets.Find([]byte(said.String())), "%s %s with %s", operation, path.Pattern, name)
				}
			}
		}
		require.Greater(t, tried, 5000)
		require.Empty(t, secrets.Find(log.Bytes()), "the log")
	})
}

// said makes a request as Vault does, and returns everything that it gets to see.
func (m *mounted) said(req *logical.Request) string {
	m.Helper()
	var said strings.Builder
	if req.Operation == logical.CreateOperation || req.Operation == logical.UpdateOperation {
		_, _, err := m.backend.HandleExistenceCheck(m.Context(), req)
		fmt.Fprintln(&said, err)
	}
	resp, err := m.backend.HandleRequest(m.Context(), req)
	fmt.Fprintln(&said, err)
	if resp != nil {
		fmt.Fprintln(&said, resp.Data, resp.Warnings)
	}
	return said.String()
}

// Every text and every list has a limit, which the help of its path states.
func TestEveryFieldHasLimit(t *testing.T) {
	m := mount(t)
	long := func(n int) string { return strings.Repeat("a", n) }
	list := func(n int) (out []any) {
		for range n {
			out = append(out, long(maxText))
		}
		return out
	}
	tried := 0
	for _, path := range m.backend.Paths {
		if path.Operations[logical.UpdateOperation] == nil {
			continue
		}
		pattern := strings.Trim(path.Pattern, "^$")
		room, _, named := strings.Cut(pattern, "(?P<name>")
		if named {
			pattern = room + "x"
		}
		for name, schema := range path.Fields {
			said := func(value any) string {
				return m.said(&logical.Request{Operation: logical.UpdateOperation, Path: pattern, Storage: m.storage, Data: map[string]any{name: value}})
			}
			var over []any
			var most any
			switch limit := maxTextOf(name, schema); {
			case name == "name", schema.Query:
				continue
			case schema.Type == framework.TypeString:
				require.True(t, strings.Contains(schema.Description, fmt.Sprintf("At most %d bytes.", limit)) || schema.AllowedValues != nil, "%s of %s", name, pattern)
				over, most = []any{long(limit + 1)}, long(limit)
			case schema.Type == framework.TypeStringSlice:
				require.Contains(t, schema.Description, fmt.Sprintf("At most %d bytes.", limit), "%s of %s", name, pattern)
				over, most = []any{long(limit + 1), []any{long(limit + 1)}, []string{long(limit / 2), long(limit / 2)}, make([]string, limit+2)}, []any{long(limit / 2), long(limit/2 - 1)}
			case schema.Type == framework.TypeCommaStringSlice:
				require.Contains(t, schema.Description, "At most 256 entries of 256 bytes.", "%s of %s", name, pattern)
				over = []any{list(maxEntries + 1), strings.Repeat("a,", maxEntries) + "a", long(maxText + 1), []any{long(maxText + 1)}, []string{long(maxText + 1)}, long(1 << 20)}
				most = list(maxEntries)
			default:
				over, most = []any{long(1 << 20)}, 1
			}
			for _, value := range over {
				text := said(value)
				require.NotContains(t, text, "aaaaaaaaa", "%s of %s", name, pattern)
				require.Regexp(t, name+" (is|has an entry that is) too (long|large): at most|"+name+" must be", text, "%s of %s", name, pattern)
				tried++
			}
			require.NotContains(t, said(most), "too long", "%s of %s", name, pattern)
		}
	}
	require.Greater(t, tried, 60)
	require.Contains(t, m.refuses("roles/"+long(maxText+1), nil), "the name is too long")
	require.NotContains(t, m.refuses("roles/x", map[string]any{long(maxText + 1): 1}), "aaa")
	many := map[string]any{}
	for i := range maxUnknown + 1 {
		many[long(i+1)] = 1
	}
	require.Contains(t, m.refuses("roles/x", many), "more than 10 unknown fields")
}

// What an older version stored is served, whatever its size.
func TestStoredValuesBeyondLimitsAreServed(t *testing.T) {
	inTheFuture(t, "long", func(t *testing.T) {
		m := openGolden(t, golden{})
		m.do(logical.UpdateOperation, "config/panel", map[string]any{
			"provider": "plesk", "url": "https://127.0.0.1:1", "username": "admin", "password": "Test-Admin.1", "allowed_roles": "*",
		})
		m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1", "rotation_schedule": "0 0 * * *"})
		minutes := strings.TrimSuffix(strings.Repeat("0,", 1000), ",")
		globs := `"` + strings.Repeat("*a", 500) + `",` + strings.Repeat(`"x*",`, 2000)
		for key, change := range map[string][2]string{"role/web1": {"0 0 * * *", minutes + " 0 * * *"}, "config/panel": {`"allowed_roles":[`, `"allowed_roles":[` + globs}} {
			entry, err := m.storage.Get(t.Context(), key)
			require.NoError(t, err)
			changed := bytes.Replace(entry.Value, []byte(change[0]), []byte(change[1]), 1)
			require.Greater(t, len(changed), len(entry.Value))
			require.NoError(t, m.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: changed}))
			m.backend.InvalidateKey(t.Context(), key)
		}
		require.Equal(t, 1, m.creds("web1").Version)
		require.Len(t, m.do(logical.ReadOperation, "config/panel", nil).Data["allowed_roles"], 2002)
		require.Len(t, m.do(logical.ReadOperation, "roles/web1", nil).Data["rotation_schedule"], 2007)
		m.do(logical.UpdateOperation, "roles/web1", map[string]any{"max_read_ttl": 60})
		m.do(logical.UpdateOperation, "rotate-role/web1", nil)
		require.Equal(t, 2, m.creds("web1").Version)
	})
}

func TestLongOptionsOfRoleReadBack(t *testing.T) {
	m := mount(t)
	m.connect()
	m.do(logical.UpdateOperation, "roles/web1", map[string]any{"connection": "panel", "login": "ops1", "verify": "plesk", "verify_ca_cert": m.sim.Output().CAPEM})
	m.do(logical.UpdateOperation, "rotate-role/web1", nil)
	m.do(logical.UpdateOperation, "roles/web1", map[string]any{"max_read_ttl": 60})
	role := m.do(logical.ReadOperation, "roles/web1", nil).Data
	require.Equal(t, m.sim.Output().CAPEM, role["verify_ca_cert"])
	m.do(logical.DeleteOperation, "roles/web1", nil)
	entry, err := m.storage.Get(t.Context(), "options/web1")
	require.NoError(t, err)
	require.Nil(t, entry)
}
