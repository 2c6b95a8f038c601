package explain

import (
	"fmt"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// nothing is the advice when the operator has nothing to do.
const nothing = "no action is needed"

// Advice says what an operator can do.
func (f Facts) Advice() string {
	text := sentence(f.advice())
	if first := f.hindranceAdvice(); first != "" {
		if f.needsStatement() { // which nothing else replaces
			first = text + " " + first
		}
		text = first
	}
	switch only := "to change only this password, write rotate-role/" + f.Role.Name; {
	case f.Step.Why != role.Frozen || f.Freeze == nil:
		return text
	case text != sentence(nothing):
		return text + " " + sentence(unfreeze(f.Freeze))
	case f.Freeze.Until.IsZero():
		return sentence(unfreeze(f.Freeze) + "; " + only)
	default:
		return sentence(nothing+" if the change can wait until the freeze ends") + " " + sentence(unfreeze(f.Freeze)+"; "+only)
	}
}

// hindranceAdvice says how to remove what keeps the engine from working on the role; "" if nothing does.
func (f Facts) hindranceAdvice() string {
	var todo []string
	if f.NotAllowed != nil {
		todo = append(todo, sentence(allow(f.NotAllowed)))
	}
	if f.Pause != nil {
		todo = append(todo, sentence(writeCredential(f.Role.Connection, f.Pause)))
	}
	switch stuck := f.stuck(); {
	case stuck == nil:
	case stuck.Next.IsZero():
		todo = append(todo, sentence(checkStorage)+" The engine tries again every minute.")
	case stuck.Storage:
		todo = append(todo, fmt.Sprintf("%s The engine tries again at %s.", sentence(checkStorage), Time(latest(stuck.Next, f.Now))))
	default:
		todo = append(todo, sentence(stuck.Reason))
	}
	return strings.Join(todo, " ")
}

// needsStatement reports whether an operator has to state which password is in force.
func (f Facts) needsStatement() bool {
	switch f.View.State {
	case credential.StateDrifted:
		return !role.Recovers(f.Role) && f.Step.Do != role.Begin
	case credential.StateAccepted:
		return role.StaysQueued(f.Role)
	case credential.StateRestartRequired:
		return !f.alone() || partlyRefused(f.Role.Record) != 0
	case credential.StateUncertain:
		return f.Unsettled || f.Role.Record.Contradicted()
	default:
		return f.Unsettled
	}
}

// advice is Advice as a clause, regardless of a pause or a freeze.
func (f Facts) advice() string {
	r, last := f.Role, f.Role.Retry.Last
	if f.Unsettled {
		return findOut(r)
	}
	switch f.View.State {
	case credential.StateDrifted:
		return f.driftedAdvice()
	case credential.StateAccepted:
		if role.StaysQueued(r) {
			return fmt.Sprintf("write rotate-role/%s to set another one; or %s", r.Name, findOut(r))
		}
		return nothing
	case credential.StateRestartRequired:
		return f.restartAdvice()
	case credential.StateUncertain:
		return f.uncertainAdvice()
	case credential.StateNone:
		switch n := len(r.Record.Candidates); {
		case f.Step.Why == role.Drifted, n > 0 && r.Record.Candidates[n-1].Refused:
			return f.currentPassword()
		case n > 0:
			return fmt.Sprintf("write rotate-role/%s to set another one, or confirm-role/%s with the version of one that works", r.Name, r.Name)
		case last == nil && r.Record.Next != nil:
			return nothing
		case last == nil && f.Freeze != nil:
			return fmt.Sprintf("write rotate-role/%s to set one: while the mount is frozen, a read does not", r.Name)
		case last == nil:
			return fmt.Sprintf("read creds/%s or write rotate-role/%s to set one", r.Name, r.Name)
		}
	default:
		if last == nil {
			return f.settledAdvice()
		}
	}
	return f.failureAdvice()
}

// settledAdvice is the advice for a password that is in force, if nothing failed since.
func (f Facts) settledAdvice() string {
	r, current := f.Role, f.Role.Record.Current
	switch {
	case f.Step.Why == role.Window && f.Step.Do == role.Rest:
		return "correct rotation_schedule of roles/" + r.Name
	case !current.Basis.Assumed() && noLogin(r) != "" && logsIn(r) && !role.NextLogin(r).IsZero():
		return fmt.Sprintf("%s if the password works: the engine logs in again at %s. If that fails too, correct what last_proof_reason names; if no login is possible, set verify=none",
			nothing, Time(latest(role.NextLogin(r), f.Now)))
	case !current.Basis.Assumed() && noLogin(r) != "":
		return fmt.Sprintf("%s if the password works; to have it proved, correct what last_proof_reason names, then write verify-role/%s; if no login is possible, set verify=none", nothing, r.Name)
	case !current.Basis.Assumed():
		return nothing
	case r.Record.Previous == nil || r.Record.Exposed():
		return fmt.Sprintf("%s if the password works; otherwise, write the one that works to confirm-role/%s (password=…)", nothing, r.Name)
	default:
		return fmt.Sprintf("%s if the password works; otherwise, write confirm-role/%s with version=%d and discard=true: creds/%s then returns the previous password",
			nothing, r.Name, current.Version, r.Name)
	}
}

// restartAdvice is the advice in the state restart_required.
func (f Facts) restartAdvice() string {
	if role.LoginsCannotTell(f.Role) && f.Role.Record.Next.Staged() && !f.alone() {
		return "correct what last_proof_reason names, so that the engine can log in; or " + afterRestart(f)
	}
	return afterRestart(f)
}

// afterRestart is restartAdvice, whatever the logins show.
func afterRestart(f Facts) string {
	r, next, version := f.Role, f.Role.Record.Next, NextVersion(f.Role, f.View)
	confirm := fmt.Sprintf("write confirm-role/%s with version=%d", r.Name, version)
	switch {
	case next.Staged() && !next.Partial() && f.alone():
		return f.restartsAdvice()
	case r.RestartsFailed() != "" && logsIn(r):
		return fmt.Sprintf("check server %s on the remote system, and restart %s: the engine logs in from time to time to see when the new password is in force. Or write rotate-role/%s to set another one, for which it restarts all servers",
			r.Restarts.FailedPart, serversLeft(r), r.Name)
	case next.Staged() && !next.Partial() && r.Options.Proves() && r.Options.Disabled:
		return fmt.Sprintf("restart %s, then write verify-role/%s: the engine does not log in by itself, because disable_automated_rotation is set", serversLeft(r), r.Name)
	case next.Partial() && next.Phase == credential.Sending:
		return "wait until the other servers have answered"
	case next.Partial():
		return fmt.Sprintf("fix what keeps the other servers from taking version %d (see servers); restart each server that took it, then %s and servers=ID", version, confirm)
	case !next.Staged() && partlyRefused(r.Record) != 0:
		return fmt.Sprintf("fix what made servers refuse version %d (see servers); if a server has restarted with it, %s and servers=ID", version, confirm)
	case !next.Staged():
		return fmt.Sprintf("if a restart has already put version %d in force, %s", version, confirm)
	case len(r.Target.Parts) == 0:
		return fmt.Sprintf("restart the remote system and try the new password: if it works, %s; if not, add discard=true", confirm)
	case len(r.Target.Parts) == 1:
		return fmt.Sprintf("restart server %s and try the new password: if it works, %s; if not, add discard=true", r.Target.Parts[0], confirm)
	case len(next.InForceOn) == 0:
		return fmt.Sprintf("restart the servers (%s) and try the new password on each: if it works on all of them, %s; if only on some, add servers=ID; if on none, add discard=true",
			list(r.Target.Parts), confirm)
	default:
		return fmt.Sprintf("restart the servers that are not confirmed yet (%s) and try the new password on each: where it works, %s and servers=ID",
			list(unconfirmed(r)), confirm)
	}
}

// uncertainAdvice is the advice in the state uncertain.
func (f Facts) uncertainAdvice() string {
	find := findOut(f.Role)
	if contradicted(f.Role) {
		return contradictionAdvice(f.Role)
	}
	if f.Role.Record.Current == nil {
		find += ". If the role names the wrong account, delete the role with force=true" + onlyCopy
	}
	switch {
	case f.Step.Why == role.Drifted:
		return f.currentPassword()
	case f.failureNeedsOperator():
		return f.failureAdvice() + "; or " + find
	case f.staysUnknown():
		return fmt.Sprintf("check on the remote system that the account exists and can be changed, %s. %s", find, upper(f.next()))
	case f.Step.Why == role.Disabled:
		return f.next() + ", or " + find
	case f.Step.Do == role.Prove:
		return nothing + ": " + f.next()
	case f.Step.Do == role.Rest:
		return find
	case f.Step.Why == role.InFlight:
		return "wait for the answer, or " + find
	case f.Role.InForceSoon(f.Now):
		return nothing + ": " + f.next()
	default:
		return fmt.Sprintf("wait for the next attempt at %s, or %s", Time(latest(f.Step.At, f.Now)), find)
	}
}

// findOut is the advice to state which password is in force.
func findOut(r *role.Role) string {
	return fmt.Sprintf("find out which password works (history/%s lists them) and write it to confirm-role/%s: version=N, or password=… if it is none of them",
		r.Name, r.Name)
}

// failureAdvice says what an operator can do about the last failure, as a clause.
func (f Facts) failureAdvice() string {
	config, last := "config/"+f.Role.Connection, f.Role.Retry.Last
	switch last.Class {
	case provider.Rejected:
		switch {
		case last.OfRemote() && f.retries():
			return fmt.Sprintf("fix the reported cause on the remote system, which concerns every role of %s: %s", config, f.nextAttempt())
		case last.OfRemote():
			return fmt.Sprintf("fix the reported cause on the remote system, which concerns every role of %s, and repeat the request", config)
		case last.Scope == provider.ScopePassword && last.Given:
			return "choose another password"
		case last.Scope == provider.ScopePassword:
			return "set a password_policy that fits the remote system's rules"
		}
		return "fix the reported cause, and repeat the request"
	case provider.Mismatch:
		return f.currentPassword()
	case provider.Denied:
		if last.Scope == provider.ScopeTarget {
			return fmt.Sprintf("the credential of %s works, so only this account is affected: check that the role names the right account, and that the credential may change it", config)
		}
		return fmt.Sprintf("check the credential of %s and its permissions", config)
	case provider.Unreachable:
		return "correct what last_error names; its fields are those of " + config
	default:
		switch {
		case f.Step.Why == role.Frozen && f.Freeze != nil:
			return nothing
		case f.retries():
			return nothing + ": " + f.nextAttempt()
		default:
			return f.nextAttempt()
		}
	}
}

// currentPassword is the advice to tell Vault the account's password.
func (f Facts) currentPassword() string {
	text := fmt.Sprintf("write the account's current password to confirm-role/%s (password=…)", f.Role.Name)
	if f.Otherwise != "" {
		text += ", or " + f.Otherwise + " and rotate it"
	}
	return text
}

// NeedsOperator says why the role needs an operator, and what to do; "" if it does not need one.
func (f Facts) NeedsOperator() string {
	last := f.Role.Retry.Last
	switch {
	case f.NotAllowed != nil:
		return sentence(notAllowed(f.NotAllowed)) + " " + sentence(allow(f.NotAllowed))
	case f.needsStatement(), f.staysUnknown(), f.View.State == credential.StateUncertain && f.Role.Options.Disabled:
		return f.state() + " " + sentence(f.advice())
	case f.Step.Why == role.Drifted:
		return sentence(f.Drifted())
	case f.stuck() != nil && !f.Stuck.Storage:
		return sentence(f.Stuck.Reason)
	case f.failureNeedsOperator():
		return fmt.Sprintf("The last change failed: %s. %s", last, sentence(f.failureAdvice()))
	default:
		return ""
	}
}

// failureNeedsOperator reports whether the last failure needs an operator. A wrong old password does not, as long as the
// engine has another one to present.
func (f Facts) failureNeedsOperator() bool {
	last := f.Role.Retry.Last
	another := f.View.State == credential.StateUncertain && f.Step.Do == role.Send
	return last != nil && last.NeedsOperator() && (last.Class != provider.Mismatch || !another)
}

// Drifted says that no change is possible without the account's current password, as a clause.
func (f Facts) Drifted() string {
	if f.Role.Record.Current == nil && len(f.Role.Record.Candidates) == 0 {
		return "the remote system changes this password only if the current one is given, and Vault does not know it: " + f.currentPassword()
	}
	return fmt.Sprintf("the remote system refuses the passwords that Vault holds for role %q, so nothing was sent: %s", f.Role.Name, f.currentPassword())
}

// notAllowed says that a connection does not allow a role, and what that means, as a clause.
func notAllowed(e *connection.NotAllowedError) string {
	what := "this role"
	if e.Target != "" {
		what = fmt.Sprintf("the target %q of this role", e.Target)
	}
	return fmt.Sprintf("the connection %q does not allow %s, so its password is neither changed nor returned", e.Connection, what)
}

// onlyCopy follows advice to delete a role.
const onlyCopy = " (which deletes the only copy of its password)"

// allow says how to allow a role, as a clause.
func allow(e *connection.NotAllowedError) string {
	if e.Target != "" {
		return fmt.Sprintf("add %q to allowed_targets of config/%s, or delete roles/%s"+onlyCopy, e.Target, e.Connection, e.Role)
	}
	return fmt.Sprintf("add %q to allowed_roles of config/%s, or delete roles/%s"+onlyCopy, e.Role, e.Connection, e.Role)
}

// ConnectionGone is the error of a request for a role whose connection no longer exists.
func ConnectionGone(r *role.Role) string {
	return fmt.Sprintf("connection %q of role %q no longer exists: write config/%s again, or delete the role with force=true"+onlyCopy, r.Connection, r.Name, r.Connection)
}

// NotAllowed is the warning for a connection that no longer allows some of its roles.
func NotAllowed(name string, roles []string) string {
	return fmt.Sprintf("The connection %q does not allow these of its roles, whose passwords are now neither changed nor returned: %s. Add them to allowed_roles and allowed_targets of config/%s, or delete them. Deleting a role deletes the only copy of its password.",
		name, list(roles), name)
}

// InsecureTLS is the warning for a connection for which insecure_tls was switched on.
func InsecureTLS(name string) string {
	return fmt.Sprintf("The certificate of the remote system is no longer verified: anyone between Vault and it can read the credential and every new password of the roles of connection %q. Set ca_cert instead, and rotate them then.", name)
}

// checkStorage is the advice for failures of Vault's storage, as a clause.
const checkStorage = "check Vault's storage and log; if Vault refuses writes during setup although it is unsealed, seal and unseal this Vault node, or restart it (reloading the plugin does not help)"

// StorageFailure says that Vault's storage fails. roles is for how many roles, and reason is the last failure, as a clause.
func StorageFailure(roles int, since time.Time, reason string) string {
	return fmt.Sprintf("Vault's storage has failed since %s (roles affected: %d): %s. %s", Time(since), roles, reason, sentence(checkStorage))
}

// Paused is the error of a request for a paused connection.
func Paused(name string, p *connection.Pause) string {
	return fmt.Sprintf("nothing was changed, because the connection %q has been paused since %s: %s. %s",
		name, Time(p.Since), p.Reason, upper(writeCredential(name, p)))
}

// NowPaused says that a connection is paused, and what to do, as a clause.
func NowPaused(name string, p *connection.Pause) string {
	return "the connection is paused: " + writeCredential(name, p)
}

// writeCredential says how to resume a paused connection, and when it is probed, as a clause.
func writeCredential(name string, p *connection.Pause) string {
	text := fmt.Sprintf("write a working credential to config/%s; ", name)
	if p.NextProbe.IsZero() {
		return text + "the current one is not tried again automatically, because one more refusal could lock it: if it works now, " + force
	}
	return text + "the current one is tried again at " + Time(p.NextProbe)
}

// PauseReason says why a connection is paused after a check. A check that did not get through proves nothing about the
// credential, but another attempt could lock it all the same.
func PauseReason(check provider.Result) string {
	if check.Outcome == provider.Denied {
		return check.Reason
	}
	return "the credential was refused for a change, and the check that followed did not get through (" + check.Reason + ")"
}

// InUse is the error of a request to delete a connection that roles use.
func InUse(name string, roles []string) string {
	if len(roles) == 1 {
		return fmt.Sprintf("the connection %q was not deleted, because 1 role uses it (%s): delete that role first"+onlyCopy, name, roles[0])
	}
	return fmt.Sprintf("the connection %q was not deleted, because %d roles use it (%s): delete these roles first. Deleting a role deletes the only copy of its password", name, len(roles), list(roles))
}
