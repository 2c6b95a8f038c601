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
	// logins were made, and known are all passwords of the role.
	logins []role.LoginResult
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

// Made records the logins that were made. known are all passwords of the role.
func (r *Request) Made(logins []role.LoginResult, known []credential.Listed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logins, r.known = logins, known
}

// Results returns what the logins have shown, or nothing if that is not known yet. until is when more logins can be made, if too
// many were refused; otherwise zero.
func (r *Request) Results() (out []Tried, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	tried := map[int]bool{}
	for _, l := range r.logins {
		tried[l.Version] = true
		one := Tried{Version: l.Version, Server: l.Part, Verdict: string(l.Verdict), Reason: l.Reason}
		if !l.Until.IsZero() {
			one.Verdict, until = NotTried, timing.Later(until, l.Until)
		}
		out = append(out, one)
	}
	for _, other := range r.known {
		if !tried[other.Version] {
			out = append(out, Tried{Version: other.Version, Verdict: NotTried, Reason: explain.NoLogin(r.Role, r.All)})
		}
	}
	return out, until
}
