package explain

import (
	"fmt"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// inForce explains the state active.
func inForce(r *role.Role) string {
	switch proof := r.Proofs; {
	case r.Record.Current.Basis == credential.BasisProof:
		return "A login has proved the password."
	case r.Options.Proves() && proof.Verdict == provider.CannotTell:
		return fmt.Sprintf("The remote system confirmed the password. No login has proved it: %s.", proof.Reason)
	default:
		return "The remote system confirmed the password."
	}
}

// contradicted reports whether a login contradicts what the remote system reports about the next password.
func contradicted(r *role.Role) bool {
	next := r.Record.Next
	return next.Unproved() && next.LoginsRefused > 0
}

// contradiction explains a password that the remote system reports in force, and with which no login works.
func (f Facts) contradiction() string {
	r, next := f.Role, f.Role.Record.Next
	text := fmt.Sprintf("The remote system confirmed the new password (version %d), but it does not log in: %s.%s", next.Version, r.Proofs.Reason, f.readers(""))
	if r.Record.Contradicted() {
		text += " It was sent again, and is still refused."
	}
	return text
}

// contradictionAdvice is the advice for it.
func contradictionAdvice(r *role.Role) string {
	if !r.Record.Contradicted() {
		return nothing + ": the engine logs in again, and then sends the password again"
	}
	return fmt.Sprintf("check that this account may log in with a password at verify_address, then write verify-role/%s; if it may not, set verify=none; or find out which password works and write it to confirm-role/%s",
		r.Name, r.Name)
}

// drifted explains the state drifted.
func drifted(r *role.Role) string {
	const read = "so the account's password was probably changed outside Vault. creds/%s returns one that may not work."
	if r.Options.Proves() && r.Proofs.Verdict == provider.Refused {
		return fmt.Sprintf("The password in force no longer logs in (%s), "+read, r.Proofs.Reason, r.Name)
	}
	return fmt.Sprintf("The remote system refuses the passwords that Vault holds, "+read, r.Name)
}

// driftedAdvice is the advice in the state drifted.
func (f Facts) driftedAdvice() string {
	r := f.Role
	switch {
	case !r.Options.Proves():
		return f.currentPassword()
	case r.Proofs.Recovering:
		return nothing + ": the engine is trying the older passwords"
	case f.Step.Do == role.Begin:
		return nothing + ": the engine sets a new password"
	case f.Otherwise != "": // a change needs the old password
		return fmt.Sprintf("write recover-role/%s to try the older passwords, or %s", r.Name, f.currentPassword())
	default:
		return fmt.Sprintf("write recover-role/%s to try the older passwords, or rotate-role/%s to set a new one", r.Name, r.Name)
	}
}

// alone reports whether the engine finds out by itself when a password that waits for a restart is in force.
func (f Facts) alone() bool {
	r := f.Role
	return r.RestartsFailed() == "" && (r.Options.Proves() && !r.Options.Disabled || r.Restarts.Part != "" || r.NextRestart() != "" && f.MayRestart)
}

// restarts says how far the restarts of the servers are; "" if the engine restarts none.
func (f Facts) restarts() string {
	r := f.Role
	switch of := r.Restarts; {
	case r.RestartsFailed() != "":
		return fmt.Sprintf(" The restarts stopped at server %s: %s. The servers after it run with the old password.", of.FailedPart, of.Failed)
	case of.Part != "":
		return fmt.Sprintf(" Server %s has been restarting since %s.", of.Part, Time(of.Since))
	case r.NextRestart() == "":
		return ""
	case !f.MayRestart:
		return fmt.Sprintf(" The engine does not restart them, because allow_restart of config/%s is no longer set.", r.Connection)
	case f.Step.Do == role.Restart && f.Step.At.After(f.Now):
		return fmt.Sprintf(" Server %s is restarted at %s.", r.NextRestart(), Time(f.Step.At))
	default:
		return fmt.Sprintf(" Server %s is restarted next.", r.NextRestart())
	}
}

// restartsAdvice is the advice if the engine restarts the servers, or finds out itself whether they were.
func (f Facts) restartsAdvice() string {
	r := f.Role
	if r.Target.Restart == "" || !f.MayRestart {
		return fmt.Sprintf("restart %s: the engine logs in from time to time, and notices", serversOf(r))
	}
	return nothing + ": the engine restarts the servers, one at a time"
}

// serversOf names the servers of the role.
func serversOf(r *role.Role) string {
	switch parts := r.Target.Parts; len(parts) {
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

// NoLogin says why no login was made with a password, as a clause. all: the request was to try all passwords.
func NoLogin(name string, all bool) string {
	if all {
		return "another password works, a login could not tell, or too many were refused"
	}
	return fmt.Sprintf("the others came first; recover-role/%s tries all passwords", name)
}

// Contradicts is the error of a confirmation that a login contradicts. works: the password logs in, although it was
// discarded.
func Contradicts(r *role.Role, version int, works bool, login role.LoginResult) string {
	what := "the given password"
	if version != 0 {
		what = fmt.Sprintf("version %d", version)
	}
	if works {
		return fmt.Sprintf("%s of role %q was not discarded, because a login with it works%s. To discard it all the same, add force=true", what, r.Name, at(login))
	}
	return fmt.Sprintf("%s of role %q was not confirmed, because a login with it was refused%s: %s. If it is in force all the same, add force=true", what, r.Name, at(login), login.Reason)
}

// NotAdopted says that the password of a new role does not log in, as a clause.
func NotAdopted(login role.LoginResult) string {
	return fmt.Sprintf("a login with the given password was refused%s: %s. Give the account's current password", at(login), login.Reason)
}

// at names the server of a login; "" if the role has only one.
func at(login role.LoginResult) string {
	if login.Part == "" {
		return ""
	}
	return " at server " + login.Part
}

// Unproved is the warning for a password that an operator gave, and that no login has proved.
func Unproved(reason string) string {
	return fmt.Sprintf("No login has proved the password: %s.", reason)
}
