package rotation

import (
	"fmt"
	"io"
)

// What holds a password hides it from every verb of fmt, so that no log line or error shows it by mistake. Records and
// settings do so by themselves, but not behind a pointer: with a verb that does not fit one, fmt prints all it leads to.

// Format hides the password.
func (in NewRole) Format(f fmt.State, _ rune) { hide(f, "new role "+in.Name) }

// Format hides the password.
func (w Word) Format(f fmt.State, _ rune) { hide(f, "word about a password") }

// Format hides the passwords.
func (o order) Format(f fmt.State, _ rune) { hide(f, "order of a "+o.trigger) }

// Format hides the passwords.
func (r Role) Format(f fmt.State, _ rune) { hide(f, "role "+r.Name) }

// Format hides the passwords.
func (r Report) Format(f fmt.State, _ rune) { hide(f, "report") }

// Format hides the passwords.
func (c change) Format(f fmt.State, _ rune) { hide(f, "change") }

// Format hides the passwords.
func (s standing) Format(f fmt.State, _ rune) { hide(f, "standing") }

// Format hides the credential.
func (c Connection) Format(f fmt.State, _ rune) { hide(f, "connection "+c.Name) }

// Format hides the credential.
func (l *live) Format(f fmt.State, _ rune) { hide(f, "connection "+l.Name) }

func hide(f io.Writer, what string) { _, _ = io.WriteString(f, what+" (hidden)") }
