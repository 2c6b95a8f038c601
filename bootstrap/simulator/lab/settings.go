package lab

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// DecodeStrict decodes a single JSON value. Unknown fields and trailing data are
// errors.
func DecodeStrict(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) { // More does not see a closing bracket
		return errors.New("reading JSON: unexpected data after the first value")
	}
	return nil
}

// Setting is one switch of a system.
type Setting struct {
	// Values says which values it takes.
	Values string
	// Set parses and sets a value.
	Set func(json.RawMessage) error
}

// Choice is a switch that takes one of several words.
func Choice(into *string, allowed ...string) Setting {
	return Setting{Values: strings.Join(allowed, "|"), Set: func(raw json.RawMessage) error {
		var value string
		if err := json.Unmarshal(raw, &value); err != nil || !slices.Contains(allowed, value) {
			return fmt.Errorf("must be one of %s", strings.Join(allowed, ", "))
		}
		*into = value
		return nil
	}}
}

// Text is a switch that takes a string.
func Text(into *string) Setting {
	return Setting{Values: "TEXT", Set: func(raw json.RawMessage) error {
		if err := json.Unmarshal(raw, into); err != nil {
			return errors.New("must be a string")
		}
		return nil
	}}
}

// Flag is a switch that takes true or false.
func Flag(into *bool) Setting {
	return Setting{Values: "true|false", Set: func(raw json.RawMessage) error {
		if err := json.Unmarshal(raw, into); err != nil {
			return errors.New("must be true or false")
		}
		return nil
	}}
}

// Number is a switch that takes a non-negative integer.
func Number(into *int) Setting {
	return Setting{Values: "N", Set: func(raw json.RawMessage) error {
		var value int
		if err := json.Unmarshal(raw, &value); err != nil || value < 0 {
			return errors.New("must be a non-negative integer")
		}
		*into = value
		return nil
	}}
}

// Settings are the switches of a system by name.
type Settings map[string]Setting

// Set sets one switch.
func (s Settings) Set(name string, value json.RawMessage) error {
	setting, ok := s[name]
	if !ok {
		return fmt.Errorf("unknown switch %q: use one of %s", name, strings.Join(s.Names(), ", "))
	}
	if err := setting.Set(value); err != nil {
		return fmt.Errorf("switch %q: %w", name, err)
	}
	return nil
}

// Names returns the names of all switches, sorted.
func (s Settings) Names() []string { return slices.Sorted(maps.Keys(s)) }

// Same compares secrets in constant time, even if their lengths differ.
func Same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// RandomText returns n random characters from an alphabet, for passwords and keys
// of the default state.
func RandomText(n int, alphabet string) string {
	// Bytes from the largest multiple of the alphabet's size on are rejected, which keeps all characters equally likely.
	limit := byte(256 / len(alphabet) * len(alphabet) % 256)
	result := make([]byte, 0, n)
	buffer := make([]byte, 64)
	for len(result) < n {
		_, _ = rand.Read(buffer) // never returns an error: crypto/rand crashes the program instead
		for _, b := range buffer {
			if (limit == 0 || b < limit) && len(result) < n {
				result = append(result, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(result)
}

// Alphabets for [RandomText].
const (
	Hex      = "0123456789abcdef"
	Alphanum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	Upper    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
)

// RandomPassword returns a password that all simulated systems accept: 24
// characters from four classes, with at least three digits and two special
// characters.
func RandomPassword() string {
	return RandomText(10, Alphanum) + RandomText(1, "ABCDEFGHJKLMNPQRSTUVWXYZ") + RandomText(1, "!@") + RandomText(3, "0123456789") +
		RandomText(1, "_?") + RandomText(1, "abcdefghjkmnpqrstuvwxyz") + RandomText(7, Alphanum)
}

// RandomUUID returns a random (version 4) UUID.
func RandomUUID() string {
	h := RandomText(32, Hex)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}
