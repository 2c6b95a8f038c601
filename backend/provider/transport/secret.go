package transport

import (
	"fmt"
	"io"
)

// Secret holds a text that a client needs and nobody else may see. It is a closure inside, so that no way of printing a
// client shows it: fmt calls no methods on unexported fields, but it cannot look into a function.
type Secret struct {
	reveal func() string
}

// NewSecret wraps a text.
func NewSecret(text string) Secret {
	return Secret{reveal: func() string { return text }}
}

// Reveal returns the text; "" for the zero value.
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

// Hidden is embedded in what holds secrets in the open, since it is written to a remote system or was read from one. No
// verb of fmt prints it; what encodes it to JSON or XML for the remote system does not notice.
type Hidden struct{}

// Format hides what embeds it.
func (Hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }
