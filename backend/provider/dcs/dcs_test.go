package dcs

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestCheckTargetVerifiesAccount(t *testing.T) {
	for name, test := range map[string]struct {
		list    string
		outcome provider.Outcome
		reason  string
	}{
		"matches":           {oneAccount, provider.Applied, "exists"},
		"lower-case status": {account1("AVAILABLE", "available"), provider.Applied, "exists"},
		"no such ID":        {account1("acc-1", "acc-2"), provider.Rejected, "no account with this account_id"},
		"upper-case ID":     {account1("acc-1", "ACC-1"), provider.Rejected, "no account with this account_id"},
		"no accounts":       {`{"accounts":[]}`, provider.Rejected, "no account with this account_id"},
		"another name":      {account1(`"app"`, `"App"`), provider.Rejected, "another name"},
		"no name":           {account1(`"app"`, `null`), provider.Rejected, "another name"},
		"default account":   {account1(`"normal"`, `"default"`), provider.Rejected, "default account"},
		"unknown type":      {account1(`"normal"`, `"super"`), provider.Rejected, "type normal"},
		"no type":           {account1(`"normal"`, `null`), provider.Rejected, "type normal"},
		"being created":     {account1("AVAILABLE", "CREATING"), provider.Busy, "being created"},
		"being updated":     {account1("AVAILABLE", "UPDATING"), provider.Busy, "being created"},
		"broken":            {account1("AVAILABLE", "ERROR"), provider.Rejected, "status"},
		"deleted":           {account1("AVAILABLE", "DELETED"), provider.Rejected, "status"},
		"no status":         {account1(`"AVAILABLE"`, `null`), provider.Rejected, "status"},
		"no list":           {`{"accounts":{}}`, provider.Unknown, "not a list"},
		"empty":             {``, provider.Unknown, "not a list"},
		"list and an error": {strings.Replace(oneAccount, "{", `{"error_code":"DCS.5000",`, 1), provider.Unknown, "not a list"},
		"numeric ID":        {account1(`"acc-1"`, `1`), provider.Rejected, "no account with this account_id"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.list = says(200, test.list)
			result := c.open(t).CheckTarget(t.Context(), c.request(t, methodModify).Target)
			require.Equal(t, test.outcome, result.Outcome)
			require.Equal(t, provider.ScopeTarget, result.Scope)
			require.Contains(t, result.Reason, test.reason)
			require.Empty(t, c.sent())
		})
	}
}

func TestCheckRequiresInstanceList(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		body    string
		outcome provider.Outcome
	}{
		"works":         {200, `{"instances":[],"instance_num":0}`, provider.Applied},
		"a page":        {200, `<html>`, provider.Unknown},
		"an error":      {200, `{"error_code":"DCS.5000"}`, provider.Unknown},
		"refused":       {401, `{"error_code":"APIGW.0301"}`, provider.Denied},
		"no permission": {403, `{"error_code":"DCS.2007"}`, provider.Denied},
		"no project":    {400, `{"error_code":"DCS.4002"}`, provider.Rejected},
		"throttled":     {429, ``, provider.Busy},
		"busy":          {400, `{"error_code":"CBC.99003651"}`, provider.Busy},
		"broken":        {500, ``, provider.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.check = says(test.status, test.body)
			result := c.open(t).Check(t.Context())
			require.Equal(t, test.outcome, result.Outcome)
			scope := provider.ScopeConnection
			if test.status == 403 || name == "busy" { // the credential was accepted
				scope = provider.ScopeTarget
			}
			require.Equal(t, scope, result.Scope)
			require.NotEmpty(t, result.Reason)
			providertest.RequireSecretFree(t, result)
		})
	}
}

func TestTargetNamesInstanceAndAccount(t *testing.T) {
	connection := provider.Connection{URL: "https://dcs.example", Settings: provider.Settings{"project_id": "P1"}}
	target, err := Type{}.Target(connection, provider.Settings{"instance_id": "Inst-1", "account_id": "acc-1", "username": "App"})
	require.NoError(t, err)
	require.Equal(t, provider.Target{
		Names:      []string{"Inst-1/acc-1"},
		Identities: []string{"dcs|p1|inst-1/acc-1"},
		Address:    "dcs.example:443",
		Username:   "App",
		Settings: provider.Settings{
			"instance_id": "Inst-1", "account_id": "acc-1", "username": "App", "rotation_method": "modify",
		},
	}, target)
	again, err := Type{}.Target(connection, target.Settings)
	require.NoError(t, err)
	require.Equal(t, target, again)
	require.Empty(t, Type{}.LoginIdentity(connection))

	require.Equal(t, provider.OldPassword{Required: true, LockWindow: 5 * time.Minute, Otherwise: "set rotation_method=reset on the role"}, Type{}.OldPassword(target))
	target.Settings["rotation_method"] = "reset"
	require.Equal(t, provider.OldPassword{}, Type{}.OldPassword(target))
}

func TestTargetValidation(t *testing.T) {
	good := provider.Settings{"instance_id": "i", "account_id": "a", "username": "app"}
	for name, test := range map[string]struct{ field, value, want string }{
		"no instance":      {"instance_id", "", "instance_id is required"},
		"instance path":    {"instance_id", "../x", "instance_id must"},
		"instance long":    {"instance_id", strings.Repeat("i", 65), "instance_id must"},
		"no account":       {"account_id", "", "account_id is required"},
		"account path":     {"account_id", "a/b", "account_id must"},
		"account line":     {"account_id", "a\n", "account_id must"},
		"no username":      {"username", "", "username is required"},
		"username digit":   {"username", "1app", "username must"},
		"username colon":   {"username", "a:b", "username must"},
		"username long":    {"username", strings.Repeat("a", 65), "username must"},
		"method":           {"rotation_method", "Modify", "rotation_method must"},
		"method of a path": {"rotation_method", "../reset", "rotation_method must"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := good.Clone()
			settings[test.field] = test.value
			_, err := Type{}.Target(provider.Connection{}, settings)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestGeneratedPasswordsMeetRules(t *testing.T) {
	rules := Type{}.Rules(provider.Connection{}, provider.Target{Settings: provider.Settings{"username": "app"}})
	for range 1000 {
		made, err := rules.Generate(rand.Reader)
		require.NoError(t, err)
		require.Len(t, made, 34)
		require.NoError(t, rules.Check(made))
	}
	require.NoError(t, rules.Check("Ab1`~!@#$%^&*()-_=+|{},<.>/?"))
}

func TestOpenRequiresCompleteConnection(t *testing.T) {
	connection := provider.Connection{Settings: provider.Settings{
		"access_key": "AK", "secret_key": "cAnArY", "project_id": "p", "region": "ap-southeast-3",
	}}
	require.NoError(t, Type{}.Complete(&connection))
	require.Equal(t, "https://dcs.ap-southeast-3.myhuaweicloud.com", connection.URL)
	_, err := Type{}.Open(connection)
	require.NoError(t, err)
	connection.TLS.CACert = "cAnArY"
	_, err = Type{}.Open(connection)
	require.ErrorContains(t, err, "ca_cert")
	providertest.RequireSecretFree(t, err)
	_, err = Type{}.Open(provider.Connection{})
	require.Error(t, err)

	require.Equal(t, "dcs", Type{}.Name())
	require.Len(t, Type{}.CredentialForms(), 2)
	require.NotEmpty(t, Type{}.ConnectionFields())
	for _, field := range (Type{}).TargetFields() {
		require.NotEmpty(t, field.Schema.Description)
		require.Equal(t, field.Name == "rotation_method", field.Mutable)
	}
}
