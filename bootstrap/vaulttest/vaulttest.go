// Package vaulttest runs a real Vault with the plugin as an external binary, for tests: on Raft storage, on loopback,
// unsealed, with the plugin in its catalog. [Start] runs one node, [StartCluster] three that share their storage.
package vaulttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

// Plugin is the name of the plugin's binary and in the catalog.
const Plugin = "vault-plugin-secrets-hosting"

// startTime bounds starting Vault and becoming active.
const startTime = 60 * time.Second

// Vault is a running Vault: one process, which may be a node of a [Cluster].
type Vault struct {
	// Client has the root token.
	Client *api.Client
	// Version is the version that the plugin's binary reports.
	Version string

	binary  string
	dir     string
	audit   string      // the file of the audit log
	once    *api.Client // asks without a token, and does not repeat what failed
	address string
	unseal  string
	process *exec.Cmd
	exited  chan struct{}
	// suspended: it does not answer.
	suspended bool
	log       *os.File
	answers   *answers

	agentsMu  sync.Mutex
	agentLogs []string
}

// Start runs the Vault binary with the plugin binary, with all its files below dir, which must be short enough for Unix
// sockets. The plugin's environment has env (name=value) too. Stop it in the end.
func Start(ctx context.Context, vaultBinary, pluginBinary, dir string, env ...string) (*Vault, error) {
	v, err := start(ctx, vaultBinary, pluginBinary, dir)
	if err != nil {
		return nil, err
	}
	if err := v.initialize(ctx, pluginBinary, env); err != nil {
		v.Stop()
		return nil, err
	}
	return v, nil
}

// start runs a Vault that is not initialized.
func start(ctx context.Context, vaultBinary, pluginBinary, dir string) (*Vault, error) {
	v := &Vault{
		binary: vaultBinary, dir: dir, audit: filepath.Join(dir, "audit.log"), answers: &answers{file: filepath.Join(dir, "answers.log")},
	}
	if err := v.prepare(ctx, pluginBinary); err != nil {
		return nil, err
	}
	if err := v.run(ctx); err != nil {
		v.Stop()
		return nil, err
	}
	return v, nil
}

func (v *Vault) prepare(ctx context.Context, pluginBinary string) error {
	for _, name := range []string{"raft", "plugins", "home"} {
		if err := os.MkdirAll(filepath.Join(v.dir, name), 0o700); err != nil {
			return fmt.Errorf("preparing Vault: %w", err)
		}
	}
	if err := copyFile(pluginBinary, filepath.Join(v.dir, "plugins", Plugin)); err != nil {
		return fmt.Errorf("copying the plugin: %w", err)
	}
	out, err := exec.CommandContext(ctx, pluginBinary, "-version").Output()
	if err != nil {
		return fmt.Errorf("asking the plugin for its version: %w", err)
	}
	v.Version = strings.TrimSpace(string(out))
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	cluster, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	v.address = "http://" + address
	config := fmt.Sprintf(`
disable_mlock    = true
api_addr         = %[1]q
cluster_addr     = "https://%[2]s"
plugin_directory = %[3]q
storage "raft" {
  path                         = %[4]q
  node_id                      = %[6]q
  performance_multiplier       = 1
  autopilot_reconcile_interval = "250ms"
  autopilot_update_interval    = "100ms"
}
listener "tcp" {
  address         = %[5]q
  cluster_address = %[2]q
  tls_disable     = true
}
`, v.address, cluster, filepath.Join(v.dir, "plugins"), filepath.Join(v.dir, "raft"), address, v.Name())
	if err := os.WriteFile(filepath.Join(v.dir, "vault.hcl"), []byte(config), 0o600); err != nil {
		return fmt.Errorf("writing Vault's configuration: %w", err)
	}
	v.log, err = os.OpenFile(v.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening Vault's log: %w", err)
	}
	return nil
}

// LogFile is where Vault's log goes, at level trace, the plugin's included.
func (v *Vault) LogFile() string { return filepath.Join(v.dir, "vault.log") }

