package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one deliberate defect of the engine, and the test that must catch it.
type mutant struct {
	// name identifies it on the command line and in the output.
	name string
	// breaks describes the defect in one sentence.
	breaks string
	// rule is what the defect violates: an invariant ("I1" to "I7") of changing a password, or a keyword for another guarantee.
	rule string
	// The defect replaces old, which must occur exactly once in file, by new.
	file, old, new string
	// pkg is the folder of the package, and test the name of the test that must fail.
	pkg, test string
	// dies is set if the test ends with a panic or a timeout instead of a failed assertion.
	dies bool
}

const (
	// endToEnd is the package whose tests run the built plugin in a Vault.
	endToEnd = "bootstrap/e2e"
	// command is the package of the plugin's binary.
	command = "cmd/vault-plugin-secrets-hosting"

	// Packages of the engine whose own tests catch what is broken in them.
	connection  = "backend/connection"
	proof       = "backend/proof"
	connections = "backend/connections"
	gate        = "backend/gate"
	health      = "backend/health"
	lockout     = "backend/lockout"
	queue       = "backend/queue"
	role        = "backend/role"
	store       = "backend/store"
)

// mutants returns all mutants, with end-to-end ones first because their tests take longest.
func mutants() []mutant {
	all := slices.Concat(ofChanges, ofTime, ofDueTimes, ofNextSteps, ofTheGate, ofTheQueue, ofRoles, ofConnections, ofGuards, ofRecords, ofOldPasswords, ofProviders, ofTransport, ofLimits, ofProofs, ofLogins, ofTheSurface)
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

// source returns the text of the file with the defect. It returns an error if the mutant does not match the code.
func (m mutant) source(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, m.file)) //nolint:gosec // a path from the list
	if err != nil {
		return nil, fmt.Errorf("mutant %s no longer matches the code: %w", m.name, err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return nil, fmt.Errorf("mutant %s no longer matches the code: its text occurs %d times in %s:\n%s", m.name, n, m.file, m.old)
	}
	return []byte(strings.Replace(string(text), m.old, m.new, 1)), nil
}

// overlay writes the file with the defect, and an overlay file that makes go build use it in place of the original, which
// does not change. It returns the path for -overlay.
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
