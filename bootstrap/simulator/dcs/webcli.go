package dcs

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Operations of the Web CLI.
const (
	webCLIAuth   = "webcli-auth"
	webCLILogout = "webcli-logout"
)

// sessionTime is how long a session of the Web CLI lasts without a command:
// https://support.huaweicloud.com/intl/en-us/tr-central-201-usermanual-dcs/dcs-ug-0312008.html
const sessionTime = 5 * time.Minute

type loginRequest struct {
	Password *string `json:"password"`
}

func (r *loginRequest) password() string {
	if r.Password == nil {
		return ""
	}
	return *r.Password
}

type logoutRequest struct {
	ClientID *string `json:"client_id"`
}

// version returns the major version of Redis.
func (i *instance) version() int {
	major, _, _ := strings.Cut(i.EngineVersion, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0
	}
	return n
}

// accountNamed returns the id of the account that a login with one string is for,
// or "".
func (s *Service) accountNamed(instanceID, secret string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.instance(instanceID); i != nil {
		if a := i.named(secret); a != nil {
			return a.ID
		}
	}
	return ""
}

// enterWebCLI logs in to the Web CLI of an instance. Assumed: it takes what AUTH
// takes (see the switch webcli_login), any password if the instance is
// password-free, and the codes of all refusals.
func (s *Service) enterWebCLI(i *instance, r *loginRequest) answer {
	now := s.lab.Clock.Now()
	switch {
	case i.Status != "RUNNING":
		return refuse(http.StatusBadRequest, "DCS.4049", "The DCS instance is not running.")
	case i.version() < 4:
		return refuse(http.StatusBadRequest, "DCS.4022", "The engine version does not support the operation.")
	case i.NoPassword:
		return i.newSession(now)
	case r.password() == "":
		return refuse(http.StatusBadRequest, "DCS.4845", "The password is missing or invalid.")
	}
	if a := i.named(r.password()); s.switches.webCLICounts && a != nil && a.lockedUntil.After(now) {
		return refuse(http.StatusBadRequest, "DCS.4115", "The account is locked.")
	}
	a := s.find(i, []string{r.password()})
	if a == nil || a.Type != "default" && s.switches.webCLI == "default" {
		return s.refuseWebCLI(i, r.password())
	}
	return i.newSession(now)
}

// refuseWebCLI counts and refuses a wrong password. i may be nil.
func (s *Service) refuseWebCLI(i *instance, secret string) answer {
	var a *account
	if i != nil {
		a = i.named(secret)
	}
	s.refused(a, true)
	if a != nil && s.switches.webCLICounts {
		a.strike(s.lab.Clock.Now())
	}
	message := "Password verification failed."
	if s.switches.echo {
		message += " password=" + secret
	}
	switch s.switches.webCLIRefusal {
	case "401":
		return refuse(http.StatusUnauthorized, "DCS.4080", message)
	case "403":
		return refuse(http.StatusForbidden, "DCS.4080", message)
	case "500":
		return refuse(http.StatusInternalServerError, "DCS.5000", "Internal service error.")
	}
	return refuse(http.StatusBadRequest, "DCS.4080", message)
}

func (i *instance) newSession(now time.Time) answer {
	id := lab.RandomUUID()
	i.sessions[id] = now.Add(sessionTime)
	return answer{response: huaweicloud.JSON(http.StatusOK, map[string]any{"client_id": id, "databases": 256}), result: "ok"}
}

// leaveWebCLI ends a session. Assumed: the refusal of an unknown one.
func (s *Service) leaveWebCLI(i *instance, r *logoutRequest) answer {
	i.open(s.lab.Clock.Now())
	if r.ClientID == nil || i.sessions[*r.ClientID].IsZero() {
		return refuse(http.StatusBadRequest, "DCS.4005", "Invalid client_id in the request.")
	}
	delete(i.sessions, *r.ClientID)
	return answer{response: lab.Response{Status: http.StatusNoContent}, result: "ok"}
}

// open ends the sessions that are over and returns how many are open.
func (i *instance) open(now time.Time) int {
	for id, end := range i.sessions {
		if !end.After(now) {
			delete(i.sessions, id)
		}
	}
	return len(i.sessions)
}
