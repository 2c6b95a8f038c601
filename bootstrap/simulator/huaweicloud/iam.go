package huaweicloud

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// timeLayout is the time format of IAM: RFC 3339 in UTC with microseconds.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// userStrikes wrong passwords in a row lock a user (IAM.0061).
const userStrikes = 5

// tokenLength is the approximate length of a project token without a catalog.
const tokenLength = 2800

// tokenRequest is the body of POST /v3/auth/tokens,
// https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html
type tokenRequest struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User struct {
					Name     string `json:"name"`
					Password string `json:"password"`
					Domain   struct {
						Name string `json:"name"`
					} `json:"domain"`
				} `json:"user"`
			} `json:"password"`
		} `json:"identity"`
		Scope *struct {
			Project *struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"project"`
			Domain *struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"domain"`
		} `json:"scope"`
	} `json:"auth"`
}

// keystone returns an error in the older format, whose code is a number.
func keystone(status int, message string) lab.Response {
	return JSON(status, map[string]any{"error": map[string]any{"code": status, "message": message, "title": http.StatusText(status)}})
}

// ServeHTTP serves IAM. Its only operation is getting a token.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	request, refusal := readTokenRequest(r, body)
	if refusal != nil {
		c.lab.Journal.Add(lab.Entry{System: Name, Operation: "token", Result: refusal.Result})
		lab.Send(w, refusal.Response)
		return
	}
	name := request.Auth.Identity.Password.User.Name
	c.mu.Lock()
	known := c.user(name) != nil
	refusal = c.throttleService(Name, name)
	c.mu.Unlock()
	if refusal != nil {
		c.lab.Journal.Add(lab.Entry{System: Name, Operation: "token", Result: refusal.Result})
		lab.Send(w, refusal.Response)
		return
	}
	if !known {
		name = "" // keep it out of the journal: clients can send anything, even a secret
	}
	c.lab.Serve(w, r, lab.Call{
		System: Name, Targets: []string{name}, Operation: "token", Class: lab.OpToken, Body: body,
		Execute: func() (lab.Response, []lab.Outcome) {
			response, result := c.issue(request, r.URL.Query().Get("nocatalog") != "")
			return response, []lab.Outcome{{Target: name, Result: result}}
		},
		Word: func(f lab.Fault) (lab.Response, string, bool) { return c.wordToken(f) },
	})
}

func readTokenRequest(r *http.Request, body []byte) (*tokenRequest, *Refusal) {
	bad := func(status int, message string) *Refusal {
		return &Refusal{Response: keystone(status, message), Result: strconv.Itoa(status)}
	}
	if r.URL.Path != "/v3/auth/tokens" {
		return nil, bad(http.StatusNotFound, "The resource could not be found.")
	}
	if r.Method != http.MethodPost {
		return nil, bad(http.StatusMethodNotAllowed, "The method is not allowed.")
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, bad(http.StatusUnsupportedMediaType, "The content type must be application/json.")
	}
	var request tokenRequest
	if err := lab.DecodeStrict(body, &request); err != nil {
		return nil, bad(http.StatusBadRequest, "The request body is invalid.")
	}
	identity, scope := request.Auth.Identity, request.Auth.Scope
	switch {
	case !slices.Equal(identity.Methods, []string{"password"}):
		return nil, bad(http.StatusBadRequest, "The method must be password.")
	case identity.Password.User.Name == "" || identity.Password.User.Password == "" || identity.Password.User.Domain.Name == "":
		return nil, bad(http.StatusBadRequest, "The user, the password and the domain are required.")
	case scope == nil || (scope.Project == nil) == (scope.Domain == nil):
		return nil, bad(http.StatusBadRequest, "The scope must be a project or a domain.")
	case scope.Project != nil && scope.Project.ID == "" && scope.Project.Name == "":
		return nil, bad(http.StatusBadRequest, "The project of the scope has no id and no name.")
	}
	return &request, nil
}

