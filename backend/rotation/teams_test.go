package rotation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/store"
)

// Whatever team B writes to connections and roles of its own, and whatever its servers answer, team A's connections make the
// same calls and its roles have the same states as without it.
func TestNoSequenceOfWritesAffectsOtherTeam(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	calls := 0
	for n := range uint64(sequences) {
		alone, attacked := runTeams(t, seed+n, nil), runTeams(t, seed+n, &attacker{})
		// What happens at the same instant may happen in another order, also without team B. What it causes happens again.
		for again := 0; again < 4 && !slices.Equal(alone.story, attacked.story); again++ {
			alone, attacked = runTeams(t, seed+n, nil), runTeams(t, seed+n, &attacker{})
		}
		require.Equal(t, alone.story, attacked.story, "sequence %d of seed %d: team B did\n%s", n, seed, attacked.attack)
		require.Empty(t, attacked.locked, "sequence %d of seed %d", n, seed)
		calls += alone.total
	}
	require.Greater(t, calls, 20*sequences)
}

// At the address and with the logins of team A, team B can cause what the remote system itself would do, but the engine locks
// no login.
func TestNoSequenceOfWritesLocksSharedLogin(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	refused := 0
	for n := range uint64(sequences / 4) {
		w := runTeams(t, seed+n, &attacker{near: true})
		require.Empty(t, w.locked, "sequence %d of seed %d: team B did\n%s", n, seed, w.attack)
		refused += len(w.refused)
	}
	require.Greater(t, refused, sequences/8, "its secrets are refused")
}

// teams is a run of two teams on one mount.
type teams struct {
	*remotes
	storage logical.Storage
	mu      sync.Mutex
	engine  *Engine
	// story is what team A did and saw. total counts its calls.
	story []string
	total int
	// attack is what team B did.
	attack attackStory
}

type attackStory []string

func (s attackStory) String() string { return strings.Join(s, "\n") }

const (
	// runFor is how long a run takes, in fake time.
	runFor = 3 * time.Hour
	// reloadEvery is after how many minutes the plugin is reloaded.
	reloadEvery = 50
)

func runTeams(t *testing.T, seed uint64, b *attacker) (w *teams) {
	t.Helper()
	var story []string
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 1))
		w = &teams{storage: &logical.InmemStorage{}, remotes: &remotes{
			began: time.Now(), random: rand.New(rand.NewPCG(seed, 2)), calls: map[string][]string{}, refused: map[string]refusedInRow{},
		}}
		w.drawFaults(random)
		w.start()
		defer func() { w.now().Stop() }()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.Sleep(time.Duration(random.Int64N(int64(time.Second)))) // so that nothing else happens at the same time by chance
		w.prepare(t)
		var running sync.WaitGroup
		running.Go(func() { w.teamA(ctx, random) })
		if b != nil {
			b.teams, b.random = w, rand.New(rand.NewPCG(seed, 3))
			running.Go(func() { b.attack(ctx) })
		}
		for minute := range int(runFor / time.Minute) {
			w.sleepUntil(time.Duration(minute) * time.Minute)
			w.now().Wake()
			if minute%reloadEvery == reloadEvery-1 {
				w.now().Stop()
				w.sleepUntil(time.Duration(minute)*time.Minute + stopWait + time.Second) // hanging calls may take that long to end
				w.start()
			}
		}
		w.sleepUntil(runFor)
		for _, name := range teamARoles() {
			w.see(name)
		}
		story = w.told()
		cancel()
		running.Wait()
	})
	w.story = story
	return w
}

// sleepUntil waits until this long after the beginning.
func (w *teams) sleepUntil(d time.Duration) { time.Sleep(time.Until(w.began.Add(d))) }

// told returns what team A did and saw, and the calls of its connections.
func (w *teams) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remotes.mu.Lock()
	defer w.remotes.mu.Unlock()
	story := slices.Clone(w.story)
	for _, by := range slices.Sorted(maps(w.calls)) {
		story = append(story, by+strings.Join(w.calls[by], "; "))
		w.total += len(w.calls[by])
	}
	return story
}

func (w *teams) tell(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, fmt.Sprintf("%v ", time.Since(w.began))+fmt.Sprintf(format, args...))
}

func (w *teams) start() {
	e := New(Config{Types: w.types(), Random: steady{}})
	w.mu.Lock()
	w.engine = e
	w.mu.Unlock()
	e.Start(w.storage)
}

func (w *teams) now() *Engine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.engine
}

