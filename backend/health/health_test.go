package health

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newRole returns a role with a password, which is due a time from now.
func newRole(t *testing.T, name string, due time.Duration) *role.Role {
	t.Helper()
	record, err := credential.Record{}.Make("password", "test", false, now)
	require.NoError(t, err)
	r := &role.Role{Name: name, Connection: "conn", Provider: "remote", Due: now.Add(due)}
	r.Record = record.Send(now, 0).Applied(now, false)
	return r
}

// begin gives a role a next password. phase is what has become of it.
func begin(t *testing.T, r *role.Role, phase credential.Phase) {
	t.Helper()
	record, err := r.Record.Make("another password", "test", false, now)
	require.NoError(t, err)
	switch phase {
	case credential.Unsent:
	case credential.Sending:
		record = record.Send(now.Add(30*time.Second), 0)
	default:
		record = record.Send(now, 0).Staged(phase, now)
	}
	r.Record = record
}

func (b *Board) set(r *role.Role) {
	b.Set(explain.Facts{Role: r, View: r.Record.View(now), Step: r.Next(now, role.Env{}), Now: now})
}

func TestEmptyBoardReportsNothing(t *testing.T) {
	t.Parallel()
	var b Board
	b.Forget("unknown")
	b.Opened("unknown")
	b.Sending("unknown", now)
	require.False(t, b.OverdueSend("unknown", now))
	require.Empty(t, b.Names())
	require.Empty(t, b.Pending("conn", now))
	require.Equal(t, Report{States: map[credential.State]int{}, Providers: map[string]map[credential.State]int{}}, b.Report(now))
}

func TestReportCountsStates(t *testing.T) {
	t.Parallel()
	var b Board
	for i, phase := range []credential.Phase{credential.Accepted, credential.RestartRequired, credential.RestartRequired} {
		r := newRole(t, fmt.Sprint("staged", i), -time.Hour)
		begin(t, r, phase)
		b.set(r)
	}
	other := newRole(t, "other", time.Hour)
	other.Provider = "another"
	b.set(other)
	b.set(&role.Role{Name: "none", Provider: "another"})
	report := b.Report(now)
	require.Equal(t, 5, report.Roles)
	require.Equal(t, map[credential.State]int{
		credential.StateAccepted: 1, credential.StateRestartRequired: 2, credential.StateActive: 1, credential.StateNone: 1,
	}, report.States)
	require.Equal(t, map[string]map[credential.State]int{
		"remote":  {credential.StateAccepted: 1, credential.StateRestartRequired: 2},
		"another": {credential.StateActive: 1, credential.StateNone: 1},
	}, report.Providers)
	require.ElementsMatch(t, []string{"staged0", "staged1", "staged2", "other", "none"}, b.Names())

	for _, name := range b.Names() {
		b.Forget(name)
	}
	require.Equal(t, Report{States: map[credential.State]int{}, Providers: map[string]map[credential.State]int{}}, b.Report(now))
}

