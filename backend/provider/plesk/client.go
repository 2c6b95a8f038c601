package plesk

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// agentPath is the one address of the XML API:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/about-api-rpc.28709
const agentPath = "/enterprise/control/agent.php"

// Client talks to one Plesk server. Its methods may be called concurrently.
type Client struct {
	http     *http.Client
	endpoint string
	username string
	password transport.Secret
	key      transport.Secret
}

var _ provider.Client = (*Client)(nil)

// Check asks for the server's name, which only an administrator may.
func (c *Client) Check(ctx context.Context) provider.Result {
	packet, err := generalInfoPacket()
	if err != nil {
		return unencodable()
	}
	var out provider.Result
	if response, err := c.send(ctx, packet); err != nil {
		out = transport.Failure(err)
	} else {
		out = checkOutcome(response)
	}
	// Whatever went wrong concerns no account.
	out.Scope = provider.ScopeConnection
	return out
}

// checkOutcome is what the answer to the question for the server's name proves.
func checkOutcome(response *transport.Response) provider.Result {
	answer, failure := read(response, operationGet)
	out := provider.Result{Outcome: provider.Applied, Reason: "Plesk answered to the connection's administrator"}
	switch {
	case failure != nil:
		out = *failure
	case answer.system || !answer.ok:
		out = answer.outcome()
	case answer.node.count("gen_info") != 1:
		out = nonsense(http.StatusOK)
	}
	return out
}

// CheckTarget makes no call: the XML API can neither list nor read additional administrators.
func (c *Client) CheckTarget(context.Context, provider.Target) provider.Result {
	return provider.Result{
		Outcome: provider.Applied,
		Scope:   provider.ScopeTarget,
		Reason:  "Plesk's API cannot look up additional administrators; the first change will show whether the login exists",
	}
}

// Change sets the password of one additional administrator.
func (c *Client) Change(ctx context.Context, change provider.Change) provider.Result {
	login := change.Target.Settings.String(fieldLogin)
	if err := checkLogin(login); err != nil {
		return provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: err.Error() + "; nothing was sent"}
	}
	// Plesk and XML change or lose what the rules exclude, so that another password than the stored one would be set.
	if err := (Type{}).Rules(provider.Connection{}, change.Target).Check(change.NewPassword); err != nil {
		return provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: err.Error() + "; nothing was sent"}
	}
	packet, err := setPasswordPacket(login, change.NewPassword)
	if err != nil {
		return unencodable()
	}
	response, err := c.send(ctx, packet)
	if err != nil {
		return transport.Failure(err)
	}
	return changeOutcome(response)
}

// changeOutcome is what the answer to a change proves.
func changeOutcome(response *transport.Response) provider.Result {
	answer, failure := read(response, operationSetAlias)
	switch {
	case failure != nil:
		return *failure
	case answer.system || !answer.ok:
		return answer.outcome()
	default:
		return provider.Result{Outcome: provider.Applied, Scope: provider.ScopeTarget, Reason: "Plesk confirmed the new password"}
	}
}

// send sends one packet. [transport.Failure] says what an error proves.
func (c *Client) send(ctx context.Context, packet []byte) (*transport.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(packet))
	if err != nil {
		return nil, &transport.NotSentError{Reason: "the request could not be built; nothing was sent"}
	}
	req.Header.Set("Content-Type", "text/xml")
	c.authenticate(req.Header)
	return transport.Do(ctx, c.http, req, 0)
}

// read reads the answer to a packet. The Result is what is known where there is no packet to read.
func read(response *transport.Response, operation string) (result, *provider.Result) {
	switch response.Status {
	case http.StatusOK:
		answer, err := parseResponse(response.Body, operation)
		if err != nil {
			out := nonsense(response.Status)
			return result{}, &out
		}
		return answer, nil
	case http.StatusTooManyRequests:
		out := transport.Throttled(response, time.Now())
		return result{}, &out
	default:
		// Plesk reports its own errors with 200, so this answer is a proxy's or a crash's.
		out := nonsense(response.Status)
		return result{}, &out
	}
}

// authenticate sets the headers under the very names that are documented: Header.Set would write Http_auth_login.
// HTTP does not care; what reads underscored headers behind a web server might.
func (c *Client) authenticate(header http.Header) {
	if key := c.key.Reveal(); key != "" {
		header["KEY"] = []string{key}
		return
	}
	header["HTTP_AUTH_LOGIN"] = []string{c.username}
	header["HTTP_AUTH_PASSWD"] = []string{c.password.Reveal()}
}

func nonsense(status int) provider.Result {
	return provider.Result{
		Outcome: provider.Unknown,
		Scope:   provider.ScopeTarget,
		Code:    transport.StatusCode(status),
		Reason:  "the answer is not one of Plesk's API; see url, a proxy in between, and [api] in Plesk's panel.ini",
	}
}

func unencodable() provider.Result {
	return provider.Result{
		Outcome: provider.Unreachable,
		Scope:   provider.ScopeConnection,
		Reason:  "the request could not be built; nothing was sent",
	}
}
