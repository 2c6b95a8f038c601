#!/usr/bin/env bash
# Checks the packets that the Plesk client really sends, and what the simulated Plesk takes and answers, against Plesk's
# own schemas, with xmllint.
#
# The schemas are Plesk's and not part of this project: PLESK_XSD_DIR names a folder that has agent_input.xsd. Where
# there is none, or no xmllint, nothing can be checked; that is said, and is no failure.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

say() { printf 'check-packets: %s\n' "$*"; }

schemas=${PLESK_XSD_DIR:-../shared/providers/plesk-xsd}
if [[ ! -f $schemas/agent_input.xsd ]]; then
	if [[ -n ${PLESK_XSD_DIR:-} ]]; then
		say "PLESK_XSD_DIR is $PLESK_XSD_DIR, which has no agent_input.xsd" >&2
		exit 1
	fi
	say "NOT CHECKED: there are no schemas of Plesk here; name their folder in PLESK_XSD_DIR"
	exit 0
fi
if ! command -v xmllint >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
	say "installing xmllint (libxml2-utils)"
	{ apt-get install -y libxml2-utils || { apt-get update && apt-get install -y libxml2-utils; }; } >/dev/null 2>&1 || true
fi
if ! command -v xmllint >/dev/null; then
	say "NOT CHECKED: there is no xmllint; install libxml2-utils (Debian, Ubuntu) or libxml2"
	exit 0
fi

packets=$(mktemp -d)
trap 'rm -rf "$packets"' EXIT
PLESK_PACKET_DIR=$packets go test -count=1 -run '^TestPacketsForSchemaCheck$' ./backend/provider/plesk

count=0
for packet in "$packets"/request-*.xml; do
	[[ -f $packet ]] || break
	if ! xmllint --nonet --noout --schema "$schemas/agent_input.xsd" "$packet" 2>"$packets/problems"; then
		say "${packet##*/} does not fit the schema:" >&2
		cat "$packets/problems" "$packet" >&2
		exit 1
	fi
	count=$((count + 1))
done
if ((count == 0)); then
	say "no packet was written: TestPacketsForSchemaCheck in backend/provider/plesk is to write them" >&2
	exit 1
fi
say "$count packets of the client fit Plesk's schema"

PLESK_XSD_DIR=$(cd "$schemas" && pwd -P) go test -count=1 -tags plesk_xsd -run '^(TestOurSchemaAgreesWithPlesks|TestAnswersAreValid)$' ./bootstrap/simulator/plesk
say "the simulator takes and answers what Plesk's schema says"
