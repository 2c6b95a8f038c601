package e2e

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// What could send a password to the wrong place is refused before anything is stored or sent.
func TestUnprovableRoleIsRefused(t *testing.T) {
	t.Parallel()
	m := newProvedMount(t)
	one, both := m.proved(m.instances("metal-1")), m.proved(m.instances("metal-1", "metal-2"))
	root, app := m.proved(m.service("root")), m.proved(m.account("app"))
	id := servers(one)[0]
	for says, role := range map[string]data{
		"allowed_verify_addresses of config/metal":      with(one, data{"verify_address": "192.0.2.7:22"}),
		"allowed_verify_addresses of config/mt":         with(root, data{"verify_address": "example.com:22"}),
		"verify_host_key is missing":                    with(root, data{"verify_host_key": ""}),
		"key 1 cannot be parsed":                        with(root, data{"verify_host_key": "ssh-ed25519 AAAA"}),
		"not a complete fingerprint":                    with(root, data{"verify_host_key": "SHA256:abc"}),
		"verify_host_key is missing for":                with(both, data{"verify_host_key": id + "=" + m.sim.HostKey(id)}),
		"verify_address is missing for":                 with(both, data{"verify_address": id + "=" + m.sim.SSHAddress(id)}),
		"has the same address for the servers":          with(both, data{"verify_address": servers(both)[0] + "=127.0.0.1:22," + servers(both)[1] + "=127.0.0.1:22"}),
		`verify must be "none" or "ssh"`:                with(one, data{"verify": "redis"}),
		`verify must be "none", "redis" or "webcli"`:    with(app, data{"verify": "ssh"}),
		`verify must be "none" or "plesk"`:              with(alias("ops1"), data{"verify": "ssh"}),
		"verify_ca_cert":                                with(m.proved(m.service("plesk")), data{"verify_ca_cert": "no certificate"}),
		"host:port":                                     with(app, data{"verify_address": "127.0.0.1"}),
		"restart=soft needs allow_restart=true":         with(m.instances("metal-1"), data{"restart": "soft"}),
		"restart_timeout must be between":               with(one, data{"restart": "soft", "restart_timeout": 5}),
		"restart must be none, soft or hard":            with(one, data{"restart": "now"}),
		"on_drift=rotate is not possible":               with(app, data{"on_drift": "rotate"}),
		"verify_period must be at least 3600 seconds":   with(app, data{"verify_period": 60}),
		"on_drift=recover requires verify":              with(m.account("app"), data{"on_drift": "recover"}),
		`restart does not belong to provider "plesk"`:   with(alias("ops1"), data{"restart": "soft"}),
		"verify_tls=false has no effect with verify=pl": with(alias("ops1"), data{"verify": "plesk", "verify_tls": false}),
	} {
		if says == "restart=soft needs allow_restart=true" {
			m.must("config/metal", data{"allow_restart": false})
		}
		_, err := m.write("roles/r", role)
		require.Equal(t, 400, statusCode(err), "%s: %v", says, err)
		require.Contains(t, message(err), says)
		m.must("config/metal", data{"allow_restart": true})
	}
	require.Zero(t, m.calls(one)+m.calls(root)+m.calls(app)+m.calls(alias("ops1")))
	names, err := m.client().Logical().List(m.path + "/roles")
	require.NoError(t, err)
	require.Nil(t, names)
	for _, path := range []string{"verify-role", "recover-role"} {
		m.must("roles/plain", alias("ops2"))
		_, err := m.write(path+"/plain", nil)
		require.Equal(t, 400, statusCode(err))
		require.Contains(t, message(err), "verify=none")
	}
}

// unprovable is something that keeps a login from showing anything.
type unprovable struct {
	name string
	// spoil makes it so, and mend ends it.
	spoil, mend func(m *mount, role data)
	// reason is in last_proof_reason.
	reason []string
}

func (m *mount) switchSSH(name string, value any) {
	m.t.Helper()
	require.NoError(m.t, m.sim.Switch("ssh", name, value))
}

// shuts returns a spoiler for an unreachable system.
func shuts(system string) unprovable {
	return unprovable{name: "not reachable", reason: []string{"connect"},
		spoil: func(m *mount, _ data) {
			require.NoError(m.t, m.sim.SetFault(lab.Fault{System: system, Target: "*", Kind: lab.Unreachable}))
		},
		mend: func(m *mount, _ data) { m.clearFaults() }}
}

