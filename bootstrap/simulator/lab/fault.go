package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Kind is the kind of a fault.
type Kind string

// The kinds of faults. "Applied" means that the request is handled normally (it
// changes the password, unless the system itself refuses it) and only the answer
// differs.
const (
	Refuse       Kind = "refuse"         // the system's own error: password refused
	RejectTarget Kind = "reject-target"  // the system's own error: no such account
	Busy         Kind = "busy"           // the system's own error: busy
	Throttle     Kind = "throttle"       // 429; variant json (default), empty or html; retry_after, retry_after_date
	Deny         Kind = "deny"           // the caller's credential is refused; variant forbidden: no permission
	ApplyCut     Kind = "apply-cut"      // applied; the connection is closed without an answer
	Cut          Kind = "cut"            // read, not applied; the connection is closed without an answer
	Apply500     Kind = "apply-500"      // applied; 500
	Apply502HTML Kind = "apply-502-html" // applied; a proxy's 502 page that echoes the request
	Apply503HTML Kind = "apply-503-html" // applied; a proxy's 503 page that echoes the request
	Err500       Kind = "500"            // not applied; 500
	HTML503      Kind = "503-html"       // not applied; a proxy's 503 page that echoes the request
	NoSuccess    Kind = "200-no-success" // 200 in the system's own format, but not a success; see Fault.Applied; variant no-result (Plesk)
	Empty200     Kind = "200-empty"      // 200 without a body; see Fault.Applied
	HTML200      Kind = "200-html"       // 200 with a web page that echoes the request; see Fault.Applied
	Redirect     Kind = "redirect"       // 307 to location, or to the simulator's trap; see Fault.Applied
	HTML         Kind = "html"           // 403 page of a web application firewall; see Fault.Applied
	Truncated    Kind = "truncated"      // the real answer, cut in half; applied by default
	Huge         Kind = "huge"           // the real answer, padded to 64 MiB; applied by default
	Slow         Kind = "slow"           // the request is handled normally after delay_ms or, with variant held, when the fault is removed
	Late         Kind = "late"           // cut at once; applied after delay_ms or, with variant held, when the fault is removed
	Hold         Kind = "hold"           // applied; the answer waits until the fault is removed or the client leaves
	Stall        Kind = "stall"          // read, not applied; cut when the fault is removed or the client leaves
	Unreachable  Kind = "unreachable"    // the system refuses connections until the fault is removed
)

// Kinds lists all kinds, in documentation order.
var Kinds = []Kind{Refuse, RejectTarget, Busy, Throttle, Deny, ApplyCut, Cut, Apply500, Apply502HTML, Apply503HTML, Err500,
	HTML503, NoSuccess, Empty200, HTML200, Redirect, HTML, Truncated, Huge, Slow, Late, Hold, Stall, Unreachable}

// Fault describes what goes wrong, where and how often. The first matching fault
// applies, in the order in which they were set. Setting a fault replaces an
// earlier one with the same system, target, kind and operations.
type Fault struct {
	System     string   `json:"system"`
	Target     string   `json:"target"` // Plesk login, "instance_id/account_id", IAM user, …; "*" is any
	Kind       Kind     `json:"kind"`
	Count      int      `json:"count,omitempty"` // number of requests it applies to; 0: until removed
	DelayMS    int      `json:"delay_ms,omitempty"`
	RetryAfter int      `json:"retry_after,omitempty"` // seconds, sent as Retry-After; 0: no such header
	Variant    string   `json:"variant,omitempty"`
	Location   string   `json:"location,omitempty"` // target of a redirect; "": the simulator's trap
	Applied    *bool    `json:"applied,omitempty"`  // whether the change is made, for the kinds that allow both
	Operations []string `json:"operations,omitempty"`
	// RetryAfterDate sends Retry-After as a date instead of seconds.
	RetryAfterDate bool `json:"retry_after_date,omitempty"`
}

// FaultStatus is a fault with its counters.
type FaultStatus struct {
	Fault
	Used    int `json:"used"`    // requests that it was applied to
	Holding int `json:"holding"` // answers that it is holding back
}

type activeFault struct {
	FaultStatus
	released chan struct{} // closed when the fault is removed
}

func (a *activeFault) exhausted() bool { return a.Count > 0 && a.Used >= a.Count }

// held is the variant of [Slow] and [Late] that handles the request when the fault is removed.
const held = "held"

