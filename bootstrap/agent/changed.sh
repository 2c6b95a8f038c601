#!/bin/sh
# Vault Agent runs this after writing a new password to the file "$1". Reload your program here, for example with
# "systemctl reload web1". Output goes to the Agent's log, so never print the password.
set -eu

printf '%s has a new password\n' "$1"
