package provider

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/timing"
)

// Settings maps field names to values. Settings are stored as JSON, so the getters accept the types that decoding JSON
// produces. They return the zero value for an absent field.
type Settings map[string]any

// Has reports whether the field is present and not empty.
func (s Settings) Has(name string) bool {
	v := s[name]
	return v != nil && v != ""
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

// Seconds returns a duration field, which is stored in whole seconds.
func (s Settings) Seconds(name string) time.Duration {
	switch v := s[name].(type) {
	case int:
		return timing.Seconds(v)
	case int64:
		return timing.Seconds(v)
	case float64:
		return timing.Seconds(v)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return 0
		}
		return timing.Seconds(n)
	default:
		return 0
	}
}

// Format prints only the names of the fields: any value may be a secret, which only the provider knows.
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

// Hidden hides a struct that embeds it from every verb of fmt, so that no log line or error shows a password by mistake.
// Encoding it to JSON or XML is unaffected.
type Hidden struct{}

// Format prints nothing of the struct.
func (Hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(hidden)") }
