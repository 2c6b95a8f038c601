package rotation

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/backend/credential"
)

// board knows how every role of the mount stands, without a secret, so that the health of the mount can be told without
// reading storage. It is kept by the node that changes passwords, with every role that is stored or found.
type board struct {
	mu     sync.Mutex // guards the fields below
	roles  map[string]*facts
	counts map[string]*stateCounts // by provider
	// due is a heap of the roles that have a due time.
	due byTime[*facts]
	// failing have had a failure since their last success; onHold have disable_automated_rotation.
	failing, onHold int
	// persons are the sentences of the roles that need a person.
	persons map[string]string
	pauses  map[string]PausedConnection
}

// facts are what is known of one role: some 100 bytes, map and heaps included.
type facts struct {
	name   string
	counts *stateCounts
	due    instant // 0: none that the engine has to heed
	index  int32   // in the heap
	state  uint8   // index in credential.States
	marks  marks
}

func (f *facts) when() instant     { return f.due }
func (f *facts) moved(index int32) { f.index = index }

type marks uint8

const (
	failing marks = 1 << iota
	onHold
)

// stateCounts are the roles of one provider by state.
type stateCounts [16]int

// PausedConnection is a connection whose credential is refused.
type PausedConnection struct {
	Connection, Provider, Reason string
	Since                        time.Time
	// NextProbe is when it is tried again; zero: not before a person acts.
	NextProbe time.Time
}

// NeedsPerson is a role that does not go on without a person.
type NeedsPerson struct{ Role, Sentence string }

// Dated is a role and a time; the role is empty where there is none.
type Dated struct {
	Role string
	Time time.Time
}

// Health is how all roles of a mount stand.
type Health struct {
	// Complete: every role has been read since the start.
	Complete bool
	Roles    int
	// States counts roles by state; Providers does by provider and state.
	States    map[credential.State]int
	Providers map[string]map[credential.State]int
	// Overdue roles are due and not changed yet, but for those on hold, those that a read changes, and those whose last
	// password is not in force yet.
	Overdue, Failing, OnHold int
	OldestOverdue, NextDue   Dated
	Paused                   []PausedConnection
	// NeedPerson are the first of PersonsNeeded roles that need a person, by name.
	NeedPerson    []NeedsPerson
	PersonsNeeded int
	Freeze        *Freeze
}

// listedPersons is how many roles Health lists.
const listedPersons = 500

// set takes down how a role stands. person says why it needs one; empty: it does not.
func (b *board) set(role *Role, state credential.State, due instant, person string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.roles[role.Name]
	if f == nil {
		if b.roles == nil {
			b.roles, b.counts, b.persons = map[string]*facts{}, map[string]*stateCounts{}, map[string]string{}
		}
		f = &facts{name: role.Name, index: -1}
		b.roles[role.Name] = f
	} else {
		b.discount(f)
	}
	f.counts = b.counts[role.Provider]
	if f.counts == nil {
		f.counts = &stateCounts{}
		b.counts[role.Provider] = f.counts
	}
	f.state = uint8(max(0, slices.Index(credential.States(), state))) //nolint:gosec // there are seven
	f.marks = 0
	if role.Retry.Last != nil && role.Retry.Attempts > 0 { // else it just has to wait for something
		f.marks |= failing
	}
	if role.Options.Disabled {
		f.marks |= onHold
	}
	f.counts[f.state]++
	b.count(f, 1)
	if due != f.due {
		b.move(f, due)
	}
	b.ask(role.Name, person)
}

// discount takes a role out of all counts; b.mu is held.
func (b *board) discount(f *facts) {
	f.counts[f.state]--
	b.count(f, -1)
}

func (b *board) count(f *facts, by int) {
	if f.marks&failing != 0 {
		b.failing += by
	}
	if f.marks&onHold != 0 {
		b.onHold += by
	}
}

// move gives a role another due time; b.mu is held.
func (b *board) move(f *facts, due instant) {
	if f.index >= 0 {
		heap.Remove(&b.due, int(f.index))
		f.index = -1
	}
	if f.due = due; due > 0 {
		heap.Push(&b.due, f)
	}
}

