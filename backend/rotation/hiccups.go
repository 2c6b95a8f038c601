package rotation

import "sync"

// hiccups counts failures in a row by name, in memory: of what cannot be counted in storage, as that is what failed.
type hiccups struct {
	mu    sync.Mutex
	count map[string]int
}

// more counts one more and returns how many there are.
func (h *hiccups) more(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == nil {
		h.count = map[string]int{}
	}
	h.count[name]++
	return h.count[name]
}

// over forgets them.
func (h *hiccups) over(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.count, name)
}
