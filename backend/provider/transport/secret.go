package transport

import (
	"fmt"
	"io"
)

// Secret holds a text that a client needs and must not expose. It is a closure inside, so that printing a client never
// shows it: fmt calls no methods on unexported fields, but it cannot look into a function.
type Secret struct {
	reveal func() string
}

// NewSecret wraps a text.
func NewSecret(text string) Secret {
	return Secret{reveal: func() string { return text }}
}

// Reveal returns the text, or "" for the zero value.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// String hides the text.
func (s Secret) String() string { return hidden }

// Format hides the text from every verb of fmt.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

const hidden = "[hidden]"
