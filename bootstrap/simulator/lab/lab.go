// Package lab holds what all simulated systems share: a clock that tests can
// advance, a journal, faults, listeners that can be shut, and [Lab.Serve], which
// applies faults to requests.
//
// Each system has its own package and implements [System]. It parses and
// checks a request as strictly as the real system does, and passes the requests
// that it accepts to [Lab.Serve] as a [Call]. Serve looks for a matching fault
// and sends either the system's own answer or the one that the fault calls for.
// A fault therefore never makes a system more lenient: it refuses whatever the
// real system would refuse.
//
// This package is for tests only. It does not protect the secrets that it holds.
package lab

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
)

// Classes of operations. A fault applies to one or more of them.
const (
	OpChange  = "change"  // changes the password of an account; the default class of faults
	OpCheck   = "check"   // reads a single object: get_protos, gen_info, show instance
	OpList    = "list"    // lists instances, accounts or services
	OpToken   = "token"   // gets a token
	OpRoot    = "root"    // changes the credential that the caller itself logs in with
	OpLogin   = "login"   // logs in as the account: Redis AUTH, DCS Web CLI, SSH
	OpRestart = "restart" // restarts a server or switches its power
)

// Operations lists all classes, in documentation order.
var Operations = []string{OpChange, OpCheck, OpList, OpToken, OpRoot, OpLogin, OpRestart}

// A System is one simulated remote system. All methods must be safe to call
// while requests are served.
type System interface {
	// Name returns the system's name in the control API.
	Name() string
	// State describes accounts and settings. It must not contain secrets.
	State() any
	// Switches returns the settings that [System.Switch] changes.
	Switches() Settings
	// Switch changes one setting. Its error lists what is allowed.
	Switch(name string, value json.RawMessage) error
	// SetPassword changes a password behind the engine's back.
	SetPassword(ctx context.Context, target, password string) error
}

// Lab is the state that the systems of one simulator share.
// All methods are safe for concurrent use.
type Lab struct {
	Journal *Journal
	Faults  *Faults
	Clock   *Clock
	Secrets *Secrets

	background sync.WaitGroup
	ctx        context.Context // canceled by Stop; bounds delays and held answers
	cancel     context.CancelFunc

	mu          sync.Mutex
	inFlight    map[string]int // by system/target: changes in progress
	maxInFlight map[string]int
	passwords   map[string][]string // by system/target: distinct passwords that changes have tried to set
	trapURL     string
}

// New returns a Lab. now is the base of its clock; nil means time.Now.
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

// Close calls Stop and waits for all background work to end. The caller must not
// serve calls at the same time.
func (l *Lab) Close() {
	l.cancel()
	l.background.Wait()
}

// SetTrapURL sets the default target of redirects.
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

// MaxConcurrentChanges returns, for each "system/target", the highest number of
// changes that were in progress at the same time. More than one means that a
// client let two changes of one account overlap.
func (l *Lab) MaxConcurrentChanges() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.maxInFlight)
}

// enter counts the changes of a call as in progress until leave is called.
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

// nth numbers the distinct passwords of a target, from 1. The caller holds l.mu.
func (l *Lab) nth(key, password string) int {
	at := slices.Index(l.passwords[key], password)
	if at < 0 {
		at = len(l.passwords[key])
		l.passwords[key] = append(l.passwords[key], password)
	}
	return at + 1
}

// wait waits for d and reports whether the lab is still running.
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
