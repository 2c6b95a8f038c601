package credential

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever of a record is printed, no password is.
func TestRecordsHidePasswords(t *testing.T) {
	t.Parallel()
	const secret = "Example-Canary-Passw0rd"
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	record := Record{}
	var err error
	for range 4 { // one each in force, before, in the history, and next
		record, err = record.Make(secret, "test", false, now)
		require.NoError(t, err)
		record = record.Send(now, 0).Unresolved()
		if record.Current == nil || record.Previous == nil || len(record.History) == 0 {
			record = record.Applied(now, false)
		}
	}
	record, err = record.Make(secret, "test", true, now)
	require.NoError(t, err)
	require.NotEmpty(t, record.Candidates)
	require.NotEmpty(t, record.History)
	old, view := record.Old(now), record.View(now)
	require.NotNil(t, old.Password)
	require.NotNil(t, view.Password)
	for _, value := range []any{
		record, &record, []*Record{&record}, map[string]Record{"a": record}, view, &view, old, &old, record.List(), *record.Next, record.Next,
		record.Candidates, *record.Previous, record.History, *record.Current, *view.Password, *old.Password,
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t"} {
			printed := strings.ToLower(fmt.Sprintf(verb, value))
			for _, form := range []string{"canary", fmt.Sprintf("%x", "Canary"), fmt.Sprintf("% x", "Canary")} {
				require.NotContains(t, printed, form, "%T with %s", value, verb)
			}
		}
	}
}
