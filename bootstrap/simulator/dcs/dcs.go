// Package dcs simulates the parts of Huawei Cloud's Distributed Cache Service
// that concern the passwords of Redis ACL accounts: the REST API v2, and a Redis
// port ("door") for each instance.
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
//   - error codes: https://github.com/opentelekomcloud-docs/distributed-cache-service
//
// Behaviour that those documents leave open is marked "assumed". Most of it can
// be changed with [Service.Switch].
package dcs

import (
	"context"
	"encoding/json"
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
}

type instance struct {
	Instance
	accounts []*account
	host     string // address of its Redis port
	port     int
	data     map[string]string
}

type switches struct {
	unknownAccount   string
	refusalCode      string
	fifthFailure     string
	missingOld       string
	wrongOld         string
	samePassword     string
	resetWhileLocked string
	resetKeepsCount  bool
	busyCode         string
	settleMS         int
	settleResult     string
	lockUnit         string
	shape            string
	result           string
	twoArguments     bool
	echo             bool
}

// Service is the DCS of one region. It is safe for concurrent use.
type Service struct {
	lab   *lab.Lab
	cloud *huaweicloud.Cloud
	real  *realRedis // nil if there is none

	mu        sync.Mutex
	instances []*instance
	switches  switches
}

// New creates a service. realRedis is the host:port of a Redis server on which to
// set every password too, or "".
func New(ctx context.Context, l *lab.Lab, cloud *huaweicloud.Cloud, state State, realRedis string) (*Service, error) {
	s := &Service{lab: l, cloud: cloud, switches: switches{
		unknownAccount: "404", refusalCode: "DCS.4961", fifthFailure: "passwordFailed", missingOld: "refuse", wrongOld: "result",
		samePassword: "refuse", resetWhileLocked: "allow", busyCode: "DCS.4115", settleResult: "new", lockUnit: "minutes", shape: "normal",
		result: "success",
	}}
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
	i := &instance{Instance: in, data: map[string]string{}}
	if in.ID == "" || in.ProjectID == "" {
		return nil, errors.New("dcs: an instance in the state has no id or project_id")
	}
	if i.Status == "" {
		i.Status = "RUNNING"
	}
	if i.EngineVersion == "" {
		i.EngineVersion = "5.0"
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
		Accounts   []AccountState `json:"accounts"`
	}
	result := []instanceState{}
	for _, i := range s.instances {
		st := instanceState{ID: i.ID, Name: i.Name, Status: i.Status, NoPassword: i.NoPassword, Redis: i.address(), Accounts: []AccountState{}}
		for _, a := range i.accounts {
			st.Accounts = append(st.Accounts, i.accountState(a, now))
		}
		result = append(result, st)
	}
	return map[string]any{"instances": result}
}

func (i *instance) accountState(a *account, now time.Time) AccountState {
	st := AccountState{Target: i.ID + "/" + a.ID, Name: a.Name, Type: a.Type, Role: a.Role, Status: a.status(),
		Changes: a.changes, Failed: a.failed, Locks: a.locks}
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

// Switches implements [lab.System]. The lock must be held to set one.
//
//	unknown_account     404 (default) or 400: status for an unknown account
//	refusal_code        DCS.4961 (default) or DCS.4019: code for a refused new password
//	fifth_failure       passwordFailed (default) or locked: result for the wrong old password that locks the account
//	missing_old         refuse (default) or passwordFailed: answer to a modify without old_password
//	wrong_old           result (default) or DCS.4080: how a wrong old password is reported
//	same_password       refuse (default) or accept: a modify whose new password equals the old one
//	reset_while_locked  allow (default) or refuse
//	reset_keeps_count   true: a reset does not clear the failure count and the lock
//	busy_code           code of the fault "busy", one of those that mean it (default DCS.4115)
//	settle_ms           how long an account stays UPDATING after the answer to a change, with the previous password (default 0); 0 also
//	                    completes the changes in progress
//	settle_result       new (default) or error: the new password takes effect, or the previous one stays and the status is ERROR
//	lock_unit           minutes (default) or seconds: unit of lock_time and lock_time_left
//	shape               normal (default), null, absent or numbers: format of the lock fields in an answer
//	result              value of result for a successful modify (default success)
//	two_argument_auth   true: AUTH name password works too (default false)
//	echo_password       true: error messages quote the password
//	instance_status     RUNNING, …: status of all instances
//	account_status      AVAILABLE, …: status of all normal accounts
//	no_password_access  true: all instances allow access without a password
func (s *Service) Switches() lab.Settings {
	w := &s.switches
	return lab.Settings{
		"unknown_account":    lab.Choice(&w.unknownAccount, "404", "400"),
		"refusal_code":       lab.Choice(&w.refusalCode, "DCS.4961", "DCS.4019"),
		"fifth_failure":      lab.Choice(&w.fifthFailure, "passwordFailed", "locked"),
		"missing_old":        lab.Choice(&w.missingOld, "refuse", "passwordFailed"),
		"wrong_old":          lab.Choice(&w.wrongOld, "result", "DCS.4080"),
		"same_password":      lab.Choice(&w.samePassword, "refuse", "accept"),
		"reset_while_locked": lab.Choice(&w.resetWhileLocked, "allow", "refuse"),
		"reset_keeps_count":  lab.Flag(&w.resetKeepsCount),
		"busy_code":          lab.Choice(&w.busyCode, busyCodes...),
		"settle_ms":          {Values: "N", Set: s.setSettle},
		"settle_result":      lab.Choice(&w.settleResult, "new", "error"),
		"lock_unit":          lab.Choice(&w.lockUnit, "minutes", "seconds"),
		"shape":              lab.Choice(&w.shape, "normal", "null", "absent", "numbers"),
		"result":             lab.Text(&w.result),
		"two_argument_auth":  lab.Flag(&w.twoArguments),
		"echo_password":      lab.Flag(&w.echo),
		"instance_status": {Values: "STATUS", Set: func(raw json.RawMessage) error {
			return s.each(raw, func(i *instance, status string) { i.Status = status })
		}},
		"account_status": {Values: "STATUS", Set: func(raw json.RawMessage) error {
			return s.each(raw, func(i *instance, status string) {
				for _, a := range i.accounts {
					if a.Type == "normal" {
						a.Status = status
					}
				}
			})
		}},
		"no_password_access": {Values: "true|false", Set: func(raw json.RawMessage) error {
			var yes bool
			if err := lab.Flag(&yes).Set(raw); err != nil {
				return err
			}
			for _, i := range s.instances {
				i.NoPassword = yes
			}
			return nil
		}},
	}
}

// Switch implements [lab.System].
func (s *Service) Switch(name string, value json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.Switches().Set(name, value)
}

func (s *Service) each(raw json.RawMessage, set func(*instance, string)) error {
	var status string
	if err := lab.Text(&status).Set(raw); err != nil {
		return err
	}
	for _, i := range s.instances {
		set(i, status)
	}
	return nil
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
