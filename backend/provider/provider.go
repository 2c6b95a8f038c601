// Package provider defines the interface between the engine and remote systems.
//
// A [Type] is one kind of remote system (Plesk, Huawei Cloud DCS, …). It declares and validates its fields, knows the
// password rules of the remote system, and opens a [Client] for a connection. The Client makes the calls. Neither knows
// about storage, roles, schedules or other providers: package rotation decides from the [Result] alone what a response
// means for a role.
//
// The one thing a Client must get right is the [Outcome] of [Client.Change]. The engine keeps every password that may
// be in force and retries without asking, so an outcome that claims more than the response proves can lose a password
// or lock an account. When in doubt, return [Unknown].
package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/password"
)

// Type is one kind of remote system. Its methods are pure, do no I/O and may be called concurrently. They return an
// error only for invalid input: one sentence that tells the user what to do and holds no secret.
type Type interface {
	// Name returns the value of the field "provider".
	Name() string

	// ConnectionFields returns the provider's own connection fields, in addition to those that every connection has.
	ConnectionFields() []Field

	// CredentialForms lists the alternative ways to log in, each as a list of connection fields. The engine keeps the
	// fields of one form only: writing a secret of one form removes the fields of the other forms, and those secrets of
	// the same form that are not written again.
	CredentialForms() [][]string

	// TargetFields returns the role fields that identify the account on the remote system.
	TargetFields() []Field

	// Complete validates a connection and sets derived values: the default address and the defaults of the provider's
	// own fields. It must be idempotent.
	Complete(*Connection) error

	// Target validates the target fields of a role on a completed connection and returns the account they identify.
	Target(Connection, Settings) (Target, error)

	// Host returns the canonical host and port of the remote system that a completed connection leads to, or "" if the
	// address cannot be parsed.
	Host(Connection) string

	// LoginIdentity returns the identity (as in Target.Identities) of the account that the connection itself logs in
	// with, or "" if no role can name that account. A role must not change the password that its own mount depends on.
	LoginIdentity(Connection) string

	// Lockout describes when the remote system locks the credential of a completed connection.
	Lockout(Connection) Lockout

	// Rules returns the remote system's password rules for this target of a completed connection.
	Rules(Connection, Target) password.Rules

	// OldPassword reports whether a change must send the current password, and how long wrong ones lock the account.
	OldPassword(Target) OldPassword

	// Logins returns the ways to log in to this target of a completed connection, which prove its password.
	Logins(Connection, Target) []Login
	// SettleAfter returns how long a queued change (StageAccepted) takes to come into force on a completed connection,
	// or 0 if the remote system never queues a change.
	SettleAfter(Connection) time.Duration

	// Open returns a client for a completed connection. It does no I/O.
	Open(Connection) (Client, error)
}

// Client makes calls to one remote system with the credential of one connection. Its methods may be called
// concurrently, return when their context ends, and must not follow redirects.
type Client interface {
	// Check makes one cheap read-only call to prove that the address, the TLS settings and the credential work. The
	// outcome is Applied, with Result.System, if they do, and Denied with ScopeConnection only if the credential itself
	// was refused. It sends the credential even if it was refused a moment ago: the caller must count the attempts.
	Check(context.Context) Result

	// CheckTarget makes read-only calls, if the remote system has any, to verify that the target exists and is the
	// account that the role names. The outcome is Applied unless the check finds a problem, or a change with
	// Result.Confirmed is still not in force.
	CheckTarget(context.Context, Target) Result

	// Change sets the password of one target with a single modifying request, which it sends at most once. The only
	// exception: if the remote system refuses an expired session token, Change may renew it and send the identical
	// request again.
	Change(context.Context, Change) Result
}

// Change is one request to set a password.
type Change struct {
	Target      Target
	NewPassword string
	// OldPassword is the current password; set only if OldPassword(Target).Required.
	OldPassword string
	// Parts are the parts of the target to change, in the target's order: all of them, or those that have not taken
	// this password yet. Empty if the target has no parts.
	Parts []string
}

// Format hides the passwords from every verb of fmt.
func (c Change) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "change of %q %q (passwords hidden)", c.Target.Names, c.Parts)
}

// MarshalText hides the passwords from JSON loggers. A Change is never stored.
func (c Change) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

