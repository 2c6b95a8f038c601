package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// verify-role tries what may be in force, and no more than it has to.
func TestVerifyRoleTellsWhichPasswordWorks(t *testing.T) {
	t.Parallel()
	for _, k := range someKinds("alias", "mt root", "cloudservers, soft", "webcli") {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role, _, _ := m.createProved(k)
			before := m.read("status/r")
			answer, results := m.verifies("verify-role", "r")
			require.Equal(t, "active", answer["state"])
			require.NotContains(t, answer, "next_attempt_time")
			works := 0
			for _, result := range tried(results) {
				require.Equal(t, "works", result)
				works++
			}
			require.Equal(t, max(1, len(servers(role))), works, "%v", results)
			require.NotContains(t, text(answer), m.creds("r")["password"])
			require.NotNil(t, before["last_proof_time"])
			require.Zero(t, m.refusedCount(role))

			m.changeOutside(role, strange)
			answer, results = m.verifies("recover-role", "r")
			require.Equal(t, "drifted", answer["state"])
			require.NotContains(t, tried(results), "works")
			require.LessOrEqual(t, m.refusedCount(role), 2)
			m.must("confirm-role/r", data{"password": strange, "force": true})
			d := m.workingCreds("r", role)
			require.Equal(t, strange, d["password"])
			m.withinBudget(role)
		})
	}
}

// What an operator says is tried out, unless he insists.
func TestContradictedConfirmationNeedsForce(t *testing.T) {
	t.Parallel()
	for _, k := range someKinds("redis", "alias", "mt root") {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role, version, before := m.createProved(k)
			_, err := m.write("confirm-role/r", data{"password": chosen})
			require.Equal(t, 400, statusCode(err))
			require.Contains(t, message(err), "the given password of role \"r\" was not confirmed, because a login with it was refused: ")
			require.Contains(t, message(err), "add force=true")
			require.NotContains(t, message(err), chosen)
			require.Equal(t, before["password"], m.workingCreds("r", role)["password"])
			m.must("confirm-role/r", data{"password": chosen, "force": true})
			d := m.creds("r")
			require.Equal(t, chosen, d["password"])
			require.Equal(t, "assumed", d["state"])
			require.Equal(t, 1, m.refusedCount(role))
			answer, results := m.verifies("recover-role", "r") // it was a mistake, and the second refused login
			require.Equal(t, "drifted", answer["state"])
			require.Equal(t, map[string]string{fmt.Sprint(version + 1): "refused"}, tried(results))
			require.Len(t, results, int(version)+1)
			require.NotEmpty(t, answer["next_attempt_time"])
			m.must("confirm-role/r", data{"password": before["password"], "force": true}) // which no login can show now
			d = m.workingCreds("r", role)
			require.Equal(t, "assumed", d["state"])
			require.Equal(t, before["password"], d["password"])
			m.withinBudget(role)
			m.nothingLocked()
		})
	}
}

// The password with which an account is adopted is tried out.
func TestAdoptionIsProved(t *testing.T) {
	t.Parallel()
	cases := map[string]func(m *mount) data{
		"redis":        func(m *mount) data { return with(m.proved(m.account("app")), data{"skip_initial_rotation": true}) },
		"instances":    func(m *mount) data { return m.adopted(m.proved(m.instances("metal-1", "metal-2"))) },
		"cloudservers": func(m *mount) data { return m.adopted(m.proved(m.cloudServers("cloud-1"))) },
		"webcli": func(m *mount) data {
			return with(m.account("app"), data{"verify": "webcli", "skip_initial_rotation": true})
		},
		"alias":    func(m *mount) data { return m.adopted(m.proved(alias("ops1"))) },
		"mt plesk": func(m *mount) data { return m.adopted(m.proved(m.service("plesk"))) },
		"mt root":  func(m *mount) data { return m.adopted(m.proved(m.service("root"))) },
	}
	for name, role := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := role(m)
			if name != "webcli" { // there, a refusal proves nothing before a login has worked
				_, err := m.write("roles/r", with(role, data{"password": chosen}))
				require.Equal(t, 400, statusCode(err))
				require.Contains(t, message(err), "a login with the given password was refused")
				require.NotContains(t, message(err), chosen)
				names, err := m.client().Logical().List(m.path + "/roles")
				require.NoError(t, err)
				require.Nil(t, names)
				require.Equal(t, 1, m.refusedCount(role))
			}
			created := m.must("roles/r", role)
			require.Equal(t, "active", created.Data["state"])
			require.NotContains(t, strings.Join(created.Warnings, " "), "No login has proved")
			m.waitUntilProved("r", role, 1)
			require.Zero(t, m.calls(role), "nothing is sent")
			m.withinBudget(role)
		})
	}
}

