// Package ecs simulates the two services of Huawei Cloud that set the password
// of a server's administrator (root, or Administrator on Windows): Cloud Data
// Center (CloudDC), whose servers are physical, and Elastic Cloud Server.
//
// [New] makes both from a [State]; [Service.CloudDC] and [Service.CloudServers]
// are their addresses. Who may call is decided by package huaweicloud. A host,
// that is an instance of CloudDC or an elastic cloud server, is known by its id;
// whatever is an SSH port asks [Service.Admits].
//
// A password that is set waits for the next start of its host, see host.go. The
// last one set before the start wins.
//
// CloudDC changes all the instances of a request or none:
// https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeInstancePassword.html ,
// restarts: https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeServerPowerState.html ,
// states and fields: services/clouddc/v1 of https://github.com/huaweicloud/huaweicloud-sdk-go-v3 .
// Elastic Cloud Server changes what it can:
// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0306.html , the answer:
// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_07_0009.html , error codes:
// https://github.com/opentelekomcloud-docs/elastic-cloud-server , jobs:
// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0901.html .
//
// What those documents leave open is decided here and marked "assumed"; most of
// it can be switched, see [Service.Switch].
//
// # Targets
//
// The target of a fault, of the journal and of [Service.SetPassword] is the id
// of one host. For CloudDC that is the instance's, also where a request names
// the physical server. A request that concerns several hosts is hit by a fault
// of any of them, and the fault then holds for the whole request; the journal
// has an entry for each host, in the order of the request, because hosts of one
// request can fare differently. A host that the request names twice is there
// once, a list without a filter has the target "". What is refused before its
// body was read has the id of its path, or "".
//
// Changing a password is of class [lab.OpChange], also if the change only
// becomes effective later; dry runs and questions are [lab.OpCheck], lists
// [lab.OpList], restarts [lab.OpRestart].
package ecs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Name is what faults and the journal call both services.
const Name = "ecs"

// State is what the services start with.
type State struct {
	Instances    []Instance `json:"instances"`     // CloudDC
	CloudServers []Server   `json:"cloud_servers"` // Elastic Cloud Server
}

// Instance is an operating system on a physical server of CloudDC. Passwords are
// addressed by its id, power by the server's.
type Instance struct {
	ID             string `json:"id"`
	ServerID       string `json:"server_id"`
	Name           string `json:"name"`
	ProjectID      string `json:"project_id"`
	OS             string `json:"os,omitempty"`              // linux, the default, or windows
	State          string `json:"state,omitempty"`           // default running
	OperationState string `json:"operation_state,omitempty"` // default install-succeed
	Password       string `json:"password"`
}

// Server is an elastic cloud server.
type Server struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	ProjectID string `json:"project_id"`
	OS        string `json:"os,omitempty"`     // linux, the default, or windows
	Status    string `json:"status,omitempty"` // ACTIVE, the default, or SHUTOFF
	Plugin    bool   `json:"plugin"`           // the password-reset plug-in is installed
	Password  string `json:"password"`
}

// DefaultState has four instances, of which one runs Windows and one is stopped,
// and four cloud servers, of which one is without the plug-in and one is shut
// off.
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
	denied           []string
	echo             bool
}

// Service is CloudDC and Elastic Cloud Server of one region. It is safe for
// concurrent use.
type Service struct {
	lab     *lab.Lab
	cloud   *huaweicloud.Cloud
	created time.Time

	mu       sync.Mutex
	hosts    []*host
	jobs     []*job
	switches switches
}

