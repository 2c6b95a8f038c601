package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// restartMS is how long a simulated restart takes.
const restartMS = 600

// budgetWindow is the 15 minutes in which at most two logins may be refused, in the plugin for tests, less what a login may be
// late.
const budgetWindow = 15*time.Minute/20 - time.Second

// proofKind is one way to prove a password.
type proofKind struct {
	name, operation string
	// more are fields of the role, in addition to those of the operation.
	more data
	// switches are set before.
	switches map[string]any
}

// proofKinds returns each way to prove a password of each operation.
func proofKinds() []proofKind {
	kind := func(name, operation string, more data) proofKind {
		return proofKind{name: name, operation: operation, more: more}
	}
	unseen := kind("instances, reboot not seen", "one instance", data{"restart": "soft"})
	unseen.switches = map[string]any{"reboot_power": "on"}
	return []proofKind{
		kind("alias", "alias", nil),
		kind("mt root", "mt root", nil),
		kind("mt plesk", "mt plesk", nil),
		kind("instances, soft", "instances", data{"restart": "soft"}),
		kind("instances, hard", "instances", data{"restart": "hard"}),
		unseen,
		kind("cloudservers, soft", "cloudservers", data{"restart": "soft"}),
		kind("cloudservers, hard", "cloudservers", data{"restart": "hard"}),
		kind("redis", "account", nil),
		kind("webcli", "account", data{"verify": "webcli"}),
		kind("redis, reset", "account", data{"rotation_method": "reset"}),
	}
}

// someKinds returns those with these names.
func someKinds(names ...string) []proofKind {
	return slices.DeleteFunc(proofKinds(), func(k proofKind) bool { return !slices.Contains(names, k.name) })
}

// newProvedMount returns a mount with a connection for each operation. They allow logins to loopback, and restarts.
func newProvedMount(t testing.TB) *mount {
	t.Helper()
	return provedMountIn(t, vault, simulator.Config{})
}

func provedMountIn(t testing.TB, v *vaulttest.Vault, config simulator.Config) *mount {
	t.Helper()
	m := bareMountIn(t, v, config)
	m.speedUp()
	require.NoError(t, m.sim.Switch("ecs", "restart_ms", restartMS))
	m.connect()
	return m
}

// connect writes the connections.
func (m *mount) connect() {
	m.t.Helper()
	allowed := data{"allowed_verify_addresses": "127.0.0.0/8"}
	restarts := with(allowed, data{"allow_restart": true})
	m.must("config/panel", with(m.panel(), allowed))
	m.must("config/cloud", with(m.cloud(), allowed))
	m.must("config/mt", with(m.mt(), allowed))
	m.must("config/metal", with(m.metal(), restarts))
	m.must("config/elastic", with(m.elastic(), restarts))
}

// roleOf returns the role of a kind, and sets its switches.
func (m *mount) roleOf(k proofKind) data {
	m.t.Helper()
	role := m.instances("metal-1")
	if k.operation != "one instance" {
		role = m.roleFor(k.operation)
	}
	if k.more["rotation_method"] == "reset" {
		role = without(role, "password")
	}
	system, _ := target(role)
	for name, value := range k.switches {
		require.NoError(m.t, m.sim.Switch(system, name, value))
	}
	return m.proved(with(role, k.more))
}

// proved returns a role whose password is proved by a login.
func (m *mount) proved(role data) data {
	m.t.Helper()
	_, isAlias := role["login"]
	service, _ := role["service_id"].(string)
	switch ids := servers(role); {
	case isAlias:
		return with(role, data{"verify": "plesk"})
	case service != "" && role["account"] == "plesk":
		return with(role, data{
			"verify": "plesk", "verify_address": strings.TrimPrefix(m.sim.MediaTemplePanel(service), "https://"), "verify_ca_cert": m.out.CAPEM,
		})
	case service != "":
		return with(role, data{"verify": "ssh", "verify_address": m.sim.MediaTempleSSH(service), "verify_host_key": m.sim.HostKey(service)})
	case len(ids) > 0:
		var addresses, keys []string
		for _, id := range ids {
			addresses = append(addresses, id+"="+m.sim.SSHAddress(id))
			keys = append(keys, id+"="+m.sim.HostKey(id))
		}
		return with(role, data{"verify": "ssh", "verify_address": addresses, "verify_host_key": keys})
	case role["verify"] == "webcli":
		return role
	default:
		return with(role, data{"verify": "redis", "verify_address": m.sim.RedisAddress(), "verify_tls": false})
	}
}

