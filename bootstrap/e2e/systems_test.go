package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// The remote operations, by how a new password takes effect: at once, some time after it was queued, at the next start of
// the server.
var (
	immediateOperations = []string{"alias", "account"}
	queuedOperations    = []string{"mt plesk", "mt root"}
	serverOperations    = []string{"instances", "cloudservers"}
	stagedOperations    = slices.Concat(queuedOperations, serverOperations)
	operations          = slices.Concat(stagedOperations, immediateOperations)
)

// roleName returns a name for a role of an operation.
func roleName(operation string) string { return strings.ReplaceAll(operation, " ", "-") }

// settleAfter is the connections' settle_after in seconds. A simulated job takes jobMS.
const (
	settleAfter = 1
	jobMS       = 150
)

// newStagedMount returns a mount with the connections "mt", "metal" (CloudDC) and "elastic" (Elastic Cloud Server).
func newStagedMount(t testing.TB) *mount {
	t.Helper()
	return stagedMount(t, simulator.Config{})
}

func stagedMount(t testing.TB, config simulator.Config) *mount {
	t.Helper()
	m := bareMountIn(t, vault, config)
	m.speedUp()
	m.must("config/mt", m.mt())
	m.must("config/metal", m.metal())
	m.must("config/elastic", m.elastic())
	return m
}

// speedUp shortens what the remote systems do after their answer.
func (m *mount) speedUp() {
	m.t.Helper()
	require.NoError(m.t, m.sim.Switch("mediatemple", "job_ms", jobMS))
	require.NoError(m.t, m.sim.Switch("ecs", "restart_ms", 0))
}

// panel returns a connection to Plesk.
func (m *mount) panel() data {
	return data{
		"provider": "plesk", "url": m.out.Plesk.URL, "username": "admin", "password": m.out.Plesk.AdminPassword,
		"ca_cert": m.out.CAPEM, "allowed_roles": "*", "request_timeout": 2,
	}
}

// cloud returns a connection to DCS with an access key.
func (m *mount) cloud() data {
	key := m.out.HuaweiCloud.AccessKeys[0]
	return data{
		"provider": "dcs", "url": m.out.DCS.URL, "project_id": m.out.DCS.Instances[0].ProjectID,
		"access_key": key.AccessKey, "secret_key": key.SecretKey,
		"ca_cert": m.out.CAPEM, "allowed_roles": "*", "request_timeout": 2,
	}
}

// asUser returns a Huawei Cloud connection that logs in as a user, for a token.
func (m *mount) asUser(connection data) data {
	user := m.out.HuaweiCloud.Users[0]
	return with(without(connection, "access_key", "secret_key"), data{
		"username": user.Name, "password": user.Password, "domain_name": m.out.HuaweiCloud.DomainName, "iam_url": m.out.HuaweiCloud.IAMURL,
	})
}

// temporaryKey returns the fields of a temporary access key of Huawei Cloud.
func (m *mount) temporaryKey() data {
	key := m.out.HuaweiCloud.AccessKeys[1]
	return data{"access_key": key.AccessKey, "secret_key": key.SecretKey, "security_token": key.SecurityToken}
}

// mt returns a connection to Media Temple.
func (m *mount) mt() data {
	return data{
		"provider": "mediatemple", "url": m.out.MediaTemple.URL, "api_key": m.out.MediaTemple.Accounts[0].APIKeys[0],
		"settle_after": settleAfter, "ca_cert": m.out.CAPEM, "allowed_roles": "*", "request_timeout": 2,
	}
}

// metal returns a connection to CloudDC.
func (m *mount) metal() data {
	return with(m.cloud(), data{"provider": "ecs", "url": m.out.ECS.CloudDCURL, "project_id": m.out.ECS.Instances[0].ProjectID})
}

// elastic returns a connection to Elastic Cloud Server.
func (m *mount) elastic() data {
	return with(m.metal(), data{"api": "cloudservers", "url": m.out.ECS.URL})
}

// roleFor returns a role for an operation.
func (m *mount) roleFor(operation string) data {
	m.t.Helper()
	switch operation {
	case "alias":
		return alias("ops1")
	case "account":
		return m.account("app")
	case "mt plesk":
		return m.service("plesk")
	case "mt root":
		return m.service("root")
	case "instances":
		return m.instances("metal-1", "metal-2")
	default:
		return m.cloudServers("cloud-1", "cloud-2")
	}
}

// alias returns a role for an additional administrator of Plesk.
func alias(login string) data { return data{"connection": "panel", "login": login} }