// drawFaults draws when the systems of team A fail, and how.
func (w *teams) drawFaults(random *rand.Rand) {
	results := []provider.Result{refusedCredential, refusedCredential, throttled(0), throttled(4 * time.Minute), unknown, unreachable, busy}
	for _, host := range slices.Sorted(maps(victimHosts)) {
		for range random.IntN(3) {
			from := time.Duration(random.Int64N(int64(runFor)))
			w.faults = append(w.faults, remoteFault{host, from, from + time.Duration(random.Int64N(int64(15*time.Minute))), results[random.IntN(len(results))]})
		}
	}
}

// teamAConnection is a connection of team A with its only role.
type teamAConnection struct {
	provider, url string
	settings      provider.Settings
	target        provider.Settings
}

// teamA has each kind of login and address. One access key is used in two clouds.
var teamA = map[string]teamAConnection{
	"team-a-key": {"dcs", "https://dcs.a.example", provider.Settings{"access_key": "AKA", "secret_key": right, "project_id": "pa"},
		provider.Settings{"instance_id": "i1", "account_id": "a1", "username": "app", "rotation_method": "reset"}},
	"team-a-public": {"dcs", "", provider.Settings{"access_key": "AKA", "secret_key": right, "project_id": "pa", "region": "ap-southeast-3"},
		provider.Settings{"instance_id": "i2", "account_id": "a2", "username": "app", "rotation_method": "reset"}},
	"team-a-user": {"dcs", "https://dcs.a.example", provider.Settings{"username": "ua", "password": right, "domain_name": "da", "iam_url": "https://iam.a.example", "project_id": "pa"},
		provider.Settings{"instance_id": "i3", "account_id": "a3", "username": "app", "rotation_method": "reset"}},
	"team-a-metal": {"ecs", "", provider.Settings{"username": "um", "password": right, "domain_name": "da", "project_id": "pa", "region": "ap-southeast-3"},
		provider.Settings{"instance_ids": []string{"m1", "m2"}}},
	"team-a-panel": {"plesk", "https://panel.a.example:8443", provider.Settings{"username": "admin", "password": right},
		provider.Settings{"login": "ops"}},
}

func teamARoles() []string { return slices.Sorted(maps(teamA)) }

