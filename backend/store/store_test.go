package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/lockout"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/storagetest"
	"vault-plugin-secrets-hosting/backend/timing"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// kind is one kind of entry.
type kind struct {
	key string
	// put stores one, and get returns it, with its error.
	put func(ctx context.Context, s Store) error
	get func(ctx context.Context, s Store) (any, error)
	// want is what get returns of it, and none what it returns if there is no entry.
	want, none any
}

func kinds() map[string]kind {
	c := connection.Connection{Name: "conn", Provider: "remote", Settings: provider.Settings{"key": "secret"}, Revision: 3}
	r := role.Role{Name: "role", Connection: "conn", Provider: "remote", Target: provider.Target{Identities: []string{"id"}}, Due: now}
	pause := connection.Pause{Revision: 3, Since: now, Reason: "refused"}
	freeze := role.Freeze{Since: now, Reason: "a release"}
	attempts := lockout.Attempts{Refused: 1, Unanswered: 2, Last: now, Hold: now}
	owner := Owner{Role: "role", Identity: "id", NotBefore: now, OldTries: credential.OldTries{Until: now}}
	read := FirstRead{Version: 2, Created: now, Time: now}
	wantConnection, wantRole, wantPause, wantFreeze := c, r, pause, freeze
	wantAttempts, wantOwner, wantRead := attempts, owner, read
	for _, schema := range []*int{
		&wantConnection.Schema, &wantRole.Schema, &wantPause.Schema, &wantFreeze.Schema, &wantAttempts.Schema, &wantOwner.Schema, &wantRead.Schema,
	} {
		*schema = Schema
	}
	return map[string]kind{
		"connection": {
			"config/conn", func(ctx context.Context, s Store) error { return s.PutConnection(ctx, &c) },
			func(ctx context.Context, s Store) (any, error) { return s.Connection(ctx, "conn") }, &wantConnection, (*connection.Connection)(nil),
		},
		"role": {
			"role/role", func(ctx context.Context, s Store) error { return s.PutRole(ctx, &r) },
			func(ctx context.Context, s Store) (any, error) { return s.Role(ctx, "role") }, &wantRole, (*role.Role)(nil),
		},
		"pause": {
			"pause/conn", func(ctx context.Context, s Store) error { return s.PutPause(ctx, "conn", &pause) },
			func(ctx context.Context, s Store) (any, error) { return s.Pause(ctx, "conn") }, &wantPause, (*connection.Pause)(nil),
		},
		"attempts": {
			"guard/key", func(ctx context.Context, s Store) error { return s.PutAttempts(ctx, "key", attempts) },
			func(ctx context.Context, s Store) (any, error) { return s.Attempts(ctx, "key") }, wantAttempts, lockout.Attempts{},
		},
		"owner": {
			TargetKey("", "id"), func(ctx context.Context, s Store) error { return s.PutOwner(ctx, owner) },
			func(ctx context.Context, s Store) (any, error) {
				_, o, err := s.OwnerOf(ctx, "", "id", nil)
				return o, err
			}, wantOwner, Owner{},
		},
		"freeze": {
			"freeze", func(ctx context.Context, s Store) error { return s.PutFreeze(ctx, &freeze) },
			func(ctx context.Context, s Store) (any, error) { return s.Freeze(ctx) }, &wantFreeze, (*role.Freeze)(nil),
		},
		"heartbeat": {
			"heartbeat", func(ctx context.Context, s Store) error { return s.PutHeartbeat(ctx, now) },
			func(ctx context.Context, s Store) (any, error) { return s.Heartbeat(ctx) }, now, time.Time{},
		},
		"settings": {
			"settings", func(ctx context.Context, s Store) error { return s.PutSettings(ctx, Settings{CatchUpLimit: 60}) },
			func(ctx context.Context, s Store) (any, error) { return s.Settings(ctx) },
			Settings{Schema: Schema, CatchUpLimit: 60}, Settings{CatchUpLimit: 86400, MinPasswordBits: 64},
		},
		"first read": {
			"read/role", func(ctx context.Context, s Store) error { return s.PutFirstRead(ctx, "role", read) },
			func(ctx context.Context, s Store) (any, error) { return s.FirstRead(ctx, "role") }, wantRead, FirstRead{},
		},
	}
}

// eachKind runs a test for each kind of entry, on empty storage.
func eachKind(t *testing.T, test func(t *testing.T, s Store, k kind)) {
	t.Helper()
	for name, k := range kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, Store{&logical.InmemStorage{}}, k)
		})
	}
}

// write stores a value under a key as it is.
func (s Store) write(t *testing.T, key, value string) {
	t.Helper()
	require.NoError(t, s.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte(value)}))
}

func (s Store) value(t *testing.T, key string) string {
	t.Helper()
	entry, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.NotNil(t, entry)
	return string(entry.Value)
}

