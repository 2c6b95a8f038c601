package explain

import (
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// proves are the options of a role whose passwords are proved by a login.
var proves = role.Options{Verify: provider.LoginSSH, OnDrift: role.DriftReport}

// refusedLogin records the last login of a role: it was refused.
func refusedLogin(r *role.Role) {
	r.Proofs.Verdict, r.Proofs.Reason = provider.Refused, "the SSH server refused the password"
	r.Proofs.Time, r.Proofs.Next = now.Add(-time.Minute), now.Add(time.Minute)
}

// restarts makes the engine restart the servers of a role.
func restarts(r *role.Role) { r.Target.Restart = provider.RestartSoft }

// contradicted is a record in which a login contradicts the remote system, once and until an operator is asked.
const (
	contradictedOnce = active + "make send reported login-refused "
	contradictedLong = contradictedOnce + "login-refused send reported login-refused "
)

// proofs are the scenes of logins and restarts.
func proofs() []act {
	drift := func(on string) role.Options {
		o := proves
		o.OnDrift = on
		return o
	}
	may, waitsForRestart := role.Env{MayRestart: true}, active+"make send restart "
	return []act{
		{"Logins prove passwords", []scene{
			{name: "a login has proved it", record: active + "proved", options: proves},
			{name: "no login could tell", record: active, options: proves, prepare: func(r *role.Role) {
				r.Proofs.Verdict, r.Proofs.Reason = provider.CannotTell, "the connection was refused; nothing was sent"
			}},
			{name: "a queued password stays queued", record: active + "make send queued", options: proves, prepare: func(r *role.Role) {
				refusedLogin(r)
				r.Proofs.Unsettled = 9
			}},
			{name: "an older one may follow", record: active + "make send unknown confirmed make send applied proved-late", options: proves},
			{name: "a login contradicts the remote system", record: contradictedOnce, options: proves, prepare: refusedLogin},
			{name: "it does so after the password was sent again", record: contradictedLong, options: proves, prepare: refusedLogin},
			{name: "neither the new password nor the one before logs in", record: contradictedOnce + "drifted", options: proves, prepare: refusedLogin},
			{name: "the password in force no longer logs in", record: active + "drifted", options: proves, prepare: refusedLogin},
			{name: "where a change needs it", record: active + "drifted", options: proves, prepare: refusedLogin, modify: true, otherwise: "set rotation_method=reset on the role"},
			{name: "the older ones are tried", record: active + "drifted", options: drift(role.DriftRecover), prepare: func(r *role.Role) {
				refusedLogin(r)
				r.Proofs.Recovering = true
			}},
			{name: "a new one is set", record: active + "drifted", options: drift(role.DriftRotate), prepare: refusedLogin},
			{name: "a password waits for a restart by an operator", record: waitsForRestart, options: proves, parts: []string{"a"}},
			{name: "several servers", record: waitsForRestart, options: proves, parts: three},
			{name: "no servers", record: waitsForRestart, options: proves},
		}},
		{"The engine restarts the servers", []scene{
			{name: "the first one is next", record: waitsForRestart, parts: three, env: may, prepare: restarts},
			{name: "one is restarting", record: waitsForRestart, parts: three, env: may, prepare: func(r *role.Role) {
				restarts(r)
				r.Restarts.Begin(r.Record.Next.Version, "b", now.Add(-time.Minute))
			}},
			{name: "it is not the time", record: waitsForRestart, parts: three, env: may, prepare: func(r *role.Role) {
				restarts(r)
				r.Restarts.Begin(r.Record.Next.Version, "a", now.Add(-time.Minute))
				r.Restarts.Answered(provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget}, "", now, func(int) time.Duration { return time.Minute })
			}},
			{name: "the connection no longer allows it", record: waitsForRestart, parts: three, prepare: restarts},
			{name: "one failed", record: waitsForRestart, parts: three, env: may, prepare: func(r *role.Role) {
				restarts(r)
				r.Restarts.Begin(r.Record.Next.Version, "b", now.Add(-time.Hour))
				r.Restarts.Followed(r.Target, provider.Restarting, "", "", now)
			}},
			{name: "all have been restarted, without a login", record: waitsForRestart + "restarted", parts: three, prepare: restarts},
		}},
	}
}

// logins are answers to requests about logins.
func (p *page) logins() {
	p.heading("A request to log in")
	db := &role.Role{Name: "db"}
	p.situation("the role has no verify", "")
	p.say("NoVerify", NoVerify(db))
	p.situation("a password that was not tried", "verify-role; recover-role")
	p.say("NoLogin", NoLogin("db", false))
	p.say("NoLogin", NoLogin("db", true))
	refused := role.LoginResult{Proof: provider.Proof{Verdict: provider.Refused, Reason: "the SSH server refused the password"}, Version: 2}
	onServer := refused
	onServer.Part = "a"
	p.situation("a confirmation that a login contradicts", "of a version; of a password on a server; discard")
	p.say("Contradicts", Contradicts(db, 2, false, refused))
	p.say("Contradicts", Contradicts(db, 0, false, onServer))
	p.say("Contradicts", Contradicts(db, 2, true, refused))
	p.situation("a new role whose password does not log in", "")
	p.say("NotAdopted", NotAdopted(refused))
	p.situation("a password given by an operator that no login has proved", "")
	p.say("Unproved", Unproved("the connection was refused; nothing was sent"))
}