// openApplied lists the kinds for which Fault.Applied can be set.
var openApplied = []Kind{NoSuccess, Empty200, HTML200, Redirect, HTML, Truncated, Huge}

// Validate checks a fault. Its error is meant for the user of the control API.
func (f *Fault) Validate() error {
	switch {
	case f.System == "":
		return errors.New("a fault needs a system")
	case f.Target == "":
		return errors.New(`a fault needs a target ("*" is any)`)
	case !slices.Contains(Kinds, f.Kind):
		return fmt.Errorf("unknown fault kind %q: use one of %s", f.Kind, joinKinds())
	case f.Count < 0 || f.DelayMS < 0 || f.RetryAfter < 0:
		return errors.New("count, delay_ms and retry_after cannot be negative")
	case f.RetryAfterDate && f.RetryAfter == 0:
		return errors.New("retry_after_date needs retry_after")
	case f.Variant == held && f.DelayMS != 0:
		return errors.New("a request is handled after delay_ms or when the fault is removed, not both: omit delay_ms or variant")
	case f.Applied != nil && !slices.Contains(openApplied, f.Kind):
		return fmt.Errorf("kind %q determines whether the change is applied: omit applied", f.Kind)
	case f.Location != "" && f.Kind != Redirect:
		return fmt.Errorf("location is for kind %q only", Redirect)
	case f.Kind == Unreachable && f.Target != "*":
		return errors.New(`only a whole system can be unreachable, not one account: use target "*"`)
	case f.Kind == Unreachable && f.Count != 0:
		return errors.New("refused connections cannot be counted: use count 0 and remove the fault when done")
	}
	for _, op := range f.Operations {
		if !slices.Contains(Operations, op) {
			return fmt.Errorf("unknown operation %q: use %s", op, strings.Join(Operations, ", "))
		}
	}
	allowed := map[Kind][]string{Throttle: {"json", "empty", "html"}, Deny: {"forbidden"}, Slow: {held}, Late: {held}, NoSuccess: {"no-result"}}[f.Kind]
	if f.Variant != "" && !slices.Contains(allowed, f.Variant) {
		return fmt.Errorf("unknown variant %q of kind %q", f.Variant, f.Kind)
	}
	return nil
}

func joinKinds() string {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// applies reports whether the change is made despite the fault.
func (f *Fault) applies() bool {
	if f.Applied != nil {
		return *f.Applied
	}
	return slices.Contains([]Kind{ApplyCut, Apply500, Apply502HTML, Apply503HTML, Truncated, Huge, Slow, Late, Hold}, f.Kind)
}

// Faults holds the faults in effect.
type Faults struct {
	mu   sync.Mutex
	list []*activeFault
}

// Set adds a fault.
func (s *Faults) Set(f Fault) error {
	if err := f.Validate(); err != nil {
		return err
	}
	if len(f.Operations) == 0 {
		f.Operations = []string{OpChange}
	}
	slices.Sort(f.Operations)
	fresh := &activeFault{FaultStatus: FaultStatus{Fault: f}, released: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, old := range s.list {
		if old.System == f.System && old.Target == f.Target && old.Kind == f.Kind && slices.Equal(old.Operations, f.Operations) {
			close(old.released)
			s.list[i] = fresh
			return nil
		}
	}
	s.list = append(s.list, fresh)
	return nil
}

// Clear removes faults and releases the answers that they hold; "" matches any.
func (s *Faults) Clear(system, target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(a *activeFault) bool {
		if (system != "" && a.System != system) || (target != "" && a.Target != target) {
			return false
		}
		close(a.released)
		return true
	})
}

// List returns all faults that have not been removed, including those used up.
func (s *Faults) List() []FaultStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	result := make([]FaultStatus, len(s.list))
	for i, a := range s.list {
		result[i] = a.FaultStatus
	}
	return result
}

// Unreachable reports whether a system is to refuse connections.
func (s *Faults) Unreachable(system string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.list, func(a *activeFault) bool { return a.System == system && a.Kind == Unreachable })
}

// take returns the first fault that matches one of the targets, or nil, and counts
// it as used.
func (s *Faults) take(system string, targets []string, class string) *activeFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.list {
		if a.System != system || a.Kind == Unreachable || a.exhausted() || !slices.Contains(a.Operations, class) {
			continue
		}
		if a.Target == "*" || slices.Contains(targets, a.Target) {
			a.Used++
			return a
		}
	}
	return nil
}

func (s *Faults) holding(a *activeFault, delta int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Holding += delta
}