// account returns a role for a DCS account, with its present password.
func (m *mount) account(name string) data {
	instance := m.out.DCS.Instances[0]
	for _, a := range instance.Accounts {
		if a.Name == name {
			return data{
				"connection": "cloud", "instance_id": instance.ID, "account_id": a.ID, "username": name, "password": a.Password,
			}
		}
	}
	m.t.Fatalf("the simulator has no account %q", name)
	return nil
}

// service returns a role for an account of Media Temple's first service, which has a Plesk.
func (m *mount) service(account string) data {
	return data{"connection": "mt", "service_id": "556", "account": account}
}

// instances returns a role for servers of CloudDC.
func (m *mount) instances(names ...string) data {
	m.t.Helper()
	var ids []string
	for _, name := range names {
		for _, instance := range m.out.ECS.Instances {
			if instance.Name == name {
				ids = append(ids, instance.ID)
			}
		}
	}
	require.Len(m.t, ids, len(names))
	return data{"connection": "metal", "instance_ids": strings.Join(ids, ",")}
}

// cloudServers returns a role for servers of Elastic Cloud Server.
func (m *mount) cloudServers(names ...string) data {
	m.t.Helper()
	var ids []string
	for _, name := range names {
		for _, server := range m.out.ECS.CloudServers {
			if server.Name == name {
				ids = append(ids, server.ID)
			}
		}
	}
	require.Len(m.t, ids, len(names))
	return data{"connection": "elastic", "instance_ids": strings.Join(ids, ",")}
}

// servers returns the ids of a role's servers; none for other roles.
func servers(role data) []string {
	ids, _ := role["instance_ids"].(string)
	if ids == "" {
		return nil
	}
	return strings.Split(ids, ",")
}

// restart restarts servers.
func (m *mount) restart(ids ...string) {
	m.t.Helper()
	for _, id := range ids {
		require.NoError(m.t, m.sim.Restart("ecs", id))
	}
}

// target returns the simulator's names for a role's account; for several servers, those of the first.
func target(role data) (system, name string) {
	if login, ok := role["login"].(string); ok {
		return "plesk", login
	}
	if service, ok := role["service_id"]; ok {
		return "mediatemple", fmt.Sprintf("%v/%s", service, role["account"])
	}
	if ids := servers(role); len(ids) > 0 {
		return "ecs", ids[0]
	}
	return "dcs", fmt.Sprintf("%s/%s", role["instance_id"], role["account_id"])
}

// fault injects a fault for a role's account, unless the fault names another target.
func (m *mount) fault(role data, f lab.Fault) {
	m.t.Helper()
	system, name := target(role)
	if f.System == "" {
		f.System = system
	}
	if f.Target == "" {
		f.Target = name
	}
	if f.Kind == lab.Unreachable {
		f.Target = "*"
	}
	require.NoError(m.t, m.sim.SetFault(f))
}

func (m *mount) clearFaults() {
	m.t.Helper()
	require.NoError(m.t, m.sim.ClearFaults("", ""))
}

// hangRotation rotates a role whose remote system gets the request and answers it when release is called.
func (m *mount) hangRotation(name string, role data) (release func()) {
	m.t.Helper()
	m.fault(role, lab.Fault{Kind: lab.Hold})
	answer := m.writeAsync(m.t.Context(), "rotate-role/"+name, nil)
	require.Eventually(m.t, func() bool { return m.sim.Faults()[0].Holding > 0 }, waitLong, tick)
	return func() {
		m.clearFaults()
		if err := <-answer; err != nil {
			m.t.Error(err)
		}
	}
}

// login logs in to the account of a role; of several servers, to each.
func (m *mount) login(role data, password any) error {
	value, ok := password.(string)
	if !ok {
		return fmt.Errorf("the password is no string: %v", password)
	}
	if login, ok := role["login"].(string); ok {
		return m.sim.LoginPlesk(login, value)
	}
	if service, ok := role["service_id"].(string); ok {
		if role["account"] == "plesk" {
			return m.sim.LoginPanel(service, value)
		}
		return m.sim.LoginSSH(m.sim.MediaTempleSSH(service), "root", value)
	}
	name, _ := role["username"].(string)
	if ids := servers(role); len(ids) > 0 {
		if name == "" {
			name = "root"
		}
		for _, id := range ids {
			if err := m.sim.LoginSSH(m.sim.SSHAddress(id), name, value); err != nil {
				return fmt.Errorf("server %s: %w", id, err)
			}
		}
		return nil
	}
	return m.sim.LoginRedis(name, value)
}

