package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/verify"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// proofBudget is how many proofs may be refused for one account and address in a sequence, which is shorter than a hundredth of 15
// minutes.
const proofBudget = 2

// inFlight is how long it takes the engine, at most, to learn of a refusal that the simulator has counted.
const inFlight = 500 * time.Millisecond

// Random sequences as above, with roles that prove their passwords, and operators who ask for proofs: for one account, at most
// two are refused, over restarts, crashes and failovers. With the connection's own calls and the old passwords that changes
// present, they never lock an account or ban the engine's address. For Plesk, no proof begins once two refusals are known,
// those of the connection included.
func TestNoSequenceOfFaultsExceedsBudgetOfProofs(t *testing.T) {
	total := runSequences(t, sequences, true)
	t.Logf("%d sequences; the simulators refused these proofs: %v", sequences, total.proofs)
	require.False(t, t.Failed())
	require.Len(t, total.proofs, 5)
	t.Logf("%d proofs began after a refused call of Plesk's connection", total.after)
	require.Greater(t, total.after, sequences/100)
	for account, n := range total.proofs {
		require.Greater(t, n, sequences/50, "the sequences make the engine try wrong passwords of %s", account)
	}
}

// prepareProofs sets the switches of the simulators.
func (s *sequence) prepareProofs() error {
	return errors.Join(
		s.sim.Switch("plesk", "alias_api", "allowed"), s.sim.Switch("dcs", "webcli_counts", true),
		s.sim.Switch("ssh", "fail2ban", 5), s.sim.Switch("ssh", "fail2ban_find_seconds", 6),
	)
}

// servers are those of the role metal.
func (s *sequence) servers() []string {
	return []string{s.out.ECS.Instances[0].ID, s.out.ECS.Instances[1].ID}
}

// prove makes a role prove its passwords.
func (s *sequence) prove(r *NewRole) {
	o := &r.Options
	o.VerifyTLS, o.VerifyPeriod = true, 3600
	drifts := []string{role.DriftReport, role.DriftRecover, role.DriftRotate}
	switch r.Name {
	case "app":
		o.Verify, drifts = provider.LoginWebCLI, drifts[:2] // a change needs the old password
	case "report":
		o.Verify, o.VerifyAddress, o.VerifyTLS, drifts = provider.LoginRedis, s.out.DCS.Instances[0].RedisAddress, false, drifts[:2]
	case "metal":
		o.Verify, r.Target = provider.LoginSSH, provider.Settings{"instance_ids": s.servers()}
		for _, id := range s.servers() {
			o.VerifyAddress += id + "=" + s.sim.SSHAddress(id) + "\n"
			o.VerifyHostKey += id + "=" + s.sim.HostKey(id) + "\n"
		}
	default:
		o.Verify = provider.LoginPlesk
	}
	o.OnDrift = drifts[s.rnd.IntN(len(drifts))]
}

// proofStep makes one thing happen that concerns proofs, at random.
func (s *sequence) proofStep() {
	name := sequenceRoles[s.rnd.IntN(len(sequenceRoles))]
	wait, wrong := s.rnd.IntN(3) > 0, fmt.Sprintf("Simulated-Wrong.%d", s.rnd.IntN(1000))
	switch what := s.rnd.IntN(100); {
	case what < 25:
		s.tell("verify %s", name)
		s.request(wait, func(ctx context.Context, e *Engine, storage *storage) { _, _ = e.VerifyRole(ctx, storage, name) })
	case what < 40:
		s.tell("recover %s", name)
		s.request(wait, func(ctx context.Context, e *Engine, storage *storage) { _, _ = e.RecoverRole(ctx, storage, name) })
	case what < 48:
		s.tell("confirm a wrong password of %s", name)
		s.request(wait, func(ctx context.Context, e *Engine, storage *storage) {
			_, _ = e.Confirm(ctx, storage, name, Confirmation{Password: wrong, Force: what < 42})
		})
	case what < 54:
		s.tell("set the password of %s", name)
		s.request(wait, func(ctx context.Context, e *Engine, storage *storage) {
			_, _ = e.SetPassword(ctx, storage, name, wrong)
		})
	case what < 74:
		s.drift(name, wrong)
	case what < 79:
		s.turn()
	case what < 83:
		s.tell("somebody restarts the servers")
		for _, id := range s.servers() {
			_ = s.sim.Restart("ecs", id)
		}
	case what < 88:
		f := lab.Fault{System: []string{"ssh", "redis"}[s.rnd.IntN(2)], Kind: []lab.Kind{lab.Busy, lab.Cut}[s.rnd.IntN(2)], Count: 1 + s.rnd.IntN(4), Target: "*"}
		s.tell("fault %s of %s, %d times", f.Kind, f.System, f.Count)
		_ = s.sim.SetFault(f)
	case what < 93:
		s.spend(wrong)
	default:
		s.failOver()
	}
}

// spend lets Plesk refuse calls of the connection, and asks for proofs of passwords that do not work.
func (s *sequence) spend(wrong string) {
	n := 1 + s.rnd.IntN(2)
	s.tell("%d wrong credentials for panel, checked, and proofs", n)
	for i := range n {
		_ = s.write("panel", fmt.Sprint(wrong, i), true)
	}
	time.Sleep(inFlight) // only then do they count as known
	for _, name := range []string{"ops1", "ops2"} {
		s.drift(name, wrong)
		s.request(true, func(ctx context.Context, e *Engine, storage *storage) { _, _ = e.VerifyRole(ctx, storage, name) })
	}
}

