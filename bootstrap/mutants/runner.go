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

// runner builds and runs tests with and without mutants.
type runner struct {
	root, dir string
	// ldflags are the linker flags for the plugin.
	ldflags string
}

// verdict is the result for a mutant.
type verdict string

const (
	// killed: an assertion of the test failed.
	killed verdict = "killed"
	// survived: the test passed.
	survived verdict = "SURVIVED"
	// undecided: the mutant could not be built or run, or the test ended in another way.
	undecided verdict = "ERROR"
)

// Time limits of a test run. An end-to-end test starts a Vault first.
const (
	timeLimit         = time.Minute
	endToEndTimeLimit = 5 * time.Minute
)

// passes checks that the tests pass without a mutant.
func (l *runner) passes(ctx context.Context, pkg string, tests []string) error {
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
			return fmt.Errorf("%s in %s does not pass:\n%s", test, pkg, tail(output))
		}
	}
	if err != nil {
		return fmt.Errorf("the tests of %s fail: %w:\n%s", pkg, err, tail(output))
	}
	return nil
}

// try runs a mutant's test with the mutant. It returns the verdict and, unless the mutant is killed, the reason.
func (l *runner) try(ctx context.Context, m mutant) (verdict, string) {
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

// decide derives the verdict from the output and the exit status of a test that ran with a mutant.
func decide(m mutant, output string, err error) (verdict, string) {
	var exit *exec.ExitError
	switch {
	case err == nil && reports("PASS", m.test, output):
		return survived, m.test + " passes with this mutant"
	case !errors.As(err, &exit):
		return undecided, fmt.Sprintf("the test did not run: %v\n%s", err, tail(output))
	case panics.MatchString(output):
		if m.dies {
			return killed, ""
		}
		return undecided, "the test ended with a panic instead of a failed assertion:\n" + tail(output)
	case !reports("FAIL", m.test, output):
		return undecided, "something other than the test failed:\n" + tail(output)
	case m.dies:
		return undecided, "the test ended with a failed assertion, but the mutant declares that it dies"
	default:
		return killed, ""
	}
}

// panics matches panics, which include test timeouts, and fatal runtime errors.
var panics = regexp.MustCompile(`(?m)^(panic|fatal error): `)

// reports reports whether the output of go test -v contains this result for the test.
func reports(what, test, output string) bool {
	return regexp.MustCompile(`(?m)^--- ` + what + `: ` + regexp.QuoteMeta(test) + ` \(`).MatchString(output)
}

// build builds the test binary of a package, and the plugin if its tests need it.
func (l *runner) build(ctx context.Context, dir, pkg, overlay string) (binary string, env []string, err error) {
	binary = filepath.Join(dir, "test")
	// Most of the time goes into the compiler, which is faster without optimizations.
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-gcflags=./...=-N -l", "-o", binary}
	if overlay != "" && pkg != endToEnd { // end-to-end tests use the mutant in the plugin instead
		args = append(args, "-overlay", overlay)
	}
	if err := l.command(ctx, append(args, "./"+pkg)...); err != nil {
		return "", nil, err
	}
	if pkg != endToEnd {
		return binary, nil, nil
	}
	plugin := filepath.Join(dir, filepath.Base(command))
	args = []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w " + l.ldflags, "-o", plugin}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if err := l.command(ctx, append(args, "./"+command)...); err != nil {
		return "", nil, err
	}
	return binary, []string{"PLUGIN_BIN=" + plugin}, nil
}

// command runs the go command.
func (l *runner) command(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // fixed arguments
	cmd.Dir = l.root
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("does not compile: %w\n%s", err, tail(string(output)))
	}
	return nil
}

// execute runs tests of a test binary.
func (l *runner) execute(ctx context.Context, binary, pkg string, env, tests []string) (string, error) {
	limit := timeLimit
	if pkg == endToEnd {
		limit = endToEndTimeLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit+time.Minute) // the test binary times out before that
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.timeout", limit.String(), "-test.run", "^("+strings.Join(tests, "|")+")$") //nolint:gosec // built here
	cmd.Dir, cmd.Env = filepath.Join(l.root, pkg), append(os.Environ(), env...)
	cmd.WaitDelay = 10 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	return output.String(), err
}

// tail returns the last lines of an output, which usually hold the reason.
func tail(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