// AnswersFile is where the answers are written down that [Vault.Client] and its clones got.
func (v *Vault) AnswersFile() string { return v.answers.file }

// Name is what Vault calls itself as a node.
func (v *Vault) Name() string { return filepath.Base(v.dir) }

// Address is Vault's address.
func (v *Vault) Address() string { return v.address }

// run starts the process and waits until it answers.
func (v *Vault) run(ctx context.Context) error {
	cmd := exec.Command(v.binary, "server", "-config", filepath.Join(v.dir, "vault.hcl"), "-log-level", "trace") //nolint:gosec,noctx // outlives the context, which bounds starting
	cmd.Stdout, cmd.Stderr = v.log, v.log
	cmd.Env = append(environment(), "HOME="+filepath.Join(v.dir, "home"))
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting Vault: %w", err)
	}
	v.process, v.exited = cmd, make(chan struct{})
	go func(exited chan struct{}) { _ = cmd.Wait(); close(exited) }(v.exited)

	config := api.DefaultConfig()
	config.Address = v.address
	config.HttpClient.Transport = v.answers.watch(config.HttpClient.Transport)
	client, err := api.NewClient(config)
	if err != nil {
		return fmt.Errorf("making a client of Vault: %w", err)
	}
	client.ClearNamespace()
	if v.Client != nil {
		client.SetToken(v.Client.Token())
	}
	v.Client = client
	if v.once, err = client.Clone(); err != nil {
		return fmt.Errorf("making a client of Vault: %w", err)
	}
	v.once.SetMaxRetries(0)
	return v.wait(ctx, "answers", func(ctx context.Context) bool {
		_, err := client.Sys().SealStatusWithContext(ctx)
		return err == nil
	})
}

// environment is the process' own without what would point Vault elsewhere.
func environment() []string {
	var out []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "VAULT_") && !strings.HasPrefix(pair, "HOME=") {
			out = append(out, pair)
		}
	}
	return out
}

func (v *Vault) wait(ctx context.Context, what string, done func(context.Context) bool) error {
	return wait(ctx, []*Vault{v}, v.Name()+" "+what, done)
}

// wait returns when it is done, or with an error when one of the nodes ends.
func wait(ctx context.Context, nodes []*Vault, what string, done func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done(ctx) {
		for _, v := range nodes {
			if v.hasExited() {
				return fmt.Errorf("waiting until %s: %s ended%s", what, v.Name(), tails(v))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w%s", what, ctx.Err(), tails(nodes...))
		}
	}
	return nil
}

func (v *Vault) hasExited() bool { return closed(v.exited) }

// tails are the last lines of the nodes' logs.
func tails(nodes ...*Vault) string {
	var out strings.Builder
	for _, v := range nodes {
		fmt.Fprintf(&out, "; the log of %s ends with:\n%s", v.Name(), v.tail())
	}
	return out.String()
}

func (v *Vault) tail() string {
	data, err := os.ReadFile(v.LogFile())
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-2000):])
}

func (v *Vault) initialize(ctx context.Context, pluginBinary string, env []string) error {
	sys := v.Client.Sys()
	init, err := sys.InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("initializing Vault: %w", err)
	}
	v.unseal = init.KeysB64[0]
	v.Client.SetToken(init.RootToken)
	if err := v.activate(ctx); err != nil {
		return err
	}
	if err := v.enableAudit(ctx); err != nil {
		return err
	}
	sum, err := sha256Of(pluginBinary)
	if err != nil {
		return err
	}
	err = sys.RegisterPluginWithContext(ctx, &api.RegisterPluginInput{
		Name: Plugin, Type: api.PluginTypeSecrets, Command: Plugin, SHA256: sum, Version: v.Version, Env: env,
	})
	if err != nil {
		return fmt.Errorf("registering the plugin: %w", err)
	}
	return nil
}

// activate unseals Vault and waits until it is the active node.
func (v *Vault) activate(ctx context.Context) error {
	if err := v.open(ctx); err != nil {
		return err
	}
	return v.wait(ctx, "is active", v.active)
}

