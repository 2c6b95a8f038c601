package rotation

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// Freeze is a pause of all that the engine does by itself: what becomes due, retries, and what a read would set off.
// Requests of operators go on.
type Freeze struct {
	Schema int       `json:"schema"`
	Since  time.Time `json:"since"`
	// Until is when it ends by itself; zero: when somebody ends it.
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason"`
}

// over tells whether it has ended by itself.
func (f *Freeze) over(now time.Time) bool {
	return f == nil || !f.Until.IsZero() && !now.Before(f.Until)
}

// String is why nothing goes on by itself, and until when, as a clause.
func (f *Freeze) String() string {
	end := "until somebody ends it with: vault delete MOUNT/freeze"
	if !f.Until.IsZero() {
		end = "until " + stamp(f.Until)
	}
	return fmt.Sprintf("automatic changes of this mount are frozen since %s, %s (%s)", stamp(f.Since), end, f.Reason)
}

const (
	freezeKey    = "freeze"
	heartbeatKey = "heartbeat"
	maxReason    = 500
	// maxFreeze keeps a freeze from being forgotten.
	maxFreeze = 90 * 24 * time.Hour
	// lastBeat is the longest time between two heartbeats.
	lastBeat = 10 * time.Minute
	// wakeEvery is how often Vault calls the periodic function, about.
	wakeEvery = time.Minute
)

// heartbeat is stored while the engine runs, so that the next start knows for how long it did not.
type heartbeat struct {
	Schema int       `json:"schema"`
	Time   time.Time `json:"time"`
}

// ice is what an engine knows of the mount's freeze.
type ice struct {
	mu sync.Mutex // guards the fields below; never held over a call
	// known: storage was asked. Before that nothing goes on by itself.
	known  bool
	freeze *Freeze
	// problem is why it is not known.
	problem error
	thaw    *time.Timer
	beaten  time.Time
	limit   time.Duration // catch_up_limit
}

// mayAct tells whether the engine may do anything by itself now.
func (e *Engine) mayAct() bool {
	e.ice.mu.Lock()
	defer e.ice.mu.Unlock()
	return e.ice.known && e.ice.freeze.over(e.clock())
}

// frozen returns the freeze that is in force, or nil.
func (e *Engine) frozen() *Freeze {
	e.ice.mu.Lock()
	defer e.ice.mu.Unlock()
	if e.ice.freeze.over(e.clock()) {
		return nil
	}
	return e.ice.freeze
}

// begun tells whether it is known that the engine may act by itself or not, else maybe why not.
func (e *Engine) begun() (known bool, problem error) {
	e.ice.mu.Lock()
	defer e.ice.mu.Unlock()
	return e.ice.known, e.ice.problem
}

// setFreeze takes a freeze, or its end, into account.
func (e *Engine) setFreeze(f *Freeze) {
	e.ice.mu.Lock()
	defer e.ice.mu.Unlock()
	if e.ice.thaw != nil {
		e.ice.thaw.Stop()
		e.ice.thaw = nil
	}
	e.ice.known, e.ice.freeze, e.ice.problem = true, f, nil
	if f != nil && !f.Until.IsZero() {
		e.ice.thaw = time.AfterFunc(max(0, f.Until.Sub(e.clock())), e.thawed)
	}
}

// thawed lets what has waited begin, spread out.
func (e *Engine) thawed() {
	if e.ctx.Err() != nil {
		return
	}
	e.logger.Info("automatic changes go on: the freeze is over")
	e.spreadLate()
}

// spreadLate lets all that has waited begin within catchUp.
func (e *Engine) spreadLate() {
	e.scheduler.spread(func(string) time.Duration { return e.spreadOut() })
}

// WriteFreeze freezes the mount: for a time, or with 0 until Thaw.
func (e *Engine) WriteFreeze(ctx context.Context, storage logical.Storage, duration time.Duration, reason string) (*Freeze, error) {
	reason = strings.TrimSpace(reason)
	switch {
	case reason == "":
		return nil, Mistake("reason is missing: whoever finds the mount frozen has to know why")
	case len(reason) > maxReason:
		return nil, Mistake("reason is too long: at most %d bytes", maxReason)
	case duration == 0:
		return nil, Mistake("duration is missing: say for how long, as in duration=2h")
	case duration < 0 || duration > maxFreeze:
		return nil, Mistake("duration must be between 1 second and %d days: a freeze that nobody ends would be forgotten", int(maxFreeze/(24*time.Hour)))
	}
	now := e.clock()
	f := &Freeze{Since: now, Until: now.Add(duration), Reason: reason}
	if before := e.frozen(); before != nil {
		if before.Until.IsZero() { // an end by itself is not what an operator said
			return nil, Mistake("the mount stays frozen until somebody ends it, and needs no other freeze: %s", before)
		}
		f.Since = before.Since
	}
	if err := e.storeFreeze(ctx, store{storage}, f); err != nil {
		return nil, err
	}
	e.logger.Warn("automatic changes are frozen", "since", stamp(f.Since), "until", stamp(f.Until), "reason", reason)
	return f, nil
}

