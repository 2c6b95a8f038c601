package role

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider/providertest"
)

// Nothing beside the password itself recognizes it, and after a rotation nothing does.
func TestAdoptedPasswordIsRecognizedUntilReplaced(t *testing.T) {
	t.Parallel()
	r := &Role{Adopted: &struct{}{}, Record: credential.Record{}.Adopt("a password", "adopted", now)}
	require.Equal(t, AdoptedVersion, r.Record.Current.Version)
	for password, want := range map[string]bool{"a password": true, "": false, "a passwor": false, "a password ": false, "A password": false} {
		is, known := r.AdoptedIs(password)
		require.True(t, known)
		require.Equal(t, want, is, password)
	}
	var err error
	r.Record, err = r.Record.Make("another", "test", false, now)
	require.NoError(t, err)
	_, known := r.AdoptedIs("another")
	require.True(t, known, "it is not in force yet")
	r.Record = r.Record.Send(now, 0).Applied(now, false)
	for _, password := range []string{"a password", "another"} {
		is, known := r.AdoptedIs(password)
		require.False(t, is || known, password)
	}
	generated := &Role{Record: credential.Record{}.Adopt("a password", "generated", now)}
	is, known := generated.AdoptedIs("a password")
	require.False(t, is || known, "the role was not created with a password")
}

func TestDigestOfOlderVersionIsDropped(t *testing.T) {
	t.Parallel()
	var r Role
	require.NoError(t, json.Unmarshal([]byte(`{"schema":1,"adopted":{"salt":"BwcHBw==","sum":"c3Vt"}}`), &r))
	require.NotNil(t, r.Adopted)
	stored, err := json.Marshal(r)
	require.NoError(t, err)
	require.Contains(t, string(stored), `"adopted":{}`)
}

// Whatever of a role is printed, no password is.
func TestRoleIsHiddenFromFmt(t *testing.T) {
	t.Parallel()
	const secret = "Test-" + providertest.Canary + "-Passw0rd"
	record := credential.Record{}
	for range 4 { // one each in force, before, in the history, and next
		var err error
		record, err = record.Make(secret, "test", false, now)
		require.NoError(t, err)
		record = record.Send(now, 0).Unresolved()
		if record.Current == nil || record.Previous == nil || len(record.History) == 0 {
			record = record.Applied(now, false)
		}
	}
	record, err := record.Make(secret, "test", true, now)
	require.NoError(t, err)
	require.NotEmpty(t, record.Candidates)
	role := Role{Name: "web1", Record: record}
	providertest.RequireSecretFree(t, role, &role, []Role{role}, []*Role{&role}, map[string]*Role{"web1": &role}, role.Next(now, Env{}))
}

// Time settles a queued password, and says when the next one is due.
func TestQueuedPasswordSettlesByTime(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	queued := func() *Role { return given("queued", due(-hour)) }

	r := queued()
	r.Refresh(in(settles - time.Nanosecond))
	require.False(t, r.Settled())
	require.Equal(t, queued(), r)

	for _, late := range []time.Duration{0, hour} {
		r = queued()
		r.Refresh(in(settles + late))
		require.True(t, r.Settled())
		require.Nil(t, r.Record.Next)
		require.Equal(t, in(settles), r.Record.Current.Since, "not when someone looked")
		require.Equal(t, credential.BasisTime, r.Record.Current.Basis)
		require.Equal(t, in(settles+24*hour), r.Due)
		require.Zero(t, r.SettlesAt)
		require.Zero(t, r.QueuedUntil())

		before := *r
		r.Refresh(in(settles + 2*hour))
		require.Equal(t, &before, r, "once")
		r.Stored()
		require.False(t, r.Settled())
	}

	r = queued()
	r.Options.HistorySize = 0
	r.Record.History = []credential.Past{{Password: credential.Password{Version: 7}, State: credential.ListedOld}}
	r.SettleByTime(in(settles))
	require.Empty(t, r.Record.History, "what is too old is dropped")

	r = given("active", due(hour)) // an operator has settled it
	r.SettlesAt = in(-hour)
	r.SettleByTime(now)
	require.True(t, r.Settled(), "storage still has the time")
	require.Zero(t, r.SettlesAt)
	require.Equal(t, in(hour), r.Due)
	require.Equal(t, given("active").Record, r.Record)

	r = given("queued")
	r.SettlesAt = time.Time{} // a damaged entry
	r.Refresh(in(hour))
	require.False(t, r.Settled())
	require.Zero(t, r.QueuedUntil())
}

// Older versions stored no due time.
func TestMissingDueTimeIsDerivedAhead(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		role    *Role
		due     time.Duration
		derived bool
	}{
		"period":         {given("active", due(0)), day, true}, // the last rotation was a day ago
		"schedule":       {given("active", schedule(toCome, 0)), 3 * time.Hour, true},
		"schedule, over": {given("active", schedule(missed, 0)), day - 3*time.Hour, true},
		"never":          {given("active", schedule(never, 0)), 0, false},
		"by hand":        {given("active"), 0, false},
		"no password":    {given("no password", due(0)), 0, false},
		"first asked":    {given("first asked", due(0)), 0, false},
		"unknown":        {given("unknown", due(0)), day, true},
	} {
		c.role.Due = time.Time{}
		c.role.Refresh(now)
		want := time.Time{}
		if c.derived {
			want = in(c.due)
		}
		require.Equal(t, want, c.role.Due, name)
		require.Equal(t, c.derived, c.role.derived, name)
		require.False(t, c.role.Settled(), name)
		c.role.Stored()
		require.False(t, c.role.derived, name)
	}
	r := given("active", due(-time.Hour))
	r.Refresh(now)
	require.Equal(t, in(-time.Hour), r.Due, "one that is stored stays")
	require.False(t, r.derived)
}

