package rotation

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/registry"
)

// victimHosts are the addresses of the remote systems that team A uses. All others are team B's own.
var victimHosts = map[string]bool{
	"dcs.a.example:443": true, "iam.a.example:443": true, "panel.a.example:8443": true,
	"dcs.ap-southeast-3.myhuaweicloud.com:443": true, "ecs.ap-southeast-3.myhuaweicloud.com:443": true,
	"clouddc.ap-southeast-3.myhuaweicloud.com:443": true, "iam.ap-southeast-3.myhuaweicloud.com:443": true,
}

// right is the secret of all credentials of team A.
const right = "the-right-Secret.1"

// remotes are the remote systems of two teams: the real providers, but for their calls. What those of team A answer depends
// only on the time. Those of team B answer at random.
type remotes struct {
	mu    sync.Mutex
	began time.Time
	// faults of the systems of team A.
	faults []remoteFault
	// random is team B's.
	random *mathrand.Rand
	// calls are those of team A, for each login and host.
	calls map[string][]string
	// refused are the refusals in a row of each login and key, of anybody. locked is the first one of which there were five.
	refused map[string]refusedInRow
	locked  string
}

type refusedInRow struct {
	n    int
	last time.Time
}

// remoteFault is how the system at a host of team A answers for a while.
type remoteFault struct {
	host     string
	from, to time.Duration
	result   provider.Result
}

func (w *remotes) types() (types []provider.Type) {
	for _, kind := range registry.All() {
		types = append(types, teamKind{kind, w})
	}
	return types
}

type teamKind struct {
	provider.Type
	w *remotes
}

func (k teamKind) Open(c provider.Connection) (provider.Client, error) {
	return &teamClient{k.w, k.Type, c}, nil
}

// teamClient shows the credential to each address that a real client shows it to, in turn.
type teamClient struct {
	w    *remotes
	kind provider.Type
	c    provider.Connection
}

func (c *teamClient) Check(ctx context.Context) provider.Result { return c.call(ctx, "check") }

func (c *teamClient) CheckTarget(ctx context.Context, t provider.Target) provider.Result {
	return c.call(ctx, "look at "+strings.Join(t.Names, ","))
}

func (c *teamClient) Change(ctx context.Context, change provider.Change) provider.Result {
	return c.call(ctx, "change "+strings.Join(change.Target.Names, ","))
}

func (c *teamClient) call(ctx context.Context, what string) provider.Result {
	s := c.c.Settings
	login := c.kind.Name() + "|" + s.String("username")
	secret := s.String("password") + s.String("secret_key")
	if key := s.String("access_key"); key != "" {
		login = "cloud|" + key
	}
	token, remembered := false, c.kind.Lockout(c.c).Window
	if s.Has("domain_name") {
		login = "cloud|" + s.String("username")
		iam := c.kind.Host(provider.Connection{URL: s.String("iam_url")})
		if result := c.w.show(ctx, remembered, iam, login, secret, "log in"); result.Outcome != provider.Applied {
			if result.Outcome == provider.Unknown {
				result.Outcome, result.Unseen = provider.Unreachable, true
			}
			return result
		}
		token = true
		if !victimHosts[iam] {
			secret = "a token of team B's own IAM"
		}
	}
	host := c.kind.Host(c.c)
	if token && secret != right && victimHosts[host] {
		return refusedCredential // nothing is locked
	}
	return c.w.show(ctx, remembered, host, login, secret, c.kind.Name()+" "+what)
}

// show shows a credential to the system at a host, which remembers refusals for a while.
func (w *remotes) show(ctx context.Context, remembered time.Duration, host, login, secret, what string) provider.Result {
	if !victimHosts[host] {
		return w.hostile(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Since(w.began)
	result := provider.Result{Outcome: provider.Applied, System: host}
	for _, f := range w.faults {
		if f.host == host && f.from <= now && now < f.to {
			result = f.result
		}
	}
	if secret == right {
		by := fmt.Sprintf("%s at %s: ", login, host)
		w.calls[by] = append(w.calls[by], fmt.Sprintf("%v %s: %s", now, what, result.Outcome))
	} else if result.Outcome != provider.Busy {
		result = refusedCredential
	}
	if strings.HasSuffix(host, "myhuaweicloud.com:443") {
		login += " of the public cloud" // which locks it for all services
	}
	row := w.refused[login]
	switch result.Outcome {
	case provider.Denied:
		if time.Since(row.last) >= remembered {
			row.n = 0
		}
		if row.n++; row.n >= 5 && w.locked == "" {
			w.locked = fmt.Sprintf("%s at %v", login, now)
		}
		w.refused[login] = refusedInRow{row.n, time.Now()}
	case provider.Applied:
		delete(w.refused, login)
	default:
	}
	return result
}

// hostile is an answer of team B's own server.
func (w *remotes) hostile(ctx context.Context) provider.Result {
	results := []provider.Result{
		throttled(time.Hour), throttled(time.Hour), throttled(0), refusedCredential, refusedCredential, refusedCredential, unknown, unreachable, busy, noAccount,
		weakPassword, applied, applied, applied, {Outcome: provider.Unreachable, Unseen: true, Reason: "no answer"},
		{Outcome: provider.Denied, Scope: provider.ScopeTarget, Reason: "no right"}, {Outcome: provider.Unknown, Accepted: true, Reason: "nonsense"},
	}
	w.mu.Lock()
	result, hangs := results[w.random.IntN(len(results))], w.random.IntN(4) == 0
	w.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return unknown
	}
	return result
}

// steady is randomness without jitter, which would differ between two runs.
type steady struct{}

func (steady) Read(p []byte) (int, error) {
	if len(p) == 4 { // see timing.Chance
		clear(p)
		return len(p), nil
	}
	return rand.Read(p)
}
