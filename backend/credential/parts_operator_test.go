package credential

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNextIsConfirmedPartByPart(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	require.ErrorIs(t, s.confirmOn(3, 20, "a"), ErrNothingToConfirm)
	require.NoError(t, s.confirmOn(2, 20, "a"))
	require.NoError(t, s.confirmOn(2, 20, "a"), "a confirmation may be repeated")
	s.is("current 1 confirmed, next 2 restart_required on a")
	s.reads(20, "restart_required 1 or 2")
	s.shows(20, "a: assumed 2, b: restart_required 1 or 2")
	require.False(t, s.Unfinished())
	half := s.Record
	require.NoError(t, s.confirmOn(2, 30, "b"))
	s.is("current 2, previous 1")
	s.shows(30, "a: assumed 2, b: assumed 2")
	require.Equal(t, at(30), s.Current.Since)
	require.NoError(t, s.confirmOn(2, 31, "b"), "a confirmation may be repeated")
	s.is("current 2, previous 1")
	s.made(3, 32)
	require.ErrorIs(t, s.confirmOn(1, 32, "b"), ErrNothingToConfirm)

	s.Record = half // the old password is back on a
	require.NoError(t, s.confirmOn(1, 30, "a"))
	s.is("current 1 confirmed, next 2 restart_required")
	s.shows(30, "a: restart_required 1 or 2, b: restart_required 1 or 2")

	s.Record = half // the old password is in force on both, and version 2 waits there
	require.NoError(t, s.confirmOn(1, 30, "a", "b"))
	s.is("current 1 confirmed, next 2 restart_required")

	s.Record = half // both at once
	require.NoError(t, s.confirmOn(2, 30, "b", "a"))
	s.is("current 2, previous 1")

	s.Record = half // another change comes before b restarts
	s.made(3, 40)
	s.is("current 1 confirmed, next 3 unsent, candidate 2 staged on a")
	s.shows(40, "a: assumed 2, b: restart_required 1 or 2")
	require.NoError(t, s.confirmOn(2, 41, "b"))
	s.is("current 2, next 3 unsent, previous 1") // it was requested, so it is still sent
}

func TestCandidateIsConfirmedPartByPart(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	s.changeStaged(3, RestartRequired, 20)
	require.NoError(t, s.confirmOn(2, 30, "a")) // a had restarted between the two
	s.is("current 1 confirmed, next 3 restart_required, candidate 2 staged overtaken on a")
	s.shows(30, "a: restart_required 2 or 3, b: restart_required 1 or 3")
	s.trimmed(0)
	half := s.Record
	require.NoError(t, s.confirmOn(2, 40, "b"))
	s.is("current 2, next 3 restart_required, previous 1")
	s.shows(40, "a: restart_required 2 or 3, b: restart_required 2 or 3")

	s.Record = half // a restarts again, then b
	require.NoError(t, s.confirmOn(3, 40, "a"))
	s.is("current 1 confirmed, next 3 restart_required on a, candidate 2 staged overtaken")
	s.shows(40, "a: assumed 3, b: restart_required 1 or 3")
	require.NoError(t, s.confirmOn(2, 50, "b"))
	s.is("current 1 confirmed, next 3 restart_required on a, candidate 2 staged overtaken on b")
	s.shows(50, "a: assumed 3, b: restart_required 2 or 3")
	require.NoError(t, s.confirmOn(3, 60, "b"))
	s.is("current 3, previous 1, history 2 superseded open")
	s.shows(60, "a: assumed 3, b: assumed 3")
}

func TestAccountConfirmationReplacesPartConfirmations(t *testing.T) {
	both := func() *story {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, RestartRequired, 10)
		s.changeStaged(3, RestartRequired, 20)
		require.NoError(t, s.confirmOn(2, 30, "b"))
		require.NoError(t, s.confirmOn(3, 30, "a"))
		s.is("current 1 confirmed, next 3 restart_required on a, candidate 2 staged overtaken on b")
		return s
	}
	s := both()
	require.NoError(t, s.confirm(2, 40))
	s.is("current 2, next 3 restart_required, previous 1")
	s = both()
	s.adopt("another", 40)
	s.is("current 4, next 3 restart_required, previous 1, history 2 superseded open")
	s = both()
	s.adopt(value(1), 40)
	s.is("current 1, next 3 restart_required, history 2 superseded open")
	s = both()
	s.made(4, 40)
	s.sent(70)
	s.applied(71)
	s.is("current 4, candidate 2 staged overtaken outlived, candidate 3 staged overtaken outlived, previous 1")
	s.shows(71, "a: assumed 4, b: assumed 4")
	s = both()
	s.changeStaged(4, RestartRequired, 40)
	s.do(func(r Record) Record { return r.InForce(at(50)) })
	s.shows(50, "a: assumed 4, b: assumed 4")

	s = both() // a confirmation on a part is not undone by a discard
	require.ErrorIs(t, s.discard(2), ErrInForceOn)
	require.ErrorIs(t, s.discard(3), ErrInForceOn)
	require.NoError(t, s.confirmOn(1, 40, "a", "b")) // but by confirming another password there
	require.NoError(t, s.discard(2))
	require.NoError(t, s.discard(3))
	s.is("current 1 confirmed, candidate 2 discarded overtaken, candidate 3 discarded")
	s.shows(40, "a: assumed 1, b: assumed 1")
}

// An operator confirms the password on the part that was busy or whose answer was lost, so that part is not asked again.
func TestConfirmingMissingPartCompletesPassword(t *testing.T) {
	for name, settle := range map[string]func(*story){
		"busy":  func(s *story) { s.do(Record.NotApplied) },
		"lost":  func(s *story) { s.do(Record.Unresolved) },
		"crash": func(*story) {},
	} {
		s := partlyTaken(t)
		s.sent(20)
		settle(s)
		require.NoError(t, s.confirmOn(2, 30, "b"), name)
		s.is("current 1 confirmed, next 2 restart_required on b")
		s.reads(31, "restart_required 1 or 2")
		s.shows(31, "a: restart_required 1 or 2, b: assumed 2")
		require.Empty(t, s.Next.Missing(servers))
		require.False(t, s.Unfinished())
		end := at(50) // its request may still be in flight
		if name == "busy" {
			end = time.Time{}
		}
		require.Equal(t, end, s.LastRequest(), name)
		s.do(func(r Record) Record { return r.InForce(at(40)) })
		require.Equal(t, end, s.SendNotBefore(), name)
	}

	all := []string{"a", "b", "c"}
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.sent(10)
	s.takenBy(11, "a")
	s.do(Record.NotApplied)
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.ConfirmOn(2, []string{"c"}, all, at(20)) }))
	s.is("current 1 confirmed, next 2 restart_required taken a+c on c")
	require.Equal(t, []string{"b"}, s.Next.Missing(all))
	require.True(t, s.Unfinished())
}
