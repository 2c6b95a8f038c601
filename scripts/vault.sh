#!/usr/bin/env bash
# Prints the path of a Vault binary for the tests and the demo, and nothing else, on standard output. It uses, in this order:
#
#   1. VAULT_BIN, if set,
#   2. "vault" on the PATH, if it is version 1.17 or newer,
#   3. bin/vault, which it builds from source if missing. That needs Go and takes several minutes, once.
#
# bootstrap/vault/go.mod pins the version to build. It is safe to run this concurrently.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
output=${VAULT_OUTPUT:-$root/bin/vault} # VAULT_OUTPUT: for testing the build
package=github.com/hashicorp/vault
oldest_minor=17 # of Vault 1.x
every=15        # seconds between progress lines
export GOWORK=off

say() { printf 'vault: %s\n' "$*" >&2; }
fail() {
	say "$@"
	exit 1
}

# version_of prints the version of a Vault binary, such as "1.21.2", or nothing if it is not Vault.
version_of() {
	{ "$1" version 2>/dev/null || true; } | sed -n 's/^Vault v\([0-9][0-9A-Za-z.+-]*\).*/\1/p'
}

# new_enough checks whether the plugin supports this version of Vault.
new_enough() {
	local major minor
	IFS=. read -r major minor _ <<<"$1"
	[[ $major =~ ^[0-9]+$ && $minor =~ ^[0-9]+$ ]] && ((major > 1 || (major == 1 && minor >= oldest_minor)))
}

# absolute prints the absolute form of a path.
absolute() { printf '%s/%s\n' "$(cd "$(dirname "$1")" && pwd -P)" "$(basename "$1")"; }

pinned() { awk '$1 == "require" && $2 == "'"$package"'" { print substr($3, 2) }' "$root/bootstrap/vault/go.mod"; }

built() { [[ -x $output && $(version_of "$output") == "$(pinned)" ]]; }

elapsed() { printf '%dm%02ds' $((SECONDS / 60)) $((SECONDS % 60)); }

# follow waits for a process and prints the output of a function as progress every few seconds.
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
		printf 'compiled %d of at most %d packages, now %s' "$count" "$packages" "${last:-the first one}"
	fi
}

build() {
	command -v go >/dev/null || fail "found neither Vault 1.$oldest_minor or newer nor Go to build it: install one of them, or set VAULT_BIN"
	say "no Vault 1.$oldest_minor or newer on the PATH: building Vault $(pinned) from source. This happens once and takes"
	say "5 to 15 minutes on two cores. To use an existing Vault instead, stop this and set VAULT_BIN."
	cd "$root/bootstrap/vault"
	export CGO_ENABLED=0

	go list -mod=readonly -tags minimal -deps "$package" >"$work/packages" 2>"$work/list.log" &
	child=$!
	if ! follow "$child" fetching; then
		grep -v '^go: downloading ' "$work/list.log" | tail -n 5 >&2 || true
		say "fetching Vault's Go modules failed (see above). This needs network access, a Go module proxy (see go env GOPROXY)"
		fail "or a filled module cache. If you have none of these, install Vault 1.$oldest_minor or newer, or set VAULT_BIN."
	fi
	packages=$(($(wc -l <"$work/packages")))
	say "  $(elapsed)  fetched all modules; compiling up to $packages packages"

	# Without -s and -w the binary is a third larger. Stack traces are the same.
	go build -mod=readonly -trimpath -buildvcs=false -tags minimal -ldflags '-s -w' -v \
		-o "$work/vault" "$package" 2>"$work/build.log" &
	child=$!
	if ! follow "$child" compiling; then
		grep -v '^[A-Za-z0-9_.~/-]*$' "$work/build.log" | tail -n 15 >&2 || true
		fail "building Vault failed (see above)"
	fi
	child=
	[[ $(version_of "$work/vault") == "$(pinned)" ]] || fail "the binary that was built does not report version $(pinned)"
	mv -f "$work/vault" "$output"
	say "  $(elapsed)  built ${output#"$root"/}"
}

if [[ -n ${VAULT_BIN:-} ]]; then
	found=$(command -v -- "$VAULT_BIN") || found=
	[[ -f $found && -x $found ]] || fail "VAULT_BIN ($VAULT_BIN) is not an executable file: correct or unset it"
	version=$(version_of "$found")
	[[ -n $version ]] || fail "VAULT_BIN ($VAULT_BIN) does not report a Vault version: correct or unset it"
	new_enough "$version" || fail "VAULT_BIN ($VAULT_BIN) is version $version; 1.$oldest_minor or newer is required"
	absolute "$found"
	exit
fi

if found=$(command -v vault) && [[ -f $found ]] && new_enough "$(version_of "$found")"; then
	absolute "$found"
	exit
fi

if ! built; then
	mkdir -p "$(dirname "$output")"
	# One process builds, the others wait. Without flock they all build, which is safe: mv replaces the binary atomically.
	if command -v flock >/dev/null; then
		exec 9>"$output.lock"
		if ! flock -n 9; then
			say "waiting for another build of Vault to finish"
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
