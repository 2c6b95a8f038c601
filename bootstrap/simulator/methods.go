package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/dcs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/ecs"
	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/login"
	"vault-plugin-secrets-hosting/bootstrap/simulator/mediatemple"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
	"vault-plugin-secrets-hosting/bootstrap/simulator/shell"
)

// ControlURL returns the http://host:port of the control API.
func (s *Simulator) ControlURL() string { return s.controlURL }

// PleskURL returns the https://host:port of the Plesk server.
func (s *Simulator) PleskURL() string { return s.pleskURL }

// IAMURL returns the https://host:port of IAM.
func (s *Simulator) IAMURL() string { return s.iamURL }

// DCSURL returns the https://host:port of DCS.
func (s *Simulator) DCSURL() string { return s.dcsURL }

// CloudDCURL returns the https://host:port of CloudDC.
func (s *Simulator) CloudDCURL() string { return s.cloudDCURL }

// ECSURL returns the https://host:port of Elastic Cloud Server.
func (s *Simulator) ECSURL() string { return s.ecsURL }

// MediaTempleURL returns the base URL of Media Temple's API,
// https://host:port/api/v1.
func (s *Simulator) MediaTempleURL() string { return s.mediaTempleURL }

// RedisAddress returns the host:port of the first instance's Redis port, or "" if
// there is none.
func (s *Simulator) RedisAddress() string {
	if len(s.redisAddresses) == 0 {
		return ""
	}
	return s.redisAddresses[0]
}

// CAPEM returns the certificate of the CA to trust.
func (s *Simulator) CAPEM() []byte { return slices.Clone(s.authority.PEM) }

// InitialState returns the initial state of the systems, including secrets.
func (s *Simulator) InitialState() State { return s.state }

// Output describes the running simulator, including secrets.
func (s *Simulator) Output() Output {
	o := Output{ControlURL: s.controlURL, CAPEM: string(s.authority.PEM)}
	o.Plesk.URL, o.Plesk.State = s.pleskURL, *s.state.Plesk
	o.HuaweiCloud.IAMURL, o.HuaweiCloud.State = s.iamURL, *s.state.HuaweiCloud
	o.DCS.URL = s.dcsURL
	for i, in := range s.state.DCS.Instances {
		o.DCS.Instances = append(o.DCS.Instances, OutputInstance{Instance: in, RedisAddress: s.redisAddresses[i]})
	}
	o.ECS.CloudDCURL, o.ECS.URL, o.ECS.State = s.cloudDCURL, s.ecsURL, *s.state.ECS
	o.MediaTemple.URL, o.MediaTemple.State = s.mediaTempleURL, *s.state.MediaTemple
	o.Hosts = s.Hosts()
	o.RedirectTrap.URL = s.trapURL
	return o
}

// SecretsSeen returns the passwords, keys, tokens and signatures that clients
// have sent to the systems or received from them so far, each with a description.
func (s *Simulator) SecretsSeen() map[string]string { return s.lab.Secrets.Seen() }

