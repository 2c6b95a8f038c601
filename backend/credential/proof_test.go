package credential

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// refusedLogin is a login with this version that was refused.
func (s *story) refusedLogin(version, second int) {
	s.Helper()
	s.do(func(r Record) Record { return r.LoginRefused(version, at(second), margin) })
}

// lostSend sends Next, whose answer is lost. The request may be carried out until a minute later.
func (s *story) lostSend(second int) {
	s.Helper()
	s.sent(second)
	s.do(Record.Unresolved)
}

// reported is the answer that Next is in force, which a login has to show.
func (s *story) reported() {
	s.Helper()
	s.do(func(r Record) Record { return r.Reported(false) })
}

// What a login with one password says about the others, while their requests may be late and after that.
func TestLoginSettlesWhatCannotFollow(t *testing.T) {
	lost := func(s *story) { s.made(2, 10); s.lostSend(10) }
	lostTwice := func(s *story) { lost(s); s.made(3, 100); s.lostSend(100) }
	over := func(phase Phase) func(*story) {
		return func(s *story) { s.changeStaged(2, phase, 10); s.made(3, 100); s.lostSend(100) }
	}
	for name, row := range map[string]struct {
		happened        func(*story)
		version, second int
		want, reads     string
	}{
		"the new one": {lost, 2, 11, "current 2 confirmed, previous 1", "active 2"},
		"the one in force, while the request may be late": {lost, 1, 11, "current 1 confirmed, next 2 unknown", "uncertain 1 or 2"},
		"the one in force, after that":                    {lost, 1, 71, "current 1 confirmed, next 2 unknown", "uncertain 1 or 2"},

		"the newest of three":             {lostTwice, 3, 101, "current 3 confirmed, previous 1, history 2 superseded", "active 3"},
		"the second of three":             {lostTwice, 2, 101, "current 2 confirmed, next 3 unknown, previous 1", "uncertain 2 or 3"},
		"the first, and the second is":    {lostTwice, 1, 70, "current 1, next 3 unknown, candidate 2 unresolved", "uncertain 1 or 3"},
		"the first, and the second isn't": {lostTwice, 1, 71, "current 1 confirmed, next 3 unknown, history 2 superseded open", "uncertain 1 or 3"},

		"the newest, over one that waits":       {over(RestartRequired), 3, 101, "current 3 confirmed, previous 1, history 2 superseded", "active 3"},
		"the one that waited":                   {over(RestartRequired), 2, 101, "current 2 confirmed, next 3 unknown, previous 1", "uncertain 2 or 3"},
		"the one in force, under one that does": {over(RestartRequired), 1, 131, "current 1, next 3 unknown, candidate 2 staged", "uncertain 1 or 3"},
		"the newest, over a queued one":         {over(Accepted), 3, 101, "current 3 confirmed, previous 1, history 2 superseded", "active 3"},
		"the one in force, under a queued one":  {over(Accepted), 1, 131, "current 1, next 3 unknown, candidate 2 staged", "uncertain 1 or 3"},

		"the one in force, under two that do": {func(s *story) { s.changeStaged(2, RestartRequired, 10); s.changeStaged(3, RestartRequired, 100) }, 1, 200, "current 1 confirmed, next 3 restart_required, history 2 superseded open", "restart_required 1 or 3"},
		"the one confirmed after a lost one":  {func(s *story) { lost(s); s.changed(3, 100) }, 3, 101, "current 3 confirmed, previous 1, history 2 superseded", "active 3"},

		"no such version": {lost, 7, 11, "current 1 confirmed, next 2 unknown", "uncertain 1 or 2"},
		"an unsent one":   {func(s *story) { s.made(2, 10) }, 2, 11, "current 1 confirmed, next 2 unsent", "active 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &story{TB: t}
			s.changed(1, 0)
			row.happened(s)
			s.proved(row.version, row.second)
			s.is(row.want)
			s.reads(row.second, row.reads)
			if s.Current.Version == row.version {
				require.Equal(t, BasisProof, s.Current.Basis)
			}
		})
	}
}

// A late request with a password that an operator has settled can still replace the one that a login has proved.
func TestProvedPasswordIsAssumedWhileAnotherMayFollow(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.lostSend(10)
	s.adopt("another", 15)
	s.proved(3, 20)
	s.is("current 3, previous 1, history 2 superseded open")
	s.reads(20, "assumed 3")
	require.Equal(t, BasisProof, s.Current.Basis)
	s.proved(3, 70)
	s.reads(70, "assumed 3")
	s.proved(3, 71)
	s.is("current 3 confirmed, previous 1, history 2 superseded open")
	s.reads(71, "active 3")
	s.trimmed(0)
	s.lists(2, ListedSuperseded) // it may wait for a restart
	s.changeStaged(4, RestartRequired, 100)
	s.proved(4, 110)
	s.is("current 4 confirmed, previous 3, history 2 superseded, history 1 old")
}

