package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	_ "vault-plugin-secrets-hosting/backend" // so that a change of the plugin invalidates cached test results
	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// vault is shared by the tests of this package. Each test has a mount and a simulator of its own.
var vault *vaulttest.Vault

// binaries are what vault was started from, for tests that need another Vault.
var binaries struct{ vault, plugin string }

// Limits and interval for polling a condition.
const (
	waitLong  = 60 * time.Second
	waitShort = 500 * time.Millisecond // for what must not happen; the engine's first retry comes after 250 ms
	tick      = 20 * time.Millisecond
)

func TestMain(m *testing.M) {
	servePluginOr(func() { os.Exit(runAndFindLeaks(m)) })
}

func runAndFindLeaks(m *testing.M) int {
	code, err := run(m)
	if err == nil && code == 0 { // a failed test may leave goroutines behind
		// A dependency of the SDK starts this goroutine when it is loaded.
		err = goleak.Find(goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "hosting")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	if binaries.vault, err = vaultBinary(ctx); err != nil {
		return 1, err
	}
	if binaries.plugin, err = pluginBinary(ctx, dir); err != nil {
		return 1, err
	}
	vault, err = vaulttest.Start(ctx, binaries.vault, binaries.plugin, filepath.Join(dir, "vault"))
	if err != nil {
		return 1, err
	}
	defer vault.Stop()
	// The tests spend most of their time waiting for Vault and for retries.
	if err := flag.Set("test.parallel", "16"); err != nil {
		return 1, err
	}
	code = m.Run()
	if err := findSecrets(ctx, vault); err != nil {
		return 1, err
	}
	return code, nil
}

// vaultBinary returns VAULT_BIN, or the binary that scripts/vault.sh finds or builds.
func vaultBinary(ctx context.Context) (string, error) {
	if binary := os.Getenv("VAULT_BIN"); binary != "" {
		return binary, nil
	}
	cmd := exec.CommandContext(ctx, "../../scripts/vault.sh")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("finding or building Vault: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// pluginBinary returns PLUGIN_BIN, or builds the plugin into dir. The tests need failpoints and a twentieth of the real
// waiting times.
func pluginBinary(ctx context.Context, dir string) (string, error) {
	if binary := os.Getenv("PLUGIN_BIN"); binary != "" {
		return binary, nil
	}
	binary := filepath.Join(dir, vaulttest.Plugin)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "failpoints", "-ldflags",
		"-X main.version=v0.0.1-test -X vault-plugin-secrets-hosting/backend/timing.Scale=20", "-o", binary, "../../cmd/"+vaulttest.Plugin)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, output.String())
	}
	return binary, nil
}

// newVault starts a Vault that the test may kill, and returns the directory of the plugin's failpoints. env is added to the
// plugin's environment.
func newVault(t *testing.T, env ...string) (v *vaulttest.Vault, failpoints string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hosting") //nolint:usetesting // short, for Unix sockets
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	failpoints = filepath.Join(dir, "stops")
	require.NoError(t, os.Mkdir(failpoints, 0o700))
	v, err = vaulttest.Start(t.Context(), binaries.vault, binaries.plugin, filepath.Join(dir, "vault"), append(env, failpoint.Variable+"="+failpoints)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		err := findSecrets(context.Background(), v) // the simulators have ended and reported what they saw
		v.Stop()
		require.NoError(t, err)
	})
	return v, failpoints
}

// mount is a mount of the plugin with simulated remote systems of its own.
type mount struct {
	t     testing.TB
	vault *vaulttest.Vault
	path  string
	sim   *simulator.Simulator
	out   simulator.Output
	// token is that of the requests; "": the root token.
	token string
	// retries is how often the client repeats a request that fails. 0 by default, so that a test sees each answer.
	retries int
}

var mounts atomic.Int32

// newMount returns a mount with the connections "panel" (Plesk, login and password) and "cloud" (DCS, access key).
func newMount(t testing.TB) *mount {
	t.Helper()
	return newMountIn(t, vault)
}

func newMountIn(t testing.TB, v *vaulttest.Vault) *mount {
	t.Helper()
	m := bareMountIn(t, v, simulator.Config{})
	m.must("config/panel", m.panel())
	m.must("config/cloud", m.cloud())
	return m
}

// bareMount returns a mount without connections.
func bareMount(t testing.TB) *mount {
	t.Helper()
	return bareMountIn(t, vault, simulator.Config{})
}

func bareMountIn(t testing.TB, v *vaulttest.Vault, config simulator.Config) *mount {
	t.Helper()
	sim, err := simulator.Start(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(func() { secrets.addSeen(sim) }) // after the simulator has ended
	t.Cleanup(sim.Close)
	require.NoError(t, sim.Switch("plesk", "alias_api", "allowed"), "a test logs in as an additional administrator")
	m := &mount{t: t, vault: v, path: fmt.Sprintf("h%d", mounts.Add(1)), sim: sim, out: sim.Output()}
	require.NoError(t, v.Mount(context.Background(), m.path))
	secrets.addInitial(m.out)
	return m
}

// data is the body of a request or an answer.
type data = map[string]any

// with returns a copy of d with changes.
func with(d, changes data) data {
	out := maps.Clone(d)
	maps.Copy(out, changes)
	return out
}

// without returns a copy of d without some fields.
func without(d data, names ...string) data {
	out := maps.Clone(d)
	for _, name := range names {
		delete(out, name)
	}
	return out
}

// client returns a client that repeats requests m.retries times.
func (m *mount) client() *api.Client {
	client := m.retryingClient()
	client.SetMaxRetries(m.retries)
	return client
}

// retryingClient returns a client with the default retries of Vault's own.
func (m *mount) retryingClient() *api.Client {
	client, err := m.vault.Client.CloneWithHeaders()
	require.NoError(m.t, err)
	client.SetToken(cmp.Or(m.token, m.vault.Client.Token()))
	return client
}

// as returns the mount for a token that has only these rights. MOUNT in the rules is its path.
func (m *mount) as(rules string) *mount {
	m.t.Helper()
	name := fmt.Sprintf("%s-%d", m.path, mounts.Add(1))
	require.NoError(m.t, m.vault.Client.Sys().PutPolicy(name, strings.ReplaceAll(rules, "MOUNT", m.path)))
	secret, err := m.vault.Client.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{name}})
	require.NoError(m.t, err)
	other := *m
	other.token = secret.Auth.ClientToken
	return &other
}

