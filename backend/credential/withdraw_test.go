package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// withdrawals are the ways in which a Next that was never applied is dropped.
var withdrawals = map[string]func(*story){
	"discarded": func(s *story) { require.NoError(s, s.discard(s.Next.Version)) },
	"refused": func(s *story) {
		s.sent(200)
		s.do(Record.PasswordRefused)
	},
	"target refused": func(s *story) {
		s.sent(200)
		s.do(Record.TargetRefused)
	},
	"busy, then refused": func(s *story) {
		s.sent(200)
		s.do(Record.NotApplied)
		s.sent(300)
		s.do(Record.PasswordRefused)
	},
	"replaced, then target refused": func(s *story) {
		s.made(8, 200)
		s.sent(210)
		s.do(Record.TargetRefused)
	},
}

// A password that is withdrawn leaves no trace. What the engine had to find out or finish before, it still has to.
func TestWithdrawnPasswordLeavesRecordUnchanged(t *testing.T) {
	_, records := phases(t)
	records["accepted, the first answer lost"] = records["sending again"].Staged(Accepted, at(21))
	records["restart_required, the first answer lost"] = records["sending again"].Staged(RestartRequired, at(21))
	for _, phase := range []string{
		"accepted, the first answer lost", "restart_required, the first answer lost",
		"none", "sending", "sending again", "unknown", "accepted", "restart_required", "partly taken", "partly taken, rest unknown", "by time",
	} {
		for how, withdraw := range withdrawals {
			for _, given := range []bool{false, true} {
				t.Run(phase+", "+how, func(t *testing.T) {
					s := &story{TB: t, Record: records[phase].Unresolved()} // a request in flight is unresolved once another password replaces Next
					if s.Next != nil {
						s.Next.Given = given
						if s.Next.Phase == RestartRequired {
							require.NoError(t, s.confirmOn(3, 30, "a"))
						}
					}
					before := s.Record
					s.made(9, 100)
					withdraw(s)
					s.is(describe(before))
					if before.Next != nil {
						require.Equal(t, before.Next.SentUntil, s.Next.SentUntil)
					}
					require.Equal(t, before.SendNotBefore(), s.SendNotBefore())
					require.Equal(t, before.LastRequest(), s.LastRequest())
					require.Equal(t, before.QueuedSince(), s.QueuedSince())
					require.Equal(t, before.Unfinished(), s.Unfinished())
					require.Equal(t, before.Open(at(1000)), s.Open(at(1000)))
					require.Equal(t, before.View(at(1000)), s.View(at(1000)))
					require.Equal(t, before.Parts(servers, at(1000)), s.Parts(servers, at(1000)))
					require.Equal(t, describe(before.SettleByTime(at(500), at(1000))), describe(s.SettleByTime(at(500), at(1000))))
					again := func(r Record) string { return encoded(t, r.Send(at(1030), 2)) }
					require.Equal(t, again(before), again(s.Record), "the withdrawn password must leave no trace")
				})
			}
		}
	}
}

// Only the newest candidate can become Next again, and only if the engine still has work to do on it.
func TestSettledCandidateDoesNotBecomeNext(t *testing.T) {
	left := 4
	for name, settle := range map[string]func(*story){
		"refused":   func(s *story) { s.sent(50); s.do(Record.PasswordRefused) },
		"discarded": func(s *story) { require.NoError(s, s.discard(3)) },
		"wrong as the old password": func(s *story) {
			s.made(4, 50)
			s.do(func(r Record) Record { return r.Send(at(80), 3).OldRefused(false, &left, at(51)) })
		},
	} {
		s := lost(t)
		s.made(3, 50)
		s.sent(50)
		s.do(Record.Unresolved)
		settle(s)
		candidates := s.GiveUp().Candidates
		require.Len(t, candidates, 2, name)
		s.made(9, 100)
		s.sent(200)
		s.do(Record.TargetRefused)
		require.Nil(t, s.Next, name)
		require.Equal(t, candidates, s.Candidates, name)
	}

	s := lost(t) // overtaken by one that came into force by time
	s.changeStaged(3, Accepted, 50)
	s.settleByTime(51, 110)
	s.made(4, 120)
	require.NoError(t, s.discard(4))
	s.is("current 3, candidate 2 unresolved overtaken, previous 1 open")

	s = &story{TB: t} // it came into force in the meantime
	s.changed(1, 0)
	s.changeStaged(2, Accepted, 10)
	s.made(3, 20)
	s.settleByTime(11, 70)
	s.sent(80)
	s.do(Record.TargetRefused)
	s.is("current 2, previous 1 open")
}

