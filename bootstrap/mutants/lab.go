package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// lab builds tests with and without mutants, and runs them.
type lab struct {
	root, dir string
	// ldflags are of the plugin.
	ldflags string
}

// verdict is what became of a mutant.
type verdict string

const (
	// killed: the test failed by an assertion.
	killed verdict = "killed"
	// survived: the test passed all the same.
	survived verdict = "SURVIVED"
	// undecided: the mutant could not be tried, or the test ended otherwise.
	undecided verdict = "ERROR"
)

// Limits of a test's run. An end-to-end test starts a Vault first.
const (
	timeLimit         = time.Minute
	endToEndTimeLimit = 5 * time.Minute
)

// passes makes sure that the tests pass as the code is.
func (l *lab) passes(ctx context.Context, pkg string, tests []string) error {
	dir, err := os.MkdirTemp(l.dir, "unbroken")
	if err != nil {
		return err
	}
	binary, env, err := l.build(ctx, dir, pkg, "")
	if err != nil {
		return err
	}
	output, err := l.execute(ctx, binary, pkg, env, tests)
	for _, test := range tests {
		if !reports("PASS", test, output) {
			return fmt.Errorf("%s does not pass in %s:\n%s", test, pkg, tail(output))
		}
	}
	if err != nil {
		return fmt.Errorf("the tests of %s end with %w:\n%s", pkg, err, tail(output))
	}
	return nil
}

// try tells whether the mutant's test fails with it.
func (l *lab) try(ctx context.Context, m mutant) (verdict, string) {
	dir, err := os.MkdirTemp(l.dir, "broken")
	if err != nil {
		return undecided, err.Error()
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	overlay, err := m.overlay(l.root, dir)
	if err != nil {
		return undecided, err.Error()
	}
	binary, env, err := l.build(ctx, dir, m.pkg, overlay)
	if err != nil {
		return undecided, err.Error()
	}
	output, err := l.execute(ctx, binary, m.pkg, env, []string{m.test})
	return decide(m, output, err)
}

// decide reads the output of a test that ran with a mutant, and its end.
func decide(m mutant, output string, err error) (verdict, string) {
	var exit *exec.ExitError
	switch {
	case err == nil && reports("PASS", m.test, output):
		return survived, m.test + " passes with it"
	case !errors.As(err, &exit):
		return undecided, fmt.Sprintf("the test did not run: %v\n%s", err, tail(output))
	case panics.MatchString(output):
		if m.dies {
			return killed, ""
		}
		return undecided, "the test ended by a panic, not by an assertion:\n" + tail(output)
	case !reports("FAIL", m.test, output):
		return undecided, "something else than the test failed:\n" + tail(output)
	case m.dies:
		return undecided, "the test fails by an assertion, and was said to die"
	default:
		return killed, ""
	}
}

// panics finds a panic, a test that took too long too, and what the runtime ends a program for.
var panics = regexp.MustCompile(`(?m)^(panic|fatal error): `)

// reports tells whether the output of go test -v says this of the test.
func reports(what, test, output string) bool {
	return regexp.MustCompile(`(?m)^--- ` + what + `: ` + regexp.QuoteMeta(test) + ` \(`).MatchString(output)
}

// build makes the test binary of a package, and the plugin where its tests need one.
func (l *lab) build(ctx context.Context, dir, pkg, overlay string) (binary string, env []string, err error) {
	binary = filepath.Join(dir, "test")
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary}
	if overlay != "" && pkg != endToEnd { // its tests run what is in the plugin
		args = append(args, "-overlay", overlay)
	}
	if err := l.command(ctx, append(args, "./"+pkg)...); err != nil {
		return "", nil, err
	}
	if pkg != endToEnd {
		return binary, nil, nil
	}
	plugin := filepath.Join(dir, filepath.Base(endToEnd))
	args = []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w " + l.ldflags, "-o", plugin}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if err := l.command(ctx, append(args, "./"+endToEnd)...); err != nil {
		return "", nil, err
	}
	return binary, []string{"PLUGIN_BIN=" + plugin}, nil
}

// command runs the go command.
func (l *lab) command(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // arguments of our own
	cmd.Dir = l.root
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("it does not compile: %w\n%s", err, tail(string(output)))
	}
	return nil
}

// execute runs some tests of a test binary.
func (l *lab) execute(ctx context.Context, binary, pkg string, env, tests []string) (string, error) {
	limit := timeLimit
	if pkg == endToEnd {
		limit = endToEndTimeLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit+time.Minute) // the test ends itself before
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.timeout", limit.String(), "-test.run", "^("+strings.Join(tests, "|")+")$") //nolint:gosec // built here
	cmd.Dir, cmd.Env = filepath.Join(l.root, pkg), append(os.Environ(), env...)
	cmd.WaitDelay = 10 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	return output.String(), err
}

// tail is the end of an output, as that says why.
func tail(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
