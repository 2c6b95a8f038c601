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

// instances calls CloudDC in one region and project. Its methods may be called concurrently.
type instances struct{ client }

var _ provider.Client = (*instances)(nil)

// instancesRequest is the body of a change. The list of IDs is never empty, which could mean every instance.
type instancesRequest struct {
	provider.Hidden
	NewPassword string   `json:"new_password"`
	InstanceIDs []string `json:"instance_id_set"`
}

// leastPage is the smallest page size of a list of instances, mostIDs the maximum number of IDs in a query.
const (
	leastPage = 10
	mostIDs   = 100
)

// Check lists a few instances of the project.
func (c *instances) Check(ctx context.Context) provider.Result {
	return c.api.Check(ctx, c.path("instances"), url.Values{"limit": {strconv.Itoa(leastPage)}}, "instances", instancesRefusal)
}

// CheckTarget looks up the instances in the list of the project.
func (c *instances) CheckTarget(ctx context.Context, target provider.Target) provider.Result {
	ids, err := serversOf(target.Settings)
	if err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error())
	}
	_, result := c.look(ctx, ids)
	return result
}

// Change looks up the instances and sets their password. A failure before the password is sent is never Unknown.
//
// The lookup only reports earlier and more precisely what the change would report. If the connection lacks permission to
// list instances, or the list is unreadable, Change sends the password anyway.
func (c *instances) Change(ctx context.Context, change provider.Change) provider.Result {
	ids, invalid := c.prepare(change)
	if ids == nil {
		return invalid
	}
	ctx = transport.Hiding(ctx, change.NewPassword) // the remote system may know it from an earlier attempt
	list, result := c.look(ctx, ids)
	switch {
	case list.unreadable:
	case result.Outcome != provider.Applied:
		return c.notSent(result)
	case len(list.busy) > 0:
		result.Outcome = provider.Busy
		result.Reason = "a server is being installed or changed, which may set another password: " + named(list.busy)
		return result
	}
	response, err := c.api.Call(ctx, huaweicloud.Request{
		Method: http.MethodPut,
		Path:   c.path("instances", "password"),
		Body:   instancesRequest{NewPassword: change.NewPassword, InstanceIDs: ids},
	})
	if err != nil {
		result = transport.Failure(err)
		result.Unsent = result.Unsent && !list.unreadable // the lookup sent the key, and may have been refused
		return result
	}
	result = instancesOutcome(response, c.api.Refusal(response), ids)
	switch {
	case result.Outcome != provider.Rejected:
	case response.Status == http.StatusBadRequest && len(list.moving) > 0:
		result.Outcome = provider.Busy
		result.Reason = "a server is being started or stopped: " + named(list.moving)
	default:
		result.Reason += list.hint()
	}
	return result
}

// look lists the instances with these IDs: https://support.huaweicloud.com/intl/en-us/api-clouddc/ListInstances.html
// The outcome is Applied if the list has all of them.
func (c *instances) look(ctx context.Context, ids []string) (instanceList, provider.Result) {
	response, err := c.api.Call(ctx, huaweicloud.Request{
		Method: http.MethodGet,
		Path:   c.path("instances"),
		Query:  url.Values{"instance_id": {strings.Join(ids, ",")}, "limit": {strconv.Itoa(mostIDs)}},
	})
	if err != nil {
		return instanceList{}, transport.Failure(err)
	}
	result := instancesRefusal(response, c.api.Refusal(response))
	switch response.Status {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return instanceList{unreadable: result.Outcome != provider.Busy}, result
	default:
		return instanceList{}, result
	}
	list := readInstances(response, ids)
	switch {
	case list.unreadable:
		result.Reason = "the response is not a list of instances; check url and any proxy"
	case len(list.missing) > 0:
		result.Outcome = provider.Rejected
		result.Code = ""
		result.Reason = "the project has no instance with the ID " + named(list.missing) + "; check instance_ids (physical servers have other IDs), project_id and url"
	default:
		result.Outcome = provider.Applied
		result.Code = ""
		result.Reason = "the project has all servers of the role"
	}
	return list, result
}

