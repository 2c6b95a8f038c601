package huaweicloud

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// The lock applies to a key or a user, independent of the service and project of the connection.
func TestLockoutIsPerKeyOrUser(t *testing.T) {
	key := func(ak, sk string) provider.Connection {
		return provider.Connection{URL: "https://dcs." + sk + ".example", Settings: provider.Settings{
			FieldAccessKey: ak, FieldSecretKey: sk, FieldProjectID: sk,
		}}
	}
	require.Equal(t, Service{}.Lockout(key("AK1", "one")), Service{}.Lockout(key("AK1", "two")))
	require.NotEqual(t, Service{}.Lockout(key("AK1", "one")), Service{}.Lockout(key("AK2", "one")))
	require.NotContains(t, Service{}.Lockout(key("AK1", "the-secret")).Credential, "the-secret")
	require.Equal(t, 5, Service{}.Lockout(key("AK1", "one")).Refusals)
	require.False(t, Service{}.Lockout(key("AK1", "one")).Session)

	user := func(name, domain, iam, password string) provider.Lockout {
		return Service{}.Lockout(provider.Connection{Settings: provider.Settings{
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