// OldPassword describes whether a change needs the current password.
type OldPassword struct {
	// Required: every change must send the current password.
	Required bool
	// LockWindow is how long the remote system locks an account after too many wrong passwords.
	LockWindow time.Duration
	// Otherwise tells an operator how to change the password without it ("set … on the role"); "" if that is
	// impossible.
	Otherwise string
}

// Lockout describes when a remote system locks a login or a key after failed attempts. The lock affects every user of
// that credential. The zero value means that nothing is locked.
type Lockout struct {
	// Credential identifies what is locked, across connections: provider or cloud, address, login or key. It never holds
	// a secret. Without the address, whoever may write a connection to a server of his own could have it answer for others.
	Credential string
	// Former is what earlier versions called it; "" if the same. What they counted still counts.
	Former string
	// Refusals is the number of consecutive refusals that lock the credential: 0, or at least lockout.MinRefusals.
	Refusals int
	// Window is how long the remote system may remember a refusal; 0 means a few minutes.
	Window time.Duration
	// Session: calls send a session token obtained with the credential; only one call at a time sends the credential
	// itself.
	Session bool
	// Service is the host that throttles requests on its own; the engine sets it.
	Service string
	// Sender describes how the remote system counts refusals of all credentials together.
	Sender Sender
}

// Sender describes when a remote system blocks the address that requests come from, because it refused too many of them,
// whichever credentials they presented. The zero value means that it never does.
type Sender struct {
	// Server identifies the remote system that counts.
	Server string
	// Refusals is how many refusals the engine may cause in Window. The remote system blocks the sender after at least two
	// more, because a credential that works may be refused once when this number is reached.
	Refusals int
	// Window is how long the remote system remembers a refusal. Requests that it accepts do not make it forget.
	Window time.Duration
}

// Field is one field of a connection or of a target.
type Field struct {
	Name   string
	Schema *framework.FieldSchema
	// Secret fields are never returned on read.
	Secret bool
	// Address fields of a connection determine where the credential is sent: changing one requires the credential.
	Address bool
	// Immutable fields of a connection cannot be changed.
	Immutable bool
	// Local fields of a connection are not sent and do not affect the credential, the address or the service: changing
	// one needs no new check.
	Local bool
	// Mutable target fields do not identify the account; they control how its password is changed.
	Mutable bool
}

// Connection holds what a provider needs to reach a remote system.
type Connection struct {
	// URL is the base address, without a trailing slash. Complete derives it if it is empty.
	URL string
	TLS TLS
	// Settings holds the provider's own fields.
	Settings Settings
}

// MarshalText hides the values of the settings from JSON loggers. Only the Settings themselves are stored.
func (c Connection) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s %s", c.URL, c.Settings), nil
}

// TLS configures how the remote system's certificate is verified.
type TLS struct {
	// CACert is a PEM bundle that replaces the system roots.
	CACert string `json:"ca_cert,omitempty"`
	// ServerName replaces the host name of the URL for verification.
	ServerName string `json:"server_name,omitempty"`
	// Insecure disables verification.
	Insecure bool `json:"insecure,omitempty"`
}

// Target is one account on a remote system, as stored with a role.
type Target struct {
	// Names are the canonical names. A connection's allowed_targets must match every one of them.
	Names []string `json:"names"`
	// Identities identify the account across connections: provider, project or canonical host, remote ID.
	// Two roles with an identity in common, at one address, would fight over one password.
	Identities []string `json:"identities"`
	// Address is where the identities apply; "" if they contain it, and in roles that an earlier version stored.
	Address string `json:"address,omitempty"`
	// Parts are the parts that take the password independently, such as several servers with one password. Empty if
	// the account has no parts. See Result.Taken.
	Parts []string `json:"parts,omitempty"`
	// Username is the login name of the account.
	Username string `json:"username"`
	// Restart is how the engine restarts the parts after a change, one at a time; "" if it does not.
	Restart string `json:"restart,omitempty"`
	// RestartTimeout is how long a part may take to be back, in seconds.
	RestartTimeout int `json:"restart_timeout,omitempty"`
	// Settings are the target fields in canonical form, as returned on read.
	Settings Settings `json:"settings"`
}