// instanceList is what a list of instances reports about the requested ones.
type instanceList struct {
	// unreadable: the response is not a list, or an incomplete one.
	unreadable bool
	// missing are not in the list.
	missing []string
	// busy are being installed, reinstalled, changed or removed. Older API editions have no operation_state.
	busy []string
	// moving are being started or stopped.
	moving []string
	// resting describes the others that are not running, with their state.
	resting []string
	// stopped: one of them is stopped.
	stopped bool
	// servers are the IDs of the physical servers, one for each entry about a requested instance.
	servers []string
}

// instanceStates are the documented states of an instance. A reason shows no other text of a response.
var instanceStates = []string{
	"pending", "running", "stopping", "stopped", "reinstalling", "shutting-down", "terminated", "error", "failed",
}

// readInstances parses a 200 response to a list request.
func readInstances(response *transport.Response, ids []string) instanceList {
	object, _ := huaweicloud.ParseObject(response.Body)
	entries, ok := object.Objects("instances")
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		return instanceList{unreadable: true}
	}
	var list instanceList
	for _, entry := range entries {
		if slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(entry.Text("id"), id) }) {
			list.servers = append(list.servers, entry.Text("server_id"))
		}
	}
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
		case state == "pending", state == "stopping":
			list.moving = append(list.moving, id)
		case slices.Contains(instanceStates, state):
			list.resting = append(list.resting, "server "+id+" is "+state)
			list.stopped = list.stopped || state == "stopped"
		default:
			list.resting = append(list.resting, "server "+id+" is in an undocumented state")
		}
	}
	// The first of several pages does not prove that an instance is missing. A page has at least ten entries.
	if len(list.missing) > 0 && len(entries) >= leastPage && object.Object("page_info").Text("next_marker") != "" {
		return instanceList{unreadable: true}
	}
	return list
}

// hint returns a possible cause of a refusal. One document requires instances to be running
// (https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeInstancePassword.html), while the states in Huawei's SDK
// suggest that they may be stopped. So the service decides, and the hint is given only after a refusal.
func (l instanceList) hint() string {
	if len(l.resting) == 0 {
		return ""
	}
	return "; " + named(l.resting) + ": start the servers that are not running"
}

// notReady is the code of CloudDC for servers whose state does not allow the operation, to be repeated later:
// https://support.huaweicloud.com/intl/en-us/api-clouddc/ErrorCode.html
const notReady = "iMetal.0101"

// instancesRefusal refines a refusal. Few error codes of CloudDC are published, so any code counts. A conflict (409) concerns
// the present state of the servers, and passes. The password met the rules, which are stricter than the checks of the
// service, so any other refusal concerns the servers.
func instancesRefusal(response *transport.Response, result provider.Result) provider.Result {
	object, _ := huaweicloud.ParseObject(response.Body)
	refused := result.Outcome == provider.Unknown && object.Text("error_code") != ""
	switch {
	case refused && response.Status == http.StatusConflict, refused && response.Status == http.StatusBadRequest && result.Code == notReady:
		result.Outcome = provider.Busy
		result.Reason = "the servers, or one of them, are busy with another operation"
	case refused && response.Status == http.StatusBadRequest:
		result.Outcome = provider.Rejected
		result.Reason = "the remote system rejected the request and changed nothing; check the code, project_id, and that all servers exist in this project and are running"
	}
	return result
}

// instancesOutcome completes the result of a change. Since either all servers take it or none does, a response that names
// only some proves nothing.
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
		result.Reason = "the response names a server that was not requested; the change may have been carried out"
	case len(found) < len(ids):
		result.Reason = "the response does not name every server (missing: " + named(without(ids, found)) + "); the change may have been carried out"
	default:
		result = staged(result)
	}
	return result
}
