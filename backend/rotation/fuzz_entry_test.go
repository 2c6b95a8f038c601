package rotation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/store"
)

// fuzzedKeys are the keys of the entries that are fuzzed.
var fuzzedKeys = []string{
	roleKey, fuzzedConn, store.PausePrefix + "conn", store.TargetKey("", "remote|login"), store.SettingsKey, guardOf("key"),
	store.FreezeKey, store.HeartbeatKey, store.ReadPrefix + "role",
}

const (
	fuzzedConn = store.ConnectionPrefix + "conn"
	// fuzzedSecret is the key of the stored connection.
	fuzzedSecret = "Test-Key.4711"
)

// hostileEntries may stand at any key, in addition to what the engine writes there.
var hostileEntries = []string{
	``, `{`, `null`, `[]`, `7`, `"x"`, `{}`, `{"schema":1}`, `{"schema":2}`, `{"schema":-1}`, `{"schema":1e9,"record":7}`, `{"schema":"1"}`, "\x00\xff",
	`{"schema":2,"refused":"many","record":[],"settings":[]}`, strings.Repeat("[", 300), strings.Repeat(`{"record":`, 300),
	// connections
	`{"schema":1,"provider":"remote","address":"https://remote.example","settings":{"key":"Test-Key.4711"},"allowed_roles":["*"],"allowed_targets":["*"],"request_timeout":30,"max_in_flight":9007199254740993,"revision":-1}`,
	`{"schema":1,"provider":"gone","settings":null}`, `{"schema":1,"provider":"remote","address":"https://remote.example","settings":{"key":7,"note":[{}]},"request_timeout":9223372036854775807,"max_in_flight":-1}`,
	`{"schema":1,"provider":"remote","address":7,"settings":{"key":"Test-Key.4711"}}`, `{"schema":1,"provider":"remote","settings":{"key":"Test-Key.4711"},"allowed_roles":["*"`,
	// lockout guards and pauses
	`{"schema":1,"refused":9223372036854775807,"open":9223372036854775807,"last":"9999-12-31T23:59:59Z","hold":"9999-12-31T23:59:59Z"}`, `{"schema":1,"refused":-9223372036854775808,"open":-1}`,
	`{"schema":1,"refused":5,"open":1}`, `{"schema":1,"open":4,"last":"2000-01-01T00:00:00Z"}`, `{"schema":1,"refused":9223372036854775807,"open":1}`,
	`{"schema":1,"revision":1,"since":"0001-01-01T00:00:00Z","code":"1001","reason":"x","probes":9223372036854775807,"next_probe":"0001-01-02T00:00:00Z"}`,
	// index entries of targets, and entries of the mount
	`{"schema":1,"role":"role","identity":"remote|login","quiet":"9999-12-31T23:59:59Z","old_tries":{"count":-1,"left":-1}}`, `{"schema":1,"role":"other","identity":"remote|login"}`,
	`{"schema":1,"catch_up_limit":-1}`, `{"schema":1,"catch_up_limit":9223372036854775807}`, `{"schema":1,"time":"9999-12-31T23:59:59Z"}`, `{"schema":1,"time":"0001-01-01T00:00:00Z"}`,
	`{"schema":1,"since":"9999-12-31T23:59:59Z","until":"0001-01-01T00:00:00Z","reason":""}`, `{"schema":1,"version":-1,"created":"9999-12-31T23:59:59Z","time":"0001-01-01T00:00:00Z"}`,
	// roles
	`{"schema":1,"connection":"conn","provider":"remote","target":{"names":["login"],"identities":["remote|login"],"username":"login","settings":{"login":"login"}},"options":{"rotation_schedule":"TZ=","max_read_ttl":-5,"history_size":-1,"rotate_after_read":-1},"record":{"current":{"version":1,"value":"Test1"},"next":{"version":1,"value":"Test2","phase":"unknown"},"candidates":[{"version":-1,"why":"staged","stage":"accepted"}]},"due":"0001-01-01T00:00:00Z"}`,
	`{"schema":1,"connection":"conn","target":{"identities":["remote|login"],"parts":["a","a"],"settings":null},"record":{"next":{"version":9223372036854775807,"phase":"accepted","stage":"restart_required","taken":["b"],"sent_until":"9999-12-31T23:59:59Z"},"quiet":"9999-12-31T23:59:59Z"},"retry":{"attempts":-7,"next_attempt":"9999-12-31T23:59:59Z","last":{}},"settles_at":"0001-01-01T00:00:00Z","adopted":{}}`,
	`{"schema":1,"connection":"conn","provider":"remote","target":{"names":["login"],"identities":["remote|login"],"username":"login","settings":{"login":"login"}},"options":{"max_read_ttl":0},"record":{"next":{"version":1,"value":"Test2","phase":"unknown"}},"retry":{"next_attempt":"9999-12-31T23:59:59Z"}}`,
}

