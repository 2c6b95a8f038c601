package lab

import (
	"sync"
	"time"
)

// Entry is one thing that happened to one target. It never holds a password,
// key, token or signature.
type Entry struct {
	Time      time.Time `json:"time"`
	System    string    `json:"system"`
	Target    string    `json:"target,omitempty"`
	Operation string    `json:"operation"`        // the system's own name of it: set-admin-alias, modify
	Result    string    `json:"result"`           // the system's own code: ok, 1038, passwordFailed
	Applied   bool      `json:"applied"`          // whether the state of the target changed
	Fault     Kind      `json:"fault,omitempty"`  // the fault that touched the request, if one did
	Arrived   time.Time `json:"arrived,omitzero"` // when the request came that is served now
	// Nth counts the different passwords that changes of the target came with, in the order in which they came first: two
	// entries with the same number are of the same password. 0: it had none.
	Nth int `json:"nth_password,omitempty"`
}

// Journal keeps entries in the order in which they happened.
type Journal struct {
	clock *Clock

	mu      sync.Mutex
	entries []Entry
}

// maxEntries bounds the journal of a simulator that is left running.
const maxEntries = 100_000

// Add appends an entry and stamps it.
func (j *Journal) Add(e Entry) {
	e.Time = j.clock.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) >= maxEntries {
		j.entries = append([]Entry(nil), j.entries[maxEntries/2:]...)
	}
	j.entries = append(j.entries, e)
}

// List returns the entries of a system and target; "" means any.
func (j *Journal) List(system, target string) []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	result := []Entry{}
	for _, e := range j.entries {
		if (system == "" || e.System == system) && (target == "" || e.Target == target) {
			result = append(result, e)
		}
	}
	return result
}

// Clear forgets all entries.
func (j *Journal) Clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = nil
}
