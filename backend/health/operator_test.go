package health

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/explain"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

func TestReportListsRolesThatNeedOperator(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var b Board
	set := func(name string, last *role.Failure) {
		r := &role.Role{Name: name, Connection: "conn", Provider: "remote"}
		if last != nil {
			r.Retry = role.Retry{Attempts: 1, Last: last}
		}
		b.Set(explain.Facts{Role: r, View: r.Record.View(now), Step: r.Next(now, role.Env{}), Now: now})
	}
	refused := &role.Failure{Class: provider.Rejected, Scope: provider.ScopeTarget, Reason: "no such account", Time: now}
	set("well", nil)
	set("busy", &role.Failure{Class: provider.Busy, Reason: "busy", Time: now})
	set("refused", refused)
	report := b.Report(now)
	require.Equal(t, 2, report.Failing)
	require.Equal(t, 1, report.OperatorsNeeded)
	require.Equal(t, "refused", report.NeedOperator[0].Role)
	require.Contains(t, report.NeedOperator[0].Reason, "no such account")

	set("busy", nil)
	set("refused", nil)
	report = b.Report(now)
	require.Zero(t, report.OperatorsNeeded)
	require.Empty(t, report.NeedOperator)

	for i := range maxListed + 1 {
		set(fmt.Sprintf("role%03d", i), refused)
	}
	report = b.Report(now)
	require.Equal(t, maxListed+1, report.OperatorsNeeded)
	require.Len(t, report.NeedOperator, maxListed)
	require.Equal(t, "role000", report.NeedOperator[0].Role)
}
