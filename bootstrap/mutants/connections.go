package main

// ofConnections break what concerns all roles of a connection.
var ofConnections = []mutant{
	{
		name: "pause-in-memory", rule: "denied",
		breaks: "A restart forgets that the credential was refused, and tries it again.",
		file:   "backend/rotation/pause.go",
		old:    "s.putPause(ctx, l.Name, pause)",
		new:    "ctx.Err()",
		pkg:    rotation, test: "TestARefusedCredentialPausesTheConnectionForAllItsRoles",
	},
	{
		name: "pause-without-check", rule: "denied",
		breaks: "One role's missing rights pause the connection for all, as nobody asks whether the credential works.",
		file:   "backend/rotation/pause.go",
		old:    "at := e.clock()\n\tcheck, err := e.tryOut(ctx, s, l, false)",
		new:    "at := e.clock()\n\tcheck, err := provider.Result{Outcome: provider.Denied}, ctx.Err()",
		pkg:    rotation, test: "TestARefusedCredentialThatWorksIsTheRolesMatter",
	},
	{
		name: "probe-at-once", rule: "denied",
		breaks: "A refused credential is probed after seconds, which may lock it.",
		file:   "backend/rotation/pause.go",
		old:    "if !l.guard.counts() {\n\t\treturn now.Add(e.grow(firstProbe, n))",
		new:    "if !l.guard.counts() {\n\t\treturn now.Add(e.grow(firstBackoff, n))",
		pkg:    rotation, test: "TestARefusedCredentialPausesTheConnectionForAllItsRoles",
	},
	{
		name: "use-a-suspected-credential", rule: "denied",
		breaks: "While a refused credential is being checked, other roles go on using it.",
		file:   "backend/rotation/guard.go",
		old:    "return g.suspect",
		new:    "return g.suspect && g.refusals > 100",
		pkg:    rotation, test: "TestWhileARefusedCredentialIsCheckedNoOtherRoleShowsIt",
	},
	{
		name: "no-cache-of-connections", rule: "I6",
		breaks: "Each rotation and each read of creds reads the connection from storage.",
		file:   "backend/rotation/connections.go",
		old:    "c.byName[l.Name] = l",
		new:    "_ = l",
		pkg:    rotation, test: "TestAnUndisturbedRotationCostsTwoWritesAndOneRead",
	},
	{
		name: "cache-what-is-old", rule: "I6",
		breaks: "A connection that was read before it was written is cached after that.",
		file:   "backend/rotation/connections.go",
		old:    "if c.drops == drops {",
		new:    "if c.drops >= drops {",
		pkg:    rotation, test: "TestWhatWasReadBeforeAChangeIsNotCachedAfterIt",
	},
	{
		name: "credential-sent-elsewhere", rule: "config",
		breaks: "Who may update a connection can have its stored credential sent to another address.",
		file:   "backend/rotation/patch.go",
		old:    "len(missing) > 0",
		new:    "len(missing) > 1000",
		pkg:    rotation, test: "TestAnAddressIsChangedOnlyTogetherWithTheCredential",
	},
}
