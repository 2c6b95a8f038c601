package ecs

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// client is what the clients of both services share.
type client struct {
	api   *huaweicloud.API
	rules password.Rules
}

// refusalFunc tells more of an answer that is no success, by what is known of one service.
type refusalFunc func(*transport.Response, provider.Result) provider.Result

// check makes a call whose answer has a list of that name.
func (c *client) check(ctx context.Context, path string, query url.Values, list string, refusal refusalFunc) provider.Result {
	result := c.probe(ctx, path, query, list, refusal)
	if result.Outcome != provider.Denied { // whose scope says whether the credential was refused, or lacks a right
		result.Scope = provider.ScopeConnection // no server is concerned
	}
	return result
}

func (c *client) probe(ctx context.Context, path string, query url.Values, list string, refusal refusalFunc) provider.Result {
	response, err := c.api.Call(ctx, huaweicloud.Request{Method: http.MethodGet, Path: c.path(path), Query: query, Probe: true})
	if err != nil {
		return huaweicloud.Failure(err)
	}
	return c.probeOutcome(response, list, refusal)
}

// probeOutcome is what the answer to a check proves.
func (c *client) probeOutcome(response *transport.Response, list string, refusal refusalFunc) provider.Result {
	result := refusal(response, c.api.Refusal(response))
	object, _ := huaweicloud.ParseObject(response.Body)
	if response.Status == http.StatusOK && object[list] != nil && !huaweicloud.ParseEnvelope(response).Error {
		result.Outcome = provider.Applied
		result.Code = ""
		result.Reason = "the remote system answered to the connection's credential"
	}
	return result
}

// prepare checks a change and returns the IDs of the servers that it is for, in the target's order and at least one.
// The result says what is wrong with it; nil: nothing.
func (c *client) prepare(change provider.Change) ([]string, *provider.Result) {
	ids, err := serversOf(change.Target.Settings)
	if err != nil {
		return nil, unsendable(provider.ScopeTarget, err.Error())
	}
	for _, part := range change.Parts {
		if !slices.Contains(ids, part) {
			return nil, unsendable(provider.ScopeTarget, "the change is for a server that the role does not name")
		}
	}
	if len(change.Parts) > 0 {
		ids = slices.DeleteFunc(ids, func(id string) bool { return !slices.Contains(change.Parts, id) })
	}
	// CloudDC would take any password, and no client might be able to log in with it.
	if err := c.rules.Check(change.NewPassword); err != nil {
		return nil, unsendable(provider.ScopePassword, err.Error())
	}
	return ids, nil
}

func unsendable(scope provider.Scope, reason string) *provider.Result {
	return &provider.Result{Outcome: provider.Rejected, Scope: scope, Reason: reason + "; nothing was sent"}
}

// notSent is the result of a change whose servers were looked at first, with that result, and which was not sent.
func (c *client) notSent(result provider.Result) provider.Result {
	return c.api.Unsent(result, provider.ScopeConnection,
		"the servers could not be looked up, so the password was not sent; see url, a proxy in between, and whether the remote system is in order")
}

// staged completes the result of a change that all servers took.
func staged(result provider.Result) provider.Result {
	result.Outcome, result.Stage = provider.Staged, provider.StageRestart
	result.Code = ""
	result.Reason = "the remote system took the new password; it comes into force when each server is started or restarted"
	return result
}

// path is the path of something in the project. Every part was checked.
func (c *client) path(parts ...string) string {
	return "/v1/" + c.api.Project() + "/" + strings.Join(parts, "/")
}

// maxNamed is how many servers a reason names.
const maxNamed = 10

// named lists servers for a reason: the first ones, and how many more there are.
func named(servers []string) string {
	if len(servers) <= maxNamed {
		return strings.Join(servers, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(servers[:maxNamed], ", "), len(servers)-maxNamed)
}

// match finds the servers that an answer names among those that were asked for, without regard to case. It returns them
// in the order and the spelling of ids, and tells whether the answer names nothing else.
func match(ids []string, answer []huaweicloud.Object) (found []string, only bool) {
	only = true
	seen := make(map[string]bool, len(answer))
	for _, object := range answer {
		id := object.Text("id")
		seen[strings.ToLower(id)] = true
		only = only && slices.ContainsFunc(ids, func(asked string) bool { return strings.EqualFold(asked, id) })
	}
	for _, id := range ids {
		if seen[strings.ToLower(id)] {
			found = append(found, id)
		}
	}
	return found, only
}

// without returns the IDs that are not among others.
func without(ids, others []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(others, id) })
}
