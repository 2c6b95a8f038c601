package rotation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/registry"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// sequences of faults; fewer with the race detector, which is slow.
var sequences = 1000

const (
	// together is how many of them run at a time: they wait more than they work.
	together = 24
	// hundredfold: the engine's waits are a hundredth, so that a sequence sees its retries, checks and probes. The
	// simulators' locks last as long as the real ones, much longer than a sequence: no count is forgotten meanwhile.
	hundredfold = "100"
)

// A thousand random sequences of faults, of changes by others, of restarts and crashes, against the simulated remote
// systems: none of them ever locks a login, a key, a user or an account for the engine's tries.
func TestNoSequenceOfFaultsLocksAnAccountOrACredential(t *testing.T) {
	defer func(before string) { timescale = before }(timescale)
	timescale = hundredfold
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	work := make(chan uint64)
	counts := &counts{}
	var workers sync.WaitGroup
	for range together {
		workers.Go(func() {
			sim, err := simulator.Start(context.Background(), simulator.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			defer sim.Close()
			for n := range work {
				s := newSequence(sim, rand.New(rand.NewPCG(seed, n)))
				if err := s.run(counts); err != nil {
					t.Errorf("sequence %d of seed %d: %v\n%s", n, seed, err, strings.Join(s.story, "\n"))
				}
			}
		})
	}
	for n := range uint64(sequences) {
		if t.Failed() {
			break
		}
		work <- n
	}
	close(work)
	workers.Wait()
	t.Logf("%d sequences; the simulators refused %d signatures, %d logins of Plesk's administrator, %d of the IAM user and %d old passwords",
		sequences, counts.keys, counts.admin, counts.user, counts.old)
	require.False(t, t.Failed())
	for name, n := range map[string]int{"signatures": counts.keys, "logins": counts.admin, "users": counts.user, "old passwords": counts.old} {
		require.Greater(t, n, sequences/10, "the sequences make the engine show wrong %s", name)
	}
}

// counts are what the simulators refused in all.
type counts struct {
	mu                     sync.Mutex
	keys, admin, user, old int
}

// sequence is one engine with storage of its own, on a simulator that other sequences have used before.
type sequence struct {
	sim     *simulator.Simulator
	out     simulator.Output
	rnd     *rand.Rand
	storage *counted
	engine  *Engine
	story   []string
	calls   sync.WaitGroup
	// present are the credentials that work now.
	admin, user string
}

func newSequence(sim *simulator.Simulator, rnd *rand.Rand) *sequence {
	return &sequence{sim: sim, out: sim.Output(), rnd: rnd, storage: &counted{Storage: &logical.InmemStorage{}}}
}

const (
	firstAdmin = "Simulated-Administrator.1"
	firstUser  = "Simulated-User.1"
)

func (s *sequence) run(c *counts) error {
	s.admin, s.user = firstAdmin, firstUser
	if err := s.prepare(); err != nil {
		return err
	}
	for range 6 + s.rnd.IntN(10) {
		s.step()
		if locked := s.locked(); locked != "" {
			return errors.New(locked)
		}
	}
	s.settle()
	s.calls.Wait()
	s.engine.Stop()
	if locked := s.locked(); locked != "" {
		return errors.New(locked)
	}
	s.count(c)
	return s.sim.ClearFaults("", "")
}

// roles of a sequence and their connections.
func (s *sequence) roles() map[string]NewRole {
	account := func(n int) provider.Settings {
		instance := s.out.DCS.Instances[0]
		a := instance.Accounts[n]
		return provider.Settings{"instance_id": instance.ID, "account_id": a.ID, "username": a.Name}
	}
	return map[string]NewRole{
		"ops1":   {Connection: "panel", Target: provider.Settings{"login": "ops1"}},
		"ops2":   {Connection: "panel", Target: provider.Settings{"login": "ops2"}},
		"app":    {Connection: "cache", Target: account(1)},
		"report": {Connection: "token", Target: account(2)},
		"metal":  {Connection: "metal", Target: provider.Settings{"instance_ids": []string{s.out.ECS.Instances[0].ID}}},
	}
}

var roleNames = []string{"ops1", "ops2", "app", "report", "metal"}

// accountPassword is what the accounts of DCS begin a sequence with.
const accountPassword = "Simulated-Account.1" // #nosec G101 -- of a simulated account

func (s *sequence) prepare() error {
	var errs []error
	step := func(err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("preparing a sequence: %w", err))
		}
	}
	step(s.sim.ClearFaults("", ""))
	step(s.sim.SetPassword("plesk", "admin", s.admin))
	step(s.sim.SetPassword("iam", s.out.HuaweiCloud.Users[0].Name, s.user))
	for _, n := range []int{1, 2} {
		step(s.sim.SetPassword("dcs", s.account(n), accountPassword))
	}
	s.start()
	for name := range s.connections() {
		step(s.write(name, "", true))
	}
	for name, role := range s.roles() {
		role.Name, role.Options = name, options()
		if role.Connection == "cache" || role.Connection == "token" {
			role.Password = accountPassword
		}
		_, err := s.engine.Create(context.Background(), s.storage, role)
		step(err)
	}
	return errors.Join(errs...)
}

