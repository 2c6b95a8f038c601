package ecs

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Error codes of Elastic Cloud Server,
// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_07_0002.html. cloudState:
// "the ECS status does not meet requirements; try again later". cloudCommand: "other
// commands are being executed; try again 1 minute later". cloudBatch: "requesting
// for a batch operation failed". Assumed: 0000, the generic request error, for a job.
const (
	cloudRequest   = "Ecs.0000"
	cloudState     = "Ecs.0100"
	cloudCommand   = "Ecs.0603"
	cloudBatch     = "Ecs.0611"
	cloudInternal  = "Ecs.0002"
	cloudParameter = "Ecs.0005"
	cloudPassword  = "Ecs.0011"
	cloudMissing   = "Ecs.0114"
)

// maxBatch is the maximum number of servers in a batch.
const maxBatch = 1000

// cloud is Elastic Cloud Server. It is initialized in init because its functions
// refer to it.
var cloud = &api{}

func init() {
	*cloud = api{
		failure: func(status int, code, message string) lab.Response {
			response := huaweicloud.JSON(status, map[string]any{"error": map[string]any{"code": code, "message": message}})
			response.Header = http.Header{"X-Request-Id": {lab.RandomText(32, lab.Hex)}}
			return response
		},
		password: cloudPassword, parameter: cloudParameter, internal: cloudInternal,
		missing: func(s *Service, r *request) answer { return s.everyServer(r, http.StatusNotFound, cloudMissing) },
		busy:    (*Service).busyCloud,
		operations: []*operation{
			{name: "BatchResetServersPassword", class: lab.OpChange, action: "ecs:cloudServers:resetServerPwd", method: http.MethodPut,
				path: "cloudservers/os-reset-passwords", empty: map[string]any{"response": []any{}}, prepare: (*Service).resetBatch},
			{name: "ResetServerPassword", class: lab.OpChange, action: "ecs:cloudServers:resetServerPwd", method: http.MethodPut,
				path: "cloudservers/{id}/os-reset-password", prepare: (*Service).resetOne},
			{name: "ShowResetPasswordFlag", class: lab.OpCheck, action: "ecs:cloudServers:showResetPasswordFlag", method: http.MethodGet,
				path: "cloudservers/{id}/os-resetpwd-flag", prepare: (*Service).showFlag},
			{name: "ListServersDetails", class: lab.OpList, action: "ecs:cloudServers:list", method: http.MethodGet,
				path: "cloudservers/detail", empty: map[string]any{"servers": []any{}, "count": 0}, prepare: (*Service).listServers},
			{name: "BatchRebootServers", class: lab.OpRestart, action: "ecs:cloudServers:reboot", method: http.MethodPost,
				path: "cloudservers/action", empty: map[string]any{}, prepare: (*Service).reboot},
			{name: "ShowServer", class: lab.OpCheck, action: "ecs:cloudServers:get", method: http.MethodGet,
				path: "cloudservers/{id}", prepare: (*Service).showCloudServer},
			// Assumed: the name of the action.
			{name: "ShowJob", class: lab.OpCheck, action: "ecs:serverJobs:get", method: http.MethodGet,
				path: "jobs/{id}", prepare: (*Service).showJob},
		},
	}
}

// messages by error code.
var messages = map[string]string{
	cloudRequest: "Request error.",
	cloudState:   "The current status of the ECS does not allow this operation. Try again later.",
	cloudCommand: "Other commands are being executed. Try again 1 minute later.",
	cloudMissing: "The ECS could not be found.",
}

func failing(id, code string) map[string]any {
	return map[string]any{"id": id, "error_code": code, "error_message": cmp.Or(messages[code], "Request error. Try again later.")}
}

// noServer returns the answer for an unknown id or one of another project.
func noServer() answer {
	return cloud.refuse(http.StatusNotFound, cloudMissing, messages[cloudMissing])
}

