package modelcheck

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// coverage counts the events in each state of a role, as creds reports it, and under each condition.
type coverage struct {
	columns []string // states, then conditions
	events  []string
	counts  map[string]map[string]int // by event, then column
}

// Conditions under which events are counted, beside the states.
const (
	isDue      = "due"
	isOnRead   = "on read" // a read changes it when it is due
	isShut     = "shut"    // its window is not open
	isDisabled = "disabled"
	isPaused   = "paused"
	isFrozen   = "frozen"
)

// Events that the engine causes.
const (
	dueChange   = "engine begins a due change"
	readChange  = "read begins a due change"
	retries     = "engine retries"
	probeOpens  = "probe opens the connection"
	startFrozen = "start freezes the mount"
	freezeOver  = "freeze ends by itself"

	driftFound      = "login finds drift"
	driftRecovered  = "login ends drift"
	proofSettles    = "login settles an unknown outcome"
	provedEarly     = "login proves a queued password"
	restartStops    = "restart: the engine stops"
	restartPasses   = "restart: the engine goes on"
	crashInRestart  = "crash: between request and answer of a restart"
	proofWaits      = "login has to wait for the budget"
	crashAfterLogin = "crash: between login and its storing"
)

func newCoverage() *coverage {
	c := &coverage{counts: map[string]map[string]int{}}
	for _, s := range credential.States() {
		c.columns = append(c.columns, string(s))
	}
	c.columns = append(c.columns, isDue, isOnRead, isShut, isDisabled, isPaused, isFrozen)
	for _, e := range slices.Concat(requests, occurrences) {
		if !onlyWithoutRole[e.name] {
			c.events = append(c.events, e.name)
		}
	}
	c.events = append(c.events, dueChange, readChange, retries, probeOpens, startFrozen, freezeOver,
		driftFound, driftRecovered, proofSettles, provedEarly, proofWaits, crashAfterLogin, restartStops, restartPasses, crashInRestart)
	for _, f := range fates {
		c.events = append(c.events, string(f))
	}
	for _, v := range []provider.Verdict{provider.Works, provider.Refused, provider.CannotTell} {
		c.events = append(c.events, "login: "+string(v))
	}
	for _, p := range []crashPoint{beforeWrite, afterWrite, onArrival, onAnswer} {
		c.events = append(c.events, "crash: "+string(p))
	}
	for _, r := range reactions {
		c.events = append(c.events, string(r))
	}
	for _, e := range c.events {
		c.counts[e] = map[string]int{}
	}
	return c
}

// onlyWithoutRole are events that come before a role has a state.
var onlyWithoutRole = map[string]bool{"create": true, "adopt": true}

func (c *coverage) count(columns []string, event string) {
	counts := c.counts[event]
	if counts == nil {
		return
	}
	for _, column := range columns {
		if column != "" {
			counts[column]++
		}
	}
}

// columns are the state and the conditions of the role. w.mu is held.
func (acc *account) columns() []string { return append(acc.conditions(acc.w.now()), acc.state) }

// storedColumns are the state of the role as stored, and its conditions. w.mu is held.
func (acc *account) storedColumns(now time.Time) []string {
	list := acc.conditions(now)
	if r := acc.w.role(acc.role); r != nil {
		list = append(list, string(r.Record.View(now).State))
	}
	return list
}

// conditions are those that the role is in. w.mu is held.
func (acc *account) conditions(now time.Time) []string {
	r := acc.w.role(acc.role)
	if r == nil {
		return nil
	}
	var list []string
	add := func(condition string, is bool) {
		if is {
			list = append(list, condition)
		}
	}
	due := acc.due(r)
	add(isDue, !due.IsZero() && !due.After(now))
	add(isOnRead, !due.IsZero() && r.Options.RotationMode == role.ModeOnRead)
	add(isShut, !windowOpen(r.Options, now))
	add(isDisabled, r.Options.Disabled)
	add(isPaused, acc.system.pause() != nil)
	add(isFrozen, acc.w.node.gate.frozen(now))
	return list
}

// countAll counts an event for all roles of a system; nil: of all systems. w.mu is held.
func (w *world) countAll(s *system, event string) {
	for _, acc := range w.accounts {
		if s == nil || acc.system == s {
			w.cover.count(acc.columns(), event)
		}
	}
}

