package main

import (
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

// mutants returns all mutants, with those first whose tests take longest.
func mutants() []mutant {
	all := slices.Concat(ofChanges, ofTime, ofDueTimes, ofNextSteps, ofTheGate, ofTheQueue, ofRoles, ofConnections, ofGuards, ofRecords, ofOldPasswords, ofProviders, ofTransport, ofLimits, ofProofs, ofLogins, ofTheSurface)
	rank := func(m mutant) int {
		if m.pkg == endToEnd || m.dies {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b mutant) int { return rank(a) - rank(b) })
	return all
}

// source returns the text of the file with the defect. It returns an error if the mutant does not match the code.
func (m mutant) source(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, m.file)) //nolint:gosec // a path from the list
	if err != nil {
		return "", fmt.Errorf("mutant %s no longer matches the code: %w", m.name, err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("mutant %s no longer matches the code: its text occurs %d times in %s:\n%s", m.name, n, m.file, m.old)
	}
	return strings.Replace(string(text), m.old, m.new, 1), nil
}
