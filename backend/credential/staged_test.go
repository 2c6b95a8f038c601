package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// staged is the answer that the remote system has taken Next.
func (s *story) staged(phase Phase, second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Staged(phase, at(second)) })
}

// waits is a change that the remote system puts in force later.
func (s *story) waits(n int, phase Phase, second int) {
	s.Helper()
	s.made(n, second)
	s.sent(second)
	s.staged(phase, second+1)
}

// confirm is a person's word that the password of this version is in force.
func (s *story) confirm(version, second int) error {
	s.Helper()
	return s.try(func(r Record) (Record, error) { return r.Confirm(version, at(second)) })
}

func (s *story) discard(version int) error {
	s.Helper()
	return s.try(func(r Record) (Record, error) { return r.Discard(version, at(1000)) })
}

func (s *story) adopt(value string, second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Adopt(value, "word", at(second)) })
}

// ripe: what was queued until then counts as in force.
func (s *story) ripe(until, second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Ripe(at(until), at(second)) })
}

func (s *story) trimmed(size int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Trim(size) })
}

func TestAStagedPasswordOverAStagedOneKeepsBoth(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	for n := 2; n <= 3; n++ {
		s.made(n, 100*n)
		s.sent(100 * n)
		s.do(func(r Record) Record { return r.Staged(RestartRequired, at(100*n+1)) })
	}
	s.is("current 1 confirmed, next 3 restart_required, candidate 2 staged overtaken") // the last one before the start counts
	s.reads(302, "restart_required 1 or 3")
	s.lists(2, "candidate: staged")

	proved := s.Record
	s.do(func(r Record) Record { return r.InForce(at(310), false) })
	s.is("current 3, previous 1 open, history 2 superseded open late") // nobody saw the start
	s.reads(310, "assumed 3")

	s.Record = proved
	s.do(func(r Record) Record { return r.InForce(at(310), true) })
	s.is("current 3 confirmed, previous 1, history 2 superseded")
	s.reads(310, "active 3")
}

func TestAnUnknownPasswordOverAStagedOneKeepsBoth(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.sent(10)
	s.do(func(r Record) Record { return r.Staged(Accepted, at(11)) })
	s.made(3, 20)
	s.reads(20, "accepted 1 or 2")
	s.sent(100)
	s.reads(100, "accepted 1 or 2")
	s.do(Record.Unresolved)
	s.is("current 1 confirmed, next 3 unknown, candidate 2 staged")
	s.reads(100, "uncertain 1 or 3")
	s.sent(110)
	s.do(Record.Refused)
	s.is("current 1 confirmed, candidate 2 staged, candidate 3 refused")
	s.lists(2, "candidate: staged")
	s.lists(3, "candidate: refused")
	require.True(t, s.Unfinished())
	require.Equal(t, at(130), s.QuietUntil())
}

// A staged password that is sent again and not taken may still come into force.
func TestAStagedPasswordSentAgainStaysOpen(t *testing.T) {
	for _, phase := range []Phase{Accepted, RestartRequired} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.made(2, 10)
		s.sent(10)
		s.do(func(r Record) Record { return r.Staged(phase, at(11)) })
		s.sent(20)
		s.reads(20, string(phase)+" 1 or 2") // the remote system has it, whatever this request does
		s.reads(51, "uncertain 1 or 2")
		refused := s.Record
		s.do(Record.NotApplied)
		s.reads(21, string(phase)+" 1 or 2")
		s.made(3, 30)
		s.lists(2, "candidate: staged")
		s.Record = refused
		s.do(Record.Refused)
		s.lists(2, "candidate: refused")
	}
}

// The last one before the start counts. The server may have started between the two, so that the older one is in force and
// the newer one waits for the next start.
func TestAStartBetweenTwoStagedPasswordsLeavesTheNewerOneWaiting(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, RestartRequired, 10)
	s.waits(3, RestartRequired, 20)
	require.False(t, s.Unfinished())
	require.NoError(t, s.confirm(2, 30))
	s.is("current 2, next 3 restart_required, previous 1")
	s.reads(30, "restart_required 2 or 3")
	require.False(t, s.Unfinished(), "it waits for a person")
	s.trimmed(0)
	require.NoError(t, s.confirm(3, 40))
	s.is("current 3, previous 2, history 1 old")
	s.reads(40, "assumed 3")
}

