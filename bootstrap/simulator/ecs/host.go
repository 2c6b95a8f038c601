package ecs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

const (
	linux   = "linux"
	windows = "windows"

	running  = "running"
	stopping = "stopping"
	stopped  = "stopped"
	active   = "ACTIVE"
	shutoff  = "SHUTOFF"
)

// States of hosts. Those of instances come from two editions of the
// documentation.
var (
	instanceStates = []string{running, stopped, stopping, "pending", "reinstalling", "shutting-down", "terminated", "error", "failed"}
	serverStatuses = []string{active, shutoff, "REBOOT", "HARD_REBOOT", "BUILD", "ERROR"}

	operationStates = func() []string {
		var states []string
		for _, operation := range []string{"install", "reinstall", "switch-install", "modify-ip", "uninstall"} {
			states = append(states, operation+"-succeed", operation+"-processing", operation+"-failed")
		}
		return states
	}()
)

// Power actions: those of ChangeServerPowerState, and the reboot types of cloud
// servers.
const (
	powerOn   = "power on"
	powerOff  = "power off"
	rebooting = "rebooting"
	soft      = "SOFT"
	hard      = "HARD"
)

// Values of the switch restart_result.
const (
	succeeds = "success"
	fails    = "fail"
	staysOff = "off"
	hangs    = "hang"
)

// never is how long a power action that hangs takes.
const never = 100 * 365 * 24 * time.Hour

// power is a power action in progress.
type power struct {
	action            string
	from, half, until time.Time
	result            string
	hidden            bool // the API reports a host that is up
}

// begun reports whether the action affects the host by now.
func (p *power) begun(now time.Time) bool {
	return p != nil && p.result != fails && !now.Before(p.from)
}

// host is an instance of CloudDC or an elastic cloud server. Its fields reflect
// the time of the last call of [Service.settle].
type host struct {
	metal                             bool // an instance of CloudDC
	id, serverID, name, projectID, os string
	state, operationState             string
	plugin                            bool
	password                          string // in force
	pending                           string // takes effect at the next start; "" if there is none
	power                             *power // nil if no action is in progress
	changes, restarts, actions        int
}

func (h *host) upState() string {
	if h.metal {
		return running
	}
	return active
}

func (h *host) downState() string {
	if h.metal {
		return stopped
	}
	return shutoff
}

func (h *host) states() []string {
	if h.metal {
		return instanceStates
	}
	return serverStatuses
}

// user returns the name of the administrator, which depends on the image only.
func (h *host) user() string {
	if h.os == windows {
		return "Administrator"
	}
	return "root"
}

// settle completes the power actions that have ended by now. The caller holds mu.
func (s *Service) settle() {
	now := s.lab.Clock.Now()
	for _, h := range s.hosts {
		if p := h.power; p != nil && !now.Before(p.until) {
			h.power = nil
			switch {
			case p.result == fails:
			case p.action == powerOff, p.result == staysOff:
				h.state = h.downState()
			default:
				h.start()
			}
		}
	}
}

// start brings a host up, which puts its pending password in force.
func (h *host) start() {
	h.state, h.power = h.upState(), nil
	h.restarts++
	if h.pending != "" {
		h.password, h.pending = h.pending, ""
	}
}

// begin starts a power action on a host.
func (s *Service) begin(h *host, action string) *power {
	from := s.lab.Clock.Now().Add(time.Duration(s.switches.restartLagMS) * time.Millisecond)
	takes := time.Duration(s.switches.restartMS) * time.Millisecond
	p := &power{action: action, from: from, half: from.Add(takes / 2), until: from.Add(takes), result: s.switches.restartResult,
		hidden: action == rebooting && s.switches.rebootPower == "on"}
	if p.result == hangs {
		p.until = from.Add(never)
	}
	h.power = p
	h.actions++
	s.replaceHostKey(h)
	return p
}

// replaceHostKey gives a host that is restarted another SSH host key, if the switch
// says so. No client sees it before the host is up again, except during the lag.
func (s *Service) replaceHostKey(h *host) {
	if s.switches.restartHostKey == "new" && s.NewHostKey != nil {
		s.NewHostKey(h.id)
	}
}

// shown returns the state that the API reports. According to the state diagram of
// the SDK (model_instance_state.go), an instance that is restarted or switched off
// is first stopping and then stopped; one that is switched on goes from stopped to
// running.
func (h *host) shown(now time.Time) string {
	p := h.power
	if !p.begun(now) || p.hidden {
		return h.state
	}
	switch p.action {
	case soft:
		return "REBOOT"
	case hard:
		return "HARD_REBOOT"
	case powerOn:
		return h.state
	}
	if now.Before(p.half) {
		return stopping
	}
	return stopped
}

