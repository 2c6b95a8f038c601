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
	seedFlag      = flag.Uint64("model.seed", 0, "the first seed; 0: by the clock")
	sequencesFlag = flag.Int("model.sequences", 0, "stop after so many sequences")
	stepsFlag     = flag.Int("model.steps", 0, "stop after so many steps")
	forFlag       = flag.Duration("model.for", 0, "stop after this time")
	storyFlag     = flag.Bool("model.story", false, "tell the story of the first seed, whatever comes of it")
)

const (
	// length of a sequence, in steps.
	length = 80
	// fewest sequences have to be told for their coverage to count; without another limit as many are.
	fewest = 500
	// leastCoverage is in per cent.
	leastCoverage = 90
)

// Random sequences of requests, faults and time are held against the model after each step. A violation is told with its
// seed and its story. A seed tells its story again, but for the order of what happens in the same moment.
func TestModel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that a seed tells its story again
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano() % 1e9)
	}
	t.Logf("first seed %d", seed)
	first, began, steps, cover := seed, time.Now(), 0, newCoverage()
	for ; !enough(int(seed-first), steps, time.Since(began)); seed++ {
		w := play(t, seed, cover)
		steps += w.steps
		if w.violation != "" {
			t.Fatalf("%s\nseed %d, step %d; to see it again: go test ./backend/rotation/modelcheck -count=10 -model.sequences=1 -model.seed=%d\n%s\n%s",
				w.violation, seed, w.steps, seed, strings.Join(w.story, "\n"), w.ends)
		}
		if *storyFlag {
			fmt.Fprintln(os.Stderr, strings.Join(w.story, "\n"), "\n"+w.ends)
			return
		}
	}
	took := time.Since(began)
	t.Logf("seeds %d to %d: %d sequences, %d steps in %s (%.0f a second), no violation", first, seed-1, seed-first, steps,
		took.Round(time.Millisecond), float64(steps)/took.Seconds())
	cover.judge(t, seed-first < fewest)
}

// enough tells whether a limit is reached.
func enough(sequences, steps int, took time.Duration) bool {
	if *sequencesFlag == 0 && *stepsFlag == 0 && *forFlag == 0 {
		return sequences >= fewest
	}
	return *sequencesFlag > 0 && sequences >= *sequencesFlag || *stepsFlag > 0 && steps >= *stepsFlag || *forFlag > 0 && took >= *forFlag
}

// play tells one sequence.
func play(t *testing.T, seed uint64, cover *coverage) *world {
	t.Helper()
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

// step lets one event happen, and holds what follows against the model.
func (w *world) step() {
	acc := w.accounts[w.dice.IntN(len(w.accounts))]
	list := requests
	if w.chance(45) && acc.state != "" {
		list = happenings
	}
	total := 0
	for _, e := range list {
		if e.on == nil || e.on(w, acc) {
			total += e.weight
		}
	}
	at := w.dice.IntN(total)
	for _, e := range list {
		if e.on != nil && !e.on(w, acc) {
			continue
		}
		if at -= e.weight; at < 0 {
			w.cover.count(acc.state, e.name)
			e.do(w, acc)
			break
		}
	}
	synctest.Wait()
	if w.node.dead {
		w.bury()
	}
	w.poll()
	w.check()
}

// poll takes answers to requests that were left alone.
func (w *world) poll() {
	for _, acc := range w.accounts {
		select {
		case a := <-acc.busy:
			w.line("   %s, left alone: %s", acc.role, a)
			acc.busy = nil
		default:
		}
	}
}
