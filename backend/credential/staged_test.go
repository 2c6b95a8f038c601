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

// changeStaged is a change that the remote system puts in force later.
func (s *story) changeStaged(n int, phase Phase, second int) {
	s.Helper()
	s.made(n, second)
	s.sent(second)
	s.staged(phase, second+1)
}

// confirm is an operator's confirmation that this version is in force.
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
	s.do(func(r Record) Record { return r.Adopt(value, "adopted", at(second)) })
}

// settleByTime: what was queued until then counts as in force.
func (s *story) settleByTime(until, second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.SettleByTime(at(until), at(second)) })
}

// proved is a login with this version that has worked.
func (s *story) proved(version, second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Proved(version, at(second), margin) })
}

func (s *story) trimmed(size int) {
	s.Helper()
	s.do(func(r Record) Record { return r.Trim(size) })
}

func TestStagedOverStagedKeepsBoth(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	for n := 2; n <= 3; n++ {
		s.made(n, 100*n)
		s.sent(100 * n)
		s.do(func(r Record) Record { return r.Staged(RestartRequired, at(100*n+1)) })
	}
	s.is("current 1 confirmed, next 3 restart_required, candidate 2 staged overtaken") // only the last one before the restart counts
	s.reads(302, "restart_required 1 or 3")
	s.lists(2, "candidate: staged")

	proved := s.Record
	s.do(func(r Record) Record { return r.InForce(at(310)) })
	s.is("current 3, previous 1 open, history 2 superseded open late") // the restart is not proved
	s.reads(310, "assumed 3")

	s.Record = proved
	s.proved(s.Next.Version, 310)
	s.is("current 3 confirmed, previous 1, history 2 superseded")
	s.reads(310, "active 3")
}

func TestUnknownOverStagedKeepsBoth(t *testing.T) {
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
	s.do(Record.PasswordRefused)
	s.is("current 1 confirmed, candidate 2 staged, candidate 3 refused")
	s.lists(2, "candidate: staged")
	s.lists(3, "candidate: refused")
	require.True(t, s.Unfinished())
	require.Equal(t, at(130), s.SendNotBefore())
}

// A staged password that is sent again, and then not taken, may still come into force.
func TestStagedPasswordSentAgainStaysOpen(t *testing.T) {
	for _, phase := range []Phase{Accepted, RestartRequired} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.made(2, 10)
		s.sent(10)
		s.do(func(r Record) Record { return r.Staged(phase, at(11)) })
		s.sent(20)
		s.reads(20, string(phase)+" 1 or 2") // the remote system has taken it, whatever the outcome of this request
		s.reads(51, "uncertain 1 or 2")
		refused := s.Record
		s.do(Record.NotApplied)
		s.reads(21, string(phase)+" 1 or 2")
		s.made(3, 30)
		s.lists(2, "candidate: staged")
		s.Record = refused
		s.do(Record.PasswordRefused)
		s.lists(2, "candidate: refused")
	}
}

// Only the last one before a restart counts. If the server restarted between the two, the older one is in force and the newer
// one waits for the next restart.
func TestRestartBetweenStagedPasswordsLeavesNewerWaiting(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	s.changeStaged(3, RestartRequired, 20)
	require.False(t, s.Unfinished())
	require.NoError(t, s.confirm(2, 30))
	s.is("current 2, next 3 restart_required, previous 1")
	s.reads(30, "restart_required 2 or 3")
	require.False(t, s.Unfinished(), "it waits for an operator")
	s.trimmed(0)
	require.NoError(t, s.confirm(3, 40))
	s.is("current 3, previous 2, history 1 old")
	s.reads(40, "assumed 3")
}