func TestAStartBetweenLeavesAnUnknownPasswordUnknown(t *testing.T) {
	for _, words := range []func(*story){
		func(s *story) { require.NoError(t, s.confirm(2, 60)) },
		func(s *story) { s.adopt(value(2), 60) },
	} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.waits(2, RestartRequired, 10)
		s.made(3, 20)
		s.sent(20)
		s.do(Record.Unresolved)
		s.is("current 1 confirmed, next 3 unknown, candidate 2 staged")
		words(s)
		s.is("current 2, next 3 unknown, previous 1")
		s.reads(60, "uncertain 2 or 3")
		require.True(t, s.Unfinished(), "it is sent again")
		require.Equal(t, at(50), s.LastRequest())
		s.trimmed(0)
		s.sent(90)
		s.staged(RestartRequired, 91)
		s.do(func(r Record) Record { return r.InForce(at(95), true) })
		s.is("current 3 confirmed, previous 2, history 1 old")
	}

	// A refused one is a candidate; it stays one.
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, RestartRequired, 10)
	s.made(3, 20)
	s.sent(20)
	s.do(Record.Unresolved)
	s.sent(60)
	s.do(Record.Refused)
	require.NoError(t, s.confirm(2, 70))
	s.is("current 2, candidate 3 refused, previous 1")
	s.reads(70, "uncertain 2 or 3")
}

// The word names another password than those that wait, or the one that was there before them.
func TestAWordAboutNowDoesNotUndoTheNextStart(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, RestartRequired, 10)
	s.adopt("another", 20)
	s.is("current 3, next 2 restart_required, previous 1")
	s.reads(20, "restart_required 3 or 2")
	s.made(4, 30)
	s.is("current 3, next 4 unsent, candidate 2 staged, previous 1")
	require.NoError(t, s.confirm(3, 31), "still the other one, though its version is above the one that waits")
	s.is("current 3, next 4 unsent, candidate 2 staged, previous 1")
	s.adopt("another", 32)
	s.is("current 3, next 4 unsent, candidate 2 staged, previous 1") // the same word
	s.adopt(value(1), 33)
	s.is("current 1, candidate 2 staged, previous 3")
	s.trimmed(0)
	require.NoError(t, s.confirm(2, 40), "the start came")
	s.is("current 2, previous 1, history 3 old")
	s.reads(40, "assumed 2")
}

// Of what waits only the newest does where all of the account has taken it, so that no other outlives a word.
func TestAWordSettlesWhatWasOvertaken(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, RestartRequired, 10)
	s.waits(3, RestartRequired, 20)
	s.adopt("another", 30)
	s.is("current 4, next 3 restart_required, previous 1, history 2 superseded open")
	s.adopt(value(3), 40)
	s.is("current 3, previous 4, history 2 superseded open, history 1 old")
}

// What came in force came after those that were sent before it: of them none waits any more.
func TestAWordAboutAnUnknownPasswordSettlesTheOneThatItReplaced(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, RestartRequired, 10)
	s.made(3, 20)
	s.sent(20)
	s.do(Record.Unresolved)
	require.NoError(t, s.confirm(3, 60))
	s.is("current 3, previous 1, history 2 superseded open")
}

// A start does not empty a queue, nor does a queue what waits for a start.
func TestWhatIsQueuedAndWhatWaitsForAStartDoNotReplaceEachOther(t *testing.T) {
	for _, order := range [][]Phase{{Accepted, RestartRequired}, {RestartRequired, Accepted}} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.waits(2, order[0], 10)
		s.waits(3, order[1], 20)
		s.is("current 1 confirmed, next 3 " + string(order[1]) + ", candidate 2 staged")
	}
}

// Nobody told that the remote system takes a password at its next start: its answer was lost.
func TestAPasswordThatAWordSettledStaysWithinReach(t *testing.T) {
	s := lost(t)
	s.adopt("another", 20)
	s.is("current 3, previous 1, history 2 superseded open")
	s.adopt("another", 21) // the word may be repeated
	require.NoError(t, s.confirm(3, 22))
	s.adopt("yet another", 23)
	s.trimmed(0)
	s.is("current 4, previous 3, history 2 superseded open")
	s.adopt(value(2), 30) // the start came
	s.is("current 2, previous 4, history 3 old")

	s = lost(t)
	s.adopt("another", 20)
	s.changed(4, 100) // confirmed
	s.is("current 4 confirmed, previous 3, history 2 superseded, history 1 old")
	s.trimmed(0)
	s.is("current 4 confirmed, previous 3")
}

