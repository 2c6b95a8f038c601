package role

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
)

// While a password waits for a restart, a due time ahead says nothing about when the next password will be in force, so
// readers come back after max_read_ttl.
func TestTTLOfPasswordWaitingForRestart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	changed := func(rec credential.Record, value string, staged bool) credential.Record {
		rec, err := rec.Make(value, "rotated by request", false, now)
		require.NoError(t, err)
		rec = rec.Send(now.Add(time.Minute), 0)
		if staged {
			return rec.Staged(credential.RestartRequired, now)
		}
		return rec.Staged(credential.Accepted, now).SettleByTime(now, now)
	}
	settled := changed(credential.Record{}, "value1", false)
	for state, row := range map[credential.State]struct {
		record credential.Record
		want   time.Duration
	}{
		credential.StateRestartRequired: {changed(settled, "value2", true), 300 * time.Second},
		credential.StateAssumed:         {settled, 100 * time.Second},
	} {
		r := &Role{Options: Defaults(), Due: now.Add(100 * time.Second), Record: row.record}
		require.Equal(t, state, r.Record.View(now).State)
		require.Equal(t, row.want, r.TTL(now, Env{}), state)
	}
}
