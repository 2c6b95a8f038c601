package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

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
