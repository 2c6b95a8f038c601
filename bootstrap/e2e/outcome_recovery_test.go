package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
)

// A DCS password was changed outside Vault. The engine must not guess until the account is locked.
func TestDriftedAccountIsReportedNotLocked(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	m.must("roles/cache", role)
	before := m.workingCreds("cache", role)
	const elsewhere = "Set-by-Somebody.Else-1" // #nosec G101 -- of a simulated account
	_, name := target(role)
	require.NoError(t, m.sim.SetPassword("dcs", name, elsewhere))

	_, err := m.write("rotate-role/cache", nil)
	require.Equal(t, 400, statusCode(err), message(err))
	d := m.waitForState("cache", "drifted")
	require.Equal(t, before["password"], d["password"])
	calls := m.calls(role)
	for range 5 {
		_, err := m.write("rotate-role/cache", nil)
		require.Equal(t, 400, statusCode(err))
		require.Contains(t, message(err), "confirm-role/cache", "the message should say what to do")
	}
	require.Equal(t, calls, m.calls(role), "a wrong old password is not presented again")
	require.Equal(t, "drifted", m.read("status/cache")["state"])
	m.nothingLocked()

	m.must("confirm-role/cache", data{"password": elsewhere})
	d = m.workingCreds("cache", role)
	require.Equal(t, "assumed", d["state"], "the operator's statement is no proof")
	require.Equal(t, elsewhere, d["password"])
	require.Eventually(t, func() bool { // the remote system has to forget the wrong attempt first
		_, err := m.write("rotate-role/cache", nil)
		return err == nil && m.creds("cache")["state"] == "active"
	}, waitLong, tick)
	require.NotEqual(t, elsewhere, m.workingCreds("cache", role)["password"])
	m.nothingLocked()
}

// A backup of the account was restored: its password is one that Vault still has.
func TestRestoredPasswordIsConfirmedByVersion(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	m.must("roles/cache", role)
	restored := m.workingCreds("cache", role)
	for range 2 {
		m.must("rotate-role/cache", data{"version": versionOf(t, m.creds("cache"))})
	}
	_, name := target(role)
	require.NoError(t, m.sim.SetPassword("dcs", name, restored["password"].(string)))
	_, err := m.write("rotate-role/cache", nil)
	require.Equal(t, 400, statusCode(err), message(err))
	before := m.waitForState("cache", "drifted")

	secret := m.must("confirm-role/cache", data{"version": versionOf(t, restored)})
	require.NotEmpty(t, secret.Warnings)
	d := m.workingCreds("cache", role)
	require.Equal(t, restored["password"], d["password"])
	require.Equal(t, versionOf(t, before)+1, versionOf(t, d), "versions never go back")
	require.Eventually(t, func() bool { // the remote system has to forget the wrong attempt first
		_, err := m.write("rotate-role/cache", nil)
		return err == nil && m.creds("cache")["state"] == "active"
	}, waitLong, tick)
	m.workingCreds("cache", role)
	m.nothingLocked()
}

// After a lost answer, the engine presents the old password once more. The answer says that it is wrong, so the engine
// presents the password that it sent.
func TestLostDCSAnswerIsResolvedInThreeRequests(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	m.must("roles/cache", role)
	before := m.workingCreds("cache", role)
	m.sim.ClearJournal()
	m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
	secret := m.must("rotate-role/cache", nil)
	require.Equal(t, "uncertain", secret.Data["state"])
	d := m.creds("cache")
	if d["state"] == "uncertain" && d["next_password"] != nil {
		require.NoError(t, m.login(role, d["next_password"]), "one of the two passwords should work")
	}
	d = m.waitForState("cache", "active")
	require.Greater(t, versionOf(t, d), versionOf(t, before))
	m.workingCreds("cache", role)
	require.Equal(t, 3, m.calls(role), "one whose answer is lost, one that presents the old password, one that presents the new one")
	require.Equal(t, 2, m.changes(role))
	m.nothingLocked()
}

