package dcs

import (
	"io"
	"mime"
	"net/http"
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// answer is an answer of the API, with its code for the journal.
type answer struct {
	response lab.Response
	result   string
	applied  bool
}

func refuse(status int, code, message string) answer {
	return answer{response: huaweicloud.Error(status, code, message), result: code}
}

// route is a request that matches one of the operations.
type route struct {
	operation, class               string
	projectID, instanceID, account string
	request                        *passwordRequest // of a change
	login                          *loginRequest    // of a login to the Web CLI
	logout                         *logoutRequest
}

// match finds the operation of a path:
//
//	GET /v2/{project}/instances
//	GET /v2/{project}/instances/{instance}
//	GET /v2/{project}/instances/{instance}/accounts
//	PUT /v2/{project}/instances/{instance}/accounts/{account}/password/modify
//	PUT /v2/{project}/instances/{instance}/accounts/{account}/password/reset
//	POST /v2/{project}/instances/{instance}/webcli/auth
//	POST /v2/{project}/instances/{instance}/webcli/logout
func match(method, path string) (route, bool) {
	p := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(p) < 3 || p[0] != "v2" || p[1] == "" || p[2] != "instances" {
		return route{}, false
	}
	r := route{projectID: p[1], class: lab.OpCheck}
	if len(p) > 3 {
		r.instanceID = p[3]
	}
	switch {
	case method == http.MethodGet && len(p) == 3:
		r.operation, r.class = "instances", lab.OpList
	case method == http.MethodGet && len(p) == 4:
		r.operation = "instance"
	case method == http.MethodGet && len(p) == 5 && p[4] == "accounts":
		r.operation, r.class = "accounts", lab.OpList
	case method == http.MethodPut && len(p) == 8 && p[4] == "accounts" && p[6] == "password" && (p[7] == "modify" || p[7] == "reset"):
		r.operation, r.class, r.account = p[7], lab.OpChange, p[5]
	case method == http.MethodPost && len(p) == 6 && p[4] == "webcli" && (p[5] == "auth" || p[5] == "logout"):
		r.operation, r.class = "webcli-"+p[5], lab.OpLogin
	default:
		return route{}, false
	}
	return r, true
}

// ServeHTTP serves the API.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, huaweicloud.MaxBody+1))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	// The path as sent: an escaped slash does not separate segments.
	matched, ok := match(r.Method, r.URL.EscapedPath())
	if !ok {
		s.refuse(w, route{operation: "http"}, refuse(http.StatusNotFound, "APIGW.0101", "The API does not exist or has not been published in the environment"))
		return
	}
	if refusal := s.cloud.Admit(Name, r, body, matched.projectID); refusal != nil {
		s.refuse(w, matched, answer{response: refusal.Response, result: refusal.Result})
		return
	}
	if r.Method != http.MethodGet {
		if refusal := matched.read(r, body); refusal != nil {
			s.refuse(w, matched, *refusal)
			return
		}
	}
	if matched.login != nil {
		matched.account = s.accountNamed(matched.instanceID, matched.login.password())
	}
	s.lab.Serve(w, r, lab.Call{
		System: Name, Targets: []string{matched.target()}, Operation: matched.operation, Class: matched.class, Body: body, Password: matched.newPassword(),
		Execute: func() (lab.Response, []lab.Outcome) {
			a := s.execute(r, matched)
			return a.response, []lab.Outcome{{Target: matched.target(), Result: a.result, Applied: a.applied}}
		},
		Word: func(f lab.Fault) (lab.Response, string, bool) { return s.word(f, matched) },
	})
}

// refuse answers a request that did not become a call.
func (s *Service) refuse(w http.ResponseWriter, r route, a answer) {
	s.lab.Journal.Add(lab.Entry{System: Name, Target: r.target(), Operation: r.operation, Result: a.result})
	lab.Send(w, a.response)
}

func (r *route) target() string {
	if r.account == "" {
		return r.instanceID
	}
	return r.instanceID + "/" + r.account
}

// passwordRequest is the body of modify and reset.
type passwordRequest struct {
	Old *string `json:"old_password"`
	New *string `json:"new_password"`
}

// newPassword returns the new password of a change, or "" if there is none.
func (r *route) newPassword() string {
	if r.request == nil || r.request.New == nil {
		return ""
	}
	return *r.request.New
}

// read parses the body of a request. Assumed: unknown fields are refused.
func (r *route) read(request *http.Request, body []byte) *answer {
	media, params, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	charset := strings.ToLower(strings.ReplaceAll(params["charset"], "-", ""))
	if err != nil || media != "application/json" || (charset != "" && charset != "utf8") {
		a := refuse(http.StatusBadRequest, "APIGW.0201", "Bad request: the Content-Type must be application/json")
		return &a
	}
	var into any
	malformed := refuse(http.StatusBadRequest, "DCS.4005", "The message body contains invalid characters or is not in JSON format.")
	switch r.operation {
	case webCLIAuth:
		r.login = &loginRequest{}
		into = r.login
	case webCLILogout:
		r.logout = &logoutRequest{}
		into = r.logout
	default:
		r.request = &passwordRequest{}
		into = r.request
		malformed = refuse(http.StatusBadRequest, "DCS.4961", "Acl account request param invalid.")
	}
	if err := lab.DecodeStrict(body, into); err != nil {
		return &malformed
	}
	return nil
}

// word returns the service's own answers for faults.
func (s *Service) word(f lab.Fault, r route) (lab.Response, string, bool) {
	say := func(a answer) (lab.Response, string, bool) { return a.response, a.result, true }
	switch f.Kind {
	case lab.Refuse:
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.login != nil {
			return say(s.refuseWebCLI(s.instance(r.instanceID), r.login.password()))
		}
		return say(s.refusePassword(r.request))
	case lab.RejectTarget:
		return say(refuse(http.StatusNotFound, "DCS.3022", "The DCS instance does not exist."))
	case lab.Busy:
		s.mu.Lock()
		defer s.mu.Unlock()
		return say(refuse(http.StatusBadRequest, s.switches.busyCode, "The instance is busy with another operation."))
	case lab.Err500:
		return say(refuse(http.StatusInternalServerError, "DCS.5000", "Internal service error."))
	case lab.NoSuccess:
		if r.operation != "modify" { // other operations have no result field, so use an error body
			return say(refuse(http.StatusOK, "DCS.5000", "Internal service error."))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return say(s.result("failed", "Modify DCSInstance password failed.", "0", "0", "5"))
	default:
		return huaweicloud.Word(f)
	}
}