// maps iterates over keys.
func maps[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

func (w *teams) prepare(t *testing.T) {
	t.Helper()
	require.NoError(t, w.now().Gate.WriteSettings(t.Context(), w.storage, func(s *store.Settings) { s.CatchUpLimit = 365 * 24 * 3600 }))
	for _, name := range teamARoles() {
		w.did("write", name, w.write(name))
		w.did("create", name, w.create(name))
	}
}

func (w *teams) write(name string) error {
	a := teamA[name]
	return w.now().Connections.Write(context.Background(), w.storage, name, connection.Patch{
		Provider: ptr(a.provider), Settings: a.settings, Change: func(o *connection.Options) { o.Address, o.AllowedRoles = a.url, []string{"team-a-*"} },
	})
}

func (w *teams) create(name string) error {
	options := options()
	options.RotationPeriod = 700 + 301*slices.Index(teamARoles(), name)
	_, err := w.now().Create(context.Background(), w.storage, NewRole{Name: name, Connection: name, Target: teamA[name].target, Options: options})
	return err
}

// did records what team A did and what it was told.
func (w *teams) did(what, name string, err error) {
	w.tell("%s %s: %v", what, name, err)
}

// see records the state of a role.
func (w *teams) see(name string) {
	status, err := w.now().Status(context.Background(), w.storage, name)
	if err != nil {
		w.did("see", name, err)
		return
	}
	w.tell("%s: %s, version %d, due %v, next %v, %d attempts; %s %s", name, status.State, status.Version, status.Due, status.NextAttempt,
		status.Attempts, status.Reason, status.Advice)
}

// teamA does what its operators do.
func (w *teams) teamA(ctx context.Context, random *rand.Rand) {
	for {
		time.Sleep(time.Duration(random.Int64N(int64(15 * time.Minute))))
		if ctx.Err() != nil {
			return
		}
		name := teamARoles()[random.IntN(len(teamA))]
		switch random.IntN(6) {
		case 0:
			w.did("write", name, w.write(name))
		case 1:
			w.did("delete", name, w.now().Delete(context.Background(), w.storage, name, true))
			w.did("create", name, w.create(name))
		case 2: // a second role for the account
			_, err := w.now().Create(context.Background(), w.storage, NewRole{Name: "team-a-2", Connection: name, Target: teamA[name].target, Options: options()})
			w.did("create another for", name, err)
		default:
			_, err := w.now().Rotate(context.Background(), w.storage, name, 0)
			w.did("rotate", name, err)
		}
		time.Sleep(777 * time.Millisecond) // what follows at once is done, and nothing else
		w.see(name)
	}
}

// attacker is team B, which may write connections and roles whose names begin with team-b-.
type attacker struct {
	*teams
	random *rand.Rand
	// near: it also uses the addresses of team A.
	near bool
	// noRoles are its connections to team A's addresses.
	noRoles map[string]bool
	calls   sync.WaitGroup
}

func (b *attacker) attack(ctx context.Context) {
	b.noRoles = map[string]bool{}
	for ctx.Err() == nil {
		time.Sleep(time.Duration(1+b.random.IntN(240)) * time.Second)
		b.step()
	}
	b.calls.Wait()
}

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

// step writes something of its own. The request may hang.
func (b *attacker) step() {
	e, ctx := b.now(), context.Background()
	name := fmt.Sprintf("team-b-%d", b.random.IntN(6))
	role := fmt.Sprintf("team-b-%d", b.random.IntN(8))
	do := func(what string, request func() error) {
		b.teams.attack = append(b.teams.attack, fmt.Sprintf("%v %s", time.Since(b.began), what))
		b.calls.Go(func() { _ = request() })
	}
	switch b.random.IntN(10) {
	case 0:
		do("delete "+name, func() error { return e.Connections.Delete(ctx, b.storage, name) })
	case 1:
		force := b.random.IntN(2) == 0
		do("delete role "+role, func() error { return e.Delete(ctx, b.storage, role, force) })
	case 2, 3:
		do("rotate "+role, func() error { _, err := e.Rotate(ctx, b.storage, role, 0); return err })
	case 4, 5, 6:
		if b.noRoles[name] {
			return
		}
		in := NewRole{Name: role, Connection: name, Target: teamA[pick(b.random, teamARoles()...)].target, Options: options()}
		in.Options.SkipInitialRotation = b.random.IntN(2) == 0
		in.Options.RotationPeriod = 60 + b.random.IntN(600)
		do(fmt.Sprintf("create %s on %s: %v", role, name, in.Target), func() error { _, err := e.Create(ctx, b.storage, in); return err })
	default:
		patch, what := b.patch(name)
		do("write "+name+": "+what, func() error { return e.Connections.Write(ctx, b.storage, name, patch) })
	}
}

// patch draws a connection that presents a login of team A.
func (b *attacker) patch(name string) (patch connection.Patch, what string) {
	a := teamA[pick(b.random, teamARoles()...)]
	settings, own := a.settings.Clone(), pick(b.random, "https://evil.example", "https://evil.example:8443", "https://dcs.obs.myhuaweicloud.com", "https://dcs.a.example:8443")
	url := own
	for _, secret := range []string{"secret_key", "password"} {
		if settings.Has(secret) {
			settings[secret] = fmt.Sprintf("a-wrong-Secret.%d", b.random.IntN(3))
		}
	}
	if settings.Has("domain_name") {
		settings["iam_url"] = own
	}
	near := false
	switch b.random.IntN(4) {
	case 0: // its own IAM makes tokens for the service of team A
		if settings.Has("domain_name") {
			near, url = true, pick(b.random, "https://dcs.a.example", "")
		}
	case 1: // team A's IAM refuses another user
		if settings.Has("domain_name") {
			settings["iam_url"], settings["username"] = "https://iam.a.example", "mallory"
		}
	case 2:
		if b.near {
			settings, url = a.settings.Clone(), a.url
			for _, secret := range []string{"secret_key", "password"} {
				if settings.Has(secret) {
					settings[secret] = fmt.Sprintf("a-wrong-Secret.%d", b.random.IntN(3))
				}
			}
		}
	}
	b.noRoles[name] = b.noRoles[name] || near && !b.near
	verify, timeout := b.random.IntN(2) == 0, 1+b.random.IntN(60)
	force := b.random.IntN(4) == 0 && !b.near && settings["username"] != "mallory" // it may lock a login
	return connection.Patch{Provider: ptr(a.provider), Settings: settings, Force: force, Change: func(o *connection.Options) {
		o.Address, o.AllowedRoles, o.VerifyConnection, o.RequestTimeout = url, []string{"*"}, verify, timeout
	}}, fmt.Sprintf("%s %q %v, force %v", a.provider, url, settings, force)
}