// open unseals Vault.
func (v *Vault) open(ctx context.Context) error {
	if _, err := v.Client.Sys().UnsealWithContext(ctx, v.unseal); err != nil {
		return fmt.Errorf("unsealing Vault: %w", err)
	}
	return nil
}

// active tells whether it is the active node.
func (v *Vault) active(ctx context.Context) bool {
	health, err := v.Client.Sys().HealthWithContext(ctx)
	return err == nil && health.Initialized && !health.Sealed && !health.Standby
}

// Mount enables the plugin at a path.
func (v *Vault) Mount(ctx context.Context, path string) error {
	err := v.Client.Sys().MountWithContext(ctx, path, &api.MountInput{
		Type: Plugin, Config: api.MountConfigInput{PluginVersion: v.Version},
	})
	if err != nil {
		return fmt.Errorf("enabling the plugin at %s: %w", path, err)
	}
	return nil
}

// KillPlugin ends all of the plugin's processes with SIGKILL. Vault starts it again with the next request.
func (v *Vault) KillPlugin() error { return v.SignalPlugin(syscall.SIGKILL) }

// SignalPlugin sends a signal to all of the plugin's processes.
func (v *Vault) SignalPlugin(signal syscall.Signal) error {
	pids, err := children(v.process.Process.Pid)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return errors.New("no plugin process was found")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil {
			return fmt.Errorf("sending a signal to the plugin: %w", err)
		}
	}
	return nil
}

// Seal seals Vault, which ends the plugin's work, and unseals it again.
func (v *Vault) Seal(ctx context.Context) error {
	if err := v.Client.Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("sealing Vault: %w", err)
	}
	return v.activate(ctx)
}

// StepDown makes Vault give up being the active node, which ends the plugin's work, and waits until it is again.
func (v *Vault) StepDown(ctx context.Context) error {
	before, err := v.activeSince(ctx)
	if err != nil {
		return err
	}
	if err := v.Client.Sys().StepDownWithContext(ctx); err != nil {
		return fmt.Errorf("stepping down: %w", err)
	}
	return v.wait(ctx, "is active again", func(ctx context.Context) bool {
		now, err := v.activeSince(ctx)
		return err == nil && now.After(before)
	})
}

// activeSince is when Vault became the active node.
func (v *Vault) activeSince(ctx context.Context) (time.Time, error) {
	leader, err := v.once.Sys().LeaderWithContext(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("asking %s who is active: %w", v.Name(), err)
	}
	if !leader.IsSelf {
		return time.Time{}, fmt.Errorf("%s is not active", v.Name())
	}
	return leader.ActiveTime, nil
}

// Reload ends the plugin's work at a path and starts it anew, as the command "vault plugin reload" does.
func (v *Vault) Reload(ctx context.Context, path string) error {
	_, err := v.Client.Sys().ReloadPluginWithContext(ctx, &api.ReloadPluginInput{Mounts: []string{path + "/"}})
	if err != nil {
		return fmt.Errorf("reloading the plugin at %s: %w", path, err)
	}
	return nil
}

// Restart ends Vault and its plugins with SIGKILL and starts it again, unsealed.
func (v *Vault) Restart(ctx context.Context) error {
	v.kill()
	if err := v.run(ctx); err != nil {
		return err
	}
	return v.activate(ctx)
}

// Stop ends Vault and its plugins.
func (v *Vault) Stop() {
	v.kill()
	if v.log != nil {
		_ = v.log.Close()
		v.log = nil
	}
}

func (v *Vault) kill() {
	if v.process == nil {
		return
	}
	pids, _ := children(v.process.Process.Pid)
	_ = syscall.Kill(-v.process.Process.Pid, syscall.SIGKILL)
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-v.exited
	v.process = nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from) //nolint:gosec // named by the caller
	if err != nil {
		return err
	}
	defer in.Close()                                                      //nolint:errcheck // only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o700) //nolint:gosec // it is to be run
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

func sha256Of(file string) (string, error) {
	data, err := os.ReadFile(file) //nolint:gosec // named by the caller
	if err != nil {
		return "", fmt.Errorf("reading the plugin: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
