package e2e

import (
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// outcome is what happens when a change of one operation meets one fault.
type outcome struct {
	// Code is the status of Vault's answer to rotate-role.
	Code int
	// State is what creds says after it.
	State string
	// Class is last_error_class in status; "" if there is none.
	Class string
	// Opens is the password that opens the account after it: "old", "new", or "waits": the old one, and the new one after
	// the next restart or once the remote system has put it in force.
	Opens string
	// Then is what the engine does without a request.
	Then string
	// End is the state in which the role becomes idle.
	End string
	// Made is how many passwords were generated that may have been in effect, Requests how many requests for a change
	// reached the remote system, Changes how many of them it carried out.
	Made, Requests, Changes int
}

// What the engine does without a request.
const (
	thenNothing = "nothing"
	thenSame    = "sends the same password"
	thenAsOld   = "sends another password, with this one as the old one"
	thenOther   = "sends another password, once the first request cannot be applied any more"
)

// verdict is what a fault means for a change.
type verdict string

const (
	// verdictDone: the answer confirms the change.
	verdictDone verdict = "done"
	// verdictSet, verdictUnset: the answer does not say whether the change was made. It was, or was not.
	verdictSet   verdict = "made, outcome unknown"
	verdictUnset verdict = "not made, outcome unknown"
	// verdictBusy: the remote system says that it changed nothing, for now.
	verdictBusy verdict = "busy"
	// verdictDenied: it refuses the credential, or its permissions, and accepts it the next time.
	verdictDenied verdict = "denied once"
	// verdictWeakOnce, verdictWeak: it refuses the password, or every password of the attempt.
	verdictWeakOnce verdict = "refuses the password"
	verdictWeak     verdict = "refuses every password"
	// verdictNoAccount: it refuses the account, or the request.
	verdictNoAccount verdict = "refuses the account"
	// verdictSlow: the answer confirms the change, which is not in force when the request ends.
	verdictSlow verdict = "confirmed, not in force"
	// verdictNoServer: it refuses every request before it looks at the account.
	verdictNoServer verdict = "refuses every request"
	// verdictGone: the request was not sent.
	verdictGone verdict = "unreachable"
	// The outcome of the first request is unknown, and the same request is answered with busy or the like, or refused.
	verdictSetBusy   verdict = "made, outcome unknown, then busy"
	verdictSetWeak   verdict = "made, outcome unknown, then refused"
	verdictUnsetWeak verdict = "not made, outcome unknown, then refused"
	// verdictRenewed: it refuses the token, and accepts the next one.
	verdictRenewed verdict = "refuses the token"
)

// outcomes is everything that the engine promises, by the verdict and by how a password takes effect.
var outcomes = map[verdict]map[family]outcome{
	verdictDone: {
		atOnce:    {200, "active", "", "new", thenNothing, "active", 1, 1, 1},
		withOld:   {200, "active", "", "new", thenNothing, "active", 1, 1, 1},
		queued:    {200, "accepted", "", "new", thenNothing, "assumed", 1, 1, 1},
		atRestart: {200, "restart_required", "", "waits", thenNothing, "assumed", 1, 1, 1},
	},
	// Sending the same password again is harmless, whether or not the first request was applied. Where the old password has
	// to be presented, the answer to that is ambiguous: the engine presents the new one to find out.
	verdictSet: {
		atOnce:    {200, "uncertain", "unknown", "new", thenSame, "active", 1, 2, 2},
		withOld:   {200, "uncertain", "unknown", "new", thenAsOld, "active", 2, 3, 2},
		queued:    {200, "uncertain", "unknown", "new", thenSame, "assumed", 1, 2, 2},
		atRestart: {200, "uncertain", "unknown", "waits", thenSame, "assumed", 1, 2, 2},
	},
	verdictUnset: {
		atOnce:    {200, "uncertain", "unknown", "old", thenSame, "active", 1, 2, 1},
		withOld:   {200, "uncertain", "unknown", "old", thenSame, "active", 1, 2, 1},
		queued:    {200, "uncertain", "unknown", "old", thenSame, "assumed", 1, 2, 1},
		atRestart: {200, "uncertain", "unknown", "old", thenSame, "assumed", 1, 2, 1},
	},
	// Nothing is sent again: the engine looks until the password is in force.
	verdictSlow: {
		atOnce:  {200, "uncertain", "unknown", "waits", thenNothing, "active", 1, 1, 1},
		withOld: {200, "uncertain", "unknown", "waits", thenNothing, "active", 1, 1, 1},
	},
	// Where nothing was changed, the answer is an error and the password stays.
	verdictBusy: {
		atOnce:    {503, "active", "busy", "old", thenSame, "active", 1, 2, 1},
		withOld:   {503, "active", "busy", "old", thenSame, "active", 1, 2, 1},
		queued:    {503, "assumed", "busy", "old", thenSame, "assumed", 1, 2, 1},
		atRestart: {503, "assumed", "busy", "old", thenSame, "assumed", 1, 2, 1},
	},
	verdictDenied: {
		atOnce:    {502, "active", "denied", "old", thenSame, "active", 1, 2, 1},
		withOld:   {502, "active", "denied", "old", thenSame, "active", 1, 2, 1},
		queued:    {502, "assumed", "denied", "old", thenSame, "assumed", 1, 2, 1},
		atRestart: {502, "assumed", "denied", "old", thenSame, "assumed", 1, 2, 1},
	},
	verdictGone: {
		atOnce:    {502, "active", "unreachable", "old", thenSame, "active", 1, 1, 1},
		withOld:   {502, "active", "unreachable", "old", thenSame, "active", 1, 1, 1},
		queued:    {502, "assumed", "unreachable", "old", thenSame, "assumed", 1, 1, 1},
		atRestart: {502, "assumed", "unreachable", "old", thenSame, "assumed", 1, 1, 1},
	},
	// Another password is sent at once, three at most. The APIs for servers do not say that they refuse the password, and
	// the engine's own rules are stricter than theirs.
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
	verdictNoServer: {
		atOnce: {400, "active", "rejected", "old", thenNothing, "active", 0, 0, 0},
	},
	// The answer to a later request does not settle the first one: its password is kept, and another one that is sent over
	// it is not active without a proof. An accepted old password is a proof.
	verdictSetBusy: {
		atOnce:    {200, "uncertain", "unknown", "new", thenSame, "active", 1, 3, 2},
		withOld:   {200, "uncertain", "unknown", "new", thenAsOld, "active", 2, 4, 2},
		queued:    {200, "uncertain", "unknown", "new", thenSame, "assumed", 1, 3, 2},
		atRestart: {200, "uncertain", "unknown", "waits", thenSame, "assumed", 1, 3, 2},
	},
	verdictSetWeak: {
		atOnce:    {200, "uncertain", "unknown", "new", thenOther, "assumed", 2, 3, 2},
		withOld:   {200, "uncertain", "unknown", "new", thenAsOld, "active", 2, 4, 2},
		queued:    {200, "uncertain", "unknown", "new", thenOther, "assumed", 2, 3, 2},
		atRestart: {200, "uncertain", "unknown", "waits", thenSame, "assumed", 1, 3, 2},
	},
	verdictUnsetWeak: {
		atOnce:    {200, "uncertain", "unknown", "old", thenOther, "assumed", 2, 3, 1},
		withOld:   {200, "uncertain", "unknown", "old", thenOther, "active", 2, 3, 1},
		queued:    {200, "uncertain", "unknown", "old", thenOther, "assumed", 2, 3, 1},
		atRestart: {200, "uncertain", "unknown", "old", thenSame, "assumed", 1, 3, 1},
	},
	verdictRenewed: {
		withOld:   {200, "active", "", "new", thenNothing, "active", 1, 2, 1},
		atRestart: {200, "restart_required", "", "waits", thenNothing, "assumed", 1, 2, 1},
	},
}

// faultRow is a row of the matrix: one fault, or several in turn.
type faultRow struct {
	name    string
	verdict verdict
	faults  []lab.Fault
	// revoked and expired end the connection's token first. tokens is how many requests for a token follow.
	revoked, expired bool
	tokens           int
	// but overrides the verdict for some operations.
	but map[string]verdict
	// notBefore is the minimum time between the first request and the second.
	notBefore time.Duration
	// keepFaults: the faults after the first meet the engine's retries.
	keepFaults bool
	// precheck: the fault meets the request that precedes the change, so no change is requested.
	precheck bool
	// switches change how the remote system behaves until the role's automation is enabled.
	switches []flip
	// timeout replaces the connection's request_timeout, in seconds.
	timeout int
}

// flip is a switch of a simulator, with its value during a change and after it.
type flip struct {
	name          string
	during, after any
}

// firstWait is the engine's first retry interval in the plugin for tests.
const firstWait = 250 * time.Millisecond

// faultRows returns the faults that every operation meets.
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

		wait(one("busy", verdictBusy, lab.Fault{Kind: lab.Busy}), firstWait),
		wait(one("429 of the API", verdictBusy, lab.Fault{Kind: lab.Throttle}), firstWait),
		wait(one("429 of the API, Retry-After in seconds", verdictBusy, lab.Fault{Kind: lab.Throttle, RetryAfter: 1}), time.Second),
		wait(one("429 of the API, Retry-After as a date", verdictBusy, lab.Fault{Kind: lab.Throttle, RetryAfter: 2, RetryAfterDate: true}), time.Second),
		wait(one("429 without a body", verdictBusy, lab.Fault{Kind: lab.Throttle, Variant: "empty"}), firstWait),
		wait(one("429 without a body, Retry-After in seconds", verdictBusy, lab.Fault{Kind: lab.Throttle, Variant: "empty", RetryAfter: 1}), time.Second),
		wait(one("429 with a page", verdictBusy, lab.Fault{Kind: lab.Throttle, Variant: "html"}), firstWait),
		wait(one("429 with a page, Retry-After in seconds", verdictBusy, lab.Fault{Kind: lab.Throttle, Variant: "html", RetryAfter: 1}), time.Second),

		wait(one("the credential is refused once", verdictDenied, lab.Fault{Kind: lab.Deny}), firstWait),
		wait(one("the credential lacks the permission", verdictDenied, lab.Fault{Kind: lab.Deny, Variant: "forbidden"}), firstWait),
		one("the password is refused", verdictWeakOnce, lab.Fault{Kind: lab.Refuse}),
		one("three passwords are refused", verdictWeak, lab.Fault{Kind: lab.Refuse, Count: 3}),
		one("the account is refused", verdictNoAccount, lab.Fault{Kind: lab.RejectTarget}),
		one("connections are refused", verdictGone, lab.Fault{Kind: lab.Unreachable}),
	}
}