func TestOperatorSettlesUnknownOutcome(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := with(alias("ops1"), data{"disable_automated_rotation": true}) // so that the engine does not retry
	m.must("roles/web1", role)
	before := m.workingCreds("web1", role)
	m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
	m.must("rotate-role/web1", nil)
	d := m.creds("web1")
	require.Equal(t, "uncertain", d["state"])
	require.Equal(t, before["password"], d["password"])
	require.NoError(t, m.login(role, d["next_password"]))

	require.Equal(t, 400, statusCode(m.delete("roles/web1")), "deleting would lose the only copy of the password")
	m.must("roles/web1", data{"force_delete": true})
	require.Equal(t, true, m.read("roles/web1")["force_delete"])
	m.must("roles/web1", data{"force_delete": false})
	_, err := m.write("confirm-role/web1", data{"version": 7})
	require.Equal(t, 400, statusCode(err))

	sent := versionOf(t, before) + 1
	m.must("confirm-role/web1", data{"version": sent, "discard": true})
	d = m.creds("web1")
	require.Equal(t, "assumed", d["state"], "a late request could still put the discarded password in effect")
	require.NotContains(t, d, "next_password")
	m.must("confirm-role/web1", data{"version": sent}) // it was in effect after all
	d = m.workingCreds("web1", role)
	require.Equal(t, "assumed", d["state"])
	m.must("confirm-role/web1", data{"version": sent}) // repeated
	require.Eventually(t, func() bool { return m.delete("roles/web1") == nil }, waitLong, tick,
		"the role should become deletable once the lost request cannot be applied any more")
}

func TestSetPasswordWaitsForUnknownOutcome(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := with(alias("ops1"), data{"disable_automated_rotation": true})
	m.must("roles/web1", role)
	m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
	m.must("rotate-role/web1", nil)
	const chosen = "chosen_BY-hand~4712!long" // #nosec G101 -- of a simulated account
	m.must("set-password/web1", data{"password": chosen})
	d := m.workingCreds("web1", role)
	require.Equal(t, chosen, d["password"])
	require.Equal(t, "assumed", d["state"], "the first request could still be applied")
	m.must("rotate-role/web1", nil)
	require.Equal(t, "active", m.workingCreds("web1", role)["state"])
	require.Zero(t, m.sim.Trapped())
	m.oneChangeAtATime(role)
}

// Sixteen concurrent requests use a credential that was changed outside Vault. Plesk locks a login after five refusals.
func TestCredentialChangedElsewhereIsNotLocked(t *testing.T) {
	t.Parallel()
	state := simulator.DefaultState()
	const roles = 16
	for n := range roles {
		state.Plesk.Aliases = append(state.Plesk.Aliases, plesk.Alias{
			Login: fmt.Sprintf("many%d", n), Password: state.Plesk.Aliases[0].Password,
		})
	}
	m := bareMountIn(t, vault, simulator.Config{State: state})
	m.must("config/panel", m.panel())
	for n := range roles {
		m.must(fmt.Sprintf("roles/many%d", n), alias(fmt.Sprintf("many%d", n)))
	}
	const elsewhere = "Set-by-Somebody.Else-3!42" // #nosec G101 -- of a simulated account
	require.NoError(t, m.sim.SetPassword("plesk", "admin", elsewhere))
	answers := make(chan error, roles)
	for n := range roles {
		go func() {
			_, err := m.write(fmt.Sprintf("rotate-role/many%d", n), nil)
			answers <- err
		}()
	}
	for range roles {
		require.Contains(t, []int{502, 503}, statusCode(<-answers))
	}
	m.nothingLocked()
	// Without force, it would wait until Plesk has forgotten some of the refusals: it bans the sender of too many.
	m.must("config/panel", with(m.panel(), data{"password": elsewhere, "force": true}))
	for n := range roles {
		name := fmt.Sprintf("many%d", n)
		m.must("rotate-role/"+name, nil)
		m.workingCreds(name, alias(name))
	}
}
