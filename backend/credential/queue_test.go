package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheNewestQueuedPasswordComesInForceByTime(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	require.Zero(t, s.QueuedSince())
	s.waits(2, Accepted, 10)
	require.Equal(t, at(11), s.QueuedSince())
	s.ripe(10, 70)
	s.is("current 1 confirmed, next 2 accepted")
	s.waits(3, Accepted, 20)
	s.is("current 1 confirmed, next 3 accepted, candidate 2 staged")
	s.reads(22, "accepted 1 or 3")
	require.Equal(t, at(21), s.QueuedSince())
	require.False(t, s.Unfinished())

	both := s.Record
	s.ripe(20, 80)
	s.is("current 2, next 3 accepted, previous 1 open")
	s.reads(80, "accepted 2 or 3")
	require.Equal(t, at(80), s.Current.Since)
	s.ripe(21, 90)
	s.is("current 3, previous 2 unconfirmed open, history 1 old open")
	s.reads(90, "assumed 3")
	require.Zero(t, s.QueuedSince())

	s.Record = both // both at once
	s.ripe(21, 90)
	s.is("current 3, candidate 2 staged overtaken, previous 1 open")
	s.reads(90, "assumed 3")
	s.waits(4, Accepted, 100)
	s.ripe(101, 160)
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open late, history 1 old open")
}

// What is queued comes in force though another password is being set, and whatever becomes of that.
func TestAQueuedPasswordComesInForceUnderANewerOne(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	for n := 2; n <= 3; n++ {
		s.waits(n, Accepted, 10*n)
	}
	s.made(4, 40)
	require.Equal(t, at(31), s.QueuedSince())
	unsent := s.Record
	s.ripe(31, 100)
	s.is("current 3, next 4 unsent, candidate 2 staged overtaken, previous 1 open")
	s.reads(100, "assumed 3")

	s.Record = unsent
	s.ripe(21, 100)
	s.is("current 2, next 4 unsent, candidate 3 staged, previous 1 open")

	s.Record = unsent
	s.sent(40)
	s.staged(Accepted, 41)
	s.ripe(40, 100)
	s.is("current 3, next 4 accepted, candidate 2 staged overtaken, previous 1 open") // the newest of the two

	s.Record = unsent
	s.sent(50)
	s.do(Record.Unresolved)
	s.ripe(31, 100)
	s.is("current 3, next 4 unknown, candidate 2 staged overtaken, previous 1 open")
	s.reads(100, "uncertain 3 or 4")
	s.sent(110)
	s.do(Record.Refused)
	s.is("current 3, candidate 2 staged overtaken, candidate 4 refused, previous 1 open")
	s.waits(5, Accepted, 200)
	s.ripe(201, 260)
	s.is("current 5, candidate 4 refused overtaken, previous 3 unconfirmed open, history 2 superseded open late, history 1 old open")
}

func TestARepetitionThatWasQueuedKeepsTheDistanceFromItsFirstRequest(t *testing.T) {
	s := lost(t)
	s.sent(20)
	s.staged(Accepted, 21)
	s.made(3, 22)
	require.Equal(t, at(40), s.QuietUntil())
	s.ripe(21, 30)
	s.is("current 2, next 3 unsent, previous 1 open")
	require.Equal(t, at(40), s.QuietUntil())

	s = lost(t) // it is overtaken twice, and nothing tells of it any more
	s.made(3, 50)
	for n := 3; n <= 4; n++ {
		s.waits(n, Accepted, 20*n)
		s.ripe(20*n+1, 20*n+2)
	}
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open late, history 1 old open")
	require.Equal(t, at(40), s.QuietUntil())
}

// The remote system may fail without a word to do what it has queued, each time: what was in force before all of that is
// kept, whatever size the history has and however often.
func TestChangesThatFailSilentlyLoseNothing(t *testing.T) {
	for _, size := range []int{0, 5, 20} {
		s := &story{TB: t}
		s.changed(1, 0)
		for n := 2; n <= 12; n++ {
			s.waits(n, Accepted, 100*n)
			s.ripe(100*n+1, 100*n+60)
			s.trimmed(size)
			if n > 2 {
				s.lists(1, ListedOld)
				require.True(t, s.History[len(s.History)-1].Open)
			}
		}
		newer := "history 10 unconfirmed open, history 9 unconfirmed open, history 8 unconfirmed open, history 7 unconfirmed open, " +
			"history 6 unconfirmed open, history 5 unconfirmed open, history 4 unconfirmed open"
		older := map[int]string{0: "", 5: "", 20: ", history 2 unconfirmed open"}[size]
		s.is("current 12, previous 11 unconfirmed open, " + newer + ", history 3 unconfirmed open" + older + ", history 1 old open")
		s.lists(11, ListedUnconfirmed)
		require.Equal(t, value(11), s.View(at(2000)).Last.Value)

		again := s.Record // a login proves the newest one
		s.waits(13, Accepted, 2100)
		s.do(func(r Record) Record { return r.InForce(at(2160), true) })
		s.trimmed(0)
		s.is("current 13 confirmed, previous 12 unconfirmed")

		s.Record = again // the remote system confirms it
		s.changed(13, 2100)
		s.trimmed(0)
		s.is("current 13 confirmed, previous 12 unconfirmed")

		s.Record = again // a person finds an old one in force
		s.adopt(value(3), 2100)
		s.is("current 3, previous 12 unconfirmed, history 11 unconfirmed open, " + newer + older + ", history 1 old open")
		s.trimmed(0)
		s.lists(1, ListedOld)
	}
}

