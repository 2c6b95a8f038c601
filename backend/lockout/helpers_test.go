package lockout

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

var (
	// five locks at the fifth refusal in a row, as all providers' systems do.
	five = provider.Lockout{Credential: "remote|key", Refusals: 5}
	// session is the same for a login that gives a token.
	session = provider.Lockout{Credential: "remote|user", Refusals: 5, Session: true}
	// unlocked is a credential that is never locked.
	unlocked = provider.Lockout{}
)

// Results of calls.
var (
	applied     = provider.Result{Outcome: provider.Applied}
	refused     = provider.Result{Outcome: provider.Denied, Scope: provider.ScopeConnection}
	unknown     = provider.Result{Outcome: provider.Unknown}
	unreachable = provider.Result{Outcome: provider.Unreachable}
	unseen      = provider.Result{Outcome: provider.Unreachable, Unseen: true}
	throttle    = provider.Result{Outcome: provider.Busy, Scope: provider.ScopeConnection}
	// notLooked are results of calls that did not get as far as the credential, or say nothing about it.
	notLooked = map[string]provider.Result{
		"unreachable":       unreachable,
		"busy account":      {Outcome: provider.Busy, Scope: provider.ScopeTarget},
		"throttled":         throttle,
		"rejected password": {Outcome: provider.Rejected, Scope: provider.ScopePassword},
		"rejected account":  {Outcome: provider.Rejected, Scope: provider.ScopeTarget},
		"missing right":     {Outcome: provider.Denied, Scope: provider.ScopeTarget},
	}
	// works are results of calls that prove that the credential works.
	works = map[string]provider.Result{
		"applied":                   applied,
		"staged":                    {Outcome: provider.Staged},
		"mismatch":                  {Outcome: provider.Mismatch},
		"accepted, outcome unknown": {Outcome: provider.Unknown, Accepted: true},
	}
)

// noWait is the context of those who do not wait for a permit.
var noWait context.Context

var errStorage = errors.New("storage is out of order")

// memory is a Store that fails and blocks when a test says so.
type memory struct {
	mu      sync.Mutex
	entries map[string]Attempts
	gets    int
	puts    int
	// fails makes operations fail; lands: a write that fails is made all the same.
	fails func(operation string) error
	lands bool
	// blocks is called before an operation, with no lock held.
	blocks func(operation string, a Attempts)
}

func (m *memory) before(operation string, a Attempts) error {
	m.mu.Lock()
	blocks, fails := m.blocks, m.fails
	m.mu.Unlock()
	if blocks != nil {
		blocks(operation, a)
	}
	if fails != nil {
		return fails(operation)
	}
	return nil
}

func (m *memory) Attempts(_ context.Context, key string) (Attempts, error) {
	if err := m.before("get", Attempts{}); err != nil {
		return Attempts{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	return m.entries[key].Bounded(), nil
}

func (m *memory) PutAttempts(_ context.Context, key string, a Attempts) error {
	err := m.before("put", a)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && !m.lands {
		return err
	}
	m.puts++
	m.entries[key] = a
	return err
}

// set changes how the store behaves.
func (m *memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// failing makes an operation fail; "": none does.
func (m *memory) failing(operation string) {
	m.set(func() {
		m.fails = func(o string) error {
			if o == operation {
				return errStorage
			}
			return nil
		}
	})
}

// zeros is randomness that adds nothing to waits.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// most is randomness that adds the most to waits.
type most struct{}

func (most) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = math.MaxUint8
	}
	return len(p), nil
}

// rig is one guard with its storage and a clock.
type rig struct {
	*testing.T
	lockout provider.Lockout
	guards  *Guards
	*Guard
	*memory
	// clock is the time.
	clockMu sync.Mutex
	clock   time.Time
	warned  int
}

func newRig(t *testing.T, lockout provider.Lockout) *rig {
	r := &rig{T: t, lockout: lockout, memory: &memory{entries: map[string]Attempts{}}, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	r.restart()
	return r
}

// restart makes a new guard on the same storage, as a new process does. It reads the hold from storage.
func (r *rig) restart() {
	r.Helper()
	r.crash()
	require.NoError(r, r.Load(r.Context(), r.memory))
}

// crash makes a new guard that has read nothing.
func (r *rig) crash() {
	r.guards = NewGuards(Config{
		Timing: timing.Timing{Now: r.time, Random: zeros{}},
		Warn:   func(string, error) { r.warned++ },
	})
	r.Guard = r.guards.Of(r.lockout, "conn", 1)
}

func (r *rig) time() time.Time {
	r.clockMu.Lock()
	defer r.clockMu.Unlock()
	return r.clock
}

func (r *rig) pass(d time.Duration) {
	r.clockMu.Lock()
	defer r.clockMu.Unlock()
	r.clock = r.clock.Add(d)
}

// stored is the guard's entry.
func (r *rig) stored() Attempts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries[r.Key()]
}

// storedHold is the entry of the guard's hold.
func (r *rig) storedHold() Attempts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries[r.holdKey]
}

// putHold stores a hold.
func (r *rig) putHold(until time.Time) {
	r.Helper()
	require.NoError(r, r.PutAttempts(r.Context(), r.holdKey, Attempts{Hold: until}))
}

// requireStored asserts what the entry counts.
func (r *rig) requireStored(refused, unanswered int) {
	r.Helper()
	a := r.stored()
	require.Equal(r, []int{refused, unanswered}, []int{a.Refused, a.Unanswered}, "refused, unanswered")
}

// put stores an entry.
func (r *rig) put(a Attempts) {
	r.Helper()
	require.NoError(r, r.PutAttempts(r.Context(), r.Key(), a))
}

// enter takes a permit without waiting.
func (r *rig) enter() *Permit {
	r.Helper()
	p, err := r.Enter(noWait)
	require.NoError(r, err)
	return p
}

// full asserts that no call may begin now.
func (r *rig) full() {
	r.Helper()
	_, err := r.Enter(noWait)
	require.ErrorIs(r, err, ErrFull)
}

// begin enters and takes a permit.
func (r *rig) begin() *Permit {
	r.Helper()
	p := r.enter()
	require.NoError(r, p.Take(r.Context(), r.memory, false))
	return p
}

// end answers a call.
func (r *rig) end(p *Permit, result provider.Result) {
	r.Helper()
	p.Answered(r.Context(), r.memory, result)
}

// call makes one call.
func (r *rig) call(result provider.Result) {
	r.Helper()
	r.end(r.begin(), result)
}

// check makes one check, which an operator may have asked for.
func (r *rig) check(result provider.Result, byOperator bool) {
	r.Helper()
	p := r.enter()
	p.ForCheck()
	require.NoError(r, p.Take(r.Context(), r.memory, byOperator))
	r.end(p, result)
}

// spent asserts that a call is not made because one more refusal could lock the credential, and returns why.
func (r *rig) spent(byOperator bool) (spent *SpentError) {
	r.Helper()
	p := r.enter()
	defer p.Leave()
	require.ErrorAs(r, p.Take(r.Context(), r.memory, byOperator), &spent)
	return spent
}

// refuses asserts that a call is not made because one more refusal could lock the credential.
func (r *rig) refuses(byOperator bool) {
	r.Helper()
	require.NotNil(r, r.spent(byOperator))
}
