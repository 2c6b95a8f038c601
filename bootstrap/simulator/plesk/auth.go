package plesk

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// caller is the authenticated sender of a packet.
type caller struct {
	login string
	admin bool
}

// single returns the value of a header that appears exactly once.
func single(h http.Header, name string) (string, bool) {
	values := h.Values(name)
	if len(values) != 1 {
		return "", false
	}
	return values[0], true
}

// authenticate returns the caller, or the code of the refusal.
//
// Assumed: KEY takes precedence over a login, and a request with neither gives
// 1029.
func (s *Server) authenticate(r *http.Request) (caller, int) {
	if s.switches.api == "off" {
		return caller{}, codeNoAccess
	}
	if key, ok := single(r.Header, "KEY"); ok {
		return s.byKey(key, r.RemoteAddr)
	}
	login, hasLogin := single(r.Header, "HTTP_AUTH_LOGIN")
	password, hasPassword := single(r.Header, "HTTP_AUTH_PASSWD")
	if s.switches.dropHeaders || (!hasLogin && !hasPassword) {
		return caller{}, codeNoAuth
	}
	if login == "" {
		return caller{}, codeWrongLogin
	}
	return s.byPassword(login, password)
}

func (s *Server) byKey(value, remote string) (caller, int) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return caller{}, codeKey
	}
	for _, k := range s.keys {
		if !lab.Same(k.Key, value) {
			continue
		}
		if k.IPAddress != "" && !slices.Contains(strings.Split(strings.ReplaceAll(k.IPAddress, " ", ""), ","), host) {
			return caller{}, codeKey
		}
		if k.Login == "" || strings.EqualFold(k.Login, AdminLogin) {
			return caller{login: AdminLogin, admin: true}, codeOK
		}
		return caller{login: k.Login}, codeOK
	}
	return caller{}, codeKey
}

// byPassword authenticates with a password. It counts failed logins, and refuses
// even the right password while the account is locked.
func (s *Server) byPassword(login, password string) (caller, int) {
	now := s.lab.Clock.Now()
	id := strings.ToLower(login)
	tries := s.logins[id]
	if tries == nil {
		tries = &attempts{}
		s.logins[id] = tries
	}
	if tries.lockedUntil.After(now) {
		return caller{}, codeLocked
	}
	expected, known := s.panel.Password(), id == AdminLogin
	a := s.alias(login)
	if a != nil {
		expected, known = a.Password, true
	}
	if !lab.Same(expected, password) || !known {
		tries.failed++
		if s.switches.lockAfter > 0 && tries.failed >= s.switches.lockAfter {
			tries.failed = 0
			tries.locks++
			tries.lockedUntil = now.Add(time.Duration(s.switches.lockSeconds) * time.Second)
		}
		return caller{}, codeWrongLogin
	}
	tries.failed = 0
	switch {
	case a == nil:
		return caller{login: AdminLogin, admin: true}, codeOK
	case a.Disabled:
		return caller{}, codeDisabled
	case s.switches.aliasAPI == "denied":
		// It is not documented whether an alias may use the XML API at all.
		return caller{}, codeNoPermission
	}
	return caller{login: a.Login}, codeOK
}
