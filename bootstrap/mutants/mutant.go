package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is the engine with one thing broken on purpose, and the test that has to notice.
type mutant struct {
	// name is what it is called on the command line and in the output.
	name string
	// breaks is what goes wrong, in one sentence.
	breaks string
	// rule is what it violates: an invariant ("I1" to "I7") of changing a password, or a word for another promise.
	rule string
	// file is broken by putting new in the place of old, which has to stand in it once.
	file, old, new string
	// pkg and test are the folder of the package and the name of the test that has to fail.
	pkg, test string
	// dies: the test fails by a panic or by not ending, not by an assertion.
	dies bool
}

// endToEnd is the folder whose tests run the built plugin in a Vault.
const endToEnd = "cmd/vault-plugin-secrets-hosting"

// mutants are all there are, those first whose tests take long.
func mutants() []mutant {
	all := slices.Concat(ofChanges, ofTime, ofDueTimes, ofRoles, ofConnections, ofGuards, ofRecords, ofOldPasswords, ofProviders, ofTransport, ofTheSurface)
	slices.SortStableFunc(all, func(a, b mutant) int {
		switch {
		case a.pkg == b.pkg:
			return 0
		case a.pkg == endToEnd:
			return -1
		case b.pkg == endToEnd:
			return 1
		default:
			return 0
		}
	})
	return all
}

// source returns the broken file. The error says that the code is not what the mutant expects.
func (m mutant) source(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, m.file)) //nolint:gosec // of this list
	if err != nil {
		return nil, fmt.Errorf("the mutant %s does not fit the code any more: %w", m.name, err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return nil, fmt.Errorf("the mutant %s does not fit the code any more: its text stands %d times in %s:\n%s", m.name, n, m.file, m.old)
	}
	return []byte(strings.Replace(string(text), m.old, m.new, 1)), nil
}

// overlay writes the broken file and what tells go build to take it in the place of the real one, which stays untouched.
// It returns the path for -overlay.
func (m mutant) overlay(root, dir string) (string, error) {
	text, err := m.source(root)
	if err != nil {
		return "", err
	}
	broken := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(broken, text, 0o600); err != nil {
		return "", err
	}
	mapping, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): broken}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, mapping, 0o600)
}
