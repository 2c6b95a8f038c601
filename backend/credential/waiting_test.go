package credential

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// A queued password comes into force whatever an operator says about the present, as one that waits for a restart does.
func TestOperatorStatementKeepsQueuedPassword(t *testing.T) {
	for name, statement := range map[string]func(*story) string{
		"adopts another": func(s *story) string { s.adopt("another", 20); return "current 3, next 2 accepted, previous 1" },
		"adopts current": func(s *story) string { s.adopt(value(1), 20); return "current 1, next 2 accepted" },
		"confirms current": func(s *story) string {
			require.NoError(s, s.confirm(1, 20))
			return "current 1 confirmed, next 2 accepted"
		},
		"confirms current on a part": func(s *story) string {
			require.NoError(s, s.confirmOn(1, 20, "a"))
			return "current 1 confirmed, next 2 accepted"
		},
	} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, Accepted, 10)
		want := statement(s)
		s.is(want)
		require.Equal(t, StateAccepted, s.View(at(20)).State, name)
		require.Equal(t, at(11), s.QueuedSince(), name)
		require.True(t, s.Open(at(1000)), name)
		require.False(t, s.Unfinished(), name)
		s.settleByTime(10, 70)
		s.is(want)
		before := s.Current.Version
		s.settleByTime(11, 71)
		s.is(fmt.Sprintf("current %d, previous %d open", before+1, before) + textIf(before == 3, ", history 1 old"))
		require.Equal(t, BasisTime, s.Current.Basis, name)
	}
}

func TestAdoptedPasswordIsReplacedByQueuedOnes(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	for n := 2; n <= 3; n++ {
		s.changeStaged(n, Accepted, 10*n)
	}
	s.adopt("another", 40)
	s.is("current 4, next 3 accepted, candidate 2 staged, previous 1")
	s.reads(40, "accepted 4 or 3")
	s.adopt("another", 41)
	require.NoError(t, s.confirm(4, 42))
	s.is("current 4, next 3 accepted, candidate 2 staged, previous 1") // both still wait, although their versions are lower
	adopted := s.Record
	s.settleByTime(21, 90)
	s.is("current 5, next 3 accepted, previous 4 open, history 1 old")
	s.settleByTime(31, 100)
	s.is("current 6, previous 5 unconfirmed open, history 4 old open, history 1 old")

	s.Record = adopted // version 3 is confirmed, so the one queued before it no longer waits
	require.NoError(t, s.confirm(3, 50))
	s.is("current 5, previous 4, history 2 superseded open, history 1 old")
	s.Record = adopted // the older one is confirmed first
	require.NoError(t, s.confirm(2, 50))
	s.is("current 5, next 3 accepted, previous 4, history 1 old")
	s.trimmed(0)
	s.settleByTime(31, 100)
	s.is("current 6, previous 5 open, history 4 old")

	s.Record = adopted // under an unsent one
	s.made(5, 60)
	s.adopt("yet another", 61)
	s.is("current 5, candidate 2 staged, candidate 3 staged, previous 4, history 1 old")
	s.reads(61, "accepted 5 or 3")
	s.settleByTime(31, 100)
	s.is("current 6, candidate 2 staged overtaken, previous 5 open, history 4 old, history 1 old")
}

// The queued password came into force without a restart, so the unknown one cannot be waiting for one.
func TestConfirmingQueuedPasswordSettlesUnknownOne(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, Accepted, 10)
	s.made(3, 20)
	s.sent(20)
	s.do(Record.Unresolved)
	require.ErrorIs(t, s.confirm(1, 60), ErrNothingToConfirm, "version 3 may be in force")
	require.NoError(t, s.confirm(2, 60))
	s.is("current 2, previous 1, history 3 superseded open")
	require.Equal(t, at(50), s.LastRequest())
}

