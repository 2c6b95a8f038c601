// Package huaweicloud simulates what the regional services of Huawei Cloud have
// in common: IAM tokens, AK/SK request signatures, project scopes and the
// throttling of the API gateway.
//
// [New] creates a [Cloud] from a [State]. A Cloud is the IAM endpoint
// ([Cloud.ServeHTTP]), and the gateway that services use to check each request
// ([Cloud.Admit]).
//
// Signatures are recomputed from the raw request, see
// https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-algorithm.html.
// Error texts are those of
// https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-errorcode.html.
package huaweicloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Name is the system name of IAM in faults and in the journal.
const Name = "iam"

// State is one account of Huawei Cloud.
type State struct {
	DomainName string      `json:"domain_name"`
	Projects   []Project   `json:"projects"`
	Users      []User      `json:"users"`
	AccessKeys []AccessKey `json:"access_keys"`
}

// Project is a region or a subproject of one.
type Project struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// User is an IAM user. Projects lists the ids of the projects that the user may
// use; if empty, all.
type User struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Password string   `json:"password"`
	Projects []string `json:"projects,omitempty"`
}

// AccessKey is an AK/SK pair. A temporary one has a security token.
type AccessKey struct {
	AccessKey     string    `json:"access_key"`
	SecretKey     string    `json:"secret_key"`
	SecurityToken string    `json:"security_token,omitempty"`
	ExpiresAt     time.Time `json:"expires_at,omitzero"` // zero: never
	Inactive      bool      `json:"inactive,omitempty"`
	Projects      []string  `json:"projects,omitempty"` // ids of the projects that it may use; if empty, all
}

// DefaultState returns a state of two projects, a user, a permanent key and a
// temporary key, with random secrets. The user and the keys may use only the
// first project, so that tests can be refused access to the second.
func DefaultState() State {
	const projectID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	allowed := []string{projectID}
	return State{
		DomainName: "example-domain",
		Projects:   []Project{{ID: projectID, Name: "ap-southeast-3"}, {ID: "ffffffffffffffffffffffffffffffff", Name: "eu-west-101"}},
		Users:      []User{{ID: lab.RandomText(32, lab.Hex), Name: "vault", Password: lab.RandomPassword(), Projects: allowed}},
		AccessKeys: []AccessKey{
			{AccessKey: lab.RandomText(20, lab.Upper), SecretKey: lab.RandomText(40, lab.Alphanum), Projects: allowed},
			{AccessKey: "HST" + lab.RandomText(17, lab.Upper), SecretKey: lab.RandomText(40, lab.Alphanum),
				SecurityToken: "gQpjbi1ub3J0aC0x" + lab.RandomText(400, lab.Alphanum), Projects: allowed},
		},
	}
}

type key struct {
	AccessKey
	failed      int // failed signatures in a row
	refused     int // refused requests in total
	lockedUntil time.Time
	locks       int
}

type user struct {
	User
	failed      int
	lockedUntil time.Time
	locks       int
	tokens      int
}

type token struct {
	user    *user
	project string
	expires time.Time
	revoked bool
}

type switches struct {
	tokenLifetime   int
	userLockSeconds int
	projectMismatch string
	errorStyle      string
	throttle        int
	throttleVariant string
}

// Cloud is one account of the simulated cloud. It is safe for concurrent use.
type Cloud struct {
	lab *lab.Lab

	mu       sync.Mutex
	domain   string
	projects []Project
	users    []*user
	keys     []*key
	tokens   map[string]*token
	switches switches

	second   int64 // the second that requests are counted in
	requests int

	windows   map[string]time.Time // by service, or service/caller: when its window of 429 ends
	throttled map[string]int       // by service: requests refused in its windows
}

// New creates a cloud.
func New(l *lab.Lab, state State) (*Cloud, error) {
	c := &Cloud{
		lab: l, domain: state.DomainName, projects: state.Projects, tokens: map[string]*token{}, windows: map[string]time.Time{}, throttled: map[string]int{},
		switches: switches{tokenLifetime: 24 * 60 * 60, userLockSeconds: 15 * 60, projectMismatch: "403", errorStyle: "keystone", throttleVariant: "json"},
	}
	if len(state.Projects) == 0 {
		return nil, errors.New("huaweicloud: the state has no project")
	}
	for _, u := range state.Users {
		if u.Name == "" || u.Password == "" {
			return nil, errors.New("huaweicloud: a user in the state has no name or password")
		}
		if u.ID == "" {
			u.ID = lab.RandomText(32, lab.Hex)
		}
		c.users = append(c.users, &user{User: u})
	}
	for _, k := range state.AccessKeys {
		if k.AccessKey == "" || k.SecretKey == "" {
			return nil, errors.New("huaweicloud: an access key in the state has no access_key or secret_key")
		}
		c.keys = append(c.keys, &key{AccessKey: k})
	}
	return c, nil
}

// Name implements [lab.System].
func (c *Cloud) Name() string { return Name }

// KeyState describes an access key in the control API. A careful client never
// gets a key locked.
type KeyState struct {
	AccessKey   string     `json:"access_key"`
	Failed      int        `json:"failed"`  // failed signatures in a row
	Refused     int        `json:"refused"` // refused requests in total
	LockedUntil *time.Time `json:"locked_until,omitempty"`
	Locks       int        `json:"locks"` // how often it was locked
}

