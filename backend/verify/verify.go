// Package verify proves a password by logging in with it, over SSH, to Redis, or to the XML API of Plesk.
//
// A login sends the password to nobody before the server is authenticated: over SSH by a host key that the operator has
// given, otherwise by its certificate. There is no trust on first use. A login runs no command and leaves no session behind.
//
// Most failures prove nothing. Only an authenticated server that says that it refuses this password for this account proves
// that the password is wrong: see [provider.Refused].
//
// The package knows nothing about roles and storage. The caller decides whether an address may be used, and counts refused
// logins before they are made.
package verify

import (
	"context"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Login is one login to make.
type Login struct {
	provider.Hidden
	// Kind is provider.LoginSSH, LoginRedis or LoginPlesk.
	Kind string
	// Address is host:port.
	Address            string
	Username, Password string
	// HostKeys are the keys of which an SSH server must present one: each a public key in the format of authorized_keys, or
	// a fingerprint "SHA256:…".
	HostKeys []string
	// TLS is used for redis and plesk. Plain, for redis, sends the password without TLS.
	TLS   provider.TLS
	Plain bool
}

// Validate checks the login without its password. Its errors are for the user who wrote it.
func (l Login) Validate() error { return nil }

// Prove makes the login. It returns when ctx ends, and connects only to the hosts of provider.HostsOf(ctx).
func (l Login) Prove(context.Context) provider.Proof {
	return provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: "this kind of login is not implemented"}
}