// drift changes the password of a role's account elsewhere: to another one, or to one that it had before.
func (s *sequence) drift(name, password string) {
	if report, err := s.engine.Read(context.Background(), s.storage, name); err == nil && report.View.Password != nil {
		s.earlier[name] = append(s.earlier[name], report.View.Password.Value)
	}
	if known := s.earlier[name]; len(known) > 0 && s.rnd.IntN(2) > 0 {
		s.tell("an earlier password of %s returns", name)
		password = known[s.rnd.IntN(len(known))]
	} else {
		s.tell("the password of %s changes", name)
	}
	switch name {
	case "app":
		_ = s.sim.SetPassword("dcs", s.account(1), password)
	case "report":
		_ = s.sim.SetPassword("dcs", s.account(2), password)
	case "metal":
		for _, id := range s.servers()[s.rnd.IntN(2):] {
			_ = s.sim.SetPassword("ecs", id, password)
		}
	default:
		_ = s.sim.SetPassword("plesk", name, password)
	}
}

// turn turns a switch of the SSH servers.
func (s *sequence) turn() {
	of := [][2]string{
		{"auth_methods", "publickey"}, {"auth_methods", "password"}, {"permit_root_login", "prohibit-password"}, {"permit_root_login", "yes"},
		{"host_key", "new"},
	}
	to := of[s.rnd.IntN(len(of))]
	s.tell("SSH: %s becomes %s", to[0], to[1])
	_ = s.sim.Switch("ssh", to[0], to[1])
}

// failOver lets another node take over while this one works: it can no longer write, and stops afterwards.
func (s *sequence) failOver() {
	s.tell("a failover")
	var active atomic.Bool
	next := &storage{Storage: s.storage.Storage}
	standby := s.startOn(next, active.Load)
	s.storage.failAll()
	active.Store(true)
	standby.Wake()
	former := s.engine
	s.engine, s.storage = standby, next
	s.calls.Go(former.Stop)
}

// logins keeps when proofs of Plesk's aliases began.
type logins struct {
	mu    sync.Mutex
	began []time.Time
}

// login is the engine's Login.
func (l *logins) login(ctx context.Context, login verify.Login) provider.Proof {
	if login.Kind == provider.LoginPlesk {
		l.mu.Lock()
		l.began = append(l.began, time.Now())
		l.mu.Unlock()
	}
	return login.Prove(ctx)
}

// refusedByPlesk returns the refusals in Plesk's journal: those of proofs, which are all of an alias, and those of the connection's
// own calls.
func (s *sequence) refusedByPlesk() (proofs, calls []time.Time) {
	for _, e := range s.sim.Journal("plesk", "") {
		switch {
		case e.Operation != "check-up" || e.Result != "system 1001" && e.Result != "system 1012":
		case e.Target == "ops1", e.Target == "ops2":
			proofs = append(proofs, e.Time)
		default:
			calls = append(calls, e.Time)
		}
	}
	return proofs, calls
}

// known returns how many of these refusals the engine knew of at a time.
func known(refused []time.Time, at time.Time) (n int) {
	for _, t := range refused {
		if t.Add(inFlight).Before(at) {
			n++
		}
	}
	return n
}

// begunTooLate returns which proof at Plesk began although two refusals were known; "": none. after is how many began after a
// refused call of the connection. Such calls do not count here if another engine has taken over: if the credential worked before,
// they are not counted in storage before they are made, so the next engine need not know of them.
func (s *sequence) begunTooLate() (late string, after int) {
	proofs, calls := s.refusedByPlesk()
	s.logins.mu.Lock()
	defer s.logins.mu.Unlock()
	for _, at := range s.logins.began {
		ofProofs, ofCalls := known(proofs, at), known(calls, at)
		if len(s.engines) > 1 {
			ofCalls = 0
		}
		if ofCalls > 0 {
			after++
		}
		if ofProofs+ofCalls >= proofBudget {
			late = fmt.Sprintf("a proof at Plesk began after %d refused proofs and %d other refused calls", ofProofs, ofCalls)
		}
	}
	return late, after
}

// refusedProofs returns how many proofs were refused, by account and address.
func (s *sequence) refusedProofs() map[string]int {
	if !s.proves {
		return nil
	}
	out := map[string]int{}
	if refused, _ := s.refusedByPlesk(); len(refused) > 0 {
		out["plesk"] = len(refused)
	}
	for n, account := range map[int]string{1: "app", 2: "report"} {
		refused := s.sim.DCS(s.account(n)).Logins
		out[account] = refused.Redis + refused.WebCLI
	}
	for i, id := range s.servers() {
		out[fmt.Sprintf("server %d", i)] = len(s.sim.SSH(id).Fail2Ban.Times)
	}
	return out
}

// overBudget returns what was refused too often; "": nothing.
func (s *sequence) overBudget() string {
	for account, refused := range s.refusedProofs() {
		if refused > proofBudget {
			return fmt.Sprintf("%d proofs of %s were refused", refused, account)
		}
	}
	for _, id := range s.servers() {
		if s.sim.SSH(id).Fail2Ban.Bans > 0 {
			return "a server banned the engine's address"
		}
	}
	late, _ := s.begunTooLate()
	return late
}
