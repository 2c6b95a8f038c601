package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// provedOn is a login with this version that has worked on these servers.
func (s *story) provedOn(version, second int, on ...string) {
	s.Helper()
	s.do(func(r Record) Record { return r.ProvedOn(version, on, servers, at(second), margin) })
}

func TestPartsAreProvedOneByOne(t *testing.T) {
	for _, candidate := range []bool{false, true} {
		s := &story{TB: t}
		s.changed(1, 0)
		s.changeStaged(2, RestartRequired, 10)
		if candidate {
			s.made(3, 20)
		}
		s.provedOn(2, 30, "a")
		s.shows(30, "a: active 2, b: restart_required 1 or 2")
		waits := s.Record
		s.provedOn(2, 31, "a")
		require.Equal(t, encoded(t, waits), encoded(t, s.Record), "a login may be repeated")
		s.provedOn(1, 31, "b")
		require.Equal(t, encoded(t, waits), encoded(t, s.Record))
		s.provedOn(2, 32, "b")
		require.Equal(t, BasisProof, s.Current.Basis)
		s.reads(32, "active 2")

		s.Record = waits
		s.provedOn(1, 33, "a") // it was set back
		s.shows(33, "a: restart_required 1 or 2, b: restart_required 1 or 2")

		s.Record = waits
		s.provedOn(7, 34, "b")
		require.Equal(t, encoded(t, waits), encoded(t, s.Record), "there is no such version")
		s.provedOn(1, 35, servers...)
		s.shows(35, "a: restart_required 1 or 2, b: restart_required 1 or 2")
		require.Equal(t, BasisProof, s.Current.Basis)
	}
}

// A password is active only if a login has shown it on every server.
func TestPartThatIsNotProvedKeepsPasswordAssumed(t *testing.T) {
	for name, assumed := range map[string]func(Record) (Record, error){
		"stated":    func(r Record) (Record, error) { return r.ConfirmOn(2, servers[:1], servers, at(30)) },
		"restarted": func(r Record) (Record, error) { return r.RestartedOn(2, servers[:1], servers, at(30)), nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := &story{TB: t}
			s.changed(1, 0)
			s.changeStaged(2, RestartRequired, 10)
			require.NoError(t, s.try(assumed))
			s.is("current 1 confirmed, next 2 restart_required on a")
			one := s.Record
			s.made(3, 31)
			s.is("current 1 confirmed, next 3 unsent, candidate 2 staged on a")
			require.NoError(t, s.discard(3))
			require.Equal(t, encoded(t, one), encoded(t, s.Record))

			s.provedOn(2, 40, "b")
			s.is("current 2, previous 1")
			s.reads(40, "assumed 2")
			s.provedOn(2, 41, servers...)
			s.reads(41, "active 2")

			s.Record = one
			s.provedOn(2, 40, servers...)
			s.reads(40, "active 2")
		})
	}
}

// A restart is no proof: the server may have started without the password.
func TestRestartsOfAllPartsAreNoProof(t *testing.T) {
	restarted := func(s *story, second int, on ...string) {
		s.do(func(r Record) Record { return r.RestartedOn(2, on, servers, at(second)) })
	}
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	restarted(s, 20, "a")
	s.is("current 1 confirmed, next 2 restart_required on a")
	s.shows(20, "a: assumed 2, b: restart_required 1 or 2")
	restarted(s, 30, "b")
	s.is("current 2, previous 1 open")
	s.reads(30, "assumed 2")
	require.Equal(t, BasisRestart, s.Current.Basis)
	require.True(t, s.Current.Basis.Assumed())
	restarted(s, 31, "b")
	s.is("current 2, previous 1 open")
	s.made(3, 40)
	s.is("current 2, next 3 unsent, previous 1 open")
	restarted(s, 41, servers...)
	s.is("current 2, next 3 unsent, previous 1 open") // version 2 no longer waits
	require.NoError(t, s.discard(3))
	require.NoError(t, s.discard(2), "nobody has seen it in force")
	s.is("current 3, candidate 2 discarded")
}

// Servers take a password at their next restart. So a request whose outcome is unknown may have left one that waits there, however
// long ago it was, unless a login has shown a later one.
func TestUnknownPasswordMayWaitForRestart(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.lostSend(11)
	s.made(3, 20)
	waits := s.Record
	s.provedOn(1, 5000, servers...)
	s.is("current 1, next 3 unsent, candidate 2 unresolved")
	s.reads(5000, "uncertain 1 or 2")
	s.provedOn(2, 5001, servers...)
	s.is("current 2 confirmed, next 3 unsent, previous 1")

	s.Record = waits
	s.do(func(r Record) Record { return r.Proved(1, at(5000), margin) })
	s.is("current 1 confirmed, next 3 unsent, history 2 superseded open")
	s.provedOn(1, 5001, servers...)
	s.is("current 1, next 3 unsent, history 2 superseded open")
	s.reads(5001, "assumed 1")
}

// A login with a version says nothing of the others on that server.
func TestLoginShowsWhatIsNotInForceOnPart(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	s.provedOn(2, 20, "a")
	s.do(func(r Record) Record { return r.NotInForceOn(7, "a") })
	s.do(func(r Record) Record { return r.NotInForceOn(2, "b") })
	s.shows(21, "a: active 2, b: restart_required 1 or 2")
	on := s.Record
	s.do(func(r Record) Record { return r.NotInForceOn(2, "a") })
	s.shows(22, "a: restart_required 1 or 2, b: restart_required 1 or 2")
	s.Record = on
	s.made(3, 23)
	s.do(func(r Record) Record { return r.NotInForceOn(0, "a", "b") })
	s.is("current 1 confirmed, next 3 unsent, candidate 2 staged")
}

// Once all servers have restarted, a password that waits there counts as in force, although another one was to follow.
func TestRestartsPutPasswordInForceThatAnotherWasToReplace(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	s.made(3, 20)
	restarted := func(s *story, second int, on ...string) {
		s.do(func(r Record) Record { return r.RestartedOn(2, on, servers, at(second)) })
	}
	restarted(s, 30, "a")
	s.is("current 1 confirmed, next 3 unsent, candidate 2 staged on a")
	restarted(s, 31, "b")
	s.is("current 2, next 3 unsent, previous 1 open")
	require.Equal(t, BasisRestart, s.Current.Basis)
}

// The password before stays open although it was refused: nobody has seen the one after it in force.
func TestRefusedPasswordStaysOpenIfNextCountsAsInForce(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changed(2, 5)
	s.changeStaged(3, RestartRequired, 10)
	s.refusedLogin(2, 20)
	s.do(func(r Record) Record { return r.RestartedOn(3, servers, servers, at(30)) })
	s.is("current 3, previous 1, history 2 old open")
}

// An operator's word is no proof: a password that it put in force and that is refused may still wait for a restart.
func TestStatedPasswordThatIsRefusedStaysOpen(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	require.NoError(t, s.confirm(2, 20))
	s.refusedLogin(2, 30)
	s.provedOn(1, 31, servers...)
	s.is("current 3, history 2 old open")
	s.reads(31, "assumed 3")
}
