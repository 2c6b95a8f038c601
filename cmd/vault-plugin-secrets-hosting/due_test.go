package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// Passwords become due and are changed with nobody watching; a freeze keeps that from happening, and its end lets it happen.
func TestWhatIsDueIsChangedWithNobodyAskingUnlessTheMountIsFrozen(t *testing.T) {
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
			require.Equal(t, "active", m.logsIn(name, role)["state"]) // it may become due again meanwhile
		}
	}
	reaches(map[string]int64{"web1": 3, "cache": 3})
	count := func(field string) string {
		number, ok := m.read("status")[field].(json.Number)
		require.True(t, ok, field)
		return number.String()
	}
	require.Equal(t, "2", count("roles"))
	require.Equal(t, true, m.read("status")["complete"])
	require.Equal(t, false, m.read("status")["frozen"])

	m.must("freeze", data{"duration": "1h", "reason": "a release"})
	require.Equal(t, "a release", m.read("freeze")["reason"])
	require.Eventually(t, func() bool { return count("overdue") == "2" }, waitLong, tick, "they become due")
	frozen := map[string]int64{}
	for name, role := range roles {
		frozen[name] = versionOf(t, m.works(name, role))
		require.Contains(t, m.read("status/" + name)["reason"], "a release", "why it is late is said")
	}
	m.must("rotate-role/web1", nil) // requests of operators go on
	require.Equal(t, frozen["web1"]+1, versionOf(t, m.works("web1", roles["web1"])))
	require.Equal(t, frozen["cache"], versionOf(t, m.works("cache", roles["cache"])), "nothing is changed by itself")

	_, err := m.client().Logical().Delete(m.path + "/freeze")
	require.NoError(t, err)
	reaches(map[string]int64{"web1": frozen["web1"] + 2, "cache": frozen["cache"] + 1})
	require.Equal(t, false, m.read("freeze")["frozen"])
	m.nothingLocked()
	require.Equal(t, 1, m.sim.MaxConcurrentChanges("plesk", "ops1"))
}