// Of the roles that are late, those count that the engine changes without being asked.
func TestReportCountsOverdueRoles(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		due     time.Duration
		change  func(t *testing.T, r *role.Role)
		overdue int
		next    bool
	}{
		"due":           {-time.Second, nil, 1, false},
		"due now":       {0, nil, 1, false},
		"not due":       {time.Second, nil, 0, true},
		"manual":        {0, func(_ *testing.T, r *role.Role) { r.Due = time.Time{} }, 0, false},
		"disabled":      {-time.Second, func(_ *testing.T, r *role.Role) { r.Options.Disabled = true }, 0, false},
		"on read":       {-time.Second, func(_ *testing.T, r *role.Role) { r.Options.RotationMode = role.ModeOnRead }, 0, false},
		"queued":        {-time.Second, func(t *testing.T, r *role.Role) { begin(t, r, credential.Accepted) }, 0, false},
		"needs restart": {-time.Second, func(t *testing.T, r *role.Role) { begin(t, r, credential.RestartRequired) }, 0, false},
		"being sent":    {-time.Second, func(t *testing.T, r *role.Role) { begin(t, r, credential.Sending) }, 1, false},
		"slow": {-time.Second, func(t *testing.T, r *role.Role) {
			begin(t, r, credential.Sending)
			r.Record = r.Record.Confirmed(false)
		}, 0, false},
		"damaged entry": {0, func(_ *testing.T, r *role.Role) { r.Due = time.Unix(-5, 0) }, 1, false},
		"no such year":  {0, func(_ *testing.T, r *role.Role) { r.Due = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) }, 0, true},
		"read": {time.Hour, func(_ *testing.T, r *role.Role) {
			r.Options.RotateAfterRead = 60
			r.FirstRead(r.Record.Current.Version, r.Record.Current.Created, now.Add(-time.Hour))
		}, 1, false},
	} {
		var b Board
		r := newRole(t, "role", row.due)
		if row.change != nil {
			row.change(t, r)
		}
		b.set(r)
		report := b.Report(now)
		require.Equal(t, row.overdue, report.Overdue, name)
		require.Equal(t, row.overdue > 0, report.OldestOverdue.Role != "", name)
		require.Equal(t, row.next, report.NextDue.Role != "", name)
		require.Equal(t, row.overdue > 0, !report.OldestOverdue.Time.IsZero(), name)
		require.Equal(t, row.next, !report.NextDue.Time.IsZero(), name)
	}
}

func TestReportCountsRotationsInFuture(t *testing.T) {
	t.Parallel()
	var b Board
	for name, since := range map[string]time.Duration{"right": -time.Hour, "other clock": time.Minute, "ahead": 90 * 24 * time.Hour} {
		r := newRole(t, name, time.Hour)
		r.Record.Current.Since = now.Add(since)
		b.set(r)
	}
	require.Equal(t, 1, b.Report(now).RotatedAhead)
}

func TestReportCountsFailingAndDisabledRoles(t *testing.T) {
	t.Parallel()
	failure := &role.Failure{Class: provider.Busy, Reason: "busy"}
	for name, row := range map[string]struct {
		retry    role.Retry
		failing  int
		disabled bool
	}{
		"well":               {role.Retry{}, 0, false},
		"disabled":           {role.Retry{}, 0, true},
		"failing":            {role.Retry{Last: failure, Attempts: 1}, 1, false},
		"failing, disabled":  {role.Retry{Last: failure, Attempts: 7}, 1, true},
		"waits for its turn": {role.Retry{Last: failure}, 0, false},
	} {
		var b Board
		r := newRole(t, "role", time.Hour)
		r.Retry, r.Options.Disabled = row.retry, row.disabled
		b.set(r)
		report := b.Report(now)
		require.Equal(t, row.failing, report.Failing, name)
		require.Equal(t, row.disabled, report.Disabled == 1, name)
		b.set(newRole(t, "role", time.Hour))
		report = b.Report(now)
		require.Zero(t, report.Failing+report.Disabled, "%s: the last state counts", name)
	}
}

// Overdue roles are counted as by looking at each.
func TestReportFindsOldestAndNext(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var b Board
		late, oldest, next := 0, time.Time{}, time.Time{}
		for i := range random.IntN(60) {
			at := time.Duration(random.IntN(200)-100) * time.Minute
			r := newRole(t, fmt.Sprint(i), 0)
			b.set(r)
			r.Due = now.Add(at)
			b.set(r)
			switch {
			case at > 0:
				if next.IsZero() || r.Due.Before(next) {
					next = r.Due
				}
			default:
				late++
				if oldest.IsZero() || r.Due.Before(oldest) {
					oldest = r.Due
				}
			}
		}
		report := b.Report(now)
		require.Equal(t, late, report.Overdue)
		require.Equal(t, oldest, report.OldestOverdue.Time)
		require.Equal(t, next, report.NextDue.Time)
		for _, one := range []Dated{report.OldestOverdue, report.NextDue} {
			if one.Role != "" {
				require.Equal(t, one.Time, b.roles[one.Role].due)
			}
		}
	}
}

