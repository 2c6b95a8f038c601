#!/usr/bin/env bash
# Runs the tests with the race detector: race.sh path-of-a-plugin-built-with-race.
#
# A race in a test ends that test. One in the plugin, which Vault runs, only writes a report; so that none is missed, all
# reports go to files, which are looked at in the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PLUGIN_BIN=$(cd "$(dirname "$1")" && pwd -P)/$(basename "$1")
VAULT_BIN=$(scripts/vault.sh)
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
export PLUGIN_BIN VAULT_BIN GORACE="log_path=$reports/race"

# The end-to-end tests themselves run without it: they only wait for Vault and the plugin, and what they search all of
# Vault's records with would take minutes. The simulators that they use are tested with it by their own packages.
end_to_end=./cmd/vault-plugin-secrets-hosting
packages=$(go list ./... | grep -v '/cmd/vault-plugin-secrets-hosting$')

status=0
# shellcheck disable=SC2086 # they are words
CGO_ENABLED=1 go test -race -count=1 -timeout 20m $packages || status=$?
go test -count=1 -timeout 20m "$end_to_end" || status=$?
for report in "$reports"/race.*; do
	[[ -f $report ]] || continue
	cat "$report" >&2
	status=1
done
exit "$status"
