// Handshakes are most of what the sequences cost. The simulators need no key exchange that withstands quantum computers.
//
//go:debug tlsmlkem=0
package rotation

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/timing"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
)

// With the race detector, which is slow, these are smaller.
var (
	// sequences is how many sequences run.
	sequences = 1000
	// together is how many run at a time: mostly they wait.
	together = 24
)

const (
	// hundredfold divides the engine's waits by a hundred, so that a sequence sees its retries, checks and probes. The locks of
	// the simulators last as long as real ones, much longer than a sequence: they forget no refusal in one. Fail2Ban remembers
	// refusals for a hundredth of ten minutes.
	hundredfold = "100"
	// presumed is when the engine presumes that IAM and Plesk have forgotten a refusal. They have not, so a longer sequence
	// proves nothing. Only a very busy machine takes that long. The engine's budget of proofs is for that time, too.
	presumed = 9 * time.Second
)

// runSequences runs n random sequences, and returns what the simulators refused.
func runSequences(t *testing.T, n int, proves bool) *refusals {
	t.Helper()
	defer func(before string) { timing.Scale = before }(timing.Scale)
	timing.Scale = hundredfold
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	work, total := make(chan uint64), &refusals{proofs: map[string]int{}}
	var workers sync.WaitGroup
	for range together {
		workers.Go(func() {
			for n := range work {
				runSequence(t, seed, n, proves, total)
			}
		})
	}
	for n := range uint64(n) {
		if t.Failed() {
			break
		}
		work <- n
	}
	close(work)
	workers.Wait()
	return total
}

func runSequence(t *testing.T, seed, n uint64, proves bool, total *refusals) {
	t.Helper()
	sim, err := simulator.Start(context.Background(), simulator.Config{})
	if err != nil {
		t.Error(err)
		return
	}
	defer sim.Close()
	s, began := newSequence(sim, rand.New(rand.NewPCG(seed, n)), proves), time.Now()
	err = s.run(total)
	switch took := time.Since(began); {
	case err == nil:
	case took < presumed:
		t.Errorf("sequence %d of seed %d, after %v: %v\n%s", n, seed, took, err, strings.Join(s.story, "\n"))
	default:
		t.Logf("sequence %d took %v, which is too long to prove anything: %v", n, took, err)
	}
}

// refusals counts what the simulators refused.
type refusals struct {
	mu                     sync.Mutex
	keys, admin, user, old int
	// proofs are the refused proofs by account.
	proofs map[string]int
	// after is how many proofs began after a refused call of the connection.
	after int
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
	if s.proves {
		return s.overBudget()
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
	for account, refused := range s.refusedProofs() {
		c.proofs[account] += refused
	}
	_, after := s.begunTooLate()
	c.after += after
}
