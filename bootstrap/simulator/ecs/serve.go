package ecs

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// answer is an answer of an API, with its code for the journal.
type answer struct {
	response lab.Response
	result   string
	applied  bool
	// outcomes holds the result for each host, if they differ.
	outcomes []lab.Outcome
}

func ok(value any) answer {
	return answer{response: huaweicloud.JSON(http.StatusOK, value), result: "ok"}
}

// operation is an operation of an API.
type operation struct {
	name   string // its name in the documentation
	class  string
	action string // the IAM action that the caller needs
	method string
	path   string // relative to /v1/{project_id}; {id} matches any segment
	empty  any    // a success that names no object, or nil if there is none
	// prepare parses and checks the request without regard to the state of hosts.
	// It returns a refusal or completes the request.
	prepare func(*Service, *request) *answer
}

// request is a request to an operation.
type request struct {
	*operation
	api           *api
	projectID, id string
	query         url.Values
	header        http.Header
	body          []byte

	class    string        // of this request; may differ from the operation's
	targets  []string      // ids of the hosts that it concerns
	password *string       // the new password, if there is one
	run      func() answer // handles the request; the caller holds mu and has called settle
}

// api is one of the services.
type api struct {
	operations []*operation
	failure    func(status int, code, message string) lab.Response // an error in the service's format
	password   string                                              // its code for a weak password
	parameter  string                                              // its code for an invalid request
	internal   string                                              // its code for an internal error
	missing    func(s *Service, r *request) answer                 // its answer for an unknown host
	busy       func(s *Service, r *request) answer                 // its answer for a busy host
}

func (a *api) refuse(status int, code, message string) answer {
	return answer{response: a.failure(status, code, message), result: code}
}

// invalid refuses a malformed request.
func (a *api) invalid(message string) *answer {
	refusal := a.refuse(http.StatusBadRequest, a.parameter, message)
	return &refusal
}

// weak refuses a weak password.
func (a *api) weak(s *Service, r *request) answer {
	message := "The password does not meet the complexity requirements."
	if s.switches.echo && r.password != nil {
		message += " new_password=" + *r.password
	}
	return a.refuse(http.StatusBadRequest, a.password, message)
}

// CloudDC returns the handler of CloudDC, clouddc.{region}.
func (s *Service) CloudDC() http.Handler { return s.handler(metal) }

// CloudServers returns the handler of Elastic Cloud Server, ecs.{region}.
func (s *Service) CloudServers() http.Handler { return s.handler(cloud) }

// actions returns the IAM actions that the switch "denied" accepts.
func actions() []string {
	var all []string
	for _, o := range slices.Concat(metal.operations, cloud.operations) {
		all = append(all, o.action)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *Service) handler(a *api) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, httpRequest *http.Request) {
		body, err := io.ReadAll(io.LimitReader(httpRequest.Body, huaweicloud.MaxBody+1))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		// The path as sent: an escaped slash does not separate segments.
		r, found := a.match(httpRequest.Method, httpRequest.URL.EscapedPath())
		if !found {
			s.refuse(w, r, gateway(http.StatusNotFound, "APIGW.0101", "The API does not exist or has not been published in the environment"))
			return
		}
		r.query, r.header, r.body = httpRequest.URL.Query(), httpRequest.Header, body
		if refusal := s.admit(httpRequest, r); refusal != nil {
			s.refuse(w, r, *refusal)
			return
		}
		s.lab.Serve(w, httpRequest, lab.Call{
			System: Name, Targets: r.targets, Operation: r.name, Class: r.class, Body: body, Password: text(r.password),
			Execute: func() (lab.Response, []lab.Outcome) { return s.execute(r) },
			Word:    func(f lab.Fault) (lab.Response, string, bool) { return s.word(f, r) },
		})
	})
}

// match finds the operation of a path. If there is none, the request's operation is
// "http".
func (a *api) match(method, path string) (*request, bool) {
	p := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(p) > 2 && p[0] == "v1" && p[1] != "" {
		for _, o := range a.operations {
			if id, matches := fits(o.path, p[2:]); matches && o.method == method {
				return &request{operation: o, api: a, projectID: p[1], id: id, class: o.class}, true
			}
		}
	}
	return &request{operation: &operation{name: "http"}, api: a}, false
}

// fits compares segments with a pattern and returns the segment that matches {id}.
// Fixed paths come first in the tables, so that {id} does not match them.
func fits(pattern string, segments []string) (id string, matches bool) {
	words := strings.Split(pattern, "/")
	if len(words) != len(segments) {
		return "", false
	}
	for i, word := range words {
		switch {
		case word == "{id}" && segments[i] != "":
			id = segments[i]
		case word != segments[i]:
			return "", false
		}
	}
	return id, true
}