// Confirming Current settles overtaken passwords but not those that still wait, and may be repeated.
func TestConfirmingCurrentSettlesCandidates(t *testing.T) {
	makes := func(s *story, second int) error {
		return s.try(func(r Record) (Record, error) { return r.Make("one more", "story", false, at(second)) })
	}
	s := &story{TB: t}
	s.changed(1, 0)
	last := MaxCandidates + 2
	for n := 2; n <= last; n++ {
		s.changeStaged(n, RestartRequired, 100*n)
	}
	require.Len(t, s.Candidates, MaxCandidates)
	require.ErrorIs(t, makes(s, 5020), ErrUnsettled)
	require.NoError(t, s.confirm(1, 5030))
	require.Empty(t, s.Candidates)
	require.Len(t, s.History, MaxCandidates)
	require.Equal(t, last, s.Next.Version)
	require.True(t, s.History[0].Open)
	before := encoded(t, s.Record)
	require.NoError(t, s.confirm(1, 5040))
	require.Equal(t, before, encoded(t, s.Record))
	require.NoError(t, makes(s, 5050))

	for name, phase := range map[string]func(*story){
		"partly taken":               func(s *story) { s.do(Record.NotApplied) },
		"partly taken, rest unknown": func(s *story) { s.do(Record.Unresolved) },
	} {
		s := partlyTaken(t)
		s.made(3, 20)
		s.sent(20)
		s.takenBy(21, "a")
		phase(s)
		next := *s.Next
		require.NoError(t, s.confirm(1, 60), name)
		require.Empty(t, s.Candidates, name)
		require.Equal(t, next, *s.Next, name)
		require.True(t, s.Unfinished(), "the missing part is still asked")
		s.lists(2, ListedSuperseded)
	}
}

// One part takes every password and the other refuses every one. On the first, only the last one counts. A confirmation makes
// room for new candidates.
func TestPasswordsWaitingOnSamePartOvertakeEachOther(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	n := 2
	for ; s.try(func(r Record) (Record, error) { return r.Make(value(n), "story", false, at(100*n)) }) == nil; n++ {
		require.Less(t, n, 30, "Make never fails")
		s.sent(100 * n)
		s.takenBy(100*n+1, "a")
		s.do(Record.PasswordRefused)
		require.True(t, s.Unfinished())
		for _, c := range s.Candidates[:len(s.Candidates)-1] {
			require.True(t, c.Overtaken)
		}
		s.shows(100*n+2, fmt.Sprintf("a: restart_required 1 or %d, b: assumed 1", n))
	}
	require.Len(t, s.Candidates, MaxCandidates+1)
	require.NoError(t, s.confirm(1, 5000))
	require.Len(t, s.Candidates, 1)
	require.Equal(t, n-1, s.Candidates[0].Version, "the last one still waits")
	s.made(n, 5010)

	// The overtaken one may have come into force in between, so it can still be confirmed.
	s = partlyTaken(t)
	s.made(3, 20)
	s.sent(20)
	s.takenBy(21, "a")
	s.do(Record.NotApplied)
	s.is("current 1 confirmed, next 3 restart_required taken a, candidate 2 staged overtaken taken a")
	require.NoError(t, s.confirmOn(2, 30, "a"))
	s.shows(30, "a: restart_required 2 or 3, b: assumed 1")

	// A password that other parts have taken too, or may have, still waits there.
	for name, settle := range map[string]func(*story){
		"others have it":     func(s *story) { s.takenBy(12, "a", "b") },
		"all have it":        func(s *story) { s.sent(12); s.staged(RestartRequired, 13) },
		"others may have it": func(s *story) { s.sent(12); s.do(Record.Unresolved) },
		"it is queued": func(s *story) {
			s.sent(12)
			s.do(func(r Record) Record { return r.TakenByParts([]string{"a"}, Accepted, at(13)) })
			s.do(Record.NotApplied)
		},
	} {
		s = partlyTaken(t)
		settle(s)
		s.made(3, 50)
		s.sent(50)
		s.takenBy(51, "a")
		s.do(Record.NotApplied)
		require.False(t, s.Candidates[0].Overtaken, name)
		require.Equal(t, map[string]State{"it is queued": StateActive}[name] == "", s.Parts(servers, at(52))[1].NextVersion == 2, name)
	}
	s = partlyTaken(t) // a queued password overtakes nothing that waits for a restart
	s.made(3, 50)
	s.sent(50)
	s.do(func(r Record) Record { return r.TakenByParts([]string{"a", "b"}, Accepted, at(51)) })
	require.False(t, s.Candidates[0].Overtaken)
}

