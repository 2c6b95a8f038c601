package provider

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Settings are field values by name. They are stored as JSON, so the getters take what JSON makes of a value. A field
// that is absent has its type's zero value.
type Settings map[string]any

// Has tells whether the field is there and not empty.
func (s Settings) Has(name string) bool {
	switch v := s[name].(type) {
	case nil:
		return false
	case string:
		return v != ""
	default:
		return true
	}
}

// String returns a text field.
func (s Settings) String(name string) string {
	v, _ := s[name].(string)
	return v
}

// Bool returns a boolean field.
func (s Settings) Bool(name string) bool {
	v, _ := s[name].(bool)
	return v
}

// Strings returns a list field.
func (s Settings) Strings(name string) []string {
	switch v := s[name].(type) {
	case []string:
		return v
	case []any:
		out := make([]string, 0, len(v))
		for _, e := range v {
			if text, ok := e.(string); ok {
				out = append(out, text)
			}
		}
		return out
	default:
		return nil
	}
}

// Seconds returns a duration field, which is kept as whole seconds.
func (s Settings) Seconds(name string) time.Duration {
	switch v := s[name].(type) {
	case int:
		return time.Duration(v) * time.Second
	case int64:
		return time.Duration(v) * time.Second
	case float64:
		return time.Duration(v) * time.Second
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return 0
		}
		return time.Duration(n) * time.Second
	default:
		return 0
	}
}

// Format prints the names of the fields: some of their values are secrets, and which ones is known to their provider only.
func (s Settings) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "settings %q (values hidden)", slices.Sorted(maps.Keys(s)))
}

// Clone returns a copy that shares no map with s.
func (s Settings) Clone() Settings {
	out := maps.Clone(s)
	for name, v := range out {
		if list, ok := v.([]string); ok {
			out[name] = slices.Clone(list)
		}
	}
	return out
}
