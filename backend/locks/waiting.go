package locks

import "sync"

// Limits of Waiting. Requests that read leave a sixteenth of the places to others: who may only read a password must not keep
// an operator from changing it.
const (
	MaxForName = 64
	MaxInAll   = 1024
)

// Waiting counts the requests that may wait for a name, or in all. A waiting request costs memory, here and in Vault, so
// there are limits. The zero value is ready to use.
type Waiting struct {
	mu    sync.Mutex
	named map[string]int
	all   int
}

// FullError reports that too many requests are waiting.
type FullError struct {
	// InAll: not only for one name.
	InAll bool
	Limit int
}

func (*FullError) Error() string { return "too many requests are waiting" }

// Enter counts a request until leave is called, or returns a [*FullError] at once. Call leave exactly once.
func (w *Waiting) Enter(name string, reads bool) (leave func(), err error) {
	share := 0
	if reads {
		share = 1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.named[name] >= MaxForName-share*MaxForName/16:
		return nil, &FullError{Limit: MaxForName}
	case w.all >= MaxInAll-share*MaxInAll/16:
		return nil, &FullError{InAll: true, Limit: MaxInAll}
	}
	if w.named == nil {
		w.named = map[string]int{}
	}
	w.named[name]++
	w.all++
	return func() { w.leave(name) }, nil
}

func (w *Waiting) leave(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.named[name]--; w.named[name] == 0 {
		delete(w.named, name)
	}
}
