package lockout

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"time"

	"vault-plugin-secrets-hosting/backend/timing"
)

// Attempts is the stored state of a guard.
type Attempts struct {
	Schema int `json:"schema"`
	// Refused counts the known refusals in a row, and Trials those of them that say nothing about the secret in use.
	Refused int `json:"refused,omitempty"`
	Trials  int `json:"trials,omitempty"`
	// Unanswered counts the calls after them that may also have been refused.
	Unanswered int `json:"open,omitempty"`
	// Last is when the last of these calls was made.
	Last time.Time `json:"last,omitzero"`
	// By is the connection whose call was refused last, or held by the service.
	By string `json:"by,omitempty"`
	// Renewed: an operator wrote another secret since, which gets one attempt when the refusals are probably forgotten.
	Renewed bool `json:"renewed,omitempty"`

	// What follows is in entries of their own. Calls are the times of recent calls that were, or may have been, refused; see
	// budget.
	Calls []time.Time `json:"calls,omitempty"`
	// Hold is when a hold ends; see Hold for the others.
	Hold       time.Time `json:"hold,omitzero"`
	HeldSince  time.Time `json:"held_since,omitzero"`
	HeldCode   string    `json:"held_code,omitempty"`
	HeldReason string    `json:"held_reason,omitempty"`
	HeldAsked  bool      `json:"held_asked,omitempty"`
	// Tried lists the secrets that were refused in trials, with the key of their fingerprints.
	Tried    []Tried `json:"tried,omitempty"`
	TriedKey []byte  `json:"tried_key,omitempty"`
}

// Store stores the entries of guards.
type Store interface {
	// Attempts returns the entry of a key, or the zero value.
	Attempts(ctx context.Context, key string) (Attempts, error)
	// PutAttempts stores the entry of a key. An error does not prove that nothing was stored.
	PutAttempts(ctx context.Context, key string, a Attempts) error
}

// Bounded returns the entry with valid counts. A damaged count becomes one that leaves no attempt.
func (a Attempts) Bounded() Attempts {
	for _, n := range []*int{&a.Refused, &a.Unanswered} {
		if *n < 0 || *n > maxCount {
			*n = maxCount
		}
	}
	a.Trials = max(0, min(a.Trials, a.Refused))
	a.Calls = a.Calls[max(0, len(a.Calls)-maxCalls):]
	for _, at := range a.Calls {
		a.Last = timing.Later(a.Last, at)
	}
	return a
}

// correctClock returns the entry. If a clock that was ahead stored when the last call was made, that counts as now.
func (a Attempts) correctClock(now time.Time) Attempts {
	if timing.Ahead(a.Last, now) {
		a.Last = now
	}
	return a
}

// SpentError reports that one more refusal could lock the credential.
type SpentError struct {
	Attempts Attempts
	Limit    int
	// Next is when the next call may be made; zero if an operator has to act first.
	Next time.Time
	// Forgotten is when the remote system has probably forgotten the refusals.
	Forgotten time.Time
	// By is the connection whose call was refused last, if it is another one.
	By string
}

func (e *SpentError) Error() string {
	refused, unanswered := fmt.Sprintf("%d times in a row", e.Attempts.Refused), ""
	if e.Attempts.Refused == 1 {
		refused = "once"
	}
	if n := e.Attempts.Trials; n > 0 {
		refused += fmt.Sprintf(" (%d of them with another secret)", n)
	}
	if e.By != "" {
		refused += fmt.Sprintf(", last in a call of the connection %q, which uses the same login or key at the same address", e.By)
	}
	switch n := e.Attempts.Unanswered; {
	case n == 1:
		unanswered = ", plus up to 1 attempt whose outcome was lost"
	case n > 1:
		unanswered = fmt.Sprintf(", plus up to %d attempts whose outcome was lost", n)
	}
	return fmt.Sprintf("the credential was refused %s%s, and the remote system locks it after %d, for everyone who uses it",
		refused, unanswered, e.Limit+1)
}

// next returns when the next call may be made: now (zero) or later. It returns false if an operator has to act first. If
// only lost answers are in the way, one call may be made each time the remote system has probably forgotten the others. If
// the credential has worked, lost answers alone delay nothing, because most of them are lost in outages.
func (g *login) next(a Attempts, now time.Time) (time.Time, bool) {
	g.mu.Lock()
	proved := g.proved
	g.mu.Unlock()
	refused := a.Refused - a.Trials
	switch again := a.Last.Add(g.Forgets()); {
	case a.Refused+a.Unanswered < g.limit(), proved && a.Refused == 0:
		return time.Time{}, true
	case refused >= certainRefusals && !a.Renewed:
		return time.Time{}, false
	case again.After(now):
		return again, true
	default:
		return time.Time{}, true
	}
}

