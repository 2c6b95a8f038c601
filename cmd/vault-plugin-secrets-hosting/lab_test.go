package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

var mounts atomic.Int32

// mount is one mount of the plugin with remote systems of its own, and the connections "panel" (Plesk, login and
// password) and "cloud" (DCS, access key).
type mount struct {
	t     testing.TB
	vault *vaulttest.Vault
	path  string
	sim   *simulator.Simulator
	out   simulator.Output
	// retries is how often requests that fail are repeated; 0, so that a test sees each answer.
	retries int
}

func newMount(t testing.TB) *mount {
	t.Helper()
	return newMountIn(t, vault)
}

// newMountIn is a mount in a Vault of the test's own.
func newMountIn(t testing.TB, v *vaulttest.Vault) *mount {
	t.Helper()
	m := mountIn(t, v, simulator.Config{})
	m.must("config/panel", m.panel())
	m.must("config/cloud", m.cloud())
	return m
}

// bareMount has no connections yet.
func bareMount(t testing.TB) *mount {
	t.Helper()
	return mountOn(t, simulator.Config{})
}

func mountOn(t testing.TB, config simulator.Config) *mount {
	t.Helper()
	return mountIn(t, vault, config)
}

// mountIn has no connections yet either.
func mountIn(t testing.TB, v *vaulttest.Vault, config simulator.Config) *mount {
	t.Helper()
	sim, err := simulator.Start(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(func() { secrets.addSeen(sim) }) // after the simulator has ended
	t.Cleanup(sim.Close)
	require.NoError(t, sim.Switch("plesk", "alias_api", "allowed"), "so that a test can log in as an additional administrator")
	m := &mount{t: t, vault: v, path: fmt.Sprintf("h%d", mounts.Add(1)), sim: sim, out: sim.Output()}
	require.NoError(t, v.Mount(context.Background(), m.path))
	secrets.add("Plesk's administrator", m.out.Plesk.AdminPassword)
	for _, key := range m.out.HuaweiCloud.AccessKeys {
		secrets.add("a secret key", key.SecretKey)
		secrets.add("a security token", key.SecurityToken)
	}
	for _, user := range m.out.HuaweiCloud.Users {
		secrets.add("an IAM user's password", user.Password)
	}
	for _, account := range m.out.DCS.Instances[0].Accounts {
		secrets.add("an account's first password", account.Password)
	}
	for _, account := range m.out.MediaTemple.Accounts {
		for _, key := range account.APIKeys {
			secrets.add("an API key", key)
		}
		for _, service := range account.Services {
			secrets.add("a service's first root password", service.RootPassword)
			secrets.add("a service's first Plesk password", service.PleskPassword)
		}
	}
	for _, instance := range m.out.ECS.Instances {
		secrets.add("a server's first password", instance.Password)
	}
	for _, server := range m.out.ECS.CloudServers {
		secrets.add("a server's first password", server.Password)
	}
	return m
}

type data = map[string]any

// panel is a connection to Plesk.
func (m *mount) panel() data {
	return data{
		"provider": "plesk", "url": m.out.Plesk.URL, "username": "admin", "password": m.out.Plesk.AdminPassword,
		"ca_cert": m.out.CAPEM, "allowed_roles": "*", "request_timeout": 2,
	}
}

// cloud is a connection to DCS with an access key.
func (m *mount) cloud() data {
	key := m.out.HuaweiCloud.AccessKeys[0]
	return data{
		"provider": "dcs", "url": m.out.DCS.URL, "project_id": m.out.DCS.Instances[0].ProjectID,
		"access_key": key.AccessKey, "secret_key": key.SecretKey,
		"ca_cert": m.out.CAPEM, "allowed_roles": "*", "request_timeout": 2,
	}
}

// alias is a role on Plesk.
func alias(login string) data { return data{"connection": "panel", "login": login} }

// account is a role on DCS, with the account's present password.
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

// target is the simulator's name of a role's account.
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

// fault makes something go wrong with a role's account, unless the fault names another target.
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

func (m *mount) heal() {
	m.t.Helper()
	require.NoError(m.t, m.sim.ClearFaults("", ""))
}

// write returns Vault's answer or error; must fails the test on an error.
func (m *mount) write(path string, d data) (*api.Secret, error) {
	secrets.addGiven(d)
	return m.client().Logical().Write(m.path+"/"+path, d)
}

func (m *mount) must(path string, d data) *api.Secret {
	m.t.Helper()
	secret, err := m.write(path, d)
	require.NoError(m.t, err, "write %s", path)
	return secret
}

// client repeats requests only where the mount says so.
func (m *mount) client() *api.Client {
	client := m.retrying()
	client.SetMaxRetries(m.retries)
	return client
}

// retrying is a client that repeats requests as Vault's own does by default.
func (m *mount) retrying() *api.Client {
	client, err := m.vault.Client.CloneWithHeaders()
	require.NoError(m.t, err)
	client.SetToken(m.vault.Client.Token())
	return client
}

func (m *mount) read(path string) data {
	m.t.Helper()
	secret, err := m.client().Logical().Read(m.path + "/" + path)
	require.NoError(m.t, err, "read %s", path)
	require.NotNil(m.t, secret, "read %s", path)
	secrets.addAnswer(secret.Data)
	return secret.Data
}

// creds reads a role's password. Whatever state the role is in, the answer has to be one that consumers can read.
func (m *mount) creds(role string) data {
	m.t.Helper()
	secret, err := m.client().Logical().Read(m.path + "/creds/" + role)
	require.NoError(m.t, err, "read creds/%s", role)
	require.NotNil(m.t, secret, "read creds/%s", role)
	secrets.addAnswer(secret.Data)
	asConsumersReadIt(m.t, secret)
	return secret.Data
}

// login logs in to the real door of a role's account.
func (m *mount) login(role data, password any) error {
	value, ok := password.(string)
	if !ok {
		return fmt.Errorf("there is no password, but %v", password)
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
				return fmt.Errorf("the server %s: %w", id, err)
			}
		}
		return nil
	}
	return m.sim.LoginRedis(name, value)
}