func TestEntriesAreReadAsStored(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s Store, k kind) {
		got, err := k.get(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, k.none, got)
		require.NoError(t, k.put(t.Context(), s))
		value := s.value(t, k.key)
		require.True(t, strings.HasPrefix(value, `{"schema":1,`), "%s: such entries are decoded once", value)
		got, err = k.get(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, k.want, got)
		require.NoError(t, s.Remove(t.Context(), k.key))
		got, err = k.get(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, k.none, got)
	})
}

func TestEntryOfNewerVersionIsRefused(t *testing.T) {
	t.Parallel()
	for _, form := range []string{
		`{"schema":2,"reason":"r"}`, `{"reason":"r","schema":2}`, `{ "schema" : 2 }`, `{"schema":10,"catch_up_limit":60}`, `{"schema":4711,"record":"another form"}`,
	} {
		eachKind(t, func(t *testing.T, s Store, k kind) {
			s.write(t, k.key, form)
			requireNewer := func(err error) {
				t.Helper()
				require.ErrorContains(t, err, "newer version", form)
				require.ErrorContains(t, err, k.key)
				require.Equal(t, form, s.value(t, k.key), "the entry is left alone")
			}
			_, err := k.get(t.Context(), s)
			requireNewer(err)
			requireNewer(s.Removable(t.Context(), "absent", k.key))
			requireNewer(s.Remove(t.Context(), k.key))
		})
	}
}

// The heartbeat is written without being read first.
func TestHeartbeatOfNewerVersionIsKept(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	s.write(t, HeartbeatKey, `{"schema":2,"time":"2030-01-01T00:00:00Z"}`)
	require.ErrorContains(t, s.PutHeartbeat(t.Context(), now), "newer version")
	require.JSONEq(t, `{"schema":2,"time":"2030-01-01T00:00:00Z"}`, s.value(t, HeartbeatKey))
	s.write(t, HeartbeatKey, "damaged")
	require.NoError(t, s.PutHeartbeat(t.Context(), now))
	got, err := s.Heartbeat(t.Context())
	require.NoError(t, err)
	require.Equal(t, now, got)
}

// The error names the entry, and quotes nothing of it.
func TestDamagedEntryIsAnError(t *testing.T) {
	t.Parallel()
	const secret = providertest.Canary
	for _, form := range []string{
		secret, `{"schema":1,` + secret, `{"schema":1,"role":"` + secret, `{"schema":"` + secret + `"}`, `["` + secret + `"]`, `"` + secret + `"`,
		`{"schema":1,"settings":"` + secret + `","record":"` + secret + `","since":"` + secret + `","refused":"` + secret + `","role":["` + secret + `"],"time":"` + secret + `","catch_up_limit":"` + secret + `"}`,
	} {
		eachKind(t, func(t *testing.T, s Store, k kind) {
			s.write(t, k.key, form)
			_, err := k.get(t.Context(), s)
			require.ErrorContains(t, err, "damaged", form)
			require.ErrorContains(t, err, k.key)
			require.NotContains(t, err.Error(), secret)
			require.Equal(t, form, s.value(t, k.key), "the entry is left alone")
			require.NoError(t, s.Remove(t.Context(), k.key), "an operator can remove it")
		})
	}
}

// Unknown fields are those of a version that knows how to do without them.
func TestEntriesOfThisSchemaAreRead(t *testing.T) {
	t.Parallel()
	for _, form := range []string{`{"schema":1,"unknown":7}`, `{"unknown":7,"schema":1}`, `{"schema":0}`, `{}`} {
		eachKind(t, func(t *testing.T, s Store, k kind) {
			s.write(t, k.key, form)
			_, err := k.get(t.Context(), s)
			require.NoError(t, err, form)
		})
	}
}

func TestStorageErrorsAreReturned(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s Store, k kind) {
		storage := storagetest.New(s.Storage)
		s.Storage = storage
		require.NoError(t, k.put(t.Context(), s))
		storage.Arm(1, storagetest.Down, nil)
		_, err := k.get(t.Context(), s)
		require.ErrorIs(t, err, storagetest.ErrFault)
		require.ErrorContains(t, err, k.key)
		require.ErrorIs(t, k.put(t.Context(), s), storagetest.ErrFault)
		require.ErrorIs(t, s.Remove(t.Context(), k.key), storagetest.ErrFault)
		storage.Heal()
		got, err := k.get(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, k.want, got)
	})
}

// The names of a connection and of a role are those of their keys.
func TestNamesAreNotStored(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	require.NoError(t, s.PutConnection(t.Context(), &connection.Connection{Name: "nameofconn"}))
	require.NoError(t, s.PutRole(t.Context(), &role.Role{Name: "nameofrole"}))
	require.NotContains(t, s.value(t, "config/nameofconn"), "nameofconn")
	require.NotContains(t, s.value(t, "role/nameofrole"), "nameofrole")
}

