package modelcheck

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"vault-plugin-secrets-hosting/backend/credential"
)

// coverage counts the pairs of a role's state, as creds has it, and an event.
type coverage struct {
	events []string
	counts map[string]map[string]int // by event, then state
}

func newCoverage() *coverage {
	c := &coverage{counts: map[string]map[string]int{}}
	add := func(names ...string) {
		for _, name := range names {
			c.events = append(c.events, name)
			c.counts[name] = map[string]int{}
		}
	}
	for _, list := range [][]event{requests, happenings} {
		for _, e := range list {
			if !onlyWithoutRole[e.name] {
				add(e.name)
			}
		}
	}
	for _, m := range []moment{beforeWrite, afterWrite, onArrival, onAnswer} {
		add("crash: " + string(m))
	}
	for _, f := range []fate{done, slowly, cutDone, cutUndone, late, veryLate, hangs, busy, throttled, badPassword, badTarget, hiccup, noRights,
		unreachable, partly, wrongKey, wrongOld, locked, stillPending} {
		add(string(f))
	}
	return c
}

// onlyWithoutRole are events that come before a role has a state.
var onlyWithoutRole = map[string]bool{"create": true, "adopt": true}

func (c *coverage) count(state, event string) {
	if states := c.counts[event]; states != nil && state != "" {
		states[state]++
	}
}

// judge shows which pairs are covered, and fails if too few are, or one that cannot be. few: what was told does not say.
func (c *coverage) judge(t *testing.T, few bool) {
	t.Helper()
	table, covered, possible, wrong := c.table()
	t.Logf("pairs of state and event (-: cannot be)\n%s\ncovered %d of %d", table, covered, possible)
	for _, pair := range wrong {
		t.Errorf("%s, which cannot be", pair)
	}
	if !few && covered*100 < possible*leastCoverage {
		t.Errorf("covered %d of %d pairs of state and event, which is less than %d %%\n%s", covered, possible, leastCoverage, table)
	}
}

// table shows every pair, and tells how many of those that can be there are, and which there are of those that cannot.
func (c *coverage) table() (text string, covered, possible int, wrong []string) {
	var out strings.Builder
	fmt.Fprintf(&out, "%-46s", "")
	for _, s := range credential.States() {
		fmt.Fprintf(&out, "%10.9s", s)
	}
	for _, e := range c.events {
		fmt.Fprintf(&out, "\n%-46s", e)
		for _, s := range credential.States() {
			n := c.counts[e][string(s)]
			if !canBe(s, e) {
				if n > 0 {
					wrong = append(wrong, fmt.Sprintf("a role was %s at %q", s, e))
				}
				fmt.Fprintf(&out, "%10s", "-")
				continue
			}
			if possible++; n > 0 {
				covered++
			}
			fmt.Fprintf(&out, "%10d", n)
		}
	}
	return out.String(), covered, possible, wrong
}

// Events that need a certain kind of remote system.
var (
	withServers = []string{"confirm on some servers", "a server restarts", string(partly)}
	withOld     = []string{"somebody mistypes the old password", "somebody locks the account", string(wrongOld), string(locked)}
	withQueue   = []string{string(stillPending)}
)

// canBe tells whether a pair of state and event can be.
func canBe(state credential.State, event string) bool {
	servers, old, queue := slices.Contains(withServers, event), slices.Contains(withOld, event), slices.Contains(withQueue, event)
	switch state {
	case credential.StateNone: // there is no old password to send then
		return event != string(wrongOld) && event != string(locked)
	case credential.StateActive: // what waits for a restart or in a queue is never confirmed
		return !servers && !queue
	case credential.StateAccepted: // nothing is sent before the queue is empty
		return !servers && !old && !strings.HasPrefix(event, "answer: ")
	case credential.StateRestartRequired:
		return !old && !queue
	case credential.StateDrifted: // refused as an old password
		return !servers && !queue
	default:
		return true
	}
}
