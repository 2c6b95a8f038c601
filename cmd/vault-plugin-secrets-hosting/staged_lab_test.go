package main

import (
	"strings"

	"github.com/stretchr/testify/require"
)

// The three operations whose change is not in force when the answer comes. The second API for servers stands beside them.
var stagedOperations = []string{"mt plesk", "mt root", "instances", "cloudservers"}

// settleAfter is the connections' settle_after, in seconds; the simulated jobs take jobMS.
const (
	settleAfter = 1
	jobMS       = 150
)

// newStagedMount has the connections "mt", "metal" (CloudDC) and "elastic" (Elastic Cloud Server).
func newStagedMount(m *mount) *mount {
	m.t.Helper()
	m.quick()
	m.must("config/mt", m.mt())
	m.must("config/metal", m.metal())
	m.must("config/elastic", m.elastic())
	return m
}

// quick lets the remote systems take less time for what they do later.
func (m *mount) quick() {
	m.t.Helper()
	require.NoError(m.t, m.sim.Switch("mediatemple", "job_ms", jobMS))
	require.NoError(m.t, m.sim.Switch("ecs", "restart_ms", 0))
}

// mt is a connection to Media Temple.
func (m *mount) mt() data {
	return data{
		"provider": "mediatemple", "url": m.out.MediaTemple.URL, "api_key": m.out.MediaTemple.Accounts[0].APIKeys[0],
		"settle_after": settleAfter, "ca_cert": m.out.CAPEM, "allowed_roles": "*", "request_timeout": 2,
	}
}

// metal is a connection to CloudDC, elastic one to Elastic Cloud Server.
func (m *mount) metal() data {
	return with(m.cloud(), data{"provider": "ecs", "url": m.out.ECS.CloudDCURL, "project_id": m.out.ECS.Instances[0].ProjectID})
}

func (m *mount) elastic() data {
	return with(m.metal(), data{"api": "cloudservers", "url": m.out.ECS.URL})
}

// service is a role for an account of Media Temple's first service, which has a Plesk.
func (m *mount) service(account string) data {
	return data{"connection": "mt", "service_id": "556", "account": account}
}

// staged is a role for one of the staged operations.
func (m *mount) staged(operation string) data {
	m.t.Helper()
	switch operation {
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

// servers are the ids of a role for servers.
func servers(role data) []string {
	ids, _ := role["instance_ids"].(string)
	if ids == "" {
		return nil
	}
	return strings.Split(ids, ",")
}

// restart restarts the servers.
func (m *mount) restart(ids ...string) {
	m.t.Helper()
	for _, id := range ids {
		require.NoError(m.t, m.sim.Restart("ecs", id))
	}
}

// comes lets the password that waits come into force, by time or by a restart and a person's word, and returns the
// credentials. Before that, the one handed out is the one that works.
func (m *mount) comes(name string, role data) data {
	m.t.Helper()
	ids := servers(role)
	if len(ids) == 0 {
		state := "assumed"
		if role["connection"] != "mt" {
			state = "active"
		}
		m.eventually(name, state)
		return m.works(name, role)
	}
	d := m.eventually(name, "restart_required")
	next := d["next_password"]
	if next == nil { // the first one: nothing else is known
		next = d["password"]
	} else {
		require.NoError(m.t, m.login(role, d["password"]), "until the restart the one before is in force")
		require.Error(m.t, m.login(role, next))
	}
	m.restart(ids...)
	require.NoError(m.t, m.login(role, next))
	m.must("confirm-role/"+name, data{"version": m.read("status/" + name)["next_version"]})
	d = m.works(name, role)
	require.Equal(m.t, "assumed", d["state"])
	require.Equal(m.t, next, d["password"])
	return d
}