func TestRestartLeavesUnknownPasswordUnknown(t *testing.T) {
	for _, confirm := range []func(*story){
		func(s *story) { require.NoError(t, s.confirm(2, 60)) },
		func(s *story) { s.adopt(value(2), 60) },
	} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, RestartRequired, 10)
		s.made(3, 20)
		s.sent(20)
		s.do(Record.Unresolved)
		s.is("current 1 confirmed, next 3 unknown, candidate 2 staged")
		confirm(s)
		s.is("current 2, next 3 unknown, previous 1")
		s.reads(60, "uncertain 2 or 3")
		require.True(t, s.Unfinished(), "it is sent again")
		require.Equal(t, at(50), s.LastRequest())
		s.trimmed(0)
		s.sent(90)
		s.staged(RestartRequired, 91)
		s.proved(s.Next.Version, 95)
		s.is("current 3 confirmed, previous 2, history 1 old")
	}

	// A refused password stays a candidate.
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	s.made(3, 20)
	s.sent(20)
	s.do(Record.Unresolved)
	s.sent(60)
	s.do(Record.PasswordRefused)
	require.NoError(t, s.confirm(2, 70))
	s.is("current 2, candidate 3 refused, previous 1")
	s.reads(70, "uncertain 2 or 3")
}

// The operator names a password other than those that wait.
func TestOperatorStatementKeepsPasswordWaitingForRestart(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	s.adopt("another", 20)
	s.is("current 3, next 2 restart_required, previous 1")
	s.reads(20, "restart_required 3 or 2")
	s.made(4, 30)
	s.is("current 3, next 4 unsent, candidate 2 staged, previous 1")
	require.NoError(t, s.confirm(3, 31), "a higher version than the waiting one does not settle it")
	s.is("current 3, next 4 unsent, candidate 2 staged, previous 1")
	s.adopt("another", 32)
	s.is("current 3, next 4 unsent, candidate 2 staged, previous 1") // the same statement again
	s.adopt(value(1), 33)
	s.is("current 4, candidate 2 staged, previous 3")
	s.trimmed(0)
	require.NoError(t, s.confirm(2, 40), "the server restarted")
	s.is("current 5, previous 4, history 3 old")
	s.reads(40, "assumed 5")
}

// If all parts have taken the newest password, only that one still waits. The others are settled.
func TestAdoptSettlesOvertakenPasswords(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	s.changeStaged(3, RestartRequired, 20)
	s.adopt("another", 30)
	s.is("current 4, next 3 restart_required, previous 1, history 2 superseded open")
	s.adopt(value(3), 40)
	s.is("current 5, previous 4, history 2 superseded open, history 1 old")
}

// The password in force was sent after the staged one, so that one no longer waits.
func TestConfirmingUnknownPasswordSettlesStagedOne(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	s.made(3, 20)
	s.sent(20)
	s.do(Record.Unresolved)
	require.NoError(t, s.confirm(3, 60))
	s.is("current 3, previous 1, history 2 superseded open")
}

// A restart does not empty the queue, and the queue does not replace what waits for a restart.
func TestQueueAndRestartDoNotReplaceEachOther(t *testing.T) {
	for _, order := range [][]Phase{{Accepted, RestartRequired}, {RestartRequired, Accepted}} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, order[0], 10)
		s.changeStaged(3, order[1], 20)
		s.is("current 1 confirmed, next 3 " + string(order[1]) + ", candidate 2 staged")
	}
}

// The remote system had staged the password, but that answer was lost.
func TestPasswordSettledByOperatorStaysInHistory(t *testing.T) {
	s := lost(t)
	s.adopt("another", 20)
	s.is("current 3, previous 1, history 2 superseded open")
	s.adopt("another", 21) // an adoption may be repeated
	require.NoError(t, s.confirm(3, 22))
	s.adopt("yet another", 23)
	s.trimmed(0)
	s.is("current 4, previous 3, history 2 superseded open")
	s.adopt(value(2), 30) // the server restarted
	s.is("current 5, previous 4, history 3 old")

	s = lost(t)
	s.adopt("another", 20)
	s.changed(4, 100) // confirmed
	s.is("current 4 confirmed, previous 3, history 2 superseded, history 1 old")
	s.trimmed(0)
	s.is("current 4 confirmed, previous 3")
}

