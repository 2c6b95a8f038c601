package credential

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestADiscardedPasswordThatComesInForceAnywayIsStillListed(t *testing.T) {
	s := lost(t)
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.Discard(2, at(12)) }))
	s.is("current 1 confirmed, candidate 2 discarded")
	s.reads(12, "assumed 1") // not active: the request may still be on its way
	require.False(t, s.Unfinished())
	require.Equal(t, at(40), s.QuietUntil())
	s.lists(2, "candidate: discarded")

	s.changed(3, 100)
	s.lists(2, "candidate: discarded")
	s.reads(100, "assumed 3")
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.Confirm(2, at(110)) })) // it did come
	s.is("current 2, previous 3, history 1 old")
	s.reads(110, "assumed 2")
	s.changed(4, 120)
	s.reads(120, "active 4")
	require.ErrorIs(t, s.try(func(r Record) (Record, error) { return r.Discard(2, at(12)) }), ErrNothingToConfirm)
}

func TestACandidateCanBeDiscardedToo(t *testing.T) {
	s := lost(t)
	s.sent(20)
	s.do(Record.Refused)
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.Discard(2, at(12)) }))
	s.is("current 1 confirmed, candidate 2 discarded")
	s.reads(30, "assumed 1")
	require.False(t, s.Unfinished())
}

// A person's word settles what is open, but does not stop a request that is on its way.
func TestAWordOfAPersonKeepsTheDistanceFromWhatIsOnItsWay(t *testing.T) {
	words := map[string]func(Record) (Record, error){
		"confirms next":  func(r Record) (Record, error) { return r.Confirm(2, at(12)) },
		"adopts next":    func(r Record) (Record, error) { return r.Adopt(value(2), "word", at(12)), nil },
		"adopts current": func(r Record) (Record, error) { return r.Adopt(value(1), "word", at(12)), nil },
		"adopts another": func(r Record) (Record, error) { return r.Adopt("another", "word", at(12)), nil },
		"discards next":  func(r Record) (Record, error) { return r.Discard(2, at(12)) },
		"discards, adopts": func(r Record) (Record, error) {
			r, _ = r.Discard(2, at(12))
			return r.Adopt(value(1), "word", at(12)), nil
		},
		"makes, confirms candidate": func(r Record) (Record, error) {
			r, _ = r.Make(value(3), "word", false, at(12))
			return r.Confirm(2, at(12))
		},
		"discards, confirms current": func(r Record) (Record, error) { r, _ = r.Discard(2, at(12)); return r.Confirm(1, at(12)) },
	}
	for name, word := range words {
		t.Run(name, func(t *testing.T) {
			for _, repeated := range []bool{false, true} {
				s, end := lost(t), at(40)
				if repeated {
					s.sent(11)
					s.do(Record.Unresolved)
					end = at(41)
				}
				require.NoError(t, s.try(word))
				require.Equal(t, StateAssumed, s.View(at(13)).State, "nobody confirmed it")
				s.made(9, 14)
				require.Equal(t, end, s.QuietUntil())
			}
		})
	}
}

func TestConfirmMayBeRepeatedAndSettlesTheCandidates(t *testing.T) {
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
	s.do(Record.Refused)
	require.NoError(t, s.try(confirm(1, 30)), "the password in force, while a candidate is open")
	s.is("current 1, history 2 superseded open")
	s.reads(30, "assumed 1")
	require.False(t, s.Unfinished())
}

func TestAdoptTakesTheVersionThatTheRecordHas(t *testing.T) {
	s := lost(t)
	s.made(3, 20) // waits
	s.do(func(r Record) Record { return r.Adopt(value(2), "word", at(30)) })
	s.is("current 2, next 3 unsent, previous 1")
	s.do(func(r Record) Record { return r.Adopt("another", "word", at(31)) })
	s.is("current 3, previous 2 open, history 1 old") // the request with it may still be under way
	s.do(func(r Record) Record { return r.Adopt(value(1), "word", at(32)) })
	s.is("current 1, previous 3, history 2 old open")
	s.made(4, 33)
	require.Equal(t, 4, s.Next.Version, "above every version that there was")
	s.do(func(r Record) Record { return r.Adopt(value(1), "word", at(34)) })
	s.is("current 1, next 4 unsent, previous 3, history 2 old open")
}

