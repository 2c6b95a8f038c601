// Package mediatemple simulates the parts of version 1 of (mt) Media Temple's
// customer API that concern passwords: the root password of a service, the
// password of its Plesk panel, and the calls that list services.
//
// [New] creates the API from a [State]. [API.ServeHTTP] serves it under [Path].
// Each service accepts logins: its SSH port calls [API.Admits] to check one, and
// [API.Panel] is its Plesk panel.
//
// The API only queues a password change. It answers 202, and a job sets the
// password later (switch job_ms). Until then the old password stays in force.
// Only a login shows whether the job is done or has failed. Another request in
// the meantime is answered with 409, OperationPending. Jobs follow the clock of
// the lab, so that a test can complete one by advancing it.
//
// Sources:
//   - setting passwords: http://wiki.mediatemple.net/w/(mt):Set_Plesk_password and
//     http://wiki.mediatemple.net/w/(mt):Set_root_password
//   - envelope and codes, where 401 and 403 have swapped their usual meanings:
//     https://mediatemple.net/community/products/all/204645330/parsing-api-responses
//   - parameters: https://mediatemple.net/community/products/all/204645070/api-query-parameters
//   - services: http://wiki.mediatemple.net/w/(mt):Get_service_details
//   - the header with the key is known only from clients, such as
//     https://github.com/tarnfeld/fuel-mediatemple
//
// Behaviour that those documents leave open is marked "assumed". Most of it can
// be changed with [API.Switch].
package mediatemple

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
	"vault-plugin-secrets-hosting/bootstrap/simulator/plesk"
)

// Name is the system name of the API in faults and in the journal.
const Name = "mediatemple"

// PanelName is the system name of the services' Plesk panels in faults and in the
// journal. Their targets are the ids of the services.
const PanelName = "panel"

// State is the initial state of the API.
type State struct {
	Accounts []Account `json:"accounts"`
}

// Account is a customer. Each API key of an account gives access to all of its
// services.
type Account struct {
	APIKeys  []string  `json:"api_keys"`
	Services []Service `json:"services"`
}

// Service is a server rented by a customer.
type Service struct {
	ID            int64  `json:"id"`
	TypeName      string `json:"service_type_name,omitempty"`
	PrimaryDomain string `json:"primary_domain,omitempty"` // the server's host name
	IPAddress     string `json:"ip_address,omitempty"`
	HasPlesk      bool   `json:"has_plesk"`
	RootPassword  string `json:"root_password"`
	PleskPassword string `json:"plesk_password,omitempty"` // password of the panel's administrator, admin
}

// DefaultState returns a state of two accounts, with random secrets. The first
// has two keys, and the services 556 (with Plesk) and 557 (without); the second
// has the service 901. Keys are 65 characters long, as a PHP client requires.
func DefaultState() State {
	key := func() string { return lab.RandomText(65, lab.Alphanum) }
	dv := func(id int64, domain, address string) Service {
		return Service{ID: id, TypeName: "(dv) Dedicated-Virtual Base 3.5", PrimaryDomain: domain, IPAddress: address, HasPlesk: true,
			RootPassword: lab.RandomPassword(), PleskPassword: lab.RandomPassword()}
	}
	return State{Accounts: []Account{
		{APIKeys: []string{key(), key()}, Services: []Service{
			dv(556, "dv35.example.com", "192.168.200.66"),
			{ID: 557, TypeName: "(ve) Server 1 GB", PrimaryDomain: "ve.example.com", IPAddress: "192.168.200.67", RootPassword: lab.RandomPassword()},
		}},
		{APIKeys: []string{key()}, Services: []Service{dv(901, "other.example.net", "192.168.200.90")}},
	}}
}

// credential is one of the passwords of a service.
type credential struct {
	password string // in force
	job      *job   // nil if none is pending
	accepted int
	changes  int
	failed   int
}

type service struct {
	Service
	account     *account
	root, plesk credential
	panel       *plesk.Server // nil if there is none
}

