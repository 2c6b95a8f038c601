package credential

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lockWindow is how long the remote system remembers wrong old passwords.
const lockWindow = 5 * time.Minute

// present sends Next with the old password that the record chooses, and returns the choice.
func (s *story) present(second int) Old {
	s.Helper()
	old := s.Old(at(second))
	require.NotNil(s, old.Password, "there is no old password to present")
	require.False(s, old.NotBefore.After(at(second)), "it must not be presented before %s", old.NotBefore)
	s.do(func(r Record) Record {
		return r.SendWithOld(at(second), at(second).Add(requestTime), r.Old(at(second)), lockWindow)
	})
	return old
}

// oldRefused is the answer that the old password is wrong. left is how many attempts are left; below 0 if it does not say.
func (s *story) oldRefused(old Old, second, left int) {
	s.Helper()
	var reported *int
	if left >= 0 {
		reported = &left
	}
	s.do(func(r Record) Record { return r.OldRefused(old.Certain, reported, at(second).Add(lockWindow)) })
}

// appliedExclusively is the confirmation of a change that required the right old password.
func (s *story) appliedExclusively(second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Applied(at(second), true) })
}

// changedWithOld is a confirmed change on a remote system that requires the old password.
func (s *story) changedWithOld(n, second int) {
	s.Helper()
	s.made(n, second)
	s.present(second)
	s.appliedExclusively(second)
}

// adopted returns a story in which version 1 was adopted and then changed to version 2.
func adopted(t *testing.T) *story {
	t.Helper()
	s := &story{TB: t}
	s.do(func(r Record) Record { return r.Adopt(value(1), "adopted", at(0)) })
	s.changedWithOld(2, 1)
	s.is("current 2 confirmed, previous 1")
	return s
}

// previousRefused presents Previous too, which is wrong.
func (s *story) previousRefused(second int) {
	s.Helper()
	old := s.present(second)
	require.Equal(s, s.Previous.Version, old.Password.Version)
	require.False(s, old.Certain)
	s.oldRefused(old, second+1, -1)
	s.lists(old.Password.Version, ListedRefused)
}

// The remote system has checked the old password when it confirms a change, which may be long before that is in force.
func TestConfirmedChangeKeepsWhatItProves(t *testing.T) {
	for _, exclusive := range []bool{true, false} {
		s := adopted(t)
		s.made(3, 10)
		s.present(10)
		s.do(func(r Record) Record { return r.Confirmed(exclusive) })
		s.is("current 2 confirmed, next 3 unknown, previous 1")
		s.reads(10, "uncertain 2 or 3")
		require.True(t, s.Next.AwaitsForce())
		s.do(Record.NotApplied) // not in force yet
		s.do(Record.Unresolved) // or it is not known
		require.True(t, s.Next.AwaitsForce())
		over := *s
		s.applied(20)
		s.is("current 3 confirmed, previous 2, history 1 old")
		require.Nil(t, s.Next)

		s = &over
		s.do(Record.TargetRefused)
		s.is("current 2 confirmed, next 3 unknown, previous 1")
		require.False(t, s.Next.AwaitsForce(), "it is sent again")
		require.False(t, s.Next.Exclusive)
	}
	s := adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.made(4, 20)
	s.present(20)
	s.do(func(r Record) Record { return r.Confirmed(true) })
	s.applied(30)
	s.is("current 4 confirmed, previous 2, history 3 superseded, history 1 old")
}

func TestLostAnswerIsResolvedByPresentingCandidate(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	old := s.present(10)
	require.True(t, old.Certain)
	require.Zero(t, s.OldTries.Count, "presenting the password in force costs no attempt")
	s.do(Record.Unresolved)
	s.reads(10, "uncertain 2 or 3")

	old = s.present(20) // the remote system did apply version 3
	require.Equal(t, 2, old.Password.Version)
	require.False(t, old.Certain)
	require.Equal(t, 1, s.OldTries.Count, "an attempt is counted before it is made")
	s.oldRefused(old, 21, 4)
	s.is("current 2 refused, next 3 unknown, previous 1")
	s.reads(21, "uncertain 3")
	require.False(t, s.OldExhausted(), "version 3 may be the old password")

	s.made(4, 22)
	s.is("current 2 refused, next 4 unsent, candidate 3 unresolved, previous 1")
	s.reads(22, "uncertain 3")
	require.Equal(t, at(40), s.SendNotBefore())
	old = s.present(80)
	require.Equal(t, 3, old.Password.Version)
	s.appliedExclusively(81)
	s.is("current 4 confirmed, previous 3, history 2 old, history 1 old")
	s.reads(81, "active 4")
	require.Zero(t, s.OldTries)
	require.False(t, s.Unfinished())
	require.Equal(t, value(3), s.View(at(81)).Last.Value, "the remote system accepted it as the old password, so it was in force")
}

