package ecs

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Error codes of CloudDC. Few are published, among them that of a server that is not
// ready; the others are assumed.
// https://support.huaweicloud.com/intl/en-us/api-clouddc/ErrorCode.html
const (
	metalNotReady  = "iMetal.0101"
	metalParameter = "CloudDC.0400"
	metalMissing   = "CloudDC.0404"
	metalState     = "CloudDC.0409"
	metalPassword  = "CloudDC.0422"
	metalInternal  = "CloudDC.0500"
)

// Limits of CloudDC.
const (
	maxChanged  = 50  // instances in a password change, servers in a power change
	maxFiltered = 100 // ids in a filter
)

// metal is CloudDC. It is initialized in init because its functions refer to it.
var metal = &api{}

func init() {
	*metal = api{
		failure: func(status int, code, message string) lab.Response {
			response := huaweicloud.JSON(status, map[string]any{"error_code": code, "error_msg": message})
			response.Header = http.Header{"X-Request-Id": {lab.RandomText(32, lab.Hex)}}
			return response
		},
		password: metalPassword, parameter: metalParameter, internal: metalInternal,
		missing: (*Service).noInstance, busy: (*Service).busyMetal,
		operations: []*operation{
			{name: "ChangeInstancePassword", class: lab.OpChange, action: "clouddc:instance:changePassword", method: http.MethodPut,
				path: "instances/password", empty: map[string]any{"instances": []any{}}, prepare: (*Service).changeInstances},
			{name: "ListInstances", class: lab.OpList, action: "clouddc:instance:list", method: http.MethodGet,
				path: "instances", empty: map[string]any{"instances": []any{}, "count": 0, "page_info": map[string]any{"current_count": 0}},
				prepare: (*Service).listInstances},
			{name: "ShowInstanceStatus", class: lab.OpCheck, action: "clouddc:instance:get", method: http.MethodGet,
				path: "instances/{id}/status", prepare: (*Service).showInstanceStatus},
			{name: "ChangeServerPowerState", class: lab.OpRestart, action: "clouddc:imetal:updatePowerStatus", method: http.MethodPut,
				path: "physicalservers/power-state", empty: map[string]any{"physical_servers": []any{}}, prepare: (*Service).changePower},
			// Assumed: the name of the action.
			{name: "ShowServer", class: lab.OpCheck, action: "clouddc:imetal:get", method: http.MethodGet,
				path: "physicalservers/{id}", prepare: (*Service).showServer},
		},
	}
}

// noInstance returns the answer for an unknown id or one of another project.
// Assumed: 400, as neither 403 nor 404 is documented.
func (s *Service) noInstance(*request) answer {
	status, err := strconv.Atoi(s.switches.unknownID)
	if err != nil {
		status = http.StatusBadRequest
	}
	return metal.refuse(status, metalMissing, "The resource does not exist.")
}

// notReady returns the answer for a host that another operation keeps busy.
func notReady() answer {
	return metal.refuse(http.StatusBadRequest, metalNotReady, "Physical servers state is not ready.")
}

// wrongState returns the answer for a host whose state does not allow the operation.
func wrongState() answer {
	return metal.refuse(http.StatusBadRequest, metalState, "The current state of the resource does not allow this operation.")
}

// busyMetal returns the answer of the fault "busy".
func (s *Service) busyMetal(*request) answer {
	if s.switches.busy == "conflict" {
		return metal.refuse(http.StatusConflict, metalState, "The resource is in conflict with another operation.")
	}
	return notReady()
}

// changeInstances implements ChangeInstancePassword. Assumed: a request without
// ids or with an empty password is refused.
func (s *Service) changeInstances(r *request) *answer {
	var body struct {
		NewPassword   *string  `json:"new_password"`
		InstanceIDSet []string `json:"instance_id_set"`
	}
	if refusal := r.decode(&body); refusal != nil {
		return refusal
	}
	r.password, r.targets = body.NewPassword, unique(body.InstanceIDSet)
	switch {
	case text(body.NewPassword) == "":
		return metal.invalid("new_password is required.")
	case len(body.InstanceIDSet) == 0 || slices.Contains(body.InstanceIDSet, ""):
		return metal.invalid("instance_id_set is required.")
	case len(body.InstanceIDSet) > maxChanged:
		r.targets = nil // too many for the journal
		return metal.invalid("instance_id_set has more than 50 ids.")
	}
	r.run = func() answer {
		hosts := s.own(true, r.projectID, r.targets)
		for _, h := range hosts {
			if refusal := s.unchangeable(h, r); refusal != nil {
				return *refusal
			}
		}
		for _, h := range hosts {
			s.set(h, *r.password)
		}
		done := ok(map[string]any{"instances": s.switches.omit.from(r.targets)})
		done.applied = true
		return done
	}
	return nil
}