type account struct {
	keys []string
}

type switches struct {
	jobMS       int
	jobs        string
	jobFails    bool
	rules       string
	foreign     string
	queryKey    string
	httpStatus  int
	maintenance bool
	echo        bool
}

// API is the simulated API. It is safe for concurrent use.
type API struct {
	lab *lab.Lab

	mu        sync.Mutex
	accounts  []*account
	services  []*service
	keysInURL int
	switches  switches
}

// New creates the API.
func New(l *lab.Lab, state State) (*API, error) {
	a := &API{lab: l, switches: switches{jobMS: 1000, jobs: "independent", rules: "advice", foreign: "403", queryKey: "allowed"}}
	for _, in := range state.Accounts {
		owner := &account{keys: slices.Clone(in.APIKeys)}
		for _, key := range in.APIKeys {
			if key == "" || a.owner(key) != nil {
				return nil, errors.New("mediatemple: an API key in the state is empty or belongs to two accounts")
			}
		}
		a.accounts = append(a.accounts, owner)
		for _, s := range in.Services {
			if err := a.add(owner, s); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

func (a *API) add(owner *account, in Service) error {
	switch {
	case in.ID <= 0 || a.service(strconv.FormatInt(in.ID, 10)) != nil:
		return fmt.Errorf("mediatemple: service id %d is not positive or not unique", in.ID)
	case in.RootPassword == "" || (in.PleskPassword == "") == in.HasPlesk:
		return fmt.Errorf("mediatemple: service %d needs a root_password, and a plesk_password if and only if it has Plesk", in.ID)
	}
	if in.TypeName == "" {
		in.TypeName = "(dv) Dedicated-Virtual Base 3.5"
	}
	if in.PrimaryDomain == "" {
		in.PrimaryDomain = fmt.Sprintf("s%d.example.com", in.ID)
	}
	if in.IPAddress == "" {
		in.IPAddress = "192.168.200.66"
	}
	s := &service{Service: in, account: owner, root: credential{password: in.RootPassword}, plesk: credential{password: in.PleskPassword}}
	if in.HasPlesk {
		s.panel = plesk.NewPanel(a.lab, plesk.Panel{
			System: PanelName, Target: s.id(),
			Password:    func() string { return a.password(&s.plesk) },
			SetPassword: func(password string) { a.overwrite(&s.plesk, password) },
		})
	}
	a.services = append(a.services, s)
	return nil
}

// Name implements [lab.System].
func (a *API) Name() string { return Name }

// owner returns the account that a key belongs to, or nil.
func (a *API) owner(key string) *account {
	var found *account
	for _, owner := range a.accounts {
		for _, k := range owner.keys {
			if lab.Same(k, key) {
				found = owner
			}
		}
	}
	return found
}

func (s *service) id() string { return strconv.FormatInt(s.ID, 10) }

func (a *API) service(id string) *service {
	for _, s := range a.services {
		if s.id() == id {
			return s
		}
	}
	return nil
}

// target returns the credential of a target ("id/root" or "id/plesk"), or nil.
func (a *API) target(target string) *credential {
	id, kind, _ := strings.Cut(target, "/")
	s := a.service(id)
	switch {
	case s == nil:
		return nil
	case kind == root:
		return &s.root
	case kind == panel && s.HasPlesk:
		return &s.plesk
	}
	return nil
}

// CredentialState describes a password in the control API.
type CredentialState struct {
	Target       string     `json:"target"`      // service_id/root or service_id/plesk
	Accepted     int        `json:"accepted"`    // requests answered with 202
	Changes      int        `json:"changes"`     // jobs that have set a password
	FailedJobs   int        `json:"failed_jobs"` // jobs that have failed
	PendingUntil *time.Time `json:"pending_until,omitempty"`
}

func (a *API) credentialState(target string, c *credential) CredentialState {
	a.settle(c)
	st := CredentialState{Target: target, Accepted: c.accepted, Changes: c.changes, FailedJobs: c.failed}
	if c.job != nil {
		until := c.job.until
		st.PendingUntil = &until
	}
	return st
}

// Credential describes one password ("id/root" or "id/plesk"). The result is zero
// if there is none.
func (a *API) Credential(target string) CredentialState {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.target(target); c != nil {
		return a.credentialState(target, c)
	}
	return CredentialState{}
}

// State implements [lab.System].
func (a *API) State() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	type serviceState struct {
		ID            int64             `json:"id"`
		PrimaryDomain string            `json:"primary_domain"`
		HasPlesk      bool              `json:"has_plesk"`
		Account       int               `json:"account"` // index of the account in the state
		Passwords     []CredentialState `json:"passwords"`
	}
	result := []serviceState{}
	for _, s := range a.services {
		st := serviceState{ID: s.ID, PrimaryDomain: s.PrimaryDomain, HasPlesk: s.HasPlesk, Account: slices.Index(a.accounts, s.account)}
		for _, kind := range []string{root, panel} {
			if c := a.target(s.id() + "/" + kind); c != nil {
				st.Passwords = append(st.Passwords, a.credentialState(s.id()+"/"+kind, c))
			}
		}
		result = append(result, st)
	}
	// A careful client never sends its key in a URL.
	return map[string]any{"services": result, "keys_in_url": a.keysInURL}
}

// Switches implements [lab.System]. The lock must be held to set one.
//
//	job_ms         milliseconds until an accepted password takes effect (default 1000)
//	jobs           independent (default), or exclusive: a pending job for one password of a service blocks changes of the other
//	job_fails      true: jobs of new requests fail without a change (default false)
//	rules          advice (default): the password rules of the help articles, see rules.go; none: any password that is not empty
//	foreign        403 (default), 404 or 401: status for a service of another account
//	query_key      allowed (default) or refused: the key as the parameter apikey
//	http_status    HTTP status of all answers with an envelope; 0 (default): the statusCode in the envelope
//	maintenance    true: all changes are answered with 503 (default false)
//	echo_password  true: error messages quote the password
func (a *API) Switches() lab.Settings {
	w := &a.switches
	return lab.Settings{
		"job_ms":        lab.Number(&w.jobMS),
		"jobs":          lab.Choice(&w.jobs, "independent", "exclusive"),
		"job_fails":     lab.Flag(&w.jobFails),
		"rules":         lab.Choice(&w.rules, "none", "advice"),
		"foreign":       lab.Choice(&w.foreign, "403", "404", "401"),
		"query_key":     lab.Choice(&w.queryKey, "allowed", "refused"),
		"http_status":   status(&w.httpStatus),
		"maintenance":   lab.Flag(&w.maintenance),
		"echo_password": lab.Flag(&w.echo),
	}
}

// Switch implements [lab.System].
func (a *API) Switch(name string, value json.RawMessage) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Switches().Set(name, value)
}

// status is a switch that takes 0 or an HTTP status.
func status(into *int) lab.Setting {
	return lab.Setting{Values: "0|STATUS", Set: func(raw json.RawMessage) error {
		var value int
		if err := lab.Number(&value).Set(raw); err != nil || (value != 0 && (value < 200 || value > 599)) {
			return errors.New("must be 0 or an HTTP status from 200 to 599")
		}
		*into = value
		return nil
	}}
}

// SetPassword implements [lab.System]. It simulates a change on the server itself.
// The target is "id/root" or "id/plesk". A pending job still sets its password
// later.
func (a *API) SetPassword(_ context.Context, target, password string) error {
	a.mu.Lock()
	c := a.target(target)
	a.mu.Unlock()
	if c == nil {
		return fmt.Errorf(`mediatemple has no password %q: use "service_id/root" or, if the service has Plesk, "service_id/plesk"`, target)
	}
	a.overwrite(c, password)
	return nil
}
