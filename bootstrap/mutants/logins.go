package main

// ofLogins break what logins and restarts show, and when they are made.
var ofLogins = []mutant{
	{
		name: "late-request-settled-by-login", rule: "I3",
		breaks: "A login with the password in force settles another one, although a late request may still set it.",
		file:   "backend/credential/proof.go",
		old:    "if later && c.Stage != \"\" && !c.Overtaken || late(c.SentUntil, now, margin) {",
		new:    "if later && c.Stage != \"\" && !c.Overtaken {",
		pkg:    credential, test: "TestLoginSettlesWhatCannotFollow",
	},
	{
		name: "waiting-password-settled-by-login", rule: "I3",
		breaks: "A login with the password in force settles one that waits for a restart.",
		file:   "backend/credential/proof.go",
		old:    "if later && c.Stage != \"\" && !c.Overtaken || late(c.SentUntil, now, margin) {",
		new:    "if late(c.SentUntil, now, margin) {",
		pkg:    credential, test: "TestLoginSettlesWhatCannotFollow",
	},
	{
		name: "active-while-a-request-may-follow", rule: "I4",
		breaks: "A proved password is reported active while an earlier request with another one may still be carried out.",
		file:   "backend/credential/proof.go",
		old:    "open := late(out.NotBefore, now, margin)",
		new:    "open := late(time.Time{}, now, margin)",
		pkg:    credential, test: "TestProvedPasswordIsAssumedWhileAnotherMayFollow",
	},
	{
		name: "active-on-an-operators-word", rule: "I4",
		breaks: "A password is reported active although on one server only an operator has confirmed it.",
		file:   "backend/credential/proof.go",
		old:    "len(union(on, parts)) == len(all) && !assumed {",
		new:    "len(union(on, parts)) == len(all) && (!assumed || assumed) {",
		pkg:    credential, test: "TestPartThatIsNotProvedKeepsPasswordAssumed",
	},
	{
		name: "forget-the-repetition", rule: "I5",
		breaks: "After a login, another password is sent while a repetition of the one in force may still be carried out.",
		file:   "backend/credential/proof.go",
		old:    "\tr.raiseNotBefore(until)\n",
		new:    "",
		pkg:    credential, test: "TestProvedPasswordKeepsSendNotBefore",
	},
	{
		name: "serve-the-refused-password", rule: "I4",
		breaks: "A password with which a login was refused is handed out, although another one may work.",
		file:   "backend/credential/proof.go",
		old:    "out.Current.Refused, out.Current.Confirmed = true, false",
		new:    "out.Current.Confirmed = false",
		pkg:    credential, test: "TestRefusedPasswordIsTheLastResort",
	},
	{
		name: "send-again-before-the-login", rule: "next",
		breaks: "A password of unknown outcome is sent again, although a login could show that it is in force.",
		file:   "backend/role/proof.go",
		old:    "step.At, first = time.Time{}, true",
		new:    "step.At = time.Time{}",
		pkg:    role, test: "TestLoginsAreMadeAtTheirTime",
	},
	{
		name: "leave-a-server-turned-off", rule: "next",
		breaks: "A freeze leaves a server turned off that the engine is restarting.",
		file:   "backend/role/restart.go",
		old:    "env.Requested = env.Requested || r.FollowsRestart(now)",
		new:    "env.Requested = env.Requested && r.FollowsRestart(now)",
		pkg:    role, test: "TestRestartingServerIsFollowed",
	},
}
