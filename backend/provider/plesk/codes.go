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

// loginLock is how long a locked login is not used. Plesk does not document how long it locks a login; this is an
// assumption.
const loginLock = 15 * time.Minute

// The error codes:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/error-codes/reduced-list-of-error-codes.33765
//
// A code may have different meanings in system, where the operation has not started, and in a result, where it has. Codes
// in neither table, such as 1023 "operation failed", prove nothing.
var (
	inSystem = map[string]meaning{
		"1001":  {provider.Denied, provider.ScopeConnection, 0, "Plesk refused the connection's login or password; correct them (a proxy that drops headers with underscores has the same effect)"},
		"1003":  {provider.Busy, provider.ScopeConnection, 0, "the Plesk API could not start"},
		"1004":  {provider.Rejected, provider.ScopeConnection, 0, "Plesk rejects every request: its initial setup is not complete; log in to Plesk and complete it"},
		"1005":  {provider.Rejected, provider.ScopeConnection, 0, "Plesk rejects every request: it does not support the protocol version; update Plesk"},
		"1006":  {provider.Denied, provider.ScopeConnection, 0, "Plesk denied permission to the connection's credential; use the main administrator's, and check [api] in panel.ini"},
		"1008":  {provider.Busy, provider.ScopeConnection, 0, "Plesk did not accept concurrent requests"},
		"1009":  {provider.Rejected, provider.ScopeConnection, 0, "Plesk rejects every request: its Virtuozzo key is not valid; correct the license"},
		"1010":  {provider.Denied, provider.ScopeConnection, 0, "Plesk denied access to the panel; check its IP address restrictions, and [api] in panel.ini"},
		"1011":  {provider.Denied, provider.ScopeConnection, 0, "the account that the connection logs in with is disabled; enable it in Plesk"},
		"1012":  {provider.Busy, provider.ScopeConnection, loginLock, "Plesk has locked the connection's login after too many failed attempts; find the source of these attempts, or wait"},
		"1014":  {provider.Rejected, provider.ScopeConnection, 0, "Plesk rejects the request as malformed or not supported, as it does during its setup or an upgrade; complete these, or update Plesk"},
		"1017":  {provider.Rejected, provider.ScopeConnection, 0, "Plesk rejects the request: its protocol version does not have this operation; update Plesk"},
		"1029":  {provider.Denied, provider.ScopeConnection, 0, "Plesk found no credential in the request; check whether a proxy drops headers with underscores"},
		"1030":  {provider.Rejected, provider.ScopeConnection, 0, "Plesk rejects every request: its license has expired; renew it"},
		"11003": {provider.Denied, provider.ScopeConnection, 0, "Plesk refused the secret key; check whether it was deleted, or is bound to other IP addresses than Vault's"},
	}

	inResult = map[string]meaning{
		"1002": {provider.Rejected, provider.ScopeTarget, 0, "Plesk refused the change: such an account already exists; check the login in Plesk"},
		"1003": {provider.Busy, provider.ScopeTarget, 0, "Plesk could not start the operation"},
		"1006": {provider.Denied, provider.ScopeTarget, 0, "the connection's credential is not permitted to do this; use the main administrator's, because additional administrators cannot change each other"},
		"1007": {provider.Rejected, provider.ScopeTarget, 0, "Plesk refused the change: such data already exists; check the login in Plesk"},
		"1008": {provider.Busy, provider.ScopeTarget, 0, "Plesk denied concurrent access"},
		"1013": {provider.Rejected, provider.ScopeTarget, 0, "Plesk has no additional administrator with this login; create it in Plesk, or correct login"},
		"1014": {provider.Rejected, provider.ScopeConnection, 0, "Plesk did not understand the request; update Plesk"},
		"1017": {provider.Rejected, provider.ScopeConnection, 0, "the protocol version of this Plesk does not have this operation; update Plesk"},
		"1019": {provider.Rejected, provider.ScopePassword, 0, "Plesk refused the password as invalid"},
		"1026": {provider.Rejected, provider.ScopeConnection, 0, "a component required for this operation is not installed in Plesk; install it"},
		"1030": {provider.Rejected, provider.ScopeConnection, 0, "the license of Plesk has expired; renew it"},
		"1031": {provider.Rejected, provider.ScopeConnection, 0, "a component required for this operation is not configured in Plesk; configure it"},
		// Since Obsidian 18.0.45: https://www.plesk.com/kb/support/upcoming-changes-in-the-plesk-password-strength-policy
		"1038": {provider.Rejected, provider.ScopePassword, 0, "the password is too weak for the strength policy of this Plesk"},
	}
)

// longestCode is the length of the longest documented code. A longer one could be a password of digits.
const longestCode = 5

// outcome returns what a refusal proves. The caller handles a confirmation.
func (r result) outcome() provider.Result {
	table := inResult
	if r.system {
		table = inSystem
	}
	m, known := table[r.code]
	if r.ok || !known {
		reason := "Plesk reported an error that leaves open whether the request was carried out"
		if r.ok {
			reason = "the response of Plesk has no result of the operation; the request may have been carried out"
		}
		out := provider.Result{Outcome: provider.Unknown, Scope: provider.ScopeTarget, Reason: reason}
		if len(r.code) <= longestCode {
			out.Code = r.code
		}
		return out
	}
	return provider.Result{Outcome: m.outcome, Scope: m.scope, Code: r.code, Reason: m.reason, RetryAfter: m.retryAfter}
}