func sshSwitch(name, field string, bad, good any, reason string) unprovable {
	return unprovable{name: name, reason: []string{reason},
		spoil: func(m *mount, _ data) { m.switchSSH(field, bad) }, mend: func(m *mount, _ data) { m.switchSSH(field, good) }}
}

// overSSH are the faults of a login over SSH.
func overSSH() []unprovable {
	hangs := sshSwitch("hangs", "hang", true, false, "in time")
	changed := unprovable{name: "another host key",
		spoil: func(m *mount, _ data) { m.switchSSH("host_key", "new") },
		mend: func(m *mount, _ data) {
			m.must("roles/r", data{"verify_host_key": m.sim.HostKey("556")})
		},
		reason: []string{"is not in verify_host_key"}}
	notAllowed := unprovable{name: "address not allowed any more", reason: []string{"allowed_verify_addresses of config/mt"},
		spoil: func(m *mount, _ data) { m.must("config/mt", data{"allowed_verify_addresses": "192.0.2.0/24"}) },
		mend:  func(m *mount, _ data) { m.must("config/mt", data{"allowed_verify_addresses": "127.0.0.0/8"}) }}
	turned := unprovable{name: "too many logins", reason: []string{"MaxStartups"},
		spoil: func(m *mount, _ data) {
			require.NoError(m.t, m.sim.SetFault(lab.Fault{System: "ssh", Target: "*", Kind: lab.Busy}))
		},
		mend: func(m *mount, _ data) { m.clearFaults() }}
	cut := unprovable{name: "cut", reason: []string{"closed the connection instead of answering"},
		spoil: func(m *mount, _ data) {
			require.NoError(m.t, m.sim.SetFault(lab.Fault{System: "ssh", Target: "*", Kind: lab.Cut}))
		},
		mend: func(m *mount, _ data) { m.clearFaults() }}
	return []unprovable{
		shuts("ssh"), hangs, changed, notAllowed, turned, cut,
		sshSwitch("no password logins", "auth_methods", "publickey", "password", "offers no login with a password"),
	}
}

// A login that cannot tell settles nothing: a queued password counts as in force at its time, as without a login, and the
// engine repeats the login.
func TestUnprovableQueueIsSettledByTime(t *testing.T) {
	t.Parallel()
	for _, u := range overSSH() {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			m := newProvedMount(t)
			role := m.proved(m.service("root"))
			m.must("roles/r", role)
			before := m.waitUntilProved("r", role, 1)
			expected := m.sim.SSH("556").Fingerprint
			u.spoil(m, role)
			m.sim.ClearJournal()
			require.Equal(t, "accepted", m.must("rotate-role/r", nil).Data["state"])
			s := m.waitForProof("r", "assumed", "cannot_tell")
			for _, reason := range u.reason {
				require.Contains(t, s["last_proof_reason"], reason)
			}
			if u.name == "another host key" {
				require.Contains(t, s["last_proof_reason"], expected)
				require.Contains(t, s["last_proof_reason"], m.sim.SSH("556").Fingerprint)
			}
			require.NotNil(t, s["next_proof_time"])
			require.Zero(t, m.refusedCount(role))
			passwords := slices.DeleteFunc(m.sim.Journal("ssh", "556"), func(e lab.Entry) bool { return e.Result != "ok" && e.Result != "refused" })
			require.Empty(t, passwords, "no password should have been checked")
			d := m.creds("r")
			require.EqualValues(t, 2, versionOf(t, d))
			require.NotEqual(t, before["password"], d["password"])

			u.mend(m, role)
			m.waitFor("r", "a login should work once the budget allows it", func() bool { // those that were cut may have used it up
				answer, results := m.verifies("verify-role", "r")
				return answer["state"] == "active" && maps.Equal(map[string]string{"2": "works"}, tried(results))
			})
			m.waitUntilProved("r", role, 2)
			m.withinBudget(role)
		})
	}
}

// tried returns the results of passwords that were tried.
func tried(results map[string]string) map[string]string {
	out := maps.Clone(results)
	maps.DeleteFunc(out, func(_, result string) bool { return result == "not_tried" })
	return out
}

