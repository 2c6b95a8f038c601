package rotation

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// hostileEntries are what may stand at any key, beside what the engine writes there itself.
var hostileEntries = []string{
	``, `{`, `null`, `[]`, `7`, `"x"`, `{}`, `{"schema":1}`, `{"schema":2}`, `{"schema":-1}`, `{"schema":1e9,"record":7}`, `{"schema":"1"}`, "\x00\xff",
	`{"schema":2,"refused":"many","record":[],"settings":[]}`, strings.Repeat("[", 300), strings.Repeat(`{"record":`, 300),
	// connections
	`{"schema":1,"provider":"remote","address":"https://remote.example","settings":{"key":"Test-Key.4711"},"allowed_roles":["*"],"allowed_targets":["*"],"request_timeout":30,"max_in_flight":9007199254740993,"revision":-1}`,
	`{"schema":1,"provider":"gone","settings":null}`, `{"schema":1,"provider":"remote","address":"https://remote.example","settings":{"key":7,"note":[{}]},"request_timeout":9223372036854775807,"max_in_flight":-1}`,
	// counts of tries and pauses
	`{"schema":1,"refused":9223372036854775807,"open":9223372036854775807,"last":"9999-12-31T23:59:59Z","hold":"9999-12-31T23:59:59Z"}`, `{"schema":1,"refused":-9223372036854775808,"open":-1}`,
	`{"schema":1,"refused":5,"open":1}`, `{"schema":1,"open":4,"last":"2000-01-01T00:00:00Z"}`, `{"schema":1,"refused":9223372036854775807,"open":1}`,
	`{"schema":1,"revision":1,"since":"0001-01-01T00:00:00Z","code":"1001","reason":"x","probes":9223372036854775807,"next_probe":"0001-01-02T00:00:00Z"}`,
	// owners of targets, settings
	`{"schema":1,"role":"role","identity":"remote|login","quiet":"9999-12-31T23:59:59Z","old_tries":{"count":-1,"left":-1}}`, `{"schema":1,"role":"other","identity":"remote|login"}`,
	`{"schema":1,"catch_up_limit":-1}`,
	// roles
	`{"schema":1,"connection":"conn","provider":"remote","target":{"names":["login"],"identities":["remote|login"],"username":"login","settings":{"login":"login"}},"options":{"rotation_schedule":"TZ=","max_read_ttl":-5,"history_size":-1},"record":{"current":{"version":1,"value":"Test1"},"next":{"version":1,"value":"Test2","phase":"unknown"},"candidates":[{"version":-1,"why":"staged","stage":"accepted"}]},"due":"0001-01-01T00:00:00Z"}`,
	`{"schema":1,"connection":"conn","target":{"identities":["remote|login"],"parts":["a","a"],"settings":null},"record":{"next":{"version":9223372036854775807,"phase":"accepted","stage":"restart_required","taken":["b"],"sent_until":"9999-12-31T23:59:59Z"},"quiet":"9999-12-31T23:59:59Z"},"retry":{"attempts":-7,"next_attempt":"9999-12-31T23:59:59Z","last":{}},"settles_at":"0001-01-01T00:00:00Z","adopted":{}}`,
	`{"schema":1,"connection":"conn","provider":"remote","target":{"names":["login"],"identities":["remote|login"],"username":"login","settings":{"login":"login"}},"options":{"max_read_ttl":0},"record":{"next":{"version":1,"value":"Test2","phase":"unknown"}},"retry":{"next_attempt":"9999-12-31T23:59:59Z"}}`,
}

// tried is the lockout of the remote system: five refusals in a row lock the key.
var tried = provider.Lockout{Credential: "remote|key", Refusals: 5}

// entryRig is an engine with a role on a connection, in fake time, and the keys of all its entries.
func entryRig(t *testing.T) (r *rig, keys []string) {
	t.Helper()
	r = &rig{T: t, remote: &remote{passwords: map[string]string{}, lockout: tried}, storage: &counted{Storage: &logical.InmemStorage{}}}
	r.start()
	url, key := "https://remote.example", "Test-Key.4711"
	require.NoError(t, r.engine.WriteConnection(t.Context(), r.storage, "conn", Patch{
		Provider: ptr("remote"), Address: &url, AllowedRoles: &[]string{"*"}, Settings: provider.Settings{"key": key},
	}))
	r.mustCreate(nil)
	r.engine.Stop()
	return r, []string{
		rolePrefix + "role", connectionPrefix + "conn", pausePrefix + "conn", targetKey("remote|login"), settingsKey,
		guardKey(tried, Connection{Name: "conn"}),
	}
}

