package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

func TestRotatedPasswordLogsIn(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for name, role := range map[string]data{"web1": alias("ops1"), "cache": m.account("app")} {
		created := m.must("roles/"+name, role)
		require.Equal(t, "active", created.Data["state"])
		require.NotContains(t, created.Data, "password", "a write never returns a password")
		first := m.workingCreds(name, role)
		require.Equal(t, "active", first["state"])

		rotated := m.must("rotate-role/"+name, nil)
		require.Equal(t, "active", rotated.Data["state"])
		require.NotContains(t, rotated.Data, "password")
		second := m.workingCreds(name, role)
		require.Equal(t, versionOf(t, first)+1, versionOf(t, second))
		require.Error(t, m.login(role, first["password"]), "the previous password should not work any more")

		const chosen = "chosen_BY-hand~4711!long" // #nosec G101 -- of a simulated account
		m.must("set-password/"+name, data{"password": chosen})
		third := m.workingCreds(name, role)
		require.Equal(t, chosen, third["password"])
	}
}

func TestEveryCloudCredentialRotates(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	base := without(m.cloud(), "access_key", "secret_key")
	key := m.out.HuaweiCloud.AccessKeys[0]
	credentials := map[string]data{
		"permanent key": with(base, data{"access_key": key.AccessKey, "secret_key": key.SecretKey}),
		"temporary key": with(base, m.temporaryKey()),
		"token":         m.asUser(base),
	}
	role := with(m.account("app"), data{"connection": "cloud2"})
	for i, name := range []string{"temporary key", "permanent key", "token", "temporary key"} { // each replaces the previous one
		t.Log(name)
		m.must("config/cloud2", credentials[name])
		if i == 0 {
			m.must("roles/cache", role)
		}
		m.must("rotate-role/cache", nil)
		m.workingCreds("cache", role)
	}
}

func TestPasswordPolicyGeneratesPasswords(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	putPolicy(t, m.path+"-long", `length = 40
rule "charset" {
  charset = "abcdefghijklmnopqrstuvwxyz"
  min-chars = 3
}
rule "charset" {
  charset = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
  min-chars = 3
}
rule "charset" {
  charset = "0123456789"
  min-chars = 5
}
rule "charset" {
  charset = "-_.~!"
  min-chars = 3
}`)
	m.must("config/cloud", data{"password_policy": m.path + "-long"})
	m.must("roles/cache", m.account("app"))
	require.Len(t, m.workingCreds("cache", m.account("app"))["password"], 40)
}

func putPolicy(t *testing.T, name, rules string) {
	t.Helper()
	_, err := vault.Client.Logical().Write("sys/policies/password/"+name, data{"policy": rules})
	require.NoError(t, err)
}

func TestAdoptionSendsNothing(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := with(m.account("app"), data{"skip_initial_rotation": true})
	created := m.must("roles/cache", role)
	require.Equal(t, "assumed", created.Data["state"])
	require.EqualValues(t, 1, versionOf(t, created.Data))
	d := m.workingCreds("cache", role)
	require.Equal(t, role["password"], d["password"])
	require.Zero(t, m.changes(role))
	m.must("roles/cache", role) // writing the same values again is no error
	m.must("rotate-role/cache", data{"version": 1})
	require.EqualValues(t, 2, versionOf(t, m.workingCreds("cache", role)))
	again := m.must("rotate-role/cache", data{"version": 1})
	require.NotEmpty(t, again.Warnings)
	require.EqualValues(t, 2, versionOf(t, m.workingCreds("cache", role)), "a repeated request is harmless")

	bare := with(alias("ops2"), data{"skip_initial_rotation": true})
	created = m.must("roles/web2", bare)
	require.Equal(t, "none", created.Data["state"])
	require.Zero(t, m.changes(bare))
	require.Equal(t, "active", m.workingCreds("web2", bare)["state"], "the first read sets a password")
	require.Equal(t, 1, m.changes(bare))
}

func TestNewRoleIsKeptWhileFirstPasswordIsPending(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for name, kind := range map[string]lab.Kind{"ops1": lab.Busy, "ops2": lab.ApplyCut} {
		role := alias(name)
		m.fault(role, lab.Fault{Kind: kind, Count: 1})
		secret := m.must("roles/"+name, role)
		require.NotEmpty(t, secret.Warnings)
		// creds has nothing to return yet.
		require.Eventually(t, func() bool { return m.read("status/" + name)["state"] == "active" }, waitLong, tick)
		m.workingCreds(name, role)
	}
}

func TestResetNeedsNoOldPassword(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	m.must("roles/cache", role)
	_, name := target(role)
	require.NoError(t, m.sim.SetPassword("dcs", name, "Set-by-Somebody.Else-2"))
	_, err := m.write("rotate-role/cache", nil)
	require.Equal(t, 400, statusCode(err))
	m.must("roles/cache", data{"rotation_method": "reset"})
	m.must("rotate-role/cache", nil)
	require.Equal(t, "active", m.workingCreds("cache", role)["state"])

	fresh := with(without(m.account("report"), "password"), data{"rotation_method": "reset"})
	m.must("roles/report", fresh)
	require.Equal(t, "active", m.workingCreds("report", fresh)["state"])
}
