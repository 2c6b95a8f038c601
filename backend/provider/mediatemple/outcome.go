package mediatemple

import (
	"net/http"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// answer is the status and the error code of an answer of the API's own. The code is any for a status that says enough
// by itself.
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

// refusals are what the documents say, of the operations and of the API as a whole. 401 and 403 are the other way round
// than usual, and 405 is not about the method. What is not here (500 UnknownError, for one) proves nothing.
var refusals = map[answer]meaning{
	{http.StatusBadRequest, codeInvalidPassword}: {provider.Rejected, provider.ScopePassword,
		"Media Temple refused the password as invalid"},
	{http.StatusBadRequest, anyCode}: {provider.Rejected, provider.ScopeTarget,
		"Media Temple did not take the request; see service_id and account"},
	{http.StatusUnauthorized, anyCode}: {provider.Denied, provider.ScopeTarget,
		"Media Temple knows the API key but does not permit this with it; see in the Account Center whose service this is, and whether it is open"},
	{http.StatusForbidden, anyCode}: {provider.Denied, provider.ScopeConnection,
		"Media Temple refused the API key, or the service belongs to the account of another key; see api_key, and service_id in the Account Center"},
	{http.StatusNotFound, codeInvalidService}: {provider.Rejected, provider.ScopeTarget,
		"Media Temple knows no service with this number; see service_id in the Account Center"},
	{http.StatusMethodNotAllowed, codePleskNotAvailable}: {provider.Rejected, provider.ScopeTarget,
		"this service has no Plesk; see service_id, or use account=root"},
	{http.StatusConflict, codeOperationPending}: {provider.Busy, provider.ScopeTarget,
		"Media Temple has not finished another operation on this service; the same password will be sent again later (if this comes often, settle_after is too short)"},
}

// changeOutcome is what the answer to a change proves. 202 alone is a success, and says that the change was queued.
func changeOutcome(response *transport.Response) provider.Result {
	found := parseEnvelope(response)
	result := outcome(response, found)
	switch {
	case !found.own || response.Status < http.StatusOK || response.Status > 299:
	case response.Status != http.StatusAccepted:
		result.Reason = "Media Temple answered with another success than the one that it documents; the password may have been set"
	case found.failed:
		result.Reason = "Media Temple accepted the change and reported an error at once; the password may have been set"
	default:
		return provider.Result{
			Outcome: provider.Staged,
			Stage:   provider.StageAccepted,
			Scope:   provider.ScopeTarget,
			Reason:  "Media Temple accepted the new password; it will be in force when settle_after is over, its API cannot be asked",
		}
	}
	return result
}

// listOutcome is what the answer to a listing of the account's services proves.
func listOutcome(response *transport.Response) provider.Result {
	if response.Status == http.StatusOK && isListOfServices(response) {
		return provider.Result{Outcome: provider.Applied, Reason: "Media Temple answered to the API key"}
	}
	result := readOutcome(response)
	if result.Outcome == provider.Denied {
		// No service was named that the key might have no rights to.
		result.Reason = "Media Temple refused the API key; see api_key, and the keys in the Account Center"
		if response.Status == http.StatusUnauthorized {
			result.Reason = "Media Temple knows the API key but does not permit it to list services; see the state of the account in the Account Center"
		}
	}
	return result
}

// serviceOutcome is what the answer to the reading of a service proves.
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
			result.Reason += "; whether it has a Plesk, the first change will show"
		}
	default:
		result.Reason = "the answer describes another service than the one that was asked for; see url, and a proxy in between"
	}
	return result
}

// readOutcome is what an answer to a read-only call proves that has not what was asked for. That the API is overloaded
// or closed may be believed here, where nothing was to be changed. Of a change 503 proves nothing: it is not documented
// for the two operations, and may come from behind the API, when the change is queued there.
func readOutcome(response *transport.Response) provider.Result {
	result := outcome(response, parseEnvelope(response))
	if response.Status == http.StatusServiceUnavailable && parseEnvelope(response).own {
		result.Outcome = provider.Busy
		result.Scope = provider.ScopeConnection
		result.Reason = "Media Temple's API is not available for now; it will be asked again later"
	}
	return result
}

// outcome is what an answer to any call proves that is no success.
func outcome(response *transport.Response, found envelope) provider.Result {
	if response.Status == http.StatusTooManyRequests {
		return transport.Throttled(response, time.Now())
	}
	result := provider.Result{
		Outcome: provider.Unknown,
		Scope:   provider.ScopeTarget,
		Code:    transport.StatusCode(response.Status),
		Reason: "the answer is none of Media Temple's API, or does not repeat its own status; a proxy may have given it, or url is not " +
			"the base address of the API",
	}
	if !found.own {
		return result
	}
	if found.code != "" {
		result.Code = found.code
	}
	result.RetryAfter = transport.RetryAfter(response.Header, time.Now())
	m, known := refusals[answer{response.Status, found.code}]
	if !known {
		m, known = refusals[answer{response.Status, anyCode}]
	}
	if !known {
		result.Reason = "Media Temple's API reported something that leaves open whether the request was carried out"
		return result
	}
	result.Outcome, result.Scope, result.Reason = m.outcome, m.scope, m.reason
	return result
}
