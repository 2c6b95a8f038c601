package modelcheck

// Faults of the engine that the model knows: what is false here is not checked. Set it to true when the fault is mended.
const (
	// restIsProved: the next login of a role at rest is planned, however it came to rest: by a login, by what an operator said, or
	// because another password was withdrawn.
	restIsProved = false
	// mendFollowsRestarts: once a connection is mended, the engine looks soon at a server for which no password waits any more.
	mendFollowsRestarts = false
	// lateRestartProves: a server that does not come back does not keep the engine from logging in.
	lateRestartProves = false
	// refusedLast: passwords that were refused are tried after those that were not.
	refusedLast = false
	// refusedEndsRestart: a server that refuses the new password after its restart ends the restarts, although the budget is
	// used up.
	refusedEndsRestart = false
	// refusedOnPart: a password is not active on all servers while one of them refuses it in the same round of logins.
	refusedOnPart = false
	// deniedLoginIsChecked: after a login through the API whose credential was refused, the engine checks the credential.
	deniedLoginIsChecked = false
	// recoveryOutlivesTrim: a recovery whose last untried password has left the history ends, and the next one begins in time.
	recoveryOutlivesTrim = false
	// statementEndsRecovery: what an operator says ends a recovery.
	statementEndsRecovery = false
	// replacedProvesNothing: a server that was restarted for a password that was replaced does not count as restarted for it.
	replacedProvesNothing = false
	// lateRestartStarvesNone: a server that does not come back does not keep the engine from changing a due password.
	lateRestartStarvesNone = false
)
