package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// serial tests restart the Vault of the package: they do not run beside others.

func TestAChangeThatVaultsEndInterruptsIsResumed(t *testing.T) {
	m := newMount(t)
	roles := map[string]data{"web1": alias("ops1"), "cache": m.account("app")}
	before := map[string]data{}
	for name, role := range roles {
		m.must("roles/"+name, role)
		before[name] = m.works(name, role)
		m.fault(role, lab.Fault{Kind: lab.Hold, Count: 1})
	}
	ended := make(chan struct{}, len(roles))
	for name := range roles {
		go func() {
			_, _ = m.write("rotate-role/"+name, nil) // it ends with Vault
			ended <- struct{}{}
		}()
	}
	require.Eventually(t, func() bool { // applied, and the answers held back
		held := 0
		for _, f := range m.sim.Faults() {
			held += f.Holding
		}
		return held == len(roles)
	}, waitLong, tick)
	require.NoError(t, vault.Restart(context.Background()))
	m.heal()
	for range roles {
		<-ended
	}
	for name, role := range roles {
		require.Eventually(t, func() bool {
			d := m.creds(name)
			return d["state"] == "active" && versionOf(t, d) > versionOf(t, before[name])
		}, waitLong, tick)
		m.works(name, role)
	}
	m.nothingLocked()
}

func TestAKilledPluginComesBackWithNothingLost(t *testing.T) {
	m := newMount(t)
	roles := map[string]data{"web1": alias("ops1"), "cache": m.account("app")}
	for name, role := range roles {
		m.must("roles/"+name, role)
		m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
		secret := m.must("rotate-role/"+name, nil)
		require.NotEmpty(t, secret.Warnings, "an unknown outcome is said")
	}
	require.NoError(t, vault.KillPlugin())
	require.Eventually(t, func() bool { // the first request starts it again
		_, err := m.client().Logical().Read(m.path + "/creds/web1")
		return err == nil
	}, waitLong, tick)
	for name, role := range roles {
		m.eventually(name, "active")
		m.works(name, role)
	}
	m.nothingLocked()
}

func TestThePluginReportsTheVersionItWasRegisteredWith(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	mounted, err := vault.Client.Sys().ListMounts()
	require.NoError(t, err)
	require.Equal(t, vault.Version, mounted[m.path+"/"].RunningVersion)
	require.Equal(t, vaulttest.Plugin, mounted[m.path+"/"].Type)
}

// Somebody changes a DCS password behind Vault's back. The engine must not guess until the account is locked.
func TestADriftedAccountIsReportedAndNotLocked(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	m.must("roles/cache", role)
	before := m.works("cache", role)
	const elsewhere = "Set-by-Somebody.Else-1" // #nosec G101 -- of a simulated account
	_, name := target(role)
	require.NoError(t, m.sim.SetPassword("dcs", name, elsewhere))

	_, err := m.write("rotate-role/cache", nil)
	require.Equal(t, 400, status(err), message(err))
	d := m.eventually("cache", "drifted")
	require.Equal(t, before["password"], d["password"])
	calls := m.calls(role)
	for range 5 {
		_, err := m.write("rotate-role/cache", nil)
		require.Equal(t, 400, status(err))
		require.Contains(t, message(err), "confirm-role/cache", "the message says what to do")
	}
	require.Equal(t, calls, m.calls(role), "a wrong old password is not presented again")
	require.Equal(t, "drifted", m.read("status/cache")["state"])
	m.nothingLocked()

	m.must("confirm-role/cache", data{"password": elsewhere})
	d = m.works("cache", role)
	require.Equal(t, "assumed", d["state"], "an operator's word is not a confirmation")
	require.Equal(t, elsewhere, d["password"])
	require.Eventually(t, func() bool { // the wrong try has to be forgotten by the remote system first
		_, err := m.write("rotate-role/cache", nil)
		return err == nil && m.creds("cache")["state"] == "active"
	}, waitLong, tick)
	require.NotEqual(t, elsewhere, m.works("cache", role)["password"])
	m.nothingLocked()
}

func TestResetNeedsNoOldPassword(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	m.must("roles/cache", role)
	_, name := target(role)
	require.NoError(t, m.sim.SetPassword("dcs", name, "Set-by-Somebody.Else-2"))
	_, err := m.write("rotate-role/cache", nil)
	require.Equal(t, 400, status(err))
	m.must("roles/cache", data{"rotation_method": "reset"})
	m.must("rotate-role/cache", nil)
	require.Equal(t, "active", m.works("cache", role)["state"])

	fresh := m.account("report")
	delete(fresh, "password")
	fresh["rotation_method"] = "reset"
	m.must("roles/report", fresh)
	require.Equal(t, "active", m.works("report", fresh)["state"])
}