// write returns Vault's answer or error.
func (m *mount) write(path string, d data) (*api.Secret, error) {
	secrets.addGiven(d)
	return m.client().Logical().Write(m.path+"/"+path, d)
}

// must is write for requests that have to succeed.
func (m *mount) must(path string, d data) *api.Secret {
	m.t.Helper()
	secret, err := m.write(path, d)
	require.NoError(m.t, err, "write %s", path)
	return secret
}

// writeAsync writes with default retries and sends the error when the request ends.
func (m *mount) writeAsync(ctx context.Context, path string, d data) <-chan error {
	done := make(chan error, 1)
	client := m.retryingClient()
	go func() {
		_, err := client.Logical().WriteWithContext(ctx, m.path+"/"+path, d)
		done <- err
	}()
	return done
}

func (m *mount) delete(path string) error {
	_, err := m.client().Logical().Delete(m.path + "/" + path)
	return err
}

func (m *mount) forceDelete(path string) error {
	_, err := m.client().Logical().DeleteWithData(m.path+"/"+path, map[string][]string{"force": {"true"}})
	return err
}

func (m *mount) read(path string) data {
	m.t.Helper()
	secret, err := m.client().Logical().Read(m.path + "/" + path)
	require.NoError(m.t, err, "read %s", path)
	require.NotNil(m.t, secret, "read %s", path)
	secrets.addAnswer(secret.Data)
	return secret.Data
}

// creds reads a role's credentials. In every state of the role, the answer has to meet the contract with consumers.
func (m *mount) creds(role string) data {
	m.t.Helper()
	secret, err := m.client().Logical().Read(m.path + "/creds/" + role)
	require.NoError(m.t, err, "read creds/%s", role)
	require.NotNil(m.t, secret, "read creds/%s", role)
	secrets.addAnswer(secret.Data)
	assertConsumerContract(m.t, secret)
	return secret.Data
}

// statusCode returns the code of Vault's answer: 200 if err is nil, -1 if there was no answer.
func statusCode(err error) int {
	var response *api.ResponseError
	if errors.As(err, &response) {
		return response.StatusCode
	}
	if err != nil {
		return -1
	}
	return 200
}

// message returns the text of Vault's error answer.
func message(err error) string {
	var response *api.ResponseError
	if errors.As(err, &response) {
		return strings.Join(response.Errors, "; ")
	}
	return fmt.Sprint(err)
}

// vaultGone reports whether a request failed because Vault or the plugin ended.
func vaultGone(err error) bool { return err != nil && (statusCode(err) < 0 || statusCode(err) >= 500) }

// numberOf returns an integer field of an answer.
func numberOf(t testing.TB, d data, name string) int64 {
	t.Helper()
	number, ok := d[name].(json.Number)
	require.True(t, ok, "%s should be a number: %v", name, d[name])
	n, err := number.Int64()
	require.NoError(t, err)
	return n
}

func versionOf(t testing.TB, d data) int64 {
	t.Helper()
	return numberOf(t, d, "version")
}

func text(d data) string { return fmt.Sprint(d) }

// lazy is formatted only when a test fails.
type lazy struct{ text func() string }

func (l lazy) String() string { return l.text() }

// inParallel calls do for each item at the same time, and ends the test if it failed for one of them.
func inParallel[T any](t *testing.T, items []T, do func(T)) {
	t.Helper()
	var group sync.WaitGroup
	for _, item := range items {
		group.Go(func() { do(item) })
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// waitFor waits for a condition of a role. The failure shows the role's status.
func (m *mount) waitFor(name, what string, condition func() bool) {
	m.t.Helper()
	require.Eventually(m.t, condition, waitLong, tick, "%s: %s; status: %v", name, what, lazy{func() string {
		secret, err := m.client().Logical().Read(m.path + "/status/" + name)
		return fmt.Sprint(secret, err)
	}})
}

// waitForState waits until creds has the state, and returns the credentials.
func (m *mount) waitForState(name, state string) data {
	m.t.Helper()
	var d data
	m.waitFor(name, "the state should become "+state, func() bool {
		d = m.creds(name)
		return d["state"] == state
	})
	return d
}

// idle reports whether the engine has nothing to do for the role.
func (m *mount) idle(name string) bool {
	m.t.Helper()
	d := m.read("status/" + name)
	return d["next_attempt_time"] == nil && d["state"] != "uncertain" && d["state"] != "accepted"
}

// history returns the passwords of history/:name, newest first.
func (m *mount) history(name string) []data {
	m.t.Helper()
	var out []data
	list, _ := m.read("history/" + name)["passwords"].([]any)
	for _, entry := range list {
		password, ok := entry.(data)
		require.True(m.t, ok, "history/%s", name)
		out = append(out, password)
	}
	return out
}

// inHistory returns a version in history/:name.
func (m *mount) inHistory(name string, version int64) data {
	m.t.Helper()
	for _, d := range m.history(name) {
		if versionOf(m.t, d) == version {
			return d
		}
	}
	m.t.Fatalf("history/%s has no version %d", name, version)
	return nil
}
