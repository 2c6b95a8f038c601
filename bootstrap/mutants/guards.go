package main

// ofGuards break what keeps a credential from being locked by the engine's own tries.
var ofGuards = []mutant{
	{
		name: "forget-calls-under-way", rule: "locked",
		breaks: "Once a call has worked, storage does not say that a few may be refused together.",
		file:   "backend/rotation/guard.go",
		old:    "tries{Open: g.together(),",
		new:    "tries{Open: 0,",
		pkg:    rotation, test: "TestRefusalsThatNobodySawAreCounted",
	},
	{
		name: "try-for-ever", rule: "locked",
		breaks: "At the last refusal before the lock the engine only waits, and then tries again.",
		file:   "backend/rotation/guard.go",
		old:    "case t.Refused >= knownRefusals:",
		new:    "case t.Refused >= manyTries:",
		pkg:    rotation, test: "TestACredentialThatStopsWorkingIsNeverLocked",
	},
	{
		name: "show-an-unproved-credential-to-many", rule: "locked",
		breaks: "After a start many calls at once show a credential that may be wrong.",
		file:   "backend/rotation/guard.go",
		old:    "default:\n\t\treturn 1\n",
		new:    "default:\n\t\treturn math.MaxInt\n",
		pkg:    rotation, test: "TestAfterAStartOneCallShowsTheCredentialFirst",
	},
	{
		name: "discount-lost-answers", rule: "locked",
		breaks: "A lost answer counts as one that did not refuse the credential.",
		file:   "backend/rotation/guard.go",
		old:    "case result.Outcome == provider.Unknown:",
		new:    "case result.Outcome == provider.Applied:",
		pkg:    rotation, test: "TestLostAnswersAfterAStartAreTriedAgainSlowly",
	},
	{
		name: "try-for-a-person-at-once", rule: "locked",
		breaks: "Who writes wrong credentials again and again locks the account.",
		file:   "backend/rotation/guard.go",
		old:    "byPerson && !now.Before(",
		new:    "byPerson && !now.IsZero() || byPerson && !now.Before(",
		pkg:    rotation, test: "TestAPersonWhoWritesAWrongCredentialAgainAndAgainIsToldToWait",
	},
	{
		name: "all-tries-for-an-unchecked-credential", rule: "locked",
		breaks: "A credential that was stored without a check gets as many tries as one that worked.",
		file:   "backend/rotation/guard.go",
		old:    "renewed.Open = knownRefusals-1, g.limit()",
		new:    "renewed.Open = 0, 0",
		pkg:    rotation, test: "TestACredentialThatIsStoredUncheckedGetsOneTry",
	},
	{
		name: "wait-in-memory", rule: "locked",
		breaks: "A restart forgets how long the remote system asked to wait.",
		file:   "backend/rotation/guard.go",
		old:    "stored.Hold = until\n",
		new:    "_ = until\n",
		pkg:    rotation, test: "TestAWaitThatTheRemoteSystemAskedForOutlivesARestart",
	},
}
