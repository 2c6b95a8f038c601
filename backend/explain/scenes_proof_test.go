package explain

import (
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// Options of roles whose passwords are proved by a login.
var (
	proved        = role.Options{Verify: provider.LoginRedis, OnDrift: role.DriftReport}
	provedOff     = role.Options{Verify: provider.LoginRedis, Disabled: true}
	provedRotate  = role.Options{Verify: provider.LoginRedis, OnDrift: role.DriftRotate}
	provedRecover = role.Options{Verify: provider.LoginRedis, OnDrift: role.DriftRecover}
)

// mayRestart: the connection allows the restarts.
var mayRestart = role.Env{MayRestart: true}

// login is the result of the last login, a minute ago, and when the next one is.
func login(verdict provider.Verdict, version int, next time.Duration) role.Proofs {
	reason := map[provider.Verdict]string{
		provider.Works: "the login succeeded", provider.Refused: "the server refused the password", provider.CannotTell: "the server cannot be reached",
	}[verdict]
	p := role.Proofs{Time: now.Add(-time.Minute), Version: version, Verdict: verdict, Reason: reason}
	if next != 0 {
		p.Next = now.Add(next)
	}
	return p
}

// loginAt is login at a server.
func loginAt(server string, p role.Proofs) role.Proofs {
	p.Part = server
	return p
}

// stopped are restarts that failed at server b.
var stopped = role.Restarts{
	Version: 2, Done: []string{"a"}, FailedPart: "b", Failed: "it has not come back within restart_timeout, and may be turned off",
}

// proofs are scenes of roles whose passwords are proved by logins, and whose servers are restarted by the engine.
func proofs() []act {
	refusedTwice := active + "make send reported works-not works-not "
	began := role.Restarts{Version: 2, Part: "b", Since: now.Add(-time.Minute), Done: []string{"a"}}
	back := began
	back.Back = true
	staged := active + "make send restart"
	inVain := login(provider.CannotTell, 1, 15*time.Minute)
	inVain.CannotTell = 4
	return []act{
		{"A login proves the password", []scene{
			{name: "it works", record: active + "make send reported works", options: proved, proofs: login(provider.Works, 2, 0)},
			{name: "no login could tell", record: active, options: proved, proofs: login(provider.CannotTell, 1, 5*time.Minute)},
			{name: "no login could tell, and none is planned", record: active, options: proved, proofs: login(provider.CannotTell, 1, 0)},
			{name: "no login could tell at one server", record: active, options: proved, parts: three, proofs: loginAt("b", login(provider.CannotTell, 1, 5*time.Minute))},
			{name: "it worked, and now no login can tell", record: active + "make send reported works", options: proved, proofs: login(provider.CannotTell, 2, 5*time.Minute)},
			{name: "an operator stated it, and no login could tell", record: "adopted", options: proved, proofs: login(provider.CannotTell, 1, 5*time.Minute)},
			{name: "it was queued, and no login could tell", record: active + "make send queued settled", options: proved, proofs: login(provider.CannotTell, 1, 5*time.Minute)},
			{name: "it works, and another one waits for a restart", record: active + "make send restart discarded works-current", options: proved, proofs: login(provider.Works, 1, 5*time.Minute)},
			{name: "it works, and an earlier request may still be running", record: active + "59m make send unknown adopted works-current", options: proved, proofs: login(provider.Works, 3, 5*time.Minute)},
		}},
		{"A login contradicts the remote system", []scene{
			{name: "the new password is refused", record: active + "make send reported works-not works-current", options: proved, proofs: login(provider.Refused, 2, time.Minute)},
			{name: "the old one is refused too", record: active + "make send reported works-not drifted", options: proved, proofs: login(provider.Refused, 2, time.Minute)},
			{name: "the first password is refused", record: "make send reported works-not", options: proved, proofs: login(provider.Refused, 1, time.Minute)},
			{name: "it is about to be sent again", record: refusedTwice, options: proved, proofs: login(provider.Refused, 2, time.Minute)},
			{name: "it was sent again", record: refusedTwice + "send reported works-not", options: proved, proofs: login(provider.Refused, 2, time.Hour)},
			{name: "the role is disabled", record: active + "make send reported works-not", options: provedOff, proofs: login(provider.Refused, 2, time.Minute)},
			{name: "the mount is frozen", record: active + "make send reported works-not", options: proved, proofs: login(provider.Refused, 2, time.Minute), freeze: copied},
		}},
		{"A login finds out an unknown outcome", []scene{
			{name: "it is next", record: active + "make send unknown", options: proved, last: unknown(), proofs: role.Proofs{Wanted: true}},
			{name: "it could not tell", record: active + "make send unknown", options: proved, last: unknown(), proofs: login(provider.CannotTell, 2, 0)},
			{name: "it is not made, because the mount is frozen", record: active + "make send unknown", options: proved, last: unknown(), proofs: role.Proofs{Wanted: true}, freeze: copied},
		}},
		{"A login looks whether a queued password is in force", []scene{
			{name: "before the first one", record: active + "make send queued", options: proved, proofs: login("", 0, time.Hour)},
			{name: "the old one still works", record: active + "make send queued", options: proved, proofs: login(provider.Works, 1, 4*time.Minute)},
			{name: "it has done so for long", record: active + "make send queued", options: proved, proofs: func() role.Proofs {
				p := login(provider.Works, 1, 15*time.Minute)
				p.Unsettled = 9
				return p
			}()},
			{name: "the role is disabled", record: active + "make send queued", options: provedOff, proofs: login("", 0, time.Hour)},
		}},
		{"A login is refused", []scene{
			{name: "report", record: active + "drifted", options: proved, proofs: login(provider.Refused, 1, time.Hour)},
			{name: "report, where a change needs the old password", record: active + "drifted", options: proved, proofs: login(provider.Refused, 1, time.Hour), modify: true, otherwise: "set rotation_method=reset on the role"},
			{name: "at one server", record: active + "drifted", options: proved, parts: three, proofs: loginAt("b", login(provider.Refused, 1, time.Hour))},
			{name: "recover", record: active + "drifted", options: provedRecover, proofs: recovering(14 * time.Minute)},
			{name: "recover, and the role is disabled", record: active + "drifted", options: role.Options{Verify: provider.LoginRedis, OnDrift: role.DriftRecover, Disabled: true}, proofs: recovering(14 * time.Minute)},
			{name: "recover, and none works", record: active + "drifted", options: provedRecover, proofs: login(provider.Refused, 1, 0)},
			{name: "rotate", record: active + "drifted", options: provedRotate, proofs: login(provider.Refused, 1, 0)},
			{name: "rotate, and the connection is paused", record: active + "drifted", options: provedRotate, proofs: login(provider.Refused, 1, 0), pause: probed},
			{name: "rotate, and the mount is frozen", record: active + "drifted", options: provedRotate, proofs: login(provider.Refused, 1, 0), freeze: copied},
			{name: "the remote system refused the old password, and no login could tell", record: "adopted make present wrong given-up", modify: true, options: proved, last: wrongOld(), proofs: login(provider.CannotTell, 1, 0)},
		}},
		{"The engine restarts the servers", []scene{
			{name: "the first one is next", record: staged, parts: three, restart: true, env: mayRestart},
			{name: "one is being restarted", record: staged + " works-a", parts: three, restart: true, env: mayRestart, options: proved, restarts: began},
			{name: "one is back", record: staged + " works-a", parts: three, restart: true, env: mayRestart, options: proved, restarts: back},
			{name: "one is back, and the next change failed", record: staged + " make", parts: three, restart: true, env: mayRestart, options: proved, restarts: back, last: busy()},
			{name: "outside its window", record: active + "due send restart", parts: three, restart: true, env: mayRestart, options: nightly, due: 15 * time.Hour},
			{name: "the last request was not carried out", record: staged, parts: three, restart: true, env: mayRestart, restarts: role.Restarts{Version: 2, Tries: 1, NotBefore: now.Add(10 * time.Second)}},
			{name: "one did not come back", record: staged + " works-a", parts: three, restart: true, env: mayRestart, options: proved, restarts: stopped},
			{name: "one did not come back, and no login is made", record: staged + " confirmed-a", parts: three, restart: true, env: mayRestart, restarts: stopped},
			{name: "the connection does not allow it any more", record: staged, parts: three, restart: true},
			{name: "the connection does not, and logins are made", record: staged, parts: three, restart: true, options: proved},
			{name: "the role is disabled", record: staged, parts: three, restart: true, env: mayRestart, options: disabled},
			{name: "the mount is frozen", record: staged, parts: three, restart: true, env: mayRestart, freeze: copied},
			{name: "the mount is frozen for an hour", record: staged, parts: three, restart: true, env: mayRestart, freeze: release},
			{name: "the connection is paused", record: staged, parts: three, restart: true, env: mayRestart, pause: probed},
			{name: "all were restarted, and no login is made", record: staged + " restarted", parts: three, restart: true},
			{name: "all were restarted, and no login can tell", record: staged + " restarted", parts: three, restart: true, options: proved, proofs: loginAt("a", login(provider.CannotTell, 2, 5*time.Minute))},
		}},
		{"An operator restarts the servers, and the engine logs in", []scene{
			{name: "three servers", record: staged, parts: three, options: proved, proofs: login(provider.Works, 1, time.Minute)},
			{name: "one of them has it", record: staged + " works-a", parts: three, options: proved, proofs: login(provider.Works, 1, time.Minute)},
			{name: "one server", record: staged, parts: []string{"a"}, options: proved},
			{name: "one server, which cannot be reached", record: staged, parts: []string{"a"}, options: proved, proofs: login(provider.CannotTell, 1, time.Minute)},
			{name: "one server, which has not been reached for long", record: staged, parts: []string{"a"}, options: proved, proofs: inVain},
			{name: "one server, where the old one is refused", record: staged, parts: []string{"a"}, options: proved, proofs: login(provider.Refused, 1, 14*time.Minute)},
			{name: "one account", record: staged, options: proved},
			{name: "the role is disabled", record: staged, parts: three, options: provedOff},
		}},
	}
}

// recovering are logins with the older passwords.
func recovering(next time.Duration) role.Proofs {
	p := login(provider.Refused, 1, next)
	p.Recovering = true
	return p
}

// logins are answers of verify-role and recover-role, and errors that follow from a login.
func (p *page) logins() {
	p.heading("A request to log in")
	r := &role.Role{Name: "db", Connection: "panel"}
	p.situation("the role has no verify", "")
	p.say("NoVerify", NoVerify(r))
	refused := role.LoginResult{Version: 2, Proof: provider.Proof{Verdict: provider.Refused, Reason: "the server refused the password"}}
	blocked := role.LoginResult{Version: 2, Until: now.Add(14 * time.Minute), Proof: provider.Proof{
		Verdict: provider.CannotTell, Reason: "no login was made: 2 logins were refused, or may have been, and more could block Vault there",
	}}
	works, cannotTell := refused, refused
	works.Verdict, cannotTell.Verdict = provider.Works, provider.CannotTell
	old, unsent := credential.Listed{State: credential.ListedOld}, credential.Listed{State: string(credential.Unsent)}
	p.situation("a password was not tried", "never sent; another works; the budget is spent; one could not tell; verify-role; recover-role")
	p.say("NoLogin", NoLogin("db", true, unsent, works))
	p.say("NoLogin", NoLogin("db", true, old, works))
	p.say("NoLogin", NoLogin("db", true, old, blocked))
	p.say("NoLogin", NoLogin("db", true, old, cannotTell))
	p.say("NoLogin", NoLogin("db", false, old, refused))
	p.say("NoLogin", NoLogin("db", true, old, refused))
	atServer := refused
	atServer.Part = "b"
	p.heading("A login contradicts an operator")
	p.situation("a confirmed password is refused", "version 2; a given one; at a server")
	p.say("Contradicts", Contradicts(r, 2, false, refused))
	p.say("Contradicts", Contradicts(r, 0, false, refused))
	p.say("Contradicts", Contradicts(r, 2, false, atServer))
	p.situation("a discarded password works", "version 2; at a server")
	p.say("Contradicts", Contradicts(r, 2, true, refused))
	p.say("Contradicts", Contradicts(r, 2, true, atServer))
	p.situation("no login can check it yet", "confirmed; discarded")
	p.say("CheckedLater", CheckedLater(r, 2, false, blocked))
	p.say("CheckedLater", CheckedLater(r, 0, false, blocked))
	p.say("CheckedLater", CheckedLater(r, 2, true, blocked))
	p.situation("the password of a new role is refused", "one account; at a server; no login can check it yet")
	p.say("NotAdopted", "the role was not created: "+NotAdopted(refused))
	p.say("NotAdopted", "the role was not created: "+NotAdopted(atServer))
	p.say("AdoptedLater", "the role was not created: "+AdoptedLater(blocked))
	p.situation("no login can tell about a given password", "")
	p.say("Unproved", Unproved("the server cannot be reached"))
}
