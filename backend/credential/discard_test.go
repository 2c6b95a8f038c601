package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// inForceByTime returns a story in which version 2 was queued over a confirmed version 1 and came into force by time alone.
func inForceByTime(t *testing.T) *story {
	t.Helper()
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, Accepted, 10)
	s.settleByTime(11, 71)
	s.is("current 2, previous 1 open")
	return s
}

func (s *story) discardAt(version, second int) error {
	s.Helper()
	return s.try(func(r Record) (Record, error) { return r.Discard(version, at(second)) })
}

// A queued password comes into force later, even if it is not in force now.
func TestQueuedPasswordIsNotDiscarded(t *testing.T) {
	queued := func() *story {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, Accepted, 10)
		return s
	}
	for name, change := range map[string]func(*story){
		"next":                     func(*story) {},
		"next, sent again":         func(s *story) { s.sent(20) },
		"next, sent again, lost":   func(s *story) { s.sent(20); s.do(Record.Unresolved) },
		"under one not sent":       func(s *story) { s.made(3, 20) },
		"under one being sent":     func(s *story) { s.made(3, 20); s.sent(20) },
		"under another one queued": func(s *story) { s.changeStaged(3, Accepted, 20) },
		"refused the second time":  func(s *story) { s.sent(20); s.do(Record.PasswordRefused) },
		"given up":                 func(s *story) { s.do(Record.GiveUp) },
		"under an adopted one":     func(s *story) { s.adopt("another", 20) },
		"confirmed on a part":      func(s *story) { require.NoError(s, s.confirmOn(2, 20, "a")) },
	} {
		s := queued()
		change(s)
		before := encoded(t, s.Record)
		require.ErrorIs(t, s.discardAt(2, 30), ErrQueued, name)
		require.Equal(t, before, encoded(t, s.Record), name)
	}

	s := queued() // overtaken by another one, so it is no longer waited for
	s.changeStaged(3, Accepted, 20)
	s.settleByTime(21, 80)
	s.is("current 3, candidate 2 staged overtaken, previous 1 open")
	require.NoError(t, s.discardAt(2, 90))
	s.is("current 3, candidate 2 discarded overtaken, previous 1 open")
	require.False(t, s.Open(at(90)))
}

func TestDiscardingPasswordInForceByTimeRestoresPrevious(t *testing.T) {
	s := inForceByTime(t)
	require.NoError(t, s.discardAt(2, 80))
	s.is("current 3, candidate 2 discarded")
	s.reads(80, "assumed 3")
	require.Equal(t, at(80), s.Current.Since)
	require.Equal(t, BasisOperator, s.Current.Basis)
	require.Nil(t, s.View(at(80)).Last)
	require.False(t, s.Unfinished())
	require.False(t, s.Open(at(80)), "its time has passed")
	require.NoError(t, s.discardAt(2, 81), "a discard may be repeated")
	require.ErrorIs(t, s.discardAt(1, 81), ErrNothingToConfirm, "the discard made it current again")
	s.is("current 3, candidate 2 discarded")
	s.trimmed(0)
	discarded := s.Record

	require.NoError(t, s.confirm(2, 90), "it came into force late")
	s.is("current 4, previous 3")

	s.Record = discarded
	s.changed(3, 90)
	s.is("current 4, candidate 2 discarded overtaken outlived, previous 3")
	s.reads(90, "assumed 4")
	s.changed(4, 100)
	s.is("current 5 confirmed, previous 4, history 3 old, history 2 superseded")

	s.Record = discarded
	for n := 3; n <= 4; n++ {
		s.changeStaged(n, Accepted, 100*n)
		s.settleByTime(100*n+1, 100*n+60)
	}
	s.is("current 5, previous 4 unconfirmed open, history 3 old open, history 2 superseded open late")
}

// Which of them works is not known then.
func TestPasswordInForceByTimeIsKeptWhileAnotherIsOpen(t *testing.T) {
	for name, change := range map[string]func(*story){
		"another is being sent": func(s *story) { s.made(3, 80); s.sent(80) },
		"another is unknown":    func(s *story) { s.made(3, 80); s.sent(80); s.do(Record.Unresolved) },
		"another is queued":     func(s *story) { s.changeStaged(3, Accepted, 80) },
		"another was refused late": func(s *story) {
			s.made(3, 80)
			s.sent(80)
			s.do(Record.Unresolved)
			s.sent(120)
			s.do(Record.PasswordRefused)
		},
		"a third is made":          func(s *story) { s.changeStaged(3, Accepted, 80); s.made(4, 90) },
		"an operator confirmed it": func(s *story) { require.NoError(s, s.confirm(2, 80)) },
		"it is adopted":            func(s *story) { s.adopt(value(2), 80) },
		"another was confirmed":    func(s *story) { s.changed(2, 80) },
	} {
		s := inForceByTime(t)
		change(s)
		before := encoded(t, s.Record)
		require.ErrorIs(t, s.discardAt(s.Current.Version, 130), ErrNothingToConfirm, name)
		require.Equal(t, before, encoded(t, s.Record), name)
	}

	s := &story{TB: t} // the very first password
	s.changeStaged(1, Accepted, 0)
	s.settleByTime(1, 60)
	require.ErrorIs(t, s.discardAt(1, 70), ErrNothingToConfirm)

	s = inForceByTime(t) // an unsent password is in force nowhere, and is still to be sent
	s.made(3, 80)
	require.NoError(t, s.discardAt(2, 90))
	s.is("current 4, next 3 unsent, candidate 2 discarded")
	require.Equal(t, StateAssumed, s.View(at(90)).State)

	s = inForceByTime(t) // a discarded password does not prevent it either
	s.made(3, 80)
	s.sent(80)
	s.do(Record.Unresolved)
	require.NoError(t, s.discardAt(3, 120))
	require.NoError(t, s.discardAt(2, 120))
	require.Equal(t, value(1), s.Current.Value)
	s.lists(2, "candidate: discarded")
	s.lists(3, "candidate: discarded")
	require.Equal(t, at(110), s.SendNotBefore())
}