// Whatever an entry in storage contains, neither a request nor the engine's own work panics, hangs or shows a secret because
// of it. An entry of a newer version is not changed, and a credential without attempts left is not used.
func FuzzStoredEntry(f *testing.F) {
	for which := range fuzzedKeys {
		for _, entry := range hostileEntries {
			f.Add(uint8(which), []byte(entry))
		}
	}
	for which, entry := range writtenEntries(f) {
		f.Add(which, entry)
	}
	f.Fuzz(func(t *testing.T, which uint8, stored []byte) {
		synctest.Test(t, func(t *testing.T) {
			r, key := newRig(t), fuzzedKeys[int(which)%len(fuzzedKeys)]
			r.remote.lockout = provider.Lockout{Credential: lockedKey("key"), Refusals: 5}
			r.start()
			r.createConnection("conn", fuzzedSecret)
			r.createDue(time.Hour, func(o *role.Options) { o.RotateAfterRead = 600 })
			r.engine.Stop()
			require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: stored}))
			calls := r.remote.changeCount() + r.remote.checkCount()

			var errs []error
			providertest.Bounded(t, len(stored), func() { errs = r.useAll() })

			if found := r.log.lines("panic"); len(found) > 0 {
				t.Fatalf("%s holds %q: %s", key, stored, found)
			}
			if said := fmt.Sprint(errs); hasSecret(key, stored) && (strings.Contains(said, fuzzedSecret) || len(r.log.lines(fuzzedSecret)) > 0) {
				t.Fatalf("%s holds %q: an error or the log shows the secret", key, stored)
			}
			after, err := r.storage.Get(t.Context(), key)
			require.NoError(t, err)
			if newerSchema(stored) && (after == nil || !bytes.Equal(after.Value, stored)) {
				t.Fatalf("%s of a newer version was changed: %q", key, stored)
			}
			if now := r.remote.changeCount() + r.remote.checkCount(); key == guardOf("key") && spent(stored) && now > calls {
				t.Fatalf("%d calls after %q", now-calls, stored)
			}
		})
	})
}

