package ecs

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// cloudServers talks to Elastic Cloud Server in one region and project. Its methods may be called concurrently.
type cloudServers struct{ client }

var _ provider.Client = (*cloudServers)(nil)

// cloudServersRequest is the body of a change.
type (
	cloudServersRequest struct {
		transport.Hidden
		NewPassword string        `json:"new_password"`
		DryRun      bool          `json:"dry_run"`
		Servers     []cloudServer `json:"servers"`
	}
	cloudServer struct {
		ID string `json:"id"`
	}
)

// Check lists one server of the project: https://support.huaweicloud.com/intl/en-us/api-ecs/en-us_topic_0094148850.html
func (c *cloudServers) Check(ctx context.Context) provider.Result {
	return c.check(ctx, "cloudservers/detail", url.Values{"limit": {"1"}}, "servers", cloudServersRefusal)
}

// CheckTarget asks of each server whether it has the password-reset plug-in.
func (c *cloudServers) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	ids, err := serversOf(target.Settings)
	if err != nil {
		return *unsendable(provider.ScopeTarget, err.Error())
	}
	return c.look(ctx, ids)
}

// Change asks for the plug-in of each server and sets their password. What fails before the password is sent is never
// Unknown. The plug-in is a condition: without it the service reports a success, and nothing happens.
func (c *cloudServers) Change(ctx context.Context, change provider.Change) provider.Result {
	ids, wrong := c.prepare(change)
	if wrong != nil {
		return *wrong
	}
	ctx = transport.Hiding(ctx, change.NewPassword) // the remote system may know it from another try
	if result := c.lookInTime(ctx, ids); result.Outcome != provider.Applied {
		return c.notSent(result)
	}
	body := cloudServersRequest{NewPassword: change.NewPassword}
	for _, id := range ids {
		body.Servers = append(body.Servers, cloudServer{ID: id})
	}
	response, err := c.api.Call(ctx, huaweicloud.Request{
		Method: http.MethodPut,
		Path:   c.path("cloudservers", "os-reset-passwords"),
		Body:   body,
	})
	if err != nil {
		return huaweicloud.Failure(err)
	}
	return cloudServersOutcome(response, c.api.Refusal(response), ids)
}

// lookInTime is look that leaves time for the change: a request that is sent with little of it left only ends as Unknown.
func (c *cloudServers) lookInTime(ctx context.Context, ids []string) provider.Result {
	looking := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		looking, cancel = context.WithTimeout(ctx, time.Until(deadline)*2/3)
		defer cancel()
	}
	result := c.look(looking, ids)
	if len(ids) > 1 && result.Outcome == provider.Unknown && looking.Err() != nil && ctx.Err() == nil {
		return c.api.Unsent(result, provider.ScopeTarget,
			fmt.Sprintf("asking for the password-reset plug-in of %d servers took too long, so the password was not sent; raise request_timeout of the connection, or put fewer servers into one role", len(ids)))
	}
	return result
}

// look asks for the flag of each server, one after the other so that a refused credential is shown once only:
// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_1102.html
// The outcome is Applied where all have the plug-in.
func (c *cloudServers) look(ctx context.Context, ids []string) provider.Result {
	var without []string
	var last provider.Result
	for _, id := range ids {
		response, err := c.api.Call(ctx, huaweicloud.Request{
			Method: http.MethodGet,
			Path:   c.path("cloudservers", id, "os-resetpwd-flag"),
		})
		if err != nil {
			return huaweicloud.Failure(err)
		}
		last = c.api.Refusal(response)
		switch flag(response) {
		case "true":
		case "false":
			without = append(without, id)
		default:
			return flagRefusal(response, last, id)
		}
	}
	last.Code = ""
	if len(without) > 0 {
		last.Outcome = provider.Rejected
		last.Reason = "the one-click password-reset plug-in is missing on " + named(without) + "; install it there, or the password would not be set"
		return last
	}
	last.Outcome = provider.Applied
	last.Reason = "the servers that the role names exist and have the password-reset plug-in"
	return last
}

// flag reads an answer about the plug-in: "true", "false", or "" for anything else. The documented values are the texts
// "True" and "False".
func flag(response *transport.Response) string {
	object, _ := huaweicloud.ParseObject(response.Body)
	value := strings.ToLower(object.Text("resetpwd_flag"))
	known := value == "true" || value == "false"
	if response.Status != http.StatusOK || !known || huaweicloud.ParseEnvelope(response).Error {
		return ""
	}
	return value
}

// flagRefusal tells more of an answer that has no flag of this server.
func flagRefusal(response *transport.Response, result provider.Result, id string) provider.Result {
	if result = cloudServersRefusal(response, result); result.Outcome == provider.Rejected {
		result.Reason = "the remote system does not say whether server " + id + " has the password-reset plug-in; see the code, and whether the server exists in this project"
	}
	return result
}

var cloudServerCodes = regexp.MustCompile(`^(?i:ecs)\.[0-9]{1,8}$`)

