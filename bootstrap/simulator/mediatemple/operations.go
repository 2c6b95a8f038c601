package mediatemple

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// answer is an answer of the API, with its code for the journal.
type answer struct {
	response lab.Response
	result   string
	applied  bool
}

// failure is an error of the API.
type failure struct {
	status        int
	code, message string
}

// The errors of the API. Assumed: all messages except that of authError, and the
// codes that are not documented (401 and 503).
var (
	authError       = failure{http.StatusForbidden, "AuthError", "Unable to authenticate user"}
	notPermitted    = failure{http.StatusUnauthorized, "NotPermitted", "The user is not permitted to do this"}
	invalidService  = failure{http.StatusNotFound, "InvalidService", "The service id is not valid"}
	invalidPassword = failure{http.StatusBadRequest, "InvalidPassword", "The password is not valid"}
	noPlesk         = failure{http.StatusMethodNotAllowed, "PleskNotAvailable", "Plesk is not available on this service"}
	pending         = failure{http.StatusConflict, "OperationPending", "A conflicting operation is pending; this one cannot be scheduled until it has completed"}
	unknown         = failure{http.StatusInternalServerError, "UnknownError", "An unexpected error has occurred"}
	unavailable     = failure{http.StatusServiceUnavailable, "ServiceUnavailable", "The service is not available"}
)

type apiError struct {
	ErrorCode string `json:"errorCode"`
	Message   string `json:"message"`
}

type envelope struct {
	StatusCode int        `json:"statusCode"`
	TimeStamp  int64      `json:"timeStamp"` // milliseconds
	Date       string     `json:"date"`
	Errors     []apiError `json:"errors"`
	Custom     []string   `json:"custom"`
}

// dateLayout is the layout of the documented sample, 2010-09-16T03:52:54.311+0000.
const dateLayout = "2006-01-02T15:04:05.000-0700"

// envelope builds every answer except a 200 to a GET. Assumed: wrapRoot=false does
// not affect it. The caller holds mu.
func (a *API) envelope(status int, errs ...apiError) lab.Response {
	now := a.lab.Clock.Now()
	e := envelope{StatusCode: status, TimeStamp: now.UnixMilli(), Date: now.Format(dateLayout), Errors: []apiError{}, Custom: []string{}}
	e.Errors = append(e.Errors, errs...)
	response := encode(map[string]any{"response": e}, false)
	response.Status = status
	if a.switches.httpStatus != 0 {
		response.Status = a.switches.httpStatus
	}
	return response
}

func encode(value any, pretty bool) lab.Response {
	body, err := json.Marshal(value)
	if pretty && err == nil {
		body, err = json.MarshalIndent(value, "", "  ")
	}
	if err != nil { // cannot happen: callers pass only maps and structs of plain values
		panic(fmt.Sprintf("encoding an answer: %v", err))
	}
	return lab.Response{Status: http.StatusOK, Type: "application/json", Body: body}
}

// say returns the answer for an error.
func (a *API) say(f failure) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fail(f)
}

// fail is like say, for callers that hold mu.
func (a *API) fail(f failure) answer {
	return answer{response: a.envelope(f.status, apiError{ErrorCode: f.code, Message: f.message}), result: f.code}
}

// page returns an answer of the web server in front of the API.
func page(status int) answer {
	text := http.StatusText(status)
	return answer{result: strconv.Itoa(status), response: lab.Response{Status: status, Type: "text/html",
		Body: []byte("<html><head><title>" + text + "</title></head><body><h1>" + text + "</h1></body></html>\n")}}
}

// shape is the answer format that a request asks for. The other documented
// parameters (fieldList, excludeList, includeList) are not simulated.
type shape struct {
	bare, pretty bool
}

func newShape(query url.Values) shape {
	return shape{bare: query.Get("wrapRoot") == "false", pretty: query.Get("prettyPrint") == "true"}
}

