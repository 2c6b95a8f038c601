package credential

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lost returns a story in which version 1 is in force and the answer to sending version 2 was lost.
func lost(t *testing.T) *story {
	t.Helper()
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.sent(10)
	s.do(Record.Unresolved)
	s.is("current 1 confirmed, next 2 unknown")
	s.reads(10, "uncertain 1 or 2")
	return s
}

func TestViewIsUnchangedDuringFirstSend(t *testing.T) {
	s := &story{TB: t}
	s.reads(0, "none")
	s.made(1, 0)
	s.sent(0)
	s.reads(0, "none")
	s.applied(1)
	before := s.View(at(1))
	s.made(2, 2)
	require.Equal(t, before, s.View(at(2)))
	s.sent(2)
	require.Equal(t, before, s.View(at(2)))
	require.Equal(t, before, s.View(at(32)), "at the deadline")
	s.reads(33, "uncertain 1 or 2")
	s.do(Record.NotApplied) // busy
	s.sent(40)
	require.Equal(t, before, s.View(at(41)), "the earlier request changed nothing, so this is a first send again")
	s.applied(42)
	s.reads(42, "active 2")
	require.Equal(t, value(1), s.View(at(42)).Last.Value)
}

func TestLostAnswerIsSettledByRepetition(t *testing.T) {
	s := lost(t)
	s.sent(20)
	s.reads(20, "uncertain 1 or 2")
	s.do(Record.NotApplied)
	s.is("current 1 confirmed, next 2 unknown")
	require.Equal(t, at(40), s.Next.SentUntil, "the deadline of the open request, not of the answered one")
	s.sent(50)
	s.applied(51)
	s.is("current 2 confirmed, previous 1")
	s.reads(51, "active 2")
}

// The first of two requests with version 2 may still be in flight when the second is confirmed. That is harmless while version
// 2 is in force, but would undo version 3.
func TestSendNotBeforeCoversRequestBeforeRepetition(t *testing.T) {
	for _, exclusive := range []bool{false, true} {
		s := lost(t)
		s.sent(15)
		s.do(func(r Record) Record { return r.Applied(at(16), exclusive) })
		s.reads(16, "active 2")
		s.made(3, 17)
		require.Equal(t, at(40), s.SendNotBefore())
	}
	s := lost(t)
	s.sent(15)
	s.do(func(r Record) Record { return r.Staged(Accepted, at(16)) })
	s.proved(s.Next.Version, 17)
	require.Equal(t, at(40), s.SendNotBefore())
}

func TestPasswordAfterLostAnswerIsAssumedAndNextOneActive(t *testing.T) {
	s := lost(t)
	s.made(3, 11)
	s.is("current 1 confirmed, next 3 unsent, candidate 2 unresolved")
	s.reads(11, "uncertain 1 or 2")
	require.True(t, s.Unfinished())
	require.Equal(t, at(40), s.SendNotBefore())
	s.sent(71)
	s.reads(71, "uncertain 1 or 2")
	s.applied(72)
	s.is("current 3, candidate 2 unresolved overtaken outlived, previous 1")
	s.reads(72, "assumed 3")
	s.lists(2, "candidate: unresolved")
	require.False(t, s.Unfinished())
	require.Zero(t, s.SendNotBefore())

	s.changed(4, 80)
	s.is("current 4 confirmed, previous 3, history 2 superseded, history 1 old")
	s.reads(80, "active 4")
}

// A password that came into force by time alone is not confirmed, so it is not one of the two changes that settle a candidate.
func TestPasswordInForceByTimeSettlesNoEarlierOne(t *testing.T) {
	s := lost(t)
	s.made(3, 100)
	s.sent(100)
	s.do(func(r Record) Record { return r.Staged(Accepted, at(101)) })
	s.reads(101, "accepted 1 or 3")
	require.False(t, s.Unfinished(), "the remote system has queued it")
	s.do(func(r Record) Record { return r.InForce(at(161)) })
	s.is("current 3, candidate 2 unresolved overtaken, previous 1 open")
	s.reads(161, "assumed 3")
	require.False(t, s.Unfinished())

	s.changed(4, 170)
	s.is("current 4, candidate 2 unresolved overtaken outlived, previous 3 unconfirmed, history 1 old")
	s.reads(170, "assumed 4")
	s.changed(5, 180)
	s.is("current 5 confirmed, previous 4, history 3 unconfirmed, history 2 superseded, history 1 old")
	s.reads(180, "active 5")
}

