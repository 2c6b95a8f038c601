package modelcheck

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing/synctest"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/roles"
)

// answer is the answer to a request.
type answer struct {
	report *roles.Report
	err    error
}

func (a answer) String() string {
	var known *problem.Error
	switch {
	case errors.As(a.err, &known):
		return fmt.Sprintf("%s: %.110s", strconv.Itoa(int(known.Kind)), known.Message)
	case a.err != nil:
		return "error: " + a.err.Error()
	case a.report == nil:
		return "ok"
	default:
		return fmt.Sprintf("%s, version %d, next %d", a.report.View.State, version(a.report.View.Password), a.report.NextVersion)
	}
}

func version(p *credential.Password) int {
	if p == nil {
		return 0
	}
	return p.Version
}

// request is a call of the engine by an operator or a reader.
type request func(ctx context.Context, n *node) (*roles.Report, error)

// call makes a request. It waits for the answer or for the death of the node, unless the request goes on in the background.
// ok: there is an answer.
func (w *world) call(acc *account, what string, background bool, r request) (a answer, ok bool) {
	n := w.node
	answers := make(chan answer, 1)
	w.mu.Lock()
	w.faulted = w.fault != noFault
	w.operations, w.watched, w.calls = operations{}, acc.role, 0
	w.note("%s %s", what, acc.role)
	before := newBefore(acc)
	w.mu.Unlock()
	go func() {
		report, err := r(context.Background(), n)
		answers <- answer{report, err}
	}()
	if background {
		synctest.Wait()
		select {
		case a = <-answers:
		default:
			w.log("   %s %s goes on in the background", what, acc.role)
			acc.background = answers
			return a, false
		}
	} else {
		select {
		case a = <-answers:
		case <-n.gone:
			return a, false
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.dead {
		return a, false
	}
	w.note("   %s %s: %s", what, acc.role, a)
	before.check(a)
	return a, true
}

// before is the state of an account before a request.
type before struct {
	acc      *account
	attempts map[*attempt]bool
	alone    bool // only the request can change something
	trusted  bool // the credential is known to work
	restarts bool // a server is being restarted
	calls    int
	at       time.Time
}

func newBefore(acc *account) *before {
	b := &before{acc: acc, attempts: map[*attempt]bool{}, calls: acc.calls, trusted: acc.system.trusted == acc.w.node, at: acc.w.now()}
	for _, a := range acc.attempts {
		b.attempts[a] = true
	}
	r := acc.w.role(acc.role)
	b.alone = (r == nil || !r.Record.Unfinished() && !acc.dueWithin(r, requestTime)) && acc.background == nil && acc.inFlight == 0
	b.restarts = r != nil && r.Restarts.Part != ""
	return b
}

// check checks that an error which Vault's client retries is true when it says that nothing was changed. w.mu is held.
func (b *before) check(a answer) {
	w := b.acc.w
	var known *problem.Error
	if !errors.As(a.err, &known) || known.Kind == problem.KindMistake || !b.alone || w.faulted {
		return
	}
	for _, at := range b.acc.attempts {
		if !b.attempts[at] && (!at.answered || !at.result.Outcome.Unchanged() || len(at.result.Taken) > 0) {
			w.fail("a request for %s was answered with %q, and %s may be in force", b.acc.role, a, b.acc.label(at.password))
		}
	}
}

// checkCost is I6: what an undisturbed change costs. w.mu is held.
func (b *before) checkCost(a answer) {
	acc, w := b.acc, b.acc.w
	if a.err != nil || !b.alone || w.faulted || w.calls != 1 || w.now().After(b.at) || acc.calls != b.calls+1 || len(acc.attempts) == 0 {
		return
	}
	last := acc.attempts[len(acc.attempts)-1]
	if b.attempts[last] || !last.answered || last.result.Outcome != provider.Applied && last.result.Outcome != provider.Staged {
		return
	}
	got := w.operations
	if r := w.role(acc.role); b.restarts || r != nil && r.Target.Restart != "" { // a restart is followed at once
		return
	}
	if r := w.role(acc.role); r != nil && r.Options.RotateAfterRead > 0 {
		got.others = 0 // reading when the password was first read
	}
	if !b.trusted {
		got.guards = 0 // the first call after a start or a refusal is counted before it is made
	}
	if r := w.role(acc.role); r != nil && r.Options.Proves() { // each login is counted, and one write stores what it shows
		got.guards, got.others, got.rolePuts = 0, 0, min(got.rolePuts, max(2, got.rolePuts-1))
	}
	if got != (operations{roleGets: 1, rolePuts: 2}) {
		w.fail("I6: an undisturbed rotation of %s cost %+v", acc.role, got)
	}
}
