// Package plesk simulates the parts of a Plesk server's XML API that concern
// additional administrators ("admin aliases"), secret keys and the
// administrator's own password.
//
// [New] creates a server from a [State]; [Server.ServeHTTP] serves its requests.
// It refuses what Plesk refuses: other paths and methods, chunked bodies, packets
// that violate Plesk's schema (including the order of elements), bad logins, and
// passwords that do not meet the policy. Operations of Plesk that are not
// simulated are answered like unknown ones, with 1014.
//
// Packets and operations are documented at
// https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/xml-api-packets/packet-structure.28722
// and https://docs.plesk.com/en-US/obsidian/api-rpc/about-xml-api/reference/managing-plesk-server/managing-additional-administrator-accounts/setting-up-additional-administrator-account.75893/
//
// Behaviour that those documents leave open is marked "assumed".
package plesk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Name is the system name in faults and in the journal.
const Name = "plesk"

// AdminLogin is the login of the main administrator.
const AdminLogin = "admin"

// protocol is the newest protocol version, which is also the version of answers.
const protocol = "1.6.9.1"

// protocols are the versions that a packet may ask for. Real servers accept "1.6"
// and "1.6.5" too: https://github.com/plesk/api-php-lib
var protocols = []string{"1.6", "1.6.5", "1.6.6.0", "1.6.7.0", "1.6.8.0", "1.6.9.0", protocol}

// State is the initial state of the server.
type State struct {
	AdminPassword string      `json:"admin_password"`
	SecretKeys    []SecretKey `json:"secret_keys"`
	Aliases       []Alias     `json:"aliases"`
}

// SecretKey is a credential for the KEY header.
type SecretKey struct {
	Key         string `json:"key"`
	ID          string `json:"id,omitempty"`
	IPAddress   string `json:"ip_address,omitempty"` // allowed source addresses, comma-separated; "": any
	Description string `json:"description,omitempty"`
	Login       string `json:"login,omitempty"` // owner; "": the administrator
}

