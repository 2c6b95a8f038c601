package rotation

import (
	"context"
	"fmt"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// tries is what is stored of a guard.
type tries struct {
	Schema int `json:"schema"`
	// Refused in a row, for all that is known.
	Refused int `json:"refused,omitempty"`
	// Open are the calls after them that may have been refused too: nobody has seen their answers.
	Open int `json:"open,omitempty"`
	// Last is when the last of either was made.
	Last time.Time `json:"last,omitzero"`
	// Hold is until when the remote system asked to wait.
	Hold time.Time `json:"hold,omitzero"`
}

const (
	// manyTries are more than any remote system takes.
	manyTries = 1000
	// knownRefusals are enough to stop for good: they were a failure and a check, not chance.
	knownRefusals = 2
	// holdStored is how long a wait has to be that the remote system asked for to be remembered over a restart.
	holdStored = 10 * time.Second
)

// next is when another call may be made: at once (the zero time), later, or not before a person acts (false). Where nothing
// but lost answers speaks against it, one is made whenever the remote system is likely to have forgotten the others.
func (g *guard) next(t tries, now time.Time) (time.Time, bool) {
	switch again := t.Last.Add(g.forgets()); {
	case t.Refused+t.Open < g.limit():
		return time.Time{}, true
	case t.Refused >= knownRefusals:
		return time.Time{}, false
	case again.After(now):
		return again, true
	default:
		return time.Time{}, true
	}
}

// spentError: one more refusal could lock the credential.
type spentError struct {
	tries tries
	limit int
	// next is when another call may be made; zero: not before a person acts.
	next time.Time
}

func (e *spentError) Error() string {
	return fmt.Sprintf("the credential was refused %d times in a row%s, and the remote system would lock it after %d, for everybody who uses it",
		e.tries.Refused, unseen(e.tries.Open), e.limit+1)
}

func unseen(open int) string {
	if open == 0 {
		return ""
	}
	return fmt.Sprintf(", and maybe %d times more that nobody saw the answer of", open)
}

// mayTry makes sure that the call of a turn cannot be the refusal that locks the credential: a *spentError, or one of
// storage. byPerson: somebody asks for it, who may try again after a while.
func (e *Engine) mayTry(ctx context.Context, s store, t *turn, byPerson bool) error {
	if !t.counted {
		return nil
	}
	g, now := t.guard, e.clock()
	stored, err := s.tries(ctx, g.key)
	if err != nil {
		return err
	}
	stored = g.known(stored, 1)
	t.before = stored
	at, ok := g.next(stored, now)
	if ok && at.IsZero() || byPerson && !now.Before(stored.Last.Add(g.forgets())) {
		return nil
	}
	return &spentError{tries: stored, limit: g.limit(), next: at}
}

// known is what is known of the tries, of which storage has a part. own is how many of the calls under way are the caller's.
func (g *guard) known(stored tries, own int) tries {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch seen := g.refusals - stored.Refused; {
	case g.leased: // it says what might have been; this process knows
		stored.Refused, stored.Open = g.refusals, g.underWay-own+g.unseen
	case seen > 0: // what this process has seen could not be stored
		stored.Refused += seen
		stored.Open = max(0, stored.Open-seen)
	}
	return stored
}

// countTry counts the call of a turn in storage, before it is made.
func (e *Engine) countTry(ctx context.Context, s store, t *turn) error {
	if !t.counted {
		return nil
	}
	after := t.before
	after.Open++
	after.Last = e.clock()
	if err := s.putTries(ctx, t.guard.key, after); err != nil {
		return err
	}
	t.guard.mu.Lock()
	defer t.guard.mu.Unlock()
	t.guard.leased = false
	return nil
}

// uncountTry takes the count back: the call was not made.
func (e *Engine) uncountTry(ctx context.Context, s store, t *turn) {
	if t.counted {
		e.storeTries(ctx, s, t.guard, t.before)
	}
}

// tell ends a turn with what its call says about the credential.
func (e *Engine) tell(ctx context.Context, s store, t *turn, result provider.Result) {
	defer t.leave()
	g := t.guard
	g.mu.Lock()
	leased := g.leased
	refused := result.Outcome == provider.Denied && result.Scope == provider.ScopeConnection
	worked, hold := false, g.hold
	switch result.Outcome {
	case provider.Applied, provider.Staged, provider.Mismatch: // another refusal may come before the credential is looked at
		worked = true
		g.refusals = min(g.refusals, g.ever.refusals-t.ever.refusals)
		g.unseen = min(g.unseen, g.ever.unseen-t.ever.unseen)
		g.suspect = g.suspect && g.refusals > 0
	default:
		switch {
		case refused:
			g.refusals++
			g.ever.refusals++
			g.proved = false
			g.suspect = g.suspect || !t.check
		case result.Unseen, result.Outcome == provider.Unknown && !g.lockout.Session: // a session is there already
			g.unseen++
			g.ever.unseen++
			g.proved = g.proved && !g.lockout.Session
		}
	}
	if worked && (!g.counts() || leased) {
		g.proved = g.refusals == 0
	}
	refusals := g.refusals
	g.mu.Unlock()
	if !g.counts() || !t.counted && (leased || !worked) {
		return
	}
	after := t.before
	switch {
	case worked:
		after = tries{Refused: refusals, Open: g.together(), Last: e.clock(), Hold: hold}
	case refused:
		after.Refused++
		after.Last = e.clock()
	case result.Outcome == provider.Unknown, result.Unseen:
		return // it may have been refused: counted as it is
	default: // it was not made, or not for want of the credential
	}
	if e.storeTries(ctx, s, g, after) && worked {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.leased, g.proved = true, g.refusals == 0
	}
}

// storeTries stores a lower count than storage has. If that fails, fewer tries are left than could be.
func (e *Engine) storeTries(ctx context.Context, s store, g *guard, t tries) bool {
	err := s.putTries(ctx, g.key, t)
	if err != nil {
		e.logger.Warn("the count of a credential's tries could not be stored; fewer are made than could be", "error", err)
	}
	return err == nil
}

// tryOut makes the read-only check of a connection, in a turn of its credential.
func (e *Engine) tryOut(ctx context.Context, s store, l *live, byPerson bool) (provider.Result, error) {
	t, err := l.guard.enter(ctx)
	if err != nil {
		return provider.Result{}, err
	}
	defer t.leave()
	t.check = true
	if err := e.mayTry(ctx, s, t, byPerson); err != nil {
		return provider.Result{}, err
	}
	if err := e.countTry(ctx, s, t); err != nil {
		return provider.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.Timeout())
	defer cancel()
	result := l.client.Check(ctx)
	e.tell(context.WithoutCancel(ctx), s, t, result)
	return result, nil
}

// holdCalls lets all calls with the credential wait, as the remote system asked.
func (e *Engine) holdCalls(ctx context.Context, s store, g *guard, until time.Time) {
	g.mu.Lock()
	later := until.After(g.hold)
	if later {
		g.hold = until
	}
	g.mu.Unlock()
	if !later || until.Sub(e.clock()) < scaled(holdStored) {
		return
	}
	stored, err := s.tries(ctx, g.key)
	if err == nil {
		stored.Hold = until
		err = s.putTries(ctx, g.key, stored)
	}
	if err != nil {
		e.logger.Warn("a wait that the remote system asked for could not be stored; it ends with this process", "error", err)
	}
}

// renew: a person gave the credential, which opens what its refusals had closed. tried: it worked; else it gets one try,
// as soon as the remote system is likely to have forgotten the others.
func (e *Engine) renew(ctx context.Context, s store, g *guard, tried bool) error {
	g.mu.Lock()
	g.suspect, g.hold = false, time.Time{}
	if !tried {
		g.proved = false
	}
	g.mu.Unlock()
	stored, err := s.tries(ctx, g.key)
	if err != nil {
		return err
	}
	renewed := stored
	renewed.Hold = time.Time{}
	if known := g.known(stored, 0); !tried && g.counts() && known.Refused+known.Open >= g.limit() {
		renewed.Refused, renewed.Open = knownRefusals-1, g.limit()
		g.mu.Lock()
		g.refusals, g.unseen, g.leased = 0, 0, false
		g.mu.Unlock()
	}
	if renewed == stored {
		return nil
	}
	return s.putTries(ctx, g.key, renewed)
}

// load reads what storage says of a wait, once.
func (g *guard) load(ctx context.Context, s store) error {
	g.mu.Lock()
	loaded := g.loaded
	g.mu.Unlock()
	if loaded {
		return nil
	}
	stored, err := s.tries(ctx, g.key)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.loaded, g.hold = true, later(g.hold, stored.Hold)
	return nil
}
