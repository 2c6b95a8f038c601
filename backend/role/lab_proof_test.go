package role

import (
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// proves lets logins prove the passwords of a role of one account.
func proves(r *Role) { r.Options.Verify, r.Target.Parts = provider.LoginRedis, nil }

// provesParts lets logins prove the passwords of a role on two servers.
func provesParts(r *Role) { r.Options.Verify = provider.LoginSSH }

// planned plans the next login.
func planned(d time.Duration) func(*Role) { return func(r *Role) { r.Proofs.Next = in(d) } }

// wanted: a login has to show what became of the last request.
func wanted(r *Role) { r.Proofs.Wanted = true }

// proved is the result of the last login.
func proved(verdict provider.Verdict, d time.Duration) func(*Role) {
	return func(r *Role) { r.Proofs.Verdict, r.Proofs.Time = verdict, in(d) }
}

// period sets verify_period, in hours.
func period(hours int) func(*Role) { return func(r *Role) { r.Options.VerifyPeriod = hours * 3600 } }

func onDrift(what string) func(*Role) { return func(r *Role) { r.Options.OnDrift = what } }

// restarts lets the engine restart the servers of a role.
func restarts(r *Role) { r.Target.Restart = provider.RestartSoft }

// mayRestart: the connection allows that.
var mayRestart = Env{MayRestart: true}

// restarted: these servers have been restarted for the password of this version.
func restarted(version int, parts ...string) func(*Role) {
	return func(r *Role) { r.Restarts.Version, r.Restarts.Done = version, parts }
}

// restarting: a server has been restarting for so long.
func restarting(version int, part string, d time.Duration) func(*Role) {
	return func(r *Role) { r.Restarts.Version, r.Restarts.Part, r.Restarts.Since = version, part, in(-d) }
}

func failing(version int) func(*Role) {
	return func(r *Role) {
		r.Restarts.Version, r.Restarts.Failed, r.Restarts.FailedPart = version, "it did not come back", "a"
	}
}

// logs in at a time, or at once.
func logsIn(why Reason, d ...time.Duration) Step { return Step{Do: Prove, At: optional(d), Why: why} }

func restartsNow(why Reason, d ...time.Duration) Step {
	return Step{Do: Restart, At: optional(d), Why: why}
}

// Results of logins, at the account or at a server of it.

func works(version int, part ...string) LoginResult { return login(provider.Works, version, part) }

func refused(version int, part ...string) LoginResult { return login(provider.Refused, version, part) }

func cannotTell(version int, part ...string) LoginResult {
	return login(provider.CannotTell, version, part)
}

func login(verdict provider.Verdict, version int, part []string) LoginResult {
	out := LoginResult{Version: version, Proof: provider.Proof{Verdict: verdict, Reason: "it was " + string(verdict)}}
	if len(part) > 0 {
		out.Part = part[0]
	}
	return out
}

// blocked is a login that the budget allows at a time only.
func blocked(version int, d time.Duration) LoginResult {
	out := cannotTell(version)
	out.Until, out.Unsent = in(d), true
	return out
}

// versions are the versions of passwords, in order.
func versions(passwords []credential.Password) []int {
	out := []int{}
	for _, p := range passwords {
		out = append(out, p.Version)
	}
	return out
}