// A lost answer: the engine presents the old password once more, is told that it is wrong, and takes the one that it sent
// for the old one.
func TestALostAnswerOfDCSIsFoundOutWithFewTries(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	m.must("roles/cache", role)
	before := m.works("cache", role)
	m.sim.ClearJournal()
	m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
	secret := m.must("rotate-role/cache", nil)
	require.Equal(t, "uncertain", secret.Data["state"])
	d := m.creds("cache")
	if d["state"] == "uncertain" && d["next_password"] != nil {
		require.NoError(t, m.login(role, d["next_password"]), "the password that works is one of the two")
	}
	d = m.eventually("cache", "active")
	require.Greater(t, versionOf(t, d), versionOf(t, before))
	m.works("cache", role)
	require.Equal(t, 3, m.calls(role), "the lost one, the one that finds out, and the one that sets")
	require.Equal(t, 2, m.changes(role))
	m.nothingLocked()
}

func TestAnOperatorSettlesAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := alias("ops1")
	role["disable_automated_rotation"] = true // the engine leaves it to the operator
	m.must("roles/web1", role)
	before := m.works("web1", role)
	m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
	m.must("rotate-role/web1", nil)
	d := m.creds("web1")
	require.Equal(t, "uncertain", d["state"])
	require.Equal(t, before["password"], d["password"])
	require.NoError(t, m.login(role, d["next_password"]))

	_, err := m.client().Logical().Delete(m.path + "/roles/web1")
	require.Equal(t, 400, status(err), "deleting would lose the only copy of the password")
	_, err = m.write("confirm-role/web1", data{"version": 7})
	require.Equal(t, 400, status(err))

	m.must("confirm-role/web1", data{"version": versionOf(t, before) + 1, "discard": true})
	d = m.creds("web1")
	require.Equal(t, "assumed", d["state"], "a late request could still put the discarded one in force")
	require.NotContains(t, d, "next_password")
	m.must("confirm-role/web1", data{"version": versionOf(t, before) + 1}) // no, it was in force after all
	d = m.works("web1", role)
	require.Equal(t, "assumed", d["state"])
	m.must("confirm-role/web1", data{"version": versionOf(t, before) + 1}) // said twice
	require.Eventually(t, func() bool {                                    // once the request that was cut cannot be under way any more
		_, err = m.client().Logical().Delete(m.path + "/roles/web1")
		return err == nil
	}, waitLong, tick)
}

func TestAdoptingAnAccountSendsNothing(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := m.account("app")
	role["skip_initial_rotation"] = true
	created := m.must("roles/cache", role)
	require.Equal(t, "assumed", created.Data["state"])
	require.EqualValues(t, 1, versionOf(t, created.Data))
	d := m.works("cache", role)
	require.Equal(t, role["password"], d["password"])
	require.Zero(t, m.changes(role))
	m.must("roles/cache", role) // a field sent again with its value is no error
	m.must("rotate-role/cache", data{"version": 1})
	require.EqualValues(t, 2, versionOf(t, m.works("cache", role)))
	again := m.must("rotate-role/cache", data{"version": 1})
	require.NotEmpty(t, again.Warnings)
	require.EqualValues(t, 2, versionOf(t, m.works("cache", role)), "a repeated request is harmless")

	bare := alias("ops2")
	bare["skip_initial_rotation"] = true
	created = m.must("roles/web2", bare)
	require.Equal(t, "none", created.Data["state"])
	require.Zero(t, m.changes(bare))
	require.Equal(t, "active", m.works("web2", bare)["state"], "the first read sets a password")
	require.Equal(t, 1, m.changes(bare))
}

func TestAGivenPasswordOverAnUnknownOneKeepsItsDistance(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	role := alias("ops1")
	role["disable_automated_rotation"] = true
	m.must("roles/web1", role)
	m.fault(role, lab.Fault{Kind: lab.ApplyCut, Count: 1})
	m.must("rotate-role/web1", nil)
	const chosen = "chosen_BY-hand~4712!long" // #nosec G101 -- of a simulated account
	m.must("set-password/web1", data{"password": chosen})
	d := m.works("web1", role)
	require.Equal(t, chosen, d["password"])
	require.Equal(t, "assumed", d["state"], "the earlier request could still follow")
	m.must("rotate-role/web1", nil)
	require.Equal(t, "active", m.works("web1", role)["state"])
	require.Zero(t, m.sim.Trapped())
	require.Equal(t, 1, m.sim.MaxConcurrentChanges("plesk", "ops1"))
}

// Sixteen requests at once with a credential that somebody has changed: Plesk locks a login after five refusals.
func TestACredentialThatIsChangedElsewhereIsNeverLocked(t *testing.T) {
	t.Parallel()
	state := simulator.DefaultState()
	const roles = 16
	for n := range roles {
		state.Plesk.Aliases = append(state.Plesk.Aliases, plesk.Alias{
			Login: fmt.Sprintf("many%d", n), Password: state.Plesk.Aliases[0].Password,
		})
	}
	m := mountOn(t, simulator.Config{State: state})
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
		require.Contains(t, []int{502, 503}, status(<-answers))
	}
	m.nothingLocked()
	m.must("config/panel", with(m.panel(), data{"password": elsewhere}))
	for n := range roles {
		name := fmt.Sprintf("many%d", n)
		m.must("rotate-role/"+name, nil)
		m.works(name, alias(name))
	}
}
