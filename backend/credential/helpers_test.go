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

// The times of these tests: a request has to end after requestTime, and start is when everything begins.
const requestTime = 30 * time.Second

// servers are the parts of an account that consists of several.
var servers = []string{"a", "b"}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// value is the password that the stories give the n-th version.
func value(n int) string { return fmt.Sprintf("password-%d", n) }

func encoded(t testing.TB, r Record) string {
	t.Helper()
	out, err := json.Marshal(r)
	require.NoError(t, err)
	return string(out)
}

// stored is the record as it comes back from storage.
func stored(t testing.TB, r Record) Record {
	t.Helper()
	var out Record
	require.NoError(t, json.Unmarshal([]byte(encoded(t, r)), &out))
	return out
}

// step applies an event to a record, and the same event to what storage gives back of it: a crash before the event must
// not matter. The record itself must stay as it was.
func step(t testing.TB, r Record, event func(Record) (Record, error)) (Record, error) {
	t.Helper()
	before := encoded(t, r)
	afterCrash := stored(t, r)
	out, err := event(r)
	require.Equal(t, before, encoded(t, r), "the event changed its receiver")
	resumed, errResumed := event(afterCrash)
	require.Equal(t, fmt.Sprint(err), fmt.Sprint(errResumed))
	require.Equal(t, encoded(t, out), encoded(t, resumed), "the event does something else after a crash")
	return out, err
}

// describe puts what a record holds into words.
func describe(r Record) string {
	var out []string
	add := func(words ...string) {
		words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
		out = append(out, strings.Join(words, " "))
	}
	if c := r.Current; c != nil {
		add(fmt.Sprintf("current %d", c.Version), when(c.Confirmed, "confirmed"), when(c.Refused, "refused"))
	}
	if n := r.Next; n != nil {
		add(fmt.Sprintf("next %d", n.Version), string(n.Phase), when(n.Stage != n.Phase, string(n.Stage)), parts("taken", n.Taken), parts("on", n.InForceOn))
	}
	for _, c := range r.Candidates {
		add(fmt.Sprintf("candidate %d", c.Version), string(c.Why), when(c.Overtaken, "overtaken"), when(c.Outlived, "outlived"),
			when(c.Refused, "wrong"), parts("taken", c.Taken), parts("on", c.InForceOn))
	}
	if p := r.Previous; p != nil {
		add(fmt.Sprintf("previous %d", p.Version), when(p.State != ListedPrevious, p.State), when(p.Open, "open"))
	}
	for _, p := range r.History {
		add(fmt.Sprintf("history %d", p.Version), p.State, when(p.Open, "open"), when(p.Late, "late"))
	}
	return strings.Join(out, ", ")
}

func when(is bool, word string) string {
	if is {
		return word
	}
	return ""
}

func parts(word string, names []string) string {
	return when(len(names) > 0, word+" "+strings.Join(names, "+"))
}

// tells puts what a reader is told into words.
func tells(r Record, now time.Time) string {
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

// story is a record that events happen to one after the other, with a crash before each of them.
type story struct {
	testing.TB
	Record
}

func (s *story) do(event func(Record) Record) {
	s.Helper()
	out, err := step(s.TB, s.Record, func(r Record) (Record, error) { return event(r), nil })
	require.NoError(s, err)
	s.Record = out
}

func (s *story) try(event func(Record) (Record, error)) error {
	s.Helper()
	out, err := step(s.TB, s.Record, event)
	s.Record = out
	return err
}

// made makes a password and fails the test where that is not possible.
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

// changed is a change that goes well.
func (s *story) changed(n, second int) {
	s.Helper()
	s.made(n, second)
	s.sent(second)
	s.applied(second)
}

func (s *story) is(want string) {
	s.Helper()
	require.Equal(s, want, describe(s.Record))
}

func (s *story) reads(second int, want string) {
	s.Helper()
	require.Equal(s, want, tells(s.Record, at(second)))
}

// lists tells whether the record holds the password of that version, in history/:name's words.
func (s *story) lists(n int, state string) {
	s.Helper()
	for _, listed := range s.List() {
		if listed.Value == value(n) {
			require.Equal(s, state, listed.State)
			return
		}
	}
	require.Failf(s, "lost", "password %d is not listed any more: %s", n, describe(s.Record))
}
