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
	"vault-plugin-secrets-hosting/bootstrap/vaulttest"
)

// Whoever runs a release must not be able to stop the engine in the middle of a change.
func TestAReleaseHasNoFailpoints(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "make", "-C", "../..", "build", "BIN="+dir)
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))
	require.Empty(t, failpointsIn(t, filepath.Join(dir, vaulttest.Plugin)))
	require.ElementsMatch(t, append(failpoint.All(), failpoint.Variable, "built with the tag"), failpointsIn(t, binaries.plugin),
		"the binary of the tests has them, or else nothing is proved")
}

// failpointsIn names what a binary has of the failpoints.
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
