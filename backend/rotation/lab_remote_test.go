package rotation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
)

// Results of calls.
var (
	applied           = provider.Result{Outcome: provider.Applied}
	unknown           = provider.Result{Outcome: provider.Unknown, Reason: "no answer"}
	unreachable       = provider.Result{Outcome: provider.Unreachable, Reason: "refused"}
	busy              = provider.Result{Outcome: provider.Busy, Scope: provider.ScopeTarget, Reason: "busy"}
	queued            = provider.Result{Outcome: provider.Staged, Stage: provider.StageAccepted}
	needsRestart      = provider.Result{Outcome: provider.Staged, Stage: provider.StageRestart}
	noAccount         = provider.Result{Outcome: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account"}
	weakPassword      = provider.Result{Outcome: provider.Rejected, Scope: provider.ScopePassword, Reason: "too weak"}
	refusedCredential = provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection, Code: "1001", Reason: "wrong password"}
)

// throttled is the result of a call that the remote system did not make because it throttles the connection.
func throttled(retryAfter time.Duration) provider.Result {
	return provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection, Reason: "throttled", RetryAfter: retryAfter}
}

// partly is the result of a change that some servers took, and one did not.
func partly(outcome provider.Outcome, scope provider.Scope, failed string, took ...string) provider.Result {
	return provider.Result{
		Outcome: outcome, Scope: scope, Stage: provider.StageRestart, Reason: "one did not", Taken: took,
		Failures: []provider.PartFailure{{Part: failed, Code: "E.1", Reason: "it is busy"}},
	}
}

// Results of a change on the servers a, b and c, of which b did not take it.
var (
	oneServerBusy    = partly(provider.Busy, provider.ScopeTarget, "b", "a", "c")
	oneServerRefuses = partly(provider.Rejected, provider.ScopePassword, "b", "a", "c")
)

// respond decides the result of a change, and whether it takes effect. call counts the changes from 1.
type respond func(ctx context.Context, call int, c provider.Change) (result provider.Result, takesEffect bool)

// remote is a provider and its remote system, with any number of accounts. It applies every change, unless a test says
// otherwise.
type remote struct {
	mu        sync.Mutex
	passwords map[string]string // by login
	changes   []provider.Change
	checks    int

	respond     respond
	check       func() provider.Result
	checkTarget func() provider.Result
	settleAfter time.Duration

	// What follows is set before the engine uses it.

	// needsOld: changes present the old password.
	needsOld bool
	// loginIdentity is what connections log in with.
	loginIdentity string
	// perAddress: identities begin with the host of the connection and not with "remote".
	perAddress bool
	// lockout is what the remote system does to a credential that it refuses.
	lockout provider.Lockout
	// parts are the servers of a target.
	parts []string
	// restarts is how targets are restarted, and servers does it; see restarts.
	restart        string
	servers        *restarts
	forbidRestarts atomic.Bool
	// logins are the ways to log in to a target.
	logins []provider.Login
}

func (r *remote) Name() string { return "remote" }

func (r *remote) ConnectionFields() []provider.Field {
	text := &framework.FieldSchema{Type: framework.TypeString}
	return []provider.Field{
		{Name: "key", Schema: text, Secret: true},
		{Name: "note", Schema: text, Local: true},
		{Name: "kind", Schema: text, Immutable: true},
	}
}

func (r *remote) CredentialForms() [][]string { return [][]string{{"key"}} }

func (r *remote) TargetFields() []provider.Field {
	text := &framework.FieldSchema{Type: framework.TypeString}
	return []provider.Field{{Name: "login", Schema: text}, {Name: "via", Schema: text, Mutable: true}}
}

func (r *remote) Complete(c *provider.Connection) error {
	if c.URL == "" {
		return errors.New("url is missing")
	}
	if !c.Settings.Has("kind") {
		c.Settings["kind"] = "a"
	}
	return nil
}

func (r *remote) Target(c provider.Connection, s provider.Settings) (provider.Target, error) {
	login, system := s.String("login"), "remote"
	if r.forbidRestarts.Load() {
		return provider.Target{}, errors.New("restarts are not allowed")
	}
	if r.perAddress {
		system = r.Host(c)
	}
	return provider.Target{Names: []string{login}, Identities: []string{system + "|" + login}, Parts: r.parts, Restart: r.restart, Username: login, Settings: s}, nil
}

func (r *remote) SettleAfter(provider.Connection) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settleAfter
}

func (r *remote) Lockout(provider.Connection) provider.Lockout { return r.lockout }
func (r *remote) LoginIdentity(provider.Connection) string     { return r.loginIdentity }

// Host drops the path, as the providers do.
func (r *remote) Host(c provider.Connection) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(c.URL, "https://"), "/")
	return host
}

func (r *remote) Rules(provider.Connection, provider.Target) password.Rules {
	return password.Rules{
		MinLength: 8, MaxLength: 64, Allowed: password.Lower + password.Upper + password.Digits,
		Recipe: password.Recipe{Length: 20, Classes: []password.Class{{Characters: password.Lower + password.Digits}}},
	}
}
func (r *remote) Logins(provider.Connection, provider.Target) []provider.Login { return r.logins }

func (r *remote) OldPassword(provider.Target) provider.OldPassword {
	return provider.OldPassword{Required: r.needsOld, LockWindow: 5 * time.Minute}
}

