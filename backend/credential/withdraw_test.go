package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// withdrawals are the ways in which a Next goes that was never applied.
var withdrawals = map[string]func(*story){
	"discarded": func(s *story) { require.NoError(s, s.discard(s.Next.Version)) },
	"refused": func(s *story) {
		s.sent(200)
		s.do(Record.Refused)
	},
	"turned down": func(s *story) {
		s.sent(200)
		s.do(Record.TurnedDown)
	},
	"busy, then refused": func(s *story) {
		s.sent(200)
		s.do(Record.NotApplied)
		s.sent(300)
		s.do(Record.Refused)
	},
	"replaced, then turned down": func(s *story) {
		s.made(8, 200)
		s.sent(210)
		s.do(Record.TurnedDown)
	},
}

// What is gone without a trace leaves the record as it was: what was to be found out or to be finished still is.
func TestAPasswordThatGoesWithoutATraceLeavesWhatItReplaced(t *testing.T) {
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
					s := &story{TB: t, Record: records[phase].Unresolved()} // one that is being sent was, when another takes its place
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
					require.Equal(t, before.QuietUntil(), s.QuietUntil())
					require.Equal(t, before.LastRequest(), s.LastRequest())
					require.Equal(t, before.QueuedSince(), s.QueuedSince())
					require.Equal(t, before.Unfinished(), s.Unfinished())
					require.Equal(t, before.Open(at(1000)), s.Open(at(1000)))
					require.Equal(t, before.View(at(1000)), s.View(at(1000)))
					require.Equal(t, before.Parts(servers, at(1000)), s.Parts(servers, at(1000)))
					require.Equal(t, describe(before.Ripe(at(500), at(1000))), describe(s.Ripe(at(500), at(1000))))
					again := func(r Record) string { return encoded(t, r.Send(at(1030), 2)) }
					require.Equal(t, again(before), again(s.Record), "nothing tells that there was another")
				})
			}
		}
	}
}

// Only the newest is the one whose place was taken, and only where something is left to do about it.
func TestWhatIsSettledOrRefusedIsNotBroughtBack(t *testing.T) {
	left := 4
	for name, settle := range map[string]func(*story){
		"refused":   func(s *story) { s.sent(50); s.do(Record.Refused) },
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
		s.do(Record.TurnedDown)
		require.Nil(t, s.Next, name)
		require.Equal(t, candidates, s.Candidates, name)
	}

	s := lost(t) // overtaken by what came in force by time
	s.waits(3, Accepted, 50)
	s.ripe(51, 110)
	s.made(4, 120)
	require.NoError(t, s.discard(4))
	s.is("current 3, candidate 2 unresolved overtaken, previous 1 open")

	s = &story{TB: t} // it came in force meanwhile
	s.changed(1, 0)
	s.waits(2, Accepted, 10)
	s.made(3, 20)
	s.ripe(11, 70)
	s.sent(80)
	s.do(Record.TurnedDown)
	s.is("current 2, previous 1 open")
}

// Two that were sent wait under one that was not: the newer one is next again, and the older one once that is gone too.
func TestTheOneThatWasReplacedLastIsBroughtBack(t *testing.T) {
	s := lost(t)
	s.waits(3, Accepted, 50)
	s.made(4, 60)
	s.sent(70)
	s.do(Record.TurnedDown)
	s.is("current 1 confirmed, next 3 accepted, candidate 2 unresolved")
	s.ripe(51, 110)
	s.is("current 3, candidate 2 unresolved overtaken, previous 1 open")
}

func TestAnAnswerWithoutARequestBringsNothingBack(t *testing.T) {
	for name, event := range map[string]func(Record) Record{"refused": Record.Refused, "turned down": Record.TurnedDown} {
		s := lost(t)
		s.do(Record.GiveUp)
		s.do(event)
		s.is("current 1 confirmed, candidate 2 unresolved")
		require.Nil(t, s.Next, name)
	}
}

// The remote system refuses the account or the request: another password would fare no better.
func TestARequestThatIsTurnedDownLeavesThePassword(t *testing.T) {
	s := lost(t)
	s.sent(60)
	s.do(Record.TurnedDown)
	s.is("current 1 confirmed, next 2 unknown")
	require.Equal(t, at(40), s.LastRequest(), "of the request that may have been applied, not of the one that was not")
	require.True(t, s.Unfinished())
	s.sent(70)
	s.applied(71)
	s.is("current 2 confirmed, previous 1")

	s = partly(t)
	s.sent(20)
	s.do(Record.TurnedDown)
	s.is("current 1 confirmed, next 2 restart_required taken a")
	require.Equal(t, []string{"b"}, s.Next.Missing(servers))
	require.Zero(t, s.LastRequest())
	require.True(t, s.Unfinished(), "the rest is asked again")

	s = partly(t)
	s.sent(20)
	s.do(Record.Unresolved)
	s.sent(60)
	s.do(Record.TurnedDown)
	s.is("current 1 confirmed, next 2 unknown restart_required taken a")
	require.Equal(t, at(50), s.LastRequest())

	s = &story{TB: t}
	s.changed(1, 0)
	for second := 10; second < 40; second += 10 {
		s.made(2, second)
		s.sent(second)
		s.do(Record.TurnedDown)
		s.is("current 1 confirmed")
		s.reads(second, "active 1")
		require.False(t, s.Open(at(second)))
	}

	s.made(2, 50) // parts take it in this very request
	s.sent(50)
	s.took(51, "b")
	s.do(Record.TurnedDown)
	s.is("current 1 confirmed, next 2 restart_required taken b")
}

// A person's own password stays one, also when another one comes and goes.
func TestAGivenPasswordIsBroughtBackAsOne(t *testing.T) {
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

// A promised rotation is dropped by no word but that somebody has changed the password elsewhere.
func TestAWordLeavesAPasswordThatWaitsToBeSent(t *testing.T) {
	for name, word := range map[string]func(*story){
		"confirms what was sent":  func(s *story) { require.NoError(s, s.confirm(2, 60)) },
		"confirms what was there": func(s *story) { require.NoError(s, s.confirm(1, 60)) },
		"confirms it by parts": func(s *story) {
			require.NoError(s, s.confirmOn(2, 60, "a"))
			require.NoError(s, s.confirmOn(2, 61, "b"))
		},
		"confirms what was, a part": func(s *story) { require.NoError(s, s.confirmOn(1, 60, "a")) },
		"adopts what was sent":      func(s *story) { s.adopt(value(2), 60) },
		"adopts what was there":     func(s *story) { s.adopt(value(1), 60) },
		"discards what was sent":    func(s *story) { require.NoError(s, s.discard(2)) },
	} {
		s := lost(t)
		s.made(3, 50)
		next := *s.Next
		word(s)
		require.NotNil(t, s.Next, name)
		require.Equal(t, next, *s.Next, name)
		require.True(t, s.Unfinished(), name)
		s.sent(100)
		s.applied(101)
		require.Equal(t, value(3), s.Current.Value, name)
	}
	for name, word := range map[string]func(*story){
		"adopts another":     func(s *story) { s.adopt("another", 60) },
		"adopts an old one":  func(s *story) { s.adopt(value(0), 60) },
		"adopts that itself": func(s *story) { s.adopt(value(3), 60) },
	} {
		s := &story{TB: t}
		s.changed(0, 0)
		s.changed(1, 1)
		s.made(3, 50)
		word(s)
		require.Nil(t, s.Next, name)
		require.Equal(t, StateAssumed, s.View(at(60)).State, name)
	}
}
