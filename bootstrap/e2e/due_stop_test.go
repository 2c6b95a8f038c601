package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Vault is stopped for longer than the catch_up_limit of one of two mounts. On the other mount, what became due meanwhile is
// changed once, and nothing else. On the first mount nothing is changed until an operator ends the freeze.
func TestMissedRotationsCatchUpWithinLimit(t *testing.T) {
	t.Parallel()
	v, _ := newVault(t)
	within, beyond := newMountIn(t, v), newMountIn(t, v)
	due, later := with(alias("ops1"), data{"rotation_period": 60}), with(alias("ops2"), data{"rotation_period": "24h"})
	for _, m := range []*mount{within, beyond} {
		m.must("roles/due", due)
		m.must("roles/later", later)
		m.sim.ClearJournal()
	}
	beyond.must("settings", data{"catch_up_limit": 60}) // this stores a heartbeat
	require.NoError(t, v.Client.Sys().SealWithContext(t.Context()))
	time.Sleep(70 * time.Second) // the limit, and a twentieth of the 75 s that may be between heartbeats
	require.NoError(t, v.Restart(t.Context()))

	within.waitFor("due", "the due password should be changed", func() bool { return within.changes(due) > 0 })
	within.waitForWorkingCreds("due", due) // the engine stores the outcome a moment later
	require.Equal(t, true, beyond.read("freeze")["frozen"])
	require.Contains(t, beyond.read("status/due")["reason"], "catch_up_limit of 60 seconds")
	time.Sleep(5 * time.Second) // late changes are spread over a shorter time in this build
	require.Equal(t, []int{1, 0, 0, 0}, []int{within.changes(due), within.changes(later), beyond.changes(due), beyond.changes(later)})
	require.EqualValues(t, 1, versionOf(t, beyond.workingCreds("due", due)), "creds should still return the password that works")

	require.NoError(t, beyond.delete("freeze"))
	beyond.waitFor("due", "it should be changed once the freeze has ended", func() bool { return beyond.changes(due) > 0 })
	beyond.waitForWorkingCreds("due", due)
	require.Zero(t, within.changes(later)+beyond.changes(later))
}

// Vault notices within a minute that the plugin has crashed, and starts it again.
func TestCrashedPluginResumesWithoutRequest(t *testing.T) {
	t.Parallel()
	v, _ := newVault(t)
	m := newMountIn(t, v)
	role := with(alias("ops1"), data{"rotation_period": 10})
	m.must("roles/web1", role)
	m.sim.ClearJournal()
	require.NoError(t, v.KillPlugin())
	killed := time.Now()
	require.Eventually(t, func() bool { return m.changes(role) > 0 }, 3*waitLong, tick)
	t.Logf("the first change came %s after the crash", time.Since(killed).Round(time.Millisecond))
	m.waitForWorkingCreds("web1", role) // it may be due again by now
}
