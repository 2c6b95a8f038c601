package explain

import "fmt"

// clock says that a clock that was ahead has recorded the last rotation, as a sentence; "" if none has.
func (f Facts) clock() string {
	at := f.Role.RotatedAhead(f.Now)
	if at.IsZero() {
		return ""
	}
	text := fmt.Sprintf(" The last rotation is recorded at %s, which is in the future: a clock was wrong.", Time(at))
	if !f.Role.DueTime().IsZero() {
		text += " The next rotation is counted from when this was noticed."
	}
	return text
}