// busyCloud returns the answer of the fault "busy".
func (s *Service) busyCloud(r *request) answer {
	switch s.switches.busy {
	case "command":
		return cloud.refuse(http.StatusNotImplemented, cloudCommand, messages[cloudCommand])
	case "conflict":
		return cloud.refuse(http.StatusConflict, cloudRequest, messages[cloudRequest])
	default:
		return s.everyServer(r, http.StatusBadRequest, cloudState)
	}
}

// everyServer returns the answer if all servers of a request fail.
func (s *Service) everyServer(r *request, status int, code string) answer {
	if r.name != "BatchResetServersPassword" {
		return cloud.refuse(status, code, messages[code])
	}
	var failed []map[string]any
	for _, id := range r.targets {
		failed = append(failed, failing(id, code))
	}
	a := s.partly(nil, failed)
	a.result = code
	return a
}

// resetBatch implements BatchResetServersPassword. Each server succeeds or fails
// independently.
func (s *Service) resetBatch(r *request) *answer {
	var body struct {
		NewPassword *string `json:"new_password"`
		DryRun      *bool   `json:"dry_run"`
		Servers     objects `json:"servers"`
	}
	if refusal := r.decode(&body); refusal != nil {
		return refusal
	}
	dry := body.DryRun != nil && *body.DryRun
	r.password = body.NewPassword
	switch {
	case len(body.Servers) == 0 || len(body.Servers) > maxBatch || slices.Contains(body.Servers.ids(), ""):
		return cloud.invalid("servers must have 1 to 1000 ids.")
	case text(body.NewPassword) == "" && !dry:
		return cloud.invalid("new_password is required.")
	}
	r.targets = unique(body.Servers.ids())
	if dry {
		r.class = lab.OpCheck
	}
	if body.NewPassword != nil && !acceptableCloud(*body.NewPassword) {
		refusal := cloud.weak(s, r)
		return &refusal
	}
	r.run = func() answer { return s.resetServers(r, dry) }
	return nil
}

func (s *Service) resetServers(r *request, dry bool) answer {
	var succeeded []string
	var failed []map[string]any
	var outcomes []lab.Outcome
	for i, h := range s.own(false, r.projectID, r.targets) {
		id := r.targets[i]
		code := s.unresettable(h)
		if code == "" && !dry {
			code = s.switches.partial[id]
		}
		if code != "" {
			failed = append(failed, failing(id, code))
			outcomes = append(outcomes, lab.Outcome{Target: id, Result: code})
			continue
		}
		succeeded = append(succeeded, id)
		outcomes = append(outcomes, lab.Outcome{Target: id, Result: "ok", Applied: !dry && s.reset(h, *r.password)})
	}
	done := ok(map[string]any{"response": s.switches.omit.from(succeeded)})
	if len(failed) > 0 {
		done = s.partly(succeeded, failed)
	}
	done.outcomes = outcomes
	return done
}

// unresettable returns the error code for a server whose password cannot be reset
// now, or "". Assumed: a server that is neither up nor off, for example while it
// restarts.
func (s *Service) unresettable(h *host) string {
	if h == nil {
		return cloudMissing
	}
	state := h.shown(s.lab.Clock.Now())
	if state == active || (state == shutoff && s.switches.stoppedServers == "allow") {
		return ""
	}
	return cloudState
}

// reset does what the plug-in in the guest does. Without the plug-in it does
// nothing, and the API reports no error.
func (s *Service) reset(h *host, password string) (applied bool) {
	if !h.plugin || s.switches.guestScript == "fails" {
		return false
	}
	s.set(h, password)
	return true
}