// Whatever stands in storage, no request and no work of the engine's own panics or hangs on it, nothing that a newer version
// wrote is touched, and a count of refusals that leaves no try is heeded.
func FuzzStoredEntry(f *testing.F) {
	for which := range uint8(6) {
		for _, entry := range hostileEntries {
			f.Add(which, []byte(entry))
		}
	}
	for which, entry := range writtenEntries(f) {
		f.Add(which, entry)
	}
	f.Fuzz(func(t *testing.T, which uint8, stored []byte) {
		synctest.Test(t, func(t *testing.T) {
			r, keys := entryRig(t)
			key := keys[int(which)%len(keys)]
			require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: stored}))
			calls := r.remote.count()
			providertest.Bounded(t, len(stored), func() { r.useAll() })

			if found := r.log.lines("panic"); len(found) > 0 {
				t.Fatalf("%s holds %q: %s", key, stored, found)
			}
			after, err := r.storage.Storage.Get(t.Context(), key)
			require.NoError(t, err)
			if newerSchema(stored) && (after == nil || !bytes.Equal(after.Value, stored)) {
				t.Fatalf("%s of a newer version was changed: %q", key, stored)
			}
			var counted tries
			if strings.HasPrefix(key, guardPrefix) && json.Unmarshal(stored, &counted) == nil && spent(counted) && r.remote.count()+r.remote.checked() > calls+1 {
				t.Fatalf("%d calls after %q", r.remote.count()+r.remote.checked()-calls, stored)
			}
		})
	})
}

// useAll makes every request once, after a restart, and then lets an hour pass.
func (r *rig) useAll() {
	r.engine = New(Config{
		Types: []provider.Type{r.remote}, Policies: r,
		Logger: hclog.New(&hclog.LoggerOptions{Output: &r.log, Level: hclog.Trace}),
	})
	r.engine.Start(r.storage)
	defer r.engine.Stop()
	synctest.Wait()
	ctx, cancel := context.WithTimeout(r.Context(), time.Hour) // of the bubble
	defer cancel()
	report, err := r.engine.Read(ctx, r.storage, "role")
	if err == nil && (report.TTL < time.Second || report.View.State == "") {
		r.Fatalf("a reader is told the state %q and the ttl %v", report.View.State, report.TTL)
	}
	// What the others answer depends on what is stored; only that they do is asked here.
	_, _ = r.engine.Explain(ctx, r.storage, "role")
	_, _, _ = r.engine.ReadConnection(ctx, r.storage, "conn")
	_, _ = r.engine.ReadSettings(ctx, r.storage)
	_, _ = r.engine.Roles(ctx, r.storage)
	_, _ = r.engine.Update(ctx, r.storage, "role", func(role *Role) (Options, provider.Settings, error) { return role.Options, nil, nil })
	report, err = r.engine.Rotate(ctx, r.storage, "role", 0)
	if err == nil && report.View.State == credential.StateActive && report.View.Password.Value != r.remote.holds(report.Role.Target.Username) {
		r.Fatal("another password than the one set counts as confirmed")
	}
	_, _ = r.engine.SetPassword(ctx, r.storage, "role", "Chosen0by0Hand")
	_, _ = r.engine.Confirm(ctx, r.storage, "role", Word{Version: 1})
	time.Sleep(time.Hour) // of the bubble
	_ = r.engine.Delete(ctx, r.storage, "role", true)
	_ = r.engine.DeleteConnection(ctx, r.storage, "conn")
}

// writtenEntries are what the engine itself writes, by the number of the key.
func writtenEntries(f *testing.F) map[uint8][]byte {
	f.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	record, err := credential.Record{}.Make("Test1Password1Test", "first", false, now)
	require.NoError(f, err)
	target := provider.Target{Names: []string{"login"}, Identities: []string{"remote|login"}, Username: "login", Settings: provider.Settings{"login": "login"}}
	out := map[uint8][]byte{}
	for which, value := range map[uint8]any{
		0: Role{Schema: 1, Connection: "conn", Provider: "remote", Target: target, Options: options(), Record: record.Send(now.Add(time.Minute), 0).Unresolved()},
		1: Connection{Schema: 1, Provider: "remote", Address: "https://remote.example", Settings: provider.Settings{"key": "Test-Key.4711"},
			AllowedRoles: []string{"*"}, AllowedTargets: []string{"*"}, RequestTimeout: 30, MaxInFlight: 10, Revision: 1},
		2: Pause{Schema: 1, Revision: 1, Since: now, Code: "1001", Reason: "refused", Probes: 1, NextProbe: now.Add(time.Hour)},
		3: owner{Schema: 1, Role: "role", Identity: "remote|login", Quiet: now},
		4: Settings{Schema: 1, CatchUpLimit: DefaultCatchUpLimit},
		5: tries{Schema: 1, Refused: 1, Open: 1, Last: now, Hold: now.Add(time.Hour)},
	} {
		entry, err := json.Marshal(value)
		require.NoError(f, err)
		out[which] = entry
	}
	return out
}

// newerSchema tells whether an entry says that it is of a newer version.
func newerSchema(stored []byte) bool {
	if bytes.HasPrefix(stored, ownHead) { // whatever else it says
		return false
	}
	number, ok := providertest.Decoded(stored)["schema"].(json.Number)
	schema, err := number.Int64()
	return ok && err == nil && schema > schemaVersion && schema <= math.MaxInt32
}

// spent tells whether one more refusal locks the key.
func spent(t tries) bool {
	return t.Refused >= tried.Refusals-1 && t.Open >= 0 && t.Schema <= schemaVersion
}
