#!/usr/bin/env bash
# Runs govulncheck on all packages and fails if it finds a known vulnerability:
#
#   check-vulnerabilities.sh PATH-TO-GOVULNCHECK
#
# If the public database is unreachable, the script reports NOT CHECKED and exits with 0. Set GOVULNDB to use another
# database (the URL of a mirror, or file:///folder), which must then be reachable.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
"$1" ${GOVULNDB:+-db "$GOVULNDB"} ./... >"$log" 2>&1 || status=$?
cat "$log"
case $status in
0) ;;
3) # govulncheck's exit code for findings
	echo "check-vulnerabilities: known vulnerabilities found, see above" >&2
	exit 1
	;;
*)
	# govulncheck prints this after loading the code and before analysing it, so no finding can have been lost.
	if [[ -z ${GOVULNDB:-} ]] && grep -q '^govulncheck: fetching vulnerabilities: ' "$log"; then
		echo "check-vulnerabilities: NOT CHECKED: cannot reach the vulnerability database (set GOVULNDB to use a mirror)"
		exit 0
	fi
	echo "check-vulnerabilities: govulncheck failed, see above" >&2
	exit 1
	;;
esac
