package plesk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"net/http"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// agentPath is the path of the XML API:
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/about-api-rpc.28709
const agentPath = "/enterprise/control/agent.php"

// Client calls one Plesk server. Its methods may be called concurrently.
type Client struct {
	http     *transport.Client
	endpoint string
	username string
	password transport.Secret
	key      transport.Secret
}

var _ provider.Client = (*Client)(nil)

// Check requests the server's name and GUID, which only administrators are permitted to read.
func (c *Client) Check(ctx context.Context) provider.Result {
	response, err := c.send(ctx, serverRequest{Get: &get{}})
	out := transport.Failure(err)
	if err == nil {
		out = checkOutcome(response)
	}
	// No account is involved.
	out.Scope = provider.ScopeConnection
	return out
}

// checkOutcome returns what the response to a check proves.
func checkOutcome(response *transport.Response) provider.Result {
	node, failure := read(response, operationGet)
	switch {
	case node == nil:
		return failure
	case len(node.named("gen_info")) != 1:
		return nonsense(http.StatusOK)
	default:
		system := systemOf(node.named("gen_info")[0], response.Key)
		return provider.Result{Outcome: provider.Applied, System: system, Reason: "Plesk accepted the connection's administrator"}
	}
}

// systemOf identifies the server by its GUID, its own name and its key, or returns "" if one is missing. A copied server keeps
// its GUID but gets another name. Any server can claim both, but only one that has the key can be another's.
func systemOf(info *element, key []byte) string {
	guid, hasGUID := info.only("server_guid")
	name, hasName := info.only("server_name")
	if !hasGUID || !hasName || guid == "" || name == "" || len(key) == 0 {
		return ""
	}
	sum := sha256.Sum256(append([]byte(strings.ToLower(Name+"|"+guid+"|"+name)+"|"), key...))
	return hex.EncodeToString(sum[:16])
}

// CheckTarget makes no call: the XML API cannot list or read additional administrators.
func (c *Client) CheckTarget(context.Context, provider.Target) provider.Result {
	return provider.Result{
		Outcome: provider.Applied,
		Scope:   provider.ScopeTarget,
		Unsent:  true,
		Reason:  "the Plesk API cannot look up additional administrators; the first change will show whether the login exists",
	}
}

// Change sets the password of one additional administrator.
func (c *Client) Change(ctx context.Context, change provider.Change) provider.Result {
	login := change.Target.Settings.String(fieldLogin)
	if err := checkLogin(login); err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error())
	}
	// Plesk and XML alter or drop the characters that the rules exclude, so the password set would differ from the
	// stored one.
	if err := (Type{}).Rules(provider.Connection{}, change.Target).Check(change.NewPassword); err != nil {
		return provider.Unsendable(provider.ScopePassword, err.Error())
	}
	response, err := c.send(ctx, serverRequest{SetAlias: &setAlias{
		Filter: aliasFilter{Login: login},
		Data:   aliasData{Password: change.NewPassword},
	}})
	if err != nil {
		return transport.Failure(err)
	}
	return changeOutcome(response)
}

// changeOutcome returns what the response to a change proves.
func changeOutcome(response *transport.Response) provider.Result {
	if node, failure := read(response, operationSetAlias); node == nil {
		return failure
	}
	return provider.Result{Outcome: provider.Applied, Scope: provider.ScopeTarget, Reason: "Plesk confirmed the new password"}
}

// send sends one packet with one operation.
func (c *Client) send(ctx context.Context, operation serverRequest) (*transport.Response, error) {
	packet, err := xml.Marshal(requestPacket{Server: operation})
	if err != nil {
		return nil, transport.NotBuilt()
	}
	packet = append([]byte(xml.Header), packet...)
	return transport.Do(ctx, c.http, http.MethodPost, c.endpoint, packet, func(req *http.Request) {
		req.Header.Set("Content-Type", "text/xml")
		c.authenticate(req.Header)
	})
}

// read returns the result element of a response that confirms the operation. It returns nil for any other response, and what
// that proves.
func read(response *transport.Response, operation string) (*element, provider.Result) {
	switch response.Status {
	case http.StatusOK:
		answer, err := parseResponse(response.Body, operation)
		switch {
		case errors.Is(err, errNoResult) && operation == operationSetAlias:
			return nil, noSuchLogin()
		case err != nil:
		case answer.ok && !answer.system:
			return answer.node, provider.Result{}
		default:
			return nil, answer.outcome()
		}
	case http.StatusTooManyRequests:
		return nil, transport.Throttled(response, time.Now())
	default: // Plesk reports its own errors with 200, so this response comes from a proxy or a crash.
	}
	return nil, nonsense(response.Status)
}

// authenticate sets the headers with exactly the documented names: Header.Set would write Http_auth_login. HTTP header
// names are case-insensitive, but code behind a web server that reads headers with underscores may not be.
func (c *Client) authenticate(header http.Header) {
	if key := c.key.Reveal(); key != "" {
		header["KEY"] = []string{key}
		return
	}
	header["HTTP_AUTH_LOGIN"] = []string{c.username}
	header["HTTP_AUTH_PASSWD"] = []string{c.password.Reveal()}
}

// noSuchLogin is what a change proves whose response has no result: nothing, but a missing account is the likely reason.
func noSuchLogin() provider.Result {
	return provider.Result{
		Outcome: provider.Unknown,
		Scope:   provider.ScopeTarget,
		Reason:  "Plesk responded without a result, as it does if no such account exists; check in Plesk that it has an additional administrator with this login",
	}
}

func nonsense(status int) provider.Result {
	return provider.Result{
		Outcome: provider.Unknown,
		Scope:   provider.ScopeTarget,
		Code:    transport.StatusCode(status),
		Reason:  "the response is not from the Plesk API; check url, any proxy, and [api] in panel.ini of Plesk",
	}
}