// Systems returns the names of all systems.
func (s *Simulator) Systems() []string {
	names := []string{dcs.DoorName}
	for name := range s.systems {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// SetFault injects a fault.
func (s *Simulator) SetFault(f lab.Fault) error {
	if !slices.Contains(s.Systems(), f.System) {
		return fmt.Errorf("unknown system %q: use one of %s", f.System, strings.Join(s.Systems(), ", "))
	}
	door := f.System == dcs.DoorName || f.System == shell.DoorName
	if door && !slices.Contains([]lab.Kind{lab.Busy, lab.Cut, lab.Unreachable}, f.Kind) && (f.System != dcs.DoorName || f.Kind != lab.Stall) {
		return fmt.Errorf("system %s supports only the faults busy, cut and unreachable; redis also stall", f.System)
	}
	if len(f.Operations) == 0 {
		switch {
		case door:
			f.Operations = []string{lab.OpLogin} // its only class
		case f.System == huaweicloud.Name:
			f.Operations = []string{lab.OpToken} // its only class
		case f.System == mediatemple.PanelName:
			f.Operations = []string{lab.OpCheck} // the class of a login at a panel
		}
	}
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	if err := s.lab.Faults.Set(f); err != nil {
		return err
	}
	return s.adjustDoors(context.Background())
}

// ClearFaults removes faults; "" matches any system or target.
func (s *Simulator) ClearFaults(system, target string) error {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	s.lab.Faults.Clear(system, target)
	return s.adjustDoors(context.Background())
}

// adjustDoors shuts the listeners of unreachable systems and opens the others.
func (s *Simulator) adjustDoors(ctx context.Context) error {
	for system, doors := range s.doors {
		for _, door := range doors {
			if s.lab.Faults.Unreachable(system) {
				door.Shut()
			} else if err := door.Open(ctx); err != nil {
				return fmt.Errorf("making %s reachable again: %w", system, err)
			}
		}
	}
	return nil
}

// Faults returns the faults in effect.
func (s *Simulator) Faults() []lab.FaultStatus { return s.lab.Faults.List() }

// Journal returns what happened; "" matches any system or target.
func (s *Simulator) Journal(system, target string) []lab.Entry {
	return s.lab.Journal.List(system, target)
}

// ClearJournal removes all journal entries.
func (s *Simulator) ClearJournal() { s.lab.Journal.Clear() }

// Switch changes a setting of a system. The Switch methods of the systems
// document the settings. The value is encoded as JSON.
func (s *Simulator) Switch(system, name string, value any) error {
	target, ok := s.systems[system]
	if !ok {
		return fmt.Errorf("unknown system %q: use one of %s", system, strings.Join(s.Systems(), ", "))
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("switch %q: %w", name, err)
	}
	return target.Switch(name, raw)
}

// Advance advances the clock of all systems.
func (s *Simulator) Advance(d time.Duration) { s.lab.Clock.Advance(d) }

// Now returns the simulated time.
func (s *Simulator) Now() time.Time { return s.lab.Clock.Now() }

// SetPassword changes a password behind the engine's back.
func (s *Simulator) SetPassword(system, target, password string) error {
	owner, ok := s.systems[system]
	if !ok {
		return fmt.Errorf("unknown system %q: use one of %s", system, strings.Join(s.Systems(), ", "))
	}
	return owner.SetPassword(context.Background(), target, password)
}

// Trapped returns how many requests followed a redirect.
func (s *Simulator) Trapped() int {
	requests, _ := s.trap.count()
	return requests
}

// MaxConcurrentChanges returns the highest number of changes of a target that
// were in progress at the same time.
func (s *Simulator) MaxConcurrentChanges(system, target string) int {
	return s.lab.MaxConcurrentChanges()[system+"/"+target]
}

// LoginPlesk logs in at the XML API. It returns a *[login.RefusedError] if the
// password is refused. An alias can log in only if the switch alias_api is set to
// allowed; by default the right password gives 1006 and a wrong one 1001.
func (s *Simulator) LoginPlesk(name, password string) error {
	return login.Plesk(context.Background(), s.pleskURL, s.authority.PEM, name, password)
}

// LoginRedis logs in at the first instance's Redis port. It returns a
// *[login.RefusedError] if the password is refused.
func (s *Simulator) LoginRedis(name, password string) error {
	if instances := s.state.DCS.Instances; len(instances) > 0 && instances[0].SSL {
		return login.RedisTLS(context.Background(), s.RedisAddress(), s.authority.PEM, name, password)
	}
	return login.Redis(context.Background(), s.RedisAddress(), name, password)
}

// Status is the answer to GET /v1/state. It contains no secrets.
type Status struct {
	Time       time.Time         `json:"time"`
	Addresses  map[string]string `json:"addresses"`
	Hosts      []Host            `json:"hosts"`
	Systems    map[string]any    `json:"systems"`
	Trap       map[string]int64  `json:"redirect_trap"`
	Concurrent map[string]int    `json:"max_concurrent_changes"`
}

// Status describes the state of all systems, without secrets.
func (s *Simulator) Status() Status {
	requests, bytes := s.trap.count()
	status := Status{
		Time: s.lab.Clock.Now(),
		Addresses: map[string]string{
			"control": s.controlURL, plesk.Name: s.pleskURL, huaweicloud.Name: s.iamURL, dcs.Name: s.dcsURL,
			dcs.DoorName: s.RedisAddress(), "clouddc": s.cloudDCURL, ecs.Name: s.ecsURL, mediatemple.Name: s.mediaTempleURL,
			"redirect_trap": s.trapURL,
		},
		Hosts:      s.Hosts(),
		Systems:    map[string]any{},
		Trap:       map[string]int64{"requests": int64(requests), "body_bytes": bytes},
		Concurrent: s.lab.MaxConcurrentChanges(),
	}
	for name, system := range s.systems {
		status.Systems[name] = system.State()
	}
	return status
}

// Plesk describes a Plesk login. The result is zero if there is none.
func (s *Simulator) Plesk(loginName string) plesk.AccountState {
	if panel, ok := s.systems[plesk.Name].(*plesk.Server); ok {
		return panel.Account(loginName)
	}
	return plesk.AccountState{}
}

// PleskSenders returns the requests that the Plesk server has refused, over all
// logins and secret keys, and what Fail2Ban made of them.
func (s *Simulator) PleskSenders() lab.Refusals {
	if panel, ok := s.systems[plesk.Name].(*plesk.Server); ok {
		return panel.Refusals()
	}
	return lab.Refusals{}
}

// DCS describes an ACL account ("instance_id/account_id"). The result is zero if
// there is none.
func (s *Simulator) DCS(target string) dcs.AccountState {
	if cache, ok := s.systems[dcs.Name].(*dcs.Service); ok {
		return cache.Account(target)
	}
	return dcs.AccountState{}
}

// DCSLogins counts the refused logins of all accounts, at the Redis ports and the
// Web CLI.
func (s *Simulator) DCSLogins() dcs.LoginState {
	if cache, ok := s.systems[dcs.Name].(*dcs.Service); ok {
		return cache.Logins()
	}
	return dcs.LoginState{}
}

// DCSRefusals returns the refused logins to an account ("instance_id/account_id") in
// the last 15 minutes, at the Redis port and the Web CLI.
func (s *Simulator) DCSRefusals(target string) lab.Refusals {
	if cache, ok := s.systems[dcs.Name].(*dcs.Service); ok {
		return lab.Refusals{Times: cache.Refused(target)}
	}
	return lab.Refusals{}
}

// AccessKeys describes all access keys, for instance to prove that none was locked.
func (s *Simulator) AccessKeys() []huaweicloud.KeyState {
	if cloud, ok := s.systems[huaweicloud.Name].(*huaweicloud.Cloud); ok {
		return cloud.Keys()
	}
	return nil
}

// Users describes all IAM users, for instance to prove that none was locked.
func (s *Simulator) Users() []huaweicloud.UserState {
	if cloud, ok := s.systems[huaweicloud.Name].(*huaweicloud.Cloud); ok {
		return cloud.Users()
	}
	return nil
}

// Port returns the port of a "host:port" or URL of the simulator.
func Port(address string) string {
	_, after, found := strings.Cut(address, "://")
	if found {
		address = after
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return port
}