// issue checks the password and issues a token. A domain token has no project, so
// regional services refuse it.
func (c *Cloud) issue(request *tokenRequest, nocatalog bool) (lab.Response, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.lab.Clock.Now()
	u, err := c.login(request, now)
	switch {
	case errors.Is(err, errLocked):
		return Error(http.StatusUnauthorized, "IAM.0061", "The user has been locked."), "401 IAM.0061"
	case err != nil && c.switches.errorStyle == "iam":
		return Error(http.StatusUnauthorized, "IAM.0062", "The username or password is wrong."), "401 IAM.0062"
	case err != nil:
		return keystone(http.StatusUnauthorized, "The username or password is wrong."), "401"
	}
	t := &token{user: u, expires: now.Add(time.Duration(c.switches.tokenLifetime) * time.Second)}
	fields := map[string]any{
		"methods": []string{"password"}, "issued_at": now.Format(timeLayout), "expires_at": t.expires.Format(timeLayout),
		"user": map[string]any{"id": u.ID, "name": u.Name, "password_expires_at": ""}, "roles": []any{},
	}
	if scope := request.Auth.Scope.Project; scope != nil {
		p, known := c.project(scope.ID)
		if scope.ID == "" {
			p, known = c.project(scope.Name)
		}
		if !known || (len(u.Projects) > 0 && !slices.Contains(u.Projects, p.ID)) {
			return keystone(http.StatusUnauthorized, "The project is not found or not accessible."), "401"
		}
		t.project = p.ID
		fields["project"] = map[string]any{"id": p.ID, "name": p.Name}
	}
	if !nocatalog {
		fields["catalog"] = []any{map[string]any{"name": "dcs", "type": "dcs", "endpoints": []any{}}}
	}
	value := "MII" + lab.RandomText(tokenLength-5, lab.Alphanum+"+/-") + "=="
	c.tokens[value] = t
	u.tokens++
	response := JSON(http.StatusCreated, map[string]any{"token": fields})
	response.Header = http.Header{"X-Subject-Token": {value}, "X-Iam-Trace-Id": {"token_" + lab.RandomText(32, lab.Hex)}}
	return response, "201"
}

var (
	errLocked = errors.New("the user is locked")
	errWrong  = errors.New("wrong user or password")
)

func (c *Cloud) login(request *tokenRequest, now time.Time) (*user, error) {
	sent := request.Auth.Identity.Password.User
	u := c.user(sent.Name)
	if u == nil || sent.Domain.Name != c.domain {
		return nil, errWrong
	}
	if u.lockedUntil.After(now) {
		return nil, errLocked
	}
	if !lab.Same(u.Password, sent.Password) {
		u.failed++
		if u.failed >= userStrikes {
			u.failed = 0
			u.locks++
			u.lockedUntil = now.Add(time.Duration(c.switches.userLockSeconds) * time.Second)
		}
		return nil, errWrong
	}
	u.failed = 0
	return u, nil
}

// wordToken returns IAM's own answers for faults.
func (c *Cloud) wordToken(f lab.Fault) (lab.Response, string, bool) {
	switch f.Kind {
	case lab.Deny, lab.Refuse:
		if f.Variant == "forbidden" {
			return keystone(http.StatusForbidden, "You are not authorized to perform the requested action."), "403", true
		}
		return keystone(http.StatusUnauthorized, "The username or password is wrong."), "401", true
	case lab.Throttle:
		return Throttled(10), "429 APIGW.0308", true
	case lab.NoSuccess: // the right status, but no X-Subject-Token
		return JSON(http.StatusCreated, map[string]any{"token": map[string]any{}}), "201", true
	case lab.Busy:
		return keystone(http.StatusServiceUnavailable, "The service is unavailable."), "503", true
	case lab.Err500:
		return keystone(http.StatusInternalServerError, "An unexpected error prevented the server from fulfilling your request."), "500", true
	default:
		return lab.Response{}, "", false
	}
}
