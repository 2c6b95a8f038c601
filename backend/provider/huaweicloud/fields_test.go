package huaweicloud

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func keys(more ...string) provider.Settings {
	settings := provider.Settings{FieldAccessKey: "AK1", FieldSecretKey: "cAnArY", FieldProjectID: "p1", FieldRegion: "ap-southeast-3"}
	return with(settings, more...)
}

func user(more ...string) provider.Settings {
	settings := provider.Settings{
		FieldUsername: "u", FieldPassword: "cAnArY", FieldDomainName: "d", FieldProjectID: "p1", FieldRegion: "ap-southeast-3",
	}
	return with(settings, more...)
}

func with(settings provider.Settings, more ...string) provider.Settings {
	for i := 0; i < len(more); i += 2 {
		settings[more[i]] = more[i+1]
	}
	return settings
}

func TestCompleteDerivesURLsFromRegion(t *testing.T) {
	for name, test := range map[string]struct {
		url      string
		settings provider.Settings
		want     string
		iam      string
	}{
		"keys":            {"", keys(), "https://dcs.ap-southeast-3.myhuaweicloud.com", ""},
		"user":            {"", user(), "https://dcs.ap-southeast-3.myhuaweicloud.com", "https://iam.ap-southeast-3.myhuaweicloud.com"},
		"both given":      {"https://DCS.example.com/", user(FieldRegion, "", FieldIAMURL, "https://iam.example.com/"), "https://dcs.example.com", "https://iam.example.com"},
		"temporary":       {"", keys(FieldSecurityToken, "t"), "https://dcs.ap-southeast-3.myhuaweicloud.com", ""},
		"keys with iam":   {"", keys(FieldIAMURL, "https://iam.example.com:443"), "https://dcs.ap-southeast-3.myhuaweicloud.com", "https://iam.example.com"},
		"keys, no region": {"https://dcs.example.com", keys(FieldRegion, ""), "https://dcs.example.com", ""},
	} {
		t.Run(name, func(t *testing.T) {
			given := test.settings.Clone()
			connection := provider.Connection{URL: test.url, Settings: test.settings}
			require.NoError(t, Complete(&connection, "dcs"))
			require.Equal(t, test.want, connection.URL)
			require.Equal(t, test.iam, connection.Settings.String(FieldIAMURL))
			require.Equal(t, given, test.settings, "the caller's settings are not modified")
			again := connection
			require.NoError(t, Complete(&again, "dcs"))
			require.Equal(t, connection, again)
		})
	}
}

func TestCompleteValidation(t *testing.T) {
	for name, test := range map[string]struct {
		url      string
		settings provider.Settings
		want     string
	}{
		"no project":          {"", keys(FieldProjectID, ""), "project_id is required"},
		"project with slash":  {"", keys(FieldProjectID, "a/../b"), "project_id must"},
		"region of a host":    {"", keys(FieldRegion, "evil.example.com/"), "region must"},
		"no region":           {"", keys(FieldRegion, ""), "url or region is required"},
		"no region for IAM":   {"https://h", user(FieldRegion, ""), "iam_url or region is required"},
		"plain IAM":           {"https://h", user(FieldIAMURL, "http://iam.example.com"), "iam_url must begin"},
		"IAM with version":    {"https://h", user(FieldIAMURL, "https://iam.example.com/v3/"), "without /v3"},
		"plain":               {"http://dcs.example.com", keys(), "https://"},
		"no credential":       {"", provider.Settings{FieldProjectID: "p", FieldRegion: "r"}, "credential is required"},
		"both":                {"", keys(FieldUsername, "u"), "not both"},
		"no access key":       {"", keys(FieldAccessKey, ""), "access_key is required"},
		"no secret key":       {"", keys(FieldSecretKey, ""), "secret_key is required"},
		"access key injected": {"", keys(FieldAccessKey, "cAnArY, SignedHeaders=x"), "access_key must"},
		"secret key broken":   {"", keys(FieldSecretKey, "cAnArY\n"), "secret_key ends with a line break"},
		"secret key spaced":   {"", keys(FieldSecretKey, "cAnArY x"), "secret_key must"},
		"token broken":        {"", keys(FieldSecurityToken, "cAnArY x"), "security_token must"},
		"no user":             {"", user(FieldUsername, ""), "username is required"},
		"no password":         {"", user(FieldPassword, ""), "password is required"},
		"no domain":           {"", user(FieldDomainName, ""), "domain_name is required"},
		"broken password":     {"", user(FieldPassword, "cAnArY\xff"), "password must be text"},
		"broken user":         {"", user(FieldUsername, "cAnArY\x00"), "username contains a control character"},
		"password of a file":  {"", user(FieldPassword, "cAnArY\n"), "password ends with a line break"},
	} {
		t.Run(name, func(t *testing.T) {
			connection := provider.Connection{URL: test.url, Settings: test.settings}
			err := Complete(&connection, "dcs")
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "cAnArY")
		})
	}
}

func TestFieldsHaveDescriptions(t *testing.T) {
	names := map[string]bool{}
	for _, field := range (Service{}).ConnectionFields() {
		require.NotEmpty(t, field.Schema.Description, field.Name)
		require.Equal(t, field.Secret, field.Schema.DisplayAttrs.Sensitive, field.Name)
		names[field.Name] = true
	}
	for _, form := range (Service{}).CredentialForms() {
		for _, name := range form {
			require.True(t, names[name], name)
		}
	}
}
