// Package ecs simulates the two services of Huawei Cloud that set the password
// of a server's administrator (root, or Administrator on Windows): Cloud Data
// Center (CloudDC) for physical servers, and Elastic Cloud Server.
//
// [New] creates both from a [State]. [Service.CloudDC] and [Service.CloudServers]
// return their handlers. Package huaweicloud authenticates and authorizes
// requests. A host is an instance of CloudDC or an elastic cloud server, and is
// identified by its id. SSH ports call [Service.Admits] to check a login.
//
// A new password takes effect at the next start of its host, see host.go. If
// several are set before that, the last one wins.
//
// CloudDC changes all instances of a request or none. Sources:
//   - changing passwords: https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeInstancePassword.html
//   - restarts: https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeServerPowerState.html
//   - states and fields: services/clouddc/v1 of https://github.com/huaweicloud/huaweicloud-sdk-go-v3
//
// Elastic Cloud Server changes the servers that it can and reports the others.
// Sources:
//   - resetting passwords: https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0306.html
//   - the answer: https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_07_0009.html
//   - error codes: https://github.com/opentelekomcloud-docs/elastic-cloud-server
//   - jobs: https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0901.html
//
// Behaviour that those documents leave open is marked "assumed". Most of it can
// be changed with [Service.Switch].
//
// # Targets
//
// The target of a fault, of a journal entry and of [Service.SetPassword] is the
// id of one host. For CloudDC that is the id of the instance, even if a request
// names the physical server. A fault for any host of a request applies to the
// whole request. The journal has an entry for each host, in the order of the
// request, because the hosts of a request can have different results. A host
// that a request names twice counts once. A list without a filter has the target
// "". A request that is refused before its body is read has the id in its path as
// the target, or "".
//
// Password changes are of class [lab.OpChange], even if they take effect later.
// Dry runs and reads are [lab.OpCheck], lists [lab.OpList], restarts
// [lab.OpRestart].
package ecs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Name is the system name of both services in faults and in the journal.
const Name = "ecs"

// State is the initial state of the services.
type State struct {
	Instances    []Instance `json:"instances"`     // CloudDC
	CloudServers []Server   `json:"cloud_servers"` // Elastic Cloud Server
}

// Instance is an operating system on a physical server of CloudDC. Password
// operations take its id, power operations that of the server.
type Instance struct {
	ID             string `json:"id"`
	ServerID       string `json:"server_id"`
	Name           string `json:"name"`
	ProjectID      string `json:"project_id"`
	OS             string `json:"os,omitempty"`              // linux (default) or windows
	State          string `json:"state,omitempty"`           // default running
	OperationState string `json:"operation_state,omitempty"` // default install-succeed
	Password       string `json:"password"`
}

// Server is an elastic cloud server.
type Server struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	ProjectID string `json:"project_id"`
	OS        string `json:"os,omitempty"`     // linux (default) or windows
	Status    string `json:"status,omitempty"` // ACTIVE (default) or SHUTOFF
	Plugin    bool   `json:"plugin"`           // whether the password-reset plug-in is installed
	Password  string `json:"password"`
}

// DefaultState returns a state of four instances, one of them with Windows and
// one stopped, and four cloud servers, one of them without the plug-in and one
// shut off.
func DefaultState(projectID string) State {
	instance := func(name, system, state string) Instance {
		return Instance{ID: lab.RandomUUID(), ServerID: lab.RandomUUID(), Name: name, ProjectID: projectID, OS: system, State: state,
			OperationState: "install-succeed", Password: lab.RandomPassword()}
	}
	server := func(name, status string, plugin bool) Server {
		return Server{ID: lab.RandomUUID(), Name: name, ProjectID: projectID, OS: linux, Status: status, Plugin: plugin, Password: lab.RandomPassword()}
	}
	return State{
		Instances: []Instance{
			instance("metal-1", linux, running), instance("metal-2", linux, running),
			instance("metal-windows", windows, running), instance("metal-stopped", linux, stopped),
		},
		CloudServers: []Server{
			server("cloud-1", active, true), server("cloud-2", active, true),
			server("cloud-no-plugin", active, false), server("cloud-stopped", shutoff, true),
		},
	}
}

type switches struct {
	strict           bool
	stoppedInstances string
	unknownID        string
	busy             string
	omit             omission
	effective        string
	partial          map[string]string
	partialStatus    string
	partialResponse  string
	stoppedServers   string
	guestScript      string
	restartMS        int
	restartLagMS     int
	restartResult    string
	restartHostKey   string
	rebootPower      string
	denied           []string
	echo             bool
}

// Service simulates CloudDC and Elastic Cloud Server in one region. It is safe for
// concurrent use.
type Service struct {
	lab     *lab.Lab
	cloud   *huaweicloud.Cloud
	created time.Time

	// NewHostKey gives a host another SSH host key, by the id of the host. Package
	// simulator sets it before any call. It must not call the Service.
	NewHostKey func(id string)

	mu       sync.Mutex
	hosts    []*host
	jobs     []*job
	switches switches
}