func TestReportListsPausedConnections(t *testing.T) {
	t.Parallel()
	var b Board
	handle := func(name string) *connection.Handle {
		return &connection.Handle{Connection: connection.Connection{Name: name, Provider: "remote"}}
	}
	b.Paused(handle("second"), &connection.Pause{Reason: "refused", Since: now, NextProbe: now.Add(time.Hour)})
	b.Paused(handle("first"), &connection.Pause{Reason: "refused", Since: now})
	b.Paused(handle("second"), &connection.Pause{Reason: "refused again", Since: now, NextProbe: now.Add(2 * time.Hour)})
	require.Equal(t, []PausedConnection{
		{Connection: "first", Provider: "remote", Reason: "refused", Since: now},
		{Connection: "second", Provider: "remote", Reason: "refused again", Since: now, NextProbe: now.Add(2 * time.Hour)},
	}, b.Report(now).Paused)
	b.Opened("second")
	require.Len(t, b.Report(now).Paused, 1)
	b.Opened("first")
	require.Empty(t, b.Report(now).Paused)
}

// A role that could not be worked on needs an operator until it is set again.
func TestOperatorIsNeededUntilRoleIsSet(t *testing.T) {
	t.Parallel()
	var b Board
	r := newRole(t, "role", time.Hour)
	stuck := explain.Facts{Role: r, View: r.Record.View(now), Step: r.Next(now, role.Env{}), Now: now, Stuck: &explain.Stuck{Reason: "its connection does not exist"}}
	b.Set(stuck)
	report := b.Report(now)
	require.Equal(t, []NeedsOperator{{"role", "Its connection does not exist."}}, report.NeedOperator)
	require.Equal(t, 1, report.OperatorsNeeded)
	stuck.Stuck.Storage = true
	b.Set(stuck)
	require.Zero(t, b.Report(now).OperatorsNeeded, "storage concerns the mount")
	b.set(r)
	require.Zero(t, b.Report(now).OperatorsNeeded)
	begin(t, r, credential.RestartRequired)
	b.set(r)
	require.Equal(t, 1, b.Report(now).OperatorsNeeded, "the servers must restart")
	b.Forget("role")
	require.Zero(t, b.Report(now).OperatorsNeeded)
}

// A role is listed an hour after its outcome became unknown, although nothing is recorded about it meanwhile.
func TestOperatorIsNeededOnceOutcomeStaysUnknown(t *testing.T) {
	t.Parallel()
	var b Board
	r := newRole(t, "role", time.Hour)
	begin(t, r, credential.Sending)
	r.Record = r.Record.Unresolved()
	r.Retry = role.Retry{Attempts: 1, Last: &role.Failure{Class: provider.Unknown, Reason: "no answer", Time: now}}
	r.Retry.CountUnknown(now)
	b.set(r)
	require.Zero(t, b.Report(now).OperatorsNeeded)
	require.Zero(t, b.Report(now.Add(time.Hour-1)).OperatorsNeeded)
	report := b.Report(now.Add(time.Hour))
	require.Equal(t, 1, report.OperatorsNeeded)
	require.Contains(t, report.NeedOperator[0].Reason, "no answer")
	r.Retry.CountUnknown(now)
	r.Retry.CountUnknown(now)
	b.set(r)
	require.Equal(t, 1, b.Report(now).OperatorsNeeded, "at the third one")
}

// What a remote system refuses for any account is reported once for the connection, until a change works again.
func TestProblemOfRemoteSystemIsReportedOnce(t *testing.T) {
	t.Parallel()
	var b Board
	refused := func(ago time.Duration) role.Retry {
		return role.Retry{Attempts: 1, Last: &role.Failure{
			Class: provider.Rejected, Scope: provider.ScopeConnection, Code: "1004", Reason: "its set-up is not complete", Time: now.Add(-ago),
		}}
	}
	roles := make([]*role.Role, 5)
	for i := range roles {
		roles[i] = newRole(t, fmt.Sprint("role", i), time.Hour)
		roles[i].Record.Current.Since = now.Add(-time.Hour)
		roles[i].Retry = refused(time.Duration(5-i) * time.Minute)
		b.set(roles[i])
	}
	report := b.Report(now)
	require.Equal(t, []Problem{{
		Connection: "conn", Provider: "remote", Reason: "its set-up is not complete (1004)", Since: now.Add(-5 * time.Minute), Roles: 5,
	}}, report.Problems)
	require.Zero(t, report.OperatorsNeeded)
	require.Equal(t, 5, report.Failing)

	roles[0].Retry, roles[0].Record.Current.Since = role.Retry{}, now
	b.set(roles[0])
	require.Empty(t, b.Report(now).Problems, "a change works again")
	roles[1].Retry = refused(-time.Minute)
	b.set(roles[1])
	require.Equal(t, 1, b.Report(now).Problems[0].Roles, "it does not")
	roles[2].Record.Current.Since = now.Add(time.Hour)
	b.set(roles[2])
	require.Equal(t, 1, b.Report(now).Problems[0].Roles, "a change that a clock ahead recorded proves nothing later")
}

