package credential

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// takenBy is the answer that these parts have taken Next.
func (s *story) takenBy(second int, parts ...string) {
	s.Helper()
	s.do(func(r Record) Record { return r.TakenByParts(parts, RestartRequired, at(second)) })
}

// confirmOn is an operator's confirmation that this version is in force on these parts.
func (s *story) confirmOn(version, second int, parts ...string) error {
	s.Helper()
	return s.try(func(r Record) (Record, error) { return r.ConfirmOn(version, parts, servers, at(second)) })
}

// shows requires this state, version and next version of each part.
func (s *story) shows(second int, want string) {
	s.Helper()
	var out []string
	for _, v := range s.Parts(servers, at(second)) {
		text := fmt.Sprintf("%s: %s %d", v.Part, v.State, v.Version)
		if v.NextVersion != 0 {
			text += fmt.Sprintf(" or %d", v.NextVersion)
		}
		out = append(out, text)
	}
	require.Equal(s, want, strings.Join(out, ", "))
}

// partlyTaken returns a story in which version 1 is in force and only a has taken version 2.
func partlyTaken(t *testing.T) *story {
	t.Helper()
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	require.Equal(t, servers, s.Next.Missing(servers))
	s.sent(10)
	s.shows(10, "a: active 1, b: active 1")
	s.takenBy(11, "a")
	s.do(Record.NotApplied)
	s.is("current 1 confirmed, next 2 restart_required taken a")
	s.reads(12, "restart_required 1 or 2")
	s.shows(12, "a: restart_required 1 or 2, b: active 1")
	require.Equal(t, []string{"b"}, s.Next.Missing(servers))
	require.True(t, s.Unfinished(), "b is asked again")
	require.Equal(t, at(11), s.Next.StagedSince)
	return s
}

func TestMissingPartTakesPasswordLater(t *testing.T) {
	s := partlyTaken(t)
	s.sent(20)
	s.reads(20, "restart_required 1 or 2") // unchanged: no request is open
	s.shows(20, "a: restart_required 1 or 2, b: active 1")
	require.Equal(t, []string{"b"}, s.Next.Missing(servers))
	s.reads(51, "uncertain 1 or 2")
	s.shows(51, "a: restart_required 1 or 2, b: uncertain 1 or 2")
	s.staged(RestartRequired, 21)
	s.is("current 1 confirmed, next 2 restart_required")
	s.shows(21, "a: restart_required 1 or 2, b: restart_required 1 or 2")
	require.Empty(t, s.Next.Missing(servers))
	require.False(t, s.Next.Partial())
	require.False(t, s.Unfinished())
	require.Zero(t, s.LastRequest())
	require.Equal(t, at(21), s.Next.StagedSince)
	s.proved(s.Next.Version, 30)
	s.shows(30, "a: active 2, b: active 2")
}

func TestMissingPartRefusesPassword(t *testing.T) {
	s := partlyTaken(t)
	s.sent(20)
	s.do(Record.PasswordRefused)
	s.is("current 1 confirmed, candidate 2 refused taken a")
	s.reads(20, "restart_required 1 or 2") // a puts it in force when it restarts
	require.Zero(t, s.SendNotBefore())
	require.True(t, s.Unfinished(), "a password that all parts take is still needed")
	refused := s.Record

	s.changeStaged(3, RestartRequired, 30)
	s.is("current 1 confirmed, next 3 restart_required, candidate 2 refused overtaken taken a")
	require.False(t, s.Unfinished())
	s.shows(31, "a: restart_required 1 or 3, b: restart_required 1 or 3")

	s.Record = refused // then b takes the other one
	s.made(3, 30)
	s.sent(30)
	s.takenBy(31, "b")
	s.do(Record.NotApplied)
	s.is("current 1 confirmed, next 3 restart_required taken b, candidate 2 refused taken a")
	s.shows(31, "a: restart_required 1 or 2, b: restart_required 1 or 3")
	s.adopt("another", 40)
	s.is("current 4, next 3 restart_required taken b, candidate 2 refused taken a, previous 1") // each waits on a part
	s.trimmed(0)
	require.NoError(t, s.confirmOn(2, 50, "a"))
	require.NoError(t, s.confirmOn(3, 50, "b"))
	s.is("current 4, next 3 restart_required taken b on b, candidate 2 refused taken a on a, previous 1")
	s.shows(50, "a: assumed 2, b: assumed 3")

	// The very first password: there is no other to hand out.
	s = &story{TB: t}
	s.made(1, 0)
	s.sent(0)
	s.takenBy(1, "b")
	s.do(Record.PasswordRefused)
	s.is("candidate 1 refused taken b")
	require.Nil(t, s.View(at(1)).Password)
	require.Equal(t, StateRestartRequired, s.View(at(1)).State)
	require.Equal(t, value(1), s.View(at(1)).Next.Value)
}

func TestAnswerOfMissingPartIsLost(t *testing.T) {
	s := partlyTaken(t)
	s.sent(20)
	s.do(Record.Unresolved)
	s.is("current 1 confirmed, next 2 unknown restart_required taken a")
	s.reads(20, "uncertain 1 or 2")
	s.shows(20, "a: restart_required 1 or 2, b: uncertain 1 or 2")
	require.Equal(t, []string{"b"}, s.Next.Missing(servers), "a has taken it and is not asked again")
	require.Equal(t, at(50), s.LastRequest())
	s.sent(60)
	s.reads(60, "uncertain 1 or 2")
	s.do(Record.NotApplied)
	s.is("current 1 confirmed, next 2 unknown restart_required taken a")
	require.Equal(t, at(50), s.Next.SentUntil)
	open := s.Record
	s.sent(70)
	s.do(Record.PasswordRefused)
	s.is("current 1 confirmed, candidate 2 refused taken a")
	s.reads(70, "restart_required 1 or 2")
	require.Equal(t, at(50), s.SendNotBefore())

	s.Record = open
	s.made(3, 70)
	s.is("current 1 confirmed, next 3 unsent, candidate 2 unresolved taken a")
	s.reads(70, "restart_required 1 or 2")
	require.Equal(t, at(50), s.SendNotBefore())

	s.Record = open
	s.sent(70)
	s.staged(RestartRequired, 71)
	s.is("current 1 confirmed, next 2 restart_required")
	require.Equal(t, at(50), s.LastRequest())
}

