package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewestQueuedPasswordSettlesByTime(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	require.Zero(t, s.QueuedSince())
	s.changeStaged(2, Accepted, 10)
	require.Equal(t, at(11), s.QueuedSince())
	s.settleByTime(10, 70)
	s.is("current 1 confirmed, next 2 accepted")
	s.changeStaged(3, Accepted, 20)
	s.is("current 1 confirmed, next 3 accepted, candidate 2 staged")
	s.reads(22, "accepted 1 or 3")
	require.Equal(t, at(21), s.QueuedSince())
	require.False(t, s.Unfinished())

	both := s.Record
	s.settleByTime(20, 80)
	s.is("current 2, next 3 accepted, previous 1 open")
	s.reads(80, "accepted 2 or 3")
	require.Equal(t, at(80), s.Current.Since)
	s.settleByTime(21, 90)
	s.is("current 3, previous 2 unconfirmed open, history 1 old open")
	s.reads(90, "assumed 3")
	require.Zero(t, s.QueuedSince())

	s.Record = both // both at once
	s.settleByTime(21, 90)
	s.is("current 3, candidate 2 staged overtaken, previous 1 open")
	s.reads(90, "assumed 3")
	s.changeStaged(4, Accepted, 100)
	s.settleByTime(101, 160)
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open late, history 1 old open")
}

// A queued password comes into force even while another one is being set, and whatever the outcome of that is.
func TestQueuedPasswordSettlesUnderNewerNext(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	for n := 2; n <= 3; n++ {
		s.changeStaged(n, Accepted, 10*n)
	}
	s.made(4, 40)
	require.Equal(t, at(31), s.QueuedSince())
	unsent := s.Record
	s.settleByTime(31, 100)
	s.is("current 3, next 4 unsent, candidate 2 staged overtaken, previous 1 open")
	s.reads(100, "assumed 3")

	s.Record = unsent
	s.settleByTime(21, 100)
	s.is("current 2, next 4 unsent, candidate 3 staged, previous 1 open")

	s.Record = unsent
	s.sent(40)
	s.staged(Accepted, 41)
	s.settleByTime(40, 100)
	s.is("current 3, next 4 accepted, candidate 2 staged overtaken, previous 1 open") // the newest of the two

	s.Record = unsent
	s.sent(50)
	s.do(Record.Unresolved)
	s.settleByTime(31, 100)
	s.is("current 3, next 4 unknown, candidate 2 staged overtaken, previous 1 open")
	s.reads(100, "uncertain 3 or 4")
	s.sent(110)
	s.do(Record.PasswordRefused)
	s.is("current 3, candidate 2 staged overtaken, candidate 4 refused, previous 1 open")
	s.changeStaged(5, Accepted, 200)
	s.settleByTime(201, 260)
	s.is("current 5, candidate 4 refused overtaken, previous 3 unconfirmed open, history 2 superseded open late, history 1 old open")
}

func TestQueuedRepetitionKeepsSendNotBefore(t *testing.T) {
	s := lost(t)
	s.sent(20)
	s.staged(Accepted, 21)
	s.made(3, 22)
	require.Equal(t, at(40), s.SendNotBefore())
	s.settleByTime(21, 30)
	s.is("current 2, next 3 unsent, previous 1 open")
	require.Equal(t, at(40), s.SendNotBefore())

	s = lost(t) // overtaken twice, so it is no longer a candidate
	s.made(3, 50)
	for n := 3; n <= 4; n++ {
		s.changeStaged(n, Accepted, 20*n)
		s.settleByTime(20*n+1, 20*n+2)
	}
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open late, history 1 old open")
	require.Equal(t, at(40), s.SendNotBefore())
}

