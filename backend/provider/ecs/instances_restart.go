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

var _ provider.Restarter = (*instances)(nil)

// Power states and actions of CloudDC: https://support.huaweicloud.com/intl/en-us/api-clouddc/ShowServer.html
const (
	stateOn      = "on"
	stateOff     = "off"
	actOn        = "power on"
	actOff       = "power off"
	actRebooting = "rebooting"
)

// switchingStates are power states that older editions of the documentation have for servers that are being switched.
var switchingStates = []string{"rebooting", "powering-on", "powering-off"}

// machine is the physical server of an instance. Passwords are addressed by the ID of the instance, power by that of the
// server.
type machine struct {
	id string
	// power is its power state, in lower case; "" if the service reports none.
	power string
	// list reports the state of the instance.
	list instanceList
}

// up reports whether the server is on and its instance running.
func (m machine) up() bool {
	return m.power == stateOn && len(m.list.busy)+len(m.list.moving)+len(m.list.resting) == 0
}

// powerRequest is the body of a power action.
type powerRequest struct {
	Action    string   `json:"action"`
	ServerIDs []string `json:"server_id_set"`
}

// Restart requests a reboot (soft) or turns the server off (hard), after which Follow turns it on. It looks up the server
// first. If that fails, the request is not sent: the restart could not be followed either. A server that is off is not
// started, because whoever turned it off may have a reason.
func (c *instances) Restart(ctx context.Context, target provider.Target, restart provider.Restart) (provider.Result, string) {
	if err := c.mayRestart(target, restart); err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error()), ""
	}
	looking, cancel := early(ctx)
	defer cancel()
	m, result := c.locate(looking, restart.Part)
	switch {
	case result.Outcome != provider.Applied:
		return c.notRequested(result), ""
	case m.power == stateOff:
		return because(result, provider.Rejected, "server "+restart.Part+" is off, so it was not restarted; start it: that brings a new password into force"), ""
	case slices.Contains(switchingStates, m.power), len(m.list.busy)+len(m.list.moving) > 0:
		return because(result, provider.Busy, "server "+restart.Part+" is being installed, changed, started or stopped"), ""
	case m.power != stateOn:
		return because(result, provider.Rejected, "the remote system does not report whether server "+restart.Part+" is on, so it was not restarted; restart it yourself"), ""
	}
	action := actRebooting
	if restart.Kind == provider.RestartHard {
		action = actOff
	}
	result = c.switchPower(ctx, m.id, action)
	if result.Outcome == provider.Rejected {
		result.Reason += m.list.hint()
	}
	if result.Outcome != provider.Applied {
		return result, ""
	}
	return result, jobTaken
}

// Follow looks up the server, and turns it on if it is off and the restart is hard. It reports Restarted when the server runs
// and was seen down before, or some time after a soft reboot was accepted. If it is unknown whether the request was accepted,
// time proves nothing. CloudDC reports no failed restarts.
func (c *instances) Follow(ctx context.Context, target provider.Target, restart provider.Restart) (provider.Result, provider.Progress, string) {
	job := restart.Job
	if err := checkPart(target, restart); err != nil {
		return provider.Unsendable(provider.ScopeTarget, err.Error()), provider.Restarting, job
	}
	m, result := c.locate(ctx, restart.Part)
	if result.Outcome != provider.Applied {
		return result, provider.Restarting, job
	}
	hard := restart.Kind == provider.RestartHard
	if m.power == stateOff || !hard && (slices.Contains(switchingStates, m.power) || m.list.stopped) {
		job = jobDown
	}
	switch {
	case m.power == stateOff && hard:
		result = c.switchPower(ctx, m.id, actOn)
		if result.Outcome == provider.Busy && result.Scope == provider.ScopeTarget {
			result = because(result, provider.Applied, "server "+restart.Part+" is being started")
		}
		return result, provider.Restarting, job
	case m.power == stateOff:
		result.Reason = "server " + restart.Part + " is off"
		return result, provider.Restarting, job
	case !m.up():
		result.Reason = "server " + restart.Part + " is not running yet"
		return result, provider.Restarting, job
	case job == jobDown:
		result.Reason = "server " + restart.Part + " was down and is running again"
		return result, provider.Restarted, job
	case !hard && job == jobTaken && c.passed(target, restart.Since):
		result.Reason = "server " + restart.Part + " is running, some time after the remote system accepted its restart"
		return result, provider.Restarted, job
	default:
		result.Reason = "server " + restart.Part + " is running and has not been seen down yet"
		return result, provider.Restarting, job
	}
}

// locate looks up the server of an instance. The outcome is Applied if there is exactly one, in this project.
func (c *instances) locate(ctx context.Context, id string) (machine, provider.Result) {
	list, result := c.look(ctx, []string{id})
	switch {
	case list.unreadable || result.Outcome != provider.Applied:
		return machine{}, needing(actionList, result)
	case len(list.servers) != 1 || !serverIDs.MatchString(list.servers[0]):
		return machine{}, because(result, provider.Rejected, "the remote system does not report the physical server of instance "+id+
			", so the engine cannot restart it; check the instance, or set restart=none and restart the server yourself")
	}
	m := machine{id: list.servers[0], list: list}
	response, err := c.api.Call(ctx, huaweicloud.Request{Method: http.MethodGet, Path: c.path("physicalservers", m.id)})
	if err != nil {
		return machine{}, transport.Failure(err)
	}
	m.power, result = c.powerState(response, instancesRefusal(response, c.api.Refusal(response)), m.id)
	return m, needing(actionShowServer, result)
}

// powerState parses a response about a server. The outcome is Applied if it describes this server of this project.
func (c *instances) powerState(response *transport.Response, result provider.Result, id string) (string, provider.Result) {
	object, _ := huaweicloud.ParseObject(response.Body)
	switch {
	case response.Status != http.StatusOK:
		return "", result
	case huaweicloud.ParseEnvelope(response).Error || !strings.EqualFold(object.Text("id"), id):
		result.Reason = "the response does not describe the physical server; check url and any proxy"
		return "", result
	case object.Has("project_id") && object.Text("project_id") != c.api.Project():
		return "", because(result, provider.Rejected, "the physical server belongs to another project; check project_id and url")
	default:
		return strings.ToLower(object.Text("power_state")), because(result, provider.Applied, "the project has the physical server")
	}
}

// switchPower requests a power action for one server, once.
func (c *instances) switchPower(ctx context.Context, id, action string) provider.Result {
	response, err := c.api.Call(ctx, huaweicloud.Request{
		Method:  http.MethodPut,
		Path:    c.path("physicalservers", "power-state"),
		Body:    powerRequest{Action: action, ServerIDs: []string{id}},
		Follows: true, // the lookup had a token
	})
	if err != nil {
		return transport.Failure(err)
	}
	return needing(actionPower, powerOutcome(response, c.api.Refusal(response), id))
}

// powerOutcome completes the result of a power action. The service acts after it has responded:
// https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeServerPowerState.html
func powerOutcome(response *transport.Response, result provider.Result, id string) provider.Result {
	if response.Status != http.StatusOK {
		return instancesRefusal(response, result)
	}
	object, _ := huaweicloud.ParseObject(response.Body)
	entries, ok := object.Objects("physical_servers")
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		return result
	}
	if found, only := match([]string{id}, entries); !only || len(found) != 1 {
		result.Reason = "the response does not name the server, or also another one; the request may have been carried out"
		return result
	}
	return because(result, provider.Applied, "the remote system accepted the request")
}
