package mediatemple

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// authScheme is the word before the key in the header Authorization. The key could go into the URL as well, where logs
// and errors would show it. The documents that describe the header are lost; clients from the API's time use it so:
// https://github.com/tarnfeld/fuel-mediatemple
const authScheme = "MediaTemple"

// Client talks to the API with one key. Its methods may be called concurrently.
type Client struct {
	http *http.Client
	base string
	key  transport.Secret
}

var _ provider.Client = (*Client)(nil)

// passwordRequest is the body of a change. The documents speak of an object around it, but their sample has none, and
// no client sends one.
type passwordRequest struct {
	transport.Hidden
	Password string `json:"password"`
}

// Check lists the services of the account, which any key may.
func (c *Client) Check(ctx context.Context) provider.Result {
	response, failure := c.call(ctx, http.MethodGet, "/services/ids", nil)
	var out provider.Result
	if failure != nil {
		out = *failure
	} else {
		out = listOutcome(response)
	}
	// Whatever went wrong concerns no service.
	out.Scope = provider.ScopeConnection
	return out
}

// CheckTarget reads the service. Only the free text of its add-ons hints at a Plesk, so whether there is one is known
// from the first change.
func (c *Client) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	a, err := accountOf(target.Settings)
	if err != nil {
		return unsendable(provider.ScopeTarget, err.Error())
	}
	response, failure := c.call(ctx, http.MethodGet, servicePath(a), nil)
	if failure != nil {
		return *failure
	}
	return serviceOutcome(response, a)
}

// Change asks for a new password of one account.
func (c *Client) Change(ctx context.Context, change provider.Change) provider.Result {
	a, err := accountOf(change.Target.Settings)
	if err != nil {
		return unsendable(provider.ScopeTarget, err.Error())
	}
	// The API is not known to check everything, and what it queues may fail later, where nobody is told.
	if err := (Type{}).Rules(provider.Connection{}, change.Target).Check(change.NewPassword); err != nil {
		return unsendable(provider.ScopePassword, err.Error())
	}
	body, err := encode(passwordRequest{Password: change.NewPassword})
	if err != nil {
		return unencodable()
	}
	response, failure := c.call(ctx, http.MethodPut, servicePath(a)+"/"+a.name+"Password", body)
	if failure != nil {
		return *failure
	}
	return changeOutcome(response)
}

// servicePath is the path of a service, whose number was checked.
func servicePath(a account) string { return "/services/" + a.serviceID }

// call makes one request, with a body or without. The Result is what is known where there is no answer.
func (c *Client) call(ctx context.Context, method, path string, body []byte) (*transport.Response, *provider.Result) {
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		out := unencodable()
		return nil, &out
	}
	req.Header.Set("Authorization", authScheme+" "+c.key.Reveal())
	req.Header.Set("Accept", mediaType)
	if body != nil {
		req.Header.Set("Content-Type", mediaType)
	}
	response, err := transport.Do(ctx, c.http, req, 0)
	if err != nil {
		out := transport.Failure(err)
		return nil, &out
	}
	return response, nil
}

// encode writes JSON as the samples have it: plain, without the escapes that Go puts in for HTML.
func encode(value any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}

func unsendable(scope provider.Scope, reason string) provider.Result {
	return provider.Result{Outcome: provider.Rejected, Scope: scope, Reason: reason + "; nothing was sent"}
}

func unencodable() provider.Result {
	return provider.Result{
		Outcome: provider.Unreachable,
		Scope:   provider.ScopeConnection,
		Reason:  "the request could not be built; nothing was sent",
	}
}
