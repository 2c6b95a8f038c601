package ecs

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// jobKept is how long a finished job can be queried,
// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0901.html
const jobKept = 24 * time.Hour

// job is a restart of one or more servers.
type job struct {
	id, projectID string
	asked         time.Time
	parts         []*part
}

// part is the part of a job that concerns one server.
type part struct {
	id, serverID string
	from, until  time.Time
	code         string // error code if it fails, or ""
}

func (p *part) status(now time.Time) string {
	switch {
	case now.Before(p.from):
		return "INIT"
	case now.Before(p.until):
		return "RUNNING"
	case p.code != "":
		return "FAIL"
	}
	return "SUCCESS"
}

// status returns FAIL or SUCCESS once all parts have ended.
func (j *job) status(now time.Time) string {
	var all []string
	for _, p := range j.parts {
		all = append(all, p.status(now))
	}
	for _, status := range []string{"RUNNING", "INIT", "FAIL"} {
		if slices.Contains(all, status) {
			return status
		}
	}
	return "SUCCESS"
}

// end returns when the last part ends.
func (j *job) end() time.Time {
	var last time.Time
	for _, p := range j.parts {
		if p.until.After(last) {
			last = p.until
		}
	}
	return last
}

// reboot implements BatchRebootServers. Assumed: a request that names an unknown
// server is refused; if a server is not ACTIVE or is already restarting, the job
// fails but the others are restarted.
func (s *Service) reboot(r *request) *answer {
	var body struct {
		Reboot *struct {
			Type    string  `json:"type"`
			Servers objects `json:"servers"`
		} `json:"reboot"`
	}
	if refusal := r.decode(&body); refusal != nil {
		return refusal
	}
	if body.Reboot == nil || (body.Reboot.Type != soft && body.Reboot.Type != hard) {
		return cloud.invalid("reboot.type must be SOFT or HARD.")
	}
	ids := unique(body.Reboot.Servers.ids())
	if len(ids) == 0 || len(body.Reboot.Servers) > maxBatch || slices.Contains(ids, "") {
		return cloud.invalid("servers must have 1 to 1000 ids.")
	}
	r.targets = ids
	r.run = func() answer {
		hosts := s.own(false, r.projectID, ids)
		if slices.Contains(hosts, nil) {
			return noServer()
		}
		return s.startJob(r.projectID, hosts, body.Reboot.Type)
	}
	return nil
}

func (s *Service) startJob(projectID string, hosts []*host, action string) answer {
	now := s.lab.Clock.Now()
	s.jobs = slices.DeleteFunc(s.jobs, func(j *job) bool { return now.Sub(j.end()) > jobKept })
	j := &job{id: lab.RandomText(32, lab.Hex), projectID: projectID, asked: now}
	var outcomes []lab.Outcome
	for _, h := range hosts {
		p := &part{id: lab.RandomText(32, lab.Hex), serverID: h.id, from: now, until: now}
		outcome := lab.Outcome{Target: h.id, Result: "ok", Applied: true}
		if h.power != nil || h.state != active {
			p.code = cloudRequest
			outcome = lab.Outcome{Target: h.id, Result: cloudRequest}
		} else {
			begun := s.begin(h, action)
			p.from, p.until = begun.from, begun.until
			if begun.result == fails || begun.result == staysOff {
				p.code = cloudInternal
			}
		}
		j.parts = append(j.parts, p)
		outcomes = append(outcomes, outcome)
	}
	s.jobs = append(s.jobs, j)
	done := ok(map[string]any{"job_id": j.id})
	done.outcomes = outcomes
	return done
}

// showJob implements ShowJob. Assumed: 400 for an unknown job.
func (s *Service) showJob(r *request) *answer {
	var j *job
	for _, known := range s.jobs {
		if known.id == r.id && known.projectID == r.projectID {
			j = known
		}
	}
	if j != nil {
		for _, p := range j.parts {
			r.targets = append(r.targets, p.serverID)
		}
	}
	r.run = func() answer {
		now := s.lab.Clock.Now()
		if j == nil || now.Sub(j.end()) > jobKept {
			return cloud.refuse(http.StatusBadRequest, cloudParameter, "The job does not exist.")
		}
		return ok(j.describe(now))
	}
	return r.only()
}

func (j *job) describe(now time.Time) map[string]any {
	var parts []map[string]any
	for _, p := range j.parts {
		fields := describeJob(p.id, p.status(now), p.code, j.asked, p.until)
		fields["entities"] = map[string]any{"server_id": p.serverID}
		parts = append(parts, fields)
	}
	code := ""
	for _, p := range j.parts {
		code = cmp.Or(code, p.code)
	}
	fields := describeJob(j.id, j.status(now), code, j.asked, j.end())
	fields["entities"] = map[string]any{"sub_jobs_total": len(parts), "sub_jobs": parts}
	return fields
}

// describeJob describes a job or a part of it. Assumed: the job_type.
func describeJob(id, status, code string, asked, end time.Time) map[string]any {
	fields := map[string]any{"job_id": id, "job_type": "rebootServer", "status": status, "begin_time": asked.Format(timeLayout),
		"end_time": nil, "error_code": nil, "fail_reason": nil}
	if status == "SUCCESS" || status == "FAIL" {
		fields["end_time"] = end.Format(timeLayout)
	}
	if status == "FAIL" {
		fields["error_code"], fields["fail_reason"] = code, cmp.Or(messages[code], "A system exception occurred. Try again later.")
	}
	return fields
}
