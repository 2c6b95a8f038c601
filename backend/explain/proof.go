package explain

import (
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// logsIn reports whether the engine logs in to the account by itself.
func logsIn(r *role.Role) bool { return r.Options.Proves() && !r.Options.Disabled }

// inForce explains the state active.
func inForce(r *role.Role) string {
	if r.Record.Current.Basis == credential.BasisProof {
		return "A login has proved the password."
	}
	return "The remote system confirmed the password." + noLogin(r)
}

// noLogin says that the last login could not tell whether the password works, and why; "" if it could.
func noLogin(r *role.Role) string {
	if proof := r.Proofs; r.Options.Proves() && proof.Verdict == provider.CannotTell {
		return fmt.Sprintf(" No login has proved it%s: %s.", at(proof.Part), proof.Reason)
	}
	return ""
}

// inForceAt says when a queued password counts as in force, as a clause.
func inForceAt(r *role.Role) string {
	if logsIn(r) && !r.Proofs.Next.IsZero() {
		return fmt.Sprintf("the engine logs in at %s to find out; if no login can tell, it counts as in force then", Time(r.Proofs.Next))
	}
	return "it counts as in force at " + Time(r.QueuedUntil())
}

// contradicted reports whether a login contradicts what the remote system reports about the next password.
func contradicted(r *role.Role) bool {
	next := r.Record.Next
	return next.Unproved() && next.LoginsRefused > 0
}

// contradiction explains a password that the remote system reports in force, and with which no login works.
func (f Facts) contradiction() string {
	r, again := f.Role, ""
	if r.Record.Contradicted() {
		again = " It was sent again, and is still refused."
	}
	return fmt.Sprintf("The remote system confirmed the new password (version %d), but it does not log in: %s.%s%s", r.Record.Next.Version, r.Proofs.Reason, again, f.readers(""))
}

// contradictionAdvice is the advice for it.
func contradictionAdvice(r *role.Role) string {
	switch {
	case r.Record.Contradicted():
		return fmt.Sprintf("check that this account may log in with a password at verify_address, then write verify-role/%s; if it may not, set verify=none on roles/%s; if another password works, write it to confirm-role/%s",
			r.Name, r.Name, r.Name)
	case !logsIn(r):
		return fmt.Sprintf("write verify-role/%s to log in again: the engine does not, because disable_automated_rotation is set", r.Name)
	default:
		return nothing + ": the engine logs in again, and then sends the same password once more"
	}
}

// drifted explains the state drifted.
func drifted(r *role.Role) string {
	const read = "so the account's password was probably changed outside Vault. creds/%s returns one that may not work."
	switch proof := r.Proofs; {
	case !r.Options.Proves():
		return fmt.Sprintf("The remote system refuses the passwords that Vault holds, "+read, r.Name)
	case proof.Verdict == provider.Refused:
		return fmt.Sprintf("The password in force no longer logs in%s (%s), "+read, at(proof.Part), proof.Reason, r.Name)
	default:
		return fmt.Sprintf("The password in force was refused, "+read, r.Name)
	}
}

// driftedAdvice is the advice in the state drifted.
func (f Facts) driftedAdvice() string {
	r := f.Role
	switch {
	case !r.Options.Proves():
		return f.currentPassword()
	case role.Recovers(r):
		return fmt.Sprintf("%s: the engine tries the older passwords, the next one at %s", nothing, Time(latest(r.Proofs.Next, f.Now)))
	case f.Step.Do == role.Begin:
		return fmt.Sprintf("%s: the engine sets a new password at %s", nothing, Time(latest(f.Step.At, f.Now)))
	case f.Otherwise != "": // a change needs the old password
		return fmt.Sprintf("write recover-role/%s to try the older passwords, or %s", r.Name, f.currentPassword())
	default:
		return fmt.Sprintf("write recover-role/%s to try the older passwords, or rotate-role/%s to set a new one", r.Name, r.Name)
	}
}

// alone reports whether the engine finds out by itself when a password that waits for a restart is in force.
func (f Facts) alone() bool {
	r := f.Role
	restarts := f.Step.Why != role.AwaitingRestart && (r.Restarts.Part != "" && r.Restarts.Failed == "" || r.NextRestart() != "")
	return r.RestartsFailed() == "" && !r.Restarts.All(r) && (logsIn(r) && !role.LoginsCannotTell(r) || restarts)
}

// lastLogin says what the last login has shown about a password that waits for a restart; "" if that is nothing new.
func lastLogin(r *role.Role, now time.Time) string {
	switch {
	case !r.Options.Proves():
		return ""
	case r.Proofs.Verdict == provider.CannotTell:
		return fmt.Sprintf(" The last login could not tell whether it is in force%s: %s.", at(r.Proofs.Part), r.Proofs.Reason)
	case triesNext(r, now):
		return fmt.Sprintf(" A login with the old password was refused, so the new one is probably in force: the engine logs in with it at %s.", Time(r.Proofs.Next))
	default:
		return ""
	}
}

// triesNext reports whether the old password was refused, and the budget delays the login with the next one.
func triesNext(r *role.Role, now time.Time) bool {
	return role.OldRefused(r) && len(r.Target.Parts) <= 1 && r.Proofs.Next.After(now)
}

// restarts says how far the restarts of the servers are; "" if the engine restarts none.
func (f Facts) restarts() string {
	switch r, of := f.Role, f.Role.Restarts; {
	case r.RestartsFailed() != "", of.Part != "" && of.Failed != "":
		return fmt.Sprintf(" The restarts have stopped at server %s: %s.", of.FailedPart, of.Failed)
	case of.Part != "" && of.Back:
		return fmt.Sprintf(" Server %s has restarted, and the engine logs in until the new password works there.", of.Part)
	case of.Part != "":
		return fmt.Sprintf(" Server %s has been restarting since %s.", of.Part, Time(of.Since))
	case r.NextRestart() == "":
		return ""
	case f.Step.Why == role.AwaitingRestart && r.Options.Disabled:
		return " The engine does not restart them, because disable_automated_rotation is set."
	case f.Step.Why == role.AwaitingRestart:
		return fmt.Sprintf(" The engine does not restart them, because allow_restart of config/%s is no longer set.", r.Connection)
	case f.Step.Do == role.Restart && f.Step.Why == role.Window:
		return fmt.Sprintf(" Server %s is restarted at %s, when the next rotation_window opens.", r.NextRestart(), Time(f.Step.At))
	case f.Step.Do == role.Restart && f.Step.At.After(f.Now):
		return fmt.Sprintf(" Server %s is restarted at %s.", r.NextRestart(), Time(f.Step.At))
	default:
		return fmt.Sprintf(" Server %s is restarted next.", r.NextRestart())
	}
}

// restartsAdvice is the advice if the engine restarts the servers, or finds out itself whether they were.
func (f Facts) restartsAdvice() string {
	switch r := f.Role; {
	case triesNext(r, f.Now):
		return nothing + ": the engine logs in with the new password at " + Time(r.Proofs.Next)
	case f.Step.Why == role.AwaitingRestart:
		return fmt.Sprintf("restart %s: the engine logs in from time to time to see when the new password is in force", serversLeft(r))
	default:
		return nothing + ": the engine restarts the servers, one at a time"
	}
}

// serversLeft names the servers on which the next password is not known to be in force.
func serversLeft(r *role.Role) string {
	switch parts := unconfirmed(r); len(parts) {
	case 0:
		return "the remote system"
	case 1:
		return "server " + parts[0]
	default:
		return "the servers (" + list(parts) + ")"
	}
}

// NoVerify is the error of a request to log in for a role without verify.
func NoVerify(r *role.Role) string {
	return fmt.Sprintf("role %q has verify=none, so the engine cannot log in. Set verify and what it needs on roles/%s", r.Name, r.Name)
}

// NoLogin says why no login was made with a password, as a clause. last is the last one that was made. all: the request was to
// try all passwords.
func NoLogin(name string, all bool, password credential.Listed, last role.LoginResult) string {
	switch {
	case password.State == string(credential.Unsent):
		return "it has not been sent yet"
	case last.Verdict == provider.Works:
		return "another password works"
	case last.Blocked():
		return "no login can be made before " + Time(last.Until)
	case last.Verdict == provider.CannotTell:
		return "the login before it could not tell"
	case all:
		return "this recovery has already tried it"
	default:
		return fmt.Sprintf("the others came first; recover-role/%s tries all passwords", name)
	}
}

// Contradicts is the error of a confirmation that a login contradicts. works: the password logs in, although it was
// discarded.
func Contradicts(r *role.Role, version int, works bool, login role.LoginResult) string {
	if works {
		return fmt.Sprintf("%s of role %q was not discarded, because a login with it works%s. To discard it all the same, add force=true",
			stated(version), r.Name, at(login.Part))
	}
	return fmt.Sprintf("%s of role %q was not confirmed, because a login with it was refused%s: %s. If it is in force all the same, add force=true",
		stated(version), r.Name, at(login.Part), login.Reason)
}

// CheckedLater is the error of a confirmation, or a discard, that no login could check yet.
func CheckedLater(r *role.Role, version int, discarded bool, login role.LoginResult) string {
	what := "confirmed"
	if discarded {
		what = "discarded"
	}
	return fmt.Sprintf("%s of role %q was not %s, because no login can check it%s before %s (%s). Repeat the request then or, if you are sure, add force=true",
		stated(version), r.Name, what, at(login.Part), Time(login.Until), login.Reason)
}

// stated names the password of a statement; 0: it was given.
func stated(version int) string {
	if version == 0 {
		return "the given password"
	}
	return fmt.Sprintf("version %d", version)
}

// NotAdopted says that the password of a new role does not log in, as a clause.
func NotAdopted(login role.LoginResult) string {
	return fmt.Sprintf("a login with the given password was refused%s: %s. Give the account's current password", at(login.Part), login.Reason)
}

// AdoptedLater says that no login could check the password of a new role yet, as a clause.
func AdoptedLater(login role.LoginResult) string {
	return fmt.Sprintf("no login can check the given password%s before %s (%s). Repeat the request then, or create the role with verify=none",
		at(login.Part), Time(login.Until), login.Reason)
}

// at names the server of a login; "" if the account has no servers.
func at(server string) string {
	if server == "" {
		return ""
	}
	return " at server " + server
}

// Unproved is the warning for a password that an operator gave, and that no login has proved.
func Unproved(reason string) string {
	return fmt.Sprintf("No login has proved the password: %s.", reason)
}