// cloudServersRefusal tells more of an answer without a list of servers. The password met the rules, which are no wider
// than the service's, so that a refusal concerns the servers.
func cloudServersRefusal(response *transport.Response, result provider.Result) provider.Result {
	if result.Outcome != provider.Unknown || response.Status < 400 || response.Status > 499 || response.Status == http.StatusRequestTimeout {
		return result
	}
	object, _ := huaweicloud.ParseObject(response.Body)
	envelope := huaweicloud.ParseEnvelope(response)
	if envelope.Refusal && (object.Object("error") != nil || cloudServerCodes.MatchString(envelope.Code)) {
		result.Outcome = provider.Rejected
		result.Reason = "the remote system did not take the request and changed nothing; see the code, project_id, and the state of the servers"
	}
	return result
}

// cloudServersOutcome completes the result of an answer to a change, which may say of each server another thing:
// https://support.huaweicloud.com/eu/api-ecs/ecs_07_0009.html
// The status of an answer that names servers in both lists is not documented; 200 and 4xx are read alike. After a 5xx
// nothing that an answer says is believed.
func cloudServersOutcome(response *transport.Response, result provider.Result, ids []string) provider.Result {
	batch, ok := readBatch(response, ids)
	switch {
	case response.Status == http.StatusTooManyRequests:
		return result
	case response.Status != http.StatusOK && (response.Status < 400 || response.Status > 499):
		return result
	case batch.named == 0 && ok:
		return cloudServersRefusal(response, result)
	case !ok, response.Status == http.StatusUnauthorized:
		// Lists that contradict each other, or the status. What Refusal knows of the status alone does not hold either.
		result.Outcome, result.Scope = provider.Unknown, provider.ScopeTarget
		result.Reason = "the answer contradicts itself about the servers; the change may have been carried out on some"
		return result
	}

	refused := huaweicloud.ParseEnvelope(response)
	left := without(without(ids, batch.taken), batch.failed())
	if len(batch.taken) == len(ids) {
		if refused.Error || response.Status != http.StatusOK {
			result.Outcome, result.Scope = provider.Unknown, provider.ScopeTarget
			result.Reason = "the answer names every server and an error too; the change may have been carried out"
			return result
		}
		return staged(result)
	}
	result.Outcome, result.Scope = provider.Rejected, provider.ScopeTarget
	result.Taken, result.Failures = batch.taken, batch.failures
	if len(batch.taken) > 0 {
		result.Stage = provider.StageRestart
	}
	if refused.Code == "" && len(batch.failures) > 0 && batch.failures[0].Code != "" {
		result.Code = batch.failures[0].Code
	}
	if len(left) > 0 {
		result.Outcome = provider.Unknown
		result.Reason = fmt.Sprintf("%d of %d servers are known to have taken the new password; the answer does not say whether %s did", len(batch.taken), len(ids), named(left))
		return result
	}
	result.Reason = fmt.Sprintf("%d of %d servers took the new password; the remote system refused it for %s: see the code, and their state",
		len(batch.taken), len(ids), named(batch.failed()))
	return result
}

// batch is what an answer says of each server that was asked for.
type batch struct {
	taken    []string
	failures []provider.PartFailure
	// named is how many entries the answer has, of whichever servers.
	named int
}

func (b batch) failed() []string {
	out := make([]string, 0, len(b.failures))
	for _, failure := range b.failures {
		out = append(out, failure.Part)
	}
	return out
}

// readBatch reads the lists of an answer; one that is absent or null is empty. It is false where a list is none, or the
// lists name a server twice, or one that was not asked for.
func readBatch(response *transport.Response, ids []string) (batch, bool) {
	object, _ := huaweicloud.ParseObject(response.Body)
	succeeded, ok := entriesOf(object, "response")
	failed, also := entriesOf(object, "internalError")
	if !ok || !also {
		return batch{}, false
	}
	b := batch{named: len(succeeded) + len(failed)}
	var only, onlyToo bool
	b.taken, only = match(ids, succeeded)
	lost, onlyToo := match(ids, failed)
	if !only || !onlyToo || slices.ContainsFunc(lost, func(id string) bool { return slices.Contains(b.taken, id) }) {
		return b, false
	}
	for _, id := range lost {
		at := slices.IndexFunc(failed, func(entry huaweicloud.Object) bool { return strings.EqualFold(entry.Text("id"), id) })
		failure := provider.PartFailure{Part: id, Reason: "the remote system did not take the new password for this server"}
		if code := failed[at].Text("error_code"); cloudServerCodes.MatchString(code) && !response.Echoes(code) {
			failure.Code = code
		}
		b.failures = append(b.failures, failure)
	}
	return b, true
}

// entriesOf returns a list of objects; false for what is there and is no such list.
func entriesOf(object huaweicloud.Object, name string) ([]huaweicloud.Object, bool) {
	if raw := object[name]; raw == nil || string(raw) == "null" {
		return nil, true
	}
	return object.Objects(name)
}
