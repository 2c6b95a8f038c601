package mediatemple

import (
	"context"
	"encoding/json"
	"errors"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
)

// Panel returns the Plesk panel of a service, or nil if it has none. Its
// administrator logs in with the Plesk password in force.
func (a *API) Panel(id string) *plesk.Server {
	if s := a.service(id); s != nil {
		return s.panel
	}
	return nil
}

// Panels are the Plesk panels of all services. They are a system of their own,
// with the switches of Plesk.
type Panels struct{ api *API }

// Panels returns the Plesk panels of all services.
func (a *API) Panels() Panels { return Panels{a} }

// PanelState describes a panel in the control API.
type PanelState struct {
	plesk.AccountState              // the administrator
	Fail2Ban           lab.Refusals `json:"fail2ban"`
}

// Name implements [lab.System].
func (Panels) Name() string { return PanelName }

// Panel describes one panel by the id of its service. The result is zero if there
// is none.
func (p Panels) Panel(id string) PanelState {
	if panel := p.api.Panel(id); panel != nil {
		return PanelState{panel.Account(plesk.AdminLogin), panel.Refusals()}
	}
	return PanelState{}
}

// State implements [lab.System]. It describes the panels by service id.
func (p Panels) State() any {
	states := map[string]PanelState{}
	for _, id := range p.api.Hosts() {
		if p.api.Panel(id) != nil {
			states[id] = p.Panel(id)
		}
	}
	return states
}

// Switches implements [lab.System]. They are those of [plesk.Server.Switches] and
// apply to all panels.
func (p Panels) Switches() lab.Settings {
	for _, id := range p.api.Hosts() {
		if panel := p.api.Panel(id); panel != nil {
			return panel.Switches()
		}
	}
	return lab.Settings{}
}

// Switch implements [lab.System].
func (p Panels) Switch(name string, value json.RawMessage) error {
	for _, id := range p.api.Hosts() {
		if panel := p.api.Panel(id); panel != nil {
			if err := panel.Switch(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// SetPassword implements [lab.System].
func (Panels) SetPassword(context.Context, string, string) error {
	return errors.New(`the password of a panel belongs to mediatemple: use that system, with the target "service_id/plesk"`)
}
