package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDiscardedPasswordStaysListed(t *testing.T) {
	s := lost(t)
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.Discard(2, at(12)) }))
	s.is("current 1 confirmed, candidate 2 discarded")
	s.reads(12, "assumed 1") // not active: the request may still be in flight
	require.False(t, s.Unfinished())
	require.Equal(t, at(40), s.SendNotBefore())
	s.lists(2, "candidate: discarded")

	s.changed(3, 100)
	s.lists(2, "candidate: discarded")
	s.reads(100, "assumed 3")
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.Confirm(2, at(110)) })) // it came into force after all
	s.is("current 4, previous 3, history 1 old")
	s.reads(110, "assumed 4")
	s.changed(4, 120)
	s.reads(120, "active 5")
	require.ErrorIs(t, s.try(func(r Record) (Record, error) { return r.Discard(2, at(12)) }), ErrNothingToConfirm)
}

func TestCandidateCanBeDiscarded(t *testing.T) {
	s := lost(t)
	s.sent(20)
	s.do(Record.PasswordRefused)
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.Discard(2, at(12)) }))
	s.is("current 1 confirmed, candidate 2 discarded")
	s.reads(30, "assumed 1")
	require.False(t, s.Unfinished())
}

// A statement by an operator settles what is open, but does not stop a request in flight.
func TestOperatorStatementKeepsSendNotBefore(t *testing.T) {
	statements := map[string]func(Record) (Record, error){
		"confirms next":  func(r Record) (Record, error) { return r.Confirm(2, at(12)) },
		"adopts next":    func(r Record) (Record, error) { return r.Adopt(value(2), "adopted", at(12)), nil },
		"adopts current": func(r Record) (Record, error) { return r.Adopt(value(1), "adopted", at(12)), nil },
		"adopts another": func(r Record) (Record, error) { return r.Adopt("another", "adopted", at(12)), nil },
		"discards next":  func(r Record) (Record, error) { return r.Discard(2, at(12)) },
		"discards, adopts": func(r Record) (Record, error) {
			r, _ = r.Discard(2, at(12))
			return r.Adopt(value(1), "adopted", at(12)), nil
		},
		"makes, confirms candidate": func(r Record) (Record, error) {
			r, _ = r.Make(value(3), "story", false, at(12))
			return r.Confirm(2, at(12))
		},
		"discards, confirms current": func(r Record) (Record, error) { r, _ = r.Discard(2, at(12)); return r.Confirm(1, at(12)) },
	}
	for name, statement := range statements {
		t.Run(name, func(t *testing.T) {
			for _, repeated := range []bool{false, true} {
				s, end := lost(t), at(40)
				if repeated {
					s.sent(11)
					s.do(Record.Unresolved)
					end = at(41)
				}
				require.NoError(t, s.try(statement))
				require.Equal(t, StateAssumed, s.View(at(13)).State, "the remote system has not confirmed it")
				s.made(9, 14)
				require.Equal(t, end, s.SendNotBefore())
			}
		})
	}
}

func TestConfirmIsRepeatableAndSettlesCandidates(t *testing.T) {
	confirm := func(version, second int) func(Record) (Record, error) {
		return func(r Record) (Record, error) { return r.Confirm(version, at(second)) }
	}
	s := lost(t)
	s.made(3, 11)
	s.sent(100)
	s.do(Record.Unresolved)
	s.is("current 1 confirmed, next 3 unknown, candidate 2 unresolved")
	require.ErrorIs(t, s.try(confirm(4, 110)), ErrNothingToConfirm)
	require.ErrorIs(t, s.try(confirm(1, 110)), ErrNothingToConfirm, "version 3 may be in force")
	s.is("current 1 confirmed, next 3 unknown, candidate 2 unresolved")
	require.NoError(t, s.try(confirm(2, 110)))
	s.is("current 2, previous 1, history 3 superseded open")
	s.reads(110, "assumed 2")
	require.NoError(t, s.try(confirm(2, 120)))
	s.is("current 2, previous 1, history 3 superseded open")
	require.Equal(t, at(110), s.Current.Since)

	s = lost(t)
	s.sent(20)
	s.do(Record.PasswordRefused)
	require.NoError(t, s.try(confirm(1, 30)), "the password in force, while a candidate is open")
	s.is("current 1, history 2 superseded open")
	s.reads(30, "assumed 1")
	require.False(t, s.Unfinished())
}

func TestAdoptReusesVersionUnlessNewerWasInForce(t *testing.T) {
	s := lost(t)
	s.made(3, 20) // waits to be sent
	s.do(func(r Record) Record { return r.Adopt(value(2), "adopted", at(30)) })
	s.is("current 2, next 3 unsent, previous 1")
	s.do(func(r Record) Record { return r.Adopt("another", "adopted", at(31)) })
	s.is("current 3, previous 2 open, history 1 old") // the request with it may still be in flight
	s.do(func(r Record) Record { return r.Adopt(value(1), "adopted", at(32)) })
	s.is("current 4, previous 3, history 2 old open")
	s.made(4, 33)
	require.Equal(t, 5, s.Next.Version, "above every earlier version")
	s.do(func(r Record) Record { return r.Adopt(value(1), "adopted", at(34)) })
	s.is("current 4, next 5 unsent, previous 3, history 2 old open")
}

