package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

func TestReadersOfAQueuedPasswordAreToldWhenToReadAgain(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	role := with(m.service("root"), data{"rotation_period": 86400, "max_read_ttl": 0})
	m.must("config/mt", data{"settle_after": 3})
	require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 1500))
	created := m.must("roles/root", role)
	require.Equal(t, "accepted", created.Data["state"])
	require.Contains(t, created.Warnings[0], "counts as in force at")
	before := m.comes("root", role)

	rotated := m.must("rotate-role/root", data{"version": 1})
	require.Equal(t, "accepted", rotated.Data["state"])
	require.EqualValues(t, 1, versionOf(t, rotated.Data))
	again := m.must("rotate-role/root", data{"version": 1})
	require.Contains(t, again.Warnings[0], "done already")
	d := m.works("root", role) // the job is pending
	require.Equal(t, before["password"], d["password"])
	require.Equal(t, "accepted", d["state"])
	require.Error(t, m.login(role, d["next_password"]))
	ttl, err := d["ttl"].(interface{ Int64() (int64, error) }).Int64()
	require.NoError(t, err)
	require.LessOrEqual(t, ttl, int64(3))
	require.Contains(t, m.read("status/root")["reason"], "queued")

	after := m.eventually("root", "assumed")
	require.Equal(t, d["next_password"], after["password"])
	require.NotContains(t, after, "next_password")
	m.works("root", role)
	require.Equal(t, 2, m.sim.MediaTemple("556/root").Accepted)
}

// Two passwords in one queue could come into force in any order.
func TestASecondRotationWaitsForTheQueuedOne(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	for _, account := range []string{"root", "plesk"} {
		role := m.service(account)
		m.must("roles/"+account, role)
		for range 2 {
			require.Equal(t, "accepted", m.must("rotate-role/"+account, nil).Data["state"])
		}
		require.EqualValues(t, 3, versionOf(t, m.comes(account, role)))
		for _, entry := range m.sim.Journal("mediatemple", "556/"+account) {
			require.NotEqual(t, "OperationPending", entry.Result, "the engine knows what it has queued")
		}
	}
}

// A 202 is a promise. Where the queue breaks it the password from before is still there.
func TestAJobThatFailsSilentlyLosesNothing(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	role := with(m.service("root"), data{"history_size": 0, "return_last_password": true})
	m.must("roles/root", role)
	before := m.comes("root", role)
	require.NoError(t, m.sim.Switch("mediatemple", "job_fails", true))
	m.must("rotate-role/root", nil)
	_, err := m.write("confirm-role/root", data{"version": 2, "discard": true})
	require.Equal(t, 400, status(err), "too early: it is queued, and may come into force all the same")
	require.Contains(t, message(err), "counts as in force at")
	d := m.eventually("root", "assumed")
	require.Error(t, m.login(role, d["password"]), "nobody could know")
	require.Contains(t, m.read("status/root")["advice"], "version=2 and discard=true")
	m.must("confirm-role/root", data{"version": 2, "discard": true})
	require.Equal(t, before["password"], m.works("root", role)["password"])
	m.must("confirm-role/root", data{"version": 1}) // it works

	for range 12 {
		m.must("rotate-role/root", nil)
		m.eventually("root", "assumed")
	}
	require.Error(t, m.login(role, m.creds("root")["password"]))
	m.must("confirm-role/root", data{"password": m.listed("root", versionOf(t, before))}) // somebody said that it works: it is kept
	d = m.works("root", role)
	require.Equal(t, before["password"], d["password"])
	require.NoError(t, m.sim.Switch("mediatemple", "job_fails", false))
	m.must("rotate-role/root", nil)
	m.comes("root", role)
}

// The answer 202 is lost, and the job is under way: 409 until it is done, with the same password again.
func TestTheJobOfALostAnswerIsWaitedFor(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	role := m.service("plesk")
	m.must("roles/plesk", role)
	m.comes("plesk", role)
	require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 1500))
	m.sim.ClearJournal()
	m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
	require.Equal(t, "uncertain", m.must("rotate-role/plesk", nil).Data["state"])
	m.comes("plesk", role)
	pending := 0
	for _, entry := range m.sim.Journal("mediatemple", "556/plesk") {
		if entry.Result == "OperationPending" {
			pending++
		}
	}
	require.NotZero(t, pending)
	require.Less(t, pending, 6, "with growing distance")
	require.EqualValues(t, 2, versionOf(t, m.creds("plesk")))
}