// An adoption that no login can prove is as good as without one.
func TestUnprovableAdoptionIsAssumed(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	role := m.adopted(m.proved(m.instances("metal-1")))
	m.switchSSH("auth_methods", "publickey")
	created := m.must("roles/r", role)
	require.Equal(t, "assumed", created.Data["state"])
	require.Contains(t, created.Warnings[0], "No login has proved the password: the SSH server offers no login with a password")
	m.switchSSH("auth_methods", "keyboard-interactive")
	m.must("verify-role/r", nil)
	m.waitUntilProved("r", role, 1)
	require.Zero(t, m.calls(role))
}

// A given password is proved like a generated one.
func TestGivenPasswordIsProved(t *testing.T) {
	t.Parallel()
	for _, k := range someKinds("alias", "mt root", "cloudservers, soft", "redis") {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role, version, _ := m.createProved(k)
			m.must("set-password/r", data{"password": chosen})
			require.Equal(t, chosen, m.waitUntilProved("r", role, version+1)["password"])
			m.withinBudget(role)
		})
	}
}

// undo makes the remote system change a role's password, and changes it back before the answer arrives. The change has begun, or
// begins by itself.
func (m *mount) undo(name string, role data, before any) {
	m.t.Helper()
	system, at := target(role)
	m.waitFor(name, "the request should be held", func() bool {
		return slices.ContainsFunc(m.sim.Faults(), func(f lab.FaultStatus) bool { return f.Target == at && f.Holding > 0 })
	})
	m.changeOutside(role, before)
	require.NoError(m.t, m.sim.ClearFaults(system, at))
}

// The remote system confirms the change, but the new password does not log in. The old one is handed out, and the new one is
// sent once more. When that does not help, an operator is asked.
func TestConfirmedPasswordThatFailsIsSentAgain(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	roles, before, next := map[string]data{}, map[string]any{}, map[string]any{}
	for name, account := range map[string]string{"helps": "app", "vain": "report"} {
		role := m.proved(with(without(m.account(account), "password"), data{"rotation_method": "reset"}))
		roles[name] = role
		m.must("roles/"+name, role)
		before[name] = m.waitUntilProved(name, role, 1)["password"]
		m.fault(role, lab.Fault{Kind: lab.Hold, Count: 1})
		answer := m.writeAsync(t.Context(), "rotate-role/"+name, nil)
		m.undo(name, role, before[name])
		require.NoError(t, <-answer)
		s := m.read("status/" + name)
		require.Equal(t, "uncertain", s["state"])
		require.Contains(t, s["reason"], "The remote system confirmed the new password (version 2), but it does not log in")
		d := m.workingCreds(name, role)
		require.Equal(t, before[name], d["password"])
		next[name] = d["next_password"]
		require.Equal(t, 1, m.refusedCount(role))
		if name == "vain" {
			m.fault(role, lab.Fault{Kind: lab.Hold, Count: 1})
			m.undo(name, role, before[name])
		}
	}
	m.waitFor("vain", "an operator should be asked", func() bool { return numberOf(t, m.read("status"), "needs_person_count") == 1 })
	require.Contains(t, m.read("status/vain")["reason"], "It was sent again, and is still refused.")
	require.Equal(t, before["vain"], m.workingCreds("vain", roles["vain"])["password"])
	m.withinBudget(roles["vain"])
	m.changeOutside(roles["vain"], next["vain"]) // the operator has found the cause
	m.must("confirm-role/vain", data{"version": 2, "force": true})
	require.Equal(t, next["vain"], m.workingCreds("vain", roles["vain"])["password"])

	require.Equal(t, next["helps"], m.waitUntilProved("helps", roles["helps"], 2)["password"])
	m.withinBudget(roles["helps"])
	for _, role := range roles {
		require.Equal(t, 3, m.calls(role))
	}
}
