package ecs

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// cloudServers calls Elastic Cloud Server in one region and project. Its methods may be called concurrently.
type cloudServers struct{ client }

var _ provider.Client = (*cloudServers)(nil)

// cloudServersRequest is the body of a change.
type (
	cloudServersRequest struct {
		provider.Hidden
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
	return c.api.Check(ctx, c.path("cloudservers", "detail"), url.Values{"limit": {"1"}}, "servers", cloudServersRefusal)
}

// CheckTarget checks that each server has the password-reset plug-in.
func (c *cloudServers) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	ids, err := serversOf(target.Settings)
	if err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error())
	}
	return c.look(ctx, ids)
}

// Change checks each server for the plug-in and sets the password. A failure before the password is sent is never
// Unknown. The plug-in is required: without it the service reports success, and nothing happens.
func (c *cloudServers) Change(ctx context.Context, change provider.Change) provider.Result {
	ids, invalid := c.prepare(change)
	if ids == nil {
		return invalid
	}
	ctx = transport.Hiding(ctx, change.NewPassword) // the remote system may know it from an earlier attempt
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
		return transport.Failure(err)
	}
	return cloudServersOutcome(response, c.api.Refusal(response), ids)
}

// lookInTime is look with a shorter deadline, to leave time for the change.
func (c *cloudServers) lookInTime(ctx context.Context, ids []string) provider.Result {
	looking, cancel := early(ctx)
	defer cancel()
	result := c.look(looking, ids)
	if len(ids) > 1 && result.Outcome == provider.Unknown && looking.Err() != nil && ctx.Err() == nil {
		return c.api.Unsent(result, provider.ScopeTarget,
			fmt.Sprintf("checking the password-reset plug-in of %d servers took too long, so the password was not sent; raise request_timeout of the connection, or use fewer servers per role", len(ids)))
	}
	return result
}

