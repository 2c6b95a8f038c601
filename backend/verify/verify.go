// Package verify proves a password by logging in with it, over SSH, to Redis, or to the XML API of Plesk.
//
// A login sends the password to nobody before the server is authenticated: over SSH by a host key that the operator has
// given, otherwise by its certificate. There is no trust on first use. The operator can waive that explicitly, with
// [Login.Plain] and [provider.TLS.Insecure], and is then the one who says that the server is the right one. A login sends the
// password once, runs no command and leaves no session behind. It ends after a minute at the latest.
//
// Most failures prove nothing. Only an authenticated server that says that it refuses this password for this account proves
// that the password is wrong: see [provider.Refused].
//
//	kind   works                              refused                     cannot_tell
//	ssh    logged in; or accepted, but more   authentication failure      host key, no password logins, disconnected,
//	       is required (partial success)                                  expired, another prompt, no SSH server
//	redis  OK                                 WRONGPASS, or               no password set, loading, too many clients,
//	                                          ERR invalid password        any other answer
//	plesk  ok                                 1001                        any other code, any other response
//	all                                                                   address not allowed, name, network, certificate,
//	                                                                      timeout
//
// Proof.Unsent is true whenever the login ended before the password left.
//
// The package knows nothing about roles and storage. The caller decides whether an address may be used, and counts refused
// logins before they are made.
package verify

import (
	"context"
	"errors"
	"net"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/plesk"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// timeout bounds a login whose context does not end earlier. SSH servers delay the answer to a wrong password by seconds, and
// some look up the client's name first.
const timeout = time.Minute

// Login is one login to make.
type Login struct {
	provider.Hidden
	// Kind is provider.LoginSSH, LoginRedis or LoginPlesk.
	Kind string
	// Address is host:port.
	Address string
	// AddressField is the field that holds Address, for errors and reasons: "url" if the address and the TLS settings are those
	// of the connection; "" for the role's "verify_address".
	AddressField       string
	Username, Password string
	// HostKeys are the keys of which an SSH server must present one: each a public key in the format of authorized_keys or
	// known_hosts, several of them on lines of their own, or a fingerprint "SHA256:…".
	HostKeys []string
	// TLS is used for redis and plesk. Plain, for redis, sends the password without TLS.
	TLS   provider.TLS
	Plain bool
}

// Validate checks the login without its password. Its errors are for the user who wrote it, and quote nothing.
func (l Login) Validate() error {
	if l.Kind != provider.LoginSSH && l.Kind != provider.LoginRedis && l.Kind != provider.LoginPlesk {
		return errors.New("verify must be ssh, redis or plesk for a login to an address")
	}
	if _, err := provider.ParseAddress(l.endpoint().Field, l.Address); err != nil {
		return err
	}
	if l.Username == "" {
		return errors.New("the account has no user name to log in with")
	}
	if l.Kind == provider.LoginSSH {
		_, err := parseHostKeys(l.HostKeys)
		return err
	}
	_, err := transport.New(l.endpoint())
	return err
}

// endpoint returns how to reach the server, and what reasons call it.
func (l Login) endpoint() transport.Endpoint {
	out := transport.Endpoint{TLS: l.TLS, Field: l.AddressField}
	if out.Field == "" {
		out.Field = transport.LoginField
	}
	if l.Kind == provider.LoginRedis {
		out.Plain = "verify_tls=false"
	}
	return out
}

// Prove makes the login. It returns when ctx ends, and connects only to the hosts of provider.HostsOf(ctx). It may be called
// concurrently.
func (l Login) Prove(ctx context.Context) provider.Proof {
	if err := l.Validate(); err != nil {
		return unsent(err.Error() + "; nothing was sent")
	}
	if l.Password == "" {
		return unsent("there is no password to log in with; nothing was sent")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch l.Kind {
	case provider.LoginSSH:
		return l.ssh(ctx)
	case provider.LoginRedis:
		return l.redis(ctx)
	default:
		return plesk.Login(ctx, l.endpoint(), l.Address, l.Username, l.Password)
	}
}

// unsent is a login that ended before the password was sent.
func unsent(reason string) provider.Proof {
	return provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: reason}
}

// sent is a login that ended without an answer to the password.
func sent(reason string) provider.Proof {
	return provider.Proof{Verdict: provider.CannotTell, Reason: reason}
}

// errHostile ends a login whose server sends what no server of its kind does.
var errHostile = errors.New("the server sends too much, or something else than an answer")

// bounded is a connection from which only so much is read, so that a hostile server can neither keep a login busy nor fill the
// memory.
type bounded struct {
	net.Conn
	left int
}

// Read reads at most what is left.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errHostile
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// Sender returns how the server counts refused logins by the address that they come from.
func (l Login) Sender() provider.Sender {
	if l.Kind != provider.LoginPlesk {
		return provider.Sender{}
	}
	return plesk.SenderAt(l.Address)
}