// A repetition of the password in force changes nothing, but it must not follow another one.
func TestProvedPasswordKeepsSendNotBefore(t *testing.T) {
	once := &story{TB: t}
	once.changed(1, 0)
	once.made(2, 10)
	once.lostSend(10)
	twice := &story{TB: t, Record: once.Record}
	twice.lostSend(20)
	afterReport := &story{TB: t, Record: once.Record}
	afterReport.reported()
	reported := afterReport.Record
	afterReport.lostSend(20)
	answered := &story{TB: t, Record: twice.Record}
	answered.reported()
	queued := &story{TB: t, Record: once.Record}
	queued.sent(60)
	queued.staged(Accepted, 61)
	candidate := &story{TB: t, Record: queued.Record}
	candidate.made(3, 62)
	for name, row := range map[string]struct {
		record Record
		want   time.Time
	}{
		"one request, which was carried out":            {once.Record, time.Time{}},
		"the second may be late":                        {twice.Record, at(50)},
		"the answered one was":                          {reported, time.Time{}},
		"the first may be, and the second was answered": {answered.Record, at(40)},
		"sent again after an answer":                    {afterReport.Record, at(50)},
		"queued after it was carried out":               {queued.Record, at(61)},
		"the same, as a candidate":                      {candidate.Record, at(61)},
	} {
		s := &story{TB: t, Record: row.record}
		s.proved(2, 62)
		require.Equal(t, row.want, s.SendNotBefore(), name)
		require.Equal(t, row.want, s.Current.OpenUntil, name)
		require.True(t, s.Current.Confirmed, name)
		s.proved(2, 63)
		require.True(t, s.Current.Confirmed, "%s: the login was repeated", name)
		s.adopt("another", 64)
		require.Equal(t, !row.want.IsZero(), s.Previous.Open, name)
	}
}

// The password that was proved before may come into force again, if it was sent twice.
func TestRepeatedPasswordStaysOpenAfterProofOfAnother(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.lostSend(10)
	s.lostSend(20)
	s.proved(2, 30)
	s.proved(1, 80)
	s.is("current 3, previous 2 open")
	s.reads(80, "assumed 3")
	s.proved(1, 81)
	s.is("current 3 confirmed, previous 2")
}

// A login may show that an older password is in force again. Versions never go back.
func TestProvedOlderPasswordGetsNewVersion(t *testing.T) {
	for _, version := range []int{1, 2} { // in the history, and the previous one
		s := &story{TB: t}
		for n := 1; n <= 3; n++ {
			s.changed(n, 10*n)
		}
		s.refusedLogin(3, 40)
		s.is("current 3 refused, previous 2, history 1 old")
		s.reads(40, "drifted 3")
		s.proved(version, 41)
		require.Equal(t, value(version), s.Current.Value)
		require.Equal(t, 4, s.Current.Version)
		require.Equal(t, version, s.Current.Formerly)
		s.reads(41, "active 4")
		s.lists(3, ListedOld)
		s.proved(version, 42)
		s.reads(42, "active 4") // the version that it had before means the same password
	}
}

func TestProofEndsDrift(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changed(2, 10)
	s.refusedLogin(2, 20)
	s.refusedLogin(1, 20)
	require.True(t, s.Previous.Refused)
	s.reads(20, "drifted 2")
	require.False(t, s.Current.Confirmed)
	s.proved(2, 30)
	s.is("current 2 confirmed, previous 1")
	s.reads(30, "active 2")
}

// What was queued may still come into force after another password was proved.
func TestRefusedPasswordInForceByTimeStaysOpen(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, Accepted, 10)
	s.settleByTime(11, 71)
	s.refusedLogin(2, 80)
	s.proved(1, 80)
	s.is("current 3 confirmed, history 2 old open")
	s.trimmed(0)
	s.lists(2, ListedOld)
	s.proved(2, 90)
	s.is("current 4 confirmed, previous 3")
}

