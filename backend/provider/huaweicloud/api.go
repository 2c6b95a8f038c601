package huaweicloud

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// API makes authenticated calls to one regional service. It is safe for concurrent use.
type API struct {
	http    *http.Client
	base    string
	project string
	now     func() time.Time

	// Either of them is set.
	signer *Signer
	tokens *tokens

	// refused is of the credential, whichever it is.
	refused *pause
}

// Unsent is the result of a change that was not sent, as what is asked before it got no answer that proves anything: result
// is that of the question, and stays what it is otherwise. A question shows an access key, where a token was got before it.
func (a *API) Unsent(result provider.Result, scope provider.Scope, reason string) provider.Result {
	if result.Outcome.Unchanged() {
		return result
	}
	result.Outcome, result.Scope, result.Reason = provider.Unreachable, scope, reason
	result.Unseen = a.signer != nil
	return result
}

// Request is one call.
type Request struct {
	Method string
	// Path begins with a slash. Identifiers in it must have been checked: it is not escaped.
	Path  string
	Query url.Values
	// Body is written as JSON; nil: none.
	Body any
	// Probe: the call is made to find out whether the credential works, so that it is shown though it was refused a
	// moment ago.
	Probe bool
}

// Open returns the API of a completed connection. It does no I/O. An error is the user's mistake in the TLS settings.
func Open(connection provider.Connection) (*API, error) {
	return open(connection, time.Now)
}

func open(connection provider.Connection, now func() time.Time) (*API, error) {
	client, err := transport.New(connection.TLS)
	if err != nil {
		return nil, err
	}
	settings := connection.Settings
	api := &API{
		http:    client,
		base:    connection.URL,
		project: settings.String(FieldProjectID),
		now:     now,
		refused: &pause{now: now},
	}
	if settings.Has(FieldAccessKey) {
		api.signer = &Signer{
			AccessKey:     settings.String(FieldAccessKey),
			SecretKey:     transport.NewSecret(settings.String(FieldSecretKey)),
			SecurityToken: transport.NewSecret(settings.String(FieldSecurityToken)),
			Now:           now,
		}
		return api, nil
	}
	api.tokens = &tokens{
		http:     client,
		endpoint: settings.String(FieldIAMURL),
		user:     settings.String(FieldUsername),
		domain:   settings.String(FieldDomainName),
		project:  api.project,
		password: transport.NewSecret(settings.String(FieldPassword)),
		now:      now,
		refused:  api.refused,
	}
	return api, nil
}

// Project is the project's id, which the paths of all calls begin with.
func (a *API) Project() string { return a.project }

// Call makes the call and returns the answer, whatever its status. It sends the request once; only where the service
// refuses the token, by its own envelope, it gets a new token and sends the same bytes once more. [Failure] says what
// an error proves.
func (a *API) Call(ctx context.Context, request Request) (*transport.Response, error) {
	if request.Probe {
		a.refused.end()
	}
	if err := a.refused.check(); err != nil {
		return nil, err
	}
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = encode(request.Body); err != nil {
			return nil, unreachable("the request could not be built; nothing was sent")
		}
	}
	if a.signer != nil {
		ctx = transport.Hiding(ctx, a.signer.SecretKey.Reveal())
		response, err := a.send(ctx, request, body, "")
		if err == nil && unauthorized(response) {
			a.refused.begin(a.Refusal(response))
		}
		return response, err
	}

	ctx = transport.Hiding(ctx, a.tokens.password.Reveal())
	first, err := a.tokens.get(ctx, "")
	if err != nil {
		return nil, err
	}
	response, err := a.send(ctx, request, body, first.value.Reveal())
	if err != nil || !unauthorized(response) {
		return response, err
	}
	// A changed user kills tokens before their time ("The token must be updated").
	second, err := a.tokens.get(ctx, first.value.Reveal())
	if err != nil {
		return nil, err
	}
	return a.send(ctx, request, body, second.value.Reveal())
}

func (a *API) send(ctx context.Context, request Request, body []byte, token string) (*transport.Response, error) {
	address := a.base + request.Path
	if len(request.Query) > 0 {
		address += "?" + request.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, request.Method, address, bytes.NewReader(body))
	if err != nil {
		return nil, unreachable("the request could not be built; nothing was sent")
	}
	req.Header.Set("Content-Type", "application/json;charset=UTF-8")
	if a.signer != nil {
		req.Header.Set(headerProject, a.project)
		a.signer.Sign(req, body)
	} else {
		req.Header.Set("X-Auth-Token", token)
	}
	return transport.Do(ctx, a.http, req, 0)
}

func unauthorized(response *transport.Response) bool {
	return response.Status == http.StatusUnauthorized && ParseEnvelope(response).Refusal
}

// Failure returns what an error of [API.Call] proves.
func Failure(err error) provider.Result {
	var auth *AuthError
	if errors.As(err, &auth) {
		return auth.Result
	}
	return transport.Failure(err)
}

// maxSkew is where the difference of two clocks is worth telling: signatures are refused from 15 minutes on.
const maxSkew = 14 * time.Minute

// Refusal returns what an answer that is no success proves, as far as that is the same for all services: 429 in any
// form; 401, 403, and 404 in one of the forms of [Envelope]; 400 of the gateway, which stands before the service. All
// else is Unknown.
func (a *API) Refusal(response *transport.Response) provider.Result {
	envelope := ParseEnvelope(response)
	result := provider.Result{
		Outcome:   provider.Unknown,
		Scope:     provider.ScopeTarget,
		Code:      codeOr(envelope, response.Status),
		RequestID: envelope.RequestID,
		Reason:    "the answer does not tell whether the request was carried out; see url, and a proxy in between",
	}
	if response.Status == http.StatusTooManyRequests {
		throttled := transport.Throttled(response, a.now())
		throttled.Code, throttled.RequestID = result.Code, result.RequestID
		return throttled
	}
	if !envelope.Refusal {
		return result
	}
	switch response.Status {
	case http.StatusUnauthorized:
		result.Outcome, result.Scope = provider.Denied, provider.ScopeConnection
		result.Reason = a.unauthorizedReason(response)
	case http.StatusForbidden: // who asks was recognised, so that no try counts
		result.Outcome, result.Scope = provider.Denied, provider.ScopeTarget
		result.Reason = "the connection's user may not do this; see its permissions in IAM, project_id, and whether the account is in arrears"
	case http.StatusNotFound:
		result.Outcome = provider.Rejected
		result.Reason = "the remote system knows no such project, instance or account; see their IDs, and whether url and region are theirs"
	case http.StatusBadRequest:
		if envelope.Prefix() == "APIGW" {
			result.Outcome = provider.Rejected
			result.Reason = "the gateway of the remote system did not take the request; see url and the IDs"
		}
	}
	return result
}

func (a *API) unauthorizedReason(response *transport.Response) string {
	if a.signer == nil {
		return "the remote system refused the token of the connection's user; see whether project_id belongs to the region of url"
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil && date.Sub(a.now()).Abs() > maxSkew {
		return "the remote system refused the signature, because the clock of Vault's host is more than a quarter of an hour off; correct the clock"
	}
	return "the remote system refused the access key or its signature; see access_key, secret_key and security_token (a key is locked for 5 minutes after 5 failures)"
}

func codeOr(envelope Envelope, status int) string {
	if envelope.Code != "" {
		return envelope.Code
	}
	return transport.StatusCode(status)
}
