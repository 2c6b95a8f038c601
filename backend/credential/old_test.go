package credential

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lockWindow is how long the remote system of these stories remembers wrong old passwords.
const lockWindow = 5 * time.Minute

// present sends Next with the old password that the record chooses, and returns the choice.
func (s *story) present(second int) Old {
	s.Helper()
	old := s.Old(at(second))
	require.NotNil(s, old.Password, "no old password is left to present")
	require.False(s, old.NotBefore.After(at(second)), "not before %s", old.NotBefore)
	s.do(func(r Record) Record {
		return r.SendWithOld(at(second), at(second).Add(requestTime), r.Old(at(second)), lockWindow)
	})
	return old
}

// wrong is the answer that the old password is wrong and that so many tries are left; below 0: it does not say.
func (s *story) wrong(old Old, second, left int) {
	s.Helper()
	var tries *int
	if left >= 0 {
		tries = &left
	}
	s.do(func(r Record) Record { return r.OldRefused(old.Certain, tries, at(second).Add(lockWindow)) })
}

func (s *story) exclusively(second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Applied(at(second), true) })
}

// modified is a change that goes well where the old password is wanted.
func (s *story) modified(n, second int) {
	s.Helper()
	s.made(n, second)
	s.present(second)
	s.exclusively(second)
}

// adopted is a role with version 2 in force and version 1 before it.
func adopted(t *testing.T) *story {
	t.Helper()
	s := &story{TB: t}
	s.do(func(r Record) Record { return r.Adopt(value(1), "adopted", at(0)) })
	s.modified(2, 1)
	s.is("current 2 confirmed, previous 1")
	return s
}

func TestALostAnswerWithAnOldPasswordIsResolvedWithoutAPerson(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	old := s.present(10)
	require.True(t, old.Certain)
	require.Zero(t, s.OldTries, "presenting what is in force costs no try")
	s.do(Record.Unresolved)
	s.reads(10, "uncertain 2 or 3")

	old = s.present(20) // the remote system did apply version 3
	require.Equal(t, 2, old.Password.Version)
	require.False(t, old.Certain)
	require.Equal(t, 1, s.OldTries.Count, "counted before it is made")
	s.wrong(old, 21, 4)
	s.is("current 2 refused, next 3 unknown, previous 1")
	s.reads(21, "uncertain 3")
	require.False(t, s.OldExhausted(at(21)), "version 3 itself may be the old password")

	s.made(4, 22)
	s.is("current 2 refused, next 4 unsent, candidate 3 unresolved, previous 1")
	s.reads(22, "uncertain 3")
	require.Equal(t, at(40), s.QuietUntil())
	old = s.present(80)
	require.Equal(t, 3, old.Password.Version)
	s.exclusively(81)
	s.is("current 4 confirmed, previous 3, history 2 old, history 1 old")
	s.reads(81, "active 4")
	require.Zero(t, s.OldTries)
	require.False(t, s.Unfinished())
	require.Equal(t, value(3), s.View(at(81)).Last.Value, "the last one known to have worked: the remote system took it")
}

func TestALostAnswerThatWasNotAppliedIsResolvedByTheSamePassword(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.present(20)
	s.exclusively(21)
	s.is("current 3 confirmed, previous 2, history 1 old")
	s.reads(21, "active 3")
	require.Zero(t, s.OldTries)
}

func TestARoleIsDriftedWhenEveryPasswordIsRefused(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	old := s.present(10)
	s.wrong(old, 11, 4)
	require.Equal(t, 1, s.OldTries.Count, "the certain one was wrong after all")
	require.True(t, s.OldExhausted(at(11)))
	s.do(Record.GiveUp)
	s.is("current 2 refused, previous 1")
	s.reads(11, "drifted 2")
	require.Nil(t, s.Old(at(11)).Password)
	require.Nil(t, s.Old(at(100000)).Password, "time does not help")
	require.False(t, s.Unfinished())

	s.do(func(r Record) Record { return r.Adopt("another", "word", at(20)) })
	s.is("current 3, previous 1, history 2 old")
	s.reads(20, "assumed 3")
	s.modified(4, 400)
	s.reads(400, "active 4")
}

func TestARoleIsDriftedWhenItsCandidatesAreRefusedToo(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.wrong(s.present(20), 21, -1)
	s.made(4, 22)
	s.wrong(s.present(80), 81, -1)
	s.is("current 2 refused, next 4 unsent, candidate 3 unresolved wrong, previous 1")
	require.True(t, s.OldExhausted(at(81)))
	s.do(Record.GiveUp)
	s.reads(81, "drifted 2")
	s.lists(3, ListedRefused)
	require.False(t, s.Unfinished())

	// A reset does not ask for the old password; what was sent before it may still follow.
	s.made(4, 90)
	s.sent(90)
	s.applied(91)
	s.is("current 4, candidate 3 unresolved overtaken outlived wrong, previous 1, history 2 old")
	s.reads(91, "assumed 4")
}

