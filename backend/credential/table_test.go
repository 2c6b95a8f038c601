package credential

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// phases returns records with version 3 in every phase of Next over a confirmed version 2; some with an unsent version 4 over
// it; and some with version 3 in force, or as a candidate.
func phases(t testing.TB) ([]string, map[string]Record) {
	t.Helper()
	base := story{TB: t}
	base.changed(1, 0)
	base.changed(2, 1)
	base.is("current 2 confirmed, previous 1")

	with := func(events ...func(Record) Record) Record {
		s := base
		s.made(3, 2)
		for _, event := range events {
			s.do(event)
		}
		return s.Record
	}
	send := func(r Record) Record { return r.Send(at(10).Add(requestTime), 2) }
	again := func(r Record) Record { return r.Send(at(20).Add(requestTime), 2) }
	accepted := func(r Record) Record { return r.Staged(Accepted, at(11)) }
	restart := func(r Record) Record { return r.Staged(RestartRequired, at(11)) }

	another := func(r Record) Record {
		out, err := r.Make(value(4), "table", false, at(15))
		require.NoError(t, err)
		return out
	}
	taken := func(r Record) Record { return r.TakenByParts(servers[:1], RestartRequired, at(11)) }

	byTime := func(r Record) Record { return r.SettleByTime(at(11), at(20)) }
	reported := func(r Record) Record { return r.Reported(false) }
	refused := func(r Record) Record { return r.LoginRefused(3, at(15), margin) }
	discarded := func(r Record) Record {
		out, err := r.Discard(3, at(15))
		require.NoError(t, err)
		return out
	}

	names := []string{
		"none", "unsent", "sending", "sending again", "unknown", "accepted", "restart_required",
		"partly taken", "partly taken, rest unknown",
		"unknown, another unsent", "accepted, another unsent", "partly taken, another unsent", "by time",
		"reported", "reported, resent", "discarded while it waits", "by time, refused",
	}
	return names, map[string]Record{
		"none":             base.Record,
		"unsent":           with(),
		"sending":          with(send),
		"sending again":    with(send, Record.Unresolved, again),
		"unknown":          with(send, Record.Unresolved),
		"accepted":         with(send, accepted),
		"restart_required": with(send, restart),

		"partly taken":               with(send, taken, Record.NotApplied),
		"partly taken, rest unknown": with(send, taken, Record.Unresolved),

		"unknown, another unsent":      with(send, Record.Unresolved, another),
		"accepted, another unsent":     with(send, accepted, another),
		"partly taken, another unsent": with(send, taken, Record.Unresolved, another),

		"by time": with(send, accepted, byTime),

		"reported":                 with(send, reported),
		"reported, resent":         with(send, reported, refused, again),
		"discarded while it waits": with(send, restart, discarded),
		"by time, refused":         with(send, accepted, byTime, refused),
	}
}