func TestRefusedPasswordIsDroppedOnlyIfNoRequestIsOpen(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	for second := 20; second < 50; second += 10 { // busy, busy, refused
		s.sent(second)
		s.do(Record.NotApplied)
	}
	s.sent(60)
	s.do(Record.PasswordRefused)
	s.is("current 1 confirmed")
	s.reads(60, "active 1")
	require.False(t, s.Unfinished())

	s = lost(t)
	s.sent(20)
	s.do(Record.PasswordRefused)
	s.is("current 1 confirmed, candidate 2 refused")
	s.reads(20, "uncertain 1 or 2")
	s.lists(2, "candidate: refused")
	require.True(t, s.Unfinished())
	require.Equal(t, at(40), s.SendNotBefore())
}

func TestRefusedFirstPasswordIsNeverHandedOut(t *testing.T) {
	s := &story{TB: t}
	s.made(1, 0)
	s.sent(0)
	s.do(Record.Unresolved)
	s.reads(1, "uncertain 1")
	s.sent(5)
	s.do(Record.PasswordRefused)
	require.Nil(t, s.View(at(6)).Password)
	require.Equal(t, StateUncertain, s.View(at(6)).State)
	require.Equal(t, value(1), s.View(at(6)).Next.Value)
}

func TestTrimDropsOldestAndKeepsVersionsTaken(t *testing.T) {
	s := &story{TB: t}
	for n := 1; n <= 5; n++ {
		s.changed(n, 10*n)
	}
	s.is("current 5 confirmed, previous 4, history 3 old, history 2 old, history 1 old")
	s.do(func(r Record) Record { return r.Trim(2) })
	s.is("current 5 confirmed, previous 4, history 3 old, history 2 old")

	s.made(6, 60)
	s.do(func(r Record) Record { return r.Send(at(90), 5).OldRefused(true, nil, at(91)) })
	s.do(func(r Record) Record { return r.Adopt(value(4), "adopted", at(100)) })
	s.is("current 6, history 5 old, history 3 old, history 2 old")
	s.do(func(r Record) Record { return r.Trim(0) })
	s.is("current 6")
	s.made(6, 101)
	require.Equal(t, 7, s.Next.Version)
	s.do(func(r Record) Record { return r.Adopt("another", "adopted", at(102)) })
	require.Equal(t, 7, s.Current.Version)

	// A record of v0.1.0, in which an older password that was in force again kept its version.
	s.Record = Record{Forgotten: 5, Current: &Current{Password: Password{Value: value(2), Version: 2, Created: at(0)}}}
	s.made(1, 110)
	require.Equal(t, 6, s.Next.Version)
}

func TestTrimKeepsPasswordsThatMayBeValid(t *testing.T) {
	s := lost(t)
	s.sent(20)
	s.do(Record.PasswordRefused)
	s.made(3, 100)
	s.sent(100)
	before := describe(s.Record)
	s.do(func(r Record) Record { return r.Trim(0) })
	s.is(before)
}

func TestGiveUpKeepsPasswordThatMayBeApplied(t *testing.T) {
	s := lost(t)
	s.do(Record.GiveUp)
	s.is("current 1 confirmed, candidate 2 unresolved")
	s.made(3, 100)
	s.do(Record.GiveUp)
	s.is("current 1 confirmed, candidate 2 unresolved")
}

func TestCrashWhileSendingLeavesRequestOpen(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.sent(10)
	s.Record = stored(t, s.Record) // a crash: only storage is left
	s.reads(41, "uncertain 1 or 2")
	require.True(t, s.Unfinished())
	s.sent(50)
	s.do(Record.NotApplied)
	s.is("current 1 confirmed, next 2 unknown")
	require.Equal(t, at(40), s.Next.SentUntil)
}

func TestFormattingHidesPasswords(t *testing.T) {
	s := lost(t)
	s.sent(20)
	s.do(Record.PasswordRefused)
	s.made(3, 30)
	for _, printed := range []any{*s.Current, *s.Next, s.Candidates, s.Current.Password, s.List(), s.Record} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			require.NotContains(t, fmt.Sprintf(verb, printed), "password-")
		}
	}
}

func TestMissingFieldsReadAsZero(t *testing.T) {
	require.Equal(t, Record{}, stored(t, Record{}))
	require.JSONEq(t, `{}`, encoded(t, Record{}))
	require.Equal(t, time.Time{}, stored(t, lost(t).Record).NotBefore)
}

// A later request may have an earlier deadline, if request_timeout was lowered in between.
func TestCandidateKeepsLatestDeadline(t *testing.T) {
	s := lost(t)
	s.do(func(r Record) Record { return r.Send(at(21), 0) })
	s.do(Record.Unresolved)
	s.made(3, 22)
	require.Equal(t, at(40), s.SendNotBefore())
}
