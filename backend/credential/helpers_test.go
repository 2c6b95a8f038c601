package credential

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The times of these tests: a request has to end after requestTime, and start is when everything begins.
const requestTime = 30 * time.Second

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
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if c := r.Current; c != nil {
		text := fmt.Sprintf("current %d", c.Version)
		if c.Confirmed {
			text += " confirmed"
		}
		if c.Refused {
			text += " refused"
		}
		out = append(out, text)
	}
	if r.Next != nil {
		add("next %d %s", r.Next.Version, r.Next.Phase)
	}
	for _, c := range r.Candidates {
		text := fmt.Sprintf("candidate %d %s", c.Version, c.Why)
		if c.Overtaken {
			text += " overtaken"
		}
		if c.Outlived {
			text += " outlived"
		}
		if c.Refused {
			text += " wrong"
		}
		out = append(out, text)
	}
	if r.Previous != nil {
		add("previous %d", r.Previous.Version)
	}
	for _, p := range r.History {
		add("history %d %s", p.Version, p.State)
	}
	return strings.Join(out, ", ")
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