// A refused login says nothing about a password that may still come into force.
func TestRefusedLoginDropsNothing(t *testing.T) {
	candidate := func(events ...func(*story)) func(*story) {
		return func(s *story) {
			s.made(2, 10)
			s.lostSend(10)
			s.made(3, 11)
			for _, event := range events {
				event(s)
			}
		}
	}
	for name, row := range map[string]struct {
		happened func(*story)
		second   int
		want     string
	}{
		"sent, of unknown outcome":    {func(s *story) { s.made(2, 10); s.lostSend(10) }, 1000, "current 1 confirmed, next 2 unknown"},
		"queued":                      {func(s *story) { s.changeStaged(2, Accepted, 10) }, 1000, "current 1 confirmed, next 2 accepted"},
		"waiting for a restart":       {func(s *story) { s.changeStaged(2, RestartRequired, 10) }, 1000, "current 1 confirmed, next 2 restart_required"},
		"waiting, and replaced":       {func(s *story) { s.changeStaged(2, RestartRequired, 10); s.made(3, 11) }, 1000, "current 1 confirmed, next 3 unsent, candidate 2 staged"},
		"replaced, and may be late":   {candidate(), 70, "current 1 confirmed, next 3 unsent, candidate 2 unresolved"},
		"replaced, and its time over": {candidate(), 71, "current 1 confirmed, next 3 unsent, candidate 2 unresolved wrong"},
		"replaced, and works on one":  {candidate(func(s *story) { s.provedOn(2, 71, "a") }), 71, "current 1 confirmed, next 3 unsent, candidate 2 unresolved proved on a"},
		"no such version":             {func(*story) {}, 71, "current 1 confirmed"},
	} {
		s := &story{TB: t}
		s.changed(1, 0)
		row.happened(s)
		s.refusedLogin(2, row.second)
		require.Equal(t, row.want, describe(s.Record), name)
	}
}

// A password with which a login was refused is handed out only if there is no other.
func TestRefusedPasswordIsTheLastResort(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.lostSend(10)
	s.made(3, 11)
	s.reads(80, "uncertain 1 or 2")
	s.refusedLogin(1, 80)
	s.reads(80, "uncertain 2")
	s.refusedLogin(2, 80)
	s.is("current 1 refused, next 3 unsent, candidate 2 unresolved wrong")
	s.reads(80, "drifted 1")
	require.False(t, s.Exposed())
	s.lists(2, ListedRefused)
	s.proved(2, 90)
	s.is("current 2 confirmed, next 3 unsent, history 1 old")
	s.reads(90, "active 2")
}

// What the remote system reports has to be shown by a login. Until then, readers get the password that was in force.
func TestReportedPasswordIsUncertainUntilProved(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.sent(10)
	s.do(func(r Record) Record { return r.Confirmed(true) })
	require.True(t, s.Next.AwaitsForce(), "nothing is sent until it is in force")
	require.False(t, s.Next.Unproved())
	s.do(func(r Record) Record { return r.Reported(true) })
	require.False(t, s.Next.AwaitsForce())
	require.True(t, s.Next.Unproved())
	s.reads(11, "uncertain 1 or 2")
	require.True(t, s.Unfinished())
	reported := s.Record

	s.applied(12) // no login can tell
	s.is("current 2 confirmed, previous 1")
	require.Equal(t, BasisAnswer, s.Current.Basis)

	s.Record = reported
	s.proved(2, 12)
	s.is("current 2 confirmed, previous 1")
	require.Equal(t, BasisProof, s.Current.Basis)

	s.Record = reported
	s.refusedLogin(2, 12)
	s.proved(1, 12)
	s.is("current 1 confirmed, next 2 unknown reported refused 1")
	s.reads(100, "uncertain 1 or 2")
	s.sent(100)
	s.is("current 1 confirmed, next 2 sending refused 1 resent")
	require.False(t, s.Next.Unproved(), "this request has no answer yet")
	require.False(t, s.Next.Exclusive)
	s.refusedLogin(2, 101)
	require.Equal(t, 1, s.Next.LoginsRefused, "the request may not have been carried out yet")
	resent := s.Record
	s.do(func(r Record) Record { return r.Confirmed(true) })
	require.True(t, s.Next.AwaitsForce(), "the report before was about another request")
	s.Record = resent
	s.do(Record.NotApplied)
	s.is("current 1 confirmed, next 2 unknown refused 1 resent") // the one before was reported in force
	s.made(3, 110)
	s.is("current 1 confirmed, next 3 unsent, candidate 2 unresolved")

	s.Record = resent
	s.reported()
	s.refusedLogin(2, 111)
	s.is("current 1 confirmed, next 2 unknown reported refused 2 resent")
	s.do(Record.TargetRefused)
	require.False(t, s.Next.Unproved(), "it never will be")
}

func TestOnlyTimeAndRestartsAreAssumed(t *testing.T) {
	for basis, assumed := range map[Basis]bool{
		BasisAnswer: false, BasisProof: false, BasisOperator: false, BasisTime: true, BasisRestart: true, "": false,
	} {
		require.Equal(t, assumed, basis.Assumed(), basis)
	}
}
