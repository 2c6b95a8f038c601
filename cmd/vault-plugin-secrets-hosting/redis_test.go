package main

import (
	"context"
	"net"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
)

// Where redis-server is installed, the password opens a real Redis, with the login that DCS documents.
func TestThePasswordOpensARedis(t *testing.T) {
	t.Parallel()
	address, installed := startRedis(t)
	m := mountOn(t, simulator.Config{RedisServer: address})
	if !installed {
		t.Log("redis-server is not installed: the simulated one is opened")
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

// startRedis starts the installed redis-server and returns its address; false: there is none.
func startRedis(t *testing.T) (address string, installed bool) {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return "", false
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // a port that is free
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
