package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Vault is stopped for longer than one of two mounts has as its catch_up_limit. What became due is changed once on the other
// mount, and what did not is left alone; on the first nothing is changed before an operator says go.
func TestAStopIsCaughtUpWithUnlessItWasLongerThanTheLimit(t *testing.T) {
	t.Parallel()
	v, _ := ownVault(t)
	within, beyond := newMountIn(t, v), newMountIn(t, v)
	due, later := with(alias("ops1"), data{"rotation_period": 60}), with(alias("ops2"), data{"rotation_period": "24h"})
	for _, m := range []*mount{within, beyond} {
		m.must("roles/due", due)
		m.must("roles/later", later)
		m.sim.ClearJournal()
	}
	beyond.must("settings", data{"catch_up_limit": 60}) // which stores a heartbeat
	require.NoError(t, v.Client.Sys().SealWithContext(t.Context()))
	time.Sleep(70 * time.Second) // the limit, and a twentieth of the minute and a quarter that heartbeats may be apart
	require.NoError(t, v.Restart(t.Context()))

	within.waitFor("due", "what was due should be changed", func() bool { return within.changes(due) > 0 })
	within.logsIn("due", due) // what is stored follows a moment later
	require.Equal(t, true, beyond.read("freeze")["frozen"])
	require.Contains(t, beyond.read("status/due")["reason"], "catch_up_limit of 60 seconds")
	time.Sleep(5 * time.Second) // longer than late changes are spread over in this build
	require.Equal(t, []int{1, 0, 0, 0}, []int{within.changes(due), within.changes(later), beyond.changes(due), beyond.changes(later)})
	require.EqualValues(t, 1, versionOf(t, beyond.works("due", due)), "what there is, is handed out, and works")

	_, err := beyond.client().Logical().Delete(beyond.path + "/freeze")
	require.NoError(t, err)
	beyond.waitFor("due", "it should be changed as soon as somebody has said go", func() bool { return beyond.changes(due) > 0 })
	beyond.logsIn("due", due)
	require.Zero(t, within.changes(later)+beyond.changes(later))
}

// Vault notices within a minute that the plugin has crashed, and starts it again. Nobody has to ask for anything.
func TestAPluginThatCrashedGoesOnWithoutARequest(t *testing.T) {
	t.Parallel()
	v, _ := ownVault(t)
	m := newMountIn(t, v)
	role := with(alias("ops1"), data{"rotation_period": 10})
	m.must("roles/web1", role)
	m.sim.ClearJournal()
	require.NoError(t, v.KillPlugin())
	killed := time.Now()
	require.Eventually(t, func() bool { return m.changes(role) > 0 }, 3*waitLong, tick)
	t.Logf("the first change came %s after the crash", time.Since(killed).Round(time.Millisecond))
	m.logsIn("web1", role) // it may become due again meanwhile
}