func TestADiscardedPasswordThatStillWaitsMayBeConfirmed(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, RestartRequired, 10)
	require.NoError(t, s.discard(2))
	s.is("current 1 confirmed, candidate 2 discarded")
	s.reads(20, "assumed 1")
	require.True(t, s.Open(at(1000)), "it still waits for a start: deleting the role would lose it")
	require.False(t, s.Exposed(), "but nobody has to find out")
	s.ripe(1000, 1000)
	s.is("current 1 confirmed, candidate 2 discarded")
	s.trimmed(0)
	later := s.Record
	require.NoError(t, s.confirm(2, 30), "it came in force after all")
	s.is("current 2, previous 1")

	s.Record = later // the same, after another rotation
	s.waits(3, RestartRequired, 40)
	s.do(func(r Record) Record { return r.InForce(at(50), false) })
	s.trimmed(0)
	s.lists(2, ListedSuperseded)
	require.False(t, s.Open(at(1000)), "the last one before the start counts")
	s.adopt(value(2), 60)
	s.is("current 2, previous 3 unconfirmed, history 1 old open")

	s.Record = later
	s.waits(3, RestartRequired, 40)
	require.NoError(t, s.confirm(2, 50))
	s.is("current 2, next 3 restart_required, previous 1")
}

func TestADiscardedPasswordThatWaitsOutlivesAWord(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.waits(2, RestartRequired, 10)
	require.NoError(t, s.discard(2))
	require.NoError(t, s.confirm(1, 20))
	s.is("current 1, candidate 2 discarded")
	s.adopt("another", 21)
	s.is("current 3, candidate 2 discarded, previous 1")
	s.waits(4, RestartRequired, 30)
	s.is("current 3, next 4 restart_required, candidate 2 discarded overtaken, previous 1")
	s.adopt("yet another", 40)
	s.is("current 5, next 4 restart_required, previous 3, history 2 superseded open, history 1 old")
}

// A request with an unknown outcome may follow what was sent after it. Staging the repetition answers the repetition only.
func TestAStagedPasswordKeepsTheDistanceFromItsEarlierRequest(t *testing.T) {
	s := lost(t)
	s.sent(20)
	s.staged(RestartRequired, 21)
	require.Equal(t, at(40), s.LastRequest(), "not that of the request that was answered")
	s.made(3, 50)
	require.Equal(t, at(40), s.QuietUntil())
	s.sent(80)
	s.staged(RestartRequired, 81)
	s.is("current 1 confirmed, next 3 restart_required, candidate 2 staged overtaken")
	require.Equal(t, at(40), s.QuietUntil(), "though nobody has to find out what became of it")
	require.Equal(t, at(40), s.LastRequest())
	s.do(func(r Record) Record { return r.InForce(at(90), false) })
	s.made(4, 91)
	require.Equal(t, at(40), s.QuietUntil())
}

func TestWhatARoleLeavesToTheNextOne(t *testing.T) {
	s := lost(t)
	left := 2
	s.do(func(r Record) Record { return r.OldRefused(true, &left, at(400)) })
	require.True(t, s.Open(at(15)))
	last, tries := s.LastRequest(), s.OldTries
	require.Equal(t, at(40), last)

	heir := &story{TB: t}
	heir.do(func(r Record) Record { return r.Heed(last, tries) })
	require.Equal(t, at(40), heir.QuietUntil())
	require.Equal(t, 2, *heir.OldTries.Left)
	require.NotSame(t, tries.Left, heir.OldTries.Left)
	require.True(t, heir.Open(at(39)), "the request of the role before may follow")
	require.False(t, heir.Open(at(40)))
	heir.do(func(r Record) Record { return r.Heed(at(10), tries) })
	require.Equal(t, at(40), heir.QuietUntil(), "the later of both")
	require.False(t, heir.Exposed())
}