func TestDiscardedWaitingPasswordCanBeConfirmed(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	require.NoError(t, s.discard(2))
	s.is("current 1 confirmed, candidate 2 discarded")
	s.reads(20, "assumed 1")
	require.True(t, s.Open(at(1000)), "it still waits for a restart: deleting the role would lose it")
	require.False(t, s.Exposed(), "its outcome need not be found out")
	s.settleByTime(1000, 1000)
	s.is("current 1 confirmed, candidate 2 discarded")
	s.trimmed(0)
	later := s.Record
	require.NoError(t, s.confirm(2, 30), "it came into force after all")
	s.is("current 2, previous 1")

	s.Record = later // the same, after another rotation
	s.changeStaged(3, RestartRequired, 40)
	s.do(func(r Record) Record { return r.InForce(at(50)) })
	s.trimmed(0)
	s.lists(2, ListedSuperseded)
	require.False(t, s.Open(at(1000)), "only the last one before the restart counts")
	s.adopt(value(2), 60)
	s.is("current 4, previous 3 unconfirmed, history 1 old open")

	s.Record = later
	s.changeStaged(3, RestartRequired, 40)
	require.NoError(t, s.confirm(2, 50))
	s.is("current 2, next 3 restart_required, previous 1")
}

func TestDiscardedWaitingPasswordOutlivesConfirmation(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	require.NoError(t, s.discard(2))
	require.NoError(t, s.confirm(1, 20))
	s.is("current 1, candidate 2 discarded")
	s.adopt("another", 21)
	s.is("current 3, candidate 2 discarded, previous 1")
	s.changeStaged(4, RestartRequired, 30)
	s.is("current 3, next 4 restart_required, candidate 2 discarded overtaken, previous 1")
	s.adopt("yet another", 40)
	s.is("current 5, next 4 restart_required, previous 3, history 2 superseded open, history 1 old")
}

// A request of unknown outcome may be carried out after a later one. Staging the repetition answers the repetition only.
func TestStagedPasswordKeepsSendNotBefore(t *testing.T) {
	s := lost(t)
	s.sent(20)
	s.staged(RestartRequired, 21)
	require.Equal(t, at(40), s.LastRequest(), "not the deadline of the answered request")
	s.made(3, 50)
	require.Equal(t, at(40), s.SendNotBefore())
	s.sent(80)
	s.staged(RestartRequired, 81)
	s.is("current 1 confirmed, next 3 restart_required, candidate 2 staged overtaken")
	require.Equal(t, at(40), s.SendNotBefore(), "even if its outcome need not be found out")
	require.Equal(t, at(40), s.LastRequest())
	s.do(func(r Record) Record { return r.InForce(at(90)) })
	s.made(4, 91)
	require.Equal(t, at(40), s.SendNotBefore())
}

func TestNewRecordInheritsLimits(t *testing.T) {
	s := lost(t)
	left := 2
	s.do(func(r Record) Record { return r.OldRefused(true, &left, at(400)) })
	require.True(t, s.Open(at(15)))
	last, tries := s.LastRequest(), s.OldTries
	require.Equal(t, at(40), last)

	next := &story{TB: t}
	next.do(func(r Record) Record { return r.InheritLimits(last, tries) })
	require.Equal(t, at(40), next.SendNotBefore())
	require.Equal(t, 2, *next.OldTries.Left)
	require.NotSame(t, tries.Left, next.OldTries.Left)
	require.True(t, next.Open(at(39)), "the request of the earlier role may still be carried out")
	require.False(t, next.Open(at(40)))
	next.do(func(r Record) Record { return r.InheritLimits(at(10), tries) })
	require.Equal(t, at(40), next.SendNotBefore(), "the later of the two")
	require.False(t, next.Exposed())
}
