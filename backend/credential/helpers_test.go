package credential

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// requestTime is how long after it was sent a request must have ended.
const requestTime = 30 * time.Second

// servers are the parts of an account that exists on several servers.
var servers = []string{"a", "b"}

// start is second 0 of every story.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// value returns the password that the stories use for version n.
func value(n int) string { return fmt.Sprintf("password-%d", n) }

func encoded(t testing.TB, r Record) string {
	t.Helper()
	out, err := json.Marshal(r)
	require.NoError(t, err)
	return string(out)
}

// stored returns the record as read back from storage.
func stored(t testing.TB, r Record) Record {
	t.Helper()
	var out Record
	require.NoError(t, json.Unmarshal([]byte(encoded(t, r)), &out))
	return out
}

// step applies an event to a record, and to the same record read back from storage: a crash before the event must make no
// difference. The original record must not change.
func step(t testing.TB, r Record, event func(Record) (Record, error)) (Record, error) {
	t.Helper()
	before := encoded(t, r)
	afterCrash := stored(t, r)
	out, err := event(r)
	require.Equal(t, before, encoded(t, r), "the event modified its receiver")
	resumed, errResumed := event(afterCrash)
	require.Equal(t, fmt.Sprint(err), fmt.Sprint(errResumed))
	require.Equal(t, encoded(t, out), encoded(t, resumed), "the event has a different result after a crash")
	return out, err
}

// describe returns what the record holds as text.
func describe(r Record) string {
	var out []string
	add := func(texts ...string) {
		texts = slices.DeleteFunc(texts, func(text string) bool { return text == "" })
		out = append(out, strings.Join(texts, " "))
	}
	if c := r.Current; c != nil {
		add(fmt.Sprintf("current %d", c.Version), textIf(c.Confirmed, "confirmed"), textIf(c.Refused, "refused"))
	}
	if n := r.Next; n != nil {
		add(fmt.Sprintf("next %d", n.Version), string(n.Phase), textIf(n.Stage != n.Phase, string(n.Stage)), partsText("taken", n.Taken), onText(n.PartsAssumed, n.InForceOn),
			textIf(n.Unproved(), "reported"), textIf(n.LoginsRefused > 0, fmt.Sprintf("refused %d", n.LoginsRefused)), textIf(n.Resent, "resent"))
	}
	for _, c := range r.Candidates {
		add(fmt.Sprintf("candidate %d", c.Version), string(c.Why), textIf(c.Overtaken, "overtaken"), textIf(c.Outlived, "outlived"),
			textIf(c.Refused, "wrong"), partsText("taken", c.Taken), onText(c.PartsAssumed, c.InForceOn))
	}
	if p := r.Previous; p != nil {
		add(fmt.Sprintf("previous %d", p.Version), textIf(p.State != ListedPrevious, p.State), textIf(p.Open, "open"))
	}
	for _, p := range r.History {
		add(fmt.Sprintf("history %d", p.Version), p.State, textIf(p.Open, "open"), textIf(p.Late, "late"))
	}
	return strings.Join(out, ", ")
}

func textIf(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

func partsText(label string, names []string) string {
	return textIf(len(names) > 0, label+" "+strings.Join(names, "+"))
}

func onText(assumed bool, names []string) string {
	return partsText(textIf(!assumed, "proved ")+"on", names)
}

// viewText returns what a reader is told as text.
func viewText(r Record, now time.Time) string {
	v := r.View(now)
	out := string(v.State)
	if v.Password != nil {
		out += fmt.Sprintf(" %d", v.Password.Version)
	}
	if v.Next != nil {
		out += fmt.Sprintf(" or %d", v.Next.Version)
	}
	return out
}

// story is a record to which events are applied one after the other, each also after a crash.
type story struct {
	testing.TB
	Record
}

// do applies an event that cannot fail.
func (s *story) do(event func(Record) Record) {
	s.Helper()
	out, err := step(s.TB, s.Record, func(r Record) (Record, error) { return event(r), nil })
	require.NoError(s, err)
	s.Record = out
}

// try applies an event that may fail, and returns its error.
func (s *story) try(event func(Record) (Record, error)) error {
	s.Helper()
	out, err := step(s.TB, s.Record, event)
	s.Record = out
	return err
}

// made makes version n; that must succeed.
func (s *story) made(n, second int) {
	s.Helper()
	require.NoError(s, s.try(func(r Record) (Record, error) { return r.Make(value(n), "story", false, at(second)) }))
}

func (s *story) sent(second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Send(at(second).Add(requestTime), 0) })
}

func (s *story) applied(second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Applied(at(second), false) })
}

// changed is a change that the remote system confirms.
func (s *story) changed(n, second int) {
	s.Helper()
	s.made(n, second)
	s.sent(second)
	s.applied(second)
}

// is requires the record to hold this.
func (s *story) is(want string) {
	s.Helper()
	require.Equal(s, want, describe(s.Record))
}

// reads requires that a reader is told this.
func (s *story) reads(second int, want string) {
	s.Helper()
	require.Equal(s, want, viewText(s.Record, at(second)))
}

// lists requires that history/:name lists password n with this state.
func (s *story) lists(n int, state string) {
	s.Helper()
	for _, listed := range s.List() {
		if listed.Value == value(n) {
			require.Equal(s, state, listed.State)
			return
		}
	}
	require.Failf(s, "lost", "password %d is no longer listed: %s", n, describe(s.Record))
}
