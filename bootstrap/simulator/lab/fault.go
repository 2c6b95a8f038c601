package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Kind is what goes wrong.
type Kind string

// The kinds of faults. "Applied" means that the request is handled as usual (and
// changes the password, unless the system itself refuses it) and that only the
// answer is different.
const (
	Refuse       Kind = "refuse"         // the system's answer that the password is refused
	RejectTarget Kind = "reject-target"  // the system's answer that there is no such account
	Busy         Kind = "busy"           // the system's answer that it is busy
	Throttle     Kind = "throttle"       // 429; variant json (default), empty or html; retry_after, retry_after_date
	Deny         Kind = "deny"           // the caller's credential is refused; variant forbidden: no permission
	ApplyCut     Kind = "apply-cut"      // applied; the connection is closed without an answer
	Cut          Kind = "cut"            // read, not applied; the connection is closed without an answer
	Apply500     Kind = "apply-500"      // applied; 500
	Apply502HTML Kind = "apply-502-html" // applied; a proxy's 502 page that echoes the request
	Apply503HTML Kind = "apply-503-html" // applied; a proxy's 503 page, likewise
	Err500       Kind = "500"            // not applied; 500
	HTML503      Kind = "503-html"       // not applied; a proxy's 503 page
	NoSuccess    Kind = "200-no-success" // 200 in the system's own format that is no success; see Applied
	Empty200     Kind = "200-empty"      // 200 without a body; see Applied
	HTML200      Kind = "200-html"       // 200 with a web page that echoes the request; see Applied
	Redirect     Kind = "redirect"       // 307 to location, or to the simulator's trap; see Applied
	HTML         Kind = "html"           // 403 page of a web application firewall; see Applied
	Truncated    Kind = "truncated"      // the true answer, cut in half; Applied is true unless said otherwise
	Huge         Kind = "huge"           // the true answer followed by 64 MiB; Applied likewise
	Slow         Kind = "slow"           // delay_ms pass before the request is handled as usual
	Late         Kind = "late"           // cut at once, the change comes delay_ms later; variant held: when the fault is removed
	Hold         Kind = "hold"           // applied; the answer waits until the fault is removed or the client leaves
	Stall        Kind = "stall"          // read, not applied; cut when the fault is removed or the client leaves
	Unreachable  Kind = "unreachable"    // the system refuses connections until the fault is removed
)

// Kinds are all kinds, in the order of the documentation.
var Kinds = []Kind{Refuse, RejectTarget, Busy, Throttle, Deny, ApplyCut, Cut, Apply500, Apply502HTML, Apply503HTML, Err500,
	HTML503, NoSuccess, Empty200, HTML200, Redirect, HTML, Truncated, Huge, Slow, Late, Hold, Stall, Unreachable}

// Fault says what goes wrong, where and how often. Faults are tried in the order
// in which they were set; a fault of the same system, target, kind and
// operations replaces the earlier one.
type Fault struct {
	System     string   `json:"system"`
	Target     string   `json:"target"` // Plesk login, "instance_id/account_id", IAM user, …; "*" is any
	Kind       Kind     `json:"kind"`
	Count      int      `json:"count,omitempty"` // requests it applies to; 0: until removed
	DelayMS    int      `json:"delay_ms,omitempty"`
	RetryAfter int      `json:"retry_after,omitempty"` // seconds, sent as Retry-After; 0: no such header
	Variant    string   `json:"variant,omitempty"`
	Location   string   `json:"location,omitempty"` // where a redirect leads; "": the simulator's trap
	Applied    *bool    `json:"applied,omitempty"`  // whether the change is made; only for kinds that leave it open
	Operations []string `json:"operations,omitempty"`
	// RetryAfterDate sends Retry-After as the time when that is, and not as seconds.
	RetryAfterDate bool `json:"retry_after_date,omitempty"`
}

// FaultStatus is a fault and what became of it.
type FaultStatus struct {
	Fault
	Used    int `json:"used"`    // requests it was applied to
	Holding int `json:"holding"` // answers that it holds back now
}

type activeFault struct {
	FaultStatus
	released chan struct{} // closed when the fault is removed
}

func (a *activeFault) exhausted() bool { return a.Count > 0 && a.Used >= a.Count }

// held is the variant of [Late] whose change waits for the removal of the fault.
const held = "held"

// openApplied are the kinds that leave open whether the change is made.
var openApplied = []Kind{NoSuccess, Empty200, HTML200, Redirect, HTML, Truncated, Huge}

// Validate says in a sentence what is wrong with a fault.
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
		return errors.New("retry_after_date is the form of retry_after, which is missing")
	case f.Kind == Late && f.Variant != "" && f.DelayMS != 0:
		return errors.New("a late change comes after delay_ms or when the fault is removed, not both")
	case f.Applied != nil && !slices.Contains(openApplied, f.Kind):
		return fmt.Errorf("the kind %q does not leave open whether the change is applied: omit applied", f.Kind)
	case f.Location != "" && f.Kind != Redirect:
		return fmt.Errorf("location is for the kind %q only", Redirect)
	case f.Kind == Unreachable && f.Target != "*":
		return errors.New(`a whole system becomes unreachable, not one account: use the target "*"`)
	case f.Kind == Unreachable && f.Count != 0:
		return errors.New("connections that are refused cannot be counted: use count 0 and remove the fault")
	}
	for _, op := range f.Operations {
		if !slices.Contains(Operations, op) {
			return fmt.Errorf("unknown operation %q: use %s", op, strings.Join(Operations, ", "))
		}
	}
	allowed := map[Kind][]string{Throttle: {"json", "empty", "html"}, Deny: {"forbidden"}, Late: {held}}[f.Kind]
	if f.Variant != "" && !slices.Contains(allowed, f.Variant) {
		return fmt.Errorf("unknown variant %q of the kind %q", f.Variant, f.Kind)
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

// applies tells whether the answer of this fault goes with the change made.
func (f *Fault) applies() bool {
	if f.Applied != nil {
		return *f.Applied
	}
	return slices.Contains([]Kind{ApplyCut, Apply500, Apply502HTML, Apply503HTML, Truncated, Huge, Slow, Late, Hold}, f.Kind)
}

// Faults are the faults that are switched on.
type Faults struct {
	mu   sync.Mutex
	list []*activeFault
}

// Set switches a fault on.
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

// Clear switches faults off and releases what they hold; "" means any.
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

// List returns the faults that are on, those used up included.
func (s *Faults) List() []FaultStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	result := make([]FaultStatus, len(s.list))
	for i, a := range s.list {
		result[i] = a.FaultStatus
	}
	return result
}

// Unreachable tells whether connections to a system are to be refused.
func (s *Faults) Unreachable(system string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.list, func(a *activeFault) bool { return a.System == system && a.Kind == Unreachable })
}

// take returns the first fault for one of the targets and counts it as used.
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
