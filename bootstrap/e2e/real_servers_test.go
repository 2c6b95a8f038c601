package e2e

import (
	"context"
	"net"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
	"vault-plugin-secrets-hosting/bootstrap/simulator/shell"
)

// Where redis-server is installed, the password logs in to a real Redis in the way that DCS documents.
func TestPasswordLogsInToRedis(t *testing.T) {
	t.Parallel()
	address, installed := startRedis(t)
	m := bareMountIn(t, vault, simulator.Config{RedisServer: address})
	if !installed {
		t.Log("redis-server is not installed: using the simulated one")
		address = m.sim.RedisAddress()
	}
	m.must("config/cloud", m.cloud())
	role := m.account("app")
	m.must("roles/cache", role)
	before := m.creds("cache")["password"].(string)
	require.NoError(t, login.Redis(t.Context(), address, "app", before))
	m.must("rotate-role/cache", nil)
	require.NoError(t, login.Redis(t.Context(), address, "app", m.creds("cache")["password"].(string)))
	var refused *login.RefusedError
	require.ErrorAs(t, login.Redis(t.Context(), address, "app", before), &refused)
}

// Where sshd can be used, root's password logs in to OpenSSH.
func TestPasswordLogsInToSSHD(t *testing.T) {
	t.Parallel()
	m := stagedMount(t, simulator.Config{SSHD: findSSHD(t)})
	for _, operation := range []string{"mt root", "instances", "cloudservers"} {
		name, role := roleName(operation), m.roleFor(operation)
		m.must("roles/"+name, role)
		before := m.putInEffect(name, role)["password"]
		m.must("rotate-role/"+name, nil)
		require.NotEqual(t, before, m.putInEffect(name, role)["password"])
		var refused *login.RefusedError
		require.ErrorAs(t, m.login(role, before), &refused)
	}
}

// findSSHD returns the path of a real sshd for the simulator, or "" if there is none that can be used here: see
// [shell.FindSSHD].
func findSSHD(t testing.TB) string {
	t.Helper()
	sshd, err := shell.FindSSHD(t.Context())
	if err != nil {
		t.Logf("using the simulated SSH server: %v", err)
		return ""
	}
	return sshd
}

// startRedis starts redis-server, if it is installed, and returns its address.
func startRedis(t *testing.T) (address string, installed bool) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return "", false
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // finds a free port
	require.NoError(t, err)
	address = listener.Addr().String()
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	redis := exec.CommandContext(ctx, binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	require.NoError(t, redis.Start())
	t.Cleanup(func() { cancel(); _ = redis.Wait() })
	require.Eventually(t, func() bool {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, waitLong, tick)
	return address, true
}
