#!/bin/sh
# Vault Agent runs this after it has written a new password into the file "$1". Put here what makes your program take it,
# such as "systemctl reload web1". What it prints comes into the Agent's log: never the password.
set -eu

printf '%s has a new password\n' "$1"
