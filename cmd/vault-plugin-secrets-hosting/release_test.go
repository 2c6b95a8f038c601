package main

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/rotation/failpoint"
)

const binaryName = "vault-plugin-secrets-hosting"

// A failpoint in a release would let its environment stop the engine in the middle of a change.
func TestReleaseHasNoFailpoints(t *testing.T) {
	t.Parallel()
	require.Empty(t, failpointsIn(t, release(t)))
	require.ElementsMatch(t, append(failpoint.All(), failpoint.Variable, "built with the tag"), failpointsIn(t, testPlugin(t)),
		"the search finds them in the plugin for tests; otherwise this proves nothing")
}

// release builds the plugin as "make build" does and returns the path of the binary.
func release(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	output, err := exec.CommandContext(t.Context(), "make", "-C", "../..", "build", "BIN="+dir).CombinedOutput()
	require.NoError(t, err, string(output))
	return filepath.Join(dir, binaryName)
}

// testPlugin returns the path of the plugin that the end-to-end tests run: PLUGIN_BIN, or one with the same tags.
func testPlugin(t *testing.T) string {
	t.Helper()
	if binary := os.Getenv("PLUGIN_BIN"); binary != "" {
		return binary
	}
	binary := filepath.Join(t.TempDir(), binaryName)
	output, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "failpoints", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(output))
	return binary
}

// failpointsIn returns the traces of failpoints in a binary: their names, their environment variable and their build tag.
func failpointsIn(t *testing.T, binary string) []string {
	t.Helper()
	content, err := os.ReadFile(binary)
	require.NoError(t, err)
	var found []string
	for _, text := range append(failpoint.All(), failpoint.Variable) {
		if bytes.Contains(content, []byte(text)) {
			found = append(found, text)
		}
	}
	info, err := buildinfo.ReadFile(binary)
	require.NoError(t, err)
	for _, setting := range info.Settings {
		if setting.Key == "-tags" && strings.Contains(setting.Value, "failpoints") {
			found = append(found, "built with the tag")
		}
	}
	return found
}
