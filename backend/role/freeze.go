package role

import "time"

// Freeze stops automatic changes on the whole mount: due rotations, retries, and changes that a read would start. Requests
// of operators still work. It is stored.
type Freeze struct {
	Schema int       `json:"schema"`
	Since  time.Time `json:"since"`
	// Until is when it ends; zero if it lasts until an operator ends it.
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason"`
}

// Over reports whether the freeze has ended, or is nil.
func (f *Freeze) Over(now time.Time) bool {
	return f == nil || !f.Until.IsZero() && !now.Before(f.Until)
}