// secondRows returns a lost answer, followed by another fault for the repeated request.
func secondRows() []faultRow {
	two := func(name string, v verdict, first lab.Kind, second lab.Fault) faultRow {
		second.Count = 1
		return faultRow{name: name, verdict: v, faults: []lab.Fault{{Kind: first, Count: 1}, second}, keepFaults: true}
	}
	return []faultRow{
		two("applied, then cut; again: busy", verdictSetBusy, lab.ApplyCut, lab.Fault{Kind: lab.Busy}),
		two("applied, then cut; again: 429", verdictSetBusy, lab.ApplyCut, lab.Fault{Kind: lab.Throttle, RetryAfter: 1}),
		two("applied, then cut; again: the credential is refused once", verdictSetBusy, lab.ApplyCut, lab.Fault{Kind: lab.Deny}),
		two("applied, then cut; again: the account is refused", verdictSetBusy, lab.ApplyCut, lab.Fault{Kind: lab.RejectTarget}),
		two("applied, then cut; again: the password is refused", verdictSetWeak, lab.ApplyCut, lab.Fault{Kind: lab.Refuse}),
		two("not applied, then cut; again: the password is refused", verdictUnsetWeak, lab.Cut, lab.Fault{Kind: lab.Refuse}),
	}
}

// precheckRows returns faults of the request that precedes the change. In every case no password is sent.
func precheckRows(operation string) []faultRow {
	one := func(name string, v verdict, f lab.Fault) faultRow {
		f.Target, f.Count, f.Operations = "*", 1, []string{operation}
		return faultRow{name: name, verdict: v, faults: []lab.Fault{f}, precheck: true}
	}
	// CloudDC's list is optional: it only reports earlier, and in more detail, what the change would.
	half := one("before the change: half an answer", verdictGone, lab.Fault{Kind: lab.Truncated})
	half.but = map[string]verdict{"instances": verdictDone}
	return []faultRow{
		one("before the change: cut", verdictGone, lab.Fault{Kind: lab.Cut}),
		one("before the change: no answer", verdictGone, lab.Fault{Kind: lab.Stall}),
		one("before the change: 500", verdictGone, lab.Fault{Kind: lab.Err500}),
		one("before the change: a proxy's 503", verdictGone, lab.Fault{Kind: lab.HTML503}),
		half,
		one("before the change: busy", verdictBusy, lab.Fault{Kind: lab.Busy}),
		one("before the change: 429", verdictBusy, lab.Fault{Kind: lab.Throttle, RetryAfter: 1}),
		one("before the change: the credential is refused once", verdictDenied, lab.Fault{Kind: lab.Deny}),
	}
}