// refusedLogins returns when logins of a role's account were refused: of several servers, at the one with the most. The test's
// own logins count too, except those over SSH.
func (m *mount) refusedLogins(role data) lab.Refusals {
	m.t.Helper()
	service, _ := role["service_id"].(string)
	switch ids := servers(role); {
	case role["login"] != nil:
		return m.sim.PleskSenders()
	case service != "" && role["account"] == "plesk":
		return m.sim.Panel(service).Fail2Ban
	case service != "":
		return m.sim.SSH(service).Fail2Ban
	case len(ids) > 0:
		return slices.MaxFunc(m.refusedBy(ids), func(a, b lab.Refusals) int { return len(a.Times) - len(b.Times) })
	default:
		_, name := target(role)
		return m.sim.DCSRefusals(name)
	}
}

// refusedBy returns the logins that servers refused.
func (m *mount) refusedBy(ids []string) []lab.Refusals {
	out := make([]lab.Refusals, 0, len(ids))
	for _, id := range ids {
		out = append(out, m.sim.SSH(id).Fail2Ban)
	}
	return out
}

// refusedCount is how many logins of a role's account were refused.
func (m *mount) refusedCount(role data) int {
	m.t.Helper()
	return len(m.refusedLogins(role).Times)
}

// withinBudget asserts that no more logins of a role's account were refused than the engine allows itself.
func (m *mount) withinBudget(role data) {
	m.t.Helper()
	all := m.refusedLogins(role)
	require.LessOrEqual(m.t, all.MostWithin(budgetWindow), 2, "refused logins of one account: %v", all.Times)
	require.Zero(m.t, all.Bans)
}

// waitForProof waits until the role is in the state, and its last login had this result. It reads only status, which
// triggers nothing. It returns the status.
func (m *mount) waitForProof(name, state, result string) data {
	m.t.Helper()
	var d data
	m.waitFor(name, "the state should become "+state+" with a login that "+result, func() bool {
		d = m.read("status/" + name)
		return d["state"] == state && d["last_proof_result"] == result
	})
	return d
}

// waitUntilProved waits until a login has proved the password of this version, and returns the credentials, which log in.
func (m *mount) waitUntilProved(name string, role data, version int64) data {
	m.t.Helper()
	m.waitFor(name, "a login should prove the password", func() bool {
		d := m.read("status/" + name)
		return d["state"] == "active" && d["version"] != nil && versionOf(m.t, d) == version && d["last_proof_result"] == "works"
	})
	require.Contains(m.t, m.read("status/" + name)["reason"], "A login has proved the password.")
	d := m.workingCreds(name, role)
	require.Equal(m.t, "active", d["state"])
	require.NotContains(m.t, d, "next_password")
	return d
}

// verifies writes verify-role or recover-role, and returns the answer and the results by version; for several servers, by
// version and server.
func (m *mount) verifies(path, name string) (answer data, results map[string]string) {
	m.t.Helper()
	secret := m.must(path+"/"+name, nil)
	results = map[string]string{}
	list, _ := secret.Data["proofs"].([]any)
	for _, entry := range list {
		one, ok := entry.(data)
		require.True(m.t, ok)
		key := text(data{"": one["version"]})
		key = strings.Trim(strings.TrimPrefix(key, "map["), ":]")
		if server, ok := one["server"].(string); ok {
			key += " " + server
		}
		results[key], _ = one["result"].(string)
	}
	return secret.Data, results
}

// restarted asserts how often the API was asked to restart each server of a role. A hard restart of an instance takes two
// requests.
func (m *mount) restarted(role data, times int) {
	m.t.Helper()
	if role["connection"] == "metal" && role["restart"] == "hard" {
		times *= 2
	}
	for _, id := range servers(role) {
		require.Equal(m.t, times, m.sim.ECS(id).PowerActions, "power actions of server %s", id)
	}
}

// adopted returns a role that takes the account over with its present password, whose version is then 1.
func (m *mount) adopted(role data) data {
	m.t.Helper()
	password := ""
	_, name := target(role)
	for _, instance := range m.out.ECS.Instances {
		if instance.ID == name {
			password = instance.Password
		}
	}
	for _, server := range m.out.ECS.CloudServers {
		if server.ID == name {
			password = server.Password
		}
	}
	for _, a := range m.out.Plesk.Aliases {
		if a.Login == name {
			password = a.Password
		}
	}
	switch service := m.out.MediaTemple.Accounts[0].Services[0]; name {
	case fmt.Sprintf("%d/root", service.ID):
		password = service.RootPassword
	case fmt.Sprintf("%d/plesk", service.ID):
		password = service.PleskPassword
	}
	if given, ok := role["password"].(string); ok {
		password = given
	}
	require.NotEmpty(m.t, password)
	for _, id := range servers(role) { // they have one password then
		require.NoError(m.t, m.sim.SetPassword("ecs", id, password))
	}
	return with(role, data{"skip_initial_rotation": true, "password": password})
}

// otherCA returns the certificate of a CA that no server has.
func otherCA(t testing.TB) string {
	t.Helper()
	authority, err := lab.NewAuthority()
	require.NoError(t, err)
	return string(authority.PEM)
}
