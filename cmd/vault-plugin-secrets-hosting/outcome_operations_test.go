package main

import (
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// family is how the password of an operation comes into force.
type family string

const (
	// atOnce: with the answer.
	atOnce family = "at once"
	// withOld: with the answer, for who presents the present password.
	withOld family = "with the old one"
	// queued: some time after the answer, and nobody says when.
	queued family = "queued"
	// atRestart: at the next start of each server.
	atRestart family = "at a restart"
)

// operation is one way to change a password on a remote system.
type operation struct {
	name   string
	family family
	// connection is a config, role a role on it, and other one for another account: of a role for two servers, the second.
	connection, role, other func(m *mount) data
	// looks is what is asked of the remote system before the change, as the simulator's faults name it; "": nothing is.
	looks string
	// renewed is another credential of the connection.
	renewed func(m *mount) data
	// token: the connection logs in for a token.
	token bool
}

// everyOperation is the five that the engine is for, with both APIs for servers and the second way of DCS.
func everyOperation() []operation {
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
		{name: "dcs modify", family: withOld, connection: (*mount).cloud, role: app, other: report, looks: lab.OpList, renewed: temporaryKey},
		{name: "dcs reset", family: atOnce, connection: (*mount).cloud, role: reset(app), other: reset(report), looks: lab.OpList, renewed: temporaryKey},
		{name: "mt plesk", family: queued, connection: (*mount).mt, role: service("plesk"), other: service("root"), renewed: apiKey},
		{name: "mt root", family: queued, connection: (*mount).mt, role: service("root"), other: service("plesk"), renewed: apiKey},
		{name: "instances", family: atRestart, connection: (*mount).metal, looks: lab.OpList, renewed: temporaryKey,
			role:  func(m *mount) data { return m.instances("metal-1", "metal-2") },
			other: func(m *mount) data { return m.instances("metal-2") }},
		{name: "cloudservers", family: atRestart, connection: (*mount).elastic, looks: lab.OpCheck, renewed: temporaryKey,
			role:  func(m *mount) data { return m.cloudServers("cloud-1", "cloud-2") },
			other: func(m *mount) data { return m.cloudServers("cloud-2") }},
	}
}

// byToken are the operations of the cloud whose connection logs in as a user, for a token.
func byToken() []operation {
	var out []operation
	for _, op := range everyOperation() {
		if op.looks == "" || op.name == "dcs reset" {
			continue
		}
		key := op.connection
		op.name, op.token = op.name+" by token", true
		op.connection = func(m *mount) data { return m.asUser(key(m)) }
		out = append(out, op)
	}
	return out
}

// asUser is a connection of the cloud that logs in as a user, for a token.
func (m *mount) asUser(connection data) data {
	user := m.out.HuaweiCloud.Users[0]
	return with(without(connection, "access_key", "secret_key"), data{
		"username": user.Name, "password": user.Password, "domain_name": m.out.HuaweiCloud.DomainName, "iam_url": m.out.HuaweiCloud.IAMURL,
	})
}

// rest is the state in which a role comes to rest after a change that went well, if nobody does anything.
func (op operation) rest() string {
	return map[family]string{atOnce: "active", withOld: "active", queued: "assumed", atRestart: "restart_required"}[op.family]
}

// alone is the operation for one server, where it is for two.
func (op operation) alone() operation {
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

func temporaryKey(m *mount) data {
	key := m.out.HuaweiCloud.AccessKeys[1]
	return data{"access_key": key.AccessKey, "secret_key": key.SecretKey, "security_token": key.SecurityToken}
}

// begin makes the operation's connection and its role, whose first password is in force and which waits for a word before
// it does anything by itself. It returns the role and the credentials.
func (m *mount) begin(op operation) (role, before data) {
	m.t.Helper()
	m.quick()
	role = op.role(m)
	name, _ := role["connection"].(string)
	m.must("config/"+name, op.connection(m))
	m.must("roles/r", with(role, data{"disable_automated_rotation": true}))
	before = m.comes("r", role)
	m.sim.ClearJournal()
	return role, before
}

// goOn lets the engine go on by itself.
func (m *mount) goOn() {
	m.t.Helper()
	m.must("roles/r", data{"disable_automated_rotation": false})
}

// requests are the journal's entries of the requests for a change of a role's account.
func (m *mount) requests(role data) []lab.Entry {
	system, name := target(role)
	return slices.DeleteFunc(m.sim.Journal(system, name), func(e lab.Entry) bool { return !changing(e.Operation) })
}

func changing(operation string) bool {
	return slices.Contains([]string{"set-admin-alias", "modify", "reset", "rootPassword", "pleskPassword", "ChangeInstancePassword", "BatchResetServersPassword"}, operation)
}

// paused tells whether status says that the role's connection is paused.
func (m *mount) paused(role string) bool {
	m.t.Helper()
	reason, _ := m.read("status/" + role)["reason"].(string)
	return strings.Contains(reason, "is paused")
}
