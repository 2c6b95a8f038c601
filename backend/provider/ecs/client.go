package ecs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
)

// client is the common part of the clients of both services.
type client struct {
	api          *huaweicloud.API
	rules        password.Rules
	allowRestart bool
	now          func() time.Time
}

// prepare validates a change and returns the IDs of its servers, at least one, in the target's order. If the change is
// invalid, it returns none and the result.
func (c *client) prepare(change provider.Change) ([]string, provider.Result) {
	ids, err := serversOf(change.Target.Settings)
	if err != nil {
		return nil, provider.Unsendable(provider.ScopeTarget, err.Error())
	}
	if len(without(change.Parts, ids)) > 0 {
		return nil, provider.Unsendable(provider.ScopeTarget, "the change is for a server that the role does not name")
	}
	if len(change.Parts) > 0 {
		ids = without(ids, without(ids, change.Parts)) // those of the change
	}
	// CloudDC accepts any password, even one that no client can log in with.
	if err := c.rules.Check(change.NewPassword); err != nil {
		return nil, provider.Unsendable(provider.ScopePassword, err.Error())
	}
	return ids, provider.Result{}
}

// notSent returns the result of a change that was not sent because of the result of looking up its servers.
func (c *client) notSent(result provider.Result) provider.Result {
	return c.api.Unsent(result, provider.ScopeConnection,
		"the servers could not be looked up, so the password was not sent; check url, any proxy, and the remote system")
}

// early returns a context that ends earlier, for lookups before a change: one sent shortly before the deadline would only end
// as Unknown.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)*2/3)
}

// staged completes the result of a change that all servers accepted.
func staged(result provider.Result) provider.Result {
	result.Outcome, result.Stage = provider.Staged, provider.StageRestart
	result.Code = ""
	result.Reason = "the remote system accepted the new password; it comes into force when each server is started or restarted"
	return result
}

// path returns the path of a resource of the project. Every part has been validated.
func (c *client) path(parts ...string) string {
	return "/v1/" + c.api.Project() + "/" + strings.Join(parts, "/")
}

// maxNamed is the maximum number of servers that a reason lists.
const maxNamed = 10

// named lists servers for a reason: the first ones, and the number of the others.
func named(servers []string) string {
	if len(servers) <= maxNamed {
		return strings.Join(servers, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(servers[:maxNamed], ", "), len(servers)-maxNamed)
}

// match finds the requested servers in a response, ignoring case. It returns them in the order and spelling of ids, and
// reports whether the response names no other servers.
func match(ids []string, entries []huaweicloud.Object) (found []string, only bool) {
	only = true
	seen := make(map[string]bool, len(entries))
	for _, object := range entries {
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

// without returns the IDs that are not in others.
func without(ids, others []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(others, id) })
}
