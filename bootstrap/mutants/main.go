// Command mutants breaks the engine on purpose, one defect at a time, and checks that a test catches each of them.
//
// A guarantee is only as good as the test that fails when it is broken. Each mutant in this folder is one defect: a text in
// the code and its replacement, the rule that the defect violates, and the one test that must fail.
//
// The tests are built once, with all mutants that change the body of one function: the function gets a copy for each of its
// mutants, and the environment variable MUTANT selects the copy that is called. A mutant that changes something else, such as a
// constant, is built by itself, which takes longer. The source tree is not modified: the compiler gets the changed files with
// -overlay.
//
// A mutant is killed if its test passes without it, and with it ends with a failed assertion. A mutant that does not compile,
// whose text is no longer in the code, or that makes the test panic is an error, so that the list cannot become stale. If the
// common build does not compile, nothing is run: the compiler's messages name the mutant, as in "queue.go(starve-a-lane):12".
//
//	go run ./bootstrap/mutants                  run all mutants
//	go run ./bootstrap/mutants -run 'candidate' run those whose name matches
//	go run ./bootstrap/mutants -list            list them
//
// To add a mutant, add an entry to the list for its area. End-to-end tests need the path of a Vault binary in VAULT_BIN.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	flags.SetOutput(stderr)
	say, complain := log.New(stdout, "", 0), log.New(stderr, "", 0)
	pattern := flags.String("run", "", "run only mutants whose name matches this `regexp`")
	list := flags.Bool("list", false, "list the mutants and exit")
	parallel := flags.Int("p", 2, "`number` of mutants to run in parallel")
	ldflags := flags.String("ldflags", "", "linker `flags` for the plugin that end-to-end tests run")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	wanted, err := regexp.Compile(*pattern)
	if err != nil {
		complain.Println(err)
		return 2
	}
	chosen := slices.DeleteFunc(mutants(), func(m mutant) bool { return !wanted.MatchString(m.name) })
	if len(chosen) == 0 {
		complain.Printf("no mutant matches %q; -list prints all of them", *pattern)
		return 2
	}
	if *list {
		for _, m := range chosen {
			say.Printf("%-34s %-8s %s\n%-43s %s, in %s", m.name, m.rule, m.breaks, "", m.test, m.pkg)
		}
		return 0
	}
	ok, err := judge(ctx, chosen, *parallel, *ldflags, say)
	if err != nil {
		complain.Println(err)
	}
	if err != nil || !ok {
		return 1
	}
	return 0
}

// judge runs mutants, prints a line for each and a summary, and reports whether all were killed.
func judge(ctx context.Context, chosen []mutant, parallel int, ldflags string, out *log.Logger) (bool, error) {
	began := time.Now()
	root, err := moduleRoot()
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	l := &runner{root: root, dir: dir, ldflags: ldflags}

	// A test that fails without a mutant proves nothing with one.
	packages := map[string][]string{}
	for _, m := range chosen {
		if !slices.Contains(packages[m.pkg], m.test) {
			packages[m.pkg] = append(packages[m.pkg], m.test)
		}
	}
	if err := l.prepare(ctx, chosen, slices.Sorted(maps.Keys(packages))); err != nil {
		return false, err
	}
	out.Printf("built %d of %d mutants together (%s)", len(l.switched), len(chosen), time.Since(began).Round(time.Second))
	var mu sync.Mutex
	var broken []string
	each(parallel, slices.Sorted(maps.Keys(packages)), func(pkg string) {
		if err := l.passes(ctx, pkg, packages[pkg]); err != nil {
			mu.Lock()
			defer mu.Unlock()
			broken = append(broken, err.Error())
		}
	})
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if len(broken) > 0 {
		return false, fmt.Errorf("tests fail without any mutant:\n%s", strings.Join(broken, "\n"))
	}
	out.Printf("without mutants, the tests of %d packages pass (%s)", len(packages), time.Since(began).Round(time.Second))

	rules, verdicts := map[string]int{}, map[verdict]int{}
	each(parallel, chosen, func(m mutant) {
		start := time.Now()
		v, why := l.try(ctx, m)
		mu.Lock()
		defer mu.Unlock()
		if verdicts[v]++; v == killed {
			rules[m.rule]++
		}
		out.Printf("%-8s %-34s %-8s %s (%s)", v, m.name, m.rule, m.test, time.Since(start).Round(100*time.Millisecond))
		if v != killed {
			out.Printf("         %s\n         %s, %s: %s", m.breaks, m.file, m.pkg, why)
		}
	})
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	var killedBy []string
	for _, rule := range slices.Sorted(maps.Keys(rules)) {
		killedBy = append(killedBy, fmt.Sprintf("%s %d", rule, rules[rule]))
	}
	out.Printf("killed by rule: %s", strings.Join(killedBy, ", "))
	out.Printf("%d mutants in %s: %d killed, %d survived, %d errors",
		len(chosen), time.Since(began).Round(time.Second), verdicts[killed], verdicts[survived], verdicts[undecided])
	return verdicts[killed] == len(chosen), nil
}

// each calls work for all items, up to the given number in parallel.
func each[T any](parallel int, items []T, work func(T)) {
	queue := make(chan T)
	var group sync.WaitGroup
	for range max(1, parallel) {
		group.Go(func() {
			for item := range queue {
				work(item)
			}
		})
	}
	for _, item := range items {
		queue <- item
	}
	close(queue)
	group.Wait()
}

// moduleRoot returns the closest folder with a go.mod, from the working directory upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, found := os.Stat(filepath.Join(dir, "go.mod")); found == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod in this folder or above")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
