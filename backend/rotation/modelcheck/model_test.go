// Package modelcheck runs the engine in fake time against simulated remote systems, with doors to log in at and servers to
// restart. Random sequences of requests, faults, restarts, crashes and changes by others are held against a model after each
// step.
//
// What the model knows and the engine does not: which password each account holds, and what late requests will still do.
// It checks
//
//	I1  a password that is in force on an account is in the role's record;
//	I2  a password is stored as being sent before it is sent, with a deadline that is not before the request's;
//	I3  so is every password that a request may still put in force;
//	I4  creds never returns a password that was refused, and "active" is true on all servers of the account;
//	I5  a different password is sent only after an unresolved request can have no effect any more, and requests never overlap;
//	I6  an undisturbed rotation costs one read and two writes, and one write more if a login proves it;
//	I7  once all faults have ended, every role settles without a request and can be rotated;
//	T1  a role with a schedule has a due time, at most one interval away, that follows from its password's time;
//	T2  a password is changed because it is due only if it is;
//	A1  the mount is frozen exactly while a freeze is in force, also one that a stop longer than catch_up_limit caused;
//	A2  nothing is sent automatically while the mount is frozen, before that is known, or for a role with
//	    disable_automated_rotation;
//	A3  a due change does not begin outside its rotation_window;
//	A4  a role with rotation_mode=on_read is changed because it is due only by a read;
//	A5  writing the right credential ends the pause of a connection;
//	L1  a change that is due or unfinished, and that nothing is in the way of, is tried within minutes, or within about one
//	    after an operator has mended the paused connection; a queued password is settled in time;
//	L2  a paused connection is probed in time;
//	L3  the engine never repeats something without waiting;
//	P1  no more than two logins are refused at one account and address within 15 minutes, whatever crashes;
//	P2  a login is made only with passwords of the record, and first with the one that is believed in force;
//	P3  creds returns what logins on all servers have shown, and "active" is no password that was refused last; a password at
//	    rest is proved within verify_period and the delays that the budget causes; with on_drift=recover, a password of the
//	    record that works is found;
//	R1  one server of a role is restarted at a time, and the next one only when the one before is back and, if logins prove
//	    passwords, proved;
//	R2  a server is restarted only if the role and the connection want that, in the rotation_window of a due change, for a
//	    password that it has taken, and once for each password, unless the remote system says that it did not restart, or the
//	    password was replaced meanwhile and is to come into force after all;
//	R3  after a failed restart, no other server is restarted for that password;
//	R4  once all faults have ended, the servers are restarted without a person, unless a restart has failed;
//
// and that no account and no credential is locked by the engine's attempts. L1 and L2 are checked while storage works and
// the connection's weather is fair.
package modelcheck

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedFlag      = flag.Uint64("model.seed", 1, "first seed; 0 takes one from the clock")
	sequencesFlag = flag.Int("model.sequences", 0, "stop after this many sequences")
	stepsFlag     = flag.Int("model.steps", 0, "stop after this many steps")
	forFlag       = flag.Duration("model.for", 0, "stop after this time")
	storyFlag     = flag.Bool("model.story", false, "print the steps of the first sequence, whether it fails or not")
)

const (
	// length of a sequence, in steps.
	length = 80
	// fewest sequences that must have run for their coverage to count; the default number.
	fewest = 500
	// leastCoverage in percent.
	leastCoverage = 90
	// hung is the real time after which a sequence counts as hung; it takes less than a second.
	hung = 2 * time.Minute
)

// TestModel runs random sequences until a limit is reached. A violation is reported with its seed and its steps. A seed
// repeats a sequence, except for the order of what happens at the same moment.
func TestModel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that a seed repeats its sequence
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano() % 1e9)
	}
	t.Logf("first seed %d", seed)
	first, began, steps, cover := seed, time.Now(), 0, newCoverage()
	for ; !enough(int(seed-first), steps, time.Since(began)); seed++ {
		w := run(t, seed, cover)
		steps += w.steps
		if w.violation != "" {
			t.Fatalf("%s\nseed %d, step %d; to repeat it: go test ./backend/rotation/modelcheck -count=10 -model.sequences=1 -model.seed=%d\n%s\n%s",
				w.violation, seed, w.steps, seed, strings.Join(w.story, "\n"), w.ends)
		}
		if *storyFlag {
			fmt.Fprintln(os.Stderr, strings.Join(w.story, "\n"), "\n"+w.ends)
			return
		}
	}
	took := time.Since(began)
	t.Logf("seeds %d to %d: %d sequences, %d steps in %s (%.0f per second), no violation", first, seed-1, seed-first, steps,
		took.Round(time.Millisecond), float64(steps)/took.Seconds())
	cover.check(t, seed-first >= fewest)
}

// enough reports whether a limit is reached.
func enough(sequences, steps int, took time.Duration) bool {
	if *sequencesFlag == 0 && *stepsFlag == 0 && *forFlag == 0 {
		return sequences >= fewest
	}
	return *sequencesFlag > 0 && sequences >= *sequencesFlag || *stepsFlag > 0 && steps >= *stepsFlag || *forFlag > 0 && took >= *forFlag
}

// run runs one sequence.
func run(t *testing.T, seed uint64, cover *coverage) *world {
	t.Helper()
	watchdog := time.AfterFunc(hung, func() { panic(fmt.Sprintf("seed %d hangs", seed)) })
	defer watchdog.Stop()
	var w *world
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed, cover)
		w.boot()
		for w.steps < length && w.violation == "" {
			w.steps++
			w.step()
		}
		if w.violation == "" {
			w.rest()
		}
		w.mu.Lock()
		w.ends = w.describe()
		w.mu.Unlock()
		w.node.engine.Stop()
		w.mu.Lock()
		w.node.kill()
		w.mu.Unlock()
	})
	return w
}

// step draws one event, runs it, and checks what follows.
func (w *world) step() {
	acc := w.accounts[w.rng.IntN(len(w.accounts))]
	list := requests
	if w.chance(45) && acc.state != "" {
		list = occurrences
	}
	total := 0
	for _, e := range list {
		if e.on == nil || e.on(w, acc) {
			total += e.weight
		}
	}
	at := w.rng.IntN(total)
	for _, e := range list {
		if e.on != nil && !e.on(w, acc) {
			continue
		}
		if at -= e.weight; at < 0 {
			w.mu.Lock()
			w.cover.count(acc.columns(), e.name)
			w.mu.Unlock()
			e.do(w, acc)
			break
		}
	}
	synctest.Wait()
	if w.node.dead {
		w.replaceNode()
	}
	w.look()
}

// look takes the answers that have arrived, and checks all accounts.
func (w *world) look() {
	w.poll()
	w.check()
	w.watch()
}

// poll takes the answers to requests in the background.
func (w *world) poll() {
	for _, acc := range w.accounts {
		select {
		case a := <-acc.background:
			w.log("   %s, in the background: %s", acc.role, a)
			acc.background = nil
		default:
		}
	}
}
