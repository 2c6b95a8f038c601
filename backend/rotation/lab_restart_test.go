package rotation

import (
	"context"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/verify"
)

// restarts is a remote system whose servers take a new password at their next restart. A restart takes a minute.
type restarts struct {
	*remote

	mu       sync.Mutex
	pending  string
	inForce  map[string]string    // by server
	began    map[string]time.Time // running restarts
	requests []string             // servers, in the order of the requests
	most     int                  // restarts at a time
	// answer decides the result of a request, and whether the server restarts; nil: all do.
	answer func(part string) (provider.Result, bool)
	// held is the answer to each look at a server; without an outcome, it is looked at.
	held provider.Result
	// never: servers that do not come back. failing: servers whose restart fails.
	never, failing map[string]bool
}

func (r *restarts) Change(ctx context.Context, c provider.Change) provider.Result {
	r.mu.Lock()
	r.pending = c.NewPassword
	r.mu.Unlock()
	if result := r.remote.Change(ctx, c); result.Outcome != provider.Applied {
		return result
	}
	return needsRestart
}

func (r *restarts) Restart(_ context.Context, _ provider.Target, restart provider.Restart) (provider.Result, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result, carriedOut := applied, true
	if r.answer != nil {
		result, carriedOut = r.answer(restart.Part)
	}
	r.requests = append(r.requests, restart.Part)
	if carriedOut {
		r.began[restart.Part] = time.Now()
		r.inForce[restart.Part] = r.pending
		r.most = max(r.most, r.running())
	}
	if result.Outcome != provider.Applied {
		return result, ""
	}
	return result, "job-" + restart.Part
}

// throttle sets the answer to each look at a server.
func (r *restarts) throttle(answer provider.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = answer
}

// running returns how many restarts are running. r.mu must be held.
func (r *restarts) running() (n int) {
	for _, at := range r.began {
		if time.Since(at) < time.Minute {
			n++
		}
	}
	return n
}

func (r *restarts) Follow(_ context.Context, _ provider.Target, restart provider.Restart) (provider.Result, provider.Progress, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, known := r.began[restart.Part]
	known = known && !at.Before(restart.Since)
	switch {
	case r.held.Outcome != "":
		return r.held, provider.Restarting, restart.Job
	case r.failing[restart.Part]:
		return provider.Result{Outcome: provider.Applied, Reason: "the job failed"}, provider.RestartFailed, restart.Job
	case r.never[restart.Part], !known, time.Since(at) < time.Minute:
		return applied, provider.Restarting, restart.Job
	default:
		return applied, provider.Restarted, restart.Job
	}
}

// change changes fields while an engine may use them.
func (r *restarts) change(change func(*restarts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// answers sets how requests are answered.
func (r *restarts) answers(answer func(part string) (provider.Result, bool)) {
	r.change(func(r *restarts) { r.answer = answer })
}

// asked returns the servers whose restart was requested.
func (r *restarts) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.requests...)
}

// login logs in to the server that the address names.
func (r *restarts) login(_ context.Context, l verify.Login) provider.Proof {
	r.mu.Lock()
	defer r.mu.Unlock()
	part := l.Address[:1]
	switch at, ok := r.began[part]; {
	case r.never[part] || ok && time.Since(at) < time.Minute:
		return shut
	case r.inForce[part] == l.Password:
		return provider.Proof{Verdict: provider.Works, Reason: "the login succeeded"}
	default:
		return provider.Proof{Verdict: provider.Refused, Reason: "the server refused the password"}
	}
}

// restarting makes the engine restart three servers after a change.
func (r *rig) restarting() *restarts {
	r.remote.parts, r.remote.restart = []string{"a", "b", "c"}, provider.RestartSoft
	r.remote.servers = &restarts{
		remote: r.remote, inForce: map[string]string{}, began: map[string]time.Time{}, never: map[string]bool{}, failing: map[string]bool{},
	}
	r.remote.logins = []provider.Login{{Kind: provider.LoginRedis, Address: "x.example:22"}}
	r.login = r.remote.servers.login
	r.restart()
	return r.remote.servers
}

// provedServers are the options of a role whose password is proved on three servers.
func provedServers(o *role.Options) {
	proved(o)
	o.VerifyAddress = "a=a.example:22\nb=b.example:22\nc=c.example:22"
}
