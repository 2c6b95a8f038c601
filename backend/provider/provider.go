// Package provider says what a remote system is to the engine.
//
// A [Type] is one kind of remote system (Plesk, Huawei Cloud DCS, …). It names its fields, checks them, knows the rules
// its passwords must meet, and opens a [Client] for one connection. A Client makes the calls. Neither knows storage,
// roles, schedules or any other provider: what an answer means for a role is decided by package rotation from the
// [Result] alone.
//
// The one thing that a Client must get right is the [Outcome] of [Client.Change]. The engine keeps every password that
// may be in force and retries without asking, so an outcome that claims more than the answer proves loses a password
// or locks an account. When in doubt, the outcome is [Unknown].
package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/password"
)

// Type is one kind of remote system. Its methods are pure, do no I/O and may be called concurrently. Errors that they
// return are the user's mistake: one sentence that says what to do, without a secret.
type Type interface {
	// Name is the value of the field "provider".
	Name() string

	// ConnectionFields are the fields of a connection that this provider has beyond those of every connection.
	ConnectionFields() []Field

	// CredentialForms lists the alternative ways to log in, each with the connection fields that it consists of. The
	// engine keeps the fields of one form only: writing a secret of one form drops the other forms' fields, and the
	// secrets of the same form that are not written again.
	CredentialForms() [][]string

	// TargetFields are the fields of a role that name the account on the remote system.
	TargetFields() []Field

	// Complete validates a connection and fills in what is derived: the default address and the defaults of the
	// provider's own fields. It must be idempotent.
	Complete(*Connection) error

	// Target validates the target fields of a role on a completed connection and returns the account that they mean.
	Target(Connection, Settings) (Target, error)

	// LoginIdentity is the identity (as in Target.Identities) of the account that the connection itself logs in with,
	// or "" where no role could name it. A role may not change the password that its own mount depends on.
	LoginIdentity(Connection) string

	// Lockout says what of the credential of a completed connection the remote system locks after too many refusals.
	Lockout(Connection) Lockout

	// Rules are the rules that the remote system has for a password of this target of a completed connection.
	Rules(Connection, Target) password.Rules

	// OldPassword says whether a change has to present the present password, and what wrong ones cost.
	OldPassword(Target) OldPassword

	// SettleAfter is how long a change that the remote system has queued (StageAccepted) takes to be in force on a
	// completed connection; 0 where none is ever queued.
	SettleAfter(Connection) time.Duration

	// Open returns a client for a completed connection. It does no I/O.
	Open(Connection) (Client, error)
}

// Client talks to one remote system with one connection's credential. Its methods may be called concurrently, end with
// their context, and follow no redirect.
type Client interface {
	// Check makes one cheap read-only call that proves that the address, the TLS settings and the credential work.
	// The outcome is Applied when they do, and Denied with ScopeConnection only where the credential itself was refused.
	// It shows the credential though it was refused a moment ago: whoever calls it counts the tries.
	Check(context.Context) Result

	// CheckTarget makes read-only calls, where the remote system has any, to prove that the target exists and is the
	// account that the role names. The outcome is Applied when nothing speaks against it.
	CheckTarget(context.Context, Target) Result

	// Change sets the password of one account, in one request that changes something. It makes that request at most
	// once, but for one case: a session token that the remote system refuses as expired may be renewed and the very same request sent
	// again.
	Change(context.Context, Change) Result
}

// Change is one request to set a password.
type Change struct {
	Target      Target
	NewPassword string
	// OldPassword is the present password; set only where OldPassword(Target).Required.
	OldPassword string
	// Parts are the parts of the target to change, in the target's order: all of them, or those that have not taken
	// this very password yet. Empty where the target has no parts.
	Parts []string
}

// Format hides the passwords from every verb of fmt.
func (c Change) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "change of %q %q (passwords hidden)", c.Target.Names, c.Parts)
}

// MarshalText hides the passwords from JSON, which a logger may write: a Change is never stored.
func (c Change) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

// OldPassword says what a provider demands of the present password.
type OldPassword struct {
	// Required: each change has to present the present password.
	Required bool
	// LockWindow is how long the remote system keeps an account locked after too many wrong ones.
	LockWindow time.Duration
	// Otherwise says how a role can do without it, as advice to an operator ("set … on the role"); "": it cannot.
	Otherwise string
}

// Lockout is what a remote system does to a login or a key that it has refused too often, for everybody who uses it. The
// zero value: nothing is locked.
type Lockout struct {
	// Credential names what is locked, across connections: provider or cloud, host or account, login or key; never a
	// secret.
	Credential string
	// Refusals in a row that lock it.
	Refusals int
	// Window is how long the remote system may remember a refusal; 0: a few minutes.
	Window time.Duration
	// Session: calls show a token that was got for the credential, which itself is shown by one call at a time.
	Session bool
}

// Field is one field of a connection or of a target.
type Field struct {
	Name   string
	Schema *framework.FieldSchema
	// Secret fields are never read back.
	Secret bool
	// Address fields of a connection say where the credential is sent: changing one needs the credential.
	Address bool
	// Immutable fields of a connection cannot be changed.
	Immutable bool
	// Local fields of a connection are not sent, and no other credential, address or service follows from them:
	// changing one needs no new check.
	Local bool
	// Mutable target fields do not name the account, they say how its password is changed.
	Mutable bool
}

// Connection is what a provider needs to know to reach a remote system.
type Connection struct {
	// URL is the base address, without a trailing slash; Complete derives it where it is empty.
	URL string
	TLS TLS
	// Settings holds the provider's own fields.
	Settings Settings
}

// MarshalText hides the settings' values from JSON, which a logger may write: what is stored are the settings alone.
func (c Connection) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s %s", c.URL, c.Settings), nil
}

// TLS says how the remote system's certificate is checked.
type TLS struct {
	// CACert is a PEM bundle that replaces the system's roots.
	CACert string `json:"ca_cert,omitempty"`
	// ServerName replaces the address' host name when the certificate is checked.
	ServerName string `json:"server_name,omitempty"`
	// Insecure switches the check off.
	Insecure bool `json:"insecure,omitempty"`
}

// Target is one account on a remote system, as stored with a role.
type Target struct {
	// Names are the canonical names that a connection's allowed_targets must match, every one of them.
	Names []string `json:"names"`
	// Identities name the account across connections: provider, project or canonical host, remote id.
	// Two roles with one identity in common would fight over one password.
	Identities []string `json:"identities"`
	// Parts are what takes the password each by itself, such as several servers with one password; empty where the
	// account is one. See Result.Taken.
	Parts []string `json:"parts,omitempty"`
	// Username is what one logs in with.
	Username string `json:"username"`
	// Settings are the target's fields in canonical form, as they read back.
	Settings Settings `json:"settings"`
}
