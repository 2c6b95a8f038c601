package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vault-plugin-secrets-hosting/backend"
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// vault is the Vault of all tests of this package; each of them has a mount and a simulator of its own.
var vault *vaulttest.Vault

// binaries are what it was started from, for tests that need a Vault of their own.
var binaries struct{ vault, plugin string }

func TestMain(m *testing.M) {
	measuredOr(func() { os.Exit(tests(m)) })
}

func tests(m *testing.M) (code int) {
	// The plugin is built by itself; this makes its code a part of the test too, so that a changed one is tested again.
	if backend.Factory(version) == nil {
		return 1
	}
	code, err := run(m)
	if err == nil && code == 0 { // a test that failed may have left something behind
		// A dependency of the SDK starts this one when it is loaded.
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
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	binary, err := vaultBinary(ctx)
	if err != nil {
		return 1, err
	}
	plugin, err := pluginBinary(ctx, dir)
	if err != nil {
		return 1, err
	}
	binaries.vault, binaries.plugin = binary, plugin
	vault, err = vaulttest.Start(ctx, binary, plugin, filepath.Join(dir, "vault"))
	if err != nil {
		return 1, err
	}
	defer vault.Stop()
	// The tests wait for Vault and for each other's time to pass, more than they work.
	if err := flag.Set("test.parallel", "16"); err != nil {
		return 1, err
	}
	code = m.Run()
	if err := silence(ctx, vault); err != nil {
		return 1, err
	}
	return code, nil
}

// vaultBinary is the one in VAULT_BIN, or the one that the script finds or builds.
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

// pluginBinary is the one in PLUGIN_BIN, or one that is built here. Its waiting times have to be a twentieth of the real
// ones, and it has to have the failpoints.
func pluginBinary(ctx context.Context, dir string) (string, error) {
	if binary := os.Getenv("PLUGIN_BIN"); binary != "" {
		return binary, nil
	}
	binary := filepath.Join(dir, vaulttest.Plugin)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "failpoints", "-ldflags",
		"-X main.version=v0.0.1-test -X vault-plugin-secrets-hosting/backend/rotation.timescale=20", "-o", binary, ".")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, output.String())
	}
	return binary, nil
}