// New creates a service.
func New(l *lab.Lab, cloud *huaweicloud.Cloud, state State) (*Service, error) {
	s := &Service{lab: l, cloud: cloud, created: l.Clock.Now(), switches: switches{
		stoppedInstances: "refuse", unknownID: "400", busy: "state", effective: "restart", partialStatus: "400", partialResponse: "absent",
		stoppedServers: "allow", guestScript: "ok", restartMS: 500, restartResult: succeeds, restartHostKey: "keep",
		rebootPower: "off",
	}}
	for _, i := range state.Instances {
		if i.ServerID == "" || i.ServerID == i.ID || s.byServerID(i.ServerID) != nil {
			return nil, fmt.Errorf("ecs: instance %s in the state has no server_id, or it is not unique", i.ID)
		}
		h := &host{metal: true, id: i.ID, serverID: i.ServerID, name: i.Name, projectID: i.ProjectID, os: i.OS, state: i.State,
			operationState: i.OperationState, password: i.Password}
		if h.operationState == "" {
			h.operationState = "install-succeed"
		}
		if err := s.add(h); err != nil {
			return nil, err
		}
	}
	for _, v := range state.CloudServers {
		h := &host{id: v.ID, name: v.Name, projectID: v.ProjectID, os: v.OS, state: v.Status, plugin: v.Plugin, password: v.Password}
		if err := s.add(h); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// add checks a host, sets its defaults and adds it.
func (s *Service) add(h *host) error {
	if h.os == "" {
		h.os = linux
	}
	if h.state == "" {
		h.state = h.upState()
	}
	switch {
	case h.id == "" || h.projectID == "" || h.password == "":
		return errors.New("ecs: a host in the state has no id, project_id or password")
	case s.host(h.id) != nil:
		return fmt.Errorf("ecs: host %s appears twice in the state", h.id)
	case h.os != linux && h.os != windows:
		return fmt.Errorf("ecs: host %s has an unknown os: use %s or %s", h.id, linux, windows)
	case !slices.Contains(h.states(), h.state):
		return fmt.Errorf("ecs: host %s has an unknown state", h.id)
	case h.metal && !slices.Contains(operationStates, h.operationState):
		return fmt.Errorf("ecs: host %s has an unknown operation_state", h.id)
	}
	s.hosts = append(s.hosts, h)
	return nil
}

// Name implements [lab.System].
func (s *Service) Name() string { return Name }

// Switches implements [lab.System]. The lock must be held to set one.
//
//	strict             true: CloudDC checks new passwords (default false)
//	stopped_instances  refuse (default) or allow: password changes of stopped CloudDC instances
//	stopped_servers    allow (default) or refuse: password resets of cloud servers that are shut off
//	unknown_id         400 (default), 403 or 404: CloudDC's status for an unknown id
//	busy               state (default), command or conflict: how the fault "busy" is answered, with the code for the state of a
//	                   server, with 501 and that for another command (cloud servers only), or with 409
//	omit               ids to leave out of answers to changes, or how many to leave out from the end (default 0)
//	effective          restart (default) or now: when a new password takes effect on a running host
//	partial            cloud servers that fail in a batch: an object that maps ids to error codes (default {})
//	partial_status     400 (default), 500 or 200: HTTP status of a batch in which a server failed
//	partial_response   absent (default) or present: whether such an answer lists the other servers in "response"
//	guest_script       ok (default) or fails: resets of cloud servers succeed but change nothing
//	restart_ms         how long a restart or power change takes (default 500); 0: no time
//	restart_lag_ms     delay between the answer and the start of the restart (default 0); the host is up until then
//	restart_result     success (default); fail: the host does not change; off: it ends up off; hang: it never ends, and the host
//	                   is down. A job ends with FAIL after fail and off, and keeps running with hang
//	restart_host_key   keep (default) or new: SSH host key of a host after a restart
//	reboot_power       off (default): an instance that reboots is stopped and its server off for the second half of restart_ms;
//	                   on: it is reported as running and its server as on all the time, although it is down
//	denied             IAM actions that the caller has no permission for (default []); answered with 403
//	echo_password      true: error messages quote the password
//	instance_state     running, stopped, …: state of all instances, or an object that maps ids to states
//	operation_state    install-succeed, reinstall-processing, …: likewise
//	server_status      ACTIVE, SHUTOFF, ERROR, …: status of all cloud servers, or an object that maps ids to statuses
//	plugin             true or false for all cloud servers, or an object that maps ids to true or false
//
// The last four only set a state: they start no host and put no pending password
// in force. Setting instance_state or server_status cancels a restart in progress.
func (s *Service) Switches() lab.Settings {
	w := &s.switches
	return lab.Settings{
		"strict":            lab.Flag(&w.strict),
		"stopped_instances": lab.Choice(&w.stoppedInstances, "refuse", "allow"),
		"stopped_servers":   lab.Choice(&w.stoppedServers, "allow", "refuse"),
		"unknown_id":        lab.Choice(&w.unknownID, "400", "403", "404"),
		"busy":              lab.Choice(&w.busy, "state", "command", "conflict"),
		"omit":              {Values: "N|[ID]", Set: w.omit.set},
		"effective":         lab.Choice(&w.effective, "restart", "now"),
		"partial":           {Values: "{ID:CODE}", Set: s.setPartial},
		"partial_status":    lab.Choice(&w.partialStatus, "400", "500", "200"),
		"partial_response":  lab.Choice(&w.partialResponse, "absent", "present"),
		"guest_script":      lab.Choice(&w.guestScript, "ok", "fails"),
		"restart_ms":        lab.Number(&w.restartMS),
		"restart_lag_ms":    lab.Number(&w.restartLagMS),
		"restart_result":    lab.Choice(&w.restartResult, succeeds, fails, staysOff, hangs),
		"restart_host_key":  lab.Choice(&w.restartHostKey, "keep", "new"),
		"reboot_power":      lab.Choice(&w.rebootPower, "off", "on"),
		"denied":            {Values: "[ACTION]", Set: s.setDenied},
		"echo_password":     lab.Flag(&w.echo),
		"instance_state": perHost(s, true, instanceStates, func(h *host, state string) {
			h.state, h.power = state, nil
		}),
		"operation_state": perHost(s, true, operationStates, func(h *host, state string) { h.operationState = state }),
		"server_status": perHost(s, false, serverStatuses, func(h *host, status string) {
			h.state, h.power = status, nil
		}),
		"plugin": perHost(s, false, []bool{true, false}, func(h *host, installed bool) { h.plugin = installed }),
	}
}

// Switch implements [lab.System].
func (s *Service) Switch(name string, value json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.Switches().Set(name, value)
}

// perHost is a switch that takes a value for all hosts of a service, or an
// object with values for some of them.
func perHost[T comparable](s *Service, metal bool, allowed []T, set func(*host, T)) lab.Setting {
	values := strings.ReplaceAll(strings.Trim(fmt.Sprint(allowed), "[]"), " ", "|")
	return lab.Setting{Values: values + "|{ID:VALUE}", Set: func(raw json.RawMessage) error {
		var all T
		some := map[string]T{}
		if json.Unmarshal(raw, &all) == nil {
			for _, h := range s.hosts {
				if h.metal == metal {
					some[h.id] = all
				}
			}
		} else if json.Unmarshal(raw, &some) != nil {
			return fmt.Errorf("must be one of %v, or an object that maps host ids to these values", allowed)
		}
		for id, value := range some {
			if h := s.host(id); h == nil || h.metal != metal {
				return fmt.Errorf("no such host %q", id)
			}
			if !slices.Contains(allowed, value) {
				return fmt.Errorf("must be one of %v", allowed)
			}
		}
		for id, value := range some {
			set(s.host(id), value)
		}
		return nil
	}}
}

func (s *Service) setPartial(raw json.RawMessage) error {
	var failing map[string]string
	if err := json.Unmarshal(raw, &failing); err != nil {
		return errors.New("must be an object that maps ids of cloud servers to error codes")
	}
	for id, code := range failing {
		if h := s.host(id); h == nil || h.metal || code == "" {
			return fmt.Errorf("%q is not a cloud server or has no error code", id)
		}
	}
	s.switches.partial = failing
	return nil
}

func (s *Service) setDenied(raw json.RawMessage) error {
	var denied []string
	if err := json.Unmarshal(raw, &denied); err != nil {
		return errors.New("must be a list of IAM actions")
	}
	known := actions()
	for _, action := range denied {
		if !slices.Contains(known, action) {
			return fmt.Errorf("unknown IAM action %q: use any of %v", action, known)
		}
	}
	s.switches.denied = denied
	return nil
}

// omission selects the ids that an answer leaves out.
type omission struct {
	count int
	ids   []string
}

func (o *omission) set(raw json.RawMessage) error {
	var next omission
	if err := json.Unmarshal(raw, &next.ids); err != nil {
		if err := lab.Number(&next.count).Set(raw); err != nil {
			return errors.New("must be a list of ids or a non-negative integer")
		}
	}
	*o = next
	return nil
}

// from returns the ids as {"id":…} objects, without those to leave out.
func (o *omission) from(ids []string) []map[string]any {
	objects := []map[string]any{}
	for _, id := range ids[:max(len(ids)-o.count, 0)] {
		if !slices.Contains(o.ids, id) {
			objects = append(objects, map[string]any{"id": id})
		}
	}
	return objects
}
