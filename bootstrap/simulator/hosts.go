package simulator

import (
	"context"
	"errors"
	"slices"

	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
	"vault-plugin-secrets-hosting/bootstrap/simulator/mediatemple"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
	"vault-plugin-secrets-hosting/bootstrap/simulator/shell"
)

// Host is a server that can be logged in at over SSH, and at its Plesk panel if
// it has one.
type Host struct {
	System     string `json:"system"` // whose API sets its passwords
	ID         string `json:"id"`     // what that API calls it
	SSHAddress string `json:"ssh_address"`
	HostKey    string `json:"host_key"` // as in known_hosts
	PanelURL   string `json:"panel_url,omitempty"`
}

// startHost opens the SSH port of a host.
func (s *Simulator) startHost(ctx context.Context, system string, host shell.Host) error {
	door, err := s.listen(ctx, shell.DoorName, "")
	if err != nil {
		return err
	}
	key, err := s.ssh.Serve(s.lab, host, door)
	if err != nil {
		return errors.Join(err, door.Close())
	}
	s.hosts = append(s.hosts, Host{System: system, ID: host.ID, SSHAddress: door.Addr().String(), HostKey: key})
	return nil
}

// startServices opens the SSH ports and panels of Media Temple's services.
func (s *Simulator) startServices(ctx context.Context, api *mediatemple.API) error {
	for _, id := range api.Hosts() {
		err := s.startHost(ctx, mediatemple.Name, shell.Host{ID: id, Name: api.HostName(id), Admit: func(user, password string) bool {
			return api.Admits(id, user, password)
		}})
		if err != nil {
			return err
		}
		panel := api.Panel(id)
		if panel == nil {
			continue
		}
		door, err := s.listen(ctx, mediatemple.PanelName, "")
		if err != nil {
			return err
		}
		s.hosts[len(s.hosts)-1].PanelURL = "https://" + door.Addr().String()
		s.serve(door, panel, true)
	}
	return nil
}

// Hosts are all servers that can be logged in at.
func (s *Simulator) Hosts() []Host { return slices.Clone(s.hosts) }

func (s *Simulator) host(matches func(Host) bool) Host {
	if i := slices.IndexFunc(s.hosts, matches); i >= 0 {
		return s.hosts[i]
	}
	return Host{}
}

// SSHAddress is host:port of the SSH port of a host, by the id that its API
// calls it, "" if there is none.
func (s *Simulator) SSHAddress(id string) string {
	return s.host(func(h Host) bool { return h.ID == id }).SSHAddress
}

// HostKey is the key that the SSH port of a host shows, as in known_hosts.
func (s *Simulator) HostKey(id string) string {
	return s.host(func(h Host) bool { return h.ID == id }).HostKey
}

// MediaTempleSSH is host:port of the SSH port of a service, "" if there is none.
func (s *Simulator) MediaTempleSSH(id string) string {
	return s.host(func(h Host) bool { return h.System == mediatemple.Name && h.ID == id }).SSHAddress
}

// MediaTemplePanel is https://host:port of the Plesk panel of a service, "" if
// it has none.
func (s *Simulator) MediaTemplePanel(id string) string {
	return s.host(func(h Host) bool { return h.System == mediatemple.Name && h.ID == id }).PanelURL
}

// LoginSSH logs in at an SSH port of the simulator, whose host key it checks, or
// at another one: nil, a *[login.RefusedError], or another error.
func (s *Simulator) LoginSSH(address, user, password string) error {
	key := s.host(func(h Host) bool { return h.SSHAddress == address }).HostKey
	return login.SSH(context.Background(), address, user, password, key)
}

// LoginPanel logs in at the Plesk panel of a Media Temple service as its
// administrator: nil, a *[login.RefusedError], or another error.
func (s *Simulator) LoginPanel(id, password string) error {
	return login.Plesk(context.Background(), s.MediaTemplePanel(id), s.authority.PEM, plesk.AdminLogin, password)
}

// MediaTemple describes one password (service id/root or id/plesk), "" fields if
// there is none.
func (s *Simulator) MediaTemple(target string) mediatemple.CredentialState {
	if api, ok := s.systems[mediatemple.Name].(*mediatemple.API); ok {
		return api.Credential(target)
	}
	return mediatemple.CredentialState{}
}

// Panel describes the administrator of the Plesk panel of a Media Temple
// service, for instance to prove that he was never locked; "" fields if there is
// no such panel.
func (s *Simulator) Panel(id string) plesk.AccountState {
	if api, ok := s.systems[mediatemple.Name].(*mediatemple.API); ok {
		if panel := api.Panel(id); panel != nil {
			return panel.Account(plesk.AdminLogin)
		}
	}
	return plesk.AccountState{}
}

// panels describes all panels, by service id.
func (s *Simulator) panels() map[string]plesk.AccountState {
	states := map[string]plesk.AccountState{}
	for _, h := range s.hosts {
		if h.PanelURL != "" {
			states[h.ID] = s.Panel(h.ID)
		}
	}
	return states
}
