package proof

import (
	"slices"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// CheckStatement returns an error if logins contradict what an operator says of the password of a version, 0 for a given one:
// that it is in force or, with discarded, that it is not. The error is a *problem.Error. Its kind is problem.KindBusy if the
// budget of refused logins did not allow the login, so that the statement can be checked later.
func CheckStatement(r *role.Role, version int, discarded bool, logins []role.LoginResult) error {
	opposite := provider.Refused
	if discarded {
		opposite = provider.Works
	}
	named := func(l role.LoginResult) role.LoginResult {
		if len(r.Target.Parts) == 1 { // the only server needs no name
			l.Part = ""
		}
		return l
	}
	if at := slices.IndexFunc(logins, func(l role.LoginResult) bool { return l.Verdict == opposite }); at >= 0 {
		return problem.Mistake("%s", explain.Contradicts(r, version, discarded, named(logins[at])))
	}
	if at := slices.IndexFunc(logins, role.LoginResult.Blocked); at >= 0 {
		return problem.Busy("%s", explain.CheckedLater(r, version, discarded, named(logins[at])))
	}
	return nil
}

// CheckAdoption is CheckStatement for the password of a new role.
func CheckAdoption(logins []role.LoginResult) error {
	if at := slices.IndexFunc(logins, func(l role.LoginResult) bool { return l.Verdict == provider.Refused }); at >= 0 {
		return problem.Mistake("%s", explain.NotAdopted(logins[at]))
	}
	if at := slices.IndexFunc(logins, role.LoginResult.Blocked); at >= 0 {
		return problem.Busy("%s", explain.AdoptedLater(logins[at]))
	}
	return nil
}
