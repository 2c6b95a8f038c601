package explain

import (
	"fmt"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// Time formats a time for a message.
func Time(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// TimeOrNone formats a time for the log.
func TimeOrNone(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return Time(t)
}

// CheckFailure returns the reason and code of a read-only call, as a clause. The call may have been carried out, but that
// changed nothing.
func CheckFailure(result provider.Result) string {
	return failure(result.Code, strings.TrimSuffix(result.Reason, "; the request may have been carried out"))
}

// failure returns the reason and code of a failed call, as a clause.
func failure(code, reason string) string { return (&role.Failure{Code: code, Reason: reason}).String() }

// sentence turns a clause into a sentence.
func sentence(clause string) string { return upper(clause) + "." }

// upper capitalizes the first letter.
func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// MaxNames is how many names a message lists.
const MaxNames = 10

// list lists names, but not more than MaxNames.
func list(names []string) string {
	shown := strings.Join(names[:min(len(names), MaxNames)], ", ")
	if more := len(names) - MaxNames; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return shown
}

// SameSystem warns that a connection leads to the remote system of others at another address. twice are those of its roles
// whose account has a role there. Only the log names these, which may be those of others.
func SameSystem(name string, others, twice []string) string {
	text := fmt.Sprintf("The connection %q leads to the same remote system as %s, at another address. An account can have a role on one of them only. "+
		"Use the same url for all: the engine counts refused logins for each address", name, list(others))
	if len(twice) > 0 {
		text += ". The accounts of these roles have another role there, and only one of the two has the password in force: " +
			list(twice) + ". Delete the one whose password does not work; Vault's log names both. Deleting a role deletes the only copy of its password"
	}
	return text
}