// events returns every event that can happen to a record.
func events() ([]string, map[string]func(Record) (Record, error)) {
	now := at(25)
	ok := func(event func(Record) Record) func(Record) (Record, error) {
		return func(r Record) (Record, error) { return event(r), nil }
	}
	left := 4
	names := []string{
		"Make", "Send", "Applied", "Applied exclusive", "Staged accepted", "Staged restart", "InForce",
		"NotApplied", "PasswordRefused", "TargetRefused", "Unresolved", "OldRefused", "GiveUp", "Confirm next", "Confirm current", "Discard next",
		"Discard current", "Discard another",
		"Adopt next", "Adopt current", "Adopt previous", "Adopt another",
		"TakenByParts", "SettleByTime", "ConfirmOn part", "ConfirmOn all",
		"Reported", "Proved next", "Proved current", "Proved previous", "Proved another", "ProvedOn part", "ProvedOn all",
		"Login with next refused", "Login with current refused", "RestartedOn part", "RestartedOn all",
	}
	return names, map[string]func(Record) (Record, error){
		"Make":              func(r Record) (Record, error) { return r.Make(value(9), "table", false, now) },
		"Send":              ok(func(r Record) Record { return r.Send(now.Add(requestTime), 0) }),
		"Applied":           ok(func(r Record) Record { return r.Applied(now, false) }),
		"Applied exclusive": ok(func(r Record) Record { return r.Applied(now, true) }),
		"Staged accepted":   ok(func(r Record) Record { return r.Staged(Accepted, now) }),
		"Staged restart":    ok(func(r Record) Record { return r.Staged(RestartRequired, now) }),
		"InForce":           ok(func(r Record) Record { return r.InForce(now) }),
		"NotApplied":        ok(Record.NotApplied),
		"PasswordRefused":   ok(Record.PasswordRefused),
		"TargetRefused":     ok(Record.TargetRefused),
		"Unresolved":        ok(Record.Unresolved),
		"OldRefused":        ok(func(r Record) Record { return r.OldRefused(true, &left, now) }),
		"GiveUp":            ok(Record.GiveUp),
		"Confirm next":      func(r Record) (Record, error) { return r.Confirm(3, now) },
		"Confirm current":   func(r Record) (Record, error) { return r.Confirm(2, now) },
		"Discard next":      func(r Record) (Record, error) { return r.Discard(3, now) },
		"Discard current":   func(r Record) (Record, error) { return r.Discard(2, now) },
		"Discard another":   func(r Record) (Record, error) { return r.Discard(4, now) },
		"Adopt next":        ok(func(r Record) Record { return r.Adopt(value(3), "table", now) }),
		"Adopt current":     ok(func(r Record) Record { return r.Adopt(value(2), "table", now) }),
		"Adopt previous":    ok(func(r Record) Record { return r.Adopt(value(1), "table", now) }),
		"Adopt another":     ok(func(r Record) Record { return r.Adopt("another", "table", now) }),
		"TakenByParts":      ok(func(r Record) Record { return r.TakenByParts(servers[1:], RestartRequired, now) }),
		"SettleByTime":      ok(func(r Record) Record { return r.SettleByTime(at(11), now) }),
		"ConfirmOn part":    func(r Record) (Record, error) { return r.ConfirmOn(3, servers[1:], servers, now) },
		"ConfirmOn all":     func(r Record) (Record, error) { return r.ConfirmOn(3, servers, servers, now) },

		"Reported":        ok(func(r Record) Record { return r.Reported(false) }),
		"Proved next":     ok(func(r Record) Record { return r.Proved(3, now, margin) }),
		"Proved current":  ok(func(r Record) Record { return r.Proved(2, now, margin) }),
		"Proved previous": ok(func(r Record) Record { return r.Proved(1, now, margin) }),
		"Proved another":  ok(func(r Record) Record { return r.Proved(4, now, margin) }),
		"ProvedOn part":   ok(func(r Record) Record { return r.ProvedOn(3, servers[1:], servers, now, margin) }),
		"ProvedOn all":    ok(func(r Record) Record { return r.ProvedOn(3, servers, servers, now, margin) }),

		"Login with next refused":    ok(func(r Record) Record { return r.LoginRefused(3, now, margin) }),
		"Login with current refused": ok(func(r Record) Record { return r.LoginRefused(2, now, margin) }),
		"RestartedOn part":           ok(func(r Record) Record { return r.RestartedOn(3, servers[1:], servers, now) }),
		"RestartedOn all":            ok(func(r Record) Record { return r.RestartedOn(3, servers, servers, now) }),
	}
}

func TestEveryEventInEveryPhase(t *testing.T) {
	phaseNames, records := phases(t)
	eventNames, happen := events()
	want := map[string]string{}
	for line := range strings.Lines(table + proofTable) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) == 4 {
			want[cells[0]+" | "+cells[1]] = cells[2] + " | " + cells[3]
		}
	}
	require.Len(t, want, len(phaseNames)*len(eventNames), "the table must have a line for every pair")
	for _, phase := range phaseNames {
		for _, event := range eventNames {
			t.Run(phase+", "+event, func(t *testing.T) {
				require.Equal(t, want[phase+" | "+event], outcome(t, records[phase], happen[event]))
			})
		}
	}
}

// outcome returns what the table says of an event: the record after it, and what a reader is told.
func outcome(t *testing.T, before Record, event func(Record) (Record, error)) string {
	t.Helper()
	after, err := step(t, before, event)
	if err != nil {
		require.Equal(t, encoded(t, before), encoded(t, after), "an event that fails must change nothing")
		return "error | " + err.Error()
	}
	view := after.View(at(25))
	require.Equal(t, after.Previous == nil, view.Last == nil)
	if view.Last != nil {
		require.Equal(t, after.Previous.Password, *view.Last)
	}
	within, later := viewText(after, at(25)), viewText(after, at(100))
	if within != later {
		within += ", later " + later
	}
	return describe(after) + " | " + within
}
