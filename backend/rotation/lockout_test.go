package rotation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/registry"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Random sequences of faults, of passwords changed elsewhere, of restarts and crashes, against simulated remote systems: the
// engine's attempts never lock a login, an access key, a user or an account, and Plesk never bans the engine's address.
func TestNoSequenceOfFaultsLocksCredentials(t *testing.T) {
	n := sequences / 3 // those with proofs meet the same faults
	total := runSequences(t, n, false)
	t.Logf("%d sequences; the simulators refused %d signatures, %d logins of Plesk's administrator, %d of the IAM user and %d old passwords",
		n, total.keys, total.admin, total.user, total.old)
	require.False(t, t.Failed())
	for name, refused := range map[string]int{"signatures": total.keys, "logins": total.admin, "users": total.user, "old passwords": total.old} {
		require.Greater(t, refused, n/50, "the sequences make the engine use wrong %s", name)
	}
}

// sequence is an engine with its own storage and simulator.
type sequence struct {
	// proves: the roles prove their passwords; see proof_sequences_test.go.
	proves  bool
	sim     *simulator.Simulator
	out     simulator.Output
	rnd     *rand.Rand
	storage *storage
	engine  *Engine
	story   []string
	calls   sync.WaitGroup
	// admin and user are the passwords that work now.
	admin, user string
	// engines are all that were started.
	engines []*Engine
	// earlier are passwords that the roles had.
	earlier map[string][]string
	logins  logins
}

// firstAccount is the password of the DCS accounts when a sequence begins.
const firstAccount = "Simulated-Account.1"

func newSequence(sim *simulator.Simulator, rnd *rand.Rand, proves bool) *sequence {
	return &sequence{
		proves: proves, sim: sim, out: sim.Output(), rnd: rnd, storage: &storage{Storage: &logical.InmemStorage{}}, earlier: map[string][]string{},
	}
}

func (s *sequence) run(c *refusals) error {
	defer s.end()
	s.admin, s.user = s.out.Plesk.AdminPassword, s.out.HuaweiCloud.Users[0].Password
	if err := s.prepare(); err != nil {
		return err
	}
	for range 6 + s.rnd.IntN(10) {
		if s.proves && s.rnd.IntN(3) > 0 {
			s.proofStep()
		} else {
			s.step()
		}
		if locked := s.locked(); locked != "" {
			return errors.New(locked)
		}
	}
	s.settle()
	s.end()
	if locked := s.locked(); locked != "" {
		return errors.New(locked)
	}
	s.count(c)
	return nil
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
	for name, n := range map[string]int{"fail2ban": 5, "fail2ban_find_seconds": 6} {
		step(s.sim.Switch("plesk", name, n))
	}
	if s.proves {
		step(s.prepareProofs())
	}
	for _, n := range []int{1, 2} {
		step(s.sim.SetPassword("dcs", s.account(n), firstAccount))
	}
	s.start()
	for name := range s.connections() {
		step(s.write(name, "", true))
	}
	for name, role := range s.roles() {
		role.Name, role.Options = name, options()
		if s.proves {
			s.prove(&role)
		}
		if role.Connection == "cache" || role.Connection == "token" {
			role.Password = firstAccount
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
			o.AllowedVerifyAddresses = []string{"127.0.0.0/8"}
			o.VerifyConnection = verify
			o.RequestTimeout = 20
			o.MaxInFlight = 8
		},
	})
}

func (s *sequence) start() { s.engine = s.startOn(s.storage, nil) }

// startOn starts an engine.
func (s *sequence) startOn(storage *storage, writable func() bool) *Engine {
	var types []provider.Type
	for _, kind := range registry.All() {
		types = append(types, oneCloud{kind})
	}
	e := New(Config{Types: types, Writable: writable, Login: s.logins.login})
	e.Start(storage)
	s.engines = append(s.engines, e)
	return e
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
		s.replace()
	case what < 95:
		s.tell("a crash")
		s.storage.failAll()
		s.engine.Stop()
		s.replace()
	default:
		d := time.Duration(s.rnd.IntN(300)) * time.Millisecond
		s.tell("%v passes", d)
		time.Sleep(d)
	}
}

// replace starts another engine in place of one that has stopped. Requests that reach that one late can store nothing.
func (s *sequence) replace() {
	s.storage.failAll()
	s.storage = &storage{Storage: s.storage.Storage}
	s.start()
}

// rotate requests a rotation, and waits for the answer if wait is set.
func (s *sequence) rotate(role string, wait bool) {
	s.request(wait, func(ctx context.Context, e *Engine, storage *storage) { _, _ = e.Rotate(ctx, storage, role, 0) })
}

// request makes a request, and waits for the answer if wait is set.
func (s *sequence) request(wait bool, request func(context.Context, *Engine, *storage)) {
	engine, storage, done := s.engine, s.storage, make(chan struct{})
	s.calls.Go(func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		request(ctx, engine, storage)
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

// end ends all that runs.
func (s *sequence) end() {
	s.calls.Wait()
	for _, e := range s.engines {
		e.Stop()
		e.working.Wait()
	}
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
