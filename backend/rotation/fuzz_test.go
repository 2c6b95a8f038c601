package rotation

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// Whatever stands in storage is read without a panic, and what readers are told is whole.
func FuzzStoredRole(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	whole, err := credential.Record{}.Make("first", "seed", false, now)
	if err != nil {
		f.Fatal(err)
	}
	role := Role{Connection: "c", Options: options(), Record: whole.Send(now, 0).Applied(now, false)}
	seed, err := json.Marshal(role)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"record":{"current":{"version":1,"value":"a","refused":true},"next":{"phase":"unknown"},"candidates":[{"why":"staged","stage":"accepted"}]}}`))
	f.Add([]byte(`{"options":{"rotation_schedule":"TZ=","rotation_period":-9223372036854775808,"max_read_ttl":9223372036854775807}}`))
	f.Add([]byte(`{"options":{"rotation_schedule":"0 0 30 2 *","max_read_ttl":-5},"due":"2026-03-01T00:00:00Z"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		var r Role
		if json.Unmarshal(stored, &r) != nil {
			return
		}
		providertest.Bounded(t, len(stored), func() { _ = r.Record.Send(now, 0).Applied(now, false).Trim(0).View(now) })
		view := r.Record.View(now)
		if got := ttl(&r, view, now, false); got < time.Second {
			t.Fatalf("ttl %v", got)
		}
		if got := r.Options.Period(now); got < 1 {
			t.Fatalf("period %d", got)
		}
		if view.State != credential.StateNone && view.Password == nil && r.Record.Current != nil {
			t.Fatalf("state %s without a password", view.State)
		}
		before := len(r.Record.List())
		if made, err := r.Record.Make("new", "fuzz", false, now); err == nil && len(made.List()) < before-1 {
			t.Fatal("a password was lost by making another")
		}
	})
}

// Whatever is given as a schedule, it is read without a panic and in little time, and what is taken has a next time that
// comes, and one after that.
func FuzzSchedule(f *testing.F) {
	for _, schedule := range []string{
		"", "0 3 * * *", "*/15 9-17 * * MON-FRI", "0 0 29 2 *", "0 0 30 2 *", "0 0 31 2,4 ?", "59 23 31 12 7", "@every 1s", "@daily", "@reboot",
		"TZ=", "TZ=UTC 0 3 * * *", "CRON_TZ=Europe/Berlin 0 3 * * *", "* * * * * *", "* * * *", "*/0 * * * *", "*/99999999999999999999 * * * *",
		"0-99999999 * * * *", "60 * * * *", "-1 * * * *", "5-1 * * * *", "jan * * * *", "* * * jan-dec sun-sat", "*,*,*,*,* * * * *", "1/2/3 * * * *", "٣ * * * *",
		strings.Repeat("1,", 2000) + "1 * * * *", strings.Repeat("* ", 2000),
	} {
		f.Add(schedule, 0, 0)
		f.Add(schedule, 3600, 3600)
	}
	f.Add("", 9, 0)
	f.Add("", -1, 0)
	f.Add("0 3 * * *", 0, 3599)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, schedule string, period, window int) {
		o := options()
		o.RotationSchedule, o.RotationPeriod, o.RotationWindow = schedule, period, window
		var err error
		providertest.Bounded(t, len(schedule), func() { err = o.validate() })
		due, seconds := o.dueAfter(now), o.Period(now) // as from storage, whether it is valid or not
		if seconds < 1 {
			t.Fatalf("period %d", seconds)
		}
		if err != nil {
			return
		}
		if (schedule != "" || period != 0) != due.After(now) {
			t.Fatalf("due at %v", due)
		}
		if window != 0 && (schedule == "" || window < 3600) || period != 0 && (schedule != "" || period < 10) {
			t.Fatalf("taken: period %d, window %d", period, window)
		}
		if words := strings.Fields(schedule); schedule != "" && len(words) != 5 {
			t.Fatalf("taken for a schedule: %q", schedule)
		}
	})
}