// The last one that is known to have worked is kept among those that may be valid, not each that is.
func TestTheLastOneThatIsKnownToHaveWorkedIsKept(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, Accepted, 100)
	require.NoError(t, s.confirm(2, 110)) // a word counts
	for n := 3; n <= 5+maxOpenPast; n++ {
		s.waits(n, Accepted, 100*n)
		s.ripe(100*n+1, 100*n+60)
		s.trimmed(0)
	}
	s.lists(2, ListedOld)
	require.NotContains(t, encoded(t, s.Record), `"`+value(1)+`"`)
	require.NotContains(t, encoded(t, s.Record), `"`+value(3)+`"`)
	require.Len(t, s.History, maxOpenPast+1)

	s.waits(20, Accepted, 3000) // the one before is known to have worked
	s.ripe(3001, 3060)
	require.NoError(t, s.confirm(s.Current.Version, 3070))
	s.waits(21, Accepted, 3100)
	s.ripe(3101, 3160)
	s.lists(20, ListedPrevious)
	s.trimmed(0)
	require.NotContains(t, encoded(t, s.Record), `"`+value(2)+`"`)
	require.Len(t, s.History, maxOpenPast)
}

func TestTrimCountsOpenPasswordsAndOthersApart(t *testing.T) {
	past := func(version int, open bool) Past {
		return Past{Password: Password{Version: version, Value: value(version)}, State: ListedOld, Open: open}
	}
	s := &story{TB: t}
	for version := 24; version > 0; version-- {
		s.History = append(s.History, past(version, version%2 == 0))
	}
	s.trimmed(3)
	s.is("history 24 old open, history 23 old, history 22 old open, history 20 old open, history 18 old open, " +
		"history 16 old open, history 14 old open, history 12 old open, history 10 old open")
	require.Equal(t, 21, s.Forgotten)
	s.trimmed(0)
	require.Len(t, s.History, maxOpenPast)
	require.Equal(t, 23, s.Forgotten)
	s.do(func(r Record) Record { r = r.clone(); r.provePast(); return r })
	s.trimmed(0)
	require.Empty(t, s.History)
	s.made(25, 0)
	require.Equal(t, 25, s.Next.Version)
}

// One confirmed change may be followed by a request that nobody knows the end of; two are not.
func TestTheSecondConfirmedChangeSettlesWhatTimeAloneHasOvertaken(t *testing.T) {
	s := lost(t)
	s.made(3, 100)
	for n := 3; n <= 4; n++ {
		s.waits(n, Accepted, 100*n)
		s.ripe(100*n+1, 100*n+60)
	}
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open late, history 1 old open")
	byTime := s.Record
	s.changed(5, 500)
	s.is("current 5, previous 4 unconfirmed, history 3 unconfirmed, history 2 superseded open, history 1 old")
	s.reads(500, "assumed 5")
	s.trimmed(0)
	s.lists(2, ListedSuperseded)
	s.changed(6, 600)
	s.is("current 6 confirmed, previous 5, history 4 unconfirmed, history 2 superseded")
	s.reads(600, "active 6")

	s.Record = byTime // a word counts for the first one, since the distance from the request is kept
	require.NoError(t, s.confirm(4, 500))
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open, history 1 old open")
	s.changed(5, 600)
	s.is("current 5 confirmed, previous 4, history 3 unconfirmed, history 2 superseded, history 1 old")

	s.Record = byTime
	s.adopt("another", 500)
	s.is("current 5, previous 4 unconfirmed, history 3 unconfirmed open, history 2 superseded open, history 1 old open")

	s.Record = byTime
	s.waits(5, Accepted, 500)
	require.NoError(t, s.confirm(5, 510))
	s.is("current 5, previous 4 unconfirmed, history 3 unconfirmed open, history 2 superseded open, history 1 old open")

	s.Record = byTime
	s.adopt(value(4), 500)
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open, history 1 old open")

	s.Record = byTime // a login leaves nothing to settle
	s.waits(5, Accepted, 500)
	s.do(func(r Record) Record { return r.InForce(at(560), true) })
	s.is("current 5 confirmed, previous 4 unconfirmed, history 3 unconfirmed, history 2 superseded, history 1 old")

	s = lost(t) // the first one comes before what time alone overtakes
	s.made(3, 100)
	s.sent(100)
	s.applied(101)
	s.is("current 3, candidate 2 unresolved overtaken outlived, previous 1")
	s.waits(4, Accepted, 200)
	s.ripe(201, 260)
	s.is("current 4, previous 3 open, history 2 superseded open, history 1 old")
	s.changed(5, 300)
	s.is("current 5 confirmed, previous 4 unconfirmed, history 3 old, history 2 superseded, history 1 old")
}

// The remote system refuses the password in force, as a change that it had queued failed: the one before may be valid.
func TestARefusedPasswordThatCameByTimeLeavesTheOneBeforeItOpen(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, Accepted, 10)
	s.ripe(11, 70)
	s.made(3, 80)
	s.do(func(r Record) Record { return r.Send(at(110), 2) })
	s.do(func(r Record) Record { return r.OldRefused(false, nil, at(81)) })
	s.is("current 2 refused, next 3 unsent, previous 1 open")
	s.sent(90)
	refused := s.Record
	s.staged(Accepted, 91)
	staged := s.Record
	s.ripe(91, 150)
	s.is("current 3, previous 1 open, history 2 old")
	s.Record = staged
	s.do(func(r Record) Record { return r.InForce(at(150), true) })
	s.is("current 3 confirmed, previous 1, history 2 old")
	s.Record = refused
	s.applied(91)
	s.is("current 3 confirmed, previous 1, history 2 old")
}
