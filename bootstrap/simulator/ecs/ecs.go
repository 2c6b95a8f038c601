// Package ecs simulates the two services of Huawei Cloud that set the password
// of a server's administrator: Cloud Data Center (CloudDC), whose servers are
// physical, and Elastic Cloud Server.
//
// [New] makes both from a [State]; [Service.CloudDC] and [Service.CloudServers]
// are their addresses. Who may call is decided by package huaweicloud.
package ecs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

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
// and four cloud servers, of which one is without the plug-in and one is shut off.
func DefaultState(projectID string) State {
	instance := func(name, system, state string) Instance {
		return Instance{ID: lab.RandomUUID(), ServerID: lab.RandomUUID(), Name: name, ProjectID: projectID, OS: system, State: state,
			OperationState: "install-succeed", Password: lab.RandomPassword()}
	}
	server := func(name, system, status string, plugin bool) Server {
		return Server{ID: lab.RandomUUID(), Name: name, ProjectID: projectID, OS: system, Status: status, Plugin: plugin, Password: lab.RandomPassword()}
	}
	return State{
		Instances: []Instance{
			instance("metal-1", linux, running), instance("metal-2", linux, running),
			instance("metal-windows", windows, running), instance("metal-stopped", linux, stopped),
		},
		CloudServers: []Server{
			server("cloud-1", linux, active, true), server("cloud-2", linux, active, true),
			server("cloud-no-plugin", linux, active, false), server("cloud-stopped", linux, shutoff, true),
		},
	}
}

const (
	linux   = "linux"
	windows = "windows"

	running = "running"
	stopped = "stopped"
	active  = "ACTIVE"
	shutoff = "SHUTOFF"
)

type host struct {
	id, serverID string
	password     string
}

// Service is CloudDC and Elastic Cloud Server of one region. It is safe for
// concurrent use.
type Service struct {
	lab   *lab.Lab
	cloud *huaweicloud.Cloud

	mu    sync.Mutex
	hosts []*host
}

// New makes a service.
func New(l *lab.Lab, cloud *huaweicloud.Cloud, state State) (*Service, error) {
	s := &Service{lab: l, cloud: cloud}
	for _, i := range state.Instances {
		s.hosts = append(s.hosts, &host{id: i.ID, serverID: i.ServerID, password: i.Password})
	}
	for _, v := range state.CloudServers {
		s.hosts = append(s.hosts, &host{id: v.ID, password: v.Password})
	}
	return s, nil
}

// Name implements [lab.System].
func (s *Service) Name() string { return Name }

// CloudDC is the address of CloudDC, clouddc.{region}.
func (s *Service) CloudDC() http.Handler { return http.NotFoundHandler() }

// CloudServers is the address of Elastic Cloud Server, ecs.{region}.
func (s *Service) CloudServers() http.Handler { return http.NotFoundHandler() }

// Hosts returns the ids of all instances and then of all cloud servers, in the
// order of the state.
func (s *Service) Hosts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, h := range s.hosts {
		ids = append(ids, h.id)
	}
	return ids
}

// Admits tells whether a host lets a login in right now: root on Linux,
// Administrator on Windows, with the password that is in force. A host that is
// not up lets nobody in.
func (s *Service) Admits(id, user, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.host(id)
	return h != nil && user == "root" && lab.Same(h.password, password)
}

// Restart restarts a host by hand, or starts one that is stopped. When it
// returns, the host is up and the pending password is in force.
func (s *Service) Restart(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.host(id) == nil {
		return fmt.Errorf("ecs has no host %q: use the id of an instance or of a cloud server", id)
	}
	return nil
}

func (s *Service) host(id string) *host {
	for _, h := range s.hosts {
		if h.id == id {
			return h
		}
	}
	return nil
}

// State implements [lab.System].
func (s *Service) State() any { return map[string]any{} }

// Switch implements [lab.System].
func (s *Service) Switch(string, json.RawMessage) error { return errors.New("no switches yet") }

// SetPassword implements [lab.System]: somebody changes the password in the
// guest. The target is the id of an instance or of a cloud server.
func (s *Service) SetPassword(_ context.Context, target, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.host(target)
	if h == nil {
		return fmt.Errorf("ecs has no host %q: use the id of an instance or of a cloud server", target)
	}
	h.password = password
	return nil
}