// Left returns how many more refusals the engine may cause, and when the next call may be made: now (zero) or later. ok is
// false if an operator has to act first.
func (g *login) Left(ctx context.Context, s Store) (left int, next time.Time, ok bool, err error) {
	_, a, err := g.stored(ctx, s)
	if err != nil {
		return 0, time.Time{}, false, err
	}
	a = g.known(a)
	next, ok = g.next(a, g.Now())
	return g.limit() - a.Refused - a.Unanswered, next, ok, nil
}

// stored returns the entry, and what counts: until an entry is stored, that of the credential's former name. An upgrade must
// not forget refusals that the remote system remembers. Nothing is written there any more, and it is deleted after a day.
func (g *login) stored(ctx context.Context, s Store) (entry, counts Attempts, err error) {
	entry, err = s.Attempts(ctx, g.key)
	if err != nil || g.former == "" || !reflect.ValueOf(entry).IsZero() {
		return entry, entry, err
	}
	a, err := s.Attempts(ctx, g.former)
	return entry, Attempts{Refused: a.Refused, Trials: a.Trials, Unanswered: a.Unanswered, Last: a.Last, Renewed: a.Renewed}, err
}

// known merges the entry with what this process knows.
func (g *login) known(stored Attempts) Attempts {
	g.mu.Lock()
	defer g.mu.Unlock()
	if timing.Ahead(g.last, g.Now()) {
		g.last = g.Now()
	}
	switch seen := g.refusals - stored.Refused; {
	case g.leased: // the entry has the worst case
		stored.Refused, stored.Trials, stored.Unanswered = g.refusals, g.trials, g.unanswered
	case seen > 0: // refusals that could not be stored
		stored.Refused += seen
		stored.Trials = max(stored.Trials, g.trials)
		stored.Unanswered = max(0, stored.Unanswered-seen)
	}
	stored.Last = timing.Later(stored.Last, g.last)
	stored.By = cmp.Or(g.by, stored.By)
	return stored.correctClock(g.Now())
}

// update reads the entry, changes it and writes it back, without another change in between. then is called before the next
// change, once the entry is stored; nil: nothing is.
func (g *login) update(ctx context.Context, s Store, change func(*Attempts), then func()) error {
	select {
	case g.storing <- struct{}{}:
		defer func() { <-g.storing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	before, after, err := g.stored(ctx, s)
	if err != nil {
		return err
	}
	change(&after)
	if !reflect.DeepEqual(after, before) {
		err = s.PutAttempts(ctx, g.key, after)
	}
	if err == nil && then != nil {
		then()
	}
	return err
}

// lower updates the entry after a call. If that fails, the count stays too high, and fewer calls are made.
func (g *login) lower(ctx context.Context, s Store, change func(*Attempts)) {
	if err := g.update(ctx, s, change, nil); err != nil {
		g.Warn("could not store how often a credential was refused: fewer attempts are made than could be", err)
	}
}

// store writes the entry after a call that worked, whatever it was, and reports whether that succeeded.
func (g *login) store(ctx context.Context, s Store, a Attempts) bool {
	g.storing <- struct{}{} // held over storage calls only
	defer func() { <-g.storing }()
	err := s.PutAttempts(ctx, g.key, a)
	if err != nil {
		g.Warn("could not store how often a credential was refused: fewer attempts are made than could be", err)
	}
	return err == nil
}

// Renew is called when an operator wrote the credential. If proved, it works, and a suspicion ends. Otherwise a fresh one,
// which was not refused before, gets one attempt when the remote system has probably forgotten the others. A hold ends, and
// the next call is a probe.
func (g *Guard) Renew(ctx context.Context, s Store, proved, fresh bool) error {
	anew := false
	err := g.update(ctx, s, func(a *Attempts) {
		known := g.known(*a)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.suspect = false
		if proved {
			g.proved = g.proved || !g.Counts() // it may be a new guard
			return
		}
		g.doubt()
		if anew = g.Counts() && known.Refused+known.Unanswered >= g.limit(); anew {
			*a = known
			a.Renewed = known.Renewed || fresh
		}
	}, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if anew { // the entry says enough
			g.refusals, g.trials, g.unanswered, g.leased = 0, 0, 0, false
		}
	})
	return cmp.Or(g.releaseHold(ctx, s), err)
}

// Unused reports whether an entry that no connection uses can be deleted, because it is empty, or so old that every remote
// system has forgotten the calls that it counts.
func (a Attempts) Unused(now time.Time) bool {
	const kept = 24 * time.Hour
	return now.After(a.Last.Add(kept)) && now.After(a.Hold)
}
