#!/usr/bin/env bash
# Prints the path of a Vault that tests and the demo can run, and nothing else on standard output:
#
#   1. the one that VAULT_BIN names,
#   2. else the "vault" on the PATH, if it is version 1.17 or newer,
#   3. else bin/vault, built from source when it is not there yet. That needs Go and takes minutes, once.
#
# bootstrap/vault/go.mod says which version is built. Several callers at a time are fine.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
output=${VAULT_OUTPUT:-$root/bin/vault} # another place than bin/vault, to try the build out
package=github.com/hashicorp/vault
oldest_minor=17 # of Vault 1.x
every=15        # seconds between two lines of progress
export GOWORK=off

say() { printf 'vault: %s\n' "$*" >&2; }
fail() {
	say "$@"
	exit 1
}

# version_of prints the version of a Vault, "1.21.2", or nothing if it is none.
version_of() {
	{ "$1" version 2>/dev/null || true; } | sed -n 's/^Vault v\([0-9][0-9A-Za-z.+-]*\).*/\1/p'
}

# new_enough tells whether a version is one that the plugin runs in.
new_enough() {
	local major minor
	IFS=. read -r major minor _ <<<"$1"
	[[ $major =~ ^[0-9]+$ && $minor =~ ^[0-9]+$ ]] && ((major > 1 || (major == 1 && minor >= oldest_minor)))
}

# absolute prints a path that holds in every directory.
absolute() { printf '%s/%s\n' "$(cd "$(dirname "$1")" && pwd -P)" "$(basename "$1")"; }

pinned() { awk '$1 == "require" && $2 == "'"$package"'" { print substr($3, 2) }' "$root/bootstrap/vault/go.mod"; }

built() { [[ -x $output && $(version_of "$output") == "$(pinned)" ]]; }

elapsed() { printf '%dm%02ds' $((SECONDS / 60)) $((SECONDS % 60)); }

# follow waits for a process and tells every few seconds what a function says about it.
follow() {
	local pid=$1 describe=$2 next=$((SECONDS + every))
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		if ((SECONDS >= next)); then
			say "  $(elapsed)  $("$describe")"
			next=$((SECONDS + every))
		fi
	done
	wait "$pid"
}

fetching() { printf 'fetching modules: %d so far' "$(grep -c '^go: downloading ' "$work/list.log" || true)"; }

compiling() {
	local count last
	count=$(wc -l <"$work/build.log")
	last=$(tail -n 1 "$work/build.log")
	if [[ $last == "$package" ]]; then
		printf 'compiled, now linking'
	else
		printf 'compiled %d packages of at most %d, at %s' "$count" "$packages" "${last:-the first one}"
	fi
}

build() {
	command -v go >/dev/null || fail "there is no Vault 1.$oldest_minor or newer, and no Go to build one: install either, or set VAULT_BIN"
	say "building Vault $(pinned) from source, as there is no Vault 1.$oldest_minor or newer on the PATH. This is done once and"
	say "takes 5 to 15 minutes on two cores. To use one that you have, stop this and set VAULT_BIN."
	cd "$root/bootstrap/vault"
	export CGO_ENABLED=0

	go list -mod=readonly -tags minimal -deps "$package" >"$work/packages" 2>"$work/list.log" &
	child=$!
	if ! follow "$child" fetching; then
		grep -v '^go: downloading ' "$work/list.log" | tail -n 5 >&2 || true
		say "fetching the modules that Vault is built from failed (the lines above say why). It needs the network, or a Go"
		say "module proxy (see go env GOPROXY), or a filled module cache. Where there is none of them,"
		fail "install Vault 1.$oldest_minor or newer, or name one in VAULT_BIN."
	fi
	packages=$(($(wc -l <"$work/packages")))
	say "  $(elapsed)  all modules are there; compiling up to $packages packages"

	# Without -s and -w the program is a third larger. Stack traces are the same.
	go build -mod=readonly -trimpath -buildvcs=false -tags minimal -ldflags '-s -w' -v \
		-o "$work/vault" "$package" 2>"$work/build.log" &
	child=$!
	if ! follow "$child" compiling; then
		grep -v '^[A-Za-z0-9_.~/-]*$' "$work/build.log" | tail -n 15 >&2 || true
		fail "building Vault failed (the lines above say why); nothing was changed"
	fi
	child=
	[[ $(version_of "$work/vault") == "$(pinned)" ]] || fail "what was built is not Vault $(pinned)"
	mv -f "$work/vault" "$output"
	say "  $(elapsed)  built ${output#"$root"/}"
}

if [[ -n ${VAULT_BIN:-} ]]; then
	found=$(command -v -- "$VAULT_BIN") || found=
	[[ -f $found && -x $found ]] || fail "VAULT_BIN is $VAULT_BIN, which is no program that can be run: correct or unset it"
	version=$(version_of "$found")
	[[ -n $version ]] || fail "VAULT_BIN is $VAULT_BIN, which does not answer \"version\" as Vault does: correct or unset it"
	new_enough "$version" || fail "VAULT_BIN is $VAULT_BIN, version $version: 1.$oldest_minor or newer is needed"
	absolute "$found"
	exit
fi

if found=$(command -v vault) && [[ -f $found ]] && new_enough "$(version_of "$found")"; then
	absolute "$found"
	exit
fi

if ! built; then
	mkdir -p "$(dirname "$output")"
	# One builds, the others wait. Where flock is missing they all build, and each puts a whole program in place.
	if command -v flock >/dev/null; then
		exec 9>"$output.lock"
		if ! flock -n 9; then
			say "another build of Vault is under way; waiting for it"
			flock 9
		fi
	fi
	if ! built; then
		work=$(mktemp -d "$output.XXXXXX")
		child=
		stop() {
			[[ -z $child ]] || kill "$child" 2>/dev/null || true
			rm -rf "$work"
		}
		trap stop EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM
		build
	fi
fi
absolute "$output"