func TestEncodingErrorQuotesNothing(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	err := s.PutConnection(t.Context(), &connection.Connection{Name: "conn", Settings: provider.Settings{"key": func() {}}})
	require.EqualError(t, err, "encoding config/conn for storage failed")
	var unsupported *json.UnsupportedTypeError
	require.NotErrorAs(t, err, &unsupported, "its text could hold values")
}

func TestDamagedAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	s := Store{&logical.InmemStorage{}}
	s.write(t, "guard/key", `{"schema":1,"refused":-5,"open":99999999}`)
	a, err := s.Attempts(t.Context(), "key")
	require.NoError(t, err)
	require.Equal(t, a.Bounded(), a)
	require.Positive(t, a.Refused)
	require.Less(t, a.Unanswered, 99999999)
}

func TestFirstReadIdentifiesItsPassword(t *testing.T) {
	t.Parallel()
	read := FirstRead{Version: 2, Created: now}
	for name, row := range map[string]struct {
		password *credential.Password
		want     bool
	}{
		"the same":                      {&credential.Password{Version: 2, Created: now}, true},
		"in another zone":               {&credential.Password{Version: 2, Created: now.In(time.FixedZone("", 3600))}, true},
		"none":                          {nil, false},
		"another version":               {&credential.Password{Version: 3, Created: now}, false},
		"of a role of that name before": {&credential.Password{Version: 2, Created: now.Add(1)}, false},
	} {
		require.Equal(t, row.want, read.Of(row.password), name)
	}
}

// Prefixes are part of the stored format. Vault seal-wraps a prefix only if it ends in a slash.
func TestSecretsAreSealWrapped(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"config/", "role/"}, SealWrapped())
	for _, prefix := range SealWrapped() {
		require.True(t, strings.HasSuffix(prefix, "/"), prefix)
	}
	s := Store{&logical.InmemStorage{}}
	for name, k := range kinds() {
		require.NoError(t, k.put(t.Context(), s), name)
		holdsSecrets := name == "connection" || name == "role"
		wrapped := false
		for _, prefix := range SealWrapped() {
			wrapped = wrapped || strings.HasPrefix(k.key, prefix)
		}
		require.Equal(t, holdsSecrets, wrapped, name)
	}
	keys, err := logical.CollectKeys(t.Context(), s.Storage)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		"config/conn", "role/role", "pause/conn", "guard/key", "read/role", "freeze", "heartbeat", "settings",
		"target/" + fmt.Sprintf("%x", sha("id")),
	}, keys)
}

// v0.1.0 stored catch_up_limit only.
func TestSettingsOfOlderVersionGetDefaults(t *testing.T) {
	s := Store{Storage: &logical.InmemStorage{}}
	require.NoError(t, s.Put(t.Context(), &logical.StorageEntry{Key: SettingsKey, Value: []byte(`{"schema":1,"catch_up_limit":172800}`)}))
	settings, err := s.Settings(t.Context())
	require.NoError(t, err)
	require.Equal(t, Settings{Schema: 1, CatchUpLimit: 172800, MinPasswordBits: 64}, settings)
	settings.MinPasswordBits = 0
	require.NoError(t, s.PutSettings(t.Context(), settings))
	settings, err = s.Settings(t.Context())
	require.NoError(t, err)
	require.Zero(t, settings.MinPasswordBits, "0 is a value of its own")
}

func TestSettingsAreBounded(t *testing.T) {
	valid := Settings{CatchUpLimit: 60, MinRotationInterval: timing.LongestOption, MaxRolesPerConnection: maxMaxRoles, MinPasswordBits: 128, AllowedHosts: provider.Hosts{"*.example.com"}}
	require.NoError(t, valid.Validate())
	for want, change := range map[string]func(*Settings){
		"catch_up_limit":           func(s *Settings) { s.CatchUpLimit-- },
		"min_rotation_interval":    func(s *Settings) { s.MinRotationInterval++ },
		"max_roles_per_connection": func(s *Settings) { s.MaxRolesPerConnection++ },
		"min_password_bits":        func(s *Settings) { s.MinPasswordBits++ },
		"allowed_hosts":            func(s *Settings) { s.AllowedHosts = provider.Hosts{"https://example.com"} },
	} {
		wrong := valid
		change(&wrong)
		require.ErrorContains(t, wrong.Validate(), want)
	}
	for want, wrong := range map[string]Settings{
		"min_rotation_interval": {CatchUpLimit: 60, MinRotationInterval: -1}, "max_roles_per_connection": {CatchUpLimit: 60, MaxRolesPerConnection: -1},
		"min_password_bits": {CatchUpLimit: 60, MinPasswordBits: -1},
	} {
		require.ErrorContains(t, wrong.Validate(), want)
	}
}