// atOnceFaults are faults of a login to accounts whose passwords the remote system confirms. They need not be those of overSSH:
// package verify has tests of its own.
func atOnceFaults() map[string][]unprovable {
	login := func(system, operation, name string, f lab.Fault, reason string) unprovable {
		f.System, f.Target, f.Operations = system, "*", []string{operation}
		return unprovable{name: name, reason: []string{reason},
			spoil: func(m *mount, _ data) { require.NoError(m.t, m.sim.SetFault(f)) }, mend: func(m *mount, _ data) { m.clearFaults() }}
	}
	flip := func(system, field string, bad, good any, reason string) unprovable {
		return unprovable{name: field, reason: []string{reason},
			spoil: func(m *mount, _ data) { require.NoError(m.t, m.sim.Switch(system, field, bad)) },
			mend:  func(m *mount, _ data) { require.NoError(m.t, m.sim.Switch(system, field, good)) }}
	}
	authority := unprovable{name: "another CA", reason: []string{"certificate"},
		spoil: func(m *mount, _ data) { m.must("roles/r", data{"verify_ca_cert": otherCA(m.t)}) },
		mend:  func(m *mount, _ data) { m.must("roles/r", data{"verify_ca_cert": ""}) }}
	return map[string][]unprovable{
		"alias": {
			authority, flip("plesk", "alias_api", "denied", "allowed", "(1006)"),
			login("plesk", lab.OpCheck, "a page", lab.Fault{Kind: lab.HTML200}, "not the Plesk API's answer"),
			login("plesk", lab.OpCheck, "no answer", lab.Fault{Kind: lab.Stall}, "in time"),
		},
		"redis": {
			shuts("redis"), login("redis", lab.OpLogin, "hangs", lab.Fault{Kind: lab.Stall}, "in time"),
			login("redis", lab.OpLogin, "loads", lab.Fault{Kind: lab.Busy}, "loading its data"),
		},
		"webcli": {
			login("dcs", lab.OpLogin, "no permission", lab.Fault{Kind: lab.Deny, Variant: "forbidden"}, "dcs:instance:webcli"),
			login("dcs", lab.OpLogin, "cut", lab.Fault{Kind: lab.Cut}, "response"),
		},
	}
}

// The word of the remote system has to do if no login can tell. Status says that the proof is missing, and it is repeated.
func TestUnprovablePasswordIsActiveByAnswer(t *testing.T) {
	t.Parallel()
	for _, k := range proofKinds() {
		for _, u := range atOnceFaults()[k.name] {
			t.Run(u.name+" of "+k.name, func(t *testing.T) {
				t.Parallel()
				m := newProvedMount(t)
				role := m.roleOf(k)
				m.must("roles/r", role)
				first := m.waitUntilProved("r", role, firstVersion(k))
				u.spoil(m, role)
				rotated := m.must("rotate-role/r", nil)
				require.Equal(t, "active", rotated.Data["state"])
				require.Len(t, rotated.Warnings, 1)
				require.Contains(t, rotated.Warnings[0], "No login has proved it: ")
				s := m.read("status/r")
				require.Equal(t, "cannot_tell", s["last_proof_result"])
				require.Contains(t, s["reason"], "The remote system confirmed the password. No login has proved it: ")
				for _, reason := range u.reason {
					require.Contains(t, s["last_proof_reason"], reason)
				}
				require.NotNil(t, s["next_proof_time"])
				require.EqualValues(t, 1, numberOf(t, m.read("status"), "unproved"))
				d := m.creds("r")
				require.Equal(t, "active", d["state"])
				require.NotEqual(t, first["password"], d["password"])
				require.Zero(t, m.refusedCount(role))
				require.Empty(t, m.read("status")["needs_person"])
				u.mend(m, role)
				if u.name != "not reachable" { // the others need not wait for the engine
					m.must("verify-role/r", nil)
				}
				m.waitUntilProved("r", role, firstVersion(k)+1)
				require.EqualValues(t, 0, numberOf(t, m.read("status"), "unproved"))
				require.Zero(t, m.refusedCount(role))
				require.Equal(t, 2, m.changes(role), "nothing is sent again")
				m.nothingLocked()
			})
		}
	}
}
