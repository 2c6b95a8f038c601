package connection

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func ptr[T any](v T) *T { return &v }

// apply applies a patch to a stored connection.
func apply(t *testing.T, p Patch, stored *Connection) *Connection {
	t.Helper()
	kind := &remote{}
	next, got, err := p.Apply("conn", stored, types(kind))
	require.NoError(t, err)
	require.Same(t, kind, got)
	return next
}

func TestNewConnectionGetsDefaults(t *testing.T) {
	t.Parallel()
	require.Equal(t, &Connection{
		Name: "conn", Provider: "remote", Settings: provider.Settings{},
		Options: Options{AllowedTargets: []string{"*"}, VerifyConnection: true, RequestTimeout: 30, MaxInFlight: 4},
	}, apply(t, Patch{Provider: ptr("remote")}, nil), "no role may use it yet")
}

func TestPatchChangesGivenFieldsOnly(t *testing.T) {
	t.Parallel()
	stored := Connection{
		Name: "conn", Schema: 1, Provider: "remote", Settings: provider.Settings{"note": "n"}, Revision: 7,
		Options: Options{
			Address: "https://a.example", TLS: provider.TLS{CACert: "pem", ServerName: "a", Insecure: true},
			AllowedRoles: []string{"r"}, AllowedTargets: []string{"t"}, AllowedVerifyAddresses: []string{"h:1"},
			PasswordPolicy: "p", VerifyConnection: true, RequestTimeout: 9, MaxInFlight: 8,
		},
	}
	for name, row := range map[string]struct {
		patch  Patch
		change func(*Connection)
	}{
		"nothing":  {Patch{}, func(*Connection) {}},
		"provider": {Patch{Provider: ptr("remote")}, func(*Connection) {}},
		"fields": {
			Patch{Change: func(o *Options) { o.Address, o.TLS.CACert, o.AllowedRoles = "https://b.example", "", []string{} }},
			func(c *Connection) { c.Address, c.TLS.CACert, c.AllowedRoles = "https://b.example", "", []string{} },
		},
		"settings": {Patch{Settings: provider.Settings{"tags": []string{"a"}}}, func(c *Connection) {
			c.Settings = provider.Settings{"note": "n", "tags": []string{"a"}}
		}},
	} {
		before, want := stored, stored
		row.change(&want)
		require.Equal(t, &want, apply(t, row.patch, &before), name)
		require.Equal(t, stored, before, "%s: what is stored stays as it is", name)
	}
}

func TestInvalidPatchIsRejected(t *testing.T) {
	t.Parallel()
	stored := &Connection{Provider: "remote"}
	for _, row := range []struct {
		patch  Patch
		stored *Connection
		want   string
	}{
		{Patch{}, nil, "one of other, remote"},
		{Patch{Provider: ptr("gone")}, nil, `one of other, remote`},
		{Patch{Provider: ptr("other")}, stored, `provider cannot be changed (it is "remote"): create another connection`},
		{Patch{}, &Connection{Provider: "gone"}, `provider "gone" is not supported`},
		{Patch{Settings: provider.Settings{"secret_key": "x"}}, stored, `secret_key does not belong`},
	} {
		_, _, err := row.patch.Apply("conn", row.stored, map[string]provider.Type{"remote": &remote{}, "other": &remote{}})
		require.ErrorContains(t, err, row.want)
	}
}

