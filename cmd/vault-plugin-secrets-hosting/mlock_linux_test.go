package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/stretchr/testify/require"
)

// Where Vault locks its memory and the plugin may not, Vault itself only says that the plugin may be for another architecture.
// The plugin's own line tells what to do. Vault reads it at its level because it is one line of JSON.
func TestMissingPermissionForMlockIsAnError(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "mlock") //nolint:usetesting // another user must be able to read it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	content, err := os.ReadFile(testPlugin(t))
	require.NoError(t, err)
	binary := filepath.Join(dir, binaryName)
	require.NoError(t, os.WriteFile(binary, content, 0o600))
	for _, path := range []string{dir, binary} {
		require.NoError(t, os.Chmod(path, 0o755))
	}
	plugin := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -l 0 && exec "$0"`, binary)
	plugin.Env = []string{pluginutil.PluginMlockEnabled + "=true"}
	if os.Getuid() == 0 { // who may lock memory
		plugin.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	var stderr bytes.Buffer
	plugin.Stderr = &stderr
	require.Error(t, plugin.Run())
	var line map[string]string
	require.NoError(t, json.Unmarshal(stderr.Bytes(), &line), stderr.String())
	require.Equal(t, "error", line["@level"])
	require.Contains(t, line["@message"], "setcap cap_ipc_lock=+ep")
	require.Contains(t, line["@message"], "disable_mlock")
}