// New makes a service.
func New(l *lab.Lab, cloud *huaweicloud.Cloud, state State) (*Service, error) {
	s := &Service{lab: l, cloud: cloud, created: l.Clock.Now(), switches: switches{
		stoppedInstances: "refuse", unknownID: "400", effective: "restart", partialStatus: "400", partialResponse: "absent",
		stoppedServers: "allow", guestScript: "ok", restartMS: 500, restartResult: "success",
	}}
	for _, i := range state.Instances {
		if i.ServerID == "" || i.ServerID == i.ID || s.byServerID(i.ServerID) != nil {
			return nil, fmt.Errorf("ecs: the instance %s of the state has no server_id of its own", i.ID)
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

// add checks a host and fills in what is not said.
func (s *Service) add(h *host) error {
	if h.os == "" {
		h.os = linux
	}
	if h.state == "" {
		h.state = h.upState()
	}
	switch {
	case h.id == "" || h.projectID == "" || h.password == "":
		return errors.New("ecs: a host of the state has no id, project_id or password")
	case s.host(h.id) != nil:
		return fmt.Errorf("ecs: the host %s is there twice", h.id)
	case h.os != linux && h.os != windows:
		return fmt.Errorf("ecs: the host %s has an unknown os: use %s or %s", h.id, linux, windows)
	case !slices.Contains(h.states(), h.state):
		return fmt.Errorf("ecs: the host %s has an unknown state", h.id)
	case h.metal && !slices.Contains(operationStates, h.operationState):
		return fmt.Errorf("ecs: the host %s has an unknown operation_state", h.id)
	}
	s.hosts = append(s.hosts, h)
	return nil
}

// Name implements [lab.System].
func (s *Service) Name() string { return Name }

// Switch implements [lab.System].
//
//	strict             CloudDC checks new passwords (default false)
//	stopped_instances  refuse (default) or allow: passwords of CloudDC's stopped instances
//	stopped_servers    allow (default) or refuse: passwords of cloud servers that are shut off
//	unknown_id         400 (default), 403 or 404: how CloudDC answers for an id that is not there
//	omit               ids that answers about a change leave out, or how many, from the end (default 0)
//	effective          restart (default) or now: when a new password of a host that is up is in force
//	partial            cloud servers that fail in a batch: an object, id to error code (default {})
//	partial_status     400 (default), 500 or 200: HTTP status of a batch in which a server failed
//	partial_response   absent (default) or present: whether such an answer names the others in "response"
//	guest_script       ok (default) or fails: resets of cloud servers answer as usual and do nothing
//	restart_ms         how long a restart or a change of power takes (default 500), 0: nothing
//	restart_lag_ms     how long after the answer it begins (default 0); the host is up until then
//	restart_result     success (default) or fail: the host stays as it is, a job ends with FAIL
//	denied             IAM actions that the caller has no permission for (default []), answered 403
//	echo_password      messages of refusals quote the password
//	instance_state     running, stopped, …: of all instances, or an object, id to state
//	operation_state    install-succeed, reinstall-processing, …: likewise
//	server_status      ACTIVE, SHUTOFF, ERROR, …: of all cloud servers, or an object, id to status
//	plugin             true, false: of all cloud servers, or an object, id to true or false
//
// The last four say how it is: nothing is started, and no password becomes
// effective. A restart under way is forgotten.
func (s *Service) Switch(name string, value json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	w := &s.switches
	return lab.Setter(map[string]func(json.RawMessage) error{
		"strict":            lab.Flag(&w.strict),
		"stopped_instances": lab.Choice(&w.stoppedInstances, "refuse", "allow"),
		"stopped_servers":   lab.Choice(&w.stoppedServers, "allow", "refuse"),
		"unknown_id":        lab.Choice(&w.unknownID, "400", "403", "404"),
		"omit":              w.omit.set,
		"effective":         lab.Choice(&w.effective, "restart", "now"),
		"partial":           s.setPartial,
		"partial_status":    lab.Choice(&w.partialStatus, "400", "500", "200"),
		"partial_response":  lab.Choice(&w.partialResponse, "absent", "present"),
		"guest_script":      lab.Choice(&w.guestScript, "ok", "fails"),
		"restart_ms":        lab.Number(&w.restartMS),
		"restart_lag_ms":    lab.Number(&w.restartLagMS),
		"restart_result":    lab.Choice(&w.restartResult, "success", "fail"),
		"denied":            s.setDenied,
		"echo_password":     lab.Flag(&w.echo),
		"instance_state": perHost(s, true, instanceStates, func(h *host, state string) {
			h.state, h.power = state, nil
		}),
		"operation_state": perHost(s, true, operationStates, func(h *host, state string) { h.operationState = state }),
		"server_status": perHost(s, false, serverStatuses, func(h *host, status string) {
			h.state, h.power = status, nil
		}),
		"plugin": perHost(s, false, []bool{true, false}, func(h *host, installed bool) { h.plugin = installed }),
	}, name, value)
}

// perHost reads a switch that takes a value for all hosts of a service, or an
// object with values for some.
func perHost[T comparable](s *Service, metal bool, allowed []T, set func(*host, T)) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var all T
		some := map[string]T{}
		if json.Unmarshal(raw, &all) == nil {
			for _, h := range s.hosts {
				if h.metal == metal {
					some[h.id] = all
				}
			}
		} else if json.Unmarshal(raw, &some) != nil {
			return fmt.Errorf("it takes one of %v, or an object with host ids and such values", allowed)
		}
		for id, value := range some {
			if h := s.host(id); h == nil || h.metal != metal {
				return fmt.Errorf("there is no such host %q", id)
			}
			if !slices.Contains(allowed, value) {
				return fmt.Errorf("it takes one of %v", allowed)
			}
		}
		for id, value := range some {
			set(s.host(id), value)
		}
		return nil
	}
}

func (s *Service) setPartial(raw json.RawMessage) error {
	var failing map[string]string
	if err := json.Unmarshal(raw, &failing); err != nil {
		return errors.New("it takes an object with ids of cloud servers and error codes")
	}
	for id, code := range failing {
		if h := s.host(id); h == nil || h.metal || code == "" {
			return fmt.Errorf("%q is no cloud server, or has no error code", id)
		}
	}
	s.switches.partial = failing
	return nil
}

func (s *Service) setDenied(raw json.RawMessage) error {
	var denied []string
	if err := json.Unmarshal(raw, &denied); err != nil {
		return errors.New("it takes a list of IAM actions")
	}
	known := actions()
	for _, action := range denied {
		if !slices.Contains(known, action) {
			return fmt.Errorf("unknown IAM action %q: use some of %v", action, known)
		}
	}
	s.switches.denied = denied
	return nil
}

// omission is what an answer leaves out of the ids that it should name.
type omission struct {
	count int
	ids   []string
}

func (o *omission) set(raw json.RawMessage) error {
	var next omission
	if err := json.Unmarshal(raw, &next.ids); err != nil {
		if err := lab.Number(&next.count)(raw); err != nil {
			return errors.New("it takes a list of ids or a number that is not negative")
		}
	}
	*o = next
	return nil
}

// from returns the ids as {"id":…} objects, without those that are left out.
func (o *omission) from(ids []string) []map[string]any {
	objects := []map[string]any{}
	for _, id := range ids[:max(len(ids)-o.count, 0)] {
		if !slices.Contains(o.ids, id) {
			objects = append(objects, map[string]any{"id": id})
		}
	}
	return objects
}
