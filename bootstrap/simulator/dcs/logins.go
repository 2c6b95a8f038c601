package dcs

import (
	"slices"
	"strings"
	"time"
)

// loginWindow is the period over which refused logins are counted together.
const loginWindow = 15 * time.Minute

// logins counts refused logins.
type logins struct {
	redis, webCLI, most int
	recent              []time.Time
}

// LoginState counts refused logins with a password, in the control API.
type LoginState struct {
	Redis  int `json:"refused_redis"` // at the Redis port
	WebCLI int `json:"refused_webcli"`
	// Most is the highest number of both together within 15 minutes.
	Most int `json:"most_refused"`
}

func (l *logins) state() LoginState { return LoginState{l.redis, l.webCLI, l.most} }

func (l *logins) refuse(now time.Time, webCLI bool) {
	if webCLI {
		l.webCLI++
	} else {
		l.redis++
	}
	l.recent = append(l.recent, now)
	for now.Sub(l.recent[0]) >= loginWindow {
		l.recent = l.recent[1:]
	}
	l.most = max(l.most, len(l.recent))
}

// refused counts a refused login to an account; nil if no account has that name.
// The caller holds mu.
func (s *Service) refused(a *account, webCLI bool) {
	now := s.lab.Clock.Now()
	s.logins.refuse(now, webCLI)
	if a != nil {
		a.logins.refuse(now, webCLI)
	}
}

// Logins counts the refused logins to all accounts of all instances, and with names
// that no account has.
func (s *Service) Logins() LoginState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins.state()
}

// Refused returns when logins to an account ("instance_id/account_id") were refused in
// the last 15 minutes, oldest first.
func (s *Service) Refused(target string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.instances {
		for _, a := range i.accounts {
			if i.ID+"/"+a.ID == target {
				return slices.Clone(a.logins.recent)
			}
		}
	}
	return nil
}

// named returns the account that a login with one string is for, whether or not the
// password is right, or nil.
func (i *instance) named(secret string) *account {
	name, _, found := strings.Cut(secret, ":")
	for _, a := range i.accounts {
		if a.Type == "default" && !found || a.Type == "normal" && found && a.Name == name {
			return a
		}
	}
	return nil
}
