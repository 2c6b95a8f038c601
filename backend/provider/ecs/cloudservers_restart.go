package ecs

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

var _ provider.Restarter = (*cloudServers)(nil)

// Statuses of a server: https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_08_0002.html
const (
	statusActive     = "ACTIVE"
	statusOff        = "SHUTOFF"
	statusReboot     = "REBOOT"
	statusHardReboot = "HARD_REBOOT"
)

// passingStatuses are those of a server with an operation in progress.
var passingStatuses = []string{statusReboot, statusHardReboot, "BUILD", "MIGRATING", "REBUILD", "RESIZE", "REVERT_RESIZE"}

// rebootRequest is the body of a restart.
type rebootRequest struct {
	Reboot reboot `json:"reboot"`
}

type reboot struct {
	Type    string        `json:"type"`
	Servers []cloudServer `json:"servers"`
}

// Restart requests the restart of a server that is running, and returns the ID of the job. It looks up the server first: if
// that fails, the restart could not be followed either.
// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0302.html
func (c *cloudServers) Restart(ctx context.Context, target provider.Target, restart provider.Restart) (provider.Result, string) {
	if err := c.mayRestart(target, restart); err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error()), ""
	}
	looking, cancel := early(ctx)
	defer cancel()
	status, result := c.status(looking, restart.Part)
	switch {
	case result.Outcome != provider.Applied:
		return c.notRequested(result), ""
	case status == statusOff:
		return because(result, provider.Rejected, "server "+restart.Part+" is off, so it was not restarted; start it: that brings a new password into force"), ""
	case slices.Contains(passingStatuses, status):
		return because(result, provider.Busy, "server "+restart.Part+" is busy with another operation"), ""
	case status != statusActive:
		return because(result, provider.Rejected, "server "+restart.Part+" is neither running nor off, so it was not restarted; check its status"), ""
	}
	response, err := c.api.Call(ctx, huaweicloud.Request{
		Method:  http.MethodPost,
		Path:    c.path("cloudservers", "action"),
		Body:    rebootRequest{reboot{Type: strings.ToUpper(restart.Kind), Servers: []cloudServer{{ID: restart.Part}}}},
		Follows: true, // the lookup had a token
	})
	if err != nil {
		return transport.Failure(err), ""
	}
	result, job := rebootOutcome(response, c.api.Refusal(response))
	return needing(actionReboot, result), job
}

// Follow reports the status of the job. If its ID is unknown because the response to the request was lost, only a server that
// was seen down and runs again has been restarted: the request may not have arrived.
func (c *cloudServers) Follow(ctx context.Context, target provider.Target, restart provider.Restart) (provider.Result, provider.Progress, string) {
	job := restart.Job
	if err := checkPart(target, restart); err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error()), provider.Restarting, job
	}
	if serverIDs.MatchString(job) {
		response, err := c.api.Call(ctx, huaweicloud.Request{Method: http.MethodGet, Path: c.path("jobs", job)})
		if err != nil {
			return transport.Failure(err), provider.Restarting, job
		}
		result, progress := jobOutcome(response, c.api.Refusal(response), job)
		return needing(actionJob, result), progress, job
	}
	status, result := c.status(ctx, restart.Part)
	switch {
	case result.Outcome != provider.Applied:
		return result, provider.Restarting, job
	case status == statusReboot, status == statusHardReboot, status == statusOff:
		return because(result, provider.Applied, "server "+restart.Part+" is not running yet"), provider.Restarting, jobDown
	case status == statusActive && job == jobDown:
		return because(result, provider.Applied, "server "+restart.Part+" was down and is running again"), provider.Restarted, job
	default:
		return because(result, provider.Applied, "server "+restart.Part+" has not been seen restarting"), provider.Restarting, job
	}
}

// status looks up the status of a server, in upper case. The outcome is Applied if the project has the server.
func (c *cloudServers) status(ctx context.Context, id string) (string, provider.Result) {
	response, err := c.api.Call(ctx, huaweicloud.Request{Method: http.MethodGet, Path: c.path("cloudservers", id)})
	if err != nil {
		return "", transport.Failure(err)
	}
	status, result := statusOutcome(response, c.api.Refusal(response), id)
	return status, needing(actionGet, result)
}

// statusOutcome parses a response about a server.
func statusOutcome(response *transport.Response, result provider.Result, id string) (string, provider.Result) {
	object, _ := huaweicloud.ParseObject(response.Body)
	server := object.Object("server")
	switch {
	case response.Status != http.StatusOK:
		return "", cloudServersRefusal(response, result)
	case huaweicloud.ParseEnvelope(response).Error || !strings.EqualFold(server.Text("id"), id):
		result.Reason = "the response does not describe the server; check url and any proxy"
		return "", result
	default:
		return strings.ToUpper(server.Text("status")), because(result, provider.Applied, "the project has the server")
	}
}

// rebootOutcome completes the result of a restart, and returns the ID of its job.
func rebootOutcome(response *transport.Response, result provider.Result) (provider.Result, string) {
	if response.Status != http.StatusOK {
		return cloudServersRefusal(response, result), ""
	}
	object, _ := huaweicloud.ParseObject(response.Body)
	job := object.Text("job_id")
	if huaweicloud.ParseEnvelope(response).Error || !serverIDs.MatchString(job) || response.Echoes(job) {
		return result, ""
	}
	return because(result, provider.Applied, "the remote system accepted the restart"), job
}

// jobOutcome returns the progress of a job: https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0901.html
// A finished job can be read for a day.
func jobOutcome(response *transport.Response, result provider.Result, job string) (provider.Result, provider.Progress) {
	if response.Status != http.StatusOK {
		result = cloudServersRefusal(response, result)
		if result.Outcome == provider.Rejected {
			result.Reason = "the remote system does not report the job of the restart; check the server"
		}
		return result, provider.Restarting
	}
	object, _ := huaweicloud.ParseObject(response.Body)
	status := object.Text("status")
	switch {
	case !strings.EqualFold(object.Text("job_id"), job), status != "FAIL" && huaweicloud.ParseEnvelope(response).Error:
		result.Reason = "the response does not describe the job of the restart; check url and any proxy"
		return result, provider.Restarting
	case status == "SUCCESS":
		return because(result, provider.Applied, "the remote system reports that the server has been restarted"), provider.Restarted
	case status == "FAIL":
		failed := object.Text("error_code")
		result = because(result, provider.Applied, "the job of the restart failed; check the server")
		if cloudServerCodes.MatchString(failed) && !response.Echoes(failed) {
			result.Code = failed
		}
		return result, provider.RestartFailed
	case status == "INIT", status == "RUNNING":
		return because(result, provider.Applied, "the remote system is restarting the server"), provider.Restarting
	default:
		result.Reason = "the status of the job is not documented"
		return result, provider.Restarting
	}
}
