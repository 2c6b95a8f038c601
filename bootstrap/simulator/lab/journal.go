package lab

import (
	"sync"
	"time"
)

// Entry is one event that concerns one target. It never contains a password,
// key, token or signature.
type Entry struct {
	Time      time.Time `json:"time"`
	System    string    `json:"system"`
	Target    string    `json:"target,omitempty"`
	Operation string    `json:"operation"`        // the system's own name for it: set-admin-alias, modify
	Result    string    `json:"result"`           // the system's own code: ok, 1038, passwordFailed
	Applied   bool      `json:"applied"`          // whether the state of the target changed
	Fault     Kind      `json:"fault,omitempty"`  // the fault that affected the request, if any
	Arrived   time.Time `json:"arrived,omitzero"` // when the request arrived
	// Nth numbers the distinct passwords that changes of the target carried, in order of first appearance: entries with
	// the same number had the same password. It is 0 without a password.
	Nth int `json:"nth_password,omitempty"`
}

// Journal keeps entries in the order in which they happened.
type Journal struct {
	clock *Clock

	mu      sync.Mutex
	entries []Entry
}

// maxEntries limits the size of the journal of a long-running simulator.
const maxEntries = 100_000

// Add sets the time of an entry and appends it.
func (j *Journal) Add(e Entry) {
	e.Time = j.clock.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) >= maxEntries {
		j.entries = append([]Entry(nil), j.entries[maxEntries/2:]...)
	}
	j.entries = append(j.entries, e)
}

// List returns the entries of a system and target; "" matches any.
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

// Clear removes all entries.
func (j *Journal) Clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = nil
}
