package role

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// Whatever storage holds is read without a panic, has a next step, and readers get a whole answer.
func FuzzStoredRole(f *testing.F) {
	for situation := range situations {
		seed, err := json.Marshal(given(situation, window(missed, -time.Hour), busy(time.Minute)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Add([]byte(`{"record":{"current":{"version":1,"value":"a","refused":true},"next":{"phase":"unknown"},"candidates":[{"why":"staged","stage":"accepted"}]}}`))
	f.Add([]byte(`{"options":{"rotation_schedule":"TZ=","rotation_period":-9223372036854775808,"max_read_ttl":9223372036854775807}}`))
	f.Add([]byte(`{"options":{"rotation_schedule":"0 0 30 2 *","max_read_ttl":-5},"due":"2026-03-01T00:00:00Z"}`))
	f.Add([]byte(`{"options":{"rotation_schedule":"0 0 1 1 *","rotation_window":9223372036854775807},"due":"0001-01-01T00:00:01Z"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		var r Role
		if json.Unmarshal(stored, &r) != nil {
			return
		}
		providertest.Bounded(t, len(stored), func() { _ = r.Record.Send(now, 0).Applied(now, false).Trim(0).View(now) })
		view := r.Record.View(now)
		if view.State != credential.StateNone && view.Password == nil && r.Record.Current != nil {
			t.Fatalf("state %s without a password", view.State)
		}
		before := len(r.Record.List())
		if made, err := r.Record.Make("new", "fuzz", false, now); err == nil && len(made.List()) < before-1 {
			t.Fatal("a password was lost by making another")
		}
		isAnswered(t, &r)
		providertest.Bounded(t, len(stored), func() { r.Refresh(now) })
		isAnswered(t, &r)
	})
}

// isAnswered checks what the engine and readers are told of a role.
func isAnswered(t *testing.T, r *Role) {
	t.Helper()
	for _, outside := range outside {
		step := r.Next(now, outside.env)
		if step.Why == "" || step.Do == Rest && (!step.At.IsZero() || step.OnRead) {
			t.Fatalf("%s: %+v", outside.name, step)
		}
		if own := r.Automatic(now, outside.env); own.Do == Begin && own.OnRead {
			t.Fatalf("%s: %+v", outside.name, own)
		}
		if send := r.MaySend(now, outside.env); send.Do != Send && send.Do != Rest {
			t.Fatalf("%s: %+v", outside.name, send)
		}
		if got := r.TTL(now, outside.env); got < time.Second {
			t.Fatalf("%s: ttl %v", outside.name, got)
		}
	}
	if got := r.Options.Period(now); got < 1 {
		t.Fatalf("period %d", got)
	}
}

// Whatever is given as a schedule, it is parsed without a panic and in little time. What is accepted has a next time, and one
// after that.
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
	f.Fuzz(func(t *testing.T, schedule string, period, window int) {
		o := Defaults()
		o.RotationSchedule, o.RotationPeriod, o.RotationWindow = schedule, period, window
		var err error
		providertest.Bounded(t, len(schedule), func() { err = o.Validate() })
		due, seconds := o.DueAfter(now), o.Period(now) // as from storage, whether it is valid or not
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
			t.Fatalf("accepted: period %d, window %d", period, window)
		}
		if words := strings.Fields(schedule); schedule != "" && len(words) != 5 {
			t.Fatalf("accepted as a schedule: %q", schedule)
		}
	})
}
