package modelcheck

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// account is one account on a remote system, and what the engine can know about it.
type account struct {
	w      *world
	system *system
	login  string
	role   string
	rng    *rand.Rand

	parts    []*part
	api      *door      // that of the remote system's API
	attempts []*attempt // those that may still matter
	effects  []*effect  // what will happen without another request
	labels   map[string]string

	// refused are the passwords that were refused as new ones, with their versions, unless an operator has confirmed them
	// since.
	refused map[string]int
	// wrong are the passwords that were refused as old ones, for all that the engine was told.
	wrong map[string]bool

	// ours and theirs are the wrong old passwords in a row, presented by the engine and by users.
	ours, theirs wrongPasswords
	lockedUntil  time.Time

	// misled: an operator confirmed something that is not true.
	misled bool
	// background receives the answer to a request that nobody waits for.
	background chan answer
	// given are passwords that operators chose for it.
	given []string
	read  lastRead
	// state is what creds said after the last step; empty: there is no role.
	state string
	// forgot: the remote system did not carry out what it had taken, and told no one.
	forgot bool
	// overtaken: a late request had its effect after the engine was told that a later password is in force.
	overtaken bool
	// calls counts the requests to change the password, inFlight those that have no answer yet; last arrived last.
	calls, inFlight int
	last            *attempt
	// made are the passwords that storage has had as the next one. dueChange are those made because the password was due;
	// touched are those that the remote system may have taken, as far as the engine can know.
	made, dueChange, touched map[string]bool
	// seen are the results of logins that are not stored yet, noLogin the passwords that were refused since they last worked.
	seen    []seen
	noLogin map[noLogin]bool
	// logins counts the logins, loggingIn those that have no answer yet.
	logins, loggingIn int
	// opens: its doors are open at the end.
	opens bool
	// proving is since when the password in force could be proved, or was.
	proving occasion
	// reboots are the restarts that the engine has requested for the role. steps counts them and the looks at them.
	reboots []*reboot
	steps   int
	// restartFailed are the versions for which a restart has failed, replaced those that were replaced during one. provesFrom is
	// when the logins of the role last changed.
	restartFailed, replaced map[int]bool
	provesFrom              time.Time
	// stated is the password that an operator is making a statement about.
	stated string
	// waiting is the step that the engine has to take for the role.
	waiting waiting
}

// part is what holds a password: the account, or one of its servers.
type part struct {
	name    string
	held    string
	waiting *attempt // its password comes into force at the next restart
	// foreign: others set the password that is held, and Vault does not know it.
	foreign bool
	door    *door
	// others: others have set the password that is held, which Vault may know.
	others bool
	// reboot is the last restart that the engine has requested and that was carried out.
	reboot *reboot
	// proved is what logins have shown.
	proved proved
}

// attempt is one request to change the password.
type attempt struct {
	password, old string
	version       int
	node          *node
	parts         []*part
	deadline      time.Time
	result        provider.Result
	// answered: the engine was told the outcome. settled: and has stored something since. storeTried: it has tried to, and
	// may have lost the outcome.
	answered, settled, storeTried bool
	// orphan: the role that made it is deleted.
	orphan bool
	// later counts the changes confirmed since. confirmed: an operator has said since which password is in force.
	later     int
	confirmed bool
	// proved: logins have shown since which password is in force.
	proved bool
	// repeated: another request with the same password was confirmed.
	repeated bool
	// began is when the piece of work that made it made its first request; ended is when the answer left.
	began, ended time.Time
	// arrived is when it arrived.
	arrived time.Time
	// asked: an operator asked for the work. read: a reader did.
	asked, read bool
	// first: the password had not been sent before, as far as the engine can know.
	first bool
}

// effect is something that the remote system will do later, or may do.
type effect struct {
	at      time.Time
	attempt *attempt
	part    *part
	// queued: it is in the remote system's queue. fails: it will not be carried out, and no one is told.
	queued, fails bool
}

