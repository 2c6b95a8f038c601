#!/usr/bin/env bash
# Runs the tests with the race detector:
#
#   race.sh PATH-TO-PLUGIN-BUILT-WITH-RACE
#
# A race in a test process fails that test. A race in the plugin, which runs under Vault, only writes a report. All
# reports therefore go to files, which are checked at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PLUGIN_BIN=$(cd "$(dirname "$1")" && pwd -P)/$(basename "$1")
VAULT_BIN=$(scripts/vault.sh)
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
export PLUGIN_BIN VAULT_BIN GORACE="log_path=$reports/race"

# Of the end-to-end tests, those run in which requests, restarts and the engine's own work meet: the code that the others
# reach is reached by the packages' own tests too. The tests themselves run without the detector: they only wait for Vault and
# the plugin, and what they search all of Vault's records with would take minutes.
end_to_end=./bootstrap/e2e
together='Concurrent|Interrupted|Kill|Takeover|Due|Crashed|Restart|Mounts|Paused'
# Long random or exhaustive tests that do one thing after the other: without the detector, they prove as much.
in_turn='^(TestRandomRestartsLoseNoPassword|TestRandomEventsLoseNoPassword|TestEveryLoginAndRestartKeepsRules|TestHostileResponseLeaksNoSecrets)$'
model=./backend/rotation/modelcheck
packages=$(go list ./... | grep -v -e '/bootstrap/e2e$' -e '/modelcheck$')

status=0
# shellcheck disable=SC2086 # split into words on purpose
CGO_ENABLED=1 go test -race -count=1 -timeout 20m -skip "$in_turn" $packages || status=$?
CGO_ENABLED=1 go test -race -count=1 $model -model.for=20s || status=$? # one core, and several times slower than without
go test -count=1 -timeout 20m "$end_to_end" -run "$together" || status=$?
for report in "$reports"/race.*; do
	[[ -f $report ]] || continue
	cat "$report" >&2
	status=1
done
exit "$status"