// useAll makes every request once, after a restart, and lets an hour pass before it deletes everything. It returns the errors.
func (r *rig) useAll() (errs []error) {
	r.start()
	defer func() { r.engine.Stop() }()
	ctx, cancel := context.WithTimeout(r.Context(), time.Hour) // in the bubble
	defer cancel()
	did := func(_ any, err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	report, err := r.engine.Read(ctx, r.storage, "role")
	did(report, err)
	if err == nil && (report.TTL < time.Second || report.View.State == "") {
		r.Fatalf("a reader gets the state %q and the ttl %v", report.View.State, report.TTL)
	}
	// The answers to the others depend on what is stored.
	did(r.engine.Serve(ctx, r.storage, "role"))
	did(r.engine.Status(ctx, r.storage, "role"))
	did(r.engine.History(ctx, r.storage, "role"))
	did(r.engine.Connections.Read(ctx, r.storage, "conn"))
	did(r.engine.Connections.List(ctx, r.storage))
	did(r.engine.Gate.Settings(ctx, r.storage))
	did(r.engine.Gate.Read(ctx, r.storage))
	did(r.engine.Roles(ctx, r.storage))
	did(r.engine.Update(ctx, r.storage, "role", func(view *roles.View) (role.Options, provider.Settings, error) { return view.Options, nil, nil }))
	report, err = r.engine.Rotate(ctx, r.storage, "role", 0)
	did(report, err)
	if err == nil && report.View.State == credential.StateActive && report.View.Password.Value != r.remote.password(report.Username) {
		r.Fatal("another password than the one that was set counts as active")
	}
	did(r.engine.SetPassword(ctx, r.storage, "role", "Chosen0by0Hand"))
	did(r.engine.Confirm(ctx, r.storage, "role", Confirmation{Version: 1}))
	for range 3 { // each wakes the sweep
		r.engine.Wake()
		advance(20 * time.Minute)
	}
	did(nil, r.engine.Delete(ctx, r.storage, "role", true))
	did(nil, r.engine.Connections.Delete(ctx, r.storage, "conn"))
	return errs
}

// writtenEntries returns what the engine itself writes, by the number of the key.
func writtenEntries(f *testing.F) map[uint8][]byte {
	f.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	record, err := credential.Record{}.Make("Test1Password1Test", "first", false, now)
	require.NoError(f, err)
	target := provider.Target{Names: []string{"login"}, Identities: []string{"remote|login"}, Username: "login", Settings: provider.Settings{"login": "login"}}
	out := map[uint8][]byte{}
	for which, value := range map[uint8]any{
		0: role.Role{Schema: 1, Connection: "conn", Provider: "remote", Target: target, Options: options(), Record: record.Send(now.Add(time.Minute), 0).Unresolved()},
		1: connection.Connection{Schema: 1, Provider: "remote", Settings: provider.Settings{"key": fuzzedSecret}, Revision: 1,
			Options: connection.Options{Address: "https://remote.example", AllowedRoles: []string{"*"}, AllowedTargets: []string{"*"}, RequestTimeout: 30, MaxInFlight: 10}},
		2: connection.Pause{Schema: 1, Revision: 1, Since: now, Code: "1001", Reason: "refused", Probes: 1, NextProbe: now.Add(time.Hour)},
		3: store.Owner{Schema: 1, Role: "role", Identity: "remote|login", NotBefore: now},
		4: store.Settings{Schema: 1, CatchUpLimit: store.DefaultCatchUpLimit},
		5: lockout.Attempts{Schema: 1, Refused: 1, Unanswered: 1, Last: now, Hold: now.Add(time.Hour)},
		6: role.Freeze{Schema: 1, Since: now, Until: now.Add(time.Hour), Reason: "a release"},
		8: store.FirstRead{Schema: 1, Version: 1, Created: now, Time: now},
	} {
		entry, err := json.Marshal(value)
		require.NoError(f, err)
		out[which] = entry
	}
	return out
}

// hasSecret reports whether an entry of a connection has the secret as its key, and nowhere else.
func hasSecret(key string, stored []byte) bool {
	secret := []byte(fuzzedSecret)
	return key == fuzzedConn && bytes.Count(stored, secret) == 1 && bytes.Contains(stored, fmt.Appendf(nil, `"settings":{"key":"%s"`, secret))
}

// newerSchema reports whether an entry says that a newer version wrote it.
func newerSchema(stored []byte) bool {
	if bytes.HasPrefix(stored, fmt.Appendf(nil, `{"schema":%d,`, store.Schema)) { // whatever else it says
		return false
	}
	number, ok := providertest.Decoded(stored)["schema"].(json.Number)
	schema, err := number.Int64()
	return ok && err == nil && schema > store.Schema && schema <= math.MaxInt32
}

// spent reports whether an entry of a guard says that the next refusal locks the credential.
func spent(stored []byte) bool {
	var a lockout.Attempts
	return json.Unmarshal(stored, &a) == nil && a.Refused >= 4 && a.Unanswered >= 0 && a.Schema <= store.Schema
}
