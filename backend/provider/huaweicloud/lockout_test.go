package huaweicloud

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func lockoutOfKey(url, key string) provider.Lockout {
	return Service{}.Lockout(provider.Connection{URL: url, Settings: provider.Settings{
		FieldAccessKey: key, FieldSecretKey: "the-secret", FieldProjectID: url,
	}})
}

func lockoutOfUser(iam, domain, name string) provider.Lockout {
	return Service{}.Lockout(provider.Connection{URL: "https://dcs.of." + name, Settings: provider.Settings{
		FieldUsername: name, FieldDomainName: domain, FieldIAMURL: iam, FieldPassword: "the-secret",
	}})
}

// The lock applies to a key or a user at the address that it is shown to, independent of the project of the connection.
func TestLockoutIsPerKeyOrUser(t *testing.T) {
	key := lockoutOfKey("https://dcs.example", "AK1")
	require.Equal(t, key, lockoutOfKey("https://DCS.example:443/path", "AK1"))
	require.NotEqual(t, key.Credential, lockoutOfKey("https://dcs.example", "AK2").Credential)
	require.Equal(t, 5, key.Refusals)
	require.False(t, key.Session)

	user := lockoutOfUser("https://iam.example", "d", "u")
	require.Equal(t, user, lockoutOfUser("https://IAM.example:443", "d", "u"))
	require.True(t, user.Session)
	for _, other := range []provider.Lockout{lockoutOfUser("https://iam.example", "d", "v"), lockoutOfUser("https://iam.example", "e", "u")} {
		require.NotEqual(t, user.Credential, other.Credential)
	}
	for _, one := range []provider.Lockout{key, user} {
		require.NotContains(t, one.Credential+one.Former, "the-secret")
	}
}

// Whoever may write a connection can run a server of his own. It must not answer for a credential that is shown elsewhere.
func TestLockoutIsPerAddress(t *testing.T) {
	public := lockoutOfKey("https://dcs.ap-southeast-3.myhuaweicloud.com", "AK1").Credential
	for _, same := range []string{
		"https://dcs.eu-west-101.myhuaweicloud.com", "https://ecs.ap-southeast-3.myhuaweicloud.com:443/v1", "https://CLOUDDC.la-north-2.myhuaweicloud.com",
		"https://iam.my-kualalumpur-1.myhuaweicloud.com", "https://iam.myhuaweicloud.com",
	} {
		require.Equal(t, public, lockoutOfKey(same, "AK1").Credential, same)
		require.Equal(t, lockoutOfUser("https://iam.cn-north-4.myhuaweicloud.com", "d", "u").Credential, lockoutOfUser(same, "d", "u").Credential, same)
	}
	seen := map[string]bool{public: true}
	for _, other := range []string{
		"https://dcs.ap-southeast-3.myhuaweicloud.com:8443", "https://dcs.ap-southeast-3.myhuaweicloud.com.example", "https://dcs.ap-southeast-3.myhuaweicloud.eu",
		"https://dcs.obs.myhuaweicloud.com", "https://dcs.obs.ap-southeast-3.myhuaweicloud.com", "https://dcs.obs-website.myhuaweicloud.com", // of a bucket
		"https://obs.ap-southeast-3.myhuaweicloud.com/bucket", "https://x.dcs.ap-southeast-3.myhuaweicloud.com", "https://dcs.ap-southeast-3xmyhuaweicloud.com",
		"https://huaweicloud", "https://dcs.example", "http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://[::1]:8081",
	} {
		key := lockoutOfKey(other, "AK1")
		require.False(t, seen[key.Credential], other)
		require.Equal(t, "huaweicloud|key|AK1", key.Former)
		seen[key.Credential] = true
		require.NotEqual(t, lockoutOfUser("https://iam.cn-north-4.myhuaweicloud.com", "d", "u").Credential, lockoutOfUser(other, "d", "u").Credential, other)
	}
	require.Equal(t, "huaweicloud|user|iam.cn-north-4.myhuaweicloud.com:443|d|u", lockoutOfUser("https://iam.cn-north-4.myhuaweicloud.com", "d", "u").Former)
}