// unchangeable returns a refusal of the whole request if one instance cannot be
// changed.
func (s *Service) unchangeable(h *host, r *request) *answer {
	var refusal answer
	switch {
	case h == nil:
		refusal = s.noInstance(r)
	case h.processing(), h.moving(s.lab.Clock.Now()):
		refusal = notReady()
	case !h.open(s):
		refusal = wrongState()
	case s.switches.strict && !acceptableMetal(h.user(), *r.password):
		refusal = metal.weak(s, r)
	default:
		return nil
	}
	return &refusal
}

// open reports whether the state of an instance allows a password change. The
// documentation of the operation requires running, the SDK's diagram stopped.
func (h *host) open(s *Service) bool {
	state := h.shown(s.lab.Clock.Now())
	return state == running || (state == stopped && s.switches.stoppedInstances == "allow")
}

// moving reports whether an instance is being started or stopped.
func (h *host) moving(now time.Time) bool {
	return h.power.begun(now) || h.state == "pending" || h.state == stopping
}

// changePower implements ChangeServerPowerState. It takes ids of servers, answers
// at once and acts later. Assumed: all or nothing; the request is refused if a
// server is busy or in the wrong state.
func (s *Service) changePower(r *request) *answer {
	var body struct {
		Action      string   `json:"action"`
		ServerIDSet []string `json:"server_id_set"`
	}
	if refusal := r.decode(&body); refusal != nil {
		return refusal
	}
	ids := unique(body.ServerIDSet)
	switch {
	case !slices.Contains([]string{powerOn, powerOff, rebooting}, body.Action):
		return metal.invalid("action must be power on, power off or rebooting.")
	case len(ids) == 0 || len(body.ServerIDSet) > maxChanged || slices.Contains(ids, ""):
		return metal.invalid("server_id_set must have 1 to 50 ids.")
	}
	for _, id := range ids {
		r.targets = append(r.targets, s.instanceOf(id))
	}
	r.run = func() answer {
		var hosts []*host
		for _, id := range ids {
			h := s.byServerID(id)
			if h == nil || h.projectID != r.projectID {
				return s.noInstance(r)
			}
			if h.power != nil || h.processing() {
				return notReady()
			}
			if h.state != map[string]string{powerOn: stopped, powerOff: running, rebooting: running}[body.Action] {
				return wrongState()
			}
			hosts = append(hosts, h)
		}
		for _, h := range hosts {
			s.begin(h, body.Action)
		}
		done := ok(map[string]any{"physical_servers": (&omission{}).from(ids)})
		done.applied = true
		return done
	}
	return nil
}

// instanceOf returns the target for a physical server: the id of its instance, or
// its own id if it is unknown.
func (s *Service) instanceOf(serverID string) string {
	if h := s.byServerID(serverID); h != nil {
		return h.id
	}
	return serverID
}

// showInstanceStatus implements ShowInstanceStatus.
func (s *Service) showInstanceStatus(r *request) *answer {
	r.targets = []string{r.id}
	r.run = func() answer {
		h := s.own(true, r.projectID, r.targets)[0]
		if h == nil {
			return s.noInstance(r)
		}
		return ok(map[string]any{"state": h.shown(s.lab.Clock.Now()), "operation_state": h.operationState})
	}
	return r.only()
}

