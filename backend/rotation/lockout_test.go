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

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/registry"
	"vault-plugin-secrets-hosting/backend/timing"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// sequences is how many sequences run; fewer with the race detector, which is slow.
var sequences = 1000

const (
	// together is how many sequences run at a time: mostly they wait.
	together = 24
	// hundredfold divides the engine's waits by a hundred, so that a sequence sees its retries, checks and probes. The locks of
	// the simulators last as long as real ones, much longer than a sequence: they forget no refusal in one. Plesk's Fail2Ban
	// remembers refusals for a hundredth of ten minutes.
	hundredfold = "100"
	// presumed is when the engine presumes that IAM and Plesk have forgotten a refusal. They have not, so a longer sequence
	// proves nothing. Only a very busy machine takes that long.
	presumed = 9 * time.Second
)

// Random sequences of faults, of passwords changed elsewhere, of restarts and crashes, against simulated remote systems: the
// engine's attempts never lock a login, an access key, a user or an account, and Plesk never bans the engine's address.
func TestNoSequenceOfFaultsLocksCredentials(t *testing.T) {
	defer func(before string) { timing.Scale = before }(timing.Scale)
	timing.Scale = hundredfold
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	work := make(chan uint64)
	total := &refusals{}
	var workers sync.WaitGroup
	for range together {
		workers.Go(func() {
			sim, err := simulator.Start(context.Background(), simulator.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { sim.Close() }()
			for n := range work {
				s, began := newSequence(sim, rand.New(rand.NewPCG(seed, n))), time.Now()
				err := s.run(total)
				switch took := time.Since(began); {
				case err == nil:
				case took < presumed:
					t.Errorf("sequence %d of seed %d, after %v: %v\n%s", n, seed, took, err, strings.Join(s.story, "\n"))
				default:
					t.Logf("sequence %d took %v, which is too long to prove anything: %v", n, took, err)
					sim.Close()
					if sim, err = simulator.Start(context.Background(), simulator.Config{}); err != nil {
						t.Error(err)
						return
					}
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
		sequences, total.keys, total.admin, total.user, total.old)
	require.False(t, t.Failed())
	for name, n := range map[string]int{"signatures": total.keys, "logins": total.admin, "users": total.user, "old passwords": total.old} {
		require.Greater(t, n, sequences/10, "the sequences make the engine use wrong %s", name)
	}
}

// refusals counts what the simulators refused.
type refusals struct {
	mu                     sync.Mutex
	keys, admin, user, old int
}

// sequence is an engine with its own storage, on a simulator that earlier sequences have used.
type sequence struct {
	sim     *simulator.Simulator
	out     simulator.Output
	rnd     *rand.Rand
	storage *storage
	engine  *Engine
	story   []string
	calls   sync.WaitGroup
	// admin and user are the passwords that work now.
	admin, user string
	// accountPassword is the password of the DCS accounts when the sequence begins. No late request of an earlier sequence presents it.
	accountPassword string
}

func newSequence(sim *simulator.Simulator, rnd *rand.Rand) *sequence {
	return &sequence{sim: sim, out: sim.Output(), rnd: rnd, storage: &storage{Storage: &logical.InmemStorage{}}}
}

const (
	firstAdmin = "Simulated-Administrator.1"
	firstUser  = "Simulated-User.1"
)

func (s *sequence) run(c *refusals) error {
	s.admin, s.user, s.accountPassword = firstAdmin, firstUser, fmt.Sprintf("Simulated-Account.%d", s.rnd.Uint64())
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

// roles returns the roles of a sequence.
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

var sequenceRoles = []string{"ops1", "ops2", "app", "report", "metal"}

func (s *sequence) prepare() error {
	var errs []error
	step := func(err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("preparing a sequence: %w", err))
		}
	}
	step(s.sim.ClearFaults("", ""))
	for name, n := range map[string]int{"fail2ban": 5, "fail2ban_find_seconds": 6} {
		step(s.sim.Switch("plesk", name, n))
	}
	step(s.sim.SetPassword("plesk", "admin", s.admin))
	step(s.sim.SetPassword("iam", s.out.HuaweiCloud.Users[0].Name, s.user))
	for _, n := range []int{1, 2} {
		step(s.sim.SetPassword("dcs", s.account(n), s.accountPassword))
	}
	s.start()
	for name := range s.connections() {
		step(s.write(name, "", true))
	}
	for name, role := range s.roles() {
		role.Name, role.Options = name, options()
		if role.Connection == "cache" || role.Connection == "token" {
			role.Password = s.accountPassword
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

// connections returns the settings of the connections, with the credentials that work now.
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

// write writes a connection, with a wrong secret if one is given.
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
	return s.engine.Connections.Write(context.Background(), s.storage, name, connection.Patch{
		Provider: ptr(kinds[name]), Settings: settings, Change: func(o *connection.Options) {
			o.Address = urls[name]
			o.TLS.CACert = s.out.CAPEM
			o.AllowedRoles = []string{"*"}
			o.VerifyConnection = verify
			o.RequestTimeout = 20
			o.MaxInFlight = 8
		},
	})
}

func (s *sequence) start() {
	var types []provider.Type
	for _, kind := range registry.All() {
		types = append(types, oneCloud{kind})
	}
	s.engine = New(Config{Types: types})
	s.engine.Start(s.storage)
}

func (s *sequence) tell(format string, args ...any) {
	s.story = append(s.story, fmt.Sprintf(format, args...))
}

// step makes one thing happen, at random.
func (s *sequence) step() {
	role := sequenceRoles[s.rnd.IntN(len(sequenceRoles))]
	conn := []string{"panel", "cache", "token", "metal"}[s.rnd.IntN(4)]
	switch what := s.rnd.IntN(100); {
	case what < 30:
		s.tell("rotate %s", role)
		s.rotate(role, what < 15)
	case what < 36:
		s.tell("rotate all at once")
		for _, name := range sequenceRoles {
			s.rotate(name, false)
		}
	case what < 50:
		s.fault(role)
	case what < 55:
		s.tell("faults end")
		_ = s.sim.ClearFaults("", "")
	case what < 60:
		s.tell("the password of Plesk's administrator changes")
		s.admin = fmt.Sprintf("Simulated-Administrator.%d", s.rnd.IntN(1000))
		_ = s.sim.SetPassword("plesk", "admin", s.admin)
	case what < 65:
		s.tell("the password of the IAM user changes")
		s.user = fmt.Sprintf("Simulated-User.%d", s.rnd.IntN(1000))
		_ = s.sim.SetPassword("iam", s.out.HuaweiCloud.Users[0].Name, s.user)
	case what < 72:
		s.tell("the passwords of the DCS accounts change")
		for _, n := range []int{1, 2} {
			_ = s.sim.SetPassword("dcs", s.account(n), fmt.Sprintf("Simulated-Account.%d", s.rnd.IntN(1000)))
		}
	case what < 79:
		s.tell("a wrong credential for %s, unchecked", conn)
		_ = s.write(conn, fmt.Sprintf("Wrong-Credential.%d", s.rnd.IntN(1000)), false)
	case what < 82:
		s.tell("wrong credentials for %s, checked", conn)
		for range 10 {
			_ = s.write(conn, fmt.Sprintf("Wrong-Credential.%d", s.rnd.IntN(4)), true)
		}
	case what < 85:
		s.tell("the right credential for %s", conn)
		_ = s.write(conn, "", true)
	case what < 90:
		s.tell("a restart")
		s.engine.Stop()
		s.start()
	case what < 95:
		s.tell("a crash")
		s.storage.failAll()
		s.engine.Stop()
		s.storage.heal()
		s.start()
	default:
		d := time.Duration(s.rnd.IntN(300)) * time.Millisecond
		s.tell("%v passes", d)
		time.Sleep(d)
	}
}

// rotate requests a rotation, and waits for the answer if wait is set.
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

// kinds are the faults of a sequence: all but those that only take time.
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

// settle gives the engine time for its checks, retries and probes.
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
	for _, name := range sequenceRoles {
		report, err := s.engine.Read(context.Background(), s.storage, name)
		if err != nil || report.View.State != credential.StateActive || report.BeingSet() {
			return false
		}
	}
	return true
}

// locked returns what was ever locked; "": nothing.
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
			return "a DCS account was locked"
		}
	}
	if s.sim.Plesk("admin").Locks > 0 {
		return "Plesk's administrator was locked"
	}
	if s.sim.PleskSenders().Bans > 0 {
		return "Plesk banned the engine's address"
	}
	return ""
}

// count adds up what was refused.
func (s *sequence) count(c *refusals) {
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