// works asserts that what Vault hands out logs in, and returns it.
func (m *mount) works(name string, role data) data {
	m.t.Helper()
	d := m.creds(name)
	require.NoError(m.t, m.login(role, d["password"]), "logging in with the password of %s in the state %v", name, d["state"])
	return d
}

// logsIn asserts that what Vault hands out logs in, for a role whose password may be changed between the read and the login, and
// returns it. While a change is open, it may be the next one that does.
func (m *mount) logsIn(name string, role data) data {
	m.t.Helper()
	var d data
	m.waitFor(name, "what creds gives should log in", func() bool {
		d = m.creds(name)
		return m.login(role, d["password"]) == nil || d["next_password"] != nil && m.login(role, d["next_password"]) == nil
	})
	return d
}

// eventually waits until the role is in the state, and returns its credentials.
func (m *mount) eventually(name, state string) data {
	m.t.Helper()
	var d data
	require.Eventually(m.t, func() bool {
		d = m.creds(name)
		return d["state"] == state
	}, 60*time.Second, 20*time.Millisecond, "the role %s should come to the state %s; status: %v", name, state, lazy{func() string {
		return fmt.Sprint(m.read("status/" + name))
	}})
	return d
}

// lazy is only made to text when a test fails.
type lazy struct{ text func() string }

func (l lazy) String() string { return l.text() }

// status is the code of Vault's answer, 200 for none.
func status(err error) int {
	var response *api.ResponseError
	if errors.As(err, &response) {
		return response.StatusCode
	}
	if err != nil {
		return -1
	}
	return 200
}

// message is what Vault's answer says.
func message(err error) string {
	var response *api.ResponseError
	if errors.As(err, &response) {
		return strings.Join(response.Errors, "; ")
	}
	return fmt.Sprint(err)
}

// changes is how many changes the remote system made for a role's account.
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

// calls is how many requests for a change reached the remote system.
func (m *mount) calls(role data) int { return len(m.requests(role)) }

func versionOf(t testing.TB, d data) int64 {
	t.Helper()
	number, ok := d["version"].(json.Number)
	require.True(t, ok, "version should be a number: %v", d["version"])
	n, err := number.Int64()
	require.NoError(t, err)
	return n
}

// How long conditions are waited for, and how often they are looked at.
const (
	waitLong  = 60 * time.Second
	waitShort = 500 * time.Millisecond // for what should not happen; the engine's first retry comes after a quarter second
	tick      = 20 * time.Millisecond
)

func text(d data) string { return fmt.Sprint(d) }

// nothingLocked asserts that no key and no account was ever locked by too many wrong tries.
func (m *mount) nothingLocked() {
	m.t.Helper()
	for _, key := range m.sim.AccessKeys() {
		require.Zero(m.t, key.Locks, "a key was locked")
	}
	for _, a := range m.out.DCS.Instances[0].Accounts {
		require.Zero(m.t, m.sim.DCS(m.out.DCS.Instances[0].ID+"/"+a.ID).Locks, "the account %s was locked", a.Name)
	}
	for _, login := range []string{"admin", "ops1", "ops2"} {
		require.Zero(m.t, m.sim.Plesk(login).Locks, "the login %s was locked", login)
	}
}
