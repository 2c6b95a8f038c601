package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// operations are the five remote operations, the fourth in both its services.
var operations = []string{"mt plesk", "mt root", "alias", "instances", "cloudservers", "account"}

// tryTime is the connections' request_timeout: a try that is held has to last until the last one of all is.
const tryTime = 10 * time.Second

// storing is what it may take a machine whose disk is busy to store that a request is sent: its time has begun then.
const storing = 3 * time.Second

// ownVault is a Vault that a test may kill while others run, and the folder by which it stops the plugin.
func ownVault(t *testing.T) (v *vaulttest.Vault, stops string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hosting") //nolint:usetesting // short, for Unix sockets
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	stops = filepath.Join(dir, "stops")
	require.NoError(t, os.Mkdir(stops, 0o700))
	v, err = vaulttest.Start(t.Context(), binaries.vault, binaries.plugin, filepath.Join(dir, "vault"), failpoint.Variable+"="+stops)
	require.NoError(t, err)
	t.Cleanup(func() {
		err := silence(context.Background(), v) // the mounts' simulators have told what they saw: they ended before
		v.Stop()
		require.NoError(t, err)
	})
	return v, stops
}

// together does something with each at the same time, and ends the test if it failed for one.
func together[T any](t *testing.T, all []T, do func(T)) {
	t.Helper()
	var group sync.WaitGroup
	for _, one := range all {
		group.Go(func() { do(one) })
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// everything is a mount in a Vault of the test's own with a connection for each operation.
func everything(t *testing.T, v *vaulttest.Vault) *mount {
	t.Helper()
	m := mountIn(t, v, simulator.Config{})
	m.must("config/panel", m.panel())
	m.must("config/cloud", m.cloud())
	m.quick()
	m.must("config/mt", m.mt())
	// Few calls at a time are made with one credential, and the tests stop each operation in one.
	m.must("config/metal", with(m.metal(), temporaryKey(m)))
	m.must("config/elastic", m.asUser(m.elastic()))
	m.allow(tryTime)
	return m
}

// allow sets how long a try may take, on every connection.
func (m *mount) allow(timeout time.Duration) {
	m.t.Helper()
	for _, name := range []string{"panel", "cloud", "mt", "metal", "elastic"} {
		m.must("config/"+name, data{"request_timeout": int(timeout.Seconds())})
	}
}

// roleFor is a role for one of the operations.
func (m *mount) roleFor(operation string) data {
	m.t.Helper()
	switch operation {
	case "alias":
		return alias("ops1")
	case "account":
		return m.account("app")
	default:
		return m.staged(operation)
	}
}

// rests tells whether the engine has nothing to do for the role.
func (m *mount) rests(name string) bool {
	m.t.Helper()
	status := m.read("status/" + name)
	return status["next_attempt_time"] == nil && status["state"] != "uncertain" && status["state"] != "accepted"
}

// waitFor waits until it is so, and says how the role stands otherwise.
func (m *mount) waitFor(name, what string, so func() bool) {
	m.t.Helper()
	require.Eventually(m.t, so, waitLong, tick, "%s: %s; status: %v", name, what, lazy{func() string {
		secret, err := m.client().Logical().Read(m.path + "/status/" + name)
		return fmt.Sprint(secret, err)
	}})
}

// settle lets what waits come into force, if anything does, and returns credentials that log in.
func (m *mount) settle(name string, role data) data {
	m.t.Helper()
	m.waitFor(name, "the role should come to rest", func() bool { return m.rests(name) })
	if m.creds(name)["state"] == "restart_required" {
		return m.comes(name, role)
	}
	return m.works(name, role)
}

// kept are all passwords of a role by version.
func (m *mount) kept(name string) map[string]string {
	m.t.Helper()
	list, _ := m.read("history/" + name)["passwords"].([]any)
	kept := map[string]string{}
	for _, entry := range list {
		p, _ := entry.(map[string]any)
		value, _ := p["password"].(string)
		secrets.add("a password of the history", value)
		kept[fmt.Sprint(p["version"])] = value
	}
	return kept
}

// firstSight asserts what a reader may rely on at any moment: the password works, or the state says why not and the
// history has one that does.
func (m *mount) firstSight(name string, role data) string {
	m.t.Helper()
	var state string
	m.waitFor(name, "creds or history should have the password that works", func() bool {
		d := m.creds(name)
		state, _ = d["state"].(string)
		if m.login(role, d["password"]) == nil {
			return true
		}
		if again := m.creds(name); again["state"] != d["state"] || again["password"] != d["password"] {
			return false // it has changed in between
		}
		require.NotContains(m.t, []string{"active", "assumed"}, state, "the role %s gives a password that does not work", name)
		for _, value := range m.kept(name) {
			if m.login(role, value) == nil {
				return true
			}
		}
		return false
	})
	return state
}

// attempts are the requests for changes that the remote system got for a role, in the order in which they came.
func (m *mount) attempts(role data) []lab.Entry {
	system, name := target(role)
	entries := slices.DeleteFunc(m.sim.Journal(system, name), func(e lab.Entry) bool { return e.Nth == 0 })
	slices.SortStableFunc(entries, func(a, b lab.Entry) int { return a.Arrived.Compare(b.Arrived) })
	return entries
}

// inOrder asserts that some time has passed since an unresolved try before another password was sent. How much more the
// margin makes it is asserted where time is not real.
// unresolved tells which tries nobody knows the answer of.
func (m *mount) inOrder(name string, role data, distance time.Duration, unresolved func(nth int, e lab.Entry) bool) {
	m.t.Helper()
	entries := m.attempts(role)
	for i, first := range entries {
		if !unresolved(i, first) {
			continue
		}
		for _, later := range entries[i+1:] {
			if later.Nth != first.Nth {
				require.GreaterOrEqual(m.t, later.Arrived.Sub(first.Arrived), distance,
					"%s: another password was sent while the one before could still be applied", name)
			}
		}
	}
}

// vaultGone tells whether a request failed since Vault or the plugin ended.
func vaultGone(err error) bool { return err != nil && (status(err) < 0 || status(err) >= 500) }

// stopAt lets a role stop at a point of the engine.
func stopAt(t *testing.T, stops, role, point string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(stops, role), []byte(point), 0o600))
}

// stopped tells whether it has.
func stopped(stops, role string) bool {
	_, err := os.Stat(filepath.Join(stops, role+failpoint.Mark))
	return err == nil
}

// dashed makes a name of the operation's.
func dashed(operation string) string { return strings.ReplaceAll(operation, " ", "-") }

// call writes with Vault's client as it is, and tells what came of it when it ends.
func (m *mount) call(ctx context.Context, path string, d data) <-chan error {
	done := make(chan error, 1)
	client := m.retrying()
	go func() {
		_, err := client.Logical().WriteWithContext(ctx, m.path+"/"+path, d)
		done <- err
	}()
	return done
}
