package plesk

import (
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// meaning is what an error code proves.
type meaning struct {
	outcome    provider.Outcome
	scope      provider.Scope
	retryAfter time.Duration
	reason     string
}

// loginLock is how long a login that was refused too often is left alone. Plesk does not say how long it locks one;
// this is an assumption.
const loginLock = 15 * time.Minute

// The codes and what they say:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/error-codes/reduced-list-of-error-codes.33765
//
// A code means one thing in system, where the operation has not started, and may mean another in a result, where it
// has. What is in neither table (1023 "operation failed", for one) proves nothing.
var (
	inSystem = map[string]meaning{
		"1001":  {provider.Denied, provider.ScopeConnection, 0, "Plesk refused the connection's login or password; correct them (a proxy that drops headers with underscores has the same effect)"},
		"1003":  {provider.Busy, provider.ScopeConnection, 0, "Plesk's API could not start; it will be asked again later"},
		"1004":  {provider.Rejected, provider.ScopeTarget, 0, "Plesk did not take the request: its initial setup is not done; log in to Plesk and finish it"},
		"1005":  {provider.Rejected, provider.ScopeTarget, 0, "Plesk did not take the request: it does not support the protocol's version; update Plesk"},
		"1006":  {provider.Denied, provider.ScopeConnection, 0, "Plesk denied the connection's credential permission; use the main administrator's, and see [api] in panel.ini"},
		"1008":  {provider.Busy, provider.ScopeConnection, 0, "Plesk takes no second request at the same time; it will be asked again later"},
		"1009":  {provider.Rejected, provider.ScopeTarget, 0, "Plesk did not take the request: its Virtuozzo key is not valid; correct the license"},
		"1010":  {provider.Denied, provider.ScopeConnection, 0, "Plesk denied access to the panel; see its restrictions of addresses, and [api] in panel.ini"},
		"1011":  {provider.Denied, provider.ScopeConnection, 0, "the account that the connection logs in with is disabled; enable it in Plesk"},
		"1012":  {provider.Busy, provider.ScopeConnection, loginLock, "Plesk has locked the connection's login after too many failed attempts; find out who makes them, or wait"},
		"1014":  {provider.Rejected, provider.ScopeTarget, 0, "Plesk did not take the request: it does not know this operation; update Plesk"},
		"1017":  {provider.Rejected, provider.ScopeTarget, 0, "Plesk did not take the request: this operation is not in its protocol's version; update Plesk"},
		"1029":  {provider.Denied, provider.ScopeConnection, 0, "Plesk found no credential in the request; see whether a proxy drops headers with underscores"},
		"1030":  {provider.Rejected, provider.ScopeTarget, 0, "Plesk did not take the request: its license has expired; renew it"},
		"11003": {provider.Denied, provider.ScopeConnection, 0, "Plesk refused the secret key; see whether it was deleted, or bound to other addresses than Vault's"},
	}

	inResult = map[string]meaning{
		"1002": {provider.Rejected, provider.ScopeTarget, 0, "Plesk refused the change: such an account exists already; see the login in Plesk"},
		"1003": {provider.Busy, provider.ScopeTarget, 0, "Plesk could not start the operation; it will be asked again later"},
		"1006": {provider.Denied, provider.ScopeTarget, 0, "the connection's credential may not do this; use the main administrator's, additional ones may not change each other"},
		"1007": {provider.Rejected, provider.ScopeTarget, 0, "Plesk refused the change: such data exists already; see the login in Plesk"},
		"1008": {provider.Busy, provider.ScopeTarget, 0, "Plesk denied a second access at the same time; it will be asked again later"},
		"1013": {provider.Rejected, provider.ScopeTarget, 0, "Plesk knows no additional administrator with this login; create it in Plesk, or correct login"},
		"1014": {provider.Rejected, provider.ScopeTarget, 0, "Plesk did not understand the request; update Plesk"},
		"1017": {provider.Rejected, provider.ScopeTarget, 0, "this operation is not in the protocol's version of this Plesk; update Plesk"},
		"1019": {provider.Rejected, provider.ScopePassword, 0, "Plesk refused the password as invalid"},
		"1026": {provider.Rejected, provider.ScopeTarget, 0, "a component that this needs is not installed in Plesk; install it"},
		"1030": {provider.Rejected, provider.ScopeTarget, 0, "the license of Plesk has expired; renew it"},
		"1031": {provider.Rejected, provider.ScopeTarget, 0, "a component that this needs is not configured in Plesk; configure it"},
		// Since Obsidian 18.0.45: https://www.plesk.com/kb/support/upcoming-changes-in-the-plesk-password-strength-policy
		"1038": {provider.Rejected, provider.ScopePassword, 0, "the password is too weak for the strength policy of this Plesk"},
	}
)

// longestCode is of those that are documented. What is longer could be a password of digits.
const longestCode = 5

// outcome returns what a refusal proves; for a confirmation see the caller.
func (r result) outcome() provider.Result {
	table := inResult
	if r.system {
		table = inSystem
	}
	m, known := table[r.code]
	if r.ok || !known {
		reason := "Plesk reported an error that leaves open whether the request was carried out"
		if r.ok {
			reason = "Plesk's answer has no result of the operation; the request may have been carried out"
		}
		out := provider.Result{Outcome: provider.Unknown, Scope: provider.ScopeTarget, Reason: reason}
		if len(r.code) <= longestCode {
			out.Code = r.code
		}
		return out
	}
	return provider.Result{Outcome: m.outcome, Scope: m.scope, Code: r.code, Reason: m.reason, RetryAfter: m.retryAfter}
}