// A part shows the password that waits there, even if it is not the newest one.
func TestPartShowsWhatItHasTaken(t *testing.T) {
	s := partlyTaken(t)
	s.made(3, 20)
	s.shows(20, "a: restart_required 1 or 2, b: assumed 1")
	s.sent(20)
	s.shows(20, "a: restart_required 1 or 2, b: assumed 1")
	s.do(Record.Unresolved)
	s.shows(60, "a: uncertain 1 or 3, b: uncertain 1 or 3")

	s = partlyTaken(t) // the request to b may have been applied, though b refused it later
	s.sent(20)
	s.do(Record.Unresolved)
	s.sent(60)
	s.do(Record.PasswordRefused)
	s.is("current 1 confirmed, candidate 2 refused taken a")
	s.shows(60, "a: restart_required 1 or 2, b: uncertain 1 or 2")
	require.True(t, s.Unfinished())

	s = partlyTaken(t)
	s.sent(20)
	s.do(Record.PasswordRefused)
	s.shows(20, "a: restart_required 1 or 2, b: assumed 1")
	require.NoError(t, s.discardAt(2, 30))
	s.shows(30, "a: assumed 1, b: assumed 1")
	require.True(t, s.Open(at(1000)), "a puts it in force when it restarts")
	require.False(t, s.Unfinished())
}

// A later role on the same account must not send before the queue is done, nor must this one after a statement by an
// operator.
func TestQueueingCountsAsRequest(t *testing.T) {
	queued := func() *story {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, Accepted, 10)
		return s
	}
	s := queued()
	require.Equal(t, at(11), s.LastRequest())
	require.Zero(t, s.SendNotBefore(), "a queued password is limited by the queue, not by NotBefore")
	s.made(3, 20)
	require.Equal(t, at(11), s.LastRequest())
	s.sent(20)
	s.staged(Accepted, 21)
	require.Equal(t, at(21), s.LastRequest(), "the last one counts")
	s.settleByTime(21, 81)
	require.Zero(t, s.LastRequest(), "its time has passed")

	for name, statement := range map[string]func(*story){
		"confirms it":      func(s *story) { require.NoError(s, s.confirm(2, 30)) },
		"confirms current": func(s *story) { require.NoError(s, s.confirm(1, 30)) },
		"adopts it":        func(s *story) { s.adopt(value(2), 30) },
		"adopts current":   func(s *story) { s.adopt(value(1), 30) },
		"adopts another":   func(s *story) { s.adopt("another", 30) },
		"under another": func(s *story) {
			s.made(3, 20)
			require.NoError(s, s.confirm(2, 30))
		},
	} {
		s := queued()
		statement(s)
		require.Equal(t, at(11), s.SendNotBefore(), name)
		require.Equal(t, at(11), s.LastRequest(), name)
		next := &story{TB: t}
		next.do(func(r Record) Record { return r.InheritLimits(s.LastRequest(), s.OldTries) })
		require.Equal(t, at(11), next.SendNotBefore(), name)
	}
	require.Zero(t, partlyTaken(t).LastRequest(), "a password that waits for a restart is not put in force by a request")
	require.Zero(t, Record{}.LastRequest())
}

// A statement about the whole account replaces those about parts.
func TestConfirmingCurrentClearsPartConfirmations(t *testing.T) {
	for _, statement := range []func(*story){
		func(s *story) { require.NoError(s, s.confirm(1, 30)) },
		func(s *story) { s.adopt(value(1), 30) },
	} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, RestartRequired, 10)
		require.NoError(t, s.confirmOn(2, 20, "a"))
		statement(s)
		require.Empty(t, s.Next.InForceOn)
		s.shows(30, "a: restart_required 1 or 2, b: restart_required 1 or 2")
		require.NoError(t, s.discardAt(2, 40))
	}
}