// ask takes down why a role needs a person; b.mu is held.
func (b *board) ask(role, person string) {
	if person == "" {
		delete(b.persons, role)
		return
	}
	b.persons[role] = person
}

// needs takes down why a role needs a person that cannot be worked on.
func (b *board) needs(role, person string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.roles[role] != nil {
		b.ask(role, person)
	}
}

// forget: the role is gone.
func (b *board) forget(role string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.roles[role]; f != nil {
		b.discount(f)
		b.move(f, 0)
		delete(b.roles, role)
		delete(b.persons, role)
	}
}

// paused takes down the pause of a connection; nil: it has none.
func (b *board) paused(l *live, pause *Pause) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pauses == nil {
		b.pauses = map[string]PausedConnection{}
	}
	b.pauses[l.Name] = PausedConnection{
		Connection: l.Name, Provider: l.Provider, Reason: pause.Reason, Since: pause.Since, NextProbe: pause.NextProbe,
	}
}

// opened: the connection is not paused any more, or gone.
func (b *board) opened(connection string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pauses, connection)
}

// names are the roles that are known.
func (b *board) names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.roles))
}

// health reads the board. It takes time for the roles that are overdue and for those that need a person, not for all.
func (b *board) health(now time.Time) Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := Health{
		Roles: len(b.roles), States: map[credential.State]int{}, Providers: map[string]map[credential.State]int{},
		Failing: b.failing, OnHold: b.onHold, PersonsNeeded: len(b.persons),
	}
	for name, counts := range b.counts {
		for i, state := range credential.States() {
			if n := counts[i]; n > 0 {
				if h.Providers[name] == nil {
					h.Providers[name] = map[credential.State]int{}
				}
				h.Providers[name][state] = n
				h.States[state] += n
			}
		}
	}
	h.Overdue, h.OldestOverdue, h.NextDue = late(b.due, instantOf(now))
	h.Paused = slices.SortedFunc(maps.Values(b.pauses), func(a, b PausedConnection) int { return cmp.Compare(a.Connection, b.Connection) })
	names := slices.Sorted(maps.Keys(b.persons))
	for _, name := range names[:min(len(names), listedPersons)] {
		h.NeedPerson = append(h.NeedPerson, NeedsPerson{Role: name, Sentence: b.persons[name]})
	}
	return h
}

// late counts the roles whose time has come, and says which was due first and which will be next.
func late(h byTime[*facts], now instant) (n int, oldest, next Dated) {
	var first *facts
	for open := []int{0}; len(open) > 0; {
		i := open[len(open)-1]
		open = open[:len(open)-1]
		switch {
		case i >= len(h):
		case h[i].due > now: // and so are all below it
			if first == nil || h[i].due < first.due {
				first = h[i]
			}
		default:
			n++
			open = append(open, 2*i+1, 2*i+2)
		}
	}
	if n > 0 {
		oldest = Dated{h[0].name, h[0].due.time()}
	}
	if first != nil {
		next = Dated{first.name, first.due.time()}
	}
	return n, oldest, next
}

// Health tells how all roles of the mount stand: from memory, on the node that changes passwords.
func (e *Engine) Health() Health {
	h := e.board.health(e.clock())
	h.Freeze = e.frozen()
	e.mu.Lock()
	h.Complete = e.swept
	e.mu.Unlock()
	return h
}

// note takes down how a role stands.
func (e *Engine) note(role *Role) {
	view := role.Record.View(e.clock())
	var due instant
	if at := role.dueTime(); !at.IsZero() && !role.Options.Disabled && role.Options.RotationMode != ModeOnRead && !role.held(view) {
		due = instantOf(at)
	}
	e.board.set(role, view.State, due, e.person(role, view))
}

// person says why a role needs a person, and what to do; empty: it does not.
func (e *Engine) person(role *Role, view credential.View) string {
	last := role.Retry.Last
	switch {
	case view.State == credential.StateDrifted, view.State == credential.StateRestartRequired, role.stuck(),
		view.State == credential.StateUncertain && role.Options.Disabled:
		return stateReason(role, view) + " " + sentence(e.advice(role, view))
	case last != nil && last.person():
		return "The last change failed: " + last.String() + ". " + sentence(e.failureAdvice(role))
	default:
		return ""
	}
}
