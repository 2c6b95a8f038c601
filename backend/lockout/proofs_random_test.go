package lockout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

const (
	// accountLocks is how many refusals in 15 minutes lock an account of the world of proofs.
	accountLocks = 3
	// senderBlocks is how many refusals in ten minutes block the sender, as Fail2Ban does for Plesk.
	senderBlocks = 5
)

// proofWorld has accounts "a" and "b" at a server that counts by sender, and accounts "c" and "d" at one that does not. Two
// nodes, of which one is active, prove their passwords and use connections to the server.
type proofWorld struct {
	*testing.T
	random *rand.Rand
	memory *memory
	nodes  [2]*proofNode
	active int
	now    time.Time
	// ahead is how far the clocks of the nodes are ahead.
	ahead time.Duration
	// refusals are the times that the remote systems remember, by account and of the sender.
	refusals map[string][]time.Time
	highest  map[string]int
	wrong    map[string]bool // passwords and credentials
	running  []*proofCall
	story    []string
}

// proofNode is a node with its store, which refuses to write when another node is active.
type proofNode struct {
	w      *proofWorld
	index  int
	skew   time.Duration
	guards *Guards
}

func (n *proofNode) Attempts(ctx context.Context, key string) (Attempts, error) {
	return n.w.memory.Attempts(ctx, key)
}

func (n *proofNode) PutAttempts(ctx context.Context, key string, a Attempts) error {
	if n.w.active != n.index {
		return errStorage
	}
	return n.w.memory.PutAttempts(ctx, key, a)
}

// proofCall is a proof of an account, or a call with a credential.
type proofCall struct {
	what    string
	node    *proofNode
	began   time.Time
	attempt *Attempt
	permit  *Permit
	looked  bool // the remote system has decided what to answer
	refused bool
}

func newProofWorld(t *testing.T, seed, n uint64) *proofWorld {
	w := &proofWorld{
		T: t, random: rand.New(rand.NewPCG(seed, n)), memory: &memory{entries: map[string]Attempts{}}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		refusals: map[string][]time.Time{}, highest: map[string]int{}, wrong: map[string]bool{},
	}
	for i := range w.nodes {
		w.nodes[i] = &proofNode{w: w, index: i}
		w.start(i)
	}
	return w
}

// start starts a node. Clocks differ by a few seconds.
func (w *proofWorld) start(i int) {
	node := w.nodes[i]
	node.skew = w.upTo(3 * time.Second)
	node.guards = NewGuards(Config{
		Timing: timing.Timing{Now: func() time.Time { return w.now.Add(node.skew + w.ahead) }, Random: zeros{}},
		Warn:   func(string, error) {},
	})
}

func (w *proofWorld) upTo(d time.Duration) time.Duration {
	return time.Duration(w.random.Int64N(int64(d)))
}