func newAccount(w *world, s *system, number int) *account {
	acc := &account{
		w: w, system: s, login: fmt.Sprintf("login%d", number), role: fmt.Sprintf("role%d", number),
		rng: w.newRNG(), labels: map[string]string{}, refused: map[string]int{}, wrong: map[string]bool{},
		made: map[string]bool{}, dueChange: map[string]bool{}, touched: map[string]bool{}, noLogin: map[noLogin]bool{}, restartFailed: map[int]bool{}, replaced: map[int]bool{},
	}
	for i := range max(1, s.spec.parts) {
		p := &part{name: partName(i), held: w.foreignPassword(), foreign: true}
		p.door = newDoor(acc, p, number, i)
		w.byAddress[p.door.address] = p.door
		acc.parts = append(acc.parts, p)
	}
	acc.api = newDoor(acc, acc.parts[0], number, 255)
	return acc
}

// foreignPassword returns a new password that does not come from Vault.
func (w *world) foreignPassword() string {
	w.foreign++
	return fmt.Sprintf("theirs%06d", w.foreign)
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

// over reports whether a request without an answer can have no effect any more. Remote systems may be late by the margin.
// Without an old password a request may be later than that, until the engine has confirmed two later changes or an
// operator has said which password is in force.
func (acc *account) over(a *attempt, now time.Time) bool {
	if a.old != "" && a.old != acc.parts[0].held && a.password != acc.parts[0].held {
		return true
	}
	if now.Before(a.deadline.Add(acc.margin())) {
		return false
	}
	return acc.system.spec.restart || a.outlived()
}

// outlived reports whether the engine knows enough to believe that the request can have no effect any more. With an old
// password it could only have one if that very password were set again by hand.
func (a *attempt) outlived() bool {
	return a.confirmed || a.later >= 2 || a.old != "" && a.later >= 1
}

// advance lets the effects happen that are due.
func (acc *account) advance(now time.Time) {
	acc.comeBack(now)
	for {
		next := -1
		for i, f := range acc.effects {
			if !f.at.After(now) && (next < 0 || f.at.Before(acc.effects[next].at)) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		f := acc.effects[next]
		acc.effects = slices.Delete(acc.effects, next, next+1)
		acc.happen(f)
	}
}

// happen lets a late or a queued request have its effect.
func (acc *account) happen(f *effect) {
	a, w := f.attempt, acc.w
	what := acc.label(a.password)
	switch {
	case f.queued && f.fails:
		w.note("   (%s: the queued change to %s is dropped)", acc.login, what)
		acc.forgot = true
	case f.queued:
		w.note("   (%s: the queued change to %s is made)", acc.login, what)
		acc.set(f.part, a)
	case a.old != "" && !f.at.Before(a.deadline.Add(acc.margin())) && (a.outlived() || a.old != f.part.held):
		// A wrong old password that is this late is not counted: no engine can leave room for it in all later lock windows.
		w.note("   (%s: the late request with %s has no effect)", acc.login, what)
	case a.old != "":
		w.note("   (%s: the late request with %s is processed)", acc.login, what)
		if acc.checkOld(a, f.at) == "" {
			acc.set(f.part, a)
		}
	case acc.system.spec.restart:
		w.note("   (%s: %s takes %s late)", acc.login, f.part.name, what)
		f.part.waiting = a
	case a.outlived() && !f.at.Before(a.deadline.Add(acc.margin())):
		w.note("   (%s: %s is set long after a later password)", acc.login, what)
		acc.overtake(f)
	default:
		w.note("   (%s: %s is set late)", acc.login, what)
		acc.set(f.part, a)
		f.part.foreign = f.part.foreign || a.proved // logins have shown that this was over
	}
	acc.overtaken = acc.overtaken || a.confirmed || a.later > 0
	if f.queued { // it also counts for earlier requests with the same password
		for _, other := range acc.attempts {
			if other.password == a.password {
				other.later++
			}
		}
	}
}

// set puts a password from Vault in force.
func (acc *account) set(p *part, a *attempt) {
	p.held, p.foreign, p.others = a.password, a.orphan, false
}

// overtake puts a password in force in a way that the engine cannot know: the role may be active with a later one. The
// password must still be kept if it was the one before that, and the engine was not told that it is wrong.
func (acc *account) overtake(f *effect) {
	a := f.attempt
	if r := acc.w.role(acc.role); r != nil && !a.orphan && !a.confirmed && a.repeated && a.later == 2 && !acc.wrong[a.password] && !acc.kept(r.Record, r.Record.List(), a.password) {
		acc.w.fail("I3: %s is in force on %s long after it was sent, and is lost", acc.label(a.password), acc.login)
	}
	f.part.held, f.part.foreign = a.password, true
}

// checkOld checks the old password of a request, and returns what is wrong: "locked", "wrong" or nothing.
func (acc *account) checkOld(a *attempt, now time.Time) string {
	if now.Before(acc.lockedUntil) {
		return "locked"
	}
	if a.old == acc.parts[0].held {
		acc.ours, acc.theirs = wrongPasswords{}, wrongPasswords{}
		return ""
	}
	if acc.ours.add(now); acc.wrongInRow(now) >= lockAfter {
		acc.lockedUntil = now.Add(lockWindow)
		acc.w.fail("%s is locked by the engine's own attempts", acc.login)
	}
	return "wrong"
}

// wrongPasswords counts wrong old passwords, each within the lock window of the one before.
type wrongPasswords struct {
	count int
	last  time.Time
}

func (t *wrongPasswords) at(now time.Time) int {
	if now.Sub(t.last) > lockWindow {
		t.count = 0
	}
	return t.count
}

func (t *wrongPasswords) add(now time.Time) {
	t.count, t.last = t.at(now)+1, now
}

// wrongInRow is how many wrong old passwords in a row the account remembers.
func (acc *account) wrongInRow(now time.Time) int { return acc.ours.at(now) + acc.theirs.at(now) }

// start restarts one server. The waiting password comes into force, unless the server forgets it.
func (acc *account) start(p *part, forgets bool) {
	switch {
	case p.waiting == nil:
	case forgets:
		acc.forgot = true
	default:
		acc.set(p, p.waiting)
		acc.overtaken = acc.overtaken || p.waiting.confirmed // what the operator confirmed was true then
		p.foreign = p.foreign || p.waiting.proved            // nobody has seen that the server took it
	}
	p.waiting = nil
}

// nodeDied forgets the answers that a node had not stored.
func (acc *account) nodeDied(n *node) {
	if len(acc.seen) > 0 {
		acc.w.cover.count(acc.columns(), crashAfterLogin)
		acc.seen = nil
	}
	for _, a := range acc.attempts {
		if a.node == n && !a.settled {
			a.answered = false
		}
	}
	if r := acc.w.role(acc.role); r != nil && r.Record.Next.Exposed() { // it may have been sent, as far as the next one can know
		acc.touched[r.Record.Next.Value] = true
	}
}

// deleted notes that the role is deleted, with all that Vault knew.
func (acc *account) deleted() {
	for _, a := range acc.attempts {
		a.orphan = true
	}
	for _, p := range acc.parts {
		p.foreign = true
		if p.waiting != nil {
			p.waiting.orphan = true
		}
	}
	for _, f := range acc.effects {
		f.attempt.orphan = true
	}
	clear(acc.refused)
	clear(acc.wrong)
	clear(acc.noLogin)
	clear(acc.restartFailed)
	clear(acc.replaced)
	acc.seen, acc.reboots = nil, nil
	acc.misled = false
}

// prune drops the attempts that can have no effect any more.
func (acc *account) prune(now time.Time) {
	acc.attempts = slices.DeleteFunc(acc.attempts, func(a *attempt) bool {
		if a.old != "" && now.Before(a.deadline.Add(acc.margin())) {
			return a.settled
		}
		pending := slices.ContainsFunc(acc.effects, func(f *effect) bool { return f.attempt == a })
		return !pending && (a.settled || acc.over(a, now))
	})
}