// check logs which pairs of column and event have occurred, and fails if one has that cannot. enough: the sequences were
// enough to expect most of those that can.
func (c *coverage) check(t *testing.T, enough bool) {
	t.Helper()
	table, covered, total, wrong := c.table()
	t.Logf("events by state and condition (-: impossible)\n%s\ncovered %d of %d", table, covered, total)
	for _, pair := range wrong {
		t.Errorf("%s, which is impossible", pair)
	}
	if enough && covered*100 < total*leastCoverage {
		t.Errorf("covered %d of %d pairs of state and event, less than %d %%\n%s", covered, total, leastCoverage, table)
	}
}

// table shows all pairs, and returns how many of the possible ones have occurred, and which impossible ones have.
func (c *coverage) table() (text string, covered, total int, wrong []string) {
	var out strings.Builder
	fmt.Fprintf(&out, "%-47s", "")
	for _, column := range c.columns {
		fmt.Fprintf(&out, "%10.9s", column)
	}
	for _, e := range c.events {
		fmt.Fprintf(&out, "\n%-47s", e)
		for _, column := range c.columns {
			n := c.counts[e][column]
			if !canHappen(column, e) {
				if n > 0 {
					wrong = append(wrong, fmt.Sprintf("a role was %s at %q", column, e))
				}
				fmt.Fprintf(&out, "%10s", "-")
				continue
			}
			if !isRare(column, e) {
				if total++; n > 0 {
					covered++
				}
			}
			fmt.Fprintf(&out, "%10d", n)
		}
	}
	return out.String(), covered, total, wrong
}

// Events that need a certain kind of remote system.
var (
	withServers = []string{"confirm on some servers", "a server restarts", string(partial)}
	withOld     = []string{"a user mistypes the old password", "a user locks the account", string(wrongOld), string(locked)}
	withQueue   = []string{string(stillPending)}
	atOnce      = []string{string(notInForce)}
)

// usual are the states and conditions in which what belongs to logins and restarts must occur. In others it is rare.
var usual = map[string][]string{
	driftFound:      {string(credential.StateActive), string(credential.StateAssumed), isOnRead},
	driftRecovered:  {string(credential.StateDrifted)},
	proofSettles:    {string(credential.StateUncertain)},
	provedEarly:     {string(credential.StateAccepted)},
	proofWaits:      {string(credential.StateRestartRequired), string(credential.StateActive), string(credential.StateAccepted)},
	crashAfterLogin: {string(credential.StateActive), string(credential.StateRestartRequired)},
	crashInRestart:  {string(credential.StateRestartRequired)},
	restartStops:    {string(credential.StateRestartRequired), isDue},
	restartPasses:   {string(credential.StateRestartRequired), isDue},
}

// isRare reports whether an event may happen to a role in this state or condition, and need not.
func isRare(column, event string) bool {
	if slices.Contains(fates, fate(event)) {
		return column != string(credential.StateRestartRequired)
	}
	columns := usual[event]
	return columns != nil && !slices.Contains(columns, column)
}

// canHappen reports whether an event can happen to a role in this state or condition.
func canHappen(column, event string) bool {
	servers, old, queue := slices.Contains(withServers, event), slices.Contains(withOld, event), slices.Contains(withQueue, event)
	if slices.Contains(fates, fate(event)) { // a restart is requested only for a password that waits for it
		state := slices.Contains(credential.States(), credential.State(column))
		return state == (column == string(credential.StateRestartRequired)) && column != isDisabled && column != isFrozen
	}
	switch column {
	case string(credential.StateNone): // the old password can only be a discarded one, which is tried last
		return event != dueChange && event != readChange
	case string(credential.StateActive), string(credential.StateDrifted): // a login shows either
		return true
	case string(credential.StateAccepted): // an operator may replace what no login has shown
		return !servers && !old && event != dueChange && event != readChange && !slices.Contains(atOnce, event)
	case string(credential.StateRestartRequired):
		return !old && !queue && !slices.Contains(atOnce, event) && event != dueChange && event != readChange
	case string(credential.StateUncertain):
		return event != dueChange && event != readChange
	case isOnRead:
		return event != dueChange
	case isShut:
		return event != dueChange
	case isDisabled:
		return event != dueChange && event != readChange && event != retries
	case isFrozen:
		return event != dueChange && event != freezeOver // a start may freeze a mount for longer
	default: // also isPaused: a new or working credential is used shortly before health says that the pause has ended
		return true
	}
}
