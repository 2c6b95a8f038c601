package lockout

import (
	"context"
	"errors"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// A proof is a login that finds out whether a password works. The remote system counts its refusal as it counts anybody's,
// so few are made: proofRefusals within proofWindow for an account or, where refusals count by sender, for the server,
// over all accounts and together with the calls of connections.
//
// The sum is safe, too. A proof begins only if the calls that run at that time, and the proof itself, leave the limit of the
// calls of connections unbroken if all of them are refused.

const (
	// proofRefusals is how many proofs may be refused within proofWindow.
	proofRefusals = 2
	proofWindow   = 15 * time.Minute
	// proofMargin is how long a proof may take: if a crash hides its answer, it may have been refused that much later.
	proofMargin = time.Minute
)

// Proofs is the budget of refused proofs. Its methods may be called concurrently.
type Proofs struct {
	guards *Guards
	key    string
	rules  provider.Sender
}

// Proofs returns the budget of the logins with passwords of an account at an address; account identifies both. sender says
// how the remote system counts refusals by the address that they come from: if it does, all accounts and connections at this
// server share one budget. It must be what [provider.Type.Lockout] returns for connections to the same server.
func (g *Guards) Proofs(account string, sender provider.Sender) *Proofs {
	if !bySender(sender) {
		return &Proofs{guards: g, key: keyOf("proofs|" + account)}
	}
	return &Proofs{guards: g, key: senderKey(sender), rules: sender}
}

// Attempt is one proof that was counted. Call Answered when it has ended.
type Attempt struct {
	guards *Guards
	budget *budget
	call   *counted
	once   sync.Once
}

// Take counts a proof in storage before it is made. If proofs or calls are running that could spend the budget, it waits for
// them until waiting ends; with a nil waiting, it returns [ErrFull]. It returns a [*BlockedError] if the budget is spent, a
// storage error, or the error of a context that has ended; then the proof must not be made. The proof must end within a
// minute.
func (p *Proofs) Take(ctx, waiting context.Context, s Store) (*Attempt, error) {
	b := p.guards.use(p.key, p.rules)
	call := &counted{}
	err := b.takeProof(ctx, waiting, s, call)
	if err != nil {
		p.guards.release(b)
		return nil, err
	}
	return &Attempt{guards: p.guards, budget: b, call: call}, nil
}

// Answered records what came of the proof. It counts on unless the password works or was not sent: an answer that was lost
// may have been a refusal. After a panic, call it with the zero value. It stores nothing, so a crash or a failover makes the
// engine more careful for a while, but a proof that works costs one write only. Calling it again has no effect.
func (a *Attempt) Answered(proof provider.Proof) {
	a.once.Do(func() {
		a.budget.end(a.call, proof.Verdict != provider.Works && !proof.Unsent)
		a.guards.release(a.budget)
	})
}

// Left returns how many refusals are left, assuming that proofs that are running are refused, and if there are none, when
// there is one again. The error is one of storage, or that of the context.
func (p *Proofs) Left(ctx context.Context, s Store) (left int, until time.Time, err error) {
	b := p.guards.use(p.key, p.rules)
	defer p.guards.release(b)
	if err := b.load(ctx, s); err != nil {
		return 0, time.Time{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	recent := b.recent(b.remembers())
	if left = b.proofs() - len(recent); left > 0 {
		return left, time.Time{}, nil
	}
	return 0, recent[-left].at.Add(b.remembers()), nil
}

// proofs returns how many proofs may be refused.
func (b *budget) proofs() int {
	if bySender(b.rules) {
		return min(proofRefusals, b.rules.Refusals)
	}
	return proofRefusals
}

// takeProof is Take for one call.
func (b *budget) takeProof(ctx, waiting context.Context, s Store, call *counted) error {
	var changed <-chan struct{}
	try := func() error {
		return b.admit(ctx, s, call, func() error {
			changed = b.changed
			return b.mayProve()
		})
	}
	err := try()
	if !errors.Is(err, ErrFull) || waiting == nil {
		return err
	}
	b.waits(1)
	defer b.waits(-1)
	for errors.Is(err, ErrFull) {
		select {
		case <-changed:
			err = try()
		case <-waiting.Done():
			err = waiting.Err()
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return err
}

// waits adds to the number of proofs that wait.
func (b *budget) waits(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting += n
	b.wake()
}

// mayProve returns why a proof may not begin; nil: it may. b.mu must be held.
func (b *budget) mayProve() error {
	recent, limit := b.recent(b.remembers()), b.proofs()
	var ended []*counted
	for _, c := range recent {
		if !c.open {
			ended = append(ended, c)
		}
	}
	switch n := len(ended); {
	case n >= limit:
		return &BlockedError{
			Refused: n, Window: max(proofWindow, b.rules.Window), Until: ended[n-limit].at.Add(b.remembers()), Account: !bySender(b.rules),
		}
	case len(recent) >= limit, bySender(b.rules) && len(b.recent(b.window()))+b.running >= b.rules.Refusals:
		return ErrFull
	default:
		return nil
	}
}