// A crash hides the answers of all parts.
func TestCrashLeavesEveryPartOpen(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.made(2, 10)
	s.sent(10)
	s.Record = stored(t, s.Record)
	s.reads(41, "uncertain 1 or 2")
	s.shows(41, "a: uncertain 1 or 2, b: uncertain 1 or 2")
	require.Equal(t, servers, s.Next.Missing(servers))
	s.sent(50)
	s.takenBy(51, "a")
	s.do(Record.NotApplied) // b did not take it now, but the first request may have reached it
	s.is("current 1 confirmed, next 2 unknown restart_required taken a")

	s = partlyTaken(t)
	s.sent(20)
	s.Record = stored(t, s.Record)
	s.reads(51, "uncertain 1 or 2")
	require.Equal(t, []string{"b"}, s.Next.Missing(servers))
}

func TestPasswordTakenByNoPartStaysUnsent(t *testing.T) {
	s := &story{TB: t}
	s.takenBy(0, "a")
	s.is("")
	require.Empty(t, s.Next.Missing(servers))
	require.False(t, s.Next.Partial())
	s.changed(1, 0)
	s.made(2, 10)
	s.sent(10)
	s.takenBy(11)
	s.do(Record.NotApplied)
	s.is("current 1 confirmed, next 2 unsent")
}

func TestPartsCanWaitForDifferentPasswords(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	s.made(3, 20)
	s.sent(20)
	s.takenBy(21, "a")
	s.do(Record.NotApplied)
	s.is("current 1 confirmed, next 3 restart_required taken a, candidate 2 staged")
	s.shows(22, "a: restart_required 1 or 3, b: restart_required 1 or 2")
	s.sent(30)
	s.shows(30, "a: restart_required 1 or 3, b: restart_required 1 or 2")
	s.do(Record.NotApplied)
	s.adopt(value(1), 40)
	s.is("current 1, next 3 restart_required taken a, candidate 2 staged")
	s.trimmed(0)
	require.NoError(t, s.confirmOn(2, 50, "b"))
	s.shows(50, "a: restart_required 1 or 3, b: assumed 2")
	require.NoError(t, s.confirmOn(3, 50, "a"))
	s.shows(50, "a: assumed 3, b: assumed 2")
	s.sent(60)
	s.staged(RestartRequired, 61)
	s.is("current 1, next 3 restart_required on a, candidate 2 staged overtaken on b")
	s.shows(61, "a: assumed 3, b: restart_required 2 or 3")
}

func TestPartsTakeFirstPasswordSeparately(t *testing.T) {
	s := &story{TB: t}
	s.shows(0, "a: none 0, b: none 0")
	require.Empty(t, s.Parts(nil, at(0)))
	s.made(1, 0)
	s.sent(0)
	s.takenBy(1, "a")
	s.do(Record.NotApplied)
	s.reads(1, "restart_required 1")
	s.shows(1, "a: restart_required 0 or 1, b: none 0")
	require.NoError(t, s.confirmOn(1, 10, "a"))
	s.shows(10, "a: assumed 1, b: none 0")
	require.NoError(t, s.confirmOn(1, 11, "b"))
	s.is("current 1")
}

func TestConfirmOnWithoutPartsConfirmsAccount(t *testing.T) {
	s := &story{TB: t}
	s.changed(1, 0)
	s.changeStaged(2, RestartRequired, 10)
	require.NoError(t, s.try(func(r Record) (Record, error) { return r.ConfirmOn(2, nil, nil, at(20)) }))
	s.is("current 2, previous 1")
}

// Changing one record must not change another.
func TestRecordsShareNoPartLists(t *testing.T) {
	s := partlyTaken(t)
	s.made(3, 20)
	s.sent(20)
	s.takenBy(21, "a")
	require.NoError(t, s.confirmOn(2, 30, "a"))
	require.NoError(t, s.confirmOn(3, 30, "b"))
	s.do(Record.NotApplied)
	copied := s.clone()
	before := encoded(t, s.Record)
	for _, list := range [][]string{copied.Next.InForceOn, copied.Candidates[0].InForceOn, copied.Candidates[0].Taken} {
		require.NotEmpty(t, list)
		list[0] = "changed"
	}
	require.Equal(t, before, encoded(t, s.Record))

	s = partlyTaken(t)
	copied = s.clone()
	copied.Next.Taken[0] = "changed"
	require.Equal(t, []string{"a"}, s.Next.Taken)

	given := []string{"b", "a", "b"}
	s = &story{TB: t}
	s.changeStaged(1, RestartRequired, 0)
	s.Record = s.TakenByParts(slices.Clone(given), RestartRequired, at(1))
	s.made(2, 1)
	s.sent(1)
	s.Record = s.TakenByParts(given, RestartRequired, at(2))
	require.Equal(t, []string{"b", "a", "b"}, given, "the caller's list must not change")
	require.Equal(t, []string{"a", "b"}, s.Next.Taken)
	given[1] = "changed"
	require.Equal(t, []string{"a", "b"}, s.Next.Taken)
	missing := s.Next.Missing(servers)
	require.Empty(t, missing)
	require.Equal(t, []string{"a", "b"}, servers)
}
