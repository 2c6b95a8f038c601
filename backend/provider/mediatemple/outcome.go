package mediatemple

import (
	"cmp"
	"net/http"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// answer is the status and the error code of a response of the API. The code is anyCode if the status alone is
// sufficient.
type answer struct {
	status int
	code   string
}

const anyCode = ""

// meaning is what a refusal proves.
type meaning struct {
	outcome provider.Outcome
	scope   provider.Scope
	reason  string
}

// refusals are the documented errors of the operations and of the API as a whole. 401 and 403 are swapped compared to
// common use, and 405 does not refer to the method. Other errors, such as 500 UnknownError, prove nothing.
var refusals = map[answer]meaning{
	{http.StatusBadRequest, codeInvalidPassword}: {provider.Rejected, provider.ScopePassword,
		"Media Temple refused the password as invalid"},
	{http.StatusBadRequest, anyCode}: {provider.Rejected, provider.ScopeTarget,
		"Media Temple rejected the request; check service_id and account"},
	{http.StatusUnauthorized, anyCode}: {provider.Denied, provider.ScopeTarget,
		"Media Temple accepted the API key but does not permit this; check in the Account Center which account owns the service, and that it is open"},
	{http.StatusForbidden, anyCode}: {provider.Denied, provider.ScopeConnection,
		"Media Temple refused the API key, or the service belongs to the account of another key; check api_key, and service_id in the Account Center"},
	{http.StatusNotFound, codeInvalidService}: {provider.Rejected, provider.ScopeTarget,
		"Media Temple has no service with this number; check service_id in the Account Center"},
	{http.StatusMethodNotAllowed, codePleskNotAvailable}: {provider.Rejected, provider.ScopeTarget,
		"this service has no Plesk; check service_id, or use account=root"},
	{http.StatusConflict, codeOperationPending}: {provider.Busy, provider.ScopeTarget,
		"Media Temple has not finished another operation on this service; the same password will be sent again later (if this happens often, increase settle_after)"},
}

// changeOutcome returns what the response to a change proves. Only 202 is a success: the change was queued.
func changeOutcome(response *transport.Response) provider.Result {
	found := parseEnvelope(response)
	result := outcome(response, found)
	switch {
	case !found.own || response.Status < http.StatusOK || response.Status > 299:
	case response.Status != http.StatusAccepted:
		result.Reason = "Media Temple responded with another success status than the documented one; the password may have been set"
	case found.failed:
		result.Reason = "Media Temple accepted the change but also reported an error; the password may have been set"
	default:
		return provider.Result{
			Outcome: provider.Staged,
			Stage:   provider.StageAccepted,
			Scope:   provider.ScopeTarget,
			Reason:  "Media Temple accepted the new password; it counts as in force after settle_after, because the API does not report completion",
		}
	}
	return result
}

// listOutcome returns what the response to listing the services of the account proves.
func listOutcome(response *transport.Response) provider.Result {
	if response.Status == http.StatusOK && isListOfServices(response) {
		return provider.Result{Outcome: provider.Applied, Reason: "Media Temple accepted the API key"}
	}
	result := readOutcome(response)
	if result.Outcome == provider.Denied {
		// The request names no service that the key may lack permission for.
		result.Reason = "Media Temple refused the API key; check api_key, and the keys in the Account Center"
		if response.Status == http.StatusUnauthorized {
			result.Reason = "Media Temple accepted the API key but does not permit it to list services; check the state of the account in the Account Center"
		}
	}
	return result
}

// serviceOutcome returns what the response to reading a service proves.
func serviceOutcome(response *transport.Response, a account) provider.Result {
	if response.Status != http.StatusOK {
		return readOutcome(response)
	}
	result := readOutcome(response)
	switch serviceIn(response) {
	case "":
	case a.serviceID:
		result.Outcome, result.Code = provider.Applied, ""
		result.Reason = "the service exists"
		if a.name == accountPlesk {
			result.Reason += "; the first change will show whether it has a Plesk"
		}
	default:
		result.Reason = "the response describes another service than the requested one; check url and any proxy"
	}
	return result
}

// readOutcome returns what an unsuccessful response to a read-only call proves. A 503 can be trusted here, because
// nothing was to be changed. For a change it proves nothing: it is not documented for the two operations, and may come
// from behind the API after the change was queued.
func readOutcome(response *transport.Response) provider.Result {
	result := outcome(response, parseEnvelope(response))
	if response.Status == http.StatusServiceUnavailable && parseEnvelope(response).own {
		result.Outcome = provider.Busy
		result.Scope = provider.ScopeConnection
		result.Reason = "the Media Temple API is temporarily unavailable"
	}
	return result
}

// outcome returns what an unsuccessful response to any call proves.
func outcome(response *transport.Response, found envelope) provider.Result {
	if response.Status == http.StatusTooManyRequests {
		return transport.Throttled(response, time.Now())
	}
	result := provider.Result{
		Outcome: provider.Unknown,
		Scope:   provider.ScopeTarget,
		Code:    cmp.Or(found.code, transport.StatusCode(response.Status)),
		Reason: "the response is not from the Media Temple API, or does not repeat its own status; a proxy may have sent it, or url is not " +
			"the base address of the API",
	}
	if !found.own {
		return result
	}
	result.RetryAfter = transport.RetryAfter(response.Header, time.Now())
	m, known := refusals[answer{response.Status, found.code}]
	if !known {
		m, known = refusals[answer{response.Status, anyCode}]
	}
	if !known {
		result.Reason = "the response of the Media Temple API leaves open whether the request was carried out"
		return result
	}
	result.Outcome, result.Scope, result.Reason = m.outcome, m.scope, m.reason
	return result
}