func (e *Engine) storeFreeze(ctx context.Context, s store, f *Freeze) error {
	if _, err := s.raw(ctx, freezeKey); err != nil {
		return storageError("reading the freeze", err)
	}
	f.Schema = schemaVersion
	if err := s.put(ctx, freezeKey, f); err != nil {
		return notStored("storing the freeze", err)
	}
	e.setFreeze(f)
	return nil
}

// ReadFreeze returns the freeze that is in force, or nil.
func (e *Engine) ReadFreeze(ctx context.Context, storage logical.Storage) (*Freeze, error) {
	f, err := store{storage}.freeze(ctx)
	if err == nil {
		_, err = e.begun()
	}
	if err != nil || f.over(e.clock()) {
		return nil, storageError("finding out whether the engine may act by itself", err)
	}
	return f, nil
}

// Thaw ends a freeze. What has become due in it is done soon, spread out. No freeze is no error.
func (e *Engine) Thaw(ctx context.Context, storage logical.Storage) error {
	s := store{storage}
	if err := s.remove(ctx, freezeKey); err != nil {
		return notStored("ending the freeze", err)
	}
	if e.frozen() == nil {
		return nil
	}
	e.setFreeze(nil)
	e.thawed()
	return nil
}

func (s store) freeze(ctx context.Context) (*Freeze, error) {
	var f Freeze
	found, err := s.get(ctx, freezeKey, &f)
	if err != nil || !found {
		return nil, err
	}
	return &f, nil
}

// frozenError is the answer to a reader who would set off a change.
func frozenError(role string, f *Freeze) error {
	return busy("the role %q has no password yet, and %s: an operator can set one with rotate-role/%s", role, f, role)
}

// begin finds out whether the engine may act by itself after a start: not where it did not run for longer than
// catch_up_limit. It tells whether it has found out.
func (e *Engine) begin(ctx context.Context) bool {
	if known, _ := e.begun(); known {
		return true
	}
	s := e.own()
	now := e.clock()
	var last heartbeat
	settings, err := e.ReadSettings(ctx, s.storage)
	if err != nil {
		return e.notBegun(err)
	}
	f, err := s.freeze(ctx)
	if err != nil {
		return e.notBegun(err)
	}
	if _, err = s.get(ctx, heartbeatKey, &last); err != nil {
		return e.notBegun(err)
	}
	e.setLimit(settings)
	limit := seconds(settings.CatchUpLimit)
	if f.over(now) && !last.Time.IsZero() && now.Sub(last.Time) > limit+scaled(beatEvery(limit)+wakeEvery) {
		f = &Freeze{Since: now, Reason: fmt.Sprintf("the engine was last known to run at %s, which is longer ago than the catch_up_limit of %d seconds: if this is a copy of another Vault, its roles would change passwords that are in use there",
			stamp(last.Time), settings.CatchUpLimit)}
		if err := e.storeFreeze(ctx, s, f); err != nil {
			return e.notBegun(err)
		}
		e.logger.Error("nothing is changed automatically: the engine did not run for longer than catch_up_limit", "last_heartbeat", stamp(last.Time),
			"catch_up_limit", settings.CatchUpLimit, "advice", "if it is to go on: vault delete MOUNT/freeze")
	} else {
		e.setFreeze(f)
		e.spreadLate() // requests may have told of roles before
	}
	e.beat(ctx)
	return true
}

// notBegun remembers why nothing goes on by itself yet.
func (e *Engine) notBegun(err error) bool {
	e.ice.mu.Lock()
	e.ice.problem = err
	e.ice.mu.Unlock()
	if e.ctx.Err() == nil {
		e.logger.Error("whether the engine may act by itself could not be found out; it is tried again in a minute", "error", err)
	}
	return false
}

// setLimit takes the mount's settings into account.
func (e *Engine) setLimit(s Settings) {
	e.ice.mu.Lock()
	defer e.ice.mu.Unlock()
	e.ice.limit = seconds(s.CatchUpLimit)
}

// beatEvery is how often a heartbeat is stored.
func beatEvery(limit time.Duration) time.Duration { return min(lastBeat, limit/4) }

// beats tells whether it is time to store a heartbeat.
func (e *Engine) beats() bool {
	e.ice.mu.Lock()
	defer e.ice.mu.Unlock()
	return e.ice.known && e.clock().Sub(e.ice.beaten) >= beatEvery(e.ice.limit)
}

// stop keeps a freeze from ending after the engine has.
func (i *ice) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.thaw != nil {
		i.thaw.Stop()
	}
}

// beat stores that the engine runs.
func (e *Engine) beat(ctx context.Context) {
	if !e.writable() {
		return
	}
	now := e.clock()
	e.ice.mu.Lock()
	e.ice.beaten = now
	e.ice.mu.Unlock()
	s := e.own()
	_, err := s.raw(ctx, heartbeatKey)
	if err == nil {
		err = s.put(ctx, heartbeatKey, heartbeat{Schema: schemaVersion, Time: now})
	}
	if err != nil && ctx.Err() == nil {
		e.logger.Warn("the heartbeat could not be stored", "error", err)
	}
}
