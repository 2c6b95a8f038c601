package dcs

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Client talks to the DCS of one region and project. Its methods may be called concurrently.
type Client struct {
	api *huaweicloud.API
}

var _ provider.Client = (*Client)(nil)

// modifyRequest and resetRequest are the bodies of a change.
type (
	modifyRequest struct {
		transport.Hidden
		OldPassword string `json:"old_password"`
		NewPassword string `json:"new_password"`
	}
	resetRequest struct {
		transport.Hidden
		NewPassword string `json:"new_password"`
	}
)

// Check asks for one instance of the project.
func (c *Client) Check(ctx context.Context) provider.Result {
	out := c.check(ctx)
	if out.Outcome != provider.Denied { // whose scope says whether the credential was refused, or lacks a right
		out.Scope = provider.ScopeConnection // no account is concerned
	}
	return out
}

func (c *Client) check(ctx context.Context) provider.Result {
	response, err := c.api.Call(ctx, huaweicloud.Request{
		Method: http.MethodGet,
		Path:   "/v2/" + c.api.Project() + "/instances",
		Query:  url.Values{"limit": {"1"}},
		Probe:  true,
	})
	if err != nil {
		return huaweicloud.Failure(err)
	}
	return c.checkOutcome(response)
}

// checkOutcome is what the answer to a listing of instances proves.
func (c *Client) checkOutcome(response *transport.Response) provider.Result {
	result := refusal(c.api.Refusal(response), response)
	_, ok := huaweicloud.ParseObject(response.Body)
	if response.Status == http.StatusOK && ok && !huaweicloud.ParseEnvelope(response).Error {
		result.Outcome = provider.Applied
		result.Code = ""
		result.Reason = "the remote system answered to the connection's credential"
	}
	return result
}

// CheckTarget looks the account up in the list of its instance's accounts.
func (c *Client) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	a, err := accountOf(target.Settings)
	if err != nil {
		return unsendable(provider.ScopeTarget, err.Error())
	}
	return c.find(ctx, a)
}

// Change looks the account up and sets its password. What fails before the password is sent is never Unknown.
func (c *Client) Change(ctx context.Context, change provider.Change) provider.Result {
	a, err := accountOf(change.Target.Settings)
	if err != nil {
		return unsendable(provider.ScopeTarget, err.Error())
	}
	// The service is not known to check everything, and a client could not log in with some of what it takes.
	if err := (Type{}).Rules(provider.Connection{}, change.Target).Check(change.NewPassword); err != nil {
		return unsendable(provider.ScopePassword, err.Error())
	}
	request := huaweicloud.Request{
		Method: http.MethodPut,
		Path:   c.path(a.instanceID, "accounts", a.accountID, "password", a.method),
		Body:   resetRequest{NewPassword: change.NewPassword},
	}
	if a.method == methodModify {
		// An empty one, or one that JSON cannot hold, would only cost a try.
		if change.OldPassword == "" || !utf8.ValidString(change.OldPassword) {
			return unsendable(provider.ScopeTarget, "the present password is not known; give it, or use rotation_method=reset")
		}
		request.Body = modifyRequest{OldPassword: change.OldPassword, NewPassword: change.NewPassword}
	}

	ctx = transport.Hiding(ctx, change.NewPassword, change.OldPassword) // the remote system may know them from another try
	if found := c.find(ctx, a); found.Outcome != provider.Applied {
		return c.api.Unsent(found, provider.ScopeConnection,
			"the account could not be looked up, so the password was not sent; see url, a proxy in between, and whether the remote system is in order")
	}
	response, err := c.api.Call(ctx, request)
	if err != nil {
		return huaweicloud.Failure(err)
	}
	return c.changeOutcome(response, a.method)
}

// changeOutcome is what the answer to a change proves.
func (c *Client) changeOutcome(response *transport.Response, method string) provider.Result {
	result := changeRefusal(c.api.Refusal(response), response)
	switch {
	case response.Status != http.StatusOK:
		return result
	case method == methodReset:
		return resetOutcome(response, result)
	default:
		return modifyOutcome(response, result)
	}
}

// path is the path of what belongs to an instance. Every part was checked.
func (c *Client) path(parts ...string) string {
	return "/v2/" + c.api.Project() + "/instances/" + strings.Join(parts, "/")
}

func unsendable(scope provider.Scope, reason string) provider.Result {
	return provider.Result{Outcome: provider.Rejected, Scope: scope, Reason: reason + "; nothing was sent"}
}
