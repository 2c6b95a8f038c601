package provider

import "context"

// Kinds of login that can prove a password: the values of the role's field "verify".
const (
	LoginNone   = "none"
	LoginSSH    = "ssh"
	LoginRedis  = "redis"
	LoginPlesk  = "plesk"
	LoginWebCLI = "webcli"
)

// Login is one way to log in to an account, which proves its password.
type Login struct {
	// Kind is one of the kinds above.
	Kind string
	// Address is where to log in (host:port) if the role does not say; "" if the role must say. It belongs to the remote
	// system of the connection, so allowed_verify_addresses need not list it.
	Address string
	// TLS applies at Address.
	TLS TLS
}

// Verdict is what a login proves about the password that it presented.
type Verdict string

const (
	// Works: the login succeeded.
	Works Verdict = "works"
	// Refused: an authenticated server checked this password for this account, and refused it.
	Refused Verdict = "refused"
	// CannotTell: anything else. It never counts as Refused.
	CannotTell Verdict = "cannot_tell"
)

// Proof is the result of one login.
type Proof struct {
	Verdict Verdict
	// Reason is one clause for operators about what happened. It contains no secret and, apart from the fingerprint of a host
	// key, no text of the remote system.
	Reason string
	// Unsent: the password was not sent, so the remote system has counted nothing.
	Unsent bool
}

// Prover is a [Client] that can log in to an account through the remote system's own API.
type Prover interface {
	// Prove logs in with a password, once, and ends the session. The Result is what the call proves about the credential of
	// the connection, as for every other call; if its outcome is not Applied, the Proof is CannotTell.
	Prove(ctx context.Context, target Target, password string) (Result, Proof)
}
