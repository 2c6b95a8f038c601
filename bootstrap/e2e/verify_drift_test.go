package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Passwords that a test sets behind the engine's back. They fit the rules of every remote system.
const (
	strange = "Strange-Pass.4711"
	chosen  = "Chosen.by-Hand_4711"
)

// changeOutside changes a password behind the engine's back.
func (m *mount) changeOutside(role data, password any) {
	m.t.Helper()
	value, ok := password.(string)
	require.True(m.t, ok)
	secrets.Add("a password set outside Vault", value)
	system, name := target(role)
	for _, id := range servers(role) {
		require.NoError(m.t, m.sim.SetPassword(system, id, value))
	}
	if len(servers(role)) == 0 {
		require.NoError(m.t, m.sim.SetPassword(system, name, value))
	}
}

// Passwords at rest are proved from time to time: the first time when verify_period is set. What follows from a refused one is
// the role's on_drift.
func TestDriftIsReported(t *testing.T) {
	t.Parallel()
	for _, k := range proofKinds() {
		if k.switches != nil || k.more["restart"] == "hard" || k.more["rotation_method"] != nil {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := m.roleOf(k)
			m.must("roles/r", role)
			version := firstVersion(k)
			before := m.waitUntilProved("r", role, version)
			m.changeOutside(role, strange)
			calls := m.calls(role)
			m.must("roles/r", data{"verify_period": 3600})
			s := m.waitForProof("r", "drifted", "refused")
			require.Contains(t, s["reason"], "The password in force no longer logs in")
			require.Contains(t, s["advice"], "recover-role/r")
			require.NotNil(t, s["next_proof_time"], "the password may come back")
			require.EqualValues(t, 1, numberOf(t, m.read("status"), "needs_person_count"))
			d := m.creds("r")
			require.Equal(t, "drifted", d["state"])
			require.Equal(t, before["password"], d["password"], "there is no other")
			require.Equal(t, calls, m.calls(role), "nothing is sent")
			refused := m.refusedCount(role)
			require.LessOrEqual(t, refused, 2)
			m.withinBudget(role)

			_, err := m.write("confirm-role/r", data{"version": version})
			require.Equal(t, 400, statusCode(err), "a login shows the opposite, or the password is the one in force anyway")
			m.must("confirm-role/r", data{"password": strange})
			require.Equal(t, strange, m.waitUntilProved("r", role, version+1)["password"])
			require.EqualValues(t, 0, numberOf(t, m.read("status"), "needs_person_count"))
			m.withinBudget(role)
		})
	}
}

// on_drift=recover finds the older password that somebody has set again.
func TestDriftIsRecovered(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"alias", "account", "mt root"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := m.proved(m.roleFor(operation))
			m.must("roles/r", role)
			version := firstVersion(proofKind{operation: operation})
			old := m.waitUntilProved("r", role, version)
			m.must("rotate-role/r", nil)
			m.waitUntilProved("r", role, version+1)
			m.changeOutside(role, old["password"])
			calls, refused := m.calls(role), m.refusedCount(role)
			m.must("roles/r", data{"verify_period": 3600, "on_drift": "recover"})
			d := m.waitUntilProved("r", role, version+2) // versions never go back
			require.Equal(t, old["password"], d["password"])
			require.Equal(t, calls, m.calls(role), "nothing is sent")
			require.Equal(t, refused+1, m.refusedCount(role))
			m.withinBudget(role)
		})
	}
}
