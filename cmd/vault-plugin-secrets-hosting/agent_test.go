package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// How long after a change of the password the Agent may write it into its file, beyond max_read_ttl where nothing announced
// the change. A machine with better things to do stalls the Agent, or Vault, which is no fault of theirs: it may be late
// sometimes, and never misses a password. One that is told a wrong time is late each time, or each other time.
const (
	lateByHand      = 2 * time.Second
	lateByPeriod    = 3 * time.Second
	triesByHand     = 4
	rotationsToLook = 6
)

func TestVaultAgentFollowsARotationByHandWithinMaxReadTTL(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := alias("ops1")
	const maxReadTTL = 10 * time.Second
	role["max_read_ttl"] = int(maxReadTTL.Seconds())
	m.must("roles/"+m.agentRole(), role)
	a := m.agent()

	password, _ := a.first(role)
	same := m.creds(a.role)["password"] == password // not Equal, which prints them
	require.True(t, same)
	info, err := os.Stat(a.file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	for try := 1; ; try++ {
		// The Agent has just read, and does not look again before it was told to: no moment makes it wait longer.
		m.must("rotate-role/"+a.role, nil)
		next, late := a.follows(role, password)
		t.Logf("the file had the new password %v after the change", late.Round(time.Millisecond))
		a.waitFor("the command should run after each change", func() bool { return a.runs() == try+1 })
		if late <= maxReadTTL+lateByHand {
			break
		}
		require.Less(t, try, triesByHand, "the Agent follows too late each time")
		password = next
	}
}

func TestVaultAgentFollowsRotationsByPeriodWithinThreeSeconds(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	role["rotation_period"], role["max_read_ttl"] = 12, 10 // so that it reads twice in a period, the second time when it is over
	m.must("roles/"+m.agentRole(), role)
	a := m.agent()

	password, _ := a.first(role)
	inTime := 0
	for rotation := 1; inTime < 2; rotation++ { // in a row
		require.LessOrEqual(t, rotation, rotationsToLook, "the Agent does not follow in time")
		next, late := a.follows(role, password)
		t.Logf("the file had the new password %v after the change", late.Round(time.Millisecond))
		if inTime++; late > lateByPeriod {
			inTime = 0
		}
		password = next
	}
	m.eventually(a.role, "active")
}

func TestVaultAgentKeepsItsFileWhileTheRemoteSystemIsAwayAndThenFollows(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := alias("ops1")
	role["rotation_period"], role["max_read_ttl"] = 10, 10
	role["disable_automated_rotation"] = true // until the remote system is away
	m.must("roles/"+m.agentRole(), role)
	a := m.agent()
	password, since := a.first(role)
	m.fault(role, lab.Fault{Kind: lab.Unreachable})
	m.must("roles/"+a.role, data{"disable_automated_rotation": false})

	a.waitFor("the engine should have tried to change the overdue password", func() bool {
		return numberOf(t, m.read("status/"+a.role), "attempts") >= 2
	})
	reads := a.reads()
	a.waitFor("the Agent should go on reading", func() bool { return a.reads() >= reads+2 })
	kept, still := a.content()
	same := kept == password
	require.True(t, same, "the file keeps the password")
	require.Equal(t, since, still, "and is not even written again")
	require.Equal(t, 1, a.runs())

	m.heal()
	_, late := a.follows(role, password)
	t.Logf("the file had the new password %v after the change", late.Round(time.Millisecond))
	a.waitFor("the command should run after the change", func() bool { return a.runs() >= 2 })
	for _, trouble := range []string{"[WARN]", "[ERROR]", "hvs."} { // the last is how tokens begin
		found := strings.Contains(a.log(), trouble)
		require.False(t, found, "the Agent's log has %q", trouble)
	}
}
