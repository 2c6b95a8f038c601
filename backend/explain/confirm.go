package explain

import (
	"errors"
	"fmt"
	"strings"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// Unconfirmable is the error of a confirmation that does not fit the role's passwords: that a version is in force or, with
// discard, that it is not.
func Unconfirmable(r *role.Role, version int, discard bool, err error) string {
	current := r.Record.Current
	inForce := current != nil && (current.Version == version || current.Formerly != 0 && current.Formerly == version)
	switch {
	case errors.Is(err, credential.ErrQueued):
		return fmt.Sprintf("version %d of role %q cannot be discarded yet, because the remote system has queued it and it may still take effect. It counts as in force at %s: if it does not work after that, discard it then",
			version, r.Name, Time(r.SettlesAt))
	case errors.Is(err, credential.ErrInForceOn):
		return fmt.Sprintf("version %d of role %q cannot be discarded, because it was confirmed on some servers. Write rotate-role/%s to set another one, or %s",
			version, r.Name, r.Name, stateVersion(r))
	case discard && inForce:
		return fmt.Sprintf("version %d of role %q cannot be discarded, because it is in force as far as Vault knows. If another one is, %s",
			version, r.Name, stateVersion(r))
	case inForce:
		return fmt.Sprintf("version %d of role %q was not confirmed, because another one is being sent and may replace it. Wait for the outcome (status/%s), or %s",
			version, r.Name, r.Name, stateVersion(r))
	}
	what, why := "confirmed", "it is an older one, which can only be confirmed for all servers at once"
	if discard {
		what, why = "discarded", "it is not waiting to take effect"
	}
	newest := r.Record.Forgotten
	known := false
	for _, p := range r.Record.List() {
		newest, known = max(newest, p.Version), known || p.Version == version
	}
	switch next := r.Record.Next; {
	case next != nil && next.Version == version && !next.Exposed():
		why = "it was never sent"
	case !known && version > newest:
		why = "it does not exist"
	case !known:
		why = "Vault no longer has it"
	}
	return fmt.Sprintf("version %d of role %q cannot be %s, because %s. %s", version, r.Name, what, why, upper(stateVersion(r)))
}

// stateVersion says how to state which password is in force, as a clause.
func stateVersion(r *role.Role) string {
	return fmt.Sprintf("write the one that works to confirm-role/%s: version=N (history/%s lists them), or password=… if Vault does not have it", r.Name, r.Name)
}

// Confirmed is the warning after a confirmation, or a discard: what still waits, what it withdrew, and the new version of an
// older password. before is the record before it, and unchecked is that of NotChecked.
func (f Facts) Confirmed(before credential.Record, discard bool, unchecked string) string {
	rec, text := f.Role.Record, f.Staged()
	if !discard && before.Next != nil && !before.Next.Exposed() && rec.Next == nil {
		text = fmt.Sprintf("This confirmation withdrew a rotation that was waiting to be sent. If you still want it, write rotate-role/%s.", f.Role.Name)
	}
	if c := rec.Current; c != nil && c.Formerly != 0 && (before.Current == nil || before.Current.Version != c.Version) {
		lead := fmt.Sprintf("Version %d counts as in force because you say so, and is now version %d, because versions never go back.", c.Formerly, c.Version)
		if last := before.Current; last != nil && last.Basis == credential.BasisAnswer {
			lead += fmt.Sprintf(" The remote system last confirmed version %d.", last.Version)
		}
		text = lead + " " + text
	}
	if unchecked != "" && !discard { // a discard is believed without a login
		text = strings.TrimSpace(text) + " " + Unproved(unchecked)
	}
	return strings.TrimSpace(text)
}

// NotChecked says why no login has proved a password that an operator confirms, as a clause; "" if one has, or if none could.
func NotChecked(r *role.Role, force bool, logins []role.LoginResult) string {
	if force && r.Options.Proves() {
		return "none was made, because of force=true"
	}
	for _, l := range logins {
		if l.Verdict == provider.CannotTell {
			return l.Reason
		}
	}
	return ""
}

// NotTaken is the error of a confirmation for all servers of a password that some of them did not take.
func NotTaken(r *role.Role, version int) string {
	return fmt.Sprintf("as far as Vault knows, version %d of role %q was not taken by: %s. Name the servers on which it is in force (servers=…); name all of them if you set it on the others by hand",
		version, r.Name, list(r.Record.Next.Missing(r.Target.Parts)))
}

// NoServers is the error of a confirmation that names servers of a role without servers.
func NoServers(r *role.Role) string {
	return fmt.Sprintf("role %q has one account: servers is only for roles with several servers", r.Name)
}

// NotAServer is the error of a confirmation that names a server of another role.
func NotAServer(r *role.Role, server string) string {
	return fmt.Sprintf("server %q is not part of role %q (servers: %s)", server, r.Name, list(r.Target.Parts))
}

// Unsettled is the error of a request for a new password while too many outcomes are unknown.
func Unsettled(r *role.Role) string {
	return fmt.Sprintf("the password of role %q was not changed, because too many of its passwords have an unknown outcome. %s", r.Name, upper(findOut(r)))
}

// ChosenRefused is the error of a request whose password the remote system refused, which changes nothing.
func ChosenRefused(name string, last *role.Failure) string {
	return fmt.Sprintf("the password given for role %q was not set: %s. The role is as it was before: choose another password", name, last)
}

// UnknownOutcome is the warning of a request whose outcome could not be stored.
func UnknownOutcome(name string) string {
	return fmt.Sprintf("A new password for role %q was sent, but the outcome could not be stored: it may or may not be in force. The engine tries again until the outcome is known; see status/%s.", name, name)
}

// Panicked is the warning of a request that hit a fault of the plugin after it may have sent a password.
func Panicked(name string) string {
	return fmt.Sprintf("The plugin has a fault, and this request hit it after a new password for role %q may have been sent: it may or may not be in force, and no password is lost. The engine tries again until the outcome is known; see status/%s. Report the stack trace in Vault's log.", name, name)
}

// Repeatable says how to repeat a request for a rotation that did not name a version and is not finished.
func Repeatable(version int) string {
	return fmt.Sprintf("If you repeat this request, give version=%d: without it, it makes another change.", version)
}

// InProgress is the warning of a request that stops waiting for its change.
func InProgress(name string) string {
	return fmt.Sprintf("The change of role %q is still in progress and continues; see status/%s.", name, name)
}

// NoPasswordFrozen is the error of a first read while the mount is frozen.
func NoPasswordFrozen(name string, f *role.Freeze) string {
	return fmt.Sprintf("role %q has no password yet, and a read cannot set one, because %s. Write rotate-role/%s to set one; %s", name, Freeze(f), name, unfreeze(f))
}
