package mediatemple

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Path is the prefix of all paths of the API.
const Path = "/api/v1"

// The passwords of a service, as named in targets.
const (
	root  = "root"
	panel = "plesk"
)

// maxBody limits the size of a request body.
const maxBody = 64 << 10

// route is a request that matches one of the operations.
type route struct {
	operation, class string
	method           string
	id               string // as in the path
	kind             string // root or plesk
	suffix           bool   // the path ends in .json
}

// match finds the operation of a path:
//
//	GET /api/v1/services
//	GET /api/v1/services/ids
//	GET /api/v1/services/{id}
//	PUT /api/v1/services/{id}/rootPassword
//	PUT /api/v1/services/{id}/pleskPassword
//
// Each path can have the suffix .json. Other operations are not simulated.
func match(path string) (route, bool) {
	rest, below := strings.CutPrefix(path, Path+"/")
	rest, suffix := strings.CutSuffix(rest, ".json")
	p := strings.Split(rest, "/")
	if !below || p[0] != "services" || len(p) > 3 || (len(p) > 1 && p[1] == "") {
		return route{}, false
	}
	r := route{operation: "services", class: lab.OpList, method: http.MethodGet, suffix: suffix}
	switch {
	case len(p) == 1:
	case len(p) == 2 && p[1] == "ids":
		r.operation = "ids"
	case len(p) == 2:
		r.operation, r.class, r.id = "service", lab.OpCheck, p[1]
	case p[2] == "rootPassword":
		r.operation, r.class, r.method, r.id, r.kind = p[2], lab.OpChange, http.MethodPut, p[1], root
	case p[2] == "pleskPassword":
		r.operation, r.class, r.method, r.id, r.kind = p[2], lab.OpChange, http.MethodPut, p[1], panel
	default:
		return route{}, false
	}
	return r, true
}

// target returns "id/root", "id/plesk", the id, or "". An invalid id yields "",
// which keeps arbitrary text from clients out of the journal.
func (r *route) target() string {
	if n, err := strconv.ParseInt(r.id, 10, 64); err != nil || strconv.FormatInt(n, 10) != r.id {
		return ""
	}
	if r.kind == "" {
		return r.id
	}
	return r.id + "/" + r.kind
}

// ServeHTTP serves the API.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	query, queryErr := url.ParseQuery(r.URL.RawQuery)
	// The path as sent: an escaped slash does not separate segments.
	matched, ok := match(r.URL.EscapedPath())
	// Assumed: the web server refuses these requests before they reach the API, without its envelope.
	switch {
	case !ok:
		a.refuse(w, route{operation: "http"}, page(http.StatusNotFound))
		return
	case queryErr != nil:
		a.refuse(w, matched, page(http.StatusBadRequest))
		return
	case method(r, query) != matched.method:
		refusal := page(http.StatusMethodNotAllowed)
		refusal.response.Header = http.Header{"Allow": {matched.method}}
		a.refuse(w, matched, refusal)
		return
	case len(body) > maxBody:
		a.refuse(w, matched, page(http.StatusRequestEntityTooLarge))
		return
	case !speaksJSON(r, query, &matched):
		status := http.StatusNotAcceptable
		if matched.class == lab.OpChange {
			status = http.StatusUnsupportedMediaType
		}
		a.refuse(w, matched, page(status))
		return
	}
	who := a.authenticate(r, query)
	if who == nil {
		a.refuse(w, matched, a.say(authError))
		return
	}
	password := ""
	if matched.class == lab.OpChange {
		if password, err = read(body); err != nil {
			a.refuse(w, matched, a.say(invalidPassword))
			return
		}
	}
	a.lab.Serve(w, r, lab.Call{
		System: Name, Targets: []string{matched.target()}, Operation: matched.operation, Class: matched.class, Body: body, Password: password,
		Execute: func() (lab.Response, []lab.Outcome) {
			done := a.execute(who, matched, password, newShape(query))
			return done.response, []lab.Outcome{{Target: matched.target(), Result: done.result, Applied: done.applied}}
		},
		Word: a.word,
	})
}

// refuse answers a request that did not become a call.
func (a *API) refuse(w http.ResponseWriter, r route, refusal answer) {
	a.lab.Journal.Add(lab.Entry{System: Name, Target: r.target(), Operation: r.operation, Result: refusal.result})
	lab.Send(w, refusal.response)
}

// method returns the effective method: a POST can override it with _method.
func method(r *http.Request, query url.Values) string {
	if override := query.Get("_method"); r.Method == http.MethodPost && override != "" {
		return strings.ToUpper(override)
	}
	return r.Method
}

// speaksJSON reports whether a request asks for JSON, the only format that is
// simulated: by suffix or parameter, or else by Accept. The body of a change must
// be JSON in any case, according to its Content-Type.
func speaksJSON(r *http.Request, query url.Values, matched *route) bool {
	if format := query.Get("_format"); format != "" && format != "json" {
		return false
	}
	if matched.class == lab.OpChange {
		media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		charset := strings.ToLower(strings.ReplaceAll(params["charset"], "-", ""))
		return err == nil && media == "application/json" && (charset == "" || charset == "utf8")
	}
	if matched.suffix || query.Get("_format") == "json" || len(r.Header.Values("Accept")) == 0 {
		return true
	}
	for accepted := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		media, _, err := mime.ParseMediaType(accepted)
		if err == nil && (media == "application/json" || media == "application/*" || media == "*/*") {
			return true
		}
	}
	return false
}

// authenticate returns the account that the key of a request belongs to, or nil.
// Assumed: a header takes precedence over a parameter.
func (a *API) authenticate(r *http.Request, query url.Values) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	inURL := query["apikey"]
	if len(inURL) > 0 {
		a.keysInURL++
	}
	if headers := r.Header.Values("Authorization"); len(headers) > 0 {
		key, ok := strings.CutPrefix(headers[0], "MediaTemple ")
		if !ok || len(headers) > 1 {
			return nil
		}
		return a.owner(key)
	}
	if len(inURL) != 1 || a.switches.queryKey == "refused" {
		return nil
	}
	return a.owner(inURL[0])
}

// read parses the body of a change, an object with the single field password.
// Assumed: other fields and empty passwords are refused.
func read(body []byte) (string, error) {
	fields := map[string]json.RawMessage{} // a struct would accept "Password" too
	if !json.Valid(body) || json.Unmarshal(body, &fields) != nil || len(fields) != 1 {
		return "", errors.New("the body is not an object with a single field")
	}
	var password *string
	if err := json.Unmarshal(fields["password"], &password); err != nil || password == nil || *password == "" {
		return "", errors.New("the body has no password")
	}
	return *password, nil
}
