package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A rotation of each operation ends with a login, and nobody has to ask for it. In the usual course, no login is refused, except
// one of a password that the remote system has queued: the old one is tried first.
func TestRotationIsProvedByLogin(t *testing.T) {
	t.Parallel()
	for _, k := range proofKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := m.roleOf(k)
			created := m.must("roles/r", role)
			first := m.waitUntilProved("r", role, firstVersion(k))
			require.Zero(t, m.refusedCount(role), "nothing is tried that cannot work; %v", created.Data)
			m.must("rotate-role/r", nil)
			second := m.waitUntilProved("r", role, firstVersion(k)+1)
			require.NotEqual(t, first["password"], second["password"])
			refused := 0
			if k.operation == "mt root" || k.operation == "mt plesk" {
				refused = 1
			}
			require.Equal(t, refused, m.refusedCount(role))
			m.restarted(role, 2)
			m.waitFor("r", "nothing is left to do", func() bool { return m.idle("r") })
			require.NotContains(t, m.read("status/r"), "next_proof_time")
			require.Empty(t, m.read("status")["needs_person"])
			require.Error(t, m.login(role, first["password"]))
			m.withinBudget(role)
			m.nothingLocked()
		})
	}
}

// firstVersion is the version of the first password that the engine sets.
func firstVersion(k proofKind) int64 {
	if k.operation == "account" && k.more["rotation_method"] != "reset" { // 1 is the one that is given with the role
		return 2
	}
	return 1
}
