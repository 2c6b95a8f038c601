package transport

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
func (s Secret) String() string { return "[hidden]" }

// GoString hides the text.
func (s Secret) GoString() string { return s.String() }
