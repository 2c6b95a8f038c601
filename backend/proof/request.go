package proof

import (
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Request is an operator's request to log in, and what came of it. Its methods may be called concurrently, because the request
// may end first.
type Request struct {
	provider.Hidden
	Role string
	// All: all passwords are tried.
	All bool

	mu sync.Mutex
	// logins were made at parts, and known are all passwords of the role.
	logins []role.LoginResult
	parts  []string
	known  []credential.Listed
}

// Tried is what is known of one password, on one server if the account has several.
type Tried struct {
	Version int
	Server  string
	// Verdict is one of those of package provider, or NotTried.
	Verdict, Reason string
}

// NotTried: no login was made with the password.
const NotTried = "not_tried"

// Made records the logins that were made at the parts of the account. known are all passwords of the role.
func (r *Request) Made(logins []role.LoginResult, parts []string, known []credential.Listed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logins, r.parts, r.known = logins, parts, known
	if len(parts) == 0 {
		r.parts = []string{""}
	}
}

// Results returns what the logins have shown, or nothing if that is not known yet. until is when more logins can be made, if too
// many were refused; otherwise zero.
func (r *Request) Results() (out []Tried, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, part := range r.parts {
		tried, last := map[int]bool{}, role.LoginResult{}
		for _, l := range r.logins {
			if l.Part != part {
				continue
			}
			tried[l.Version], last = true, l
			one := Tried{Version: l.Version, Server: part, Verdict: string(l.Verdict), Reason: l.Reason}
			if l.Blocked() {
				one.Verdict, until = NotTried, timing.Later(until, l.Until)
			}
			out = append(out, one)
		}
		for _, other := range r.known {
			if !tried[other.Version] {
				out = append(out, Tried{Version: other.Version, Server: part, Verdict: NotTried, Reason: explain.NoLogin(r.Role, r.All, other, last)})
			}
		}
	}
	return out, until
}