// partly returns the answer of a batch in which servers failed. Neither its HTTP
// status nor whether it lists the other servers is documented.
func (s *Service) partly(succeeded []string, failed []map[string]any) answer {
	fields := map[string]any{"error": map[string]any{"code": cloudBatch, "message": "Batch operation failed."}, "internalError": failed}
	if s.switches.partialResponse == "present" {
		fields["response"] = s.switches.omit.from(succeeded)
	}
	status, err := strconv.Atoi(s.switches.partialStatus)
	if err != nil {
		status = http.StatusBadRequest
	}
	return answer{response: huaweicloud.JSON(status, fields), result: cloudBatch}
}

// resetOne implements ResetServerPassword, which checks the password only on
// request. Assumed: 204 without a body.
func (s *Service) resetOne(r *request) *answer {
	var body struct {
		Reset *struct {
			NewPassword     *string `json:"new_password"`
			IsCheckPassword bool    `json:"is_check_password"`
		} `json:"reset-password"`
	}
	r.targets = []string{r.id}
	if refusal := r.decode(&body); refusal != nil {
		return refusal
	}
	if body.Reset == nil || text(body.Reset.NewPassword) == "" {
		return cloud.invalid("new_password is required.")
	}
	r.password = body.Reset.NewPassword
	if body.Reset.IsCheckPassword && !acceptableCloud(*r.password) {
		refusal := cloud.weak(s, r)
		return &refusal
	}
	r.run = func() answer {
		h := s.own(false, r.projectID, r.targets)[0]
		switch s.unresettable(h) {
		case cloudMissing:
			return noServer()
		case cloudState:
			return cloud.refuse(http.StatusBadRequest, cloudState, messages[cloudState])
		}
		return answer{response: lab.Response{Status: http.StatusNoContent}, result: "ok", applied: s.reset(h, *r.password)}
	}
	return nil
}

// showFlag implements ShowResetPasswordFlag, which reports as a string whether the
// plug-in is installed.
func (s *Service) showFlag(r *request) *answer {
	r.targets = []string{r.id}
	r.run = func() answer {
		h := s.own(false, r.projectID, r.targets)[0]
		if h == nil {
			return noServer()
		}
		return ok(map[string]any{"resetpwd_flag": map[bool]string{true: "True", false: "False"}[h.plugin]})
	}
	return r.only()
}

// showCloudServer implements ShowServer of Elastic Cloud Server.
func (s *Service) showCloudServer(r *request) *answer {
	r.targets = []string{r.id}
	r.run = func() answer {
		h := s.own(false, r.projectID, r.targets)[0]
		if h == nil {
			return noServer()
		}
		return ok(map[string]any{"server": s.describeServer(h)})
	}
	return r.only()
}

func (s *Service) describeServer(h *host) map[string]any {
	created := s.created.Format(timeLayout)
	return map[string]any{
		"id": h.id, "name": h.name, "status": h.shown(s.lab.Clock.Now()), "tenant_id": h.projectID, "created": created, "updated": created,
		"metadata": map[string]any{"os_type": map[string]string{linux: "Linux", windows: "Windows"}[h.os]},
	}
}

// listServers implements ListServersDetails. The limit is 1 to 1000, 25 by
// default; the offset is a page number, from 1. Other filters are not simulated
// and refused.
func (s *Service) listServers(r *request) *answer {
	if refusal := r.only("limit", "offset"); refusal != nil {
		return refusal
	}
	limit, err := strconv.Atoi(cmp.Or(r.query.Get("limit"), "25"))
	if err != nil || limit < 1 || limit > 1000 {
		return cloud.invalid("Invalid limit.")
	}
	page, err := strconv.Atoi(cmp.Or(r.query.Get("offset"), "1"))
	if err != nil || page < 1 || page > 1<<20 {
		return cloud.invalid("Invalid offset.")
	}
	r.run = func() answer {
		all := []map[string]any{}
		for _, h := range s.hosts {
			if !h.metal && h.projectID == r.projectID {
				all = append(all, s.describeServer(h))
			}
		}
		from := min((page-1)*limit, len(all))
		return ok(map[string]any{"servers": all[from:min(from+limit, len(all))], "count": len(all)})
	}
	return nil
}
