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
	"slices"
	"strings"
	"time"
)

// runner builds and runs tests with and without mutants.
type runner struct {
	root, dir string
	// ldflags are the linker flags for the plugin.
	ldflags string
	// switched are the names of the mutants in the common build. Each of the others needs a build of its own.
	switched map[string]bool
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

// prepare builds the tests of all packages, with all mutants that can be switched at run time.
func (l *runner) prepare(ctx context.Context, chosen []mutant, packages []string) error {
	texts, switched, err := combine(l.root, chosen)
	if err != nil {
		return err
	}
	l.switched = switched
	return l.build(ctx, l.dir, texts, packages)
}

// passes checks that the tests pass without a mutant.
func (l *runner) passes(ctx context.Context, pkg string, tests []string) error {
	output, err := l.execute(ctx, l.dir, pkg, "", tests)
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
	dir := l.dir
	if !l.switched[m.name] {
		own, err := l.buildAlone(ctx, m)
		defer os.RemoveAll(own) //nolint:errcheck // a temporary folder
		if err != nil {
			return undecided, err.Error()
		}
		dir = own
	}
	output, err := l.execute(ctx, dir, m.pkg, m.name, []string{m.test})
	return decide(m, output, err)
}

// buildAlone builds the test of a mutant that cannot be switched. It returns the folder of the build.
func (l *runner) buildAlone(ctx context.Context, m mutant) (string, error) {
	text, err := m.source(l.root)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(l.dir, "alone")
	if err != nil {
		return "", err
	}
	return dir, l.build(ctx, dir, map[string]string{m.file: text}, []string{m.pkg})
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

// build builds the test binaries of packages, and the plugin if their tests need it, with these texts in place of files.
func (l *runner) build(ctx context.Context, dir string, texts map[string]string, packages []string) error {
	path, err := overlay(l.root, dir, texts)
	if err != nil {
		return err
	}
	// Most of the time goes into the compiler, which is faster without optimizations.
	tests := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-gcflags=./...=-N -l", "-o", dir}
	var own []string
	for _, pkg := range packages {
		if pkg != endToEnd {
			own = append(own, "./"+pkg)
		}
	}
	if len(own) > 0 {
		if err := l.command(ctx, slices.Concat(tests, []string{"-overlay", path}, own)...); err != nil {
			return err
		}
	}
	if !slices.Contains(packages, endToEnd) {
		return nil
	}
	// End-to-end tests use the mutants in the plugin instead.
	if err := l.command(ctx, append(tests, "./"+endToEnd)...); err != nil {
		return err
	}
	return l.command(ctx, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w "+l.ldflags, "-overlay", path,
		"-o", filepath.Join(dir, filepath.Base(command)), "./"+command)
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

// execute runs tests of a package, built in this folder, with a mutant or without.
func (l *runner) execute(ctx context.Context, dir, pkg, name string, tests []string) (string, error) {
	limit := timeLimit
	if pkg == endToEnd {
		limit = endToEndTimeLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit+time.Minute) // the test binary times out before that
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, filepath.Base(pkg)+".test"), //nolint:gosec // built here
		"-test.v", "-test.timeout", limit.String(), "-test.run", "^("+strings.Join(tests, "|")+")$")
	// Vault passes its environment to the plugin.
	cmd.Env = append(os.Environ(), activeVariable+"="+name, "PLUGIN_BIN="+filepath.Join(dir, filepath.Base(command)))
	cmd.Dir, cmd.WaitDelay = filepath.Join(l.root, pkg), 10*time.Second
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