func (s shape) of(root string, value any) lab.Response {
	if s.bare {
		return encode(value, s.pretty)
	}
	return encode(map[string]any{root: value}, s.pretty)
}

// execute runs the operation of a request. Assumed: the order of the checks.
func (a *API) execute(who *account, r route, password string, as shape) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch r.operation {
	case "services", "ids":
		return a.list(who, r.operation, as)
	}
	s := a.service(r.id)
	if s == nil {
		return a.fail(invalidService)
	}
	if s.account != who {
		return a.fail(map[string]failure{"403": authError, "404": invalidService, "401": notPermitted}[a.switches.foreign])
	}
	if r.class != lab.OpChange {
		return answer{response: as.of("service", s.describe()), result: "ok"}
	}
	return a.change(s, r.kind, password)
}

func (a *API) change(s *service, kind, password string) answer {
	c := &s.root
	if kind == panel {
		c = &s.plesk
	}
	switch {
	case kind == panel && !s.HasPlesk:
		return a.fail(noPlesk)
	case a.switches.maintenance:
		return a.fail(unavailable)
	case !acceptable(a.switches.rules, kind, password):
		f := invalidPassword
		if a.switches.echo {
			f.message += ": " + password
		}
		return a.fail(f)
	case a.pending(s, c):
		return a.fail(pending)
	}
	// The journal counts a change as applied once it is queued, unless its job is going to fail.
	applied := a.accept(c, password)
	return answer{response: a.envelope(http.StatusAccepted), result: "202", applied: applied}
}

func (a *API) list(who *account, operation string, as shape) answer {
	ids, services := []int64{}, []map[string]any{}
	for _, s := range a.services {
		if s.account == who {
			ids, services = append(ids, s.ID), append(services, s.describe())
		}
	}
	if operation == "ids" {
		return answer{response: as.of("serviceIds", ids), result: "ok"}
	}
	return answer{response: as.of("services", services), result: "ok"}
}

// describe uses the types of the documented sample: ids are numbers, states are
// strings of digits. Only an add-on shows that a service has Plesk.
func (s *service) describe() map[string]any {
	addons := []map[string]any{}
	if s.HasPlesk {
		addons = append(addons, map[string]any{"id": 258, "description": "Plesk 9.5 with 30 domains"})
	}
	serviceType := 668
	if s.HasPlesk {
		serviceType = 605
	}
	return map[string]any{
		"id": s.ID, "serviceType": serviceType, "serviceTypeName": s.TypeName, "ipAddresses": []string{s.IPAddress},
		"hostServer": "vz000.mediatemple.net", "billingStatus": "0", "billingStatusText": "OPEN", "operatingSystem": "1002",
		"operatingSystemName": "Centos 5", "accessDomain": nil, "primaryDomain": s.PrimaryDomain, "pendingReboot": "0", "addons": addons,
	}
}

// word returns the API's own answers for faults.
func (a *API) word(f lab.Fault) (lab.Response, string, bool) {
	say := func(f failure) (lab.Response, string, bool) {
		worded := a.say(f)
		return worded.response, worded.result, true
	}
	switch f.Kind {
	case lab.Refuse:
		return say(invalidPassword)
	case lab.RejectTarget:
		return say(invalidService)
	case lab.Busy:
		return say(pending)
	case lab.Deny:
		if f.Variant == "forbidden" {
			return say(notPermitted)
		}
		return say(authError)
	case lab.Err500:
		return say(unknown)
	case lab.NoSuccess: // clients are told to check that both statuses match
		response, result, ok := say(unknown)
		response.Status = http.StatusOK
		return response, result, ok
	case lab.Throttle: // from a gateway in front of the API, which itself never throttles
		return lab.Response{Status: http.StatusTooManyRequests, Type: "application/json",
			Body: []byte(`{"message":"Too Many Requests"}`)}, "429", true
	default:
		return lab.Response{}, "", false
	}
}