// History lists them, and an operator may find that one of them works.
func TestSettledAndRefusedVersionsCanBeConfirmed(t *testing.T) {
	confirm := func(version, second int) func(Record) (Record, error) {
		return func(r Record) (Record, error) { return r.Confirm(version, at(second)) }
	}
	s := &story{TB: t}
	for n := 1; n <= 3; n++ {
		s.changed(n, 10*n)
	}
	require.NoError(t, s.try(confirm(1, 40)))
	s.is("current 4, previous 3, history 2 old")
	require.Equal(t, value(1), s.Current.Value)
	s.reads(40, "assumed 4")
	again := encoded(t, s.Record)
	require.NoError(t, s.try(confirm(1, 40)), "a repeated request uses the old version")
	require.Equal(t, again, encoded(t, s.Record))
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.ConfirmOn(2, servers, servers, at(41)) }))
	s.is("current 5, previous 4, history 3 old")
	require.ErrorIs(t, s.try(confirm(1, 42)), ErrNothingToConfirm, "it has another version")
	require.ErrorIs(t, s.try(func(r Record) (Record, error) { return r.ConfirmOn(4, servers[1:], servers, at(43)) }), ErrNothingToConfirm)
	require.ErrorIs(t, s.try(confirm(0, 43)), ErrNothingToConfirm)

	s.made(6, 50)
	s.do(func(r Record) Record { return r.Send(at(80), 5).OldRefused(true, nil, at(51)).GiveUp() })
	s.reads(52, "drifted 5")
	require.NoError(t, s.try(confirm(5, 53)))
	s.reads(53, "assumed 5")
}

func TestAdoptingCurrentOfSettledRecordChangesNothing(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.do(func(r Record) Record { return r.Adopt(value(1), "adopted", at(10)) })
	s.reads(10, "active 1")
	require.Equal(t, at(0), s.Current.Since)
	require.Zero(t, s.SendNotBefore())
}

func TestFirstAdoptedPasswordIsVersionOneAndAssumed(t *testing.T) {
	s := &story{TB: t}
	s.do(func(r Record) Record { return r.Adopt(value(1), "adopted", at(0)) })
	s.reads(0, "assumed 1")
	s.changed(2, 10)
	s.reads(10, "active 2")
}

func TestMakeFailsWithTooManyCandidates(t *testing.T) {
	unsettled := func(s *story, n, second int) error {
		return s.try(func(r Record) (Record, error) { return r.Make(value(n), "story", false, at(second)) })
	}
	t.Run("each sent with unknown outcome", func(t *testing.T) {
		s := &story{TB: t}
		s.changed(1, 0)
		for n := 2; n <= MaxCandidates+2; n++ {
			s.made(n, 100*n)
			s.sent(100 * n)
			s.do(Record.Unresolved)
		}
		require.Len(t, s.Candidates, MaxCandidates)
		before := describe(s.Record)
		require.ErrorIs(t, unsettled(s, 99, 9000), ErrUnsettled)
		s.is(before)
		for n := 1; n <= MaxCandidates+2; n++ {
			require.Contains(t, encoded(t, s.Record), value(n))
		}
		require.NoError(t, s.try(func(r Record) (Record, error) { return r.Confirm(5, at(9001)) }))
		s.made(99, 9002)
	})
	t.Run("each sent with unknown outcome and then refused", func(t *testing.T) {
		s := &story{TB: t}
		s.changed(1, 0)
		n := 2
		for ; unsettled(s, n, 100*n) == nil; n++ {
			require.Less(t, n, 30, "Make never fails")
			s.sent(100 * n)
			s.do(Record.Unresolved)
			s.sent(100*n + 40)
			s.do(Record.PasswordRefused)
		}
		require.Len(t, s.Candidates, MaxCandidates+1)
		require.NoError(t, s.try(func(r Record) (Record, error) { return r.Confirm(1, at(9001)) }))
		s.made(99, 9002)
	})
}

func TestCurrentRecordsItsBasis(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	require.Equal(t, BasisAnswer, s.Current.Basis)
	s.adopt(value(1), 1)
	require.Equal(t, BasisAnswer, s.Current.Basis, "nothing is open, so the remote system's answer still holds")
	s.changeStaged(2, Accepted, 10)
	accepted := s.Record
	s.settleByTime(11, 71)
	require.Equal(t, BasisTime, s.Current.Basis)
	byTime := s.Record
	require.NoError(t, s.confirm(2, 80))
	require.Equal(t, BasisOperator, s.Current.Basis)
	require.Equal(t, at(71), s.Current.Since)
	s.Record = byTime
	s.adopt(value(2), 80)
	require.Equal(t, BasisOperator, s.Current.Basis)

	s.Record = accepted
	s.proved(s.Next.Version, 71)
	require.Equal(t, BasisProof, s.Current.Basis)
	s.Record = accepted
	require.NoError(t, s.confirm(2, 20))
	require.Equal(t, BasisOperator, s.Current.Basis)
	s.Record = accepted
	s.adopt("another", 20)
	require.Equal(t, BasisOperator, s.Current.Basis)
	s.Record = accepted
	s.adopt(value(1), 20)
	require.Equal(t, BasisOperator, s.Current.Basis, "the queued password may still come into force")

	s = adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.oldRefused(s.present(20), 21, 4)
	s.made(4, 22)
	s.present(80)
	s.appliedExclusively(81)
	require.Equal(t, BasisAnswer, s.Current.Basis)
}

// A confirmation does not stop a request that may still be carried out, nor what is in the remote system's queue.
func TestConfirmedPasswordIsKeptWhileItsRequestIsOpen(t *testing.T) {
	queued := lost(t)
	queued.sent(5)
	queued.do(func(r Record) Record { return r.Staged(Accepted, at(6)) })
	for name, s := range map[string]*story{"lost": lost(t), "queued": queued} {
		require.NoError(t, s.try(func(r Record) (Record, error) { return r.Confirm(2, at(10)) }), name)
		for i, other := range []string{"another", "a third", "a fourth"} {
			s.do(func(r Record) Record { return r.Adopt(other, "adopted", at(11+i)).Trim(0) })
		}
		require.Contains(t, describe(s.Record), "history 2 old open", name)
	}
}
