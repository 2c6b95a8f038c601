package dcs

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

var _ provider.Prover = (*Client)(nil)

// loginRequest and logoutRequest are the bodies of Web CLI requests.
type (
	loginRequest struct {
		provider.Hidden
		Password string `json:"password"`
	}
	logoutRequest struct {
		provider.Hidden
		ClientID string `json:"client_id"`
	}
)

// Prove logs in to the Web CLI of the instance and out again. The Web CLI takes one password, and it is not documented
// that "name:password" logs in a normal account there as it does at the Redis port:
// https://support.huaweicloud.com/intl/ja-jp/api-dcs/LoginWebCli.html
//
// Before the password is sent, once, two read-only calls make sure that the account is the one that the role names, that
// no change of it is in progress, and that the instance does not accept any password.
func (c *Client) Prove(ctx context.Context, target provider.Target, password string) (provider.Result, provider.Proof) {
	a, err := accountOf(target.Settings)
	switch {
	case err != nil:
		return notProved(provider.Unsendable(provider.ScopeTarget, err.Error()))
	case password == "" || !utf8.ValidString(password):
		return notProved(provider.Unsendable(provider.ScopePassword, "the password is empty or not valid UTF-8"))
	}
	ctx = transport.Hiding(ctx, password)
	looked := c.settled(ctx, a)
	if looked.Outcome == provider.Applied {
		looked = c.needsPassword(ctx, a)
	}
	if looked.Outcome != provider.Applied {
		return notProved(c.api.Unsent(looked, provider.ScopeConnection,
			"the account or its instance could not be looked up, so the password was not sent; check url, any proxy, and the remote system"))
	}
	response, err := c.api.Call(ctx, c.webCLI(a, "auth", loginRequest{Password: a.username + ":" + password}))
	if err != nil {
		result := transport.Failure(err)
		if result.Outcome != provider.Unknown {
			return notProved(result)
		}
		return result, provider.Proof{Verdict: provider.CannotTell, Reason: result.Reason}
	}
	result, proof, session := c.loginOutcome(response)
	if session != "" {
		// Best effort: a session ends by itself after five minutes.
		_, _ = c.api.Call(ctx, c.webCLI(a, "logout", logoutRequest{ClientID: session}))
	}
	return result, proof
}

// notProved returns the result of a proof whose password was not sent.
func notProved(result provider.Result) (provider.Result, provider.Proof) {
	return result, provider.Proof{Verdict: provider.CannotTell, Reason: result.Reason, Unsent: true}
}

func (c *Client) webCLI(a account, operation string, body any) huaweicloud.Request {
	return huaweicloud.Request{
		Method: http.MethodPost, Path: c.path(a.instanceID, "webcli", operation), Body: body, Follows: true, Refused: refusedCredential,
	}
}

// settled looks up the account. The outcome is Applied if no change of it is in progress: until a change is in force, the
// previous password works, which would prove nothing. A failed change leaves the account in status ERROR, with a password.
func (c *Client) settled(ctx context.Context, a account) provider.Result {
	response, err := c.list(ctx, a, false)
	if err != nil {
		return transport.Failure(err)
	}
	result, status := c.identify(response, a)
	if result.Outcome == provider.Applied && status != statusError {
		return changeable(result, status)
	}
	return result
}

// needsPassword makes sure that the instance is not password-free: any password may log in to one, and its normal accounts
// do not work at all. The outcome is Applied if the instance needs a password.
func (c *Client) needsPassword(ctx context.Context, a account) provider.Result {
	response, err := c.api.Call(ctx, huaweicloud.Request{Method: http.MethodGet, Path: c.path(a.instanceID), Follows: true})
	if err != nil {
		return transport.Failure(err)
	}
	return c.needsPasswordOutcome(response)
}

// needsPasswordOutcome returns what the response to showing the instance proves.
func (c *Client) needsPasswordOutcome(response *transport.Response) provider.Result {
	result := refusal(response, c.api.Refusal(response))
	object, _ := huaweicloud.ParseObject(response.Body)
	free := strings.Trim(string(object["no_password_access"]), `"`) // a string; in older editions of the documentation, a boolean
	switch {
	case result.Outcome == provider.Denied && result.Scope == provider.ScopeTarget:
		result.Reason = "the connection's user is not permitted to show the instance; permit the action dcs:instance:get in IAM"
	case response.Status != http.StatusOK || huaweicloud.ParseEnvelope(response).Error:
	case free == "false":
		result.Outcome, result.Code = provider.Applied, ""
		result.Reason = "the instance needs a password"
	case free == "true":
		result.Outcome, result.Code = provider.Rejected, ""
		result.Reason = passwordFreeReason
	default:
		result.Reason = "the response does not tell whether the instance uses password-free access; check url and any proxy"
	}
	return result
}

// loginOutcome returns what the response to a login proves about the credential of the connection and about the password,
// and the session to end; "" if there is none. Only the documented code for a wrong password is a refusal of it.
func (c *Client) loginOutcome(response *transport.Response) (result provider.Result, proof provider.Proof, session string) {
	result = refusal(response, c.api.Refusal(response))
	envelope := huaweicloud.ParseEnvelope(response)
	object, _ := huaweicloud.ParseObject(response.Body)
	session = object.Text("client_id")
	switch {
	case response.Status == http.StatusOK && session != "" && !envelope.Error:
		result.Outcome, result.Code = provider.Applied, ""
		result.Reason = "the Web CLI accepted the password"
		return result, provider.Proof{Verdict: provider.Works, Reason: result.Reason}, session
	case response.Status == http.StatusBadRequest && envelope.Code == "DCS.4080":
		result.Outcome = provider.Applied
		result.Reason = "the Web CLI refused the password, or it does not support normal accounts"
		return result, provider.Proof{Verdict: provider.Refused, Reason: result.Reason}, ""
	case response.Status == http.StatusUnauthorized && !refusedCredential(envelope):
		// The lookups have just used the credential, so this must be about the account, or nothing at all.
		result.Outcome, result.Scope, result.Accepted = provider.Unknown, provider.ScopeTarget, true
		result.Reason = "the Web CLI refused the login, but not with the code for a wrong password"
	case result.Outcome == provider.Denied && result.Scope == provider.ScopeTarget:
		result.Reason = "the connection's user is not permitted to log in to the Web CLI; permit the action dcs:instance:webcli in IAM"
	}
	return result, provider.Proof{Verdict: provider.CannotTell, Reason: result.Reason}, ""
}

// refusedCredential reports whether an error with status 401 is about the credential of the connection, not the password
// of an account: it is by the gateway, or one of the service's codes for a token.
func refusedCredential(envelope huaweicloud.Envelope) bool {
	return envelope.Prefix() == "APIGW" || slices.Contains([]string{"DCS.1001", "DCS.1002", "DCS.1003", "DCS.1004"}, envelope.Code)
}
