package modelcheck

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// account is the truth about one account on a remote system, and the model's own books on what the engine can know of it.
type account struct {
	w      *world
	system *system
	login  string
	role   string
	dice   *rand.Rand

	parts    []*part
	attempts []*attempt // those that may still matter
	flights  []*flight  // what will happen by itself
	labels   map[string]string

	// refused as a new password, and nobody has said since that it is in force.
	refused map[string]int // the version with which it was
	// wrong as an old password, for all that the engine was told.
	wrong map[string]bool

	ours, theirs wrongs // old passwords in a row, by the engine and by people
	lockedUntil  time.Time

	// misled: a person said something that is not so.
	misled bool
	// busy gives the answer to a request that was left alone.
	busy chan answer
	// given are passwords that people chose for it.
	given []string
	seen  seen
	// state is what creds said after the last step; "": there is no role.
	state string
	// forgot: the remote system did not do what it had taken, and nobody was told.
	forgot bool
	// overtaken: a late request had its effect after the engine was told of a later password that it is in force.
	overtaken bool
	// asked counts requests for a change, underWay those that are being answered.
	asked, underWay int
}

// part is what holds a password: the account, or one of its servers.
type part struct {
	name    string
	held    string
	waiting *attempt // whose password it takes at its next start
	// stranger: somebody else set what it holds, and Vault does not know.
	stranger bool
}

// attempt is one request to change the password.
type attempt struct {
	password, old string
	version       int
	node          *node
	parts         []*part
	deadline      time.Time
	result        provider.Result
	// answered: the engine was told an outcome that says what became of it. settled: and has stored something since.
	// heard: it tried to, and may have failed and lost it.
	answered, settled, heard bool
	// orphan: the role that made it is gone.
	orphan bool
	// later counts the changes that were confirmed since; worded: a person has said which password is in force since.
	later  int
	worded bool
	// repeated: another request with the same password was confirmed.
	repeated bool
}

// flight is something that the remote system will do, or may.
type flight struct {
	at      time.Time
	attempt *attempt
	part    *part
	// queued: it is in the remote system's queue; fails: it will not be done, and nobody is told.
	queued, fails bool
}

func newAccount(w *world, s *system, number int) *account {
	acc := &account{
		w: w, system: s, login: fmt.Sprintf("login%d", number), role: fmt.Sprintf("role%d", number),
		dice: w.newDice(), labels: map[string]string{}, refused: map[string]int{}, wrong: map[string]bool{},
	}
	for i := range max(1, s.spec.parts) {
		acc.parts = append(acc.parts, &part{name: partName(i), held: acc.foreign(), stranger: true})
	}
	return acc
}

// foreign is a new password of somebody else's.
func (acc *account) foreign() string {
	acc.w.made++
	return fmt.Sprintf("theirs%06d", acc.w.made)
}

// label is what the story calls a password.
func (acc *account) label(password string) string {
	if password == "" {
		return "-"
	}
	if acc.labels[password] == "" {
		acc.labels[password] = fmt.Sprintf("p%d", len(acc.labels)+1)
	}
	return acc.labels[password]
}

func (acc *account) margin() time.Duration { return acc.system.spec.margin() }

// over tells whether a request that nobody answered can have no effect any more. A remote system may be late by the margin,
// and later than that as long as nothing tells the engine so: without an old password, until it has confirmed two later
// changes or a person has said what is in force.
func (acc *account) over(a *attempt, now time.Time) bool {
	if a.old != "" && a.old != acc.parts[0].held && a.password != acc.parts[0].held {
		return true
	}
	if now.Before(a.deadline.Add(acc.margin())) {
		return false
	}
	return acc.system.spec.restart || a.outlived()
}

// outlived: enough has been said since then for the engine to believe that the request has no effect any more. The one
// with an old password would need a person who gives that very password again.
func (a *attempt) outlived() bool {
	return a.worded || a.later >= 2 || a.old != "" && a.later >= 1
}

