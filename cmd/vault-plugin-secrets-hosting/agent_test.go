package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tries is how often the Agent may follow later than it should: a machine with better things to do stalls it, or Vault,
// which is no fault of theirs. One that is told a wrong time is late each time.
const tries = 4

func TestVaultAgentFollowsARotationByHandWithinMaxReadTTL(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := alias("ops1")
	const maxReadTTL = 10 * time.Second
	role["max_read_ttl"] = int(maxReadTTL.Seconds())
	m.must("roles/"+m.agentRole(), role)
	a := m.agent()

	password, _ := a.follows(role, "")
	require.Equal(t, m.creds(a.role)["password"], password)
	info, err := os.Stat(a.file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	for try := 1; ; try++ {
		// The Agent has just read, and does not look again before it was told to: no moment makes it wait longer.
		m.must("rotate-role/"+a.role, nil)
		next, late := a.follows(role, password)
		t.Logf("the file had the new password %v after the change", late.Round(time.Millisecond))
		a.waitFor("the command should run after each change", func() bool { return a.runs() == try+1 })
		if late <= maxReadTTL+2*time.Second {
			break
		}
		require.Less(t, try, tries, "the Agent follows too late each time")
		password = next
	}
}
