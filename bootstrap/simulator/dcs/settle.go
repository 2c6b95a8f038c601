package dcs

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// pending is a change that the API has answered but not carried out yet. Until then, the account is UPDATING and its
// previous password works.
type pending struct {
	password string
	until    time.Time
	fails    bool
}

// settle completes the changes that are over by now. The caller holds mu.
func (s *Service) settle() {
	now := s.lab.Clock.Now()
	for _, i := range s.instances {
		for _, a := range i.accounts {
			if p := a.pending; p != nil && !now.Before(p.until) {
				a.pending = nil
				if p.fails || s.set(context.Background(), a, p.password) != nil {
					a.Status = "ERROR"
				}
			}
		}
	}
}

// setSettle sets how long changes take. Zero completes those in progress.
func (s *Service) setSettle(raw json.RawMessage) error {
	if err := lab.Number(&s.switches.settleMS).Set(raw); err != nil || s.switches.settleMS > 0 {
		return err
	}
	for _, i := range s.instances {
		for _, a := range i.accounts {
			if a.pending != nil {
				a.pending.until = s.lab.Clock.Now()
			}
		}
	}
	s.settle()
	return nil
}

// change sets the password of an account, now or later. It continues if the client disconnects, as a server that has
// received a request does.
func (s *Service) change(request *http.Request, a *account, password string) error {
	if s.switches.settleMS == 0 {
		if err := s.set(context.WithoutCancel(request.Context()), a, password); err != nil {
			return err
		}
	}
	a.changes++
	if s.switches.settleMS > 0 {
		until := s.lab.Clock.Now().Add(time.Duration(s.switches.settleMS) * time.Millisecond)
		a.pending = &pending{password: password, until: until, fails: !s.applies()}
	}
	return nil
}

// applies reports whether a change takes effect.
func (s *Service) applies() bool { return s.switches.settleMS == 0 || s.switches.settleResult == "new" }

// status returns the status that the API reports.
func (a *account) status() string {
	if a.pending != nil {
		return "UPDATING"
	}
	return a.Status
}

// busyCodes are the codes of an instance or account that another operation keeps busy: nothing was changed. Sources: the
// error codes above, and Huawei's own Terraform provider, which waits for the instance after them:
// https://github.com/huaweicloud/terraform-provider-huaweicloud
var busyCodes = []string{
	"DCS.4017", "DCS.4026", "DCS.4049", "DCS.4096", "DCS.4097", "DCS.4104", "DCS.4111", "DCS.4113", "DCS.4114", "DCS.4115",
	"DCS.4116", "DCS.4117", "DCS.4118", "DCS.4120", "DCS.4121", "DCS.4231", "DCS.4975", "CBC.99003651",
}