// look reads the flag of each server, one after the other so that a refused credential is sent only once:
// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_1102.html
// The outcome is Applied if all have the plug-in.
func (c *cloudServers) look(ctx context.Context, ids []string) provider.Result {
	var without []string
	var last provider.Result
	for _, id := range ids {
		response, err := c.api.Call(ctx, huaweicloud.Request{
			Method: http.MethodGet,
			Path:   c.path("cloudservers", id, "os-resetpwd-flag"),
		})
		if err != nil {
			return transport.Failure(err)
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
		last.Reason = "the one-click password-reset plug-in is missing on " + named(without) + "; install it there: without it the password is not set"
		return last
	}
	last.Outcome = provider.Applied
	last.Reason = "all servers of the role exist and have the password-reset plug-in"
	return last
}

// flag parses a response about the plug-in: "true", "false", or "" for anything else. The documented values are the
// strings "True" and "False".
func flag(response *transport.Response) string {
	object, _ := huaweicloud.ParseObject(response.Body)
	value := strings.ToLower(object.Text("resetpwd_flag"))
	known := value == "true" || value == "false"
	if response.Status != http.StatusOK || !known || huaweicloud.ParseEnvelope(response).Error {
		return ""
	}
	return value
}

// flagRefusal refines the result of a response without a flag for this server.
func flagRefusal(response *transport.Response, result provider.Result, id string) provider.Result {
	if result = cloudServersRefusal(response, result); result.Outcome == provider.Rejected {
		result.Reason = "the remote system does not report whether server " + id + " has the password-reset plug-in; check the code, and that the server exists in this project"
	}
	return result
}

// Error codes of Elastic Cloud Server: https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_07_0002.html
var (
	cloudServerCodes = regexp.MustCompile(`^(?i:ecs)\.[0-9]{1,8}$`)
	// busyCodes: the state of the server does not allow the operation, or another one is running; to be repeated later.
	busyCodes = regexp.MustCompile(`^(?i:ecs)\.(0100|0603)$`)
	// failureCodes: the request, the reset, the batch, or a call to another service of the cloud failed, not necessarily
	// before anything was changed.
	failureCodes = regexp.MustCompile(`^(?i:ecs)\.(0002|0610|0611|1[0-3][0-9]{2})$`)
)

// meaningOf returns what an error of the service means for a server.
func meaningOf(code string) provider.Outcome {
	switch {
	case busyCodes.MatchString(code):
		return provider.Busy
	case failureCodes.MatchString(code):
		return provider.Unknown
	default:
		return provider.Rejected
	}
}

// cloudServersRefusal refines the result of a response without a list of servers. The password met the rules, which allow
// no more than the service does, so a refusal concerns the servers. A conflict (409) concerns their present state, and
// passes. The service documents status 501 for one of its busy codes.
func cloudServersRefusal(response *transport.Response, result provider.Result) provider.Result {
	object, _ := huaweicloud.ParseObject(response.Body)
	envelope := huaweicloud.ParseEnvelope(response)
	meaning := meaningOf(envelope.Code)
	known := envelope.Refusal && (object.Object("error") != nil || cloudServerCodes.MatchString(envelope.Code))
	final := response.Status >= 400 && response.Status <= 499 && response.Status != http.StatusRequestTimeout
	switch {
	case result.Outcome != provider.Unknown || !known:
	case meaning == provider.Busy && (final || response.Status == http.StatusNotImplemented),
		meaning == provider.Rejected && response.Status == http.StatusConflict:
		result.Outcome = provider.Busy
		result.Reason = "the servers, or one of them, are busy with another operation"
	case meaning == provider.Rejected && final:
		result.Outcome = provider.Rejected
		result.Reason = "the remote system rejected the request and changed nothing; check the code, project_id, and the state of the servers"
	}
	return result
}

// cloudServersOutcome completes the result of a change, which may differ for each server:
// https://support.huaweicloud.com/eu/api-ecs/ecs_07_0009.html
// The status of a response that names servers in both lists is not documented, so 200 and 4xx are treated alike. The body
// of a 5xx is not trusted.
func cloudServersOutcome(response *transport.Response, result provider.Result, ids []string) provider.Result {
	batch, ok := readBatch(response, ids)
	switch {
	case response.Status == http.StatusTooManyRequests:
		return result
	case batch.named == 0 && ok:
		return cloudServersRefusal(response, result)
	case response.Status != http.StatusOK && (response.Status < 400 || response.Status > 499):
		return result
	case !ok, response.Status == http.StatusUnauthorized:
		// The lists contradict each other, or the status. The result that Refusal derived from the status is void too.
		result.Outcome, result.Scope = provider.Unknown, provider.ScopeTarget
		result.Reason = "the response contradicts itself about the servers; the change may have been carried out on some"
		return result
	}

	refused := huaweicloud.ParseEnvelope(response)
	left := without(without(ids, batch.taken), batch.failed())
	if len(batch.taken) == len(ids) {
		if refused.Error || response.Status != http.StatusOK {
			result.Outcome, result.Scope = provider.Unknown, provider.ScopeTarget
			result.Reason = "the response names every server but also an error; the change may have been carried out"
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
		result.Reason = fmt.Sprintf("%d of %d servers took the new password; the response does not report whether %s did", len(batch.taken), len(ids), named(left))
		return result
	}
	took, failed := fmt.Sprintf("%d of %d servers took the new password", len(batch.taken), len(ids)), named(batch.failed())
	switch result.Outcome = batch.meaning(); result.Outcome {
	case provider.Busy:
		result.Reason = took + "; the others are busy with another operation: " + failed
	case provider.Unknown:
		result.Reason = took + "; the remote system failed, and does not report whether these did: " + failed
	default:
		result.Reason = took + "; the remote system refused it for " + failed + ": check the code, and the state of these servers"
	}
	return result
}

// batch is what a response reports about the requested servers.
type batch struct {
	taken    []string
	failures []provider.PartFailure
	// named is the number of entries in the response, for any server.
	named int
}

func (b batch) failed() []string {
	out := make([]string, 0, len(b.failures))
	for _, failure := range b.failures {
		out = append(out, failure.Part)
	}
	return out
}

// meaning returns what the failures prove together. There is nothing to check only if all of these servers are busy.
func (b batch) meaning() provider.Outcome {
	has := func(outcome provider.Outcome) bool {
		return slices.ContainsFunc(b.failures, func(f provider.PartFailure) bool { return meaningOf(f.Code) == outcome })
	}
	switch {
	case has(provider.Unknown):
		return provider.Unknown
	case has(provider.Rejected):
		return provider.Rejected
	default:
		return provider.Busy
	}
}

// readBatch parses the lists of a response; an absent or null list is empty. It returns false if a list is malformed, or
// the lists name a server twice, or one that was not requested.
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

// entriesOf returns a list of objects, which may be absent. It returns false for any other value.
func entriesOf(object huaweicloud.Object, name string) ([]huaweicloud.Object, bool) {
	if raw := object[name]; raw == nil || string(raw) == "null" {
		return nil, true
	}
	return object.Objects(name)
}