func (w *proofWorld) tell(format string, args ...any) {
	w.story = append(w.story, w.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// look lets the remote system decide about a call.
func (w *proofWorld) look(c *proofCall) {
	if c.looked {
		return
	}
	c.looked, c.refused = true, w.wrong[c.what]
	w.tell("%s is looked at, refused %v", c.what, c.refused)
	if !c.refused {
		return
	}
	if c.attempt != nil {
		w.count(c.what, 15*time.Minute, accountLocks)
	}
	if c.permit != nil || c.what == "a" || c.what == "b" {
		w.count("sender", 10*time.Minute, senderBlocks)
	}
	if c.what == "a" || c.what == "b" {
		w.count("proofs at the server", 15*time.Minute, accountLocks)
	}
}

// count counts a refusal as the remote system does.
func (w *proofWorld) count(what string, window time.Duration, limit int) {
	times := slices.DeleteFunc(w.refusals[what], func(at time.Time) bool { return w.now.Sub(at) > window })
	w.refusals[what] = append(times, w.now)
	n := len(w.refusals[what])
	w.highest[what] = max(w.highest[what], n)
	if n >= limit {
		w.Fatalf("%s: %d refusals in %s:\n%s", what, n, window, strings.Join(w.story, "\n"))
	}
}

// proves begins a proof.
func (w *proofWorld) proves() {
	what, sender := string("abcd"[w.random.IntN(4)]), noSender
	if what < "c" {
		sender = server
	}
	node := w.nodes[w.active]
	attempt, err := node.guards.Proofs(what, sender).Take(w.Context(), noWait, node)
	w.tell("proof of %s: %v", what, err)
	if err == nil {
		w.running = append(w.running, &proofCall{what: what, node: node, began: w.now, attempt: attempt})
	}
}

// calls begins a call of a connection.
func (w *proofWorld) calls() {
	what, node := fmt.Sprint("credential ", w.random.IntN(3)), w.nodes[w.active]
	guard := node.guards.Of(provider.Lockout{Sender: server}, what, 1)
	if guard.HeldUntil().After(guard.Now()) || guard.Load(w.Context(), node) != nil {
		return
	}
	p, err := guard.Enter(noWait)
	if err == nil {
		if err = p.Take(w.Context(), node, false); err != nil {
			p.Leave()
		}
	}
	w.tell("call with %s: %v", what, err)
	if err == nil {
		w.running = append(w.running, &proofCall{what: what, node: node, began: w.now, permit: p})
	}
}

// finish answers a call. A refusal of a credential that has worked is seen and stored: the engine counts it afterwards.
func (w *proofWorld) finish(c *proofCall) {
	w.running = slices.DeleteFunc(w.running, func(other *proofCall) bool { return other == c })
	unsent := !c.looked && w.random.IntN(4) == 0
	if !unsent {
		w.look(c)
	}
	isLost := !unsent && w.random.IntN(4) == 0
	w.tell("%s is answered, unsent %v, lost %v", c.what, unsent, isLost)
	if c.permit != nil {
		if c.permit.proved && c.refused {
			isLost = false
			w.memory.failing("")
		}
		result := applied
		switch {
		case unsent:
			result = unreachable
		case isLost:
			result = []provider.Result{unknown, unseen}[w.random.IntN(2)]
		case c.refused:
			result = refused
		}
		c.permit.Answered(w.Context(), c.node, result)
		return
	}
	switch {
	case unsent:
		c.attempt.Answered(proofUnsent)
	case isLost:
		c.attempt.Answered([]provider.Proof{proofLost, proofPanics}[w.random.IntN(2)])
	case c.refused:
		c.attempt.Answered(proofRefused)
	default:
		c.attempt.Answered(proofWorks)
	}
}

// pass lets time pass. No call takes longer than the margins.
func (w *proofWorld) pass(d time.Duration) {
	for _, c := range slices.Clone(w.running) {
		longest := proofMargin - 5*time.Second
		if c.permit != nil {
			longest = minMargin - 5*time.Second
		}
		if w.now.Add(d).Sub(c.began) > longest {
			w.finish(c)
		}
	}
	w.now = w.now.Add(d)
	w.tell("%s passes", d)
}

// crash restarts a node, or makes the other one active. Calls with credentials that have worked end before.
func (w *proofWorld) crash() {
	for _, c := range slices.Clone(w.running) {
		switch {
		case c.permit != nil && c.permit.proved:
			w.finish(c)
		case w.random.IntN(2) == 0:
			w.look(c)
		}
	}
	if w.random.IntN(2) == 0 {
		w.running = nil
		w.start(w.active)
		w.tell("a restart")
		return
	}
	w.active = 1 - w.active
	for key := range w.memory.entries {
		w.nodes[w.active].guards.Invalidate(key)
	}
	w.tell("a failover")
}

// sweep forgets what has no effect.
func (w *proofWorld) sweep() {
	node := w.nodes[w.active]
	for key, a := range w.memory.entries {
		if a.Unused(w.now.Add(node.skew + w.ahead)) {
			delete(w.memory.entries, key)
		}
	}
	node.guards.Keep(nil)
}

// step lets one thing happen.
func (w *proofWorld) step() {
	switch what := w.random.IntN(100); {
	case what < 25:
		w.proves()
	case what < 50:
		for range 1 + w.random.IntN(4) {
			w.calls()
		}
	case what < 55:
		if len(w.running) > 0 {
			w.look(w.running[w.random.IntN(len(w.running))])
		}
	case what < 75:
		if len(w.running) > 0 {
			w.finish(w.running[w.random.IntN(len(w.running))])
		}
	case what < 80:
		most := w.random.IntN(4)
		for _, name := range []string{"a", "b", "c", "d", "credential 0", "credential 1", "credential 2"} {
			w.wrong[name] = w.random.IntN(3) < most
		}
	case what < 84:
		w.pass(w.upTo(5 * time.Second))
	case what < 87:
		w.pass([]time.Duration{0, 9 * time.Minute, 14 * time.Minute, time.Hour}[w.random.IntN(4)] + w.upTo(2*time.Minute))
	case what < 92:
		w.crash()
	case what < 94:
		w.sweep()
	case what < 95:
		w.steps()
	default:
		w.memory.failing([]string{"", "", "get", "put"}[w.random.IntN(4)])
		w.memory.set(func() { w.memory.lands = w.random.IntN(2) == 0 })
	}
}

// steps sets the clock right, or ahead: then the engine would forget what the remote systems still remember.
func (w *proofWorld) steps() {
	if w.ahead == 0 {
		w.pass(16 * time.Minute)
		w.ahead = w.upTo(48 * time.Hour)
	} else {
		w.ahead = 0
	}
	w.tell("the clocks are ahead by %s", w.ahead)
}

// However proofs, calls, crashes, failovers, lost answers, clocks and failures of storage follow each other, no account is
// locked and the sender is not blocked.
func TestNoSequenceOfProofsLocksAnything(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	highest := map[string]int{}
	for n := range uint64(1000) {
		w := newProofWorld(t, seed, n)
		for range 200 {
			w.step()
		}
		for what, n := range w.highest {
			highest[what] = max(highest[what], n)
		}
	}
	for what, want := range map[string]int{"a": 2, "c": 2, "proofs at the server": 2, "sender": 4} {
		if highest[what] < want {
			t.Fatalf("%s: at most %d refusals: the sequences are too tame", what, highest[what])
		}
	}
}
