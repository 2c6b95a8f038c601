package backend

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Operators alert on the texts of log lines, so docs/operations.md lists all of them, as they are in the code.
func TestDocsListEveryLogLine(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(content), "## The log")
	section, _, found := strings.Cut(section, "## Events")
	require.True(t, found)

	var code strings.Builder
	for _, dir := range []string{".", "../cmd/vault-plugin-secrets-hosting"} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			code.Write(content)
			return err
		}))
	}
	calls := regexp.MustCompile(`\.(Debug|Info|Warn|Error)\("([^"]+)"`).FindAllStringSubmatch(code.String(), -1)
	require.Greater(t, len(calls), 30)
	for _, call := range calls {
		text, _, _ := strings.Cut(call[2], ": ")
		require.Contains(t, section, text, "not in the docs")
	}
	listed := 0
	for row := range strings.Lines(section) {
		cells := strings.Split(row, "|")
		if len(cells) < 4 {
			continue
		}
		for _, quoted := range regexp.MustCompile("`[^`]+`").FindAllString(cells[2], -1) {
			listed++
			for part := range strings.SplitSeq(strings.Trim(quoted, "`"), ": ") {
				require.Contains(t, code.String(), strings.Trim(part, "…"), "not in the code")
			}
		}
	}
	require.Greater(t, listed, 30)
}
