package e2e

import (
	"testing"
	"time"

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
	for _, k := range someKinds("alias", "mt root", "mt plesk", "instances, soft", "cloudservers, soft", "redis", "webcli") {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role, version, before := m.createProved(k)
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
	for _, operation := range []string{"alias", "account"} {
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
			calls := m.calls(role)
			m.must("roles/r", data{"verify_period": 3600, "on_drift": "recover"})
			d := m.waitUntilProved("r", role, version+2) // versions never go back
			require.Equal(t, old["password"], d["password"])
			require.Equal(t, calls, m.calls(role), "nothing is sent")
			require.Equal(t, 1, m.refusedCount(role))
			require.NotNil(t, m.read("status/r")["next_proof_time"])
		})
	}
}

// The older passwords are tried within the budget. The search goes on by itself or, if an operator asked for it, when he asks
// again.
func TestDeepRecoveryKeepsBudget(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	asked, alone := m.proved(m.account("app")), m.proved(m.account("report"))
	oldest := map[string]any{}
	for name, role := range map[string]data{"asked": asked, "alone": alone} {
		m.must("roles/"+name, role)
		oldest[name] = m.waitUntilProved(name, role, 2)["password"]
		for version := range 3 {
			m.must("rotate-role/"+name, nil)
			m.waitUntilProved(name, role, int64(version)+3)
		}
		m.changeOutside(role, oldest[name])
	}
	m.must("roles/alone", data{"verify_period": 3600, "on_drift": "recover"})
	answer, results := m.verifies("recover-role", "asked")
	require.Equal(t, map[string]string{"5": "refused", "4": "refused", "3": "not_tried", "2": "not_tried", "1": "not_tried"}, results)
	require.Equal(t, "drifted", answer["state"])
	again, err := time.Parse(time.RFC3339, text(data{"": answer["next_attempt_time"]})[5:25])
	require.NoError(t, err)
	require.True(t, again.After(time.Now()))
	m.waitForProof("alone", "drifted", "refused")
	require.Eventually(t, func() bool {
		m.verifies("recover-role", "asked")
		return m.read("status/asked")["state"] == "active" && m.read("status/alone")["state"] == "active"
	}, 2*waitLong, 10*tick, "%v", lazy{func() string { return text(m.read("status/alone")) }})
	for name, role := range map[string]data{"asked": asked, "alone": alone} {
		require.Equal(t, oldest[name], m.waitUntilProved(name, role, 6)["password"])
		m.withinBudget(role)
		m.must("rotate-role/"+name, nil) // the password that was found is the old one of the next change
		m.waitUntilProved(name, role, 7)
	}
	m.nothingLocked()
}

// on_drift=rotate sets a new password, where a change does not need the old one.
func TestDriftIsEndedByRotation(t *testing.T) {
	t.Parallel()
	for _, k := range someKinds("alias", "mt plesk", "cloudservers, soft", "redis, reset") {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := m.roleOf(k)
			m.must("roles/r", role)
			m.waitUntilProved("r", role, 1)
			m.changeOutside(role, strange)
			m.must("roles/r", data{"verify_period": 3600, "on_drift": "rotate"})
			m.waitUntilProved("r", role, 2)
			require.Equal(t, 1, m.refusedCount(role))
			require.Equal(t, 2, m.calls(role))
			require.EqualValues(t, 0, numberOf(t, m.read("status"), "needs_person_count"))
		})
	}
}

// A server that bans Vault's address answers no login. That is no drift, and ends with the ban.
func TestBanOfVaultIsNoDrift(t *testing.T) {
	t.Parallel()
	for kind, ban := range map[string]struct{ system, reason string }{
		"mt root":  {"ssh", "the server did not complete the SSH handshake in time"},
		"mt plesk": {"panel", "the connection timed out"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			m.must("config/mt", data{"request_timeout": 1})
			role := m.proved(m.roleFor(kind))
			m.must("roles/r", role)
			before := m.waitUntilProved("r", role, 1)
			require.NoError(t, m.sim.Switch(ban.system, "fail2ban", 1))
			_, err := m.write("confirm-role/r", data{"password": chosen})
			require.Equal(t, 400, statusCode(err))
			require.Equal(t, 1, m.refusedLogins(role).Bans)

			m.must("roles/r", data{"verify_period": 3600})
			s := m.waitForProof("r", "active", "cannot_tell")
			require.Contains(t, s["last_proof_reason"], ban.reason)
			require.NotNil(t, s["next_proof_time"])
			answer, results := m.verifies("verify-role", "r")
			require.Equal(t, "active", answer["state"])
			require.Equal(t, map[string]string{"1": "cannot_tell"}, results)
			require.Empty(t, m.read("status")["needs_person"])
			require.Equal(t, before["password"], m.creds("r")["password"])

			m.sim.Advance(10 * time.Minute)
			m.must("verify-role/r", nil) // need not wait for the engine
			m.waitUntilProved("r", role, 1)
			require.Equal(t, 1, m.calls(role), "nothing is sent")
			require.Equal(t, 1, m.refusedCount(role))
		})
	}
}