func TestAdoptingThePasswordInForceOfARoleAtRestChangesNothing(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.do(func(r Record) Record { return r.Adopt(value(1), "word", at(10)) })
	s.reads(10, "active 1")
	require.Equal(t, at(0), s.Current.Since)
	require.Zero(t, s.QuietUntil())
}

func TestAnAdoptedPasswordIsVersionOneAndAssumed(t *testing.T) {
	s := &story{TB: t}
	s.do(func(r Record) Record { return r.Adopt(value(1), "adopted", at(0)) })
	s.reads(0, "assumed 1")
	s.changed(2, 10)
	s.reads(10, "active 2")
}

func TestAPersonHasToSettleWhatIsTooMuch(t *testing.T) {
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
			require.Less(t, n, 30, "there is no end to it")
			s.sent(100 * n)
			s.do(Record.Unresolved)
			s.sent(100*n + 40)
			s.do(Record.Refused)
		}
		require.Len(t, s.Candidates, MaxCandidates+1)
		require.NoError(t, s.try(func(r Record) (Record, error) { return r.Confirm(1, at(9001)) }))
		s.made(99, 9002)
	})
}

func TestTheRecordSaysWhoToldThatThePasswordIsInForce(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	require.Equal(t, BasisAnswer, s.Current.Basis)
	s.adopt(value(1), 1)
	require.Equal(t, BasisAnswer, s.Current.Basis, "a role at rest: the remote system's answer still holds")
	s.waits(2, Accepted, 10)
	accepted := s.Record
	s.ripe(11, 71)
	require.Equal(t, BasisTime, s.Current.Basis)
	byTime := s.Record
	require.NoError(t, s.confirm(2, 80))
	require.Equal(t, BasisWord, s.Current.Basis)
	require.Equal(t, at(71), s.Current.Since)
	s.Record = byTime
	s.adopt(value(2), 80)
	require.Equal(t, BasisWord, s.Current.Basis)

	s.Record = accepted
	s.do(func(r Record) Record { return r.InForce(at(71), true) })
	require.Equal(t, BasisProof, s.Current.Basis)
	s.Record = accepted
	require.NoError(t, s.confirm(2, 20))
	require.Equal(t, BasisWord, s.Current.Basis)
	s.Record = accepted
	s.adopt("another", 20)
	require.Equal(t, BasisWord, s.Current.Basis)
	s.Record = accepted
	s.adopt(value(1), 20)
	require.Equal(t, BasisWord, s.Current.Basis, "what was queued may still follow")

	s = adopted(t)
	s.made(3, 10)
	s.present(10)
	s.do(Record.Unresolved)
	s.wrong(s.present(20), 21, 4)
	s.made(4, 22)
	s.present(80)
	s.exclusively(81)
	require.Equal(t, BasisAnswer, s.Current.Basis)
}

// A word does not stop a request that may still be carried out, nor what waits in the remote system's queue.
func TestWhatAWordPutInForceIsKeptWhileItsRequestMayFollow(t *testing.T) {
	queued := lost(t)
	queued.sent(5)
	queued.do(func(r Record) Record { return r.Staged(Accepted, at(6)) })
	for name, s := range map[string]*story{"lost": lost(t), "queued": queued} {
		require.NoError(t, s.try(func(r Record) (Record, error) { return r.Confirm(2, at(10)) }), name)
		for i, other := range []string{"another", "a third", "a fourth"} {
			s.do(func(r Record) Record { return r.Adopt(other, "word", at(11+i)).Trim(0) })
		}
		require.Contains(t, describe(s.Record), "history 2 old open", name)
	}
}