// The credential is replaced as a whole: parts of the old one do not belong to the new one.
func TestSecretReplacesCredential(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ stored, given, want provider.Settings }{
		"same form": {
			provider.Settings{"key_id": "i", "key": "old", "note": "n"}, provider.Settings{"key": "new"},
			provider.Settings{"key_id": "i", "key": "new", "note": "n"},
		},
		"another secret of the form": {
			provider.Settings{"key_id": "i", "key": "old", "token": "old"}, provider.Settings{"key": "new"},
			provider.Settings{"key_id": "i", "key": "new"},
		},
		"other form": {
			provider.Settings{"key_id": "i", "key": "old", "token": "old", "note": "n"}, provider.Settings{"user": "u", "password": "new"},
			provider.Settings{"user": "u", "password": "new", "note": "n"},
		},
		"no secret": {
			provider.Settings{"key_id": "i", "key": "old"}, provider.Settings{"key_id": "j", "user": "u"},
			provider.Settings{"key_id": "j", "key": "old", "user": "u"},
		},
		"empty secret": {
			provider.Settings{"key": "old", "token": "old"}, provider.Settings{"password": ""},
			provider.Settings{"key": "old", "token": "old", "password": ""},
		},
		"both forms": { // which the provider refuses
			provider.Settings{"key": "old"}, provider.Settings{"key": "new", "password": "new"},
			provider.Settings{"key": "new", "password": "new"},
		},
	} {
		stored := &Connection{Provider: "remote", Settings: row.stored.Clone()}
		next := apply(t, Patch{Settings: row.given}, stored)
		require.Equal(t, map[string]any(row.want), map[string]any(next.Settings), name)
		require.Equal(t, map[string]any(row.stored), map[string]any(stored.Settings), name)
	}
}