// Discarding Current does not confirm the one before, which came into force by time alone too.
func TestRestoredPreviousKeepsItsBasis(t *testing.T) {
	s := inForceByTime(t)
	s.changeStaged(3, Accepted, 100)
	s.settleByTime(101, 160)
	s.is("current 3, previous 2 unconfirmed open, history 1 old open")
	require.NoError(t, s.discardAt(3, 170))
	s.is("current 4, candidate 3 discarded, history 1 old open")
	require.Equal(t, BasisTime, s.Current.Basis)
	for n := 4; n <= 6+maxOpenPast; n++ {
		s.changeStaged(n, Accepted, 100*n)
		s.settleByTime(100*n+1, 100*n+60)
		s.trimmed(0)
		s.lists(1, ListedOld)
	}
}

// A role may be deleted once no waiting password can come into force any more.
func TestRecordIsOpenUntilWaitingPasswordIsOvertaken(t *testing.T) {
	for name, discard := range map[string]bool{"waits": false, "discarded": true} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, RestartRequired, 10)
		if discard {
			require.NoError(t, s.discardAt(2, 20))
		}
		require.True(t, s.Open(at(1000)), name)
		s.made(3, 30)
		require.True(t, s.Open(at(1000)), name)
		s.sent(30)
		s.applied(31)
		require.Len(t, s.Candidates, 1)
		require.False(t, s.Open(at(1000)), name)
	}
}

func TestPasswordConfirmedOnPartIsNotDiscarded(t *testing.T) {
	for name, change := range map[string]func(*story){
		"next":                func(*story) {},
		"under one not sent":  func(s *story) { s.made(3, 40) },
		"under another":       func(s *story) { s.changeStaged(3, RestartRequired, 40) },
		"sent again and lost": func(s *story) { s.sent(40); s.do(Record.Unresolved) },
	} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, RestartRequired, 10)
		require.NoError(t, s.confirmOn(2, 30, "a"))
		change(s)
		before := encoded(t, s.Record)
		require.ErrorIs(t, s.discardAt(2, 60), ErrInForceOn, name)
		require.Equal(t, before, encoded(t, s.Record), name)
		require.NoError(t, s.confirmOn(1, 70, "a"), name)
		require.NoError(t, s.discardAt(2, 80), name)
		s.lists(2, "candidate: discarded")
	}
}

// An operator has found it in force after all.
func TestDiscardedPasswordConfirmedOnPartIsOpenAgain(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	require.NoError(t, s.discardAt(2, 20))
	s.shows(20, "a: assumed 1, b: assumed 1")
	require.NoError(t, s.confirmOn(2, 30, "a"))
	s.is("current 1 confirmed, candidate 2 staged on a")
	s.reads(30, "restart_required 1 or 2")
	s.shows(30, "a: assumed 2, b: restart_required 1 or 2")
	require.True(t, s.Exposed())
	require.False(t, s.Unfinished(), "it waits for a restart")
	revived := s.Record
	require.NoError(t, s.confirmOn(2, 40, "b"))
	s.is("current 2, previous 1")
	s.Record = revived
	s.made(3, 40)
	require.NoError(t, s.discardAt(3, 41))
	s.is("current 1 confirmed, next 2 restart_required on a")

	s = lost(t)
	require.NoError(t, s.discardAt(2, 20))
	require.False(t, s.Unfinished())
	require.NoError(t, s.confirmOn(2, 30, "a"))
	s.is("current 1 confirmed, candidate 2 unresolved on a")
	require.True(t, s.Unfinished())
	s.shows(30, "a: assumed 2, b: uncertain 1 or 2")

	for name, settle := range map[string]func(*story){
		"staged":     func(*story) {},
		"unresolved": func(s *story) { s.sent(20); s.do(Record.Unresolved) },
	} {
		s = partlyTaken(t)
		settle(s)
		require.NoError(t, s.discardAt(2, 60))
		require.NoError(t, s.confirmOn(2, 70, "a"))
		s.is("current 1 confirmed, candidate 2 " + name + " taken a on a")
		s.shows(70, map[string]string{"staged": "a: assumed 2, b: assumed 1", "unresolved": "a: assumed 2, b: uncertain 1 or 2"}[name])
	}

	s = &story{TB: t} // another one waits for the same restart instead
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	require.NoError(t, s.discardAt(2, 20))
	s.changeStaged(3, RestartRequired, 30)
	require.NoError(t, s.confirmOn(2, 40, "a"))
	s.is("current 1 confirmed, next 3 restart_required, candidate 2 staged overtaken on a")
	s.reads(40, "restart_required 1 or 3")
}