func (r *remote) Open(provider.Connection) (provider.Client, error) {
	if r.servers != nil {
		return r.servers, nil
	}
	return r, nil
}

func (r *remote) Check(context.Context) provider.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks++
	if r.check != nil {
		return r.check()
	}
	return applied
}

func (r *remote) CheckTarget(context.Context, provider.Target) provider.Result {
	r.mu.Lock()
	check := r.checkTarget
	r.mu.Unlock()
	if check != nil {
		return check()
	}
	return applied
}

func (r *remote) Change(ctx context.Context, c provider.Change) provider.Result {
	r.mu.Lock()
	r.changes = append(r.changes, c)
	call, respond := len(r.changes), r.respond
	r.mu.Unlock()
	result, takesEffect := applied, true
	if respond != nil {
		result, takesEffect = respond(ctx, call, c)
	}
	if takesEffect {
		r.setPassword(c.Target.Username, c.NewPassword)
	}
	return result
}

// onChange sets how changes are answered; nil: they are applied.
func (r *remote) onChange(f respond) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.respond = f
}

// answer answers all changes alike.
func (r *remote) answer(result provider.Result, takesEffect bool) {
	r.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) { return result, takesEffect })
}

// answerCall answers the n-th change so, and the others with rest.
func (r *remote) answerCall(n int, result provider.Result, takesEffect bool, rest provider.Result) {
	r.onChange(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
		if call == n {
			return result, takesEffect
		}
		return rest, rest.Outcome == provider.Applied
	})
}

// blockChange makes the n-th change wait, regardless of its context, and applies the others. It takes effect.
func (r *remote) blockChange(n int, result provider.Result) *block {
	b := newBlock()
	r.onChange(func(_ context.Context, call int, _ provider.Change) (provider.Result, bool) {
		if call == n {
			b.wait()
			return result, true
		}
		return applied, true
	})
	return b
}

// delay answers all changes after a while. One whose context ends before has no effect.
func (r *remote) delay(d time.Duration, result provider.Result) {
	r.onChange(func(ctx context.Context, _ int, _ provider.Change) (provider.Result, bool) {
		select {
		case <-time.After(d):
			return result, result.Outcome == provider.Applied
		case <-ctx.Done():
			return unknown, false
		}
	})
}

// fail answers all changes alike, without effect.
func (r *remote) fail(result provider.Result) { r.answer(result, false) }

// succeed applies all changes.
func (r *remote) succeed() { r.onChange(nil) }

// onCheck sets how checks are answered; nil: the credential works. f is called under the lock.
func (r *remote) onCheck(f func() provider.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check = f
}

// answerCheck answers all checks alike.
func (r *remote) answerCheck(result provider.Result) {
	r.onCheck(func() provider.Result { return result })
}

func (r *remote) onCheckTarget(f func() provider.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkTarget = f
}

// refuseCredential refuses the connection's credential in changes and checks.
func (r *remote) refuseCredential() {
	r.fail(refusedCredential)
	r.answerCheck(refusedCredential)
}

// acceptCredential ends that.
func (r *remote) acceptCredential() {
	r.succeed()
	r.onCheck(nil)
}

// setSettleAfter sets how long a queued change takes.
func (r *remote) setSettleAfter(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settleAfter = d
}

// password is the one in force for a login.
func (r *remote) password(login string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passwords[login]
}

func (r *remote) setPassword(login, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passwords[login] = value
}

func (r *remote) changeCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.changes)
}

func (r *remote) checkCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checks
}

// changesSince returns the changes after the first n.
func (r *remote) changesSince(n int) []provider.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.changes[n:])
}

// sent returns the passwords that were sent, each once.
func (r *remote) sent() (values []string) {
	for _, c := range r.changesSince(0) {
		if !slices.Contains(values, c.NewPassword) {
			values = append(values, c.NewPassword)
		}
	}
	return values
}

// account counts wrong old passwords: the fifth in a row locks it.
type account struct {
	wrong  int
	locked bool
}

// refuses reports whether the old password of a change is wrong, and returns the result for that.
func (a *account) refuses(r *remote, c provider.Change) (provider.Result, bool) {
	if c.OldPassword == r.password(c.Target.Username) {
		a.wrong = 0
		return provider.Result{}, false
	}
	a.wrong++
	a.locked = a.locked || a.wrong >= 5
	left := 5 - a.wrong
	return provider.Result{Outcome: provider.Mismatch, Scope: provider.ScopeTarget, Reason: "the old password is wrong", TriesLeft: &left}, true
}

// overlap counts the changes that run at the same time.
type overlap struct {
	mu        sync.Mutex
	now, most int
}

// countOverlap applies changes, each of which takes until during returns, and counts how many run at the same time.
func (r *remote) countOverlap(during func()) *overlap {
	o := &overlap{}
	r.onChange(func(context.Context, int, provider.Change) (provider.Result, bool) {
		o.count(during)
		return applied, true
	})
	return o
}

func (o *overlap) count(during func()) {
	o.add(1)
	defer o.add(-1)
	during()
}

func (o *overlap) add(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now += n
	o.most = max(o.most, o.now)
}

func (o *overlap) running() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *overlap) highest() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.most
}

// aSecond lets a second pass in the bubble.
func aSecond() { time.Sleep(time.Second) }
