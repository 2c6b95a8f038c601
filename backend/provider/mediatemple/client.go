package mediatemple

import (
	"context"
	"net/http"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// authScheme precedes the key in the Authorization header. The API also accepts the key in the URL, where logs and errors
// would expose it. The documentation of the header is lost; clients of that time use it like this:
// https://github.com/tarnfeld/fuel-mediatemple
const authScheme = "MediaTemple"

// Client calls the API with one key. Its methods may be called concurrently.
type Client struct {
	http *transport.Client
	base string
	key  transport.Secret
}

var _ provider.Client = (*Client)(nil)

// passwordRequest is the body of a change. The documentation mentions an enclosing object, but its sample has none, and
// no client sends one.
type passwordRequest struct {
	provider.Hidden
	Password string `json:"password"`
}

// Check lists the services of the account, which any key is permitted to do.
func (c *Client) Check(ctx context.Context) provider.Result {
	response, err := c.call(ctx, http.MethodGet, "/services/ids", nil)
	out := transport.Failure(err)
	if err == nil {
		out = listOutcome(response)
	}
	// No service is involved.
	out.Scope = provider.ScopeConnection
	return out
}

// CheckTarget reads the service. Only the free text of its add-ons hints at Plesk, so the first change shows whether the
// service has one.
func (c *Client) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	a, err := accountOf(target.Settings)
	if err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error())
	}
	response, err := c.call(ctx, http.MethodGet, servicePath(a), nil)
	if err != nil {
		return transport.Failure(err)
	}
	return serviceOutcome(response, a)
}

// Change requests a new password for one account.
func (c *Client) Change(ctx context.Context, change provider.Change) provider.Result {
	a, err := accountOf(change.Target.Settings)
	if err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error())
	}
	// The API may not check every rule, and a queued change may fail later without any report.
	if err := (Type{}).Rules(provider.Connection{}, change.Target).Check(change.NewPassword); err != nil {
		return provider.Unsendable(provider.ScopePassword, err.Error())
	}
	body, err := transport.JSON(passwordRequest{Password: change.NewPassword})
	if err != nil {
		return transport.Failure(err)
	}
	response, err := c.call(ctx, http.MethodPut, servicePath(a)+"/"+a.name+"Password", body)
	if err != nil {
		return transport.Failure(err)
	}
	return changeOutcome(response)
}

// servicePath returns the path of a service, whose number has been validated.
func servicePath(a account) string { return "/services/" + a.serviceID }

// call makes one request, with or without a body.
func (c *Client) call(ctx context.Context, method, path string, body []byte) (*transport.Response, error) {
	return transport.Do(ctx, c.http, method, c.base+path, body, func(req *http.Request) {
		req.Header.Set("Authorization", authScheme+" "+c.key.Reveal())
		req.Header.Set("Accept", mediaType)
		if body != nil {
			req.Header.Set("Content-Type", mediaType)
		}
	})
}
