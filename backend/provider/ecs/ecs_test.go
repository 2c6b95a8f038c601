package ecs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

func TestCompleteSetsDefaults(t *testing.T) {
	for api, test := range map[string]struct{ api, url string }{
		"":             {"instances", "https://clouddc.ap-southeast-3.myhuaweicloud.com"},
		"instances":    {"instances", "https://clouddc.ap-southeast-3.myhuaweicloud.com"},
		"cloudservers": {"cloudservers", "https://ecs.ap-southeast-3.myhuaweicloud.com"},
	} {
		given := provider.Settings{"access_key": "AK", "secret_key": "cAnArY", "project_id": "p", "region": "ap-southeast-3"}
		if api != "" {
			given["api"] = api
		}
		c := provider.Connection{Settings: given}
		require.NoError(t, Type{}.Complete(&c))
		require.Equal(t, test.url, c.URL)
		require.Equal(t, test.api, c.Settings["api"])
		require.Equal(t, false, c.Settings["allow_restart"])
		require.NotContains(t, given, "allow_restart", "the caller's settings are not modified")

		again := c
		require.NoError(t, Type{}.Complete(&again))
		require.Equal(t, c, again)
	}

	c := provider.Connection{URL: "https://dc.example.com", Settings: provider.Settings{
		"access_key": "AK", "secret_key": "cAnArY", "project_id": "p", "allow_restart": true,
	}}
	require.NoError(t, Type{}.Complete(&c))
	require.Equal(t, "https://dc.example.com", c.URL)
	require.Equal(t, true, c.Settings["allow_restart"])
}

func TestCompleteValidation(t *testing.T) {
	for api, want := range map[string]string{"ecs": "api must be", "Instances": "api must be", "instances": "project_id is required"} {
		err := Type{}.Complete(&provider.Connection{Settings: provider.Settings{"api": api}})
		require.ErrorContains(t, err, want)
	}
	require.Error(t, Type{}.Complete(&provider.Connection{}))
	_, err := Type{}.Open(provider.Connection{})
	require.Error(t, err)
	c := provider.Connection{TLS: provider.TLS{CACert: "cAnArY"}, Settings: provider.Settings{
		"access_key": "AK", "secret_key": "cAnArY", "project_id": "p", "region": "r",
	}}
	_, err = Type{}.Open(c)
	require.ErrorContains(t, err, "ca_cert")
	providertest.RequireSecretFree(t, err)
}

func TestFieldsAreDescribed(t *testing.T) {
	require.Equal(t, "ecs", Type{}.Name())
	require.Len(t, Type{}.CredentialForms(), 2)
	require.Zero(t, Type{}.SettleAfter(provider.Connection{}))
	require.Empty(t, Type{}.LoginIdentity(provider.Connection{}))
	require.Equal(t, provider.OldPassword{}, Type{}.OldPassword(provider.Target{}))
	for _, field := range (Type{}).ConnectionFields() {
		require.NotEmpty(t, field.Schema.Description)
		require.Equal(t, field.Name == "api", field.Immutable, field.Name)
		require.Equal(t, field.Name == "allow_restart", field.Local, field.Name)
	}
	for _, field := range (Type{}).TargetFields() {
		require.NotEmpty(t, field.Schema.Description)
		require.Equal(t, strings.HasPrefix(field.Name, "restart"), field.Mutable, field.Name)
	}
}

func TestTargetHasOnePartPerServer(t *testing.T) {
	c := provider.Connection{URL: "https://ecs.eu-west-101.myhuaweicloud.com", Settings: provider.Settings{"project_id": "P1", "api": "cloudservers"}}
	made, err := Type{}.Target(c, provider.Settings{"instance_ids": []string{"Id-2", "id-1"}, "username": "Administrator"})
	require.NoError(t, err)
	require.Equal(t, provider.Target{
		Names:      []string{"Id-2", "id-1"},
		Identities: []string{"ecs|p1|id-2", "ecs|p1|id-1"},
		Address:    "huaweicloud",
		Parts:      []string{"Id-2", "id-1"},
		Username:   "Administrator",
		Settings:   provider.Settings{"instance_ids": []string{"Id-2", "id-1"}, "username": "Administrator", "restart": "none", "restart_timeout": 600},
	}, made)

	// As read from storage.
	stored, err := json.Marshal(made.Settings)
	require.NoError(t, err)
	var settings provider.Settings
	require.NoError(t, json.Unmarshal(stored, &settings))
	again, err := Type{}.Target(c, settings)
	require.NoError(t, err)
	require.Equal(t, made, again)

	c.Settings["api"], c.URL = "instances", "https://clouddc.eu-west-101.myhuaweicloud.com"
	other, err := Type{}.Target(c, provider.Settings{"instance_ids": []string{"ID-2"}})
	require.NoError(t, err)
	require.Equal(t, "root", other.Username)
	require.Equal(t, made.Identities[:1], other.Identities, "independent of user name, service and case")
	require.Equal(t, made.Address, other.Address)
	c.URL = "https://127.0.0.1:8080"
	other, err = Type{}.Target(c, provider.Settings{"instance_ids": []string{"ID-2"}})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8080", other.Address)

	many, err := Type{}.Target(c, provider.Settings{"instance_ids": series(50)})
	require.NoError(t, err)
	require.Len(t, many.Identities, 50)
}