// advance lets what is due by now happen.
func (acc *account) advance(now time.Time) {
	for {
		next := -1
		for i, f := range acc.flights {
			if !f.at.After(now) && (next < 0 || f.at.Before(acc.flights[next].at)) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		f := acc.flights[next]
		acc.flights = slices.Delete(acc.flights, next, next+1)
		acc.land(f)
	}
}

// land lets a late request, or one from the queue, have its effect.
func (acc *account) land(f *flight) {
	a, w := f.attempt, acc.w
	what := acc.label(a.password)
	switch {
	case f.queued && f.fails:
		w.note("   (%s: %s does not come out of the queue)", acc.login, what)
		acc.forgot = true
	case f.queued:
		w.note("   (%s: %s comes out of the queue)", acc.login, what)
		acc.set(f.part, a)
	case a.old != "" && !f.at.Before(a.deadline.Add(acc.margin())) && (a.outlived() || a.old != f.part.held):
		// So late a wrong old password counts for nobody: no engine can leave room for it in every lock window to come.
		w.note("   (%s: the late request with %s comes to nothing)", acc.login, what)
	case a.old != "":
		w.note("   (%s: the late request with %s is looked at)", acc.login, what)
		if acc.checkOld(a, f.at) == "" {
			acc.set(f.part, a)
		}
	case acc.system.spec.restart:
		w.note("   (%s: %s takes %s late)", acc.login, f.part.name, what)
		f.part.waiting = a
	case a.outlived() && !f.at.Before(a.deadline.Add(acc.margin())):
		w.note("   (%s: %s is set long after a later one)", acc.login, what)
		acc.overtake(f)
	default:
		w.note("   (%s: %s is set late)", acc.login, what)
		acc.set(f.part, a)
	}
	acc.overtaken = acc.overtaken || a.worded || a.later > 0
	if f.queued { // an earlier request with it: its repetition counts
		for _, other := range acc.attempts {
			if other.password == a.password {
				other.later++
			}
		}
	}
}

// set puts a password of the engine's in force.
func (acc *account) set(p *part, a *attempt) {
	p.held, p.stranger = a.password, a.orphan
}

// overtake: what the engine cannot know. A role may be active with a later password then; the live one is kept still
// if it was the one before, and nobody has told the engine that it is wrong.
func (acc *account) overtake(f *flight) {
	a := f.attempt
	if role := acc.w.role(acc.role); role != nil && !a.orphan && !a.worded && a.repeated && a.later == 2 && !acc.wrong[a.password] && !acc.kept(role.Record, role.Record.List(), a.password) {
		acc.w.fail("I3: %s is in force on %s long after it was sent, and is lost", acc.label(a.password), acc.login)
	}
	f.part.held, f.part.stranger = a.password, true
}

// checkOld looks at the old password of a request, and says what is wrong with it.
func (acc *account) checkOld(a *attempt, now time.Time) string {
	if now.Before(acc.lockedUntil) {
		return "locked"
	}
	if a.old == acc.parts[0].held {
		acc.ours, acc.theirs = wrongs{}, wrongs{}
		return ""
	}
	if acc.ours.add(now); acc.mistyped(now) >= lockAfter {
		acc.lockedUntil = now.Add(lockWindow)
		acc.w.fail("%s is locked by the engine's own tries", acc.login)
	}
	return "wrong"
}

// wrongs counts wrong old passwords of which each came before the lock window of the one before was over.
type wrongs struct {
	count int
	last  time.Time
}

func (t *wrongs) at(now time.Time) int {
	if now.Sub(t.last) > lockWindow {
		t.count = 0
	}
	return t.count
}

func (t *wrongs) add(now time.Time) {
	t.count, t.last = t.at(now)+1, now
}

// mistyped is how many wrong old passwords in a row the account remembers.
func (acc *account) mistyped(now time.Time) int { return acc.ours.at(now) + acc.theirs.at(now) }

// start restarts one server: what waits comes in force, unless the server has forgotten it.
func (acc *account) start(p *part, forgets bool) {
	switch {
	case p.waiting == nil:
	case forgets:
		acc.forgot = true
	default:
		acc.set(p, p.waiting)
		acc.overtaken = acc.overtaken || p.waiting.worded // it was true when it was said
	}
	p.waiting = nil
}

// forsake: the end of a node leaves requests whose answers nobody has stored.
func (acc *account) forsake(gone *node) {
	for _, a := range acc.attempts {
		if a.node == gone && !a.settled {
			a.answered = false
		}
	}
}

// deleted: the role is gone, with all that Vault knew.
func (acc *account) deleted() {
	for _, a := range acc.attempts {
		a.orphan = true
	}
	for _, p := range acc.parts {
		p.stranger = true
		if p.waiting != nil {
			p.waiting.orphan = true
		}
	}
	for _, f := range acc.flights {
		f.attempt.orphan = true
	}
	clear(acc.refused)
	clear(acc.wrong)
	acc.misled = false
}

// prune forgets attempts that can have no effect any more.
func (acc *account) prune(now time.Time) {
	acc.attempts = slices.DeleteFunc(acc.attempts, func(a *attempt) bool {
		if a.old != "" && now.Before(a.deadline.Add(acc.margin())) {
			return a.settled
		}
		flies := slices.ContainsFunc(acc.flights, func(f *flight) bool { return f.attempt == a })
		return !flies && (a.settled || acc.over(a, now))
	})
}

// stored is called when an entry of a role was written, or not: what the engine was told before that is settled then.
func (w *world) stored(role string, done bool) {
	acc := w.byRole[role]
	if acc == nil {
		return
	}
	if _, there := w.disk.entries[rolePrefix+role]; !there && done {
		acc.deleted()
		return
	}
	for _, a := range acc.attempts {
		if !a.answered || a.settled {
			continue
		}
		if done {
			acc.settle(a)
		}
		a.heard = true
	}
}

// settle keeps the books on an outcome that the engine has stored.
func (acc *account) settle(a *attempt) {
	a.settled = true
	switch {
	case a.result.Outcome == provider.Applied:
		for _, other := range acc.attempts {
			if other != a {
				other.later++
				other.repeated = other.repeated || other.password == a.password
			}
		}
		delete(acc.refused, a.password)
		delete(acc.wrong, a.password)
		if acc.parts[0].held == a.password {
			acc.misled = false
		}
	case a.result.Outcome == provider.Staged:
		delete(acc.refused, a.password)
	case a.heard: // it may have been lost
	case a.result.Outcome == provider.Rejected && a.result.Scope == provider.ScopePassword:
		acc.refused[a.password] = a.version
	case a.result.Outcome == provider.Mismatch:
		acc.wrong[a.old] = true
	}
}
