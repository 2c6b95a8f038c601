package rotation

import (
	"encoding/json"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
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
	f.Add([]byte(`{"options":{"rotation_schedule":"0 0 30 2 *","max_read_ttl":-5},"due":"2026-03-01T00:00:00Z"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		var r Role
		if json.Unmarshal(stored, &r) != nil {
			return
		}
		view := r.Record.View(now)
		if got := ttl(&r, view, now); got < time.Second {
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
		_ = r.Record.Send(now, 0).Applied(now, false).Trim(0).View(now)
	})
}