// ownRows returns what only the remote system of the operation does.
func ownRows(op operation) []faultRow {
	yes := true
	switch op.name {
	case "plesk":
		noResult := func(applied *bool) []lab.Fault {
			return []lab.Fault{{Kind: lab.NoSuccess, Variant: "no-result", Count: 1, Applied: applied}}
		}
		rows := []faultRow{
			{name: "applied, then 200 without a result", verdict: verdictSet, faults: noResult(&yes)},
			{name: "not applied, then 200 without a result", verdict: verdictUnset, faults: noResult(nil)},
		}
		for _, code := range []int{1004, 1005, 1009, 1014, 1017, 1030} {
			rows = append(rows, faultRow{name: fmt.Sprintf("system error %d", code), verdict: verdictNoServer, switches: []flip{{"system_error", code, 0}}})
		}
		return rows
	case "dcs modify", "dcs reset":
		rows := []faultRow{
			{name: "UPDATING, but in force in time", verdict: verdictDone, switches: []flip{{"settle_ms", 1000, 0}}, timeout: 20},
			{name: "UPDATING for longer than request_timeout", verdict: verdictSlow, switches: []flip{{"settle_ms", 3600_000, 0}}, timeout: 4},
		}
		for _, code := range dcsBusyCodes {
			rows = append(rows, faultRow{
				name: "busy with " + code, verdict: verdictBusy, notBefore: firstWait,
				faults: []lab.Fault{{Kind: lab.Busy, Count: 1}}, switches: []flip{{"busy_code", code, "DCS.4115"}},
			})
		}
		return rows
	default:
		return nil
	}
}

