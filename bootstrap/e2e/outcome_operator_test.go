package e2e

import (
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

// why returns why a role needs a person according to the status of the mount; "" if it does not.
func (m *mount) why(role string) string {
	m.t.Helper()
	people, _ := m.read("status")["needs_person"].([]any)
	for _, one := range people {
		if d, ok := one.(data); ok && d["role"] == role {
			reason, _ := d["why"].(string)
			return reason
		}
	}
	return ""
}

// warning returns the only warning of an answer.
func (m *mount) warning(secret *api.Secret) string {
	m.t.Helper()
	require.NotNil(m.t, secret)
	require.Len(m.t, secret.Warnings, 1)
	return secret.Warnings[0]
}

// Plesk answers without a result for a login that does not exist. The engine cannot know that, but it does not send the same
// password for ever without a word.
func TestMissingPleskLoginNeedsPerson(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	require.NoError(t, m.sim.Switch("plesk", "unknown_login", "no-result"))
	warning := m.warning(m.must("roles/web1", alias("missing")))
	require.Contains(t, warning, "as it does if no such account exists")
	require.Contains(t, warning, "No password of this role is known to work")
	require.Equal(t, "uncertain", m.creds("web1")["state"])
	m.waitFor("web1", "it should need a person", func() bool { return m.why("web1") != "" })
	why, status := m.why("web1"), m.read("status/web1")
	require.Contains(t, why, "as it does if no such account exists")
	require.Contains(t, why, "If the role names the wrong account, delete the role with force=true")
	require.Contains(t, status["reason"], "as it does if no such account exists")
	require.Contains(t, status["advice"], "heck on the remote system that the account exists")

	require.NoError(t, m.forceDelete("roles/web1"))
	require.Empty(t, m.why("web1"))
	m.must("roles/web1", alias("ops1"))
	require.Equal(t, "active", m.workingCreds("web1", alias("ops1"))["state"])
}

func TestNarrowedConnectionNamesItsRoles(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := with(alias("ops1"), data{"rotation_period": 10})
	m.must("roles/web1", role)
	m.must("roles/hand", alias("ops2"))
	before := m.workingCreds("web1", role)
	warning := m.warning(m.must("config/panel", data{"allowed_roles": "x*"}))
	require.Contains(t, warning, "neither changed nor returned: hand, web1.")
	for _, name := range []string{"web1", "hand"} {
		advice := `dd "` + name + `" to allowed_roles of config/panel`
		require.Contains(t, m.why(name), advice)
		require.Contains(t, m.read("status/" + name)["advice"], advice)
		_, err := m.client().Logical().Read(m.path + "/creds/" + name)
		require.Equal(t, 400, statusCode(err))
	}
	m.waitFor("web1", "it should become due", func() bool { return m.read("status")["oldest_overdue_role"] == "web1" })
	status := m.read("status/web1")
	require.Contains(t, status["reason"], `The connection "panel" does not allow this role`)
	require.NotContains(t, status, "next_attempt_time")

	require.Nil(t, m.must("config/panel", data{"allowed_roles": "*"}))
	m.waitFor("web1", "they should need nobody", func() bool { return m.why("web1")+m.why("hand") == "" })
	m.waitFor("web1", "it should be changed", func() bool { return versionOf(t, m.creds("web1")) > versionOf(t, before) })
	m.waitForWorkingCreds("web1", role)
	m.workingCreds("hand", alias("ops2"))
}

// What Plesk refuses for any account is one problem of the connection, and pauses nothing.
func TestSystemErrorOfPleskIsToldOnce(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	names := map[string]string{"web1": "ops1", "web2": "ops2"}
	for name, login := range names {
		m.must("roles/"+name, alias(login))
	}
	require.NoError(t, m.sim.Switch("plesk", "system_error", 1004))
	for name := range names {
		_, err := m.write("rotate-role/"+name, nil)
		require.Equal(t, 400, statusCode(err))
		require.Contains(t, message(err), "which concerns every role of config/panel")
	}
	status := m.read("status")
	problems, _ := status["connection_problems"].([]any)
	require.Len(t, problems, 1)
	problem, _ := problems[0].(data)
	require.Equal(t, "panel", problem["connection"])
	require.Contains(t, problem["reason"], "complete it (1004)")
	require.EqualValues(t, 2, numberOf(t, problem, "roles"))
	require.Empty(t, status["needs_person"])
	require.Empty(t, status["paused_connections"])

	require.NoError(t, m.sim.Switch("plesk", "system_error", 0))
	for name, login := range names {
		m.must("rotate-role/"+name, nil)
		m.workingCreds(name, alias(login))
	}
	require.Empty(t, m.read("status")["connection_problems"])
}