// admit refuses a request that the caller may not send or that is malformed.
func (s *Service) admit(httpRequest *http.Request, r *request) *answer {
	if refusal := s.cloud.Admit(Name, httpRequest, r.body, r.projectID); refusal != nil {
		return &answer{response: refusal.Response, result: refusal.Result}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if slices.Contains(s.switches.denied, r.action) {
		refusal := gateway(http.StatusForbidden, "APIGW.0302", "The IAM user is not authorized to access the API")
		if r.api == cloud {
			refusal = cloud.refuse(http.StatusForbidden, "Ecs.0003", "You do not have permission to perform this operation.")
		}
		return &refusal
	}
	return r.prepare(s, r)
}

func gateway(status int, code, message string) answer {
	return answer{response: huaweicloud.Error(status, code, message), result: code}
}

// refuse answers a request that did not become a call.
func (s *Service) refuse(w http.ResponseWriter, r *request, a answer) {
	targets := r.targets
	if len(targets) == 0 {
		targets = []string{r.id}
	}
	for _, target := range targets {
		s.lab.Journal.Add(lab.Entry{System: Name, Target: target, Operation: r.name, Result: a.result})
	}
	lab.Send(w, a.response)
}

func (s *Service) execute(r *request) (lab.Response, []lab.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	a := r.run()
	if a.outcomes != nil {
		return a.response, a.outcomes
	}
	targets := r.targets
	if len(targets) == 0 {
		targets = []string{""}
	}
	var outcomes []lab.Outcome
	for _, target := range targets {
		outcomes = append(outcomes, lab.Outcome{Target: target, Result: a.result, Applied: a.applied})
	}
	return a.response, outcomes
}

// decode parses the body of a request. Assumed: unknown fields are refused.
func (r *request) decode(into any) *answer {
	media, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	charset := strings.ToLower(strings.ReplaceAll(params["charset"], "-", ""))
	if err != nil || media != "application/json" || (charset != "" && charset != "utf8") {
		refusal := gateway(http.StatusBadRequest, "APIGW.0201", "Bad request: the Content-Type must be application/json")
		return &refusal
	}
	if err := lab.DecodeStrict(r.body, into); err != nil {
		return r.api.invalid("The request body is not as documented.")
	}
	return nil
}

// only refuses query parameters that are not documented. Assumed: the real
// services may ignore them.
func (r *request) only(names ...string) *answer {
	for name, values := range r.query {
		if !slices.Contains(names, name) || len(values) != 1 {
			return r.api.invalid("Invalid query parameter.")
		}
	}
	return nil
}

// unique removes duplicate ids. Assumed: an id that is named twice counts once.
func unique(ids []string) []string {
	var result []string
	for _, id := range ids {
		if !slices.Contains(result, id) {
			result = append(result, id)
		}
	}
	return result
}

// own returns the hosts of a project by id, with nil for those that it does not
// have.
func (s *Service) own(metalHosts bool, projectID string, ids []string) []*host {
	hosts := make([]*host, len(ids))
	for i, id := range ids {
		if h := s.host(id); h != nil && h.metal == metalHosts && h.projectID == projectID {
			hosts[i] = h
		}
	}
	return hosts
}

// word returns the services' own answers for faults.
func (s *Service) word(f lab.Fault, r *request) (lab.Response, string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	say := func(a answer) (lab.Response, string, bool) { return a.response, a.result, true }
	switch f.Kind {
	case lab.Refuse:
		return say(r.api.weak(s, r))
	case lab.RejectTarget:
		return say(r.api.missing(s, r))
	case lab.Busy:
		return say(r.api.busy(s, r))
	case lab.Err500:
		return say(r.api.refuse(http.StatusInternalServerError, r.api.internal, "A system exception occurred. Try again later."))
	case lab.NoSuccess:
		if r.empty != nil {
			return say(answer{response: huaweicloud.JSON(http.StatusOK, r.empty), result: "none"})
		}
		return say(r.api.refuse(http.StatusOK, r.api.internal, "A system exception occurred. Try again later."))
	default:
		return huaweicloud.Word(f)
	}
}

// objects is a list of {"id":…}, a format that both services use.
type objects []struct {
	ID string `json:"id"`
}

func (o objects) ids() []string {
	ids := make([]string, len(o))
	for i, object := range o {
		ids[i] = object.ID
	}
	return ids
}

// text returns a string field of a body, or "" if it is absent or null.
func text(raw *string) string {
	if raw == nil {
		return ""
	}
	return *raw
}
