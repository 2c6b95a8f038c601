// Package dcs simulates the parts of Huawei Cloud's Distributed Cache Service
// that concern the passwords of Redis ACL accounts: the REST API v2 with the login
// to the Web CLI, and a Redis port ("door") for each instance.
//
// [New] creates a service from a [State]. [Service.ServeHTTP] serves the API,
// [Doors.Serve] a Redis port. Package huaweicloud authenticates and authorizes
// requests.
//
// Sources:
//   - changing a password with the old one:
//     https://support.huaweicloud.com/intl/en-us/api-dcs/UpdateAclAccountPassWord.html
//   - resetting it without the old one:
//     https://support.huaweicloud.com/eu/api-dcs/ResetAclAccountPassWord.html
//   - five wrong old passwords in a row lock an account for five minutes:
//     https://support.huaweicloud.com/intl/en-us/usermanual-dcs/dcs-ug-0312040.html
//   - how an account logs in:
//     https://support.huaweicloud.com/eu/usermanual-dcs/dcs-ug-221220.html
//   - the Web CLI: https://support.huaweicloud.com/intl/ja-jp/api-dcs/LoginWebCli.html
//     and https://support.huaweicloud.com/api-dcs/LogoffWebCli.html
//   - TLS: https://support.huaweicloud.com/eu/api-dcs/UpdateSSLSwitch.html
//   - error codes: https://github.com/opentelekomcloud-docs/distributed-cache-service
//
// Behaviour that those documents leave open is marked "assumed". Most of it can
// be changed with [Service.Switch].
package dcs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Name is the system name of the REST API in faults and in the journal. The Redis
// ports have the name [DoorName].
const Name = "dcs"

// State is the initial state of the service.
type State struct {
	Instances []Instance `json:"instances"`
}

// Instance is a Redis instance.
type Instance struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	ProjectID     string    `json:"project_id"`
	EngineVersion string    `json:"engine_version"`
	Status        string    `json:"status,omitempty"` // default RUNNING
	NoPassword    bool      `json:"no_password_access,omitempty"`
	SSL           bool      `json:"enable_ssl,omitempty"` // its Redis port speaks TLS; Redis 6.0 or newer
	Accounts      []Account `json:"accounts"`
}

// Account is an ACL account. The password of the default account is the
// instance's own password.
type Account struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Type     string `json:"type,omitempty"`   // normal (if omitted) or default
	Role     string `json:"role,omitempty"`   // write (if omitted) or read
	Status   string `json:"status,omitempty"` // default AVAILABLE
	Password string `json:"password"`
}

// DefaultState returns a state of one instance with the default account and the
// accounts app and report.
func DefaultState(projectID string) State {
	return State{Instances: []Instance{{
		ID: lab.RandomUUID(), Name: "dcs-demo", ProjectID: projectID, EngineVersion: "5.0",
		Accounts: []Account{
			{ID: lab.RandomUUID(), Name: "default", Type: "default", Password: lab.RandomPassword()},
			{ID: lab.RandomUUID(), Name: "app", Password: lab.RandomPassword()},
			{ID: lab.RandomUUID(), Name: "report", Role: "read", Password: lab.RandomPassword()},
		},
	}}}
}

type account struct {
	Account
	failed      int
	lockedUntil time.Time
	locks       int
	pending     *pending // nil if no change is in progress
	changes     int
	logins      logins
}

type instance struct {
	Instance
	accounts []*account
	host     string // address of its Redis port
	port     int
	data     map[string]string
	sessions map[string]time.Time // of the Web CLI, by client_id: when they end
}

// Service is the DCS of one region. It is safe for concurrent use.
type Service struct {
	lab   *lab.Lab
	cloud *huaweicloud.Cloud
	real  *realRedis // nil if there is none

	mu        sync.Mutex
	instances []*instance
	switches  switches
	logins    logins // of all accounts, and of names that no account has
}