func (s *sequence) account(n int) string {
	instance := s.out.DCS.Instances[0]
	return instance.ID + "/" + instance.Accounts[n].ID
}

// connections are their provider, address and credential, as far as they are the same all the time.
func (s *sequence) connections() map[string]provider.Settings {
	project := s.out.DCS.Instances[0].ProjectID
	key := s.out.HuaweiCloud.AccessKeys[0]
	return map[string]provider.Settings{
		"panel": {"username": "admin", "password": s.admin},
		"cache": {"project_id": project, "access_key": key.AccessKey, "secret_key": key.SecretKey},
		"metal": {"project_id": project, "access_key": key.AccessKey, "secret_key": key.SecretKey}, // the same key
		"token": {"project_id": project, "username": s.out.HuaweiCloud.Users[0].Name, "password": s.user,
			"domain_name": s.out.HuaweiCloud.DomainName, "iam_url": s.out.HuaweiCloud.IAMURL},
	}
}

// write stores a connection, with a wrong secret if one is given.
func (s *sequence) write(name, wrong string, verify bool) error {
	kinds := map[string]string{"panel": "plesk", "cache": "dcs", "token": "dcs", "metal": "ecs"}
	urls := map[string]string{"panel": s.out.Plesk.URL, "cache": s.out.DCS.URL, "token": s.out.DCS.URL, "metal": s.out.ECS.CloudDCURL}
	settings := s.connections()[name]
	if wrong != "" {
		for _, secret := range []string{"password", "secret_key"} {
			if settings.Has(secret) {
				settings[secret] = wrong
			}
		}
	}
	return s.engine.WriteConnection(context.Background(), s.storage, name, Patch{
		Provider: ptr(kinds[name]), Address: ptr(urls[name]), CACert: &s.out.CAPEM, AllowedRoles: &[]string{"*"},
		VerifyConnection: &verify, RequestTimeout: ptr(20), MaxInFlight: ptr(8), Settings: settings,
	})
}

func (s *sequence) start() {
	s.engine = New(Config{Types: registry.All()})
	s.engine.Start(s.storage)
}

func (s *sequence) tell(format string, args ...any) {
	s.story = append(s.story, fmt.Sprintf(format, args...))
}

