package explain

import (
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
)

// force says which request makes a call that may have consequences, and what they are, as a clause.
const force = "write it with force=true: it is checked once, and if it is refused again, the remote system may lock the login or block Vault's address"

// Warnings of a write of a connection whose secret was not checked: it is the stored one, or verify_connection is false and the
// one before was not refused.
const (
	SecretUnchanged = "The secret is unchanged and was not checked. To check it, write it with force=true."
	StoredUnchecked = "The secret was stored unchecked (verify_connection=false), in place of one that was not refused and that Vault no longer has. If it does not work, the connection is paused. To check it now, write it again with force=true."
)

// TriedBefore is the error of a write of a connection whose secret was refused in an earlier write of the connection by.
func TriedBefore(by string, at time.Time) string {
	return fmt.Sprintf("the connection was not stored: the remote system refused this secret at %s (write of config/%s), and it is not tried again, "+
		"because refusals add up until the login is locked. Correct it; or if it works now, %s", Time(at), by, force)
}

// NotTried is the error of a write of a connection whose secret is not tried, for this reason. by is the connection whose
// write was refused last, and again is when the secret can be tried; zero if no time is known.
func NotTried(reason, by string, at, again time.Time) string {
	text := "the connection was not stored and its secret not tried: " + reason
	if by != "" {
		text += fmt.Sprintf("; the last refused write was that of config/%s at %s", by, Time(at))
	}
	if again.IsZero() {
		return text + ". " + upper(force)
	}
	return fmt.Sprintf("%s. Try again at %s; or %s", text, Time(again), force)
}

// Blocked says why a call is not made that could make the remote system block Vault's address, as a clause.
func Blocked(name, reason string) string {
	return fmt.Sprintf("the credential of the connection %q is not known to work: %s", name, reason)
}

// Held says why calls to a service are held, as a clause.
func Held(h connection.Hold) string {
	if h.Since.IsZero() { // stored by an earlier version
		return "the remote system throttled requests with this connection's credential"
	}
	text := fmt.Sprintf("%s at %s", failure(h.Code, h.Reason), Time(h.Since))
	if h.By != "" {
		text += fmt.Sprintf(", when the connection %q called, which uses the same login or key at the same address", h.By)
	}
	return text
}

// Unchecked is the reason of a pause after a refused call that no check follows.
func Unchecked(reason string) string {
	return "the credential was refused and is not checked, because another refusal has consequences: " + reason
}
