// Package lab holds what every simulated system shares: a clock that tests can
// advance, a journal of what happened, faults, listeners that can be shut, and
// the one place where a request meets a fault ([Lab.Serve]).
//
// A system is a folder of its own. It implements [System], reads and checks a
// request as strictly as the real one does, and hands what it admitted to
// [Lab.Serve] as a [Call]. Serve looks for a fault and then either sends the
// system's own answer, or one that the fault asks for. A fault therefore never
// makes a system laxer: a request that the real system would refuse is refused,
// fault or not.
//
// Nothing in this package is meant for production: it exists to be lied to.
package lab

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
)

// Classes of operations, by which faults are addressed.
const (
	OpChange  = "change"  // changes the password of an account; what faults apply to by default
	OpCheck   = "check"   // reads without listing: get_protos, gen_info, show instance
	OpList    = "list"    // lists instances, accounts or services
	OpToken   = "token"   // gets a token
	OpRoot    = "root"    // changes the credential that the caller itself logs in with
	OpLogin   = "login"   // logs in as the account: AUTH at a Redis door, SSH
	OpRestart = "restart" // restarts a server or switches its power
)

// Operations are all classes, in the order of the documentation.
var Operations = []string{OpChange, OpCheck, OpList, OpToken, OpRoot, OpLogin, OpRestart}

// A System is one simulated remote system. All methods may be called
// concurrently with requests.
type System interface {
	// Name is how the control API calls the system.
	Name() string
	// State describes accounts and settings. It must not hold a secret.
	State() any
	// Switch changes one setting. The error names what is allowed.
	Switch(name string, value json.RawMessage) error
	// SetPassword changes a password behind the back of whoever manages it.
	SetPassword(ctx context.Context, target, password string) error
}

// Lab is the equipment shared by the systems of one simulator.
// All methods are safe for concurrent use.
type Lab struct {
	Journal *Journal
	Faults  *Faults
	Clock   *Clock
	Secrets *Secrets

	background sync.WaitGroup
	ctx        context.Context // ends with Stop; bounds delays and held answers
	cancel     context.CancelFunc

	mu          sync.Mutex
	inFlight    map[string]int // system/target → changes being handled now
	maxInFlight map[string]int
	passwords   map[string][]string // system/target → the different ones that changes came with
	trapURL     string
}

// New makes the equipment. now is the base of the clock; nil means time.Now.
func New(now func() time.Time) *Lab {
	clock := NewClock(now)
	ctx, cancel := context.WithCancel(context.Background())
	return &Lab{
		Journal:     &Journal{clock: clock},
		Faults:      &Faults{},
		Clock:       clock,
		Secrets:     &Secrets{},
		ctx:         ctx,
		cancel:      cancel,
		inFlight:    map[string]int{},
		maxInFlight: map[string]int{},
		passwords:   map[string][]string{},
	}
}

// Stop ends every delay and held answer, and drops late changes.
func (l *Lab) Stop() { l.cancel() }

// Close is Stop, and waits until nothing of it runs any more. No call may be
// served at that time.
func (l *Lab) Close() {
	l.cancel()
	l.background.Wait()
}

// SetTrapURL tells where a redirect leads that names no URL of its own.
func (l *Lab) SetTrapURL(url string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trapURL = url
}

func (l *Lab) trap() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trapURL
}

// MaxConcurrentChanges is, for each "system/target", how many changes were ever
// being handled at the same time: more than one means that a client let two
// changes of one account overlap.
func (l *Lab) MaxConcurrentChanges() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.maxInFlight)
}

// enter counts the changes of the call as in flight until the returned function
// is called.
func (l *Lab) enter(c *Call) (leave func()) {
	if c.Class != OpChange {
		return func() {}
	}
	keys := make([]string, 0, len(c.Targets))
	for _, t := range c.Targets {
		keys = append(keys, c.System+"/"+t)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.nth = map[string]int{}
	for i, k := range keys {
		l.inFlight[k]++
		l.maxInFlight[k] = max(l.maxInFlight[k], l.inFlight[k])
		if c.Password != "" {
			c.nth[c.Targets[i]] = l.nth(k, c.Password)
		}
	}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, k := range keys {
			l.inFlight[k]--
		}
	})
}

// nth is the place of a password among the different ones of a target, from 1; l.mu is held.
func (l *Lab) nth(key, password string) int {
	at := slices.Index(l.passwords[key], password)
	if at < 0 {
		at = len(l.passwords[key])
		l.passwords[key] = append(l.passwords[key], password)
	}
	return at + 1
}

// wait returns true after d, or false when the lab stops.
func (l *Lab) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return l.ctx.Err() == nil
	case <-l.ctx.Done():
		return false
	}
}
