// Package canary finds secrets where none belong.
//
// A test adds every secret that it comes to know to a [Set], and at its end looks for all of them in what the system
// under test has written: logs, answers, errors. A secret seldom leaks as it is. What quotes it escapes it, so that each
// is looked for in the forms that URLs, XML, JSON, Go and the common encodings make of it, see [Forms].
package canary

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Shortest is how long a secret must be at least to be looked for. A shorter one stands somewhere by chance.
const Shortest = 8

// Set is a set of secrets. The zero value is empty and ready to use; its methods may be called concurrently.
type Set struct {
	mu    sync.Mutex
	kinds map[string]string // by secret
}

// Add takes a secret and what it is, in words for the person who reads the test's output. One that is shorter than
// [Shortest] is left out.
func (s *Set) Add(kind, secret string) {
	if len(secret) < Shortest {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds == nil {
		s.kinds = map[string]string{}
	}
	if _, known := s.kinds[secret]; !known {
		s.kinds[secret] = kind
	}
}

// Len is how many secrets there are.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kinds)
}

// Finding is a secret that was found. It says what and where, and not the secret.
type Finding struct {
	// Kind is what the secret is.
	Kind string
	// Form is how it was written.
	Form string
	// Offset is where it begins in the text, in bytes.
	Offset int
}

func (f Finding) String() string {
	return fmt.Sprintf("%s, in the form %q, at byte %d", f.Kind, f.Form, f.Offset)
}

// window is how many bytes of a pattern are looked up at once; no pattern is shorter.
const window = 8

// filterBits is the size of the filter that spares most look-ups, as a power of two.
const filterBits = 20

// pattern is a secret in one form.
type pattern struct{ text, kind, form string }

// Find returns what it finds in the text, each kind in each form once, in the order of the text. It reads the text once,
// however many secrets there are.
func (s *Set) Find(text []byte) []Finding {
	index, filter := s.index()
	if len(index) == 0 {
		return nil
	}
	var found []Finding
	seen := map[Finding]bool{}
	for i := 0; i+window <= len(text); i++ {
		key := binary.LittleEndian.Uint64(text[i:])
		if slot := slotOf(key); filter[slot/64]&(1<<(slot%64)) == 0 {
			continue
		}
		for _, p := range index[key] {
			if len(text)-i < len(p.text) || string(text[i:i+len(p.text)]) != p.text {
				continue
			}
			if once := (Finding{Kind: p.kind, Form: p.form}); !seen[once] {
				seen[once] = true
				found = append(found, Finding{Kind: p.kind, Form: p.form, Offset: i})
			}
		}
	}
	return found
}

// index lists all patterns by how they begin.
func (s *Set) index() (index map[uint64][]pattern, filter []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	index, filter = map[uint64][]pattern{}, make([]uint64, 1<<filterBits/64)
	for secret, kind := range s.kinds {
		for form, texts := range Forms(secret) {
			for _, text := range texts {
				if len(text) < window || text == secret && form != "plain" {
					continue
				}
				key := binary.LittleEndian.Uint64([]byte(text[:window]))
				p := pattern{text, kind, form}
				if slices.Contains(index[key], p) {
					continue
				}
				index[key] = append(index[key], p)
				slot := slotOf(key)
				filter[slot/64] |= 1 << (slot % 64)
			}
		}
	}
	return index, filter
}

// slotOf spreads keys over the filter (Knuth's multiplicative hashing).
func slotOf(key uint64) uint64 { return key * 0x9E3779B97F4A7C15 >> (64 - filterBits) }

// Describe lists findings for a test's output, one a line.
func Describe(findings []Finding) string {
	lines := make([]string, 0, len(findings))
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}
