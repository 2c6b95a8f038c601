#!/usr/bin/env bash
# Uses xmllint to validate the packets that the Plesk client sends, and those that the simulated Plesk accepts and
# returns, against Plesk's own schemas.
#
# The schemas belong to Plesk and are not part of this project. Set PLESK_XSD_DIR to a folder that contains
# agent_input.xsd. Without the schemas or xmllint, the script reports NOT CHECKED and exits with 0.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"

say() { printf 'check-packets: %s\n' "$*"; }

schemas=${PLESK_XSD_DIR:-../shared/providers/plesk-xsd}
if [[ ! -f $schemas/agent_input.xsd ]]; then
	if [[ -n ${PLESK_XSD_DIR:-} ]]; then
		say "no agent_input.xsd in PLESK_XSD_DIR ($PLESK_XSD_DIR)" >&2
		exit 1
	fi
	say "NOT CHECKED: Plesk's schemas not found; set PLESK_XSD_DIR to their folder"
	exit 0
fi
if ! command -v xmllint >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
	say "installing xmllint (libxml2-utils)"
	{ apt-get install -y libxml2-utils || { apt-get update && apt-get install -y libxml2-utils; }; } >/dev/null 2>&1 || true
fi
if ! command -v xmllint >/dev/null; then
	say "NOT CHECKED: xmllint not found; install libxml2-utils (Debian, Ubuntu) or libxml2"
	exit 0
fi

packets=$(mktemp -d)
trap 'rm -rf "$packets"' EXIT
PLESK_PACKET_DIR=$packets go test -count=1 -run '^TestPacketsForSchemaCheck$' ./backend/provider/plesk

count=0
for packet in "$packets"/request-*.xml; do
	[[ -f $packet ]] || break
	if ! xmllint --nonet --noout --schema "$schemas/agent_input.xsd" "$packet" 2>"$packets/problems"; then
		say "${packet##*/} does not validate against the schema:" >&2
		cat "$packets/problems" "$packet" >&2
		exit 1
	fi
	count=$((count + 1))
done
if ((count == 0)); then
	say "no packets to check: TestPacketsForSchemaCheck in backend/provider/plesk wrote none" >&2
	exit 1
fi
say "all $count client packets validate against Plesk's schema"

PLESK_XSD_DIR=$(cd "$schemas" && pwd -P) go test -count=1 -tags plesk_xsd -run '^(TestPacketValidationMatchesPleskSchema|TestAnswersMatchPleskSchema)$' ./bootstrap/simulator/plesk
say "the simulator accepts and returns what Plesk's schema allows"
