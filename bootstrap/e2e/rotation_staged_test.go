package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

func TestQueuedPasswordGivesReadersShortTTL(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	role := with(m.service("root"), data{"rotation_period": 86400, "max_read_ttl": 0})
	m.must("config/mt", data{"settle_after": 3})
	require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 1500))
	created := m.must("roles/root", role)
	require.Equal(t, "accepted", created.Data["state"])
	require.Contains(t, created.Warnings[0], "counts as in force at")
	before := m.putInEffect("root", role)

	rotated := m.must("rotate-role/root", data{"version": 1})
	require.Equal(t, "accepted", rotated.Data["state"])
	require.EqualValues(t, 1, versionOf(t, rotated.Data))
	again := m.must("rotate-role/root", data{"version": 1})
	require.Contains(t, again.Warnings[0], "carried out before")
	d := m.workingCreds("root", role) // the job is pending
	require.Equal(t, before["password"], d["password"])
	require.Equal(t, "accepted", d["state"])
	require.Error(t, m.login(role, d["next_password"]))
	require.LessOrEqual(t, numberOf(t, d, "ttl"), int64(3))
	require.Contains(t, m.read("status/root")["reason"], "queued")

	after := m.waitForState("root", "assumed")
	require.Equal(t, d["next_password"], after["password"])
	require.NotContains(t, after, "next_password")
	m.workingCreds("root", role)
	require.Equal(t, 2, m.sim.MediaTemple("556/root").Accepted)
}

// Two passwords in one queue could take effect in any order.
func TestSecondRotationWaitsForQueuedOne(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	for _, account := range []string{"root", "plesk"} {
		role := m.service(account)
		m.must("roles/"+account, role)
		for range 2 {
			require.Equal(t, "accepted", m.must("rotate-role/"+account, nil).Data["state"])
		}
		require.EqualValues(t, 3, versionOf(t, m.putInEffect(account, role)))
		require.Zero(t, m.pendingRefusals(role), "the engine knows what it has queued")
	}
}

// pendingRefusals returns how many requests Media Temple refused because a job was pending.
func (m *mount) pendingRefusals(role data) int {
	n := 0
	for _, entry := range m.sim.Journal(target(role)) {
		if entry.Result == "OperationPending" {
			n++
		}
	}
	return n
}

// The answer 202 promises a job. If the job fails, the previous password is still in history.
func TestSilentlyFailedJobLosesNoPassword(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	role := with(m.service("root"), data{"history_size": 0, "return_last_password": true})
	m.must("roles/root", role)
	before := m.putInEffect("root", role)
	require.NoError(t, m.sim.Switch("mediatemple", "job_fails", true))
	m.must("rotate-role/root", nil)
	_, err := m.write("confirm-role/root", data{"version": 2, "discard": true})
	require.Equal(t, 400, statusCode(err), "too early: it is queued and may still take effect")
	require.Contains(t, message(err), "counts as in force at")
	d := m.waitForState("root", "assumed")
	require.Error(t, m.login(role, d["password"]), "the failure is invisible to the engine")
	require.Contains(t, m.read("status/root")["advice"], "version=2 and discard=true")
	m.must("confirm-role/root", data{"version": 2, "discard": true})
	d = m.workingCreds("root", role)
	require.Equal(t, before["password"], d["password"])
	again := versionOf(t, d)
	require.EqualValues(t, 3, again, "versions never go back")
	m.must("confirm-role/root", data{"version": again}) // it works

	for range 12 {
		m.must("rotate-role/root", nil)
		m.waitForState("root", "assumed")
	}
	require.Error(t, m.login(role, m.creds("root")["password"]))
	m.must("confirm-role/root", data{"version": again}) // kept, because it was confirmed
	d = m.workingCreds("root", role)
	require.Equal(t, before["password"], d["password"])
	require.NoError(t, m.sim.Switch("mediatemple", "job_fails", false))
	m.must("rotate-role/root", nil)
	m.putInEffect("root", role)
}

// The answer 202 is lost while the job runs. Media Temple answers 409 to the same password until the job is done.
func TestLostAnswerWaitsForItsJob(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	role := m.service("plesk")
	m.must("roles/plesk", role)
	m.putInEffect("plesk", role)
	require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 1500))
	m.sim.ClearJournal()
	m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
	require.Equal(t, "uncertain", m.must("rotate-role/plesk", nil).Data["state"])
	m.putInEffect("plesk", role)
	pending := m.pendingRefusals(role)
	require.NotZero(t, pending)
	require.Less(t, pending, 6, "the intervals should grow")
	require.EqualValues(t, 2, versionOf(t, m.creds("plesk")))
}

func TestMediaTempleRefusalsReachTheCaller(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	other := data{"connection": "mt", "service_id": "901", "account": "root"}
	for remote, answer := range map[string]int{"403": 502, "404": 400, "401": 502} {
		require.NoError(t, m.sim.Switch("mediatemple", "foreign", remote))
		_, err := m.write("roles/foreign", other)
		require.Equal(t, answer, statusCode(err), "%v: %s", remote, message(err))
	}
	_, err := m.write("roles/none", data{"connection": "mt", "service_id": "557", "account": "plesk"})
	require.Equal(t, 400, statusCode(err))
	require.Contains(t, message(err), "Plesk")
	_, err = m.write("roles/unknown", data{"connection": "mt", "service_id": "4711", "account": "root"})
	require.Equal(t, 400, statusCode(err))
	m.must("roles/root", m.service("root")) // a service of another customer does not pause the connection
	m.putInEffect("root", m.service("root"))
	names, err := m.client().Logical().List(m.path + "/roles")
	require.NoError(t, err)
	require.Equal(t, []any{"root"}, names.Data["keys"])
}

// While a password is queued, an operator who confirms the previous one is right for a moment only.
func TestConfirmationKeepsQueuedPassword(t *testing.T) {
	t.Parallel()
	m := newStagedMount(t)
	role := m.service("plesk")
	m.must("config/mt", data{"settle_after": 3})
	m.must("roles/plesk", role)
	before := m.putInEffect("plesk", role)
	require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 1500))
	m.must("rotate-role/plesk", nil)
	m.must("confirm-role/plesk", data{"password": before["password"]})
	d := m.workingCreds("plesk", role)
	require.Equal(t, "accepted", d["state"])
	require.Equal(t, before["password"], d["password"])
	d = m.waitForState("plesk", "assumed")
	require.NotEqual(t, before["password"], d["password"])
	m.workingCreds("plesk", role)

	m.must("rotate-role/plesk", nil)
	require.Equal(t, 400, statusCode(m.delete("roles/plesk")))
	require.NoError(t, m.forceDelete("roles/plesk"))
	m.sim.ClearJournal()
	created := m.must("roles/plesk", role) // the new role waits for the job of the deleted one
	require.Contains(t, created.Warnings[0], "has no new password yet")
	require.Eventually(t, func() bool { return m.read("status/plesk")["state"] == "assumed" }, waitLong, tick)
	m.workingCreds("plesk", role)
	require.Zero(t, m.pendingRefusals(role))
}
