// Package lockout keeps the engine's calls from locking a credential on a remote system.
//
// Remote systems lock a login or a key after a number of refusals in a row (provider.Lockout), for everyone who uses it. A
// [Guard] keeps the engine from causing that many, even across restarts:
//
//   - After a start or a refusal, until a call has worked, calls are made one at a time. Each is counted in storage before
//     it is made, because a crash may hide its answer.
//   - Once a call has worked, a few may run concurrently. The stored count then assumes that all of them were refused.
//   - If one more refusal would lock the credential, no call is made. A call that works resets the count.
//   - A trial of another secret of the same login leaves enough attempts for the secret in use. See trial.go.
//
// Some remote systems also block a sender whose calls they refuse, whichever credentials they present. See sender.go. Logins
// that prove a password of an account have a budget of their own. See proofs.go.
//
// If a service throttles a credential, the guard holds all calls to this service with it: first for a minute, then twice as
// long each time, up to 30 minutes. After a hold, calls are made one at a time until one works. See hold.go.
//
// The package decides whether a call may be made. It makes no calls, and knows nothing about connections, roles and
// passwords.
package lockout

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// MinRefusals is the smallest lockout that a guard can handle: a crash may hide one refusal, and the next call may be
// refused too.
const MinRefusals = 3

const (
	// maxCount is more refusals than any remote system allows.
	maxCount = 1000
	// certainRefusals is how many known refusals stop all calls until an operator acts: a refused call and a refused check
	// are not a coincidence.
	certainRefusals = 2
	// minWindow is the shortest time after which a remote system has probably forgotten refusals.
	minWindow = 6 * time.Minute

	// minMargin is added to how long a remote system remembers refusals of a sender.
	minMargin = 10 * time.Second

	firstHold = time.Minute
	lastHold  = 30 * time.Minute
	// probeGap is the shortest time between a throttled call and one that an operator requests all the same.
	probeGap = firstHold / 2
	// minHint and maxHint bound the wait that a remote system asks for.
	minHint = 5 * time.Second
	maxHint = time.Hour
	// holdStored is the shortest hold that is stored, so that it survives a restart.
	holdStored = 10 * time.Second
)

// ErrFull: no permit is free, and the caller does not wait.
var ErrFull = errors.New("no permit is free")

// Guard guards one credential at one service. Its methods may be called concurrently.
type Guard struct {
	*login
	// holdKey is the key of the entry of the hold.
	holdKey string
	// sender counts the refusals of all credentials; nil if the remote system does not.
	sender *budget

	// What follows is guarded by login.mu.

	// hold is the current hold, and holds counts holds in a row.
	hold   Hold
	holds  int
	loaded bool // hold is at least as late as that of the entry
	// ended is when a call ended the last hold.
	ended time.Time
	// here is the number of running calls to this service.
	here int
}

// login is what the guards of a credential at several services share.
type login struct {
	Config
	key     string
	former  string // the key of the entry that earlier versions stored; "" if the same
	lockout provider.Lockout
	// checking is held during the one check after a refusal.
	checking chan struct{}
	// storing is held while an entry is updated.
	storing chan struct{}
	guards  map[string]*Guard // by service; guarded by Guards.mu

	mu sync.Mutex // guards the fields below; never held over a call
	// used: a connection was opened with the guard since the last call of Guards.Keep.
	used bool
	// proved: a call has worked since the start, and none was refused after it. secret is the fingerprint of the secret that
	// the call presented.
	proved bool
	secret string
	// leased: the entry counts calls that this process may make, not their results. See uncounted.
	leased bool
	// refusals counts the refusals in a row that this process has seen, and trials those of them that were trials.
	refusals, trials int
	// unanswered counts the calls since the last one that worked that may have been refused. They matter only once a refusal
	// is seen, because most answers are lost in outages. A login for a session only presents the credential, so it counts at
	// once.
	unanswered int
	// last is when the last of these was answered, and by the connection whose call was refused last.
	last time.Time
	by   string
	// total counts since the start. A call that works proves nothing about what happened while it was running, because the
	// remote system may have handled it before.
	total counts
	// suspect: a call was refused, and the check after it has not ended.
	suspect bool
	running int
	changed chan struct{} // closed and replaced when a call ends
}

