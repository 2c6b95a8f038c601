// Package vaulttest runs a real Vault for tests: with Raft storage, on loopback, unsealed, and with the plugin registered
// as an external plugin. [Start] runs a single node, [StartCluster] a cluster of three.
package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

// Plugin is the name of the plugin's binary, and of the plugin in Vault's catalog.
const Plugin = "vault-plugin-secrets-hosting"

// startTime limits how long Vault may take to start and to become active.
const startTime = 60 * time.Second

// Vault is a running Vault server: one process, which may be a node of a [Cluster].
type Vault struct {
	// Client has the root token.
	Client *api.Client
	// Version is the version that the plugin's binary reports.
	Version string

	binary  string
	dir     string
	audit   string      // path of the audit log
	once    *api.Client // has no token and does not retry
	address string
	unseal  string
	process *exec.Cmd
	exited  chan struct{}
	// suspended is set while the process is stopped and does not answer.
	suspended bool
	log       *os.File
	answers   *answers

	agentsMu  sync.Mutex
	agentLogs []string
}

// Start starts, initializes and unseals Vault, and registers the plugin. All files are kept in dir, whose path must be
// short enough for Unix sockets. env (name=value) is added to the plugin's environment. The caller must call Stop.
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

// start runs Vault without initializing it.
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

// LogFile returns the path of Vault's log, at level trace, which includes the plugin's log.
func (v *Vault) LogFile() string { return filepath.Join(v.dir, "vault.log") }

// AnswersFile returns the path of the file that records the responses to [Vault.Client] and its clones.
func (v *Vault) AnswersFile() string { return v.answers.file }

// Name returns Vault's node id.
func (v *Vault) Name() string { return filepath.Base(v.dir) }

// Address returns Vault's API address.
func (v *Vault) Address() string { return v.address }

// run starts the process and waits until it answers.
func (v *Vault) run(ctx context.Context) error {
	cmd := exec.Command(v.binary, "server", "-config", filepath.Join(v.dir, "vault.hcl"), "-log-level", "trace") //nolint:gosec,noctx // outlives the context, which applies to the start only
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
		return fmt.Errorf("creating a Vault client: %w", err)
	}
	client.ClearNamespace()
	if v.Client != nil {
		client.SetToken(v.Client.Token())
	}
	v.Client = client
	if v.once, err = client.Clone(); err != nil {
		return fmt.Errorf("creating a Vault client: %w", err)
	}
	v.once.SetMaxRetries(0)
	return v.wait(ctx, "answers", func(ctx context.Context) bool {
		_, err := client.Sys().SealStatusWithContext(ctx)
		return err == nil
	})
}

// environment returns the process's environment without VAULT_* and HOME, which would affect Vault.
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

// wait waits until done returns true. It returns an error if one of the nodes exits.
func wait(ctx context.Context, nodes []*Vault, what string, done func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done(ctx) {
		for _, v := range nodes {
			if v.hasExited() {
				return fmt.Errorf("waiting until %s: %s exited%s", what, v.Name(), tails(v))
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

// tails returns the end of the nodes' logs.
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

// open unseals Vault without waiting.
func (v *Vault) open(ctx context.Context) error {
	if _, err := v.Client.Sys().UnsealWithContext(ctx, v.unseal); err != nil {
		return fmt.Errorf("unsealing Vault: %w", err)
	}
	return nil
}

// active reports whether this is the active node.
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

// KillPlugin kills all plugin processes with SIGKILL. Vault restarts the plugin on the next request.
func (v *Vault) KillPlugin() error { return v.SignalPlugin(syscall.SIGKILL) }

// SignalPlugin sends a signal to all plugin processes.
func (v *Vault) SignalPlugin(signal syscall.Signal) error {
	pids, err := children(v.process.Process.Pid)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return errors.New("no plugin process found")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil {
			return fmt.Errorf("signaling the plugin: %w", err)
		}
	}
	return nil
}

// Seal seals Vault, which stops the plugin, and unseals it again.
func (v *Vault) Seal(ctx context.Context) error {
	if err := v.Client.Sys().SealWithContext(ctx); err != nil {
		return fmt.Errorf("sealing Vault: %w", err)
	}
	return v.activate(ctx)
}

// StepDown makes Vault step down as the active node, which stops the plugin, and waits until it is active again.
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

// activeSince returns when Vault became the active node.
func (v *Vault) activeSince(ctx context.Context) (time.Time, error) {
	leader, err := v.once.Sys().LeaderWithContext(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("asking %s for the active node: %w", v.Name(), err)
	}
	if !leader.IsSelf {
		return time.Time{}, fmt.Errorf("%s is not active", v.Name())
	}
	return leader.ActiveTime, nil
}

// Reload reloads the plugin at a path, like "vault plugin reload".
func (v *Vault) Reload(ctx context.Context, path string) error {
	_, err := v.Client.Sys().ReloadPluginWithContext(ctx, &api.ReloadPluginInput{Mounts: []string{path + "/"}})
	if err != nil {
		return fmt.Errorf("reloading the plugin at %s: %w", path, err)
	}
	return nil
}

// Restart kills Vault and its plugins with SIGKILL, then starts and unseals Vault again.
func (v *Vault) Restart(ctx context.Context) error {
	v.kill()
	if err := v.run(ctx); err != nil {
		return err
	}
	return v.activate(ctx)
}

// Stop kills Vault and its plugins.
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
