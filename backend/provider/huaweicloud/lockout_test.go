package huaweicloud

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// What is locked is a key or a user, whatever service and project the connection is for.
func TestTheLockoutIsThatOfTheKeyOrTheUser(t *testing.T) {
	key := func(ak, sk string) provider.Connection {
		return provider.Connection{URL: "https://dcs." + sk + ".example", Settings: provider.Settings{
			FieldAccessKey: ak, FieldSecretKey: sk, FieldProjectID: sk,
		}}
	}
	require.Equal(t, Lockout(key("AK1", "one")), Lockout(key("AK1", "two")))
	require.NotEqual(t, Lockout(key("AK1", "one")), Lockout(key("AK2", "one")))
	require.NotContains(t, Lockout(key("AK1", "the-secret")).Credential, "the-secret")
	require.Equal(t, 5, Lockout(key("AK1", "one")).Refusals)
	require.False(t, Lockout(key("AK1", "one")).Session)

	user := func(name, domain, iam, password string) provider.Lockout {
		return Lockout(provider.Connection{Settings: provider.Settings{
			FieldUsername: name, FieldDomainName: domain, FieldIAMURL: iam, FieldPassword: password,
		}})
	}
	one := user("u", "d", "https://iam.example", "first-password")
	require.Equal(t, one, user("u", "d", "https://IAM.example:443", "second-password"))
	require.NotContains(t, one.Credential, "password")
	require.True(t, one.Session)
	for _, other := range []provider.Lockout{
		user("v", "d", "https://iam.example", ""), user("u", "e", "https://iam.example", ""), user("u", "d", "https://iam2.example", ""),
	} {
		require.NotEqual(t, one, other)
	}
}