func TestTargetValidation(t *testing.T) {
	for name, test := range map[string]struct {
		field string
		value any
		want  string
	}{
		"no servers":        {"instance_ids", nil, "instance_ids is required"},
		"empty list":        {"instance_ids", []string{}, "instance_ids is required"},
		"51 servers":        {"instance_ids", series(51), "has 51 IDs, and at most 50"},
		"twice":             {"instance_ids", []string{"a", "b", "a"}, "has a twice"},
		"twice in case":     {"instance_ids", []string{"a", "A"}, "has A twice"},
		"an empty one":      {"instance_ids", []string{"a", ""}, "number 2 is not an ID"},
		"a path":            {"instance_ids", []string{"../a"}, "number 1 is not an ID"},
		"a line":            {"instance_ids", []string{"a\n"}, "number 1 is not an ID"},
		"a list in one":     {"instance_ids", []string{"a,b"}, "number 1 is not an ID"},
		"a long one":        {"instance_ids", []string{"a234567890123456789012345678901234567890123456789012345678901234x"}, "number 1 is not an ID"},
		"another user":      {"username", "admin", "username must be"},
		"Root":              {"username", "Root", "username must be"},
		"administrator":     {"username", "administrator", "username must be"},
		"restart otherwise": {"restart", "Soft", "restart must be"},
		"restart text":      {"restart_timeout", "long", "restart_timeout must be between 60 and 86400"},
		"restart at once":   {"restart_timeout", 0, "restart_timeout must be between 60 and 86400"},
		"restart too soon":  {"restart_timeout", 59, "restart_timeout must be between 60 and 86400"},
		"restart too late":  {"restart_timeout", 86401, "restart_timeout must be between 60 and 86400"},
		"soft":              {"restart", "soft", "restart=soft needs allow_restart=true on the connection"},
		"hard":              {"restart", "hard", "restart=hard needs allow_restart=true on the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := provider.Settings{"instance_ids": []string{"a"}}
			settings[test.field] = test.value
			_, err := Type{}.Target(provider.Connection{}, settings)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestTargetRestart(t *testing.T) {
	c := provider.Connection{Settings: provider.Settings{"allow_restart": true}}
	for restart, timeout := range map[string]int{"soft": 600, "hard": 60, "none": 86400} {
		given := provider.Settings{"instance_ids": []string{"a"}, "restart": restart}
		if timeout != defaultTimeout {
			given["restart_timeout"] = timeout
		}
		made, err := Type{}.Target(c, given)
		require.NoError(t, err)
		require.Equal(t, restart, made.Settings["restart"])
		require.Equal(t, timeout, made.Settings["restart_timeout"], "as it reads back")
		if restart == "none" {
			restart, timeout = "", 0
		}
		require.Equal(t, restart, made.Restart)
		require.Equal(t, timeout, made.RestartTimeout)

		stored, err := json.Marshal(made.Settings)
		require.NoError(t, err)
		var settings provider.Settings
		require.NoError(t, json.Unmarshal(stored, &settings))
		again, err := Type{}.Target(c, settings)
		require.NoError(t, err)
		require.Equal(t, made, again)
		_, err = Type{}.Target(provider.Connection{Settings: provider.Settings{"allow_restart": false}}, settings)
		require.Equal(t, restart != "", err != nil, "restarts are no longer allowed")
	}

	former := provider.Settings{"instance_ids": []any{"a"}, "username": "root", "restart": "none"}
	made, err := Type{}.Target(provider.Connection{}, former)
	require.NoError(t, err)
	require.Empty(t, made.Restart)
	require.Equal(t, 600, made.Settings["restart_timeout"])
}

func TestCheckRequiresListOfItsService(t *testing.T) {
	for name, test := range map[string]struct {
		api     string
		status  int
		body    string
		outcome provider.Outcome
	}{
		"instances":         {"instances", 200, `{"instances":[],"count":0}`, provider.Applied},
		"servers":           {"cloudservers", 200, `{"count":0,"servers":[]}`, provider.Applied},
		"the other service": {"cloudservers", 200, `{"instances":[]}`, provider.Unknown},
		"a page":            {"instances", 200, `<html>`, provider.Unknown},
		"an error":          {"instances", 200, `{"instances":[],"error_code":"x"}`, provider.Unknown},
		"redirect":          {"instances", 302, ``, provider.Unknown},
		"refused":           {"instances", 401, `{"error_code":"APIGW.0301"}`, provider.Denied},
		"refused by ECS":    {"cloudservers", 401, `{"error":{"code":"401","message":"m"}}`, provider.Denied},
		"no permission":     {"instances", 403, `{"error_code":"APIGW.0302"}`, provider.Denied},
		"no project":        {"instances", 400, `{"error_code":"CloudDC.1"}`, provider.Rejected},
		"no project in ECS": {"cloudservers", 400, `{"error":{"code":"Ecs.0005","message":"m"}}`, provider.Rejected},
		"throttled":         {"instances", 429, `<html>`, provider.Busy},
		"busy":              {"instances", 409, `{"error_code":"CloudDC.1"}`, provider.Busy},
		"busy ECS":          {"cloudservers", 400, `{"error":{"code":"Ecs.0100","message":"m"}}`, provider.Busy},
		"broken":            {"cloudservers", 500, ``, provider.Unknown},
		"bare ECS code":     {"cloudservers", 400, `{"error_code":"ECS.0005"}`, provider.Rejected},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, test.api)
			c.check = says(test.status, test.body)
			result := c.open(t).Check(t.Context())
			require.Equal(t, test.outcome, result.Outcome)
			scope := connection
			if test.status == 403 || strings.HasPrefix(name, "busy") { // the credential was accepted
				scope = provider.ScopeTarget
			}
			require.Equal(t, scope, result.Scope)
			require.NotEmpty(t, result.Reason)
			providertest.RequireSecretFree(t, result)
			uri := "GET /v1/p1/instances?limit=10"
			if test.api == "cloudservers" {
				uri = "GET /v1/p1/cloudservers/detail?limit=1"
			}
			require.Equal(t, []string{uri}, c.uris())
		})
	}
}