func TestLostRequestIsResolvedByRepeatingIt(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.present(20)
	s.appliedExclusively(21)
	s.is("current 3 confirmed, previous 2, history 1 old")
	s.reads(21, "active 3")
	require.Zero(t, s.OldTries)
}

func TestRecordIsDriftedWhenCurrentIsRefused(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	old := s.present(10)
	s.oldRefused(old, 11, 4)
	require.Equal(t, 1, s.OldTries.Count, "the certain one was wrong after all, so it counts")
	require.False(t, s.OldExhausted(), "the previous one may be in force again")
	s.previousRefused(12)
	require.Equal(t, 2, s.OldTries.Count)
	require.True(t, s.OldExhausted())
	s.do(Record.GiveUp)
	s.is("current 2 refused, previous 1")
	s.reads(11, "drifted 2")
	require.Nil(t, s.Old(at(11)).Password)
	require.Nil(t, s.Old(at(100000)).Password, "time does not help")
	require.False(t, s.Unfinished())

	s.do(func(r Record) Record { return r.Adopt("another", "adopted", at(20)) })
	s.is("current 3, previous 1, history 2 old")
	s.reads(20, "assumed 3")
	s.changedWithOld(4, 400)
	s.reads(400, "active 4")
}

func TestRecordIsDriftedWhenCandidatesAreRefusedToo(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.oldRefused(s.present(20), 21, -1)
	s.made(4, 22)
	s.oldRefused(s.present(80), 81, -1)
	s.is("current 2 refused, next 4 unsent, candidate 3 unresolved wrong, previous 1")
	require.Equal(t, s.OldTries.Until, s.Old(at(81)).NotBefore, "there were two attempts in this window")
	s.previousRefused(500)
	require.True(t, s.OldExhausted())
	s.do(Record.GiveUp)
	s.reads(81, "drifted 2")
	s.lists(3, ListedRefused)
	require.False(t, s.Unfinished())

	// A reset does not require the old password. A request sent before it may still be carried out.
	s.made(4, 90)
	s.sent(90)
	s.applied(91)
	s.is("current 4, candidate 3 unresolved overtaken outlived wrong, previous 1, history 2 old")
	s.reads(91, "assumed 4")
}

func TestAtMostTwoOldPasswordAttemptsPerLockWindow(t *testing.T) {
	s := adopted(t)
	for n := 3; n <= 5; n++ {
		s.made(n, 100*n) // three lost answers
		s.present(100 * n)
		s.do(Record.Unresolved)
	}
	s.made(6, 1000)
	old := s.present(1000)
	require.Equal(t, 2, old.Password.Version)
	s.oldRefused(old, 1001, -1)
	old = s.present(1002)
	require.Equal(t, 5, old.Password.Version, "the newest candidate comes first")
	s.oldRefused(old, 1003, -1)
	require.Equal(t, 2, s.OldTries.Count)

	old = s.Old(at(1004))
	require.Equal(t, 4, old.Password.Version)
	require.Equal(t, at(1332), old.NotBefore, "the end of the window, counted from the deadline of the last attempt")
	require.False(t, s.OldExhausted())
	require.True(t, s.Unfinished())
	require.Equal(t, 4, s.present(1332).Password.Version)
	require.Equal(t, 1, s.OldTries.Count, "a new window")
	s.appliedExclusively(1333)
	s.is("current 6 confirmed, previous 4, history 5 superseded, history 3 superseded, history 2 old, history 1 old")
}

func TestNoOldPasswordAttemptWithFewerThanThreeLeft(t *testing.T) {
	for left, allowed := range map[int]bool{0: false, 1: false, 2: false, 3: true, 4: true} {
		s := adopted(t)
		s.made(3, 10)
		s.present(10)
		s.do(Record.Unresolved)
		s.oldRefused(s.present(20), 21, left)
		require.Equal(t, !allowed, s.OldExhausted(), "left %d", left)
		s.made(4, 22)
		require.Equal(t, allowed, s.Old(at(22)).Password != nil, "left %d", left)
		require.Equal(t, allowed, s.Old(at(1000)).Password != nil, "left %d: the remote system may never forget them", left)
		want := map[bool]State{true: StateUncertain, false: StateDrifted}[allowed]
		require.Equal(t, want, s.View(at(22)).State, "left %d", left)
		require.Equal(t, value(3), s.View(at(22)).Password.Value, "it was sent and not refused")
		s.do(Record.GiveUp)
		s.lists(3, "candidate: unresolved")
	}
}