// showServer implements ShowServer of CloudDC.
func (s *Service) showServer(r *request) *answer {
	r.targets = []string{s.instanceOf(r.id)}
	r.run = func() answer {
		h := s.byServerID(r.id)
		if h == nil || h.projectID != r.projectID {
			return s.noInstance(r)
		}
		return ok(map[string]any{"id": h.serverID, "name": h.name + "-server", "project_id": h.projectID, "domain_id": strings.Repeat("d", 32),
			"manage_state": "in-use", "power_state": h.shownPower(s.lab.Clock.Now()), "health_state": "ok",
			"onboard_time": s.created.Format(timeLayout), "tags": []any{}})
	}
	return r.only()
}

// timeLayout is the time format of CloudDC and Elastic Cloud Server, in UTC.
const timeLayout = "2006-01-02T15:04:05Z"

// listInstances implements ListInstances. According to the SDK, the limit is 10 to
// 1000, 10 by default, and limits outside of that range are adjusted to it.
// Assumed: the marker is the last id of the previous page.
func (s *Service) listInstances(r *request) *answer {
	if refusal := r.only("limit", "marker", "instance_state", "instance_id", "server_id"); refusal != nil {
		return refusal
	}
	limit, err := strconv.Atoi(cmp.Or(r.query.Get("limit"), "10"))
	if err != nil {
		return metal.invalid("Invalid limit.")
	}
	limit = min(max(limit, 10), 1000)
	state, marker := r.query.Get("instance_state"), r.query.Get("marker")
	if r.query.Has("instance_state") && !slices.Contains(instanceStates, state) {
		return metal.invalid("Invalid instance_state.")
	}
	instanceIDs, serverIDs := list(r.query.Get("instance_id")), list(r.query.Get("server_id"))
	if (r.query.Has("instance_id") && r.query.Has("server_id")) || len(instanceIDs) > maxFiltered || len(serverIDs) > maxFiltered {
		return metal.invalid("instance_id and server_id exclude each other, and take at most 100 ids.")
	}
	r.targets = unique(instanceIDs)
	for _, id := range unique(serverIDs) {
		r.targets = append(r.targets, s.instanceOf(id))
	}
	r.run = func() answer {
		now := s.lab.Clock.Now()
		var matching []*host
		for _, h := range s.hosts {
			if h.metal && h.projectID == r.projectID && (state == "" || h.shown(now) == state) &&
				(!r.query.Has("instance_id") || slices.Contains(instanceIDs, h.id)) &&
				(!r.query.Has("server_id") || slices.Contains(serverIDs, h.serverID)) {
				matching = append(matching, h)
			}
		}
		return s.page(matching, limit, marker)
	}
	return nil
}

func (s *Service) page(matching []*host, limit int, marker string) answer {
	from := 0
	if marker != "" {
		from = slices.IndexFunc(matching, func(h *host) bool { return h.id == marker }) + 1
		if from == 0 {
			return *metal.invalid("Invalid marker.")
		}
	}
	to := min(from+limit, len(matching))
	instances := []map[string]any{}
	for _, h := range matching[from:to] {
		instances = append(instances, s.describe(h))
	}
	info := map[string]any{"current_count": to - from, "next_marker": nil, "previous_marker": nil}
	if to < len(matching) {
		info["next_marker"] = matching[to-1].id
	}
	if from > 0 {
		info["previous_marker"] = matching[from-1].id
	}
	return ok(map[string]any{"instances": instances, "page_info": info, "count": len(matching)})
}

func (s *Service) describe(h *host) map[string]any {
	created := s.created.Format(timeLayout)
	image := map[string]any{"id": "11111111-1111-4111-a111-111111111111", "name": "EulerOS 2.0"}
	if h.os == windows {
		image = map[string]any{"id": "22222222-2222-4222-a222-222222222222", "name": "Windows Server 2022"}
	}
	return map[string]any{
		"id": h.id, "name": h.name, "server_id": h.serverID, "state": h.shown(s.lab.Clock.Now()), "operation_state": h.operationState,
		"vpc_id": "33333333-3333-4333-a333-333333333333", "image": image, "tags": []any{}, "description": "", "metadata": map[string]any{},
		"created_at": created, "updated_at": created, "launched_at": created,
	}
}

// list splits comma-separated ids; "" yields none.
func list(ids string) []string {
	if ids == "" {
		return nil
	}
	return strings.Split(ids, ",")
}