// The remote system may silently fail to carry out what it has queued, every time. The password that was in force before is
// kept, for any number of changes and any size of the history.
func TestSilentlyFailingChangesLoseNothing(t *testing.T) {
	for _, size := range []int{0, 5, 20} {
		s := &story{TB: t}
		s.changed(1, 0)
		for n := 2; n <= 12; n++ {
			s.changeStaged(n, Accepted, 100*n)
			s.settleByTime(100*n+1, 100*n+60)
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

		before := s.Record // a login proves the newest one
		s.changeStaged(13, Accepted, 2100)
		s.proved(s.Next.Version, 2160)
		s.trimmed(0)
		s.is("current 13 confirmed, previous 12 unconfirmed")

		s.Record = before // the remote system confirms it
		s.changed(13, 2100)
		s.trimmed(0)
		s.is("current 13 confirmed, previous 12 unconfirmed")

		s.Record = before // an operator finds an old one in force
		s.adopt(value(3), 2100)
		s.is("current 13, previous 12 unconfirmed, history 11 unconfirmed open, " + newer + older + ", history 1 old open")
		s.trimmed(0)
		s.lists(1, ListedOld)
	}
}

// Of the old passwords that may be valid, Trim always keeps the last one known to have worked, but not those before it.
func TestTrimKeepsLastPasswordKnownToWork(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, Accepted, 100)
	require.NoError(t, s.confirm(2, 110)) // a confirmation counts
	for n := 3; n <= 5+maxOpenPast; n++ {
		s.changeStaged(n, Accepted, 100*n)
		s.settleByTime(100*n+1, 100*n+60)
		s.trimmed(0)
	}
	s.lists(2, ListedOld)
	require.NotContains(t, encoded(t, s.Record), `"`+value(1)+`"`)
	require.NotContains(t, encoded(t, s.Record), `"`+value(3)+`"`)
	require.Len(t, s.History, maxOpenPast+1)

	s.changeStaged(20, Accepted, 3000) // then version 20 is the last one known to have worked
	s.settleByTime(3001, 3060)
	require.NoError(t, s.confirm(s.Current.Version, 3070))
	s.changeStaged(21, Accepted, 3100)
	s.settleByTime(3101, 3160)
	s.lists(20, ListedPrevious)
	s.trimmed(0)
	require.NotContains(t, encoded(t, s.Record), `"`+value(2)+`"`)
	require.Len(t, s.History, maxOpenPast)
}

func TestTrimCountsOpenPasswordsSeparately(t *testing.T) {
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
	s.do(func(r Record) Record { r = r.clone(); r.closePast(25); return r })
	s.trimmed(0)
	require.Empty(t, s.History)
	s.made(25, 0)
	require.Equal(t, 25, s.Next.Version)
}

// A request of unknown outcome may still be carried out after one confirmed change, but not after two.
func TestSecondConfirmedChangeSettlesLatePasswords(t *testing.T) {
	s := lost(t)
	s.made(3, 100)
	for n := 3; n <= 4; n++ {
		s.changeStaged(n, Accepted, 100*n)
		s.settleByTime(100*n+1, 100*n+60)
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

	s.Record = byTime // a confirmation counts as the first change, because NotBefore covers the request
	require.NoError(t, s.confirm(4, 500))
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open, history 1 old open")
	s.changed(5, 600)
	s.is("current 5 confirmed, previous 4, history 3 unconfirmed, history 2 superseded, history 1 old")

	s.Record = byTime
	s.adopt("another", 500)
	s.is("current 5, previous 4 unconfirmed, history 3 unconfirmed open, history 2 superseded open, history 1 old open")

	s.Record = byTime
	s.changeStaged(5, Accepted, 500)
	require.NoError(t, s.confirm(5, 510))
	s.is("current 5, previous 4 unconfirmed, history 3 unconfirmed open, history 2 superseded open, history 1 old open")

	s.Record = byTime
	s.adopt(value(4), 500)
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open, history 1 old open")

	s.Record = byTime // a login leaves nothing to settle
	s.changeStaged(5, Accepted, 500)
	s.proved(s.Next.Version, 560)
	s.is("current 5 confirmed, previous 4 unconfirmed, history 3 unconfirmed, history 2 superseded, history 1 old")

	s = lost(t) // the first confirmed change comes before the one that settles by time
	s.made(3, 100)
	s.sent(100)
	s.applied(101)
	s.is("current 3, candidate 2 unresolved overtaken outlived, previous 1")
	s.changeStaged(4, Accepted, 200)
	s.settleByTime(201, 260)
	s.is("current 4, previous 3 open, history 2 superseded open, history 1 old")
	s.changed(5, 300)
	s.is("current 5 confirmed, previous 4 unconfirmed, history 3 old, history 2 superseded, history 1 old")
}

// The remote system refuses the password in force because a queued change failed. The one before may still be valid.
func TestRefusedPasswordInForceByTimeLeavesPreviousOpen(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, Accepted, 10)
	s.settleByTime(11, 70)
	s.made(3, 80)
	s.do(func(r Record) Record { return r.Send(at(110), 2) })
	s.do(func(r Record) Record { return r.OldRefused(false, nil, at(81)) })
	s.is("current 2 refused, next 3 unsent, previous 1 open")
	s.sent(90)
	refused := s.Record
	s.staged(Accepted, 91)
	staged := s.Record
	s.settleByTime(91, 150)
	s.is("current 3, previous 1 open, history 2 old open")
	s.Record = staged
	s.proved(s.Next.Version, 150)
	s.is("current 3 confirmed, previous 1, history 2 old")
	s.Record = refused
	s.applied(91)
	s.is("current 3 confirmed, previous 1, history 2 old")
}