// dcsBusyCodes are two of the codes with which DCS says "later": a backup, and an operation of another service.
var dcsBusyCodes = []string{"DCS.4096", "CBC.99003651"}

// tokenRows returns the faults of a connection that uses a token.
func tokenRows() []faultRow {
	iam := func(name string, v verdict, f lab.Fault) faultRow {
		f.System, f.Target, f.Count = "iam", "*", 1
		return faultRow{name: "the token was revoked, and IAM " + name, verdict: v, faults: []lab.Fault{f}, revoked: true, precheck: true, tokens: 2}
	}
	return []faultRow{
		{name: "no fault", verdict: verdictDone},
		{name: "the token was revoked", verdict: verdictDone, revoked: true, tokens: 1},
		{name: "the token has expired", verdict: verdictDone, expired: true, tokens: 1},
		{name: "401 between the precheck and the change", verdict: verdictRenewed, faults: []lab.Fault{{Kind: lab.Deny, Count: 1}}, tokens: 1},
		{name: "401 for the new token too", verdict: verdictDenied, faults: []lab.Fault{{Kind: lab.Deny, Count: 2}}, tokens: 1},
		iam("cuts", verdictGone, lab.Fault{Kind: lab.Cut}),
		iam("answers 500", verdictGone, lab.Fault{Kind: lab.Err500}),
		iam("gives no token with its 201", verdictGone, lab.Fault{Kind: lab.NoSuccess}),
		iam("throttles", verdictBusy, lab.Fault{Kind: lab.Throttle, RetryAfter: 1}),
		iam("refuses the user once", verdictDenied, lab.Fault{Kind: lab.Deny}),
	}
}

// expected returns the outcome of a row for an operation.
func (r faultRow) expected(op operation) outcome {
	v := r.verdict
	if other, ok := r.but[op.name]; ok {
		v = other
	}
	c := outcomes[v][op.family]
	if r.precheck && v != verdictGone && v != verdictDone {
		c.Requests-- // the first attempt sent none
	}
	if v == verdictDenied && op.token && !r.precheck {
		c.Requests++ // one with each token
	}
	return c
}