func TestNoMoreThanTwoTriesAreMadeInAWindow(t *testing.T) {
	s := adopted(t)
	for n := 3; n <= 5; n++ {
		s.made(n, 100*n) // three lost answers
		s.present(100 * n)
		s.do(Record.Unresolved)
	}
	s.made(6, 1000)
	old := s.present(1000)
	require.Equal(t, 2, old.Password.Version)
	s.wrong(old, 1001, -1)
	old = s.present(1002)
	require.Equal(t, 5, old.Password.Version, "the newest candidate first")
	s.wrong(old, 1003, -1)
	require.Equal(t, 2, s.OldTries.Count)

	old = s.Old(at(1004))
	require.Equal(t, 4, old.Password.Version)
	require.Equal(t, at(1332), old.NotBefore, "the end of the window, for a try that may have arrived at its deadline")
	require.False(t, s.OldExhausted(at(1004)))
	require.True(t, s.Unfinished())
	require.Equal(t, 4, s.present(1332).Password.Version)
	require.Equal(t, 1, s.OldTries.Count, "a new window")
	s.exclusively(1333)
	s.is("current 6 confirmed, previous 4, history 5 superseded, history 3 superseded, history 2 old, history 1 old")
}

func TestNoTryIsMadeWhenFewerThanThreeAreLeft(t *testing.T) {
	for left, allowed := range map[int]bool{0: false, 1: false, 2: false, 3: true, 4: true} {
		s := adopted(t)
		s.made(3, 10)
		s.present(10)
		s.do(Record.Unresolved)
		s.wrong(s.present(20), 21, left)
		require.Equal(t, !allowed, s.OldExhausted(at(22)), "left %d", left)
		s.made(4, 22)
		require.Equal(t, allowed, s.Old(at(22)).Password != nil, "left %d", left)
		require.Equal(t, allowed, s.Old(at(1000)).Password != nil, "left %d: the remote system may not forget them", left)
		want := map[bool]State{true: StateUncertain, false: StateDrifted}[allowed]
		require.Equal(t, want, s.View(at(22)).State, "left %d", left)
		require.Equal(t, value(3), s.View(at(22)).Password.Value, "it was sent and not refused")
		s.do(Record.GiveUp)
		s.lists(3, "candidate: unresolved")
	}
}

// A person's word names another old password. It is presented, but not in the window in which few tries are left.
func TestAPersonsWordIsTriedAfterTheWindow(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.wrong(s.present(10), 11, 1)
	s.do(Record.GiveUp)
	s.do(func(r Record) Record { return r.Adopt("another", "word", at(20)) })
	s.made(4, 21)
	require.Equal(t, at(311), s.Old(at(21)).NotBefore)
	require.Equal(t, "another", s.present(311).Password.Value)
	require.Equal(t, OldTries{Count: 1, Until: at(341).Add(lockWindow)}, s.OldTries)
}

func TestATryThatWasNotLookedAtIsTakenBack(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	old := s.present(20)
	require.Equal(t, 1, s.OldTries.Count)
	s.do(func(r Record) Record { return r.OldTryFree(old.Certain).NotApplied() })
	require.Zero(t, s.OldTries.Count)
	s.do(func(r Record) Record { return r.OldTryFree(false) })
	require.Zero(t, s.OldTries.Count, "not below none")
	old = Old{Certain: true}
	s.present(30)
	s.do(func(r Record) Record { return r.OldTryFree(old.Certain) })
	require.Equal(t, 1, s.OldTries.Count, "a certain one was not counted")
}

// A reset presents no old password: a change that presents one proves nothing about it.
func TestAChangeWithAnOldPasswordDoesNotSettleARequestWithoutOne(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.sent(10)
	s.do(Record.Unresolved)
	s.made(4, 100)
	s.present(100)
	s.exclusively(101)
	s.is("current 4, candidate 3 unresolved overtaken outlived, previous 2, history 1 old")
	s.reads(101, "assumed 4")

	s = adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.sent(20) // the same password, once with the old one and once without
	s.do(Record.Unresolved)
	s.made(4, 100)
	s.present(100)
	s.exclusively(101)
	s.is("current 4, candidate 3 unresolved overtaken outlived, previous 2, history 1 old")

	s = adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.made(4, 100)
	s.present(100)
	s.exclusively(101)
	s.is("current 4 confirmed, previous 2, history 3 superseded, history 1 old")
	s.reads(101, "active 4")
}

// A reset may leave the remote system's count of wrong passwords as it is.
func TestAResetDoesNotForgetTheTries(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	s.wrong(s.present(10), 11, 1)
	s.sent(20)
	s.applied(21)
	require.Equal(t, 1, *s.OldTries.Left)
	s.made(4, 22)
	require.Equal(t, at(311), s.Old(at(22)).NotBefore)
}

func TestWithoutAnyPasswordThereIsNoOldOne(t *testing.T) {
	s := &story{TB: t}
	s.made(1, 0)
	require.Nil(t, s.Old(at(0)).Password)
	require.True(t, s.OldExhausted(at(0)))
	s.sent(0)
	s.do(Record.Unresolved)
	require.False(t, s.OldExhausted(at(0)))
	s.made(2, 100)
	require.Equal(t, 1, s.Old(at(100)).Password.Version, "the first one may be in force")
}

func TestThePasswordInForceIsNotCertainWhileAnotherMayFollow(t *testing.T) {
	s := adopted(t)
	s.made(3, 10)
	require.True(t, s.Old(at(10)).Certain)
	s.present(10)
	require.False(t, s.Old(at(10)).Certain, "after a crash")
	s.do(Record.Unresolved)
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.Discard(3, at(25)) }))
	s.made(4, 20)
	require.False(t, s.Old(at(20)).Certain, "a discarded one may follow")

	s = adopted(t)
	s.do(func(r Record) Record { return r.Adopt("another", "word", at(10)) })
	s.made(4, 20)
	require.False(t, s.Old(at(20)).Certain, "nobody confirmed it")
}