// An adopted password is another one to present, but not before the end of the lock window in which few attempts are left.
func TestAdoptedPasswordIsPresentedAfterLockWindow(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.oldRefused(s.present(10), 11, 1)
	s.do(Record.GiveUp)
	s.do(func(r Record) Record { return r.Adopt("another", "adopted", at(20)) })
	s.made(4, 21)
	require.Equal(t, at(311), s.Old(at(21)).NotBefore)
	require.Equal(t, "another", s.present(311).Password.Value)
	require.Equal(t, OldTries{Count: 1, Until: at(341).Add(lockWindow)}, s.OldTries)
}

func TestUncheckedOldPasswordIsNotCounted(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	old := s.present(20)
	require.Equal(t, 1, s.OldTries.Count)
	s.do(func(r Record) Record { return r.OldTryNotCounted(old.Certain).NotApplied() })
	require.Zero(t, s.OldTries.Count)
	s.do(func(r Record) Record { return r.OldTryNotCounted(false) })
	require.Zero(t, s.OldTries.Count, "the count does not go below zero")
	old = Old{Certain: true}
	s.present(30)
	s.do(func(r Record) Record { return r.OldTryNotCounted(old.Certain) })
	require.Equal(t, 1, s.OldTries.Count, "an attempt with a certain password was not counted, so there is nothing to take back")
}

// A reset presents no old password, so a change that required one proves nothing about the reset.
func TestExclusiveChangeDoesNotSettleUnconditionalRequest(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.sent(10)
	s.do(Record.Unresolved)
	s.made(4, 100)
	s.present(100)
	s.appliedExclusively(101)
	s.is("current 4, candidate 3 unresolved overtaken outlived, previous 2, history 1 old")
	s.reads(101, "assumed 4")

	s = adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.sent(20) // the same password, once with an old one and once without
	s.do(Record.Unresolved)
	s.made(4, 100)
	s.present(100)
	s.appliedExclusively(101)
	s.is("current 4, candidate 3 unresolved overtaken outlived, previous 2, history 1 old")

	s = adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.made(4, 100)
	s.present(100)
	s.appliedExclusively(101)
	s.is("current 4 confirmed, previous 2, history 3 superseded, history 1 old")
	s.reads(101, "active 4")
}

// A reset may leave the remote system's count of wrong passwords unchanged.
func TestResetKeepsOldPasswordAttempts(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.oldRefused(s.present(10), 11, 1)
	s.sent(20)
	s.applied(21)
	require.Equal(t, 1, *s.OldTries.Left)
	s.made(4, 22)
	require.Equal(t, at(311), s.Old(at(22)).NotBefore)
}

func TestRecordWithoutPasswordHasNoOldPassword(t *testing.T) {
	s := &story{TB: t}
	s.made(1, 0)
	require.Nil(t, s.Old(at(0)).Password)
	require.True(t, s.OldExhausted())
	s.sent(0)
	s.do(Record.Unresolved)
	require.False(t, s.OldExhausted())
	s.made(2, 100)
	require.Equal(t, 1, s.Old(at(100)).Password.Version, "version 1 may be in force")
}

func TestOldPasswordIsUncertainWhileAnotherIsOpen(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	require.True(t, s.Old(at(10)).Certain)
	s.present(10)
	require.False(t, s.Old(at(10)).Certain, "after a crash")
	s.do(Record.Unresolved)
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.Discard(3, at(25)) }))
	s.made(4, 20)
	require.False(t, s.Old(at(20)).Certain, "a discarded one may still come into force")

	s = adopted(t)
	s.do(func(r Record) Record { return r.Adopt("another", "adopted", at(10)) })
	s.made(4, 20)
	require.False(t, s.Old(at(20)).Certain, "it is not confirmed")
}

// An old password that was certain when it was presented may be refused late, once an operator says that another one is in force.
func TestOperatorsWordMakesLateAttemptCount(t *testing.T) {
	for name, other := range map[string]bool{"the next one": false, "a candidate": true} {
		s := adopted(t)
		s.made(3, 10)
		require.True(t, s.present(10).Certain)
		s.do(Record.Unresolved)
		if other {
			s.made(4, 20)
		}
		require.Zero(t, s.OldTries.Count, name)
		s.adopt("set by others", 30)
		require.Equal(t, 1, s.OldTries.Count, name)
		s.adopt("set by others again", 31)
		require.Equal(t, 1, s.OldTries.Count, name)
	}
}