func TestOnlySentFieldsMakeConnectionFresh(t *testing.T) {
	t.Parallel()
	settings := provider.Settings{"key_id": "i", "key": "secret", "project": "p", "note": "n", "tags": []string{"a", "b"}, "settle": 60}
	for name, row := range map[string]struct {
		patch Patch
		fresh bool
		err   string
	}{
		"nothing": {Patch{}, false, ""},
		"other fields": {Patch{Change: func(o *Options) {
			o.MaxInFlight = 9
			o.PasswordPolicy = "p"
			o.AllowedRoles = []string{"x"}
		}}, false, ""},
		"local field":          {Patch{Settings: provider.Settings{"note": "another"}}, false, ""},
		"same list":            {Patch{Settings: provider.Settings{"tags": []string{"b", "a"}}}, false, ""},
		"same number":          {Patch{Settings: provider.Settings{"settle": json.Number("60")}}, false, ""},
		"same address":         {Patch{Change: func(o *Options) { o.Address = "https://remote.example" }}, false, ""},
		"same credential":      {Patch{Settings: provider.Settings{"key": "secret"}}, false, ""},
		"another number":       {Patch{Settings: provider.Settings{"settle": 61}}, true, ""},
		"another list":         {Patch{Settings: provider.Settings{"tags": []string{"a"}}}, true, ""},
		"another user":         {Patch{Settings: provider.Settings{"key_id": "j"}}, true, ""},
		"another secret":       {Patch{Settings: provider.Settings{"key": "new"}}, true, ""},
		"immutable field":      {Patch{Settings: provider.Settings{"project": "q"}}, false, `project cannot be changed (it is "p"): create another connection`},
		"url":                  {Patch{Change: func(o *Options) { o.Address = "https://b.example" }}, false, "requires the credential in the same request: add key"},
		"url, credential":      {Patch{Settings: provider.Settings{"key": "secret"}, Change: func(o *Options) { o.Address = "https://b.example" }}, true, ""},
		"url, other form":      {Patch{Settings: provider.Settings{"password": "new"}, Change: func(o *Options) { o.Address = "https://b.example" }}, true, ""},
		"url, empty secret":    {Patch{Settings: provider.Settings{"key": ""}, Change: func(o *Options) { o.Address = "https://b.example" }}, true, ""},
		"url, no secret":       {Patch{Settings: provider.Settings{"key_id": "j"}, Change: func(o *Options) { o.Address = "https://b.example" }}, false, "add key"},
		"login address":        {Patch{Settings: provider.Settings{"login_url": "https://b.example"}}, false, "add key"},
		"login, credential":    {Patch{Settings: provider.Settings{"login_url": "https://b.example", "key": "k"}}, true, ""},
		"ca_cert":              {Patch{Change: func(o *Options) { o.TLS.CACert = "pem" }}, false, "add key"},
		"ca_cert, credential":  {Patch{Settings: provider.Settings{"key": "k"}, Change: func(o *Options) { o.TLS.CACert = "pem" }}, true, ""},
		"server name":          {Patch{Change: func(o *Options) { o.TLS.ServerName = "b" }}, false, "add key"},
		"insecure":             {Patch{Change: func(o *Options) { o.TLS.Insecure = true }}, false, "add key"},
		"insecure, credential": {Patch{Settings: provider.Settings{"key": "k"}, Change: func(o *Options) { o.TLS.Insecure = true }}, true, ""},
	} {
		stored := &Connection{Name: "conn", Provider: "remote", Settings: settings.Clone(), Revision: 3}
		next := apply(t, row.patch, stored)
		kind := &remote{}
		completed, err := next.Complete(kind)
		require.NoError(t, err, name)
		fresh, err := row.patch.Compare(stored, next, kind, completed)
		if row.err != "" {
			require.ErrorContains(t, err, row.err, name)
			require.Equal(t, 3, next.Revision, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, row.fresh, fresh, name)
		want := 3
		if fresh {
			want = 4
		}
		require.Equal(t, want, next.Revision, name)
	}
}

// All secrets in use have to be given again: whoever may update a connection could have them sent elsewhere.
func TestNewAddressNeedsEverySecret(t *testing.T) {
	t.Parallel()
	stored := &Connection{Provider: "remote", Settings: provider.Settings{"key": "k", "token": "t"}, Revision: 1}
	patch := Patch{Change: func(o *Options) { o.Address = "https://b.example" }}
	next := apply(t, patch, stored)
	completed, err := next.Complete(&remote{})
	require.NoError(t, err)
	_, err = patch.Compare(stored, next, &remote{}, completed)
	require.ErrorContains(t, err, "add key and token")
}

func TestNewConnectionIsFresh(t *testing.T) {
	t.Parallel()
	next := &Connection{Revision: 9}
	fresh, err := Patch{}.Compare(nil, next, &remote{}, provider.Connection{})
	require.NoError(t, err)
	require.True(t, fresh)
	require.Equal(t, 1, next.Revision)
}

// Otherwise, a connection that this version does not accept any more could not be mended.
func TestInvalidConnectionIsReplacedWithCredential(t *testing.T) {
	t.Parallel()
	stored := &Connection{Provider: "remote", Options: Options{Address: "bad"}, Settings: provider.Settings{"key": "old", "project": "p"}, Revision: 1}
	for name, row := range map[string]struct {
		settings provider.Settings
		err      string
	}{
		"credential":      {provider.Settings{"key": "new"}, ""},
		"none":            {nil, "requires the credential in the same request: add key"},
		"immutable field": {provider.Settings{"key": "new", "project": "q"}, "project cannot be changed"},
	} {
		patch := Patch{Settings: row.settings, Change: func(o *Options) { o.Address = "https://b.example" }}
		next := apply(t, patch, stored)
		completed, err := next.Complete(&remote{})
		require.NoError(t, err, name)
		fresh, err := patch.Compare(stored, next, &remote{}, completed)
		if row.err != "" {
			require.ErrorContains(t, err, row.err, name)
			continue
		}
		require.NoError(t, err, name)
		require.True(t, fresh, name)
		require.Equal(t, 2, next.Revision, name)
	}
}

func TestPatchReportsSecrets(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		settings provider.Settings
		want     bool
	}{
		"nothing":      {nil, false},
		"no secret":    {provider.Settings{"user": "u"}, false},
		"empty secret": {provider.Settings{"key": ""}, false},
		"secret":       {provider.Settings{"password": "p"}, true},
	} {
		require.Equal(t, row.want, Patch{Settings: row.settings}.HasSecret(&remote{}), name)
	}
}

func TestEqualIgnoresOrderAndNumberType(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b any
		want bool
	}{
		{"x", "x", true},
		{"x", "y", false},
		{nil, nil, true},
		{60, float64(60), true},
		{60, json.Number("60"), true},
		{60, 61, false},
		{true, true, true},
		{true, false, false},
		{[]string{"a", "b"}, []string{"b", "a"}, true},
		{[]string{"a", "b"}, []any{"b", "a"}, true},
		{[]string{"a"}, []string{"a", "a"}, false},
		{[]string{"a"}, nil, false},
		{[]string{}, nil, true},
	} {
		require.Equal(t, row.want, Equal(row.a, row.b), "%#v and %#v", row.a, row.b)
	}
}