func TestMediaTempleRefusesForItsOwnReasons(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	other := data{"connection": "mt", "service_id": "901", "account": "root"}
	for how, answer := range map[string]int{"403": 502, "404": 400, "401": 502} {
		require.NoError(t, m.sim.Switch("mediatemple", "foreign", how))
		_, err := m.write("roles/foreign", other)
		require.Equal(t, answer, status(err), "%v: %s", how, message(err))
	}
	_, err := m.write("roles/none", data{"connection": "mt", "service_id": "557", "account": "plesk"})
	require.Equal(t, 400, status(err))
	require.Contains(t, message(err), "Plesk")
	_, err = m.write("roles/unknown", data{"connection": "mt", "service_id": "4711", "account": "root"})
	require.Equal(t, 400, status(err))
	m.must("roles/root", m.service("root")) // a foreign service is that role's matter, not the connection's
	m.comes("root", m.service("root"))
	names, err := m.client().Logical().List(m.path + "/roles")
	require.NoError(t, err)
	require.Equal(t, []any{"root"}, names.Data["keys"])
}

func TestWhatIsStagedOutlivesARestartOfVault(t *testing.T) { // serial: it restarts the Vault of the package
	m := newStagedMount(bareMount(t))
	require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 1000))
	m.must("config/mt", data{"settle_after": 3})
	before := map[string]data{}
	for _, operation := range stagedOperations {
		m.must("roles/"+name(operation), m.staged(operation))
	}
	for _, operation := range stagedOperations {
		before[operation] = m.comes(name(operation), m.staged(operation))
		m.must("rotate-role/"+name(operation), nil)
	}
	require.NoError(t, vault.Restart(t.Context()))
	for _, operation := range stagedOperations {
		d := m.comes(name(operation), m.staged(operation))
		require.EqualValues(t, 2, versionOf(t, d))
		require.Equal(t, 2*max(1, len(servers(m.staged(operation)))), m.changesOfAll(m.staged(operation)), "nothing is sent twice")
	}
}

// name is an operation as the name of a role.
func name(operation string) string {
	return map[string]string{"mt plesk": "mtp", "mt root": "mtr"}[operation] + map[string]string{"instances": "metal", "cloudservers": "elastic"}[operation]
}

// changesOfAll counts the changes that the remote system took for all servers of a role.
func (m *mount) changesOfAll(role data) int {
	ids := servers(role)
	if len(ids) == 0 {
		_, target := target(role)
		return m.sim.MediaTemple(target).Accepted
	}
	n := 0
	for _, id := range ids {
		n += m.sim.ECS(id).Changes
	}
	return n
}

// What an operator sees while a password is queued is true for a moment only.
func TestAWordWhileAPasswordIsQueuedIsAboutNow(t *testing.T) {
	t.Parallel()
	m := newStagedMount(bareMount(t))
	role := m.service("plesk")
	m.must("config/mt", data{"settle_after": 3})
	m.must("roles/plesk", role)
	before := m.comes("plesk", role)
	require.NoError(t, m.sim.Switch("mediatemple", "job_ms", 1500))
	m.must("rotate-role/plesk", nil)
	m.must("confirm-role/plesk", data{"password": before["password"]}) // true, for a second
	d := m.works("plesk", role)
	require.Equal(t, "accepted", d["state"])
	require.Equal(t, before["password"], d["password"])
	d = m.eventually("plesk", "assumed")
	require.NotEqual(t, before["password"], d["password"])
	m.works("plesk", role)

	m.must("rotate-role/plesk", nil)
	_, err := m.client().Logical().Delete(m.path + "/roles/plesk")
	require.Equal(t, 400, status(err))
	_, err = m.client().Logical().DeleteWithData(m.path+"/roles/plesk", map[string][]string{"force": {"true"}})
	require.NoError(t, err)
	m.sim.ClearJournal()
	created := m.must("roles/plesk", role) // made anew at once: it waits for what the old one has queued
	require.Contains(t, created.Warnings[0], "has no new password yet")
	require.Eventually(t, func() bool { return m.read("status/plesk")["state"] == "assumed" }, waitLong, tick)
	m.works("plesk", role)
	for _, entry := range m.sim.Journal("mediatemple", "556/plesk") {
		require.NotEqual(t, "OperationPending", entry.Result)
	}
}