// New creates a service. realRedis is the host:port of a Redis server on which to
// set every password too, or "".
func New(ctx context.Context, l *lab.Lab, cloud *huaweicloud.Cloud, state State, realRedis string) (*Service, error) {
	s := &Service{lab: l, cloud: cloud, switches: defaults}
	for _, in := range state.Instances {
		i, err := newInstance(in)
		if err != nil {
			return nil, err
		}
		s.instances = append(s.instances, i)
	}
	if realRedis == "" {
		return s, nil
	}
	if len(s.instances) != 1 {
		return nil, errors.New("dcs: a real Redis server requires a state with exactly one instance")
	}
	s.real = newRealRedis(realRedis)
	for _, a := range s.instances[0].accounts {
		if err := s.real.set(ctx, a, a.Password); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func newInstance(in Instance) (*instance, error) {
	i := &instance{Instance: in, data: map[string]string{}, sessions: map[string]time.Time{}}
	if in.ID == "" || in.ProjectID == "" {
		return nil, errors.New("dcs: an instance in the state has no id or project_id")
	}
	if i.Status == "" {
		i.Status = "RUNNING"
	}
	if i.EngineVersion == "" {
		i.EngineVersion = "5.0"
	}
	if i.SSL && i.version() < 6 {
		return nil, fmt.Errorf("dcs: instance %s has enable_ssl, which needs Redis 6.0 or newer", in.ID)
	}
	for _, a := range in.Accounts {
		if a.ID == "" || a.Name == "" || a.Password == "" {
			return nil, fmt.Errorf("dcs: an account of instance %s has no id, name or password", in.ID)
		}
		if a.Type == "" {
			a.Type = "normal"
		}
		if a.Role == "" {
			a.Role = "write"
		}
		if a.Status == "" {
			a.Status = "AVAILABLE"
		}
		i.accounts = append(i.accounts, &account{Account: a})
	}
	return i, nil
}

// Name implements [lab.System].
func (s *Service) Name() string { return Name }

// InstanceIDs returns the ids of all instances, in the order of the state.
func (s *Service) InstanceIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, i := range s.instances {
		ids = append(ids, i.ID)
	}
	return ids
}

func (s *Service) instance(id string) *instance {
	for _, i := range s.instances {
		if i.ID == id {
			return i
		}
	}
	return nil
}

func (i *instance) account(id string) *account {
	for _, a := range i.accounts {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// AccountState describes an account in the control API.
type AccountState struct {
	Target      string     `json:"target"` // instance_id/account_id
	Name        string     `json:"name"`
	Type        string     `json:"type"`
	Role        string     `json:"role"`
	Status      string     `json:"status"`
	Changes     int        `json:"changes"` // how often the password was set through the API
	Failed      int        `json:"failed"`  // wrong old passwords in a row
	LockedUntil *time.Time `json:"locked_until,omitempty"`
	Locks       int        `json:"locks"` // how often it was locked
	Logins      LoginState `json:"logins"`
}

// State implements [lab.System].
func (s *Service) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	now := s.lab.Clock.Now()
	type instanceState struct {
		ID         string         `json:"id"`
		Name       string         `json:"name"`
		Status     string         `json:"status"`
		NoPassword bool           `json:"no_password_access"`
		Redis      string         `json:"redis_address"`
		Sessions   int            `json:"webcli_sessions"` // open ones
		Accounts   []AccountState `json:"accounts"`
	}
	result := []instanceState{}
	for _, i := range s.instances {
		st := instanceState{ID: i.ID, Name: i.Name, Status: i.Status, NoPassword: i.NoPassword, Redis: i.address(),
			Sessions: i.open(now), Accounts: []AccountState{}}
		for _, a := range i.accounts {
			st.Accounts = append(st.Accounts, i.accountState(a, now))
		}
		result = append(result, st)
	}
	return map[string]any{"instances": result, "logins": s.logins.state()}
}

func (i *instance) accountState(a *account, now time.Time) AccountState {
	st := AccountState{Target: i.ID + "/" + a.ID, Name: a.Name, Type: a.Type, Role: a.Role, Status: a.status(),
		Changes: a.changes, Failed: a.failed, Locks: a.locks, Logins: a.logins.state()}
	if a.lockedUntil.After(now) {
		until := a.lockedUntil
		st.LockedUntil = &until
	}
	return st
}

// target returns the instance and account of a target ("instance_id/account_id"),
// or nil.
func (s *Service) target(target string) (*instance, *account) {
	instanceID, accountID, _ := strings.Cut(target, "/")
	i := s.instance(instanceID)
	if i == nil {
		return nil, nil
	}
	a := i.account(accountID)
	return i, a
}

// Account describes one account. The result is zero if there is none.
func (s *Service) Account(target string) AccountState {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if i, a := s.target(target); a != nil {
		return i.accountState(a, s.lab.Clock.Now())
	}
	return AccountState{}
}

// SetPassword implements [lab.System]. It simulates a change in the console. The
// target is "instance_id/account_id".
func (s *Service) SetPassword(ctx context.Context, target, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if _, a := s.target(target); a != nil {
		a.pending = nil
		return s.set(ctx, a, password)
	}
	return fmt.Errorf("dcs has no account %q: use instance_id/account_id", target)
}

// set sets a password, first on the real Redis server if there is one.
func (s *Service) set(ctx context.Context, a *account, password string) error {
	if s.real != nil {
		if err := s.real.set(ctx, a, password); err != nil {
			return err
		}
	}
	a.Password = password
	return nil
}
