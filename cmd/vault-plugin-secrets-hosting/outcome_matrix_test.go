package main

import (
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// outcome is what follows when a change of one operation meets one fault.
type outcome struct {
	// Code is that of Vault's answer to rotate-role.
	Code int
	// State is what creds says then.
	State string
	// Class is last_error_class in status then; "": none.
	Class string
	// Opens is which password opens the account then: the old one, or the new one. "waits": the old one, and the new one at
	// the next start.
	Opens string
	// Then is what the engine does by itself.
	Then string
	// End is the state in which the role rests.
	End string
	// Made is how many passwords were made that may have been in force, Requests how many requests for a change reached
	// the remote system, and Changes how many of them it carried out.
	Made, Requests, Changes int
}

// What the engine does by itself.
const (
	thenNothing = "nothing"
	thenAgain   = "sends the same"
	thenAsOld   = "sends another one, with it as the old one"
	thenOther   = "sends another one, once the first cannot follow"
)

// verdict is what a fault amounts to.
type verdict string

const (
	// verdictDone: there is an answer that says so.
	verdictDone verdict = "done"
	// verdictSet, verdictUnset: the change was carried out, or was not, and nobody can tell from the answer.
	verdictSet   verdict = "set, and nobody knows"
	verdictUnset verdict = "not set, and nobody knows"
	// verdictBusy: the remote system proves that it did nothing, for now.
	verdictBusy verdict = "busy"
	// verdictDenied: it refuses the credential, or its rights, and takes it the next time.
	verdictDenied verdict = "denied once"
	// verdictWeakOnce, verdictWeak: it refuses the password, or all that are made in one go.
	verdictWeakOnce verdict = "refuses the password"
	verdictWeak     verdict = "refuses every password"
	// verdictNoAccount: it refuses the account, or the request.
	verdictNoAccount verdict = "refuses the account"
	// verdictGone: the request was never sent.
	verdictGone verdict = "cannot be reached"
	// The same change that nobody knows of, sent again and answered: with busy or the like, or with a refusal.
	verdictSetBusy   verdict = "set, and nobody knows, then busy"
	verdictSetWeak   verdict = "set, and nobody knows, then refused"
	verdictUnsetWeak verdict = "not set, and nobody knows, then refused"
	// verdictRenewed: it refuses the token, and takes the next one.
	verdictRenewed verdict = "refuses the token"
)

// follows is the whole of what the engine promises, by what happened and by how a password comes into force.
var follows = map[verdict]map[family]outcome{
	verdictDone: {
		atOnce:    {200, "active", "", "new", thenNothing, "active", 1, 1, 1},
		withOld:   {200, "active", "", "new", thenNothing, "active", 1, 1, 1},
		queued:    {200, "accepted", "", "new", thenNothing, "assumed", 1, 1, 1},
		atRestart: {200, "restart_required", "", "waits", thenNothing, "assumed", 1, 1, 1},
	},
	// Sending the same once more does no harm, whatever became of the first request. Only where the old password has to
	// be presented it does not say so: there the new one is found out by presenting it.
	verdictSet: {
		atOnce:    {200, "uncertain", "unknown", "new", thenAgain, "active", 1, 2, 2},
		withOld:   {200, "uncertain", "unknown", "new", thenAsOld, "active", 2, 3, 2},
		queued:    {200, "uncertain", "unknown", "new", thenAgain, "assumed", 1, 2, 2},
		atRestart: {200, "uncertain", "unknown", "waits", thenAgain, "assumed", 1, 2, 2},
	},
	verdictUnset: {
		atOnce:    {200, "uncertain", "unknown", "old", thenAgain, "active", 1, 2, 1},
		withOld:   {200, "uncertain", "unknown", "old", thenAgain, "active", 1, 2, 1},
		queued:    {200, "uncertain", "unknown", "old", thenAgain, "assumed", 1, 2, 1},
		atRestart: {200, "uncertain", "unknown", "old", thenAgain, "assumed", 1, 2, 1},
	},
	// What changed nothing leaves everybody with the password that works, and is said with an error.
	verdictBusy: {
		atOnce:    {503, "active", "busy", "old", thenAgain, "active", 1, 2, 1},
		withOld:   {503, "active", "busy", "old", thenAgain, "active", 1, 2, 1},
		queued:    {503, "assumed", "busy", "old", thenAgain, "assumed", 1, 2, 1},
		atRestart: {503, "assumed", "busy", "old", thenAgain, "assumed", 1, 2, 1},
	},
	verdictDenied: {
		atOnce:    {502, "active", "denied", "old", thenAgain, "active", 1, 2, 1},
		withOld:   {502, "active", "denied", "old", thenAgain, "active", 1, 2, 1},
		queued:    {502, "assumed", "denied", "old", thenAgain, "assumed", 1, 2, 1},
		atRestart: {502, "assumed", "denied", "old", thenAgain, "assumed", 1, 2, 1},
	},
	verdictGone: {
		atOnce:    {502, "active", "unreachable", "old", thenAgain, "active", 1, 1, 1},
		withOld:   {502, "active", "unreachable", "old", thenAgain, "active", 1, 1, 1},
		queued:    {502, "assumed", "unreachable", "old", thenAgain, "assumed", 1, 1, 1},
		atRestart: {502, "assumed", "unreachable", "old", thenAgain, "assumed", 1, 1, 1},
	},
	// Another password is made at once, three at most. Services for servers do not say that it is the password that they
	// refuse, and ours are checked before by stricter rules than theirs.
	verdictWeakOnce: {
		atOnce:    {200, "active", "", "new", thenNothing, "active", 1, 2, 1},
		withOld:   {200, "active", "", "new", thenNothing, "active", 1, 2, 1},
		queued:    {200, "accepted", "", "new", thenNothing, "assumed", 1, 2, 1},
		atRestart: {400, "assumed", "rejected", "old", thenNothing, "assumed", 0, 1, 0},
	},
	verdictWeak: {
		atOnce:    {400, "active", "rejected", "old", thenNothing, "active", 0, 3, 0},
		withOld:   {400, "active", "rejected", "old", thenNothing, "active", 0, 3, 0},
		queued:    {400, "assumed", "rejected", "old", thenNothing, "assumed", 0, 3, 0},
		atRestart: {400, "assumed", "rejected", "old", thenNothing, "assumed", 0, 1, 0},
	},
	verdictNoAccount: {
		atOnce:    {400, "active", "rejected", "old", thenNothing, "active", 0, 1, 0},
		withOld:   {400, "active", "rejected", "old", thenNothing, "active", 0, 1, 0},
		queued:    {400, "assumed", "rejected", "old", thenNothing, "assumed", 0, 1, 0},
		atRestart: {400, "assumed", "rejected", "old", thenNothing, "assumed", 0, 1, 0},
	},
	// A later answer is about a later request, and settles nothing of the first: its password is kept, and no other is
	// called active that was sent over it without a proof. An old password that fits is one.
	verdictSetBusy: {
		atOnce:    {200, "uncertain", "unknown", "new", thenAgain, "active", 1, 3, 2},
		withOld:   {200, "uncertain", "unknown", "new", thenAsOld, "active", 2, 4, 2},
		queued:    {200, "uncertain", "unknown", "new", thenAgain, "assumed", 1, 3, 2},
		atRestart: {200, "uncertain", "unknown", "waits", thenAgain, "assumed", 1, 3, 2},
	},
	verdictSetWeak: {
		atOnce:    {200, "uncertain", "unknown", "new", thenOther, "assumed", 2, 3, 2},
		withOld:   {200, "uncertain", "unknown", "new", thenAsOld, "active", 2, 4, 2},
		queued:    {200, "uncertain", "unknown", "new", thenOther, "assumed", 2, 3, 2},
		atRestart: {200, "uncertain", "unknown", "waits", thenAgain, "assumed", 1, 3, 2},
	},
	verdictUnsetWeak: {
		atOnce:    {200, "uncertain", "unknown", "old", thenOther, "assumed", 2, 3, 1},
		withOld:   {200, "uncertain", "unknown", "old", thenOther, "active", 2, 3, 1},
		queued:    {200, "uncertain", "unknown", "old", thenOther, "assumed", 2, 3, 1},
		atRestart: {200, "uncertain", "unknown", "old", thenAgain, "assumed", 1, 3, 1},
	},
	verdictRenewed: {
		withOld:   {200, "active", "", "new", thenNothing, "active", 1, 2, 1},
		atRestart: {200, "restart_required", "", "waits", thenNothing, "assumed", 1, 2, 1},
	},
}

// faultRow is one fault.
type faultRow struct {
	name    string
	verdict verdict
	faults  []lab.Fault
	// revoked and expired end the connection's token first. tokens is how many more it gets, or asks for.
	revoked, expired bool
	tokens           int
	// but is the verdict for single operations.
	but map[string]verdict
	// notBefore is when, after the first request, the second may come at the earliest.
	notBefore time.Duration
	// more: the faults after the first meet what the engine does by itself.
	more bool
	// looking: the fault meets what is asked before the change, so that no request is made.
	looking bool
}

// firstWait is the first of the engine's waiting times, in the plugin that is tested.
const firstWait = 250 * time.Millisecond

// faultRows are the faults that every operation meets.
func faultRows() []faultRow {
	yes, no := true, false
	one := func(name string, v verdict, f lab.Fault) faultRow {
		if f.Count == 0 && f.Kind != lab.Unreachable {
			f.Count = 1
		}
		return faultRow{name: name, verdict: v, faults: []lab.Fault{f}}
	}
	wait := func(r faultRow, d time.Duration) faultRow {
		r.notBefore = d
		return r
	}
	// These services have no word for "busy" that could be told from a refusal.
	busyRow := one("says that it is busy", verdictBusy, lab.Fault{Kind: lab.Busy})
	busyRow.but = map[string]verdict{"instances": verdictNoAccount, "cloudservers": verdictNoAccount}

	return []faultRow{
		{name: "no fault", verdict: verdictDone},
		one("slow, but in time", verdictDone, lab.Fault{Kind: lab.Slow, DelayMS: 300}),

		one("applied, then cut", verdictSet, lab.Fault{Kind: lab.ApplyCut}),
		one("applied, then no answer", verdictSet, lab.Fault{Kind: lab.Hold}),
		one("applied, then 500", verdictSet, lab.Fault{Kind: lab.Apply500}),
		one("applied, then a proxy's 502", verdictSet, lab.Fault{Kind: lab.Apply502HTML}),
		one("applied, then a proxy's 503", verdictSet, lab.Fault{Kind: lab.Apply503HTML}),
		one("applied, then a proxy's 503 with Retry-After", verdictSet, lab.Fault{Kind: lab.Apply503HTML, RetryAfter: 1}),
		one("applied, then 200 without success", verdictSet, lab.Fault{Kind: lab.NoSuccess, Applied: &yes}),
		one("applied, then an empty 200", verdictSet, lab.Fault{Kind: lab.Empty200, Applied: &yes}),
		one("applied, then a page with 200", verdictSet, lab.Fault{Kind: lab.HTML200, Applied: &yes}),
		one("applied, then a firewall's 403", verdictSet, lab.Fault{Kind: lab.HTML, Applied: &yes}),
		one("applied, then a redirect", verdictSet, lab.Fault{Kind: lab.Redirect, Applied: &yes}),
		one("applied, then half an answer", verdictSet, lab.Fault{Kind: lab.Truncated}),
		one("applied, then an answer without end", verdictSet, lab.Fault{Kind: lab.Huge}),
		one("cut, then applied within the margin", verdictSet, lab.Fault{Kind: lab.Late, DelayMS: 200}),
		one("no answer in time, then applied within the margin", verdictSet, lab.Fault{Kind: lab.Slow, DelayMS: 2500}),

		one("not applied, then cut", verdictUnset, lab.Fault{Kind: lab.Cut}),
		one("not applied, then no answer", verdictUnset, lab.Fault{Kind: lab.Stall}),
		one("not applied, then 500", verdictUnset, lab.Fault{Kind: lab.Err500}),
		one("not applied, then a proxy's 503", verdictUnset, lab.Fault{Kind: lab.HTML503}),
		one("not applied, then a proxy's 503 with Retry-After", verdictUnset, lab.Fault{Kind: lab.HTML503, RetryAfter: 1}),
		one("not applied, then 200 without success", verdictUnset, lab.Fault{Kind: lab.NoSuccess}),
		one("not applied, then an empty 200", verdictUnset, lab.Fault{Kind: lab.Empty200}),
		one("not applied, then a page with 200", verdictUnset, lab.Fault{Kind: lab.HTML200}),
		one("not applied, then a firewall's 403", verdictUnset, lab.Fault{Kind: lab.HTML}),
		one("not applied, then a redirect", verdictUnset, lab.Fault{Kind: lab.Redirect}),
		one("not applied, then half an answer", verdictUnset, lab.Fault{Kind: lab.Truncated, Applied: &no}),
		one("not applied, then an answer without end", verdictUnset, lab.Fault{Kind: lab.Huge, Applied: &no}),

		wait(busyRow, firstWait),
		wait(one("429 of its own", verdictBusy, lab.Fault{Kind: lab.Throttle}), firstWait),
		wait(one("429 of its own, in seconds", verdictBusy, lab.Fault{Kind: lab.Throttle, RetryAfter: 1}), time.Second),
		wait(one("429 of its own, until a date", verdictBusy, lab.Fault{Kind: lab.Throttle, RetryAfter: 2, RetryAfterDate: true}), time.Second),
		wait(one("429 without a body", verdictBusy, lab.Fault{Kind: lab.Throttle, Variant: "empty"}), firstWait),
		wait(one("429 without a body, in seconds", verdictBusy, lab.Fault{Kind: lab.Throttle, Variant: "empty", RetryAfter: 1}), time.Second),
		wait(one("429 with a page", verdictBusy, lab.Fault{Kind: lab.Throttle, Variant: "html"}), firstWait),
		wait(one("429 with a page, in seconds", verdictBusy, lab.Fault{Kind: lab.Throttle, Variant: "html", RetryAfter: 1}), time.Second),

		wait(one("the credential is refused once", verdictDenied, lab.Fault{Kind: lab.Deny}), firstWait),
		wait(one("the credential has no right to this", verdictDenied, lab.Fault{Kind: lab.Deny, Variant: "forbidden"}), firstWait),
		one("the password is refused", verdictWeakOnce, lab.Fault{Kind: lab.Refuse}),
		one("three passwords are refused", verdictWeak, lab.Fault{Kind: lab.Refuse, Count: 3}),
		one("the account is refused", verdictNoAccount, lab.Fault{Kind: lab.RejectTarget}),
		one("connections are refused", verdictGone, lab.Fault{Kind: lab.Unreachable}),
	}
}

// secondRows are what follows when the repetition of a request that nobody knows of is answered with another fault.
func secondRows() []faultRow {
	two := func(name string, v verdict, first lab.Kind, second lab.Fault) faultRow {
		second.Count = 1
		return faultRow{name: name, verdict: v, faults: []lab.Fault{{Kind: first, Count: 1}, second}, more: true}
	}
	return []faultRow{
		two("applied, then cut; again: says that it is busy", verdictSetBusy, lab.ApplyCut, lab.Fault{Kind: lab.Busy}),
		two("applied, then cut; again: 429", verdictSetBusy, lab.ApplyCut, lab.Fault{Kind: lab.Throttle, RetryAfter: 1}),
		two("applied, then cut; again: the credential is refused once", verdictSetBusy, lab.ApplyCut, lab.Fault{Kind: lab.Deny}),
		two("applied, then cut; again: the account is refused", verdictSetBusy, lab.ApplyCut, lab.Fault{Kind: lab.RejectTarget}),
		two("applied, then cut; again: the password is refused", verdictSetWeak, lab.ApplyCut, lab.Fault{Kind: lab.Refuse}),
		two("not applied, then cut; again: the password is refused", verdictUnsetWeak, lab.Cut, lab.Fault{Kind: lab.Refuse}),
	}
}

// lookingRows are faults of what some operations ask before the change. Whatever comes of it, no password was sent.
func lookingRows(operation string) []faultRow {
	one := func(name string, v verdict, f lab.Fault) faultRow {
		f.Target, f.Count, f.Operations = "*", 1, []string{operation}
		return faultRow{name: name, verdict: v, faults: []lab.Fault{f}, looking: true}
	}
	// CloudDC's list only says beforehand, and better, what the change says.
	half := one("before the change: half an answer", verdictGone, lab.Fault{Kind: lab.Truncated})
	half.but = map[string]verdict{"instances": verdictDone}
	return []faultRow{
		one("before the change: cut", verdictGone, lab.Fault{Kind: lab.Cut}),
		one("before the change: no answer", verdictGone, lab.Fault{Kind: lab.Stall}),
		one("before the change: 500", verdictGone, lab.Fault{Kind: lab.Err500}),
		one("before the change: a proxy's 503", verdictGone, lab.Fault{Kind: lab.HTML503}),
		half,
		one("before the change: 429", verdictBusy, lab.Fault{Kind: lab.Throttle, RetryAfter: 1}),
		one("before the change: the credential is refused once", verdictDenied, lab.Fault{Kind: lab.Deny}),
	}
}

// tokenRows are a 401 in the middle of what a connection does with a token.
func tokenRows() []faultRow {
	iam := func(name string, v verdict, f lab.Fault) faultRow {
		f.System, f.Target, f.Count = "iam", "*", 1
		return faultRow{name: "the token was revoked, and IAM " + name, verdict: v, faults: []lab.Fault{f}, revoked: true, looking: true, tokens: 2}
	}
	return []faultRow{
		{name: "no fault", verdict: verdictDone},
		{name: "the token was revoked", verdict: verdictDone, revoked: true, tokens: 1},
		{name: "the token has expired", verdict: verdictDone, expired: true, tokens: 1},
		{name: "401 between looking and the change", verdict: verdictRenewed, faults: []lab.Fault{{Kind: lab.Deny, Count: 1}}, tokens: 1},
		{name: "401 for the new token too", verdict: verdictDenied, faults: []lab.Fault{{Kind: lab.Deny, Count: 2}}, tokens: 1},
		iam("cuts", verdictGone, lab.Fault{Kind: lab.Cut}),
		iam("answers 500", verdictGone, lab.Fault{Kind: lab.Err500}),
		iam("gives no token with its 201", verdictGone, lab.Fault{Kind: lab.NoSuccess}),
		iam("throttles", verdictBusy, lab.Fault{Kind: lab.Throttle, RetryAfter: 1}),
		iam("refuses the user once", verdictDenied, lab.Fault{Kind: lab.Deny}),
	}
}

// expected is the outcome of a row for an operation.
func (r faultRow) expected(op operation) outcome {
	v := r.verdict
	if other, ok := r.but[op.name]; ok {
		v = other
	}
	c := follows[v][op.family]
	if r.looking && v != verdictGone && v != verdictDone {
		c.Requests-- // the first try made none
	}
	if v == verdictDenied && op.token && !r.looking {
		c.Requests++ // with either token
	}
	return c
}
