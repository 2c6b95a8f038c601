package modelcheck

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/rotation"
)

// rolePrefix is where the engine keeps roles.
const rolePrefix = "role/"

// world is everything that one sequence is about.
type world struct {
	// mu guards everything that remote systems and storage touch; never held while anybody waits.
	mu   sync.Mutex
	seed uint64
	// dice decide the steps; systems and accounts have their own, so that their order does not matter.
	dice, random *rand.Rand

	disk    *disk
	trouble trouble
	// touched counts storage operations, troubled tells that one failed since it was last reset.
	touched    int
	troubled   bool
	operations operations
	// watched is the role whose operations are counted, calls the calls to remote systems.
	watched string
	calls   int

	node  *node
	lives int

	systems  map[string]*system // by url
	ordered  []*system
	accounts []*account
	byLogin  map[string]*account
	byRole   map[string]*account
	made     int // passwords of people

	roles map[string]*decoded

	begun     time.Time
	steps     int
	story     []string
	violation string
	// ends is how all accounts stand at the end.
	ends  string
	cover *coverage
}

// decoded is a role as the disk has it at a count of writes.
type decoded struct {
	writes int
	role   *rotation.Role
}

// spread is how many bytes the engine reads to spread a wait.
const spread = 4

// source makes the engine's passwords and spreads its waits: by the moment, whoever of those that come in it is first.
type source struct{ w *world }

func (s *source) Read(p []byte) (int, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if len(p) == spread {
		var moment [spread]byte
		dice := rand.New(rand.NewPCG(s.w.seed, uint64(time.Now().UnixNano())))
		binary.BigEndian.PutUint32(moment[:], dice.Uint32())
		return copy(p, moment[:]), nil
	}
	for i := range p {
		p[i] = byte(s.w.random.Uint32())
	}
	return len(p), nil
}

func newWorld(seed uint64, cover *coverage) *world {
	w := &world{
		seed: seed, dice: rand.New(rand.NewPCG(seed, 0)), random: rand.New(rand.NewPCG(seed, 1)),
		disk: &disk{entries: map[string][]byte{}, writes: map[string]int{}}, systems: map[string]*system{},
		byLogin: map[string]*account{}, byRole: map[string]*account{}, roles: map[string]*decoded{},
		begun: time.Now(), cover: cover,
	}
	number := 0
	for i := range 2 {
		spec := specs[(seed+uint64(i)*(1+seed/uint64(len(specs))%4))%uint64(len(specs))]
		s := &system{
			w: w, spec: spec, name: fmt.Sprintf("conn%d", i), url: fmt.Sprintf("https://remote%d.example", i),
			dice: w.newDice(), key: "key1", keys: 1,
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

func (w *world) newDice() *rand.Rand { return rand.New(rand.NewPCG(w.dice.Uint64(), 2)) }

func (w *world) chance(percent int) bool { return w.dice.IntN(100) < percent }

// now is the time as the engine has it.
func (w *world) now() time.Time { return time.Now().UTC().Round(0) }

// note adds a line to the story.
func (w *world) note(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%9.1fs ", time.Since(w.begun).Seconds())+fmt.Sprintf(format, args...))
}

// fail tells that an invariant is violated; the first one ends the sequence. w.mu is held.
func (w *world) fail(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
		w.note("VIOLATION %s", w.violation)
	}
}

// role is the role as the disk has it; nil: there is none. w.mu is held.
func (w *world) role(name string) *rotation.Role {
	key := rolePrefix + name
	value := w.disk.entries[key]
	if value == nil {
		return nil
	}
	if d := w.roles[name]; d != nil && d.writes == w.disk.writes[key] {
		return d.role
	}
	role := &rotation.Role{}
	if err := json.Unmarshal(value, role); err != nil {
		w.fail("the entry of %s cannot be decoded: %s", name, err)
		return nil
	}
	w.roles[name] = &decoded{w.disk.writes[key], role}
	return role
}

// describe tells how every account stands, for the end of a story that ends badly.
func (w *world) describe() string {
	var out strings.Builder
	for _, acc := range w.accounts {
		fmt.Fprintf(&out, "%s (%s):", acc.login, acc.system.spec.name)
		for _, p := range acc.parts {
			fmt.Fprintf(&out, " %s holds %s", p.name, acc.label(p.held))
			if p.waiting != nil {
				fmt.Fprintf(&out, " (%s waits)", acc.label(p.waiting.password))
			}
			if p.stranger {
				out.WriteString(" (by somebody else)")
			}
		}
		if role := w.role(acc.role); role != nil {
			out.WriteString("; " + acc.record(role))
		}
		out.WriteString("\n")
	}
	return out.String()
}

// record is what a role holds, in short and without passwords.
func (acc *account) record(role *rotation.Role) string {
	var out strings.Builder
	for i, l := range role.Record.List() {
		if i > 0 {
			out.WriteString(", ")
		}
		fmt.Fprintf(&out, "v%d=%s %s", l.Version, acc.label(l.Value), l.State)
	}
	if c := role.Record.Current; c != nil {
		fmt.Fprintf(&out, " [confirmed %t by %s]", c.Confirmed, c.Basis)
	}
	return out.String()
}