// Two exposed passwords are below an unsent one. The newer of them becomes Next again.
func TestNewestCandidateBecomesNextAgain(t *testing.T) {
	s := lost(t)
	s.changeStaged(3, Accepted, 50)
	s.made(4, 60)
	s.sent(70)
	s.do(Record.TargetRefused)
	s.is("current 1 confirmed, next 3 accepted, candidate 2 unresolved")
	s.settleByTime(51, 110)
	s.is("current 3, candidate 2 unresolved overtaken, previous 1 open")
}

func TestAnswerWithoutRequestRestoresNothing(t *testing.T) {
	for name, event := range map[string]func(Record) Record{"refused": Record.PasswordRefused, "target refused": Record.TargetRefused} {
		s := lost(t)
		s.do(Record.GiveUp)
		s.do(event)
		s.is("current 1 confirmed, candidate 2 unresolved")
		require.Nil(t, s.Next, name)
	}
}

// The remote system refuses the account or the request, so another password would be refused too.
func TestTargetRefusedKeepsPassword(t *testing.T) {
	s := lost(t)
	s.sent(60)
	s.do(Record.TargetRefused)
	s.is("current 1 confirmed, next 2 unknown")
	require.Equal(t, at(40), s.LastRequest(), "the deadline of the request that may have been applied, not of the refused one")
	require.True(t, s.Unfinished())
	s.sent(70)
	s.applied(71)
	s.is("current 2 confirmed, previous 1")

	s = partlyTaken(t)
	s.sent(20)
	s.do(Record.TargetRefused)
	s.is("current 1 confirmed, next 2 restart_required taken a")
	require.Equal(t, []string{"b"}, s.Next.Missing(servers))
	require.Zero(t, s.LastRequest())
	require.True(t, s.Unfinished(), "the missing part is asked again")

	s = partlyTaken(t)
	s.sent(20)
	s.do(Record.Unresolved)
	s.sent(60)
	s.do(Record.TargetRefused)
	s.is("current 1 confirmed, next 2 unknown restart_required taken a")
	require.Equal(t, at(50), s.LastRequest())

	s = &story{TB: t}
	s.changed(1, 0)
	for second := 10; second < 40; second += 10 {
		s.made(2, second)
		s.sent(second)
		s.do(Record.TargetRefused)
		s.is("current 1 confirmed")
		s.reads(second, "active 1")
		require.False(t, s.Open(at(second)))
	}

	s.made(2, 50) // a part takes it in the same request
	s.sent(50)
	s.takenBy(51, "b")
	s.do(Record.TargetRefused)
	s.is("current 1 confirmed, next 2 restart_required taken b")
}

// A password chosen by an operator keeps that mark after another one was withdrawn.
func TestGivenPasswordStaysGiven(t *testing.T) {
	for _, given := range []bool{false, true} {
		s := &story{TB: t}
		require.NoError(t, s.try(func(r Record) (Record, error) { return r.Make(value(1), "story", given, at(0)) }))
		s.sent(0)
		s.do(Record.Unresolved)
		s.made(2, 60)
		require.False(t, s.Next.Given)
		require.NoError(t, s.discard(2))
		require.Equal(t, given, s.Next.Given)
	}
}

// A requested rotation is dropped only if an operator says that the password was changed elsewhere.
func TestOperatorStatementKeepsUnsentPassword(t *testing.T) {
	for name, statement := range map[string]func(*story){
		"confirms candidate": func(s *story) { require.NoError(s, s.confirm(2, 60)) },
		"confirms current":   func(s *story) { require.NoError(s, s.confirm(1, 60)) },
		"confirms candidate by parts": func(s *story) {
			require.NoError(s, s.confirmOn(2, 60, "a"))
			require.NoError(s, s.confirmOn(2, 61, "b"))
		},
		"confirms current on a part": func(s *story) { require.NoError(s, s.confirmOn(1, 60, "a")) },
		"adopts candidate":           func(s *story) { s.adopt(value(2), 60) },
		"adopts current":             func(s *story) { s.adopt(value(1), 60) },
		"discards candidate":         func(s *story) { require.NoError(s, s.discard(2)) },
	} {
		s := lost(t)
		s.made(3, 50)
		next := *s.Next
		statement(s)
		require.NotNil(t, s.Next, name)
		require.Equal(t, next, *s.Next, name)
		require.True(t, s.Unfinished(), name)
		s.sent(100)
		s.applied(101)
		require.Equal(t, value(3), s.Current.Value, name)
	}
	for name, statement := range map[string]func(*story){
		"adopts another":    func(s *story) { s.adopt("another", 60) },
		"adopts an old one": func(s *story) { s.adopt(value(0), 60) },
		"adopts next":       func(s *story) { s.adopt(value(3), 60) },
	} {
		s := &story{TB: t}
		s.changed(0, 0)
		s.changed(1, 1)
		s.made(3, 50)
		statement(s)
		require.Nil(t, s.Next, name)
		require.Equal(t, StateAssumed, s.View(at(60)).State, name)
	}
}
