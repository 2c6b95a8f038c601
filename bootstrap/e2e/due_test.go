package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Due passwords are changed without a request. A freeze stops that until it ends.
func TestDuePasswordsRotateUnlessFrozen(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	roles := map[string]data{
		"web1":  with(alias("ops1"), data{"rotation_period": 10}),
		"cache": with(m.account("app"), data{"rotation_period": 10}),
	}
	for name, role := range roles {
		m.must("roles/"+name, role)
	}
	reaches := func(versions map[string]int64) {
		t.Helper()
		for name, role := range roles {
			require.Eventually(t, func() bool { return versionOf(t, m.creds(name)) >= versions[name] }, waitLong, tick, name)
			require.Equal(t, "active", m.waitForWorkingCreds(name, role)["state"]) // it may be due again by now
		}
	}
	reaches(map[string]int64{"web1": 3, "cache": 3})
	require.EqualValues(t, 2, numberOf(t, m.read("status"), "roles"))
	require.Equal(t, true, m.read("status")["complete"])
	require.Equal(t, false, m.read("status")["frozen"])

	m.must("freeze", data{"duration": "1h", "reason": "a release"})
	require.Equal(t, "a release", m.read("freeze")["reason"])
	require.Eventually(t, func() bool { return numberOf(t, m.read("status"), "overdue") == 2 }, waitLong, tick, "both roles should become due")
	frozen := map[string]int64{}
	for name, role := range roles {
		frozen[name] = versionOf(t, m.workingCreds(name, role))
		require.Contains(t, m.read("status/" + name)["reason"], "a release", "the reason should name the freeze")
	}
	m.must("rotate-role/web1", nil) // manual rotations are allowed
	require.Equal(t, frozen["web1"]+1, versionOf(t, m.workingCreds("web1", roles["web1"])))
	require.Equal(t, frozen["cache"], versionOf(t, m.workingCreds("cache", roles["cache"])), "no password should be changed without a request")

	require.NoError(t, m.delete("freeze"))
	reaches(map[string]int64{"web1": frozen["web1"] + 2, "cache": frozen["cache"] + 1})
	require.Equal(t, false, m.read("freeze")["frozen"])
	m.nothingLocked()
	m.oneChangeAtATime(roles["web1"])
}
