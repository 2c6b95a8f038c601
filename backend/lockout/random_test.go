package lockout

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// world is a remote system that locks a credential after some refusals in a row, and an engine that makes random calls.
type world struct {
	*rig
	random *rand.Rand
	wrong  bool
	// row is how many refusals there were in a row, the last of them at last; hidden are those of them whose answers were lost
	// while calls ran together.
	row, hidden int
	last        time.Time
	running     []*running
	story       []string
}

// running is a call that has begun.
type running struct {
	permit *Permit
	// looked: the remote system has decided what to answer.
	looked bool
	result provider.Result
	// mistyped: an operator tries a wrong credential of the same login.
	mistyped bool
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%s ", w.time().Format("15:04:05"))+fmt.Sprintf(format, args...))
}

// look lets the remote system look at a call.
func (w *world) look(c *running) {
	if c.looked {
		return
	}
	c.looked = true
	if w.time().Sub(w.last) >= 5*time.Minute {
		w.row, w.hidden = 0, 0
	}
	switch chance := w.random.IntN(20); {
	case chance == 0:
		c.result = throttle
	case chance < 3:
		c.result = unreachable
	case c.mistyped || w.wrong:
		w.row++
		w.last = w.time()
		c.result = refused
		if w.hidden < w.limit()-1 && chance < 10 {
			w.hidden++
			c.result = unknown
		}
	default:
		w.row, w.hidden = 0, 0
		c.result = applied
	}
	w.tell("%s: %s, %d in a row", w.name(c), c.result.Outcome, w.row)
	if w.row > w.limit() {
		w.Fatalf("the credential is locked:\n%s", strings.Join(w.story, "\n"))
	}
}

func (w *world) name(c *running) string { return fmt.Sprintf("call %p", c) }

// start begins a call as connection.Handle does; nil: it may not be made.
func (w *world) start(check, byOperator, mistyped bool) *running {
	p, err := w.Enter(noWait)
	if err != nil {
		return nil
	}
	if !check && (w.Suspected() || w.HeldUntil().After(w.time())) {
		p.Leave()
		return nil
	}
	p.Presents("conn", map[bool]string{true: fmt.Sprint("mistyped ", w.random.IntN(3)), false: "right"}[mistyped])
	switch {
	case byOperator:
		p.ForTrial(Trial{By: "conn", InUse: w.random.IntN(2) == 0 && !mistyped})
	case check:
		p.ForCheck()
	}
	if err := p.Take(w.Context(), w.memory, byOperator); err != nil {
		p.Leave()
		w.tell("not made: %v", err)
		return nil
	}
	c := &running{permit: p, mistyped: mistyped}
	if w.random.IntN(20) == 0 { // the password cannot be stored
		p.GiveBack(w.Context(), w.memory)
		p.Leave()
		return nil
	}
	w.running = append(w.running, c)
	w.tell("%s begins, check %v, operator %v, mistyped %v, stored %+v", w.name(c), check, byOperator, mistyped, w.stored())
	return c
}

// finish answers a call.
func (w *world) finish(c *running) {
	w.look(c)
	for i, other := range w.running {
		if other == c {
			w.running = append(w.running[:i:i], w.running[i+1:]...)
			break
		}
	}
	w.end(c.permit, c.result)
	w.tell("%s answered, stored %+v", w.name(c), w.stored())
}

// step lets one thing happen.
func (w *world) step() {
	switch what := w.random.IntN(100); {
	case what < 35:
		w.start(false, false, false)
	case what < 45:
		if len(w.running) > 0 {
			w.look(w.running[w.random.IntN(len(w.running))])
		}
	case what < 70:
		if len(w.running) > 0 {
			w.finish(w.running[w.random.IntN(len(w.running))])
		}
	case what < 78:
		if w.Suspected() && len(w.running) == 0 {
			if done, err := w.Check(w.Context(), time.Minute); err == nil {
				if c := w.start(true, false, false); c != nil {
					w.finish(c)
				}
				done()
			}
		}
	case what < 82:
		w.wrong = w.random.IntN(3) > 0
		w.tell("wrong: %v", w.wrong)
	case what < 86:
		w.operator()
	case what < 92:
		for _, c := range w.running { // all have ended in a minute
			w.look(c)
		}
		d := time.Duration(w.random.IntN(180)) * time.Second
		if w.random.IntN(4) == 0 {
			d = time.Duration(w.random.IntN(24)) * time.Hour
		}
		w.pass(d)
	case what < 96:
		w.restarts()
	default:
		w.failing([]string{"", "", "get", "put"}[w.random.IntN(4)])
		w.set(func() { w.lands = w.random.IntN(2) == 0 })
	}
}

// operator writes the credential again, checked or unchecked.
func (w *world) operator() {
	proved := false
	if w.random.IntN(3) > 0 {
		c := w.start(true, true, w.random.IntN(2) == 0)
		if c == nil {
			return
		}
		w.finish(c)
		if proved = c.result.Outcome == provider.Applied; !proved {
			return
		}
	}
	err := w.Renew(w.Context(), w.memory, proved, true)
	w.tell("renewed, proved %v: %v, stored %+v", proved, err, w.stored())
}

// restarts ends the process. The remote system has looked at some of the calls that are running.
func (w *world) restarts() {
	for _, c := range w.running {
		if w.random.IntN(2) == 0 {
			w.look(c)
		}
	}
	w.running = nil
	w.crash()
	w.tell("a restart, stored %+v", w.stored())
	_ = w.Load(w.Context(), w.memory) // where storage fails, the hold is not known
}

// However calls, crashes, lost answers, operators and failures of storage follow each other, the credential is not locked.
func TestNoSequenceLocksTheCredential(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for refusals := MinRefusals; refusals <= 6; refusals++ {
		highest := 0
		for n := range uint64(500) {
			w := &world{rig: newRig(t, provider.Lockout{Credential: "c", Refusals: refusals}), random: rand.New(rand.NewPCG(seed, n))}
			for range 150 {
				w.step()
				highest = max(highest, w.row)
			}
		}
		if highest < refusals-1 {
			t.Fatalf("at most %d refusals in a row of %d: the sequences are too tame", highest, refusals)
		}
	}
}
