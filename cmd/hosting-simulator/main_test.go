package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/bootstrap/simulator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a bytes.Buffer that is safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// command runs a command line and returns its exit code and output.
func command(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestSimulatorRunsUntilInterrupted(t *testing.T) {
	directory := t.TempDir()
	outFile, caFile, stateFile := filepath.Join(directory, "out.json"), filepath.Join(directory, "ca.pem"), filepath.Join(directory, "state.json")
	require.NoError(t, os.WriteFile(stateFile, []byte(`{"plesk":{"admin_password":"given-by-state"}}`), 0o600))
	require.NoError(t, os.WriteFile(outFile, []byte("old"), 0o644))
	ctx, interrupt := context.WithCancel(t.Context())
	var stdout, stderr buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"-out", outFile, "-ca-file", caFile, "-state", stateFile}, strings.NewReader(""), &stdout, &stderr)
	}()
	defer func() {
		interrupt()
		assert.Zero(t, <-ended, stderr.String())
	}()
	require.Eventually(t, func() bool { return strings.HasSuffix(stdout.String(), "ready\n") }, 20*time.Second, 10*time.Millisecond)

	info, err := os.Stat(outFile)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	data, err := os.ReadFile(outFile)
	require.NoError(t, err)
	var out simulator.Output
	require.NoError(t, json.Unmarshal(data, &out))
	assert.Equal(t, caFile, out.CAFile)
	assert.Equal(t, "given-by-state", out.Plesk.AdminPassword)
	assert.Contains(t, stdout.String(), out.ControlURL)

	plesk := []string{"login", "plesk", "-url", out.Plesk.URL, "-ca-file", caFile, "-username", "admin"}
	code, said, _ := command(t, "given-by-state\n", plesk...)
	assert.Zero(t, code)
	assert.Equal(t, "login works\n", said)
	code, said, _ = command(t, "wrong\n", plesk...)
	assert.Equal(t, 1, code)
	assert.Equal(t, "login refused: 1001\n", said)

	assert.Contains(t, stdout.String(), "\nmediatemple "+out.MediaTemple.URL+"\n")
	assert.Contains(t, stdout.String(), "\nclouddc  "+out.ECS.CloudDCURL+"\necs      "+out.ECS.URL+"\n")
	host := out.Hosts[slices.IndexFunc(out.Hosts, func(h simulator.Host) bool { return h.ID == "556" })]
	assert.Contains(t, stdout.String(), "\nssh      mediatemple 556 "+host.SSHAddress+"\nhostkey  556 "+host.HostKey+" "+host.Fingerprint+"\npanel    556 "+host.PanelURL+"\nssh ")
	assert.Contains(t, stdout.String(), "\nssh      ecs "+out.ECS.Instances[0].ID+" "+out.Hosts[0].SSHAddress+"\n")
	ssh := []string{"login", "ssh", "-addr", host.SSHAddress, "-username", "root", "-host-key", host.HostKey + " " + host.Fingerprint}
	code, said, _ = command(t, out.MediaTemple.Accounts[0].Services[0].RootPassword, ssh...)
	assert.Zero(t, code)
	assert.Equal(t, "login works\n", said)
	code, said, _ = command(t, "wrong", ssh...)
	assert.Equal(t, 1, code)
	assert.Equal(t, "login refused: password\n", said)

	instance := out.DCS.Instances[0]
	redis := []string{"login", "redis", "-addr", instance.RedisAddress, "-username", "app"}
	code, said, _ = command(t, "wrong", redis...)
	assert.Equal(t, 1, code)
	assert.Equal(t, "login refused: ERR\n", said)
	t.Setenv(passwordVariable, instance.Accounts[1].Password)
	code, said, _ = command(t, "", redis...)
	assert.Zero(t, code)
	assert.Equal(t, "login works\n", said)
}

func TestCommandLineErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-help"}, 0, "login plesk"},
		{[]string{"login", "plesk", "-help"}, 0, passwordVariable},
		{[]string{"-color"}, 2, "not defined"},
		{[]string{"start"}, 1, "unexpected argument"},
		{[]string{"-state", "/nonexistent"}, 1, "initial state"},
		{[]string{"-plesk", "nowhere:-1"}, 1, "listening on"},
		{[]string{"-sshd", "sshd"}, 1, "an absolute path is needed"},
		{[]string{"login"}, 2, "specify where"},
		{[]string{"login", "ftp"}, 2, "specify where"},
		{[]string{"login", "plesk", "-username", "x"}, 2, "needs -url"},
		{[]string{"login", "redis", "-password", "x"}, 2, "not defined"},
		{[]string{"login", "redis", "-addr", "127.0.0.1:1", "-username", "x"}, 2, "connecting to Redis"},
		{[]string{"login", "ssh", "-addr", "127.0.0.1:1"}, 2, "needs -addr"},
		{[]string{"login", "ssh", "-addr", "127.0.0.1:1", "-username", "x"}, 2, "connecting to the SSH server"},
		{[]string{"login", "ssh", "-addr", "127.0.0.1:1", "-username", "x", "-host-key", "x"}, 2, "not a line from a known_hosts"},
	} {
		code, _, stderr := command(t, "password\n", c.args...)
		assert.Equal(t, c.code, code, c.args)
		assert.Contains(t, stderr, c.want, c.args)
	}
	code, _, stderr := command(t, "", "login", "redis", "-addr", "127.0.0.1:1", "-username", "x")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "no password: set")
}
