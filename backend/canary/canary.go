// Package canary finds leaked secrets in the output of tests.
//
// A test adds every secret it knows to a [Set], and at its end searches the output of the system under test for them:
// logs, responses, errors. A secret rarely leaks verbatim, because whatever quotes it also escapes it. So each secret is
// searched in the forms that URLs, XML, JSON, Go and common encodings give it, see [Forms].
package canary

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Shortest is the minimum length of a secret to search for. A shorter one may occur by chance.
const Shortest = 8

// Set is a set of secrets. The zero value is empty and ready to use; its methods may be called concurrently.
type Set struct {
	mu    sync.Mutex
	kinds map[string]string // by secret
}

// Add adds a secret and its kind, a description for the test output. A secret shorter than [Shortest] is ignored.
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

// Len returns the number of secrets.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kinds)
}

// Finding is a secret that was found. It holds the kind and the place, but not the secret itself.
type Finding struct {
	// Kind is the kind of the secret.
	Kind string
	// Form is the encoding in which it was found.
	Form string
	// Offset is the byte offset in the text.
	Offset int
}

func (f Finding) String() string {
	return fmt.Sprintf("%s, in the form %q, at byte %d", f.Kind, f.Form, f.Offset)
}

// window is the number of bytes of a pattern that are looked up at once. No pattern is shorter.
const window = 8

// filterBits is the size, as a power of two, of the filter that avoids most lookups.
const filterBits = 20

// pattern is a secret in one form.
type pattern struct{ text, kind, form string }

// Find returns the secrets in the text, each kind in each form once, in the order of the text. It reads the text once,
// regardless of the number of secrets.
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

// index returns all patterns by their first bytes.
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

// Describe lists findings for the test output, one per line.
func Describe(findings []Finding) string {
	lines := make([]string, 0, len(findings))
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}