// Alias is an additional administrator.
type Alias struct {
	Login    string `json:"login"`
	Password string `json:"password"`
	Email    string `json:"email,omitempty"`
	Contact  string `json:"contact,omitempty"`
	Comment  string `json:"comment,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
}

// DefaultState returns a state of an administrator, one secret key and the aliases
// ops1 and ops2, with random secrets.
func DefaultState() State {
	return State{
		AdminPassword: lab.RandomPassword(),
		SecretKeys:    []SecretKey{{Key: lab.RandomUUID(), Description: "built-in key of the simulator"}},
		Aliases: []Alias{
			{Login: "ops1", Password: lab.RandomPassword(), Email: "ops1@example.com", Contact: "Operator One"},
			{Login: "ops2", Password: lab.RandomPassword(), Email: "ops2@example.com", Contact: "Operator Two"},
		},
	}
}

type account struct {
	Alias
	changes int
}

type switches struct {
	policy      string // level of the password strength policy
	aliasAPI    string // whether an alias may use the XML API
	api         string
	language    string
	output      string
	pretty      bool
	echo        bool
	lockAfter   int
	lockSeconds int
	bindKeys    bool
	dropHeaders bool
	systemError int
	unknown     string // how set-admin-alias answers for a login that does not exist
}

// Panel configures a server whose main administrator's password is stored by
// another system, see [NewPanel].
type Panel struct {
	System      string // system name in faults and in the journal
	Target      string // target of all requests; "": the login
	Password    func() string
	SetPassword func(password string)
}

// Server is one simulated Plesk server. It is safe for concurrent use.
type Server struct {
	lab   *lab.Lab
	panel Panel

	mu            sync.Mutex
	guid          string
	adminPassword string
	adminChanges  int
	keys          []*SecretKey
	aliases       []*account
	logins        map[string]*attempts // by lower-case login
	fail2ban      *lab.Fail2Ban        // jail plesk-panel; counts all logins and secret keys
	switches      switches
}

// attempts counts consecutive failed logins of one account.
type attempts struct {
	failed      int
	lockedUntil time.Time
	locks       int
}

func newServer(l *lab.Lab) *Server {
	return &Server{
		lab: l, guid: lab.RandomUUID(), logins: map[string]*attempts{}, fail2ban: lab.NewFail2Ban(l.Clock, 0),
		switches: switches{policy: "strong", aliasAPI: "denied", api: "on", language: "en", lockAfter: 5, lockSeconds: 600, bindKeys: true,
			unknown: "1013"},
	}
}

// NewPanel creates the Plesk server of a machine whose hosting provider can set
// the main administrator's password too. It has no secret keys or aliases. The
// functions of p are called with the server locked.
func NewPanel(l *lab.Lab, p Panel) *Server {
	s := newServer(l)
	s.panel = p
	return s
}

// New creates a server.
func New(l *lab.Lab, state State) (*Server, error) {
	s := newServer(l)
	s.adminPassword = state.AdminPassword
	if state.AdminPassword == "" {
		return nil, errors.New("plesk: the state has no admin_password")
	}
	s.panel = Panel{System: Name, Password: func() string { return s.adminPassword }, SetPassword: func(password string) { s.adminPassword = password }}
	for _, k := range state.SecretKeys {
		if k.Key == "" {
			return nil, errors.New("plesk: a secret key in the state is empty")
		}
		if k.ID == "" {
			k.ID = lab.RandomUUID()
		}
		s.keys = append(s.keys, &k)
	}
	for _, a := range state.Aliases {
		if a.Login == "" || a.Password == "" {
			return nil, errors.New("plesk: an alias in the state has no login or password")
		}
		if s.alias(a.Login) != nil || strings.EqualFold(a.Login, AdminLogin) {
			return nil, fmt.Errorf("plesk: login %s appears twice in the state", a.Login)
		}
		s.aliases = append(s.aliases, &account{Alias: a})
	}
	return s, nil
}

// Name implements [lab.System].
func (s *Server) Name() string { return s.panel.System }

// alias finds an alias. Assumed: logins are case-insensitive.
func (s *Server) alias(login string) *account {
	for _, a := range s.aliases {
		if strings.EqualFold(a.Login, login) {
			return a
		}
	}
	return nil
}

// AccountState describes an account in the control API.
type AccountState struct {
	Login        string     `json:"login"`
	Disabled     bool       `json:"disabled,omitempty"`
	Email        string     `json:"email,omitempty"`
	Changes      int        `json:"changes"`       // how often the password was set through the API
	FailedLogins int        `json:"failed_logins"` // in a row
	LockedUntil  *time.Time `json:"locked_until,omitempty"`
	Locks        int        `json:"locks"` // how often it was locked
}

// State implements [lab.System].
func (s *Server) State() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	accounts := []AccountState{s.accountState(AdminLogin, s.adminChanges)}
	for _, a := range s.aliases {
		accounts = append(accounts, s.aliasState(a))
	}
	type key struct {
		ID          string `json:"id"`
		IPAddress   string `json:"ip_address,omitempty"`
		Description string `json:"description,omitempty"`
	}
	keys := []key{}
	for _, k := range s.keys {
		keys = append(keys, key{ID: k.ID, IPAddress: k.IPAddress, Description: k.Description})
	}
	return map[string]any{"accounts": accounts, "secret_keys": keys, "fail2ban": s.fail2ban.Refusals()}
}

// Drops reports whether Fail2Ban drops the packets of an address.
func (s *Server) Drops(remote net.Addr) bool { return s.fail2ban.Drops(remote) }

// Refusals returns the refused requests, over all logins and secret keys.
func (s *Server) Refusals() lab.Refusals { return s.fail2ban.Refusals() }

// Account describes one account by login. The result is zero if there is none.
func (s *Server) Account(login string) AccountState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.EqualFold(login, AdminLogin) {
		return s.accountState(AdminLogin, s.adminChanges)
	}
	if a := s.alias(login); a != nil {
		return s.aliasState(a)
	}
	return AccountState{}
}

func (s *Server) aliasState(a *account) AccountState {
	st := s.accountState(a.Login, a.changes)
	st.Disabled, st.Email = a.Disabled, a.Email
	return st
}

func (s *Server) accountState(login string, changes int) AccountState {
	st := AccountState{Login: login, Changes: changes}
	if a := s.logins[strings.ToLower(login)]; a != nil {
		st.FailedLogins, st.Locks = a.failed, a.locks
		if a.lockedUntil.After(s.lab.Clock.Now()) {
			until := a.lockedUntil
			st.LockedUntil = &until
		}
	}
	return st
}

// Switches implements [lab.System]. The lock must be held to set one.
//
//	policy                  very-weak, weak, medium, strong (default), very-strong
//	alias_api               denied (default) or allowed: whether aliases may use the API; if not, their right password gives 1006
//	api                     on (default) or off: all requests are answered with 1010
//	language                en (default), de or ja: language of errtext
//	output                  text of a trailing <output> element; "": none
//	pretty                  true: answers are indented
//	echo_password           true: errtext quotes the refused password
//	lock_after              failed logins in a row that lock an account (default 5), however far apart; 0: never
//	lock_seconds            how long an account stays locked (default 600)
//	bind_keys               true (default): new keys without ip_address are bound to the sender's address
//	fail2ban, …             see [lab.Fail2Ban.Settings]: off by default; real servers ban after 5 refused requests
//	drop_underscore_headers true: a proxy drops HTTP_AUTH_LOGIN and HTTP_AUTH_PASSWD
//	system_error            code with which every packet of an authenticated caller is refused, such as 1004 or 1014 during set-up or an upgrade; 0 (default): none
//	unknown_login           1013 (default) or no-result: answer of set-admin-alias for a login that does not exist; no-result leaves the operation's element empty
func (s *Server) Switches() lab.Settings {
	w := &s.switches
	settings := lab.Settings{
		"policy":                  lab.Choice(&w.policy, "very-weak", "weak", "medium", "strong", "very-strong"),
		"alias_api":               lab.Choice(&w.aliasAPI, "denied", "allowed"),
		"api":                     lab.Choice(&w.api, "on", "off"),
		"language":                lab.Choice(&w.language, "en", "de", "ja"),
		"output":                  lab.Text(&w.output),
		"pretty":                  lab.Flag(&w.pretty),
		"echo_password":           lab.Flag(&w.echo),
		"lock_after":              lab.Number(&w.lockAfter),
		"lock_seconds":            lab.Number(&w.lockSeconds),
		"bind_keys":               lab.Flag(&w.bindKeys),
		"drop_underscore_headers": lab.Flag(&w.dropHeaders),
		"system_error":            lab.Number(&w.systemError),
		"unknown_login":           lab.Choice(&w.unknown, "1013", "no-result"),
	}
	maps.Copy(settings, s.fail2ban.Settings())
	return settings
}

// Switch implements [lab.System].
func (s *Server) Switch(name string, value json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Switches().Set(name, value)
}

// SetPassword implements [lab.System]. It simulates a change in the panel. The
// target is "admin" or the login of an alias.
func (s *Server) SetPassword(_ context.Context, target, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.EqualFold(target, AdminLogin) {
		s.panel.SetPassword(password)
		return nil
	}
	a := s.alias(target)
	if a == nil {
		return fmt.Errorf("plesk has no login %q", target)
	}
	a.Password = password
	return nil
}
