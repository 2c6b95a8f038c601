package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// cameByTime is a story in which version 2 was queued over a confirmed version 1 and counts as in force by time alone.
func cameByTime(t *testing.T) *story {
	t.Helper()
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, Accepted, 10)
	s.ripe(11, 71)
	s.is("current 2, previous 1 open")
	return s
}

func (s *story) discardAt(version, second int) error {
	s.Helper()
	return s.try(func(r Record) (Record, error) { return r.Discard(version, at(second)) })
}

// A word about now would be wrong as soon as the queue has come to it.
func TestWhatIsQueuedIsNotDiscarded(t *testing.T) {
	queued := func() *story {
		s := &story{TB: t}
		s.changed(1, 0)
		s.waits(2, Accepted, 10)
		return s
	}
	for name, change := range map[string]func(*story){
		"next":                     func(*story) {},
		"next, sent again":         func(s *story) { s.sent(20) },
		"next, sent again, lost":   func(s *story) { s.sent(20); s.do(Record.Unresolved) },
		"under one not sent":       func(s *story) { s.made(3, 20) },
		"under one being sent":     func(s *story) { s.made(3, 20); s.sent(20) },
		"under another one queued": func(s *story) { s.waits(3, Accepted, 20) },
		"refused the second time":  func(s *story) { s.sent(20); s.do(Record.Refused) },
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

	s := queued() // another one has overtaken it: nobody waits for it any more
	s.waits(3, Accepted, 20)
	s.ripe(21, 80)
	s.is("current 3, candidate 2 staged overtaken, previous 1 open")
	require.NoError(t, s.discardAt(2, 90))
	s.is("current 3, candidate 2 discarded overtaken, previous 1 open")
	require.False(t, s.Open(at(90)))
}

func TestWhatCameByTimeAloneIsDiscardedAndTheOneBeforeIsInForceAgain(t *testing.T) {
	s := cameByTime(t)
	require.NoError(t, s.discardAt(2, 80))
	s.is("current 1, candidate 2 discarded")
	s.reads(80, "assumed 1")
	require.Equal(t, at(80), s.Current.Since)
	require.Equal(t, BasisWord, s.Current.Basis)
	require.Nil(t, s.View(at(80)).Last)
	require.False(t, s.Unfinished())
	require.False(t, s.Open(at(80)), "its time has passed")
	require.NoError(t, s.discardAt(2, 81), "the word may be repeated")
	require.ErrorIs(t, s.discardAt(1, 81), ErrNothingToConfirm, "somebody has said that it is in force")
	s.is("current 1, candidate 2 discarded")
	s.trimmed(0)
	discarded := s.Record

	require.NoError(t, s.confirm(2, 90), "it came late")
	s.is("current 2, previous 1")

	s.Record = discarded
	s.changed(3, 90)
	s.is("current 3, candidate 2 discarded overtaken outlived, previous 1")
	s.reads(90, "assumed 3")
	s.changed(4, 100)
	s.is("current 4 confirmed, previous 3, history 2 superseded, history 1 old")

	s.Record = discarded
	for n := 3; n <= 4; n++ {
		s.waits(n, Accepted, 100*n)
		s.ripe(100*n+1, 100*n+60)
	}
	s.is("current 4, previous 3 unconfirmed open, history 2 superseded open late, history 1 old open")
}

// Nobody knows then which of them is the one that works.
func TestWhatCameByTimeIsNotDiscardedWhileAnotherMayBeInForce(t *testing.T) {
	for name, change := range map[string]func(*story){
		"another is being sent":    func(s *story) { s.made(3, 80); s.sent(80) },
		"another is unknown":       func(s *story) { s.made(3, 80); s.sent(80); s.do(Record.Unresolved) },
		"another is queued":        func(s *story) { s.waits(3, Accepted, 80) },
		"another was refused late": func(s *story) { s.made(3, 80); s.sent(80); s.do(Record.Unresolved); s.sent(120); s.do(Record.Refused) },
		"a third is made":          func(s *story) { s.waits(3, Accepted, 80); s.made(4, 90) },
		"a word has said it works": func(s *story) { require.NoError(s, s.confirm(2, 80)) },
		"it is adopted":            func(s *story) { s.adopt(value(2), 80) },
		"another came by answer":   func(s *story) { s.changed(2, 80) },
	} {
		s := cameByTime(t)
		change(s)
		before := encoded(t, s.Record)
		require.ErrorIs(t, s.discardAt(s.Current.Version, 130), ErrNothingToConfirm, name)
		require.Equal(t, before, encoded(t, s.Record), name)
	}

	s := &story{TB: t} // the first one of all
	s.waits(1, Accepted, 0)
	s.ripe(1, 60)
	require.ErrorIs(t, s.discardAt(1, 70), ErrNothingToConfirm)

	s = cameByTime(t) // one that was not sent is in force nowhere, and is still wanted
	s.made(3, 80)
	require.NoError(t, s.discardAt(2, 90))
	s.is("current 1, next 3 unsent, candidate 2 discarded")
	require.Equal(t, StateAssumed, s.View(at(90)).State)

	s = cameByTime(t) // nor does one stand in the way of which the same was said
	s.made(3, 80)
	s.sent(80)
	s.do(Record.Unresolved)
	require.NoError(t, s.discardAt(3, 120))
	require.NoError(t, s.discardAt(2, 120))
	require.Equal(t, value(1), s.Current.Value)
	s.lists(2, "candidate: discarded")
	s.lists(3, "candidate: discarded")
	require.Equal(t, at(110), s.QuietUntil())
}

// That the newest does not work says nothing of the one before, which came by time alone too.
func TestTheOneBeforeIsNoBetterKnownThanItWas(t *testing.T) {
	s := cameByTime(t)
	s.waits(3, Accepted, 100)
	s.ripe(101, 160)
	s.is("current 3, previous 2 unconfirmed open, history 1 old open")
	require.NoError(t, s.discardAt(3, 170))
	s.is("current 2, candidate 3 discarded, history 1 old open")
	require.Equal(t, BasisTime, s.Current.Basis)
	for n := 4; n <= 6+maxOpenPast; n++ {
		s.waits(n, Accepted, 100*n)
		s.ripe(100*n+1, 100*n+60)
		s.trimmed(0)
		s.lists(1, ListedOld)
	}
}

// A role may be deleted once nothing that waits can come in force any more.
func TestWhatWaitsForAStartIsOpenUntilItIsOvertaken(t *testing.T) {
	for name, discard := range map[string]bool{"waits": false, "discarded": true} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.waits(2, RestartRequired, 10)
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

func TestWhatIsConfirmedOnAPartIsNotDiscarded(t *testing.T) {
	for name, change := range map[string]func(*story){
		"next":                func(*story) {},
		"under one not sent":  func(s *story) { s.made(3, 40) },
		"under another":       func(s *story) { s.waits(3, RestartRequired, 40) },
		"sent again and lost": func(s *story) { s.sent(40); s.do(Record.Unresolved) },
	} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.waits(2, RestartRequired, 10)
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

// Somebody has found it after all.
func TestADiscardedPasswordThatIsInForceOnAPartIsOpenAgain(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, RestartRequired, 10)
	require.NoError(t, s.discardAt(2, 20))
	s.shows(20, "a: assumed 1, b: assumed 1")
	require.NoError(t, s.confirmOn(2, 30, "a"))
	s.is("current 1 confirmed, candidate 2 staged on a")
	s.reads(30, "restart_required 1 or 2")
	s.shows(30, "a: assumed 2, b: restart_required 1 or 2")
	require.True(t, s.Exposed())
	require.False(t, s.Unfinished(), "it waits for a start")
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
		s = partly(t)
		settle(s)
		require.NoError(t, s.discardAt(2, 60))
		require.NoError(t, s.confirmOn(2, 70, "a"))
		s.is("current 1 confirmed, candidate 2 " + name + " taken a on a")
		s.shows(70, map[string]string{"staged": "a: assumed 2, b: assumed 1", "unresolved": "a: assumed 2, b: uncertain 1 or 2"}[name])
	}

	s = &story{TB: t} // another one waits for the same start instead
	s.changed(1, 0)
	s.waits(2, RestartRequired, 10)
	require.NoError(t, s.discardAt(2, 20))
	s.waits(3, RestartRequired, 30)
	require.NoError(t, s.confirmOn(2, 40, "a"))
	s.is("current 1 confirmed, next 3 restart_required, candidate 2 staged overtaken on a")
	s.reads(40, "restart_required 1 or 3")
}