// workingCreds reads a role's credentials, asserts that they log in, and returns them.
func (m *mount) workingCreds(name string, role data) data {
	m.t.Helper()
	d := m.creds(name)
	require.NoError(m.t, m.login(role, d["password"]), "the password of %s should log in; state %v", name, d["state"])
	return d
}

// waitForWorkingCreds is workingCreds for a role whose password may change between the read and the login. While a change
// is open, next_password may be the one that works. It tries no answer twice, because refused logins lock an account.
func (m *mount) waitForWorkingCreds(name string, role data) data {
	m.t.Helper()
	var d data
	tried := map[string]bool{}
	works := func(field string) bool {
		attempt := fmt.Sprint(field, d["state"], d[field])
		if d[field] == nil || tried[attempt] {
			return false
		}
		tried[attempt] = true
		return m.login(role, d[field]) == nil
	}
	m.waitFor(name, "the credentials should log in", func() bool {
		d = m.creds(name)
		return works("password") || works("next_password")
	})
	return d
}

// putInEffect waits until the new password is in effect, after a restart and a confirmation where it needs them, and
// returns the credentials. Until then, the password handed out is the one that works.
func (m *mount) putInEffect(name string, role data) data {
	m.t.Helper()
	ids := servers(role)
	if len(ids) == 0 {
		state := "assumed"
		if role["connection"] != "mt" {
			state = "active"
		}
		m.waitForState(name, state)
		return m.workingCreds(name, role)
	}
	d := m.waitForState(name, "restart_required")
	next := d["next_password"]
	if next == nil { // the first password: no other is known
		next = d["password"]
	} else {
		require.NoError(m.t, m.login(role, d["password"]), "the previous password works until the restart")
		require.Error(m.t, m.login(role, next))
	}
	m.restart(ids...)
	require.NoError(m.t, m.login(role, next))
	m.must("confirm-role/"+name, data{"version": m.read("status/" + name)["next_version"]})
	d = m.workingCreds(name, role)
	require.Equal(m.t, "assumed", d["state"])
	require.Equal(m.t, next, d["password"])
	return d
}

// settle waits until the role is idle, puts a staged password in effect, and returns the credentials, which log in.
func (m *mount) settle(name string, role data) data {
	m.t.Helper()
	m.waitFor(name, "the role should become idle", func() bool { return m.idle(name) })
	if m.creds(name)["state"] == "restart_required" {
		return m.putInEffect(name, role)
	}
	return m.workingCreds(name, role)
}

// requests returns the requests for a change of a role's account, in the order in which they were served.
func (m *mount) requests(role data) []lab.Entry {
	system, name := target(role)
	return slices.DeleteFunc(m.sim.Journal(system, name), func(e lab.Entry) bool { return e.Nth == 0 })
}

// requestsByArrival returns the same in the order in which they arrived.
func (m *mount) requestsByArrival(role data) []lab.Entry {
	all := m.requests(role)
	slices.SortStableFunc(all, func(a, b lab.Entry) int { return a.Arrived.Compare(b.Arrived) })
	return all
}

// calls returns how many requests for a change reached the remote system.
func (m *mount) calls(role data) int { return len(m.requests(role)) }

// changes returns how many changes the remote system made.
func (m *mount) changes(role data) int {
	system, name := target(role)
	n := 0
	for _, entry := range m.sim.Journal(system, name) {
		if entry.Applied {
			n++
		}
	}
	return n
}

// oneChangeAtATime asserts that the changes of a role's account never overlapped.
func (m *mount) oneChangeAtATime(role data) {
	m.t.Helper()
	system, name := target(role)
	require.Equal(m.t, 1, m.sim.MaxConcurrentChanges(system, name), "changes of %s at the same time", name)
}

// nothingLocked asserts that the remote systems have locked neither an access key nor an account.
func (m *mount) nothingLocked() {
	m.t.Helper()
	for _, key := range m.sim.AccessKeys() {
		require.Zero(m.t, key.Locks, "an access key was locked")
	}
	for _, a := range m.out.DCS.Instances[0].Accounts {
		require.Zero(m.t, m.sim.DCS(m.out.DCS.Instances[0].ID+"/"+a.ID).Locks, "the account %s was locked", a.Name)
	}
	for _, login := range []string{"admin", "ops1", "ops2"} {
		require.Zero(m.t, m.sim.Plesk(login).Locks, "the login %s was locked", login)
	}
}
