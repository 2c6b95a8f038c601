package modelcheck

import (
	"context"
	"errors"
	"fmt"
	"testing/synctest"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation"
)

// answer is what a request got.
type answer struct {
	report *rotation.Report
	err    error
}

func (a answer) String() string {
	var known *rotation.Error
	switch {
	case errors.As(a.err, &known):
		return fmt.Sprintf("%s: %.110s", [...]string{"400", "502", "503"}[known.Kind], known.Message)
	case a.err != nil:
		return "error: " + a.err.Error()
	case a.report == nil:
		return "ok"
	default:
		return fmt.Sprintf("%s, version %d, next %d", a.report.View.State, version(a.report.View.Password), a.report.NextVersion())
	}
}

func version(p *credential.Password) int {
	if p == nil {
		return 0
	}
	return p.Version
}

// ask makes a request and waits for its answer, or for the death of the node, or leaves it alone. ok: there is an answer.
func (w *world) ask(acc *account, what string, leave bool, request func(ctx context.Context, n *node) (*rotation.Report, error)) (a answer, ok bool) {
	n := w.node
	answers := make(chan answer, 1)
	w.mu.Lock()
	w.troubled = w.trouble != healthy
	w.operations, w.watched, w.calls = operations{}, acc.role, 0
	w.note("%s %s", what, acc.role)
	before := newBefore(acc)
	w.mu.Unlock()
	go func() {
		report, err := request(context.Background(), n)
		answers <- answer{report, err}
	}()
	if leave {
		synctest.Wait()
		select {
		case a = <-answers:
		default:
			w.line("   %s %s is under way", what, acc.role)
			acc.busy = answers
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
	before.holdAgainst(a)
	return a, true
}

// line is note for who does not hold the lock.
func (w *world) line(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(format, args...)
}

// before is how an account stood before a request.
type before struct {
	acc      *account
	attempts map[*attempt]bool
	alone    bool // nothing but the request can change something
	trusted  bool // the credential is known to work
	asked    int
	at       time.Time
}

func newBefore(acc *account) *before {
	b := &before{acc: acc, attempts: map[*attempt]bool{}, asked: acc.asked, trusted: acc.system.trusted == acc.w.node, at: acc.w.now()}
	for _, a := range acc.attempts {
		b.attempts[a] = true
	}
	role := acc.w.role(acc.role)
	b.alone = (role == nil || !role.Record.Unfinished()) && acc.busy == nil && acc.underWay == 0
	return b
}

// holdAgainst: an error of a kind that Vault's client repeats says that nothing was changed.
func (b *before) holdAgainst(a answer) {
	w := b.acc.w
	var known *rotation.Error
	if !errors.As(a.err, &known) || known.Kind == rotation.KindMistake || !b.alone || w.troubled {
		return
	}
	for _, at := range b.acc.attempts {
		if !b.attempts[at] && (!at.answered || !at.result.Outcome.Unchanged() || len(at.result.Taken) > 0) {
			w.fail("a request for %s was answered with %q, and %s may be in force", b.acc.role, a, b.acc.label(at.password))
		}
	}
}

// checkCost is I6: what a change that met nothing costs. w.mu is held.
func (b *before) checkCost(a answer) {
	acc, w := b.acc, b.acc.w
	if a.err != nil || !b.alone || w.troubled || w.calls != 1 || w.now().After(b.at) || acc.asked != b.asked+1 || len(acc.attempts) == 0 {
		return
	}
	last := acc.attempts[len(acc.attempts)-1]
	if b.attempts[last] || !last.answered || last.result.Outcome != provider.Applied && last.result.Outcome != provider.Staged {
		return
	}
	got := w.operations
	if !b.trusted {
		got.guards = 0 // the first call after a start or a refusal is counted before it is made
	}
	if got != (operations{roleGets: 1, rolePuts: 2}) {
		w.fail("I6: an undisturbed rotation of %s cost %+v", acc.role, got)
	}
}
