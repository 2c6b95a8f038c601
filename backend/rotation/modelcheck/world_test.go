package modelcheck

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/store"
)

// world is the state of one sequence.
type world struct {
	// mu guards everything that remote systems and storage touch. It is never held while waiting.
	mu   sync.Mutex
	seed uint64
	// rng decides the steps. Systems and accounts have generators of their own, so that their order does not matter.
	rng, passwords *rand.Rand

	disk       *disk
	fault      fault
	faultEnded time.Time // the last one
	// touched counts storage operations. faulted: one has failed since this was last reset.
	touched    int
	faulted    bool
	operations operations
	// watched is the role whose storage operations are counted; calls counts the calls to remote systems.
	watched string
	calls   int

	node  *node
	nodes int

	systems  map[string]*system // by url
	ordered  []*system
	accounts []*account
	byLogin  map[string]*account
	// byAddress are the doors.
	byAddress map[string]*door
	byRole    map[string]*account
	foreign   int // passwords made by others

	decoded map[string]decoded // by key

	begun     time.Time
	steps     int
	story     []string
	violation string
	// ends describes all accounts at the end.
	ends  string
	cover *coverage
}

// decoded is a storage entry, decoded after so many writes.
type decoded struct {
	writes int
	value  any
}

// jitterBytes is how many bytes the engine reads for the jitter of a wait.
const jitterBytes = 4

// source is the engine's source of randomness. Jitter depends on the moment, so that it does not matter who reads first.
type source struct{ w *world }

func (s *source) Read(p []byte) (int, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if len(p) == jitterBytes {
		var jitter [jitterBytes]byte
		rng := rand.New(rand.NewPCG(s.w.seed, uint64(time.Now().UnixNano())))
		binary.BigEndian.PutUint32(jitter[:], rng.Uint32())
		return copy(p, jitter[:]), nil
	}
	for i := range p {
		p[i] = byte(s.w.passwords.Uint32())
	}
	return len(p), nil
}

func newWorld(seed uint64, cover *coverage) *world {
	w := &world{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), passwords: rand.New(rand.NewPCG(seed, 1)),
		disk: &disk{entries: map[string][]byte{}, writes: map[string]int{}}, systems: map[string]*system{},
		byLogin: map[string]*account{}, byAddress: map[string]*door{}, byRole: map[string]*account{}, decoded: map[string]decoded{},
		begun: time.Now(), cover: cover,
	}
	number := 0
	for i := range 2 {
		spec := specs[(seed+uint64(i)*(1+seed/uint64(len(specs))%4))%uint64(len(specs))]
		s := &system{
			w: w, spec: spec, name: fmt.Sprintf("conn%d", i), url: fmt.Sprintf("https://remote%d.example", i),
			rng: w.newRNG(), key: "key1", keys: 1,
		}
		w.systems[s.url] = s
		w.ordered = append(w.ordered, s)
		for range 2 - i {
			number++
			acc := newAccount(w, s, number)
			w.accounts = append(w.accounts, acc)
			w.byLogin[acc.login], w.byRole[acc.role] = acc, acc
		}
	}
	return w
}

func (w *world) newRNG() *rand.Rand { return rand.New(rand.NewPCG(w.rng.Uint64(), 2)) }

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

// now is the time as the engine sees it.
func (w *world) now() time.Time { return time.Now().UTC().Round(0) }

// note adds a line to the story. w.mu is held.
func (w *world) note(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%9.1fs ", time.Since(w.begun).Seconds())+fmt.Sprintf(format, args...))
}

// log is note without the lock.
func (w *world) log(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(format, args...)
}

// fail reports a violation; the first one ends the sequence. w.mu is held.
func (w *world) fail(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
		w.note("VIOLATION %s", w.violation)
	}
}

// role returns the role as stored, which must not be changed; nil: there is none. w.mu is held.
func (w *world) role(name string) *role.Role { return entry[role.Role](w, store.RolePrefix+name) }

// entry returns an entry as stored, which must not be changed; nil: there is none. w.mu is held.
func entry[T any](w *world, key string) *T {
	raw := w.disk.entries[key]
	if raw == nil {
		return nil
	}
	if d, ok := w.decoded[key]; ok && d.writes == w.disk.writes[key] {
		return d.value.(*T)
	}
	value := new(T)
	if err := json.Unmarshal(raw, value); err != nil {
		w.fail("the entry %s cannot be decoded: %s", key, err)
		return nil
	}
	w.decoded[key] = decoded{w.disk.writes[key], value}
	return value
}

// describe describes all accounts, for the end of a story. w.mu is held.
func (w *world) describe() string {
	var out strings.Builder
	for _, acc := range w.accounts {
		fmt.Fprintf(&out, "%s (%s):", acc.login, acc.system.spec.name)
		for _, p := range acc.parts {
			fmt.Fprintf(&out, " %s holds %s", p.name, acc.label(p.held))
			if p.waiting != nil {
				fmt.Fprintf(&out, " (%s waits for a restart)", acc.label(p.waiting.password))
			}
			if p.foreign {
				out.WriteString(" (not from Vault)")
			}
		}
		if r := w.role(acc.role); r != nil {
			out.WriteString("; " + acc.describe(r))
		}
		out.WriteString("\n")
	}
	return out.String()
}

// describe describes a role's record without its passwords.
func (acc *account) describe(r *role.Role) string {
	var out strings.Builder
	for i, l := range r.Record.List() {
		if i > 0 {
			out.WriteString(", ")
		}
		fmt.Fprintf(&out, "v%d=%s %s", l.Version, acc.label(l.Value), l.State)
	}
	if c := r.Record.Current; c != nil {
		fmt.Fprintf(&out, " [confirmed %t by %s]", c.Confirmed, c.Basis)
	}
	fmt.Fprintf(&out, " [%s, %s", timingOf(r.Options), proofOf(r.Options))
	if !r.Due.IsZero() {
		fmt.Fprintf(&out, ", due at %.0fs", r.Due.Sub(acc.w.begun).Seconds())
	}
	if r.Options.Disabled {
		out.WriteString(", automation disabled")
	}
	if p := r.Proofs; !p.Time.IsZero() || !p.Next.IsZero() || p.Wanted {
		fmt.Fprintf(&out, ", login at %.0fs %s, next at %.0fs, wanted %t", p.Time.Sub(acc.w.begun).Seconds(), p.Verdict, p.Next.Sub(acc.w.begun).Seconds(), p.Wanted)
	}
	if t := r.Retry; t.Attempts > 0 || !t.NextAttempt.IsZero() {
		fmt.Fprintf(&out, ", %d attempts, next at %.0fs", t.Attempts, t.NextAttempt.Sub(acc.w.begun).Seconds())
		if t.Last != nil {
			fmt.Fprintf(&out, " after %s (%s)", t.Last.Class, t.Last.Scope)
		}
	}
	if of := r.Restarts; of.Version > 0 {
		fmt.Fprintf(&out, ", restarts %s for v%d: %q since %.0fs, back %t, done %v, failed %q", r.Target.Restart, of.Version, of.Part, of.Since.Sub(acc.w.begun).Seconds(), of.Back, of.Done, of.Failed)
	}
	out.WriteString("]")
	return out.String()
}