// shownPower returns the power state of the physical server: on or off, also
// while it restarts (model_power_state.go; SDK 3.1.189 removed the other states).
func (h *host) shownPower(now time.Time) string {
	if slices.Contains([]string{stopped, "terminated"}, h.shown(now)) {
		return "off"
	}
	return "on"
}

// up reports whether the host is running, whatever the API reports.
func (h *host) up(now time.Time) bool { return h.state == h.upState() && !h.power.begun(now) }

// processing reports whether the operating system is being installed or changed.
func (h *host) processing() bool { return strings.HasSuffix(h.operationState, "-processing") }

// set stores a new password that the API has accepted.
func (s *Service) set(h *host, password string) {
	h.changes++
	if s.switches.effective == "now" && h.up(s.lab.Clock.Now()) {
		h.password, h.pending = password, ""
		return
	}
	h.pending = password
}

func (s *Service) host(id string) *host {
	return s.find(func(h *host) bool { return h.id == id })
}

func (s *Service) byServerID(id string) *host {
	return s.find(func(h *host) bool { return h.metal && h.serverID == id })
}

func (s *Service) find(matches func(*host) bool) *host {
	if i := slices.IndexFunc(s.hosts, matches); i >= 0 {
		return s.hosts[i]
	}
	return nil
}

// Hosts returns the ids of all instances, then of all cloud servers, in the order
// of the state.
func (s *Service) Hosts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, h := range s.hosts {
		ids = append(ids, h.id)
	}
	return ids
}

// Admits reports whether a host accepts a login at the moment: root on Linux,
// Administrator on Windows, with the password in force. A host that is down
// accepts none.
func (s *Service) Admits(id, user, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	h := s.host(id)
	return h != nil && h.up(s.lab.Clock.Now()) && user == h.user() && lab.Same(h.password, password)
}

// Password returns the administrator's password in force, or "" if there is no such
// host.
func (s *Service) Password(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if h := s.host(id); h != nil {
		return h.password
	}
	return ""
}

// Restart simulates an operator restarting a host, or starting it if it is
// stopped. When it returns, the host is up and its pending password in force. It
// takes no time and cancels any power action in progress.
func (s *Service) Restart(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	h := s.host(id)
	if h == nil {
		return noHost(id)
	}
	h.start()
	s.replaceHostKey(h)
	return nil
}

// SetPassword implements [lab.System]. It simulates a change inside the guest,
// which takes effect at once. The target is the id of an instance or cloud server.
// A pending password remains and takes effect at the next start.
func (s *Service) SetPassword(_ context.Context, target, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	h := s.host(target)
	if h == nil {
		return noHost(target)
	}
	h.password = password
	return nil
}

func noHost(id string) error {
	return fmt.Errorf("ecs has no host %q: use the id of an instance or cloud server", id)
}

// HostState describes a host in the control API.
type HostState struct {
	Target         string `json:"target"`
	ServerID       string `json:"server_id,omitempty"` // CloudDC
	Name           string `json:"name"`
	OS             string `json:"os"`
	State          string `json:"state"`
	OperationState string `json:"operation_state,omitempty"` // CloudDC
	Plugin         *bool  `json:"plugin,omitempty"`          // cloud servers
	Pending        bool   `json:"pending"`                   // a password takes effect at the next start
	Up             bool   `json:"up"`                        // it is running, and accepts logins
	Busy           bool   `json:"busy"`                      // a restart or power change is in progress
	Changes        int    `json:"changes"`                   // how often a password was set through the API
	Restarts       int    `json:"restarts"`                  // how often it was started
	PowerActions   int    `json:"power_actions"`             // how many restarts and power changes the API has accepted
}

// State implements [lab.System].
func (s *Service) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	instances, servers := []HostState{}, []HostState{}
	for _, h := range s.hosts {
		if h.metal {
			instances = append(instances, s.hostState(h))
		} else {
			servers = append(servers, s.hostState(h))
		}
	}
	return map[string]any{"instances": instances, "cloud_servers": servers}
}

// Host describes one host. The result is zero if there is none.
func (s *Service) Host(id string) HostState {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if h := s.host(id); h != nil {
		return s.hostState(h)
	}
	return HostState{}
}

func (s *Service) hostState(h *host) HostState {
	now := s.lab.Clock.Now()
	st := HostState{Target: h.id, ServerID: h.serverID, Name: h.name, OS: h.os, State: h.shown(now), OperationState: h.operationState,
		Pending: h.pending != "", Up: h.up(now), Busy: h.power != nil, Changes: h.changes, Restarts: h.restarts, PowerActions: h.actions}
	if !h.metal {
		installed := h.plugin
		st.Plugin = &installed
	}
	return st
}
