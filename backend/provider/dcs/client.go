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

// Client calls DCS in one region and project. Its methods may be called concurrently.
type Client struct {
	api *huaweicloud.API
}

var _ provider.Client = (*Client)(nil)

// modifyRequest and resetRequest are the bodies of change requests.
type (
	modifyRequest struct {
		provider.Hidden
		OldPassword string `json:"old_password"`
		NewPassword string `json:"new_password"`
	}
	resetRequest struct {
		provider.Hidden
		NewPassword string `json:"new_password"`
	}
)

// Check lists one instance of the project.
func (c *Client) Check(ctx context.Context) provider.Result {
	return c.api.Check(ctx, "/v2/"+c.api.Project()+"/instances", url.Values{"limit": {"1"}}, "", refusal)
}

// CheckTarget looks up the account in the account list of its instance.
func (c *Client) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	a, err := accountOf(target.Settings)
	if err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error())
	}
	return c.find(ctx, a, false)
}

// Change looks up the account, sets its password, and waits until the change is in force. A failure before the password is
// sent is never Unknown.
func (c *Client) Change(ctx context.Context, change provider.Change) provider.Result {
	a, err := accountOf(change.Target.Settings)
	if err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error())
	}
	// The service may not check every rule, and clients cannot log in with some passwords that it accepts.
	if err := (Type{}).Rules(provider.Connection{}, change.Target).Check(change.NewPassword); err != nil {
		return provider.Unsendable(provider.ScopePassword, err.Error())
	}
	request := huaweicloud.Request{
		Method: http.MethodPut,
		Path:   c.path(a.instanceID, "accounts", a.accountID, "password", a.method),
		Body:   resetRequest{NewPassword: change.NewPassword},
	}
	if a.method == methodModify {
		// An empty password, or one that JSON cannot represent, would only waste an attempt.
		if change.OldPassword == "" || !utf8.ValidString(change.OldPassword) {
			return provider.Unsendable(provider.ScopeTarget, "the current password is not known; provide it, or use rotation_method=reset")
		}
		request.Body = modifyRequest{OldPassword: change.OldPassword, NewPassword: change.NewPassword}
	}

	ctx = transport.Hiding(ctx, change.NewPassword, change.OldPassword) // the remote system may know them from an earlier attempt
	if found := c.find(ctx, a, false); found.Outcome != provider.Applied {
		return c.api.Unsent(found, provider.ScopeConnection,
			"the account could not be looked up, so the password was not sent; check url, any proxy, and the remote system")
	}
	response, err := c.api.Call(ctx, request)
	if err != nil {
		return transport.Failure(err)
	}
	result := c.changeOutcome(response, a.method)
	if result.Outcome == provider.Applied {
		return c.inForce(ctx, a, result)
	}
	return result
}

// changeOutcome returns what the response to a change proves.
func (c *Client) changeOutcome(response *transport.Response, method string) provider.Result {
	result := changeRefusal(response, c.api.Refusal(response))
	switch {
	case response.Status != http.StatusOK:
		return result
	case method == methodReset:
		return resetOutcome(response, result)
	default:
		return modifyOutcome(response, result)
	}
}

// path returns the path of a resource of an instance. Every part has been validated.
func (c *Client) path(parts ...string) string {
	return "/v2/" + c.api.Project() + "/instances/" + strings.Join(parts, "/")
}
