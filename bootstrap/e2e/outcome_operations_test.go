package e2e

import (
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// family is how the password of an operation takes effect.
type family string

const (
	// atOnce: with the answer.
	atOnce family = "at once"
	// withOld: with the answer, if the request presents the present password.
	withOld family = "with the old one"
	// queued: some time after the answer, without a notice.
	queued family = "queued"
	// atRestart: at the next start of each server.
	atRestart family = "at a restart"
)

// operation is one way to change a password on a remote system.
type operation struct {
	name   string
	family family
	// connection returns a connection, role a role on it, other a role for another account. If role has two servers, other
	// has the second of them.
	connection, role, other func(m *mount) data
	// precheck is the class of the request that precedes a change, as the simulator's faults name it; "" if there is none.
	precheck string
	// renewed returns another credential of the connection.
	renewed func(m *mount) data
	// token: the connection logs in for a token.
	token bool
}

// allOperations returns the five operations of the engine, with both APIs for servers and both methods of DCS.
func allOperations() []operation {
	reset := func(account func(*mount) data) func(*mount) data {
		return func(m *mount) data { return with(without(account(m), "password"), data{"rotation_method": "reset"}) }
	}
	app := func(m *mount) data { return m.account("app") }
	report := func(m *mount) data { return m.account("report") }
	service := func(account string) func(*mount) data {
		return func(m *mount) data { return m.service(account) }
	}
	panelKey := func(m *mount) data { return data{"secret_key": m.out.Plesk.SecretKeys[0].Key} }
	apiKey := func(m *mount) data { return data{"api_key": m.out.MediaTemple.Accounts[0].APIKeys[1]} }
	return []operation{
		{name: "plesk", family: atOnce, connection: (*mount).panel, renewed: panelKey,
			role:  func(*mount) data { return alias("ops1") },
			other: func(*mount) data { return alias("ops2") }},
		{name: "dcs modify", family: withOld, connection: (*mount).cloud, role: app, other: report, precheck: lab.OpList, renewed: (*mount).temporaryKey},
		{name: "dcs reset", family: atOnce, connection: (*mount).cloud, role: reset(app), other: reset(report), precheck: lab.OpList, renewed: (*mount).temporaryKey},
		{name: "mt plesk", family: queued, connection: (*mount).mt, role: service("plesk"), other: service("root"), renewed: apiKey},
		{name: "mt root", family: queued, connection: (*mount).mt, role: service("root"), other: service("plesk"), renewed: apiKey},
		{name: "instances", family: atRestart, connection: (*mount).metal, precheck: lab.OpList, renewed: (*mount).temporaryKey,
			role:  func(m *mount) data { return m.instances("metal-1", "metal-2") },
			other: func(m *mount) data { return m.instances("metal-2") }},
		{name: "cloudservers", family: atRestart, connection: (*mount).elastic, precheck: lab.OpCheck, renewed: (*mount).temporaryKey,
			role:  func(m *mount) data { return m.cloudServers("cloud-1", "cloud-2") },
			other: func(m *mount) data { return m.cloudServers("cloud-2") }},
	}
}

// tokenOperations returns the operations of Huawei Cloud with a connection that logs in as a user, for a token.
func tokenOperations() []operation {
	var out []operation
	for _, op := range allOperations() {
		if op.precheck == "" || op.name == "dcs reset" {
			continue
		}
		key := op.connection
		op.name, op.token = op.name+" by token", true
		op.connection = func(m *mount) data { return m.asUser(key(m)) }
		out = append(out, op)
	}
	return out
}

// idleState returns the state that a role has after a successful change, before any restart or confirmation.
func (op operation) idleState() string {
	return map[family]string{atOnce: "active", withOld: "active", queued: "assumed", atRestart: "restart_required"}[op.family]
}

// withOneServer returns the operation for the first of its servers.
func (op operation) withOneServer() operation {
	both := op.role
	op.role = func(m *mount) data {
		role := both(m)
		if ids := servers(role); len(ids) > 0 {
			return with(role, data{"instance_ids": ids[0]})
		}
		return role
	}
	return op
}

// setUp creates the operation's connection and its role "r" with a password in effect and automation disabled. It returns
// the role and the credentials.
func (m *mount) setUp(op operation) (role, before data) {
	m.t.Helper()
	m.speedUp()
	role = op.role(m)
	name, _ := role["connection"].(string)
	m.must("config/"+name, op.connection(m))
	m.must("roles/r", with(role, data{"disable_automated_rotation": true}))
	before = m.putInEffect("r", role)
	m.sim.ClearJournal()
	return role, before
}

// enableAutomation lets the engine retry and resume.
func (m *mount) enableAutomation() {
	m.t.Helper()
	m.must("roles/r", data{"disable_automated_rotation": false})
}

// paused reports whether status says that the role's connection is paused.
func (m *mount) paused(role string) bool {
	m.t.Helper()
	reason, _ := m.read("status/" + role)["reason"].(string)
	return strings.Contains(reason, "has been paused")
}
