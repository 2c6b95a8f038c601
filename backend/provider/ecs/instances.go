package ecs

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// instances talks to CloudDC in one region and project. Its methods may be called concurrently.
type instances struct{ client }

var _ provider.Client = (*instances)(nil)

// instancesRequest is the body of a change. An empty or missing list of IDs could mean every instance; it is never sent.
type instancesRequest struct {
	transport.Hidden
	NewPassword string   `json:"new_password"`
	InstanceIDs []string `json:"instance_id_set"`
}

// leastPage and mostIDs are the smallest page of a list of instances, and the most IDs that it can be asked for.
const (
	leastPage = 10
	mostIDs   = 100
)

// Check lists a few instances of the project.
func (c *instances) Check(ctx context.Context) provider.Result {
	return c.check(ctx, "instances", url.Values{"limit": {strconv.Itoa(leastPage)}}, "instances", instancesRefusal)
}

// CheckTarget looks the instances up in the project's list.
func (c *instances) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	ids, err := serversOf(target.Settings)
	if err != nil {
		return *unsendable(provider.ScopeTarget, err.Error())
	}
	_, result := c.look(ctx, ids)
	return result
}

// Change looks the instances up and sets their password. What fails before the password is sent is never Unknown.
//
// Looking up only says beforehand, and better, what the change would say: a connection that may not list instances, or
// gets no list that can be read, sends the password all the same.
func (c *instances) Change(ctx context.Context, change provider.Change) provider.Result {
	ids, wrong := c.prepare(change)
	if wrong != nil {
		return *wrong
	}
	ctx = transport.Hiding(ctx, change.NewPassword) // the remote system may know it from another try
	list, result := c.look(ctx, ids)
	switch {
	case list.unreadable:
	case result.Outcome != provider.Applied:
		return c.notSent(result)
	case len(list.busy) > 0:
		result.Outcome = provider.Busy
		result.Reason = "a server is being installed or changed, which may set a password of its own: " + named(list.busy) + "; it will be tried again later"
		return result
	}
	response, err := c.api.Call(ctx, huaweicloud.Request{
		Method: http.MethodPut,
		Path:   c.path("instances", "password"),
		Body:   instancesRequest{NewPassword: change.NewPassword, InstanceIDs: ids},
	})
	if err != nil {
		return huaweicloud.Failure(err)
	}
	result = instancesOutcome(response, c.api.Refusal(response), ids)
	if result.Outcome == provider.Rejected {
		result.Reason += list.hint()
	}
	return result
}

// look lists the instances with these IDs: https://support.huaweicloud.com/intl/en-us/api-clouddc/ListInstances.html
// The outcome is Applied where the list has them all.
func (c *instances) look(ctx context.Context, ids []string) (instanceList, provider.Result) {
	response, err := c.api.Call(ctx, huaweicloud.Request{
		Method: http.MethodGet,
		Path:   c.path("instances"),
		Query:  url.Values{"instance_id": {strings.Join(ids, ",")}, "limit": {strconv.Itoa(mostIDs)}},
	})
	if err != nil {
		return instanceList{}, huaweicloud.Failure(err)
	}
	result := instancesRefusal(response, c.api.Refusal(response))
	switch response.Status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return instanceList{unreadable: true}, result
	default:
		return instanceList{}, result
	}
	list := readInstances(response, ids)
	switch {
	case list.unreadable:
		result.Reason = "the answer is no list of instances; see url, and a proxy in between"
	case len(list.missing) > 0:
		result.Outcome = provider.Rejected
		result.Code = ""
		result.Reason = "the project has no instance with the ID " + named(list.missing) + "; see instance_ids (the IDs of physical servers are others), project_id and url"
	default:
		result.Outcome = provider.Applied
		result.Code = ""
		result.Reason = "the project has the servers that the role names"
	}
	return list, result
}

// instanceList is what a list of instances says of those that were asked for.
type instanceList struct {
	// unreadable: the answer is no list, or not the whole one.
	unreadable bool
	// missing are not in the list.
	missing []string
	// busy are being installed, reinstalled, changed or removed. Older editions have no operation_state.
	busy []string
	// resting are not running, with their state in words.
	resting []string
}

// instanceStates are the documented states of an instance. Nothing else of an answer is shown.
var instanceStates = []string{
	"pending", "running", "stopping", "stopped", "reinstalling", "shutting-down", "terminated", "error", "failed",
}

// readInstances reads an answer 200 to a list.
func readInstances(response *transport.Response, ids []string) instanceList {
	object, _ := huaweicloud.ParseObject(response.Body)
	entries, ok := object.Objects("instances")
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		return instanceList{unreadable: true}
	}
	var list instanceList
	for _, id := range ids {
		at := slices.IndexFunc(entries, func(entry huaweicloud.Object) bool { return strings.EqualFold(entry.Text("id"), id) })
		if at < 0 {
			list.missing = append(list.missing, id)
			continue
		}
		state := strings.ToLower(entries[at].Text("state"))
		operation := strings.ToLower(entries[at].Text("operation_state"))
		switch {
		case strings.HasSuffix(operation, "-processing"), state == "reinstalling":
			list.busy = append(list.busy, id)
		case state == "", state == "running":
		case slices.Contains(instanceStates, state):
			list.resting = append(list.resting, "server "+id+" is "+state)
		default:
			list.resting = append(list.resting, "server "+id+" is in a state that is not documented")
		}
	}
	// A first page of several proves of none that it is missing. No page has room for fewer than ten.
	if len(list.missing) > 0 && len(entries) >= leastPage && object.Object("page_info").Text("next_marker") != "" {
		return instanceList{unreadable: true}
	}
	return list
}

// hint says what else may be the reason of a refusal. One document says that an instance must run
// (https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeInstancePassword.html), the states that Huawei's SDK
// describes say that it may be stopped; so the service decides, and only then it is told.
func (l instanceList) hint() string {
	if len(l.resting) == 0 {
		return ""
	}
	return "; " + named(l.resting) + ": start what does not run"
}

// instancesRefusal tells more of a refusal. The codes of CloudDC are not published, so that any counts. A password met
// the rules, which are stricter than what the service checks: its refusals concern the servers.
func instancesRefusal(response *transport.Response, result provider.Result) provider.Result {
	object, _ := huaweicloud.ParseObject(response.Body)
	if result.Outcome == provider.Unknown && response.Status == http.StatusBadRequest && object.Text("error_code") != "" {
		result.Outcome = provider.Rejected
		result.Reason = "the remote system did not take the request and changed nothing; see the code, project_id, and whether all servers exist in this project and run"
	}
	return result
}

// instancesOutcome completes the result of an answer to a change. Since all servers take it or none does, an answer
// that names only some proves nothing.
func instancesOutcome(response *transport.Response, result provider.Result, ids []string) provider.Result {
	if response.Status != http.StatusOK {
		return instancesRefusal(response, result)
	}
	object, _ := huaweicloud.ParseObject(response.Body)
	entries, ok := object.Objects("instances")
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		return result
	}
	found, only := match(ids, entries)
	switch {
	case !only:
		result.Reason = "the answer names a server that was not asked for; the change may have been carried out"
	case len(found) < len(ids):
		result.Reason = "the answer does not name every server (missing: " + named(without(ids, found)) + "); the change may have been carried out"
	default:
		result = staged(result)
	}
	return result
}
