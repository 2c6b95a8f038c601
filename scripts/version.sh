#!/usr/bin/env bash
# Prints the version to build: the newest release in CHANGELOG.md, with the leading "v" that Vault requires.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=
if [[ -f CHANGELOG.md ]]; then
	version=$(sed -nE 's/^## \[?v?([0-9]+\.[0-9]+\.[0-9]+[-+.0-9A-Za-z]*).*/v\1/p' CHANGELOG.md | sed -n 1p)
fi
printf '%s\n' "${version:-v0.1.0}"