// UserState describes a user in the control API.
type UserState struct {
	Name        string     `json:"name"`
	Failed      int        `json:"failed"` // wrong passwords in a row
	LockedUntil *time.Time `json:"locked_until,omitempty"`
	Locks       int        `json:"locks"`  // how often the user was locked
	Tokens      int        `json:"tokens"` // tokens issued in total
}

// State implements [lab.System].
func (c *Cloud) State() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[string]any{"domain_name": c.domain, "projects": c.projects, "users": c.userStates(), "access_keys": c.keyStates(), "throttled": maps.Clone(c.throttled)}
}

// Users describes all users.
func (c *Cloud) Users() []UserState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.userStates()
}

func (c *Cloud) userStates() []UserState {
	users := []UserState{}
	for _, u := range c.users {
		users = append(users, UserState{Name: u.Name, Failed: u.failed, LockedUntil: c.future(u.lockedUntil), Locks: u.locks, Tokens: u.tokens})
	}
	return users
}

// Keys describes all access keys.
func (c *Cloud) Keys() []KeyState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keyStates()
}

func (c *Cloud) keyStates() []KeyState {
	keys := []KeyState{}
	for _, k := range c.keys {
		keys = append(keys, KeyState{AccessKey: k.AccessKey.AccessKey, Failed: k.failed, Refused: k.refused, LockedUntil: c.future(k.lockedUntil), Locks: k.locks})
	}
	return keys
}

// future returns t if it is in the future, or nil.
func (c *Cloud) future(t time.Time) *time.Time {
	if t.After(c.lab.Clock.Now()) {
		return &t
	}
	return nil
}

// Switches implements [lab.System]. The lock must be held to set one.
//
//	token_lifetime_seconds  lifetime of tokens issued from now on (default 86400)
//	user_lock_seconds       how long five wrong passwords lock a user (default 900)
//	project_mismatch        403 (default) or 401: status for a project that the credential may not use
//	error_style             keystone (default) or iam: format of the error for a wrong password
//	throttle_per_second     requests per second that the gateway accepts; 0 (default): no limit
//	throttle_windows        {"dcs":300}: seconds from now in which a service (iam, dcs, ecs) answers 429 without Retry-After
//	                        to all requests with a valid credential; {"dcs/NAME":300}: to those of an access key or IAM user.
//	                        Resets the service's counter in the state
//	throttle_variant        json (default), empty or html: body of the gateway's 429
//	revoke_tokens           true: revoke all tokens issued so far
func (c *Cloud) Switches() lab.Settings {
	w := &c.switches
	return lab.Settings{
		"token_lifetime_seconds": lab.Number(&w.tokenLifetime),
		"user_lock_seconds":      lab.Number(&w.userLockSeconds),
		"project_mismatch":       lab.Choice(&w.projectMismatch, "403", "401"),
		"error_style":            lab.Choice(&w.errorStyle, "keystone", "iam"),
		"throttle_per_second":    lab.Number(&w.throttle),
		"throttle_windows":       {Values: "{SERVICE[/CALLER]:SECONDS}", Set: c.switchWindows},
		"throttle_variant":       lab.Choice(&w.throttleVariant, "json", "empty", "html"),
		"revoke_tokens": {Values: "true|false", Set: func(raw json.RawMessage) error {
			var yes bool
			if err := lab.Flag(&yes).Set(raw); err != nil {
				return err
			}
			for _, t := range c.tokens {
				t.revoked = t.revoked || yes
			}
			return nil
		}},
	}
}

// Switch implements [lab.System].
func (c *Cloud) Switch(name string, value json.RawMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Switches().Set(name, value)
}

// switchWindows parses the switch throttle_windows. c.mu must be held.
func (c *Cloud) switchWindows(raw json.RawMessage) error {
	var seconds map[string]int
	if err := json.Unmarshal(raw, &seconds); err != nil {
		return errors.New("must map services to seconds")
	}
	for window, n := range seconds {
		service, _, _ := strings.Cut(window, "/")
		if !slices.Contains([]string{Name, "dcs", "ecs"}, service) || n < 0 {
			return errors.New("must map iam, dcs or ecs to seconds")
		}
		c.windows[window] = c.lab.Clock.Now().Add(time.Duration(n) * time.Second)
		c.throttled[service] = 0
	}
	return nil
}

// Throttled returns how many requests a service refused in its last window.
func (c *Cloud) Throttled(service string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.throttled[service]
}

// SetPassword implements [lab.System]. It changes the password of an IAM user and
// revokes the user's tokens at once. The real cloud takes up to 30 minutes for
// that, https://support.huaweicloud.com/api-iam/iam_30_0001.md
func (c *Cloud) SetPassword(_ context.Context, target, password string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.user(target)
	if u == nil {
		return fmt.Errorf("iam has no user %q", target)
	}
	u.Password = password
	for _, t := range c.tokens {
		if t.user == u {
			t.revoked = true
		}
	}
	return nil
}

func (c *Cloud) user(name string) *user {
	i := slices.IndexFunc(c.users, func(u *user) bool { return u.Name == name })
	if i < 0 {
		return nil
	}
	return c.users[i]
}

func (c *Cloud) project(idOrName string) (Project, bool) {
	i := slices.IndexFunc(c.projects, func(p Project) bool { return p.ID == idOrName || p.Name == idOrName })
	if i < 0 {
		return Project{}, false
	}
	return c.projects[i], true
}
