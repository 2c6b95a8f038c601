package simulator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"vault-plugin-secrets-hosting/bootstrap/simulator/ecs"
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
	HostKey    string `json:"host_key"` // as in authorized_keys
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

// startServers opens the SSH ports of Huawei Cloud's servers.
func (s *Simulator) startServers(ctx context.Context, servers *ecs.Service) error {
	for _, id := range servers.Hosts() {
		host := shell.Host{
			ID: id, Name: servers.Host(id).Name,
			Admit: func(user, password string) bool { return servers.Admits(id, user, password) },
			Up: func() bool {
				state := servers.Host(id).State
				return state == "running" || state == "ACTIVE" // of CloudDC, of Elastic Cloud Server
			},
		}
		if err := s.startHost(ctx, ecs.Name, host); err != nil {
			return err
		}
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

// HostKey is the key that the SSH port of a host shows, as in
// authorized_keys.
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

// ECS describes a server of CloudDC or Elastic Cloud Server, "" fields if there
// is none.
func (s *Simulator) ECS(id string) ecs.HostState {
	if servers, ok := s.systems[ecs.Name].(*ecs.Service); ok {
		return servers.Host(id)
	}
	return ecs.HostState{}
}

// Restart is an operator who restarts a server by hand: a password that waits
// for that is then in force. Only the system ecs has servers that can be
// restarted.
func (s *Simulator) Restart(system, target string) error {
	servers, ok := s.systems[system].(interface{ Restart(id string) error })
	if !ok {
		return fmt.Errorf("the system %q has nothing to restart: use %s", system, ecs.Name)
	}
	return servers.Restart(target)
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