func TestFirstReadMakesPasswordDue(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, c := range map[string]struct {
		role *Role
		due  time.Duration // zero: by hand
	}{
		"by hand":              {given("active"), 0},
		"read":                 {given("active", read(-time.Minute)), 59 * time.Minute},
		"read, period earlier": {given("active", due(time.Minute), read(0)), time.Minute},
		"read, period later":   {given("active", due(24*hour), read(0)), hour},
		"not read":             {given("active", due(24*hour)), 24 * hour},
		"option is off":        {given("active", due(24*hour), read(-hour), func(r *Role) { r.Options.RotateAfterRead = 0 }), 24 * hour},
	} {
		want := time.Time{}
		if c.due != 0 {
			want = in(c.due)
		}
		require.Equal(t, want, c.role.DueTime(), name)
	}

	r := given("active", due(24*hour))
	r.Options.RotateAfterRead = 60
	current := r.Record.Current
	r.FirstRead(current.Version+1, current.Created, now)
	r.FirstRead(current.Version, current.Created.Add(time.Second), now) // a role of the same name, made anew
	require.Equal(t, r.Due, r.DueTime(), "of another password")
	r.FirstRead(current.Version, current.Created.In(time.FixedZone("Tokyo", 9*60*60)), now)
	require.Equal(t, in(time.Minute), r.DueTime())
	given("no password").FirstRead(1, now, now) // the password is gone
}

// What storage has is the last first read, of whichever password that was.
func TestFirstReadIsOfOnePassword(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	afterRead := func(r *Role) { r.Options.RotateAfterRead = 60 * 60 }
	r := given("active", due(24*hour), afterRead)
	first := r.Record.Current.Password
	require.False(t, r.FirstRead(first.Version+1, first.Created, now), "another version")
	require.False(t, r.FirstRead(first.Version, first.Created.Add(time.Nanosecond), now), "the same version of another role of that name")
	require.Equal(t, in(24*hour), r.DueTime())
	require.True(t, r.FirstRead(first.Version, first.Created, now))
	require.Equal(t, in(hour), r.DueTime())
	require.False(t, r.FirstRead(first.Version, first.Created, now), "it is known already")
	require.Equal(t, in(hour), r.DueTime())
	require.True(t, r.FirstRead(first.Version, first.Created, in(-time.Minute)), "another reader was earlier")
	require.Equal(t, in(59*time.Minute), r.DueTime())

	replaced, err := r.Record.Make("another", byRequest, false, now)
	require.NoError(t, err)
	r.Record = replaced.Send(in(sentFor), 0).Applied(now, false)
	require.Equal(t, in(24*hour), r.DueTime(), "the password that was read has been replaced")
	require.False(t, r.FirstRead(first.Version, first.Created, in(time.Minute)), "the replaced one")
	require.Equal(t, in(24*hour), r.DueTime())
	require.True(t, r.FirstRead(r.Record.Current.Version, r.Record.Current.Created, in(2*hour)))
	require.Equal(t, in(3*hour), r.DueTime())

	// Readers get the first password while the remote system still has it in its queue.
	r = given("first queued", afterRead)
	queued := r.Record.View(now).Password
	require.NotNil(t, queued)
	require.False(t, r.FirstRead(queued.Version, queued.Created, in(time.Minute)), "it is not in force yet")
	require.Zero(t, r.DueTime())
	r.SettleByTime(in(settles))
	require.Equal(t, in(time.Minute+hour), r.DueTime(), "it is due an hour after it was read, not after it came into force")
	require.False(t, r.FirstRead(queued.Version, queued.Created, in(time.Minute)), "it is known already")
}

func TestLastRotationIsWhenPasswordCameIntoForce(t *testing.T) {
	t.Parallel()
	for situation, want := range map[string]time.Time{
		"no password":   {},
		"first sending": {},
		"active":        in(lastRotation),
		"assumed":       in(lastRotation),
		"unknown":       in(lastRotation),
		"first queued":  now, // when it was made
		"drifted":       in(lastRotation),
	} {
		require.Equal(t, want, LastRotation(given(situation).Record.View(now)), situation)
	}
}

// The entry of a role is stored as earlier versions wrote it, without what is only known in memory.
func TestRoleIsStoredWithoutItsName(t *testing.T) {
	t.Parallel()
	r := given("queued", due(-time.Hour), read(0), busy(0))
	r.Refresh(in(settles))
	stored, err := json.Marshal(r)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(stored, &fields))
	require.ElementsMatch(t, []string{"schema", "connection", "provider", "target", "options", "record", "retry", "due"}, keys(fields))
	var again Role
	require.NoError(t, json.Unmarshal(stored, &again))
	again.Name = r.Name
	r.Stored()
	r.read = firstRead{}
	require.Equal(t, r, &again)
}

func keys(fields map[string]any) []string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	return names
}
