package dcs

import (
	"context"
	"net/http"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// find lists the accounts of the instance and compares the one with the account's ID with the role. The API has no call
// for a single account. The outcome is Applied if they match. follows: it follows another request of the same change.
func (c *Client) find(ctx context.Context, a account, follows bool) provider.Result {
	response, err := c.list(ctx, a, follows)
	if err != nil {
		return transport.Failure(err)
	}
	return c.findOutcome(response, a)
}

func (c *Client) list(ctx context.Context, a account, follows bool) (*transport.Response, error) {
	return c.api.Call(ctx, huaweicloud.Request{Method: http.MethodGet, Path: c.path(a.instanceID, "accounts"), Follows: follows})
}

// findOutcome returns what the response to listing the accounts of the instance proves.
func (c *Client) findOutcome(response *transport.Response, a account) provider.Result {
	result, status := c.identify(response, a)
	if result.Outcome == provider.Applied {
		return changeable(result, status)
	}
	return result
}

// identify looks for the account in the response to listing the accounts of the instance. If it is the one that the role
// names, the outcome is Applied, and status is that of the account.
func (c *Client) identify(response *transport.Response, a account) (result provider.Result, status string) {
	result = c.api.Refusal(response)
	if response.Status != http.StatusOK {
		return refusal(response, result), ""
	}
	object, _ := huaweicloud.ParseObject(response.Body)
	accounts, ok := object.Objects("accounts")
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		result.Reason = "the response is not a list of accounts; check url and any proxy"
		return result, ""
	}
	result.Code = ""
	result.Outcome = provider.Rejected
	for _, candidate := range accounts {
		if candidate.Text("account_id") == a.accountID {
			return compare(candidate, a, result), strings.ToUpper(candidate.Text("status"))
		}
	}
	result.Reason = "the instance has no account with this account_id; list its accounts (a deleted and recreated account has another ID)"
	return result, ""
}

// compare completes the result for the listed account, whatever its status.
func compare(found huaweicloud.Object, a account, result provider.Result) provider.Result {
	switch {
	case found.Text("account_name") != a.username:
		result.Reason = "the account with this account_id has another name than username; correct one of them"
	case found.Text("account_type") == "default":
		// It has its own calls: https://support.huaweicloud.com/intl/en-us/api-dcs/UpdatePassword.html
		result.Reason = "this is the default account, whose password is the instance's; only normal ACL accounts can be rotated"
	case found.Text("account_type") != "normal":
		result.Reason = "the account is not of type normal; only normal ACL accounts can be rotated"
	default:
		result.Outcome = provider.Applied
		result.Reason = "the account exists and its name matches the role"
	}
	return result
}

// changeable completes the result for an account that was found: Applied only if its status allows a change.
func changeable(result provider.Result, status string) provider.Result {
	switch status {
	case "AVAILABLE":
		return result
	case "CREATING", "UPDATING":
		result.Outcome = provider.Busy
		result.Reason = "the account is being created or changed"
	case "CREATEFAILED", "DELETED", "DELETEFAILED", "DELETING", statusError:
		result.Outcome = provider.Rejected
		result.Reason = "the status of the account is " + status + ", which does not allow password changes; repair or recreate the account"
	default:
		result.Outcome = provider.Rejected
		result.Reason = "the status of the account is not documented, so its password is not changed; check it in the console"
	}
	return result
}

// statusError is the status of an account after an operation on it has failed.
const statusError = "ERROR"
