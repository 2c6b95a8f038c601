package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMutantsMatchTheCode(t *testing.T) {
	t.Parallel()
	root, err := moduleRoot()
	require.NoError(t, err)
	names := map[string]bool{}
	for _, m := range mutants() {
		require.Regexp(t, `^[a-z0-9]+(-[a-z0-9]+)+$`, m.name)
		require.False(t, names[m.name], "%s is defined twice", m.name)
		names[m.name] = true
		require.True(t, strings.HasSuffix(m.breaks, ".") && m.rule != "", m.name)
		if _, err := m.source(root); err != nil {
			t.Error(err)
		}
		assert.True(t, declares(t, filepath.Join(root, m.pkg), m.test), "%s: no test %s in %s", m.name, m.test, m.pkg)
	}
	require.Greater(t, len(names), 20)
}

// declares reports whether the folder has a test of that name.
func declares(t *testing.T, dir, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	head := regexp.MustCompile(`(?m)^func ` + test + `\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if head.Match(text) {
			return true
		}
	}
	return false
}

func TestMutantThatDoesNotMatchIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte("one two two"), 0o600))
	for old, stands := range map[string]string{"three": "0 times", "two": "2 times"} {
		_, err := mutant{name: "x", file: "a.go", old: old}.source(dir)
		require.ErrorContains(t, err, "no longer matches the code")
		require.ErrorContains(t, err, stands)
	}
	broken, err := mutant{file: "a.go", old: "one", new: "three"}.source(dir)
	require.NoError(t, err)
	require.Equal(t, "three two two", broken)
}

func TestOnlyAssertionOfNamedTestKills(t *testing.T) {
	t.Parallel()
	failed := &exec.ExitError{}
	for name, row := range map[string]struct {
		output string
		err    error
		dies   bool
		want   verdict
	}{
		"it fails":                   {output: "=== RUN   TestX\n--- FAIL: TestX (0.01s)\nFAIL\n", err: failed, want: killed},
		"it passes":                  {output: "=== RUN   TestX\n--- PASS: TestX (0.01s)\nPASS\n", want: survived},
		"another one fails":          {output: "--- PASS: TestX (0.00s)\n--- FAIL: TestXY (0.00s)\nFAIL\n", err: failed, want: undecided},
		"a part of another fails":    {output: "--- PASS: TestX (0.00s)\n    --- FAIL: TestX (0.00s)\n", err: failed, want: undecided},
		"it is skipped":              {output: "--- SKIP: TestX (0.00s)\nPASS\n", want: undecided},
		"there is none":              {output: "testing: warning: no tests to run\nPASS\n", want: undecided},
		"it panics":                  {output: "--- FAIL: TestX (0.00s)\npanic: oops [recovered]\n", err: failed, want: undecided},
		"it panics, as said":         {output: "--- FAIL: TestX (0.00s)\npanic: oops [recovered]\n", err: failed, dies: true, want: killed},
		"it does not end":            {output: "=== RUN   TestX\npanic: test timed out after 1m0s\n", err: failed, want: undecided},
		"it fails, said to panic":    {output: "--- FAIL: TestX (0.00s)\nFAIL\n", err: failed, dies: true, want: undecided},
		"the runtime ends it":        {output: "fatal error: all goroutines are asleep - deadlock!\n", err: failed, want: undecided},
		"something leaks at the end": {output: "--- PASS: TestX (0.00s)\nPASS\ngoleak: Errors\n", err: failed, want: undecided},
		"it did not run":             {err: errors.New("no such file"), want: undecided},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _ := decide(mutant{test: "TestX", dies: row.dies}, row.output, row.err)
			require.Equal(t, row.want, got)
		})
	}
}
