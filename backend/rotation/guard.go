package rotation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// A guard keeps a credential from being locked by the engine's own tries, over restarts too. Remote systems that lock
// count refusals in a row (provider.Lockout), so the engine never lets that many come about:
//
//   - Until a call has worked (after a start, after a refusal) calls are made one at a time, and each is counted in
//     storage before it is made: a crash may hide its answer.
//   - Once one has worked, a few may be under way together. Storage then says that as many may have been refused.
//   - When one more refusal would lock the credential, no call is made. A call that works ends the count.
//
// All connections of the mount that show the same credential share one guard.
type guard struct {
	key     string // of its entry in storage
	lockout provider.Lockout
	// checking is held over the one check that follows a refused credential, by background work only.
	checking chan struct{}

	mu sync.Mutex // guards the fields below; never held over a call
	// proved: a call has worked since the start, and none was refused since then.
	proved bool
	// leased: storage says what this process may have under way, not what became of it.
	leased bool
	// refusals in a row that this process has seen.
	refusals int
	// unseen are calls in a row that may have been refused, since the last one that worked. They count once a refusal is
	// seen: most answers are lost in outages. What only logs in for a session shows the credential and nothing else, and
	// stops by itself.
	unseen int
	// suspect: a call was refused, and the check that follows is not over.
	suspect  bool
	underWay int
	changed  chan struct{} // closed, and another made, when a call ends
	// hold is until when the remote system asked to wait.
	hold   time.Time
	loaded bool // hold is that of storage, or a later one
}

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

// limit is how many refusals in a row the engine lets come about; 0: nothing is locked.
func (g *guard) limit() int { return max(0, g.lockout.Refusals-1) }

// together is how many calls may show a credential that works at the same time: if they are refused all at once, a
// failure and a check can still follow.
func (g *guard) together() int {
	if g.lockout.Session {
		return 1 // logs in for all
	}
	return max(1, g.limit()/2)
}

// forgets is after which time without another call the remote system is likely to have forgotten the refusals.
func (g *guard) forgets() time.Duration {
	return scaled(max(firstProbe, g.lockout.Window+time.Minute))
}

// counts tells whether refusals have to be counted at all.
func (g *guard) counts() bool { return g.lockout.Refusals > 0 }

// room is how many calls may be under way; g.mu is held.
func (g *guard) room() int {
	switch {
	case !g.counts(), g.lockout.Session && g.proved:
		return math.MaxInt
	case g.proved && g.refusals == 0:
		return max(1, g.together()-g.unseen)
	default:
		return 1
	}
}

// turn is the right to make one call. leave must be called.
type turn struct {
	guard *guard
	// counted: the call has to be counted in storage before it is made. before is what storage said.
	counted bool
	before  tries
	// check: the call is a check itself, which no other follows.
	check bool
	left  bool
}

// enter waits for a turn until the context ends; without a context it returns errFull where it would have to.
func (g *guard) enter(waiting context.Context) (*turn, error) {
	for {
		g.mu.Lock()
		if g.underWay < g.room() {
			g.underWay++
			t := &turn{guard: g, counted: g.counts() && (!g.proved || g.refusals > 0)}
			g.mu.Unlock()
			return t, nil
		}
		changed := g.changed
		g.mu.Unlock()
		if waiting == nil {
			return nil, errFull
		}
		select {
		case <-changed:
		case <-waiting.Done():
			return nil, errGivenUp
		}
	}
}

// leave ends the turn. It may be called again.
func (t *turn) leave() {
	g := t.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.left {
		return
	}
	t.left = true
	g.underWay--
	close(g.changed)
	g.changed = make(chan struct{})
}

// suspected tells whether the credential was refused and is being checked.
func (g *guard) suspected() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.suspect
}

// checked: the check that follows a refusal is over, whatever came of it.
func (g *guard) checked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.suspect = false
}

// drain waits until the calls that are under way have ended: each of them may be refused too. No new one begins while
// the credential is suspected.
func (g *guard) drain(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		g.mu.Lock()
		underWay, changed := g.underWay, g.changed
		g.mu.Unlock()
		if underWay == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (g *guard) heldUntil() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hold
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
		g.refusals, g.unseen, g.suspect = 0, 0, false
	default:
		switch {
		case refused:
			g.refusals++
			g.proved = false
			g.suspect = g.suspect || !t.check
		case result.Unseen, result.Outcome == provider.Unknown && !g.lockout.Session: // a session is there already
			g.unseen++
			g.proved = g.proved && !g.lockout.Session
		}
	}
	if worked && (!g.counts() || leased) {
		g.proved = true
	}
	g.mu.Unlock()
	if !g.counts() || !t.counted && (leased || !worked) {
		return
	}
	after := t.before
	switch {
	case worked:
		after = tries{Open: g.together(), Last: e.clock(), Hold: hold}
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

// guards are the guards of a mount by the keys of their entries. The zero value is empty.
type guards struct {
	mu    sync.Mutex
	byKey map[string]*guard
	// byName are those of credentials that no remote system locks: each connection has its own.
	byName map[string]*guard
}

// of returns the guard of a connection's credential.
func (g *guards) of(lockout provider.Lockout, c Connection) *guard {
	key := guardKey(lockout, c)
	g.mu.Lock()
	defer g.mu.Unlock()
	if known := g.byKey[key]; known != nil {
		return known
	}
	made := &guard{key: key, lockout: lockout, checking: make(chan struct{}, 1), changed: make(chan struct{})}
	if g.byKey == nil {
		g.byKey, g.byName = map[string]*guard{}, map[string]*guard{}
	}
	g.byKey[key] = made
	if !made.counts() {
		if before := g.byName[c.Name]; before != nil {
			delete(g.byKey, before.key)
		}
		g.byName[c.Name] = made
	}
	return made
}

// forget drops the guard of a connection that is gone, if nobody shares it, and returns its key; "": somebody may.
func (g *guards) forget(name string) (key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.byName[name]
	if own == nil {
		return ""
	}
	delete(g.byName, name)
	delete(g.byKey, own.key)
	return own.key
}

// doubt: another node may have written the entry.
func (g *guards) doubt(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known := g.byKey[key]; known != nil {
		known.mu.Lock()
		defer known.mu.Unlock()
		known.proved, known.leased, known.loaded = false, false, false
		known.refusals, known.unseen = 0, 0
	}
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

// guardKey hides names of logins from storage keys. What no remote system locks is one connection's own matter, and that
// of one revision.
func guardKey(lockout provider.Lockout, c Connection) string {
	what := lockout.Credential
	if lockout.Refusals == 0 {
		what = fmt.Sprintf("connection|%s|%d", c.Name, c.Revision)
	}
	sum := sha256.Sum256([]byte(what))
	return guardPrefix + hex.EncodeToString(sum[:])
}
