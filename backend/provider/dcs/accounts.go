package dcs

import (
	"context"
	"net/http"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// find lists the accounts of the instance and compares the one with the account's id with what the role says of it.
// There is no call for a single account. The outcome is Applied where they agree.
func (c *Client) find(ctx context.Context, a account) provider.Result {
	response, err := c.api.Call(ctx, huaweicloud.Request{Method: http.MethodGet, Path: c.path(a.instanceID, "accounts")})
	if err != nil {
		return huaweicloud.Failure(err)
	}
	return c.findOutcome(response, a)
}

// findOutcome is what the answer to a listing of the instance's accounts proves.
func (c *Client) findOutcome(response *transport.Response, a account) provider.Result {
	result := c.api.Refusal(response)
	if response.Status != http.StatusOK {
		return refusal(result, response)
	}
	object, _ := huaweicloud.ParseObject(response.Body)
	accounts, ok := object.Objects("accounts")
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		result.Reason = "the answer is no list of accounts; see url, and a proxy in between"
		return result
	}
	result.Code = ""
	result.Outcome = provider.Rejected
	for _, candidate := range accounts {
		if candidate.Text("account_id") == a.accountID {
			return compare(candidate, a, result)
		}
	}
	result.Reason = "the instance has no account with this account_id; list its accounts (a deleted account that was made again has another ID)"
	return result
}

// compare completes the result of a listing that has the account.
func compare(found huaweicloud.Object, a account, result provider.Result) provider.Result {
	switch {
	case found.Text("account_name") != a.username:
		result.Reason = "the account with this account_id has another name than username; correct one of them"
		return result
	case found.Text("account_type") == "default":
		// https://support.huaweicloud.com/intl/en-us/api-dcs/UpdatePassword.html has calls of its own for it.
		result.Reason = "this is the default account, whose password is the instance's; only normal ACL accounts can be rotated"
		return result
	case found.Text("account_type") != "normal":
		result.Reason = "the account is not of the type normal; only normal ACL accounts can be rotated"
		return result
	}
	switch strings.ToUpper(found.Text("status")) {
	case "AVAILABLE":
		result.Outcome = provider.Applied
		result.Reason = "the account exists and has the name that the role gives it"
	case "CREATING", "UPDATING":
		result.Outcome = provider.Busy
		result.Reason = "the account is being created or changed; it will be tried again later"
	default:
		result.Reason = "the account is in no state in which its password can be changed; see its status in the console"
	}
	return result
}
