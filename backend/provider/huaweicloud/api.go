package huaweicloud

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// API makes authenticated calls to one regional service. It is safe for concurrent use.
type API struct {
	http    *transport.Client
	base    string
	project string
	now     func() time.Time

	// Exactly one of them is set.
	signer *Signer
	tokens *tokens

	// refused is the pause after a refusal of the credential, key or password.
	refused *pause
}

// Unsent returns the result of a change that was not sent, because the lookup before it failed with the given result.
// If that result proves that nothing was changed, it is returned as it is; otherwise the outcome is Unreachable. It is
// Unseen with an access key, which the lookup itself sent; a token was obtained before the lookup.
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
	// Path begins with a slash. Identifiers in it must have been validated: it is not escaped.
	Path  string
	Query url.Values
	// Body is encoded as JSON; nil means no body.
	Body any
	// Follows: the request follows one of the same change, which had a token. If that is refused, it gets no other one,
	// because the result of the change could not tell whether the login for it was refused.
	Follows bool
	// Refused reports whether an error with status 401 refuses the credential of the connection; nil means that every one
	// does. A request that carries another credential sets it.
	Refused func(Envelope) bool
}

// Open returns the API of a completed connection to the service. It does no I/O and returns an error only for invalid TLS
// settings.
func Open(connection provider.Connection, service string) (*API, error) {
	return open(connection, service, time.Now)
}

func open(connection provider.Connection, service string, now func() time.Time) (*API, error) {
	client, err := transport.New(endpoint(connection, "url", connection.URL, service))
	if err != nil {
		return nil, err
	}
	settings := connection.Settings
	api := &API{
		http:    client,
		base:    connection.URL,
		project: settings.String(FieldProjectID),
		now:     now,
		refused: &pause{},
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
	iamURL := settings.String(FieldIAMURL)
	iam, err := transport.New(endpoint(connection, FieldIAMURL, iamURL, "iam"))
	if err != nil {
		return nil, err
	}
	api.tokens = &tokens{
		http:     iam,
		endpoint: iamURL,
		user:     settings.String(FieldUsername),
		domain:   settings.String(FieldDomainName),
		project:  api.project,
		password: transport.NewSecret(settings.String(FieldPassword)),
		now:      now,
		refused:  api.refused,
	}
	return api, nil
}

// Project returns the project ID, which is part of the path of every call.
func (a *API) Project() string { return a.project }

// Call makes the call and returns the response, whatever its status. It sends the request once. Only if the service, by
// its own error envelope, refuses the token, Call gets a new token and sends the same bytes once more. [transport.Failure]
// returns what an error proves.
func (a *API) Call(ctx context.Context, request Request) (*transport.Response, error) {
	if err := a.refused.check(); err != nil {
		return nil, err
	}
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = transport.JSON(request.Body); err != nil {
			return nil, err
		}
	}
	if a.signer != nil {
		ctx = transport.Hiding(ctx, a.signer.SecretKey.Reveal())
		response, err := a.send(ctx, request, body, "")
		if err == nil && request.unauthorized(response) {
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
	if err != nil || !request.unauthorized(response) || request.Follows {
		return response, err
	}
	// Modifying the user invalidates its tokens early ("The token must be updated").
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
	return transport.Do(ctx, a.http, request.Method, address, body, func(req *http.Request) {
		req.Header.Set("Content-Type", "application/json;charset=UTF-8")
		if a.signer != nil {
			req.Header.Set(headerProject, a.project)
			a.signer.Sign(req, body)
		} else {
			req.Header.Set("X-Auth-Token", token)
		}
	})
}

// Refine refines the result of an unsuccessful response with the error codes of one service.
type Refine func(*transport.Response, provider.Result) provider.Result

// Check makes a cheap read-only call to check the credential, and sends it even if it was refused a moment ago. The response
// must be an object and, unless list is "", contain this list.
func (a *API) Check(ctx context.Context, path string, query url.Values, list string, refine Refine) provider.Result {
	a.refused.end()
	response, err := a.Call(ctx, Request{Method: http.MethodGet, Path: path, Query: query})
	result := transport.Failure(err)
	if err == nil {
		result = a.CheckOutcome(response, list, refine)
	}
	switch result.Outcome {
	case provider.Denied, provider.Busy: // the scope tells a refused credential from a missing permission, and throttling from a busy instance
	default:
		result.Scope = provider.ScopeConnection // no account is involved
	}
	return result
}

// CheckOutcome returns what the response to a check proves.
func (a *API) CheckOutcome(response *transport.Response, list string, refine Refine) provider.Result {
	result := refine(response, a.Refusal(response))
	object, ok := ParseObject(response.Body)
	if response.Status == http.StatusOK && ok && (list == "" || object[list] != nil) && !ParseEnvelope(response).Error {
		result.Outcome = provider.Applied
		result.Code = ""
		result.Reason = "the remote system accepted the connection's credential"
	}
	return result
}

func (r Request) unauthorized(response *transport.Response) bool {
	envelope := ParseEnvelope(response)
	return response.Status == http.StatusUnauthorized && envelope.Refusal && (r.Refused == nil || r.Refused(envelope))
}

// maxSkew is the clock difference above which a reason mentions it: signatures are refused from 15 minutes on.
const maxSkew = 14 * time.Minute

// Refusal returns what an unsuccessful response proves, as far as that is the same for all services: 429 in any form;
// 401, 403 and 404 in one of the forms of [Envelope]; 400 of the gateway in front of the service. Anything else is
// Unknown.
func (a *API) Refusal(response *transport.Response) provider.Result {
	envelope := ParseEnvelope(response)
	result := provider.Result{
		Outcome:   provider.Unknown,
		Scope:     provider.ScopeTarget,
		Code:      cmp.Or(envelope.Code, transport.StatusCode(response.Status)),
		RequestID: envelope.RequestID,
		Reason:    "the response does not tell whether the request was carried out; check url and any proxy",
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
	case http.StatusForbidden: // the credential was accepted, so this is no failed attempt
		result.Outcome, result.Scope = provider.Denied, provider.ScopeTarget
		result.Reason = "the connection's user is not permitted to do this; check its permissions in IAM, project_id, and that the account is not in arrears"
	case http.StatusNotFound:
		result.Outcome = provider.Rejected
		result.Reason = "the remote system has no such project, instance or account; check their IDs, and that url and region match them"
	case http.StatusBadRequest:
		if envelope.Prefix() == "APIGW" {
			result.Outcome = provider.Rejected
			result.Reason = "the gateway of the remote system rejected the request; check url and the IDs"
		}
	}
	return result
}

func (a *API) unauthorizedReason(response *transport.Response) string {
	if a.signer == nil {
		return "the remote system refused the token of the connection's user; check that project_id belongs to the region of url"
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil && date.Sub(a.now()).Abs() > maxSkew {
		return "the remote system refused the signature because the clock of the Vault server is off by about 15 minutes or more; correct the clock"
	}
	return "the remote system refused the access key or its signature; check access_key, secret_key and security_token, and that project_id and region are those of the key's account (5 failures lock a key for 5 minutes)"
}
