package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"vault-plugin-secrets-hosting/bootstrap/simulator/ecs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
	"vault-plugin-secrets-hosting/bootstrap/simulator/mediatemple"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
	"vault-plugin-secrets-hosting/bootstrap/simulator/shell"
)

// Host is a server that accepts logins over SSH and, if it has one, at its Plesk
// panel.
type Host struct {
	System      string `json:"system"` // the system whose API sets its passwords
	ID          string `json:"id"`     // its id in that API
	SSHAddress  string `json:"ssh_address"`
	HostKey     string `json:"host_key"`    // in authorized_keys format
	Fingerprint string `json:"fingerprint"` // of the host key: SHA256:…
	PanelURL    string `json:"panel_url,omitempty"`
}

// startHost opens the SSH port of a host.
func (s *Simulator) startHost(ctx context.Context, system string, host shell.Host) error {
	door, err := s.listen(ctx, shell.DoorName, "")
	if err != nil {
		return err
	}
	if err := s.ssh.Serve(s.lab, host, door); err != nil {
		return errors.Join(err, door.Close())
	}
	s.hosts = append(s.hosts, Host{System: system, ID: host.ID, SSHAddress: door.Addr().String()})
	return nil
}

// startServices opens the SSH ports and panels of Media Temple's services.
func (s *Simulator) startServices(ctx context.Context, api *mediatemple.API) error {
	for _, id := range api.Hosts() {
		host := shell.Host{
			ID: id, Name: api.HostName(id),
			Admit:        func(user, password string) bool { return api.Admits(id, user, password) },
			RootPassword: func() string { return api.RootPassword(id) },
		}
		if err := s.startHost(ctx, mediatemple.Name, host); err != nil {
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
		door.Filter(panel.Drops)
		s.hosts[len(s.hosts)-1].PanelURL = "https://" + door.Addr().String()
		s.serve(door, panel, true)
	}
	return nil
}

// startServers opens the SSH ports of Huawei Cloud's servers.
func (s *Simulator) startServers(ctx context.Context, servers *ecs.Service) error {
	servers.NewHostKey = func(id string) {
		if value, err := json.Marshal(map[string]string{id: "new"}); err == nil { // never fails
			_ = s.ssh.Switch("host_key", value) // the host exists
		}
	}
	for _, id := range servers.Hosts() {
		host := shell.Host{
			ID: id, Name: servers.Host(id).Name,
			Admit: func(user, password string) bool { return servers.Admits(id, user, password) },
			Up:    func() bool { return servers.Host(id).Up },
		}
		if servers.Host(id).OS == "linux" {
			host.RootPassword = func() string { return servers.Password(id) }
		}
		if err := s.startHost(ctx, ecs.Name, host); err != nil {
			return err
		}
	}
	return nil
}

// Hosts returns all servers that accept logins, with their present host keys.
func (s *Simulator) Hosts() []Host {
	hosts := slices.Clone(s.hosts)
	for i := range hosts {
		state := s.ssh.Host(hosts[i].ID)
		hosts[i].HostKey, hosts[i].Fingerprint = state.HostKey, state.Fingerprint
	}
	return hosts
}

func (s *Simulator) host(matches func(Host) bool) Host {
	if i := slices.IndexFunc(s.hosts, matches); i >= 0 {
		return s.hosts[i]
	}
	return Host{}
}

// SSHAddress returns the host:port of the SSH server of a host, by its id in its
// API, or "" if there is none.
func (s *Simulator) SSHAddress(id string) string {
	return s.host(func(h Host) bool { return h.ID == id }).SSHAddress
}

// SSH describes the SSH server of a host: its present host key, and the logins that
// it has refused. The result is zero if there is none.
func (s *Simulator) SSH(id string) shell.HostState { return s.ssh.Host(id) }

// HostKey returns the present SSH host key of a host in authorized_keys format.
func (s *Simulator) HostKey(id string) string { return s.ssh.Host(id).HostKey }

// MediaTempleSSH returns the host:port of the SSH server of a service, or "" if
// there is none.
func (s *Simulator) MediaTempleSSH(id string) string {
	return s.host(func(h Host) bool { return h.System == mediatemple.Name && h.ID == id }).SSHAddress
}

// MediaTemplePanel returns the https://host:port of the Plesk panel of a
// service, or "" if it has none.
func (s *Simulator) MediaTemplePanel(id string) string {
	return s.host(func(h Host) bool { return h.System == mediatemple.Name && h.ID == id }).PanelURL
}

// LoginSSH logs in over SSH. It checks the host key if the address belongs to
// the simulator. It returns a *[login.RefusedError] if the password is refused,
// which [Simulator.SSH] does not count.
func (s *Simulator) LoginSSH(address, user, password string) error {
	key := s.HostKey(s.host(func(h Host) bool { return h.SSHAddress == address }).ID)
	return login.SSH(context.Background(), address, user, password, key)
}

// LoginPanel logs in at the Plesk panel of a Media Temple service as its
// administrator. It returns a *[login.RefusedError] if the password is refused.
func (s *Simulator) LoginPanel(id, password string) error {
	return login.Plesk(context.Background(), s.MediaTemplePanel(id), s.authority.PEM, plesk.AdminLogin, password)
}

// MediaTemple describes one password of a Media Temple service. The target is
// "service_id/root" or "service_id/plesk". The result is zero if there is none.
func (s *Simulator) MediaTemple(target string) mediatemple.CredentialState {
	if api, ok := s.systems[mediatemple.Name].(*mediatemple.API); ok {
		return api.Credential(target)
	}
	return mediatemple.CredentialState{}
}

// ECS describes a server of CloudDC or Elastic Cloud Server. The result is zero
// if there is none.
func (s *Simulator) ECS(id string) ecs.HostState {
	if servers, ok := s.systems[ecs.Name].(*ecs.Service); ok {
		return servers.Host(id)
	}
	return ecs.HostState{}
}

// Restart simulates an operator restarting a server, which puts a pending
// password in force. Only the system ecs has servers to restart.
func (s *Simulator) Restart(system, target string) error {
	servers, ok := s.systems[system].(interface{ Restart(id string) error })
	if !ok {
		return fmt.Errorf("system %q has nothing to restart: use %s", system, ecs.Name)
	}
	return servers.Restart(target)
}

// Panel describes the Plesk panel of a Media Temple service: its administrator, for
// instance to prove that he was never locked, and the requests that it has refused.
// The result is zero if there is no such panel.
func (s *Simulator) Panel(id string) mediatemple.PanelState {
	if panels, ok := s.systems[mediatemple.PanelName].(mediatemple.Panels); ok {
		return panels.Panel(id)
	}
	return mediatemple.PanelState{}
}
