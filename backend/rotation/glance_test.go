package rotation

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
)

// seen is all that a start takes down of a role.
type seen struct {
	connection, provider, person string
	facts                        facts
	at                           time.Time
	waits                        bool
}

// atStart sees a role as an engine does that starts at a certain time.
func atStart(role *Role) seen {
	e := New(Config{Clock: atThatTime})
	e.note(role)
	s := seen{connection: role.Connection, provider: role.Provider, person: e.board.persons[role.Name], facts: *e.board.roles[role.Name]}
	s.facts.counts = nil
	s.at, s.waits = role.nextAction(e.clock())
	return s
}

func atThatTime() time.Time { return time.Date(2030, 1, 2, 3, 30, 0, 0, time.UTC) }

// wholly is glance by decoding the entry.
func wholly(entry []byte) (*Role, error) {
	role := &Role{Name: "role"}
	if err := decode(&logical.StorageEntry{Value: entry}, role); err != nil {
		return nil, err
	}
	role.ripen(atThatTime())
	role.derive(atThatTime())
	return role, nil
}

// rolesAtRest are entries of roles that wait for their time, and of such that have more to tell.
func rolesAtRest(tb testing.TB) (atRest, others map[string][]byte) {
	tb.Helper()
	now := atThatTime().Add(-time.Hour)
	rec := credential.Record{
		Current:  &credential.Current{Password: credential.Password{Version: 3, Value: "Test3", Created: now, Reason: `"it" was due`}, Since: now, Confirmed: true, Basis: credential.BasisAnswer},
		Previous: &credential.Past{Password: credential.Password{Version: 2, Value: "Test2"}, State: credential.ListedPrevious},
		History:  []credential.Past{{Password: credential.Password{Version: 1, Value: "Test1"}, State: credential.ListedOld}},
	}
	model := Role{
		Schema: schemaVersion, Connection: "conn", Provider: "remote", Due: now.Add(2 * time.Hour), Record: rec,
		Target:  provider.Target{Names: []string{"login"}, Identities: []string{"remote|login"}, Username: "login", Settings: provider.Settings{"login": "login"}},
		Options: Options{RotationMode: ModeAuto, RotationPeriod: 3600, MaxReadTTL: 300, HistorySize: 5, OnDrift: DriftReport},
	}
	entries := func(changes map[string]func(*Role)) map[string][]byte {
		made := map[string][]byte{}
		for name, change := range changes {
			role := model
			role.Record = rec.Trim(9) // a copy
			change(&role)
			entry, err := json.Marshal(role)
			require.NoError(tb, err)
			made[name] = entry
		}
		return made
	}
	return entries(map[string]func(*Role){
			"confirmed": func(*Role) {},
			"assumed":   func(r *Role) { r.Record.Current.Confirmed, r.Record.Current.Basis = false, credential.BasisTime },
			"overdue":   func(r *Role) { r.Due = now },
			"on hold":   func(r *Role) { r.Options.Disabled = true },
			"on read":   func(r *Role) { r.Options.RotationMode = ModeOnRead },
			"by hand":   func(r *Role) { r.Options.RotationPeriod, r.Due = 0, time.Time{} },
			"in a window": func(r *Role) {
				r.Options.RotationPeriod, r.Options.RotationSchedule, r.Options.RotationWindow = 0, "0 3 * * 6", 3600
			},
			"a quiet time":     func(r *Role) { r.Record.Quiet = now },
			"an odd name":      func(r *Role) { r.Connection = "ü" },
			"a name was given": func(r *Role) { r.Adopted = &Digest{Salt: []byte{1}, Sum: []byte{2}} },
		}), entries(map[string]func(*Role){
			"none":               func(r *Role) { r.Record = credential.Record{} },
			"without a due time": func(r *Role) { r.Due = time.Time{} },
			"read":               func(r *Role) { r.Options.RotateAfterRead = 60 },
			"failed":             func(r *Role) { r.Retry.Last = &Failure{Class: provider.Rejected, Time: now} },
			"queued":             func(r *Role) { r.SettlesAt = now },
			"sending":            func(r *Role) { r.Record.Next = &credential.Next{Phase: credential.Sending} },
			"refused":            func(r *Role) { r.Record.Current.Refused = true },
			"with escapes":       func(r *Role) { r.Connection = "\"<>&\u2028" },
			"open":               func(r *Role) { r.Record.Candidates = []credential.Candidate{{Why: credential.WhyUnresolved}} },
		})
}

// What is read at a glance is what decoding the entry tells.
func TestAGlanceSeesWhatDecodingTells(t *testing.T) {
	atRest, others := rolesAtRest(t)
	for name, entry := range atRest {
		role, ok := glance("role", entry)
		require.True(t, ok, "%s is at rest", name)
		whole, err := wholly(entry)
		require.NoError(t, err, name)
		require.Equal(t, atStart(whole), atStart(role), name)
	}
	confirmed := string(atRest["confirmed"])
	for name, other := range map[string]string{
		"two times":    strings.Replace(confirmed, `"confirmed":true`, `"confirmed":true,"confirmed":false`, 1),
		"another case": strings.Replace(confirmed, `"confirmed":true`, `"Confirmed":true`, 1),
		"no text":      strings.Replace(confirmed, `"provider":"remote"`, "\"provider\":\"\x8f\"", 1),
		"a new member": strings.Replace(confirmed, `"confirmed":true`, `"confirmed":true,"to_come":1`, 1),
	} {
		require.NotEqual(t, confirmed, other, name)
		others[name] = []byte(other)
	}
	for name, entry := range others {
		_, ok := glance("role", entry)
		require.False(t, ok, "%s has more to tell", name)
	}
}

// Damaged entries included.
func FuzzGlance(f *testing.F) {
	atRest, others := rolesAtRest(f)
	for entry := range maps.Values(atRest) {
		f.Add(entry)
		for _, cut := range []int{1, len(entry) / 2} {
			f.Add(entry[:len(entry)-cut])
		}
	}
	f.Add(bytes.Replace(atRest["confirmed"], []byte("remote"), []byte("\x8f"), 1))
	for _, entry := range slices.Concat(slices.Collect(maps.Values(others)), bytesOf(hostileEntries)) {
		f.Add(entry)
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		role, ok := glance("role", entry)
		if !ok {
			return
		}
		whole, err := wholly(entry)
		if err != nil { // found out when its time comes
			return
		}
		require.Equal(t, atStart(whole), atStart(role), "%q", entry)
	})
}

func bytesOf(texts []string) (out [][]byte) {
	for _, text := range texts {
		out = append(out, []byte(text))
	}
	return out
}