// step lets one thing happen.
func (s *sequence) step() {
	role := roleNames[s.rnd.IntN(len(roleNames))]
	connection := []string{"panel", "cache", "token", "metal"}[s.rnd.IntN(4)]
	switch what := s.rnd.IntN(100); {
	case what < 30:
		s.tell("rotate %s", role)
		s.rotate(role, what < 15)
	case what < 36:
		s.tell("rotate all at once")
		for _, name := range roleNames {
			s.rotate(name, false)
		}
	case what < 50:
		s.fault(role)
	case what < 55:
		s.tell("faults end")
		_ = s.sim.ClearFaults("", "")
	case what < 60:
		s.tell("somebody changes the password of Plesk's administrator")
		s.admin = fmt.Sprintf("Simulated-Administrator.%d", s.rnd.IntN(1000))
		_ = s.sim.SetPassword("plesk", "admin", s.admin)
	case what < 65:
		s.tell("somebody changes the password of the IAM user")
		s.user = fmt.Sprintf("Simulated-User.%d", s.rnd.IntN(1000))
		_ = s.sim.SetPassword("iam", s.out.HuaweiCloud.Users[0].Name, s.user)
	case what < 72:
		s.tell("somebody changes the passwords of the cache's accounts")
		for _, n := range []int{1, 2} {
			_ = s.sim.SetPassword("dcs", s.account(n), fmt.Sprintf("Simulated-Account.%d", s.rnd.IntN(1000)))
		}
	case what < 82:
		s.tell("a wrong credential for %s, unchecked", connection)
		_ = s.write(connection, fmt.Sprintf("Wrong-Credential.%d", s.rnd.IntN(1000)), false)
	case what < 85:
		s.tell("the right credential for %s", connection)
		_ = s.write(connection, "", true)
	case what < 90:
		s.tell("a restart")
		s.engine.Stop()
		s.start()
	case what < 95:
		s.tell("a crash")
		s.storage.failing(func(string, string) error { return errors.New("the process is gone") })
		s.engine.Stop()
		s.storage.failing(nil)
		s.start()
	default:
		d := time.Duration(s.rnd.IntN(300)) * time.Millisecond
		s.tell("%v pass", d)
		time.Sleep(d)
	}
}

// rotate asks for a change, and waits for the answer if it is told to.
func (s *sequence) rotate(role string, wait bool) {
	engine, done := s.engine, make(chan struct{})
	s.calls.Go(func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, _ = engine.Rotate(ctx, s.storage, role, 0)
	})
	if wait {
		<-done
	}
}

// kinds of faults that a sequence uses: all but those that only take time.
var kinds = []lab.Kind{lab.Refuse, lab.RejectTarget, lab.Busy, lab.Throttle, lab.Deny, lab.ApplyCut, lab.Cut, lab.Apply500, lab.Err500,
	lab.NoSuccess, lab.Empty200, lab.HTML, lab.Truncated}

func (s *sequence) fault(role string) {
	f := lab.Fault{Kind: kinds[s.rnd.IntN(len(kinds))], Count: 1 + s.rnd.IntN(6), Target: "*"}
	f.System = map[string]string{"ops1": "plesk", "ops2": "plesk", "app": "dcs", "report": "dcs", "metal": "ecs"}[role]
	if s.rnd.IntN(4) == 0 && role == "report" {
		f.System, f.Operations = "iam", []string{lab.OpToken}
	}
	s.tell("fault %s of %s, %d times", f.Kind, f.System, f.Count)
	_ = s.sim.SetFault(f)
}

// settle gives the engine time for its checks, retries and probes, with whatever is wrong now.
func (s *sequence) settle() {
	deadline := time.Now().Add(400 * time.Millisecond)
	for time.Now().Before(deadline) {
		if s.atRest() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *sequence) atRest() bool {
	for _, name := range roleNames {
		report, err := s.engine.Read(context.Background(), s.storage, name)
		if err != nil || report.View.State != credential.StateActive || report.Role.Record.Next != nil {
			return false
		}
	}
	return true
}

// locked names what was ever locked; "": nothing.
func (s *sequence) locked() string {
	for _, key := range s.sim.AccessKeys() {
		if key.Locks > 0 {
			return "an access key was locked"
		}
	}
	for _, user := range s.sim.Users() {
		if user.Locks > 0 {
			return "the IAM user was locked"
		}
	}
	for _, n := range []int{1, 2} {
		if s.sim.DCS(s.account(n)).Locks > 0 {
			return "an account of the cache was locked"
		}
	}
	if s.sim.Plesk("admin").Locks > 0 {
		return "Plesk's administrator was locked"
	}
	return ""
}

// count adds up what was refused, and makes the simulator forget it: the right credential is shown once.
func (s *sequence) count(c *counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.admin += s.sim.Plesk("admin").FailedLogins
	for _, key := range s.sim.AccessKeys() {
		c.keys += key.Failed
	}
	for _, user := range s.sim.Users() {
		c.user += user.Failed
	}
	for _, n := range []int{1, 2} {
		c.old += s.sim.DCS(s.account(n)).Failed
	}
}
