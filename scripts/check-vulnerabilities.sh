#!/usr/bin/env bash
# Looks for known vulnerabilities in what the binaries call: check-vulnerabilities.sh path-of-govulncheck.
#
# A finding is a failure. The public database may be out of reach; that is said, and is no failure. GOVULNDB names
# another database (the URL of a mirror, or file:///folder), which then has to be there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
"$1" ${GOVULNDB:+-db "$GOVULNDB"} ./... >"$log" 2>&1 || status=$?
cat "$log"
case $status in
0) ;;
3) # govulncheck's own code for a finding
	echo "check-vulnerabilities: there are known vulnerabilities, see above" >&2
	exit 1
	;;
*)
	# It says so after it has loaded the code, and before it looks for anything: nothing was found, nothing was missed.
	if [[ -z ${GOVULNDB:-} ]] && grep -q '^govulncheck: fetching vulnerabilities: ' "$log"; then
		echo "check-vulnerabilities: NOT CHECKED: the database of vulnerabilities is out of reach from here (GOVULNDB can name a mirror)"
		exit 0
	fi
	echo "check-vulnerabilities: govulncheck failed, see above" >&2
	exit 1
	;;
esac
