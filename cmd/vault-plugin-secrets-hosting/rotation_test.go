package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPasswordsAreGeneratedPushedAndLogIn(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for name, role := range map[string]data{"web1": alias("ops1"), "cache": m.account("app")} {
		created := m.must("roles/"+name, role)
		require.Equal(t, "active", created.Data["state"])
		require.NotContains(t, created.Data, "password", "a write never answers a password")
		first := m.works(name, role)
		require.Equal(t, "active", first["state"])

		rotated := m.must("rotate-role/"+name, nil)
		require.Equal(t, "active", rotated.Data["state"])
		require.NotContains(t, rotated.Data, "password")
		second := m.works(name, role)
		require.Equal(t, versionOf(t, first)+1, versionOf(t, second))
		require.Error(t, m.login(role, first["password"]), "the password before must not work any more")

		const chosen = "chosen_BY-hand~4711!long" // #nosec G101 -- of a simulated account
		m.must("set-password/"+name, data{"password": chosen})
		third := m.works(name, role)
		require.Equal(t, chosen, third["password"])
	}
}

func TestEveryWayToLogInToTheCloudWorks(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	user, keys := m.out.HuaweiCloud.Users[0], m.out.HuaweiCloud.AccessKeys
	base := m.cloud()
	delete(base, "access_key")
	delete(base, "secret_key")
	ways := map[string]data{
		"permanent key": {"access_key": keys[0].AccessKey, "secret_key": keys[0].SecretKey},
		"temporary key": {"access_key": keys[1].AccessKey, "secret_key": keys[1].SecretKey, "security_token": keys[1].SecurityToken},
		"token":         {"username": user.Name, "password": user.Password, "domain_name": m.out.HuaweiCloud.DomainName, "iam_url": m.out.HuaweiCloud.IAMURL},
	}
	role := m.account("app")
	role["connection"] = "way"
	created := false
	for _, name := range []string{"temporary key", "permanent key", "token", "temporary key"} { // each replaces the one before, whole
		way := ways[name]
		t.Log(name)
		config := data{}
		for k, v := range base {
			config[k] = v
		}
		for k, v := range way {
			config[k] = v
		}
		m.must("config/way", config)
		if !created {
			m.must("roles/cache", role)
			created = true
		}
		m.must("rotate-role/cache", nil)
		m.works("cache", role)
	}
}