// doubts counts how often proved was reset.
type counts struct{ refusals, trials, unanswered, doubts int }

// Key returns the key of the guard's entry.
func (g *login) Key() string { return g.key }

// HoldKey returns the key of the entry of the guard's hold.
func (g *Guard) HoldKey() string { return g.holdKey }

// Counts reports whether refusals are counted, because the remote system locks the credential.
func (g *login) Counts() bool { return g.lockout.Refusals > 0 }

// Costly reports whether a refusal counts, for the credential or for the sender.
func (g *Guard) Costly() bool { return g.Counts() || g.sender != nil }

// limit returns how many refusals in a row the engine may cause; 0 if nothing is locked.
func (g *login) limit() int { return max(0, g.lockout.Refusals-1) }

// together returns how many calls may present a working credential at a time. Even if all of them are refused at once,
// another call and a check are still possible.
func (g *login) together() int {
	if g.lockout.Session {
		return 1 // one login serves all calls
	}
	return max(1, g.limit()/2)
}

// Forgets returns how long the remote system may remember refusals if no other call is made.
func (g *login) Forgets() time.Duration {
	return timing.Scaled(max(minWindow, g.lockout.Window+time.Minute))
}

// Room returns how many calls may run at a time.
func (g *Guard) Room() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	room := max(1, g.uncounted())
	if g.holds > 0 {
		room = 1 // a probe after the hold
	}
	return min(room, g.sender.room())
}

// uncounted returns how many calls may run that are not counted in storage one by one. While a lease is in force, the entry
// covers these calls and the unanswered ones. g.mu must be held.
func (g *login) uncounted() int {
	switch {
	case !g.Counts(), g.lockout.Session && g.proved && g.leased:
		return math.MaxInt
	case g.proved && g.leased:
		return g.together() - g.unanswered
	default:
		return 0
	}
}

// doubt records that the credential is no longer known to work. g.mu must be held.
func (g *login) doubt() {
	g.proved = false
	g.total.doubts++
}

// Enter takes a permit. If none is free, it waits until the context ends; with a nil context, it returns [ErrFull].
func (g *Guard) Enter(waiting context.Context) (*Permit, error) {
	for {
		g.mu.Lock()
		var crowded <-chan struct{} // closed when a call of the same sender ends
		if g.running < max(1, g.uncounted()) && (g.holds == 0 || g.here == 0) {
			if crowded = g.sender.enter(); crowded == nil {
				g.running++
				g.here++
				p := &Permit{guard: g, counted: g.uncounted() <= 0, proved: g.proved, total: g.total, holds: g.holds}
				g.mu.Unlock()
				return p, nil
			}
		}
		changed := g.changed
		g.mu.Unlock()
		if waiting == nil {
			return nil, ErrFull
		}
		select {
		case <-changed:
		case <-crowded:
		case <-waiting.Done():
			return nil, waiting.Err()
		}
	}
}

// Suspected reports whether the credential was refused and is being checked.
func (g *login) Suspected() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.suspect
}

// Check waits until no other caller checks a refused credential, and until running calls have ended, because they may be
// refused too. It waits for these calls for at most limit. Call done after the check; it ends the suspicion.
func (g *login) Check(ctx context.Context, limit time.Duration) (done func(), err error) {
	select {
	case g.checking <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	g.drain(ctx, limit)
	return func() {
		g.mu.Lock()
		g.suspect = false
		g.mu.Unlock()
		<-g.checking
	}, nil
}

// drain waits until no call is running. No new call begins while the credential is suspected.
func (g *login) drain(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		g.mu.Lock()
		running, changed := g.running, g.changed
		g.mu.Unlock()
		if running == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