func TestPendingRolesAreDueFailingOrUnfinished(t *testing.T) {
	t.Parallel()
	failure := &role.Failure{Class: provider.Busy, Reason: "busy"}
	toRestart := func(r *role.Role) {
		begin(t, r, credential.RestartRequired)
		r.Target.Parts, r.Target.Restart = []string{"a"}, provider.RestartSoft
	}
	for name, row := range map[string]struct {
		change func(r *role.Role)
		want   bool
	}{
		"not due":            {func(*role.Role) {}, false},
		"due":                {func(r *role.Role) { r.Due = now }, true},
		"failing":            {func(r *role.Role) { r.Retry = role.Retry{Last: failure, Attempts: 1} }, true},
		"password waits":     {func(r *role.Role) { begin(t, r, credential.Unsent) }, true},
		"being sent":         {func(r *role.Role) { begin(t, r, credential.Sending) }, true},
		"server restarts":    {func(r *role.Role) { r.Restarts.Part, r.Options.Disabled = "a", true }, true},
		"servers to restart": {toRestart, true},
		"restart by hand":    {func(r *role.Role) { begin(t, r, credential.RestartRequired) }, false},
		"disabled restart":   {func(r *role.Role) { toRestart(r); r.Options.Disabled = true }, false},
		"disabled":           {func(r *role.Role) { r.Due, r.Options.Disabled = now, true }, false},
		"disabled, failing":  {func(r *role.Role) { r.Options.Disabled, r.Retry = true, role.Retry{Last: failure, Attempts: 1} }, false},
		"another connection": {func(r *role.Role) { r.Due, r.Connection = now, "other" }, false},
	} {
		var b Board
		r := newRole(t, "role", time.Hour)
		row.change(r)
		b.set(r)
		require.Equal(t, row.want, len(b.Pending("conn", now)) == 1, name)
	}
}

func TestSendIsOverdueAfterItsDeadline(t *testing.T) {
	t.Parallel()
	var b Board
	r := newRole(t, "role", time.Hour)
	b.set(r)
	require.False(t, b.OverdueSend("role", now.Add(time.Hour)), "nothing is in flight")
	begin(t, r, credential.Sending)
	b.set(r)
	until := r.Record.Next.SentUntil
	require.False(t, b.OverdueSend("role", until))
	require.True(t, b.OverdueSend("role", until.Add(1)))
	b.Sending("role", until.Add(time.Minute))
	require.False(t, b.OverdueSend("role", until.Add(time.Minute)))
	require.True(t, b.OverdueSend("role", until.Add(time.Minute+1)))
	b.set(newRole(t, "role", time.Hour))
	require.False(t, b.OverdueSend("role", until.Add(time.Hour)), "it has ended")
}

func TestBoardMayBeUsedConcurrently(t *testing.T) {
	t.Parallel()
	var b Board
	roles := make([]*role.Role, 8)
	for i := range roles {
		roles[i] = newRole(t, fmt.Sprint(i), time.Hour)
	}
	var users sync.WaitGroup
	for _, r := range roles {
		users.Go(func() {
			for i := range 200 {
				b.set(r)
				b.Sending(r.Name, now)
				b.Of("conn")
				b.OverdueSend(r.Name, now)
				b.Pending("conn", now)
				b.Report(now)
				if i%10 == 0 {
					b.Forget(r.Name)
				}
			}
		})
	}
	users.Wait()
	require.Len(t, b.Names(), 8)
}
