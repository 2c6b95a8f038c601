package shell

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	gossh "golang.org/x/crypto/ssh"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// Values of the switches.
const (
	methodPassword  = "password"
	methodQuestions = "keyboard-interactive"
	methodBoth      = methodPassword + "," + methodQuestions
	methodKeys      = "publickey"

	rootYes     = "yes"
	rootKeyOnly = "prohibit-password"
)

type switches struct {
	methods   string
	rootLogin string
	hang      bool
}

func (s switches) offersPassword() bool {
	return s.methods == methodPassword || s.methods == methodBoth
}

func (s switches) offersQuestions() bool {
	return s.methods == methodQuestions || s.methods == methodBoth
}

// settings returns the present switches.
func (p *port) settings() switches {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.switches
}

func (p *port) privateKey() ed25519.PrivateKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hostKey
}

// newHostKey replaces the host key.
func (p *port) newHostKey() error {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("generating a host key: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hostKey = private
	return nil
}

// HostState describes a host in the control API.
type HostState struct {
	// HostKey is the present host key as a line for authorized_keys.
	HostKey string `json:"host_key"`
	// Fingerprint is that of the host key: SHA256:…
	Fingerprint string `json:"fingerprint"`
	// Fail2Ban has the refused logins.
	Fail2Ban lab.Refusals `json:"fail2ban"`
}

// Host describes a host. The result is zero if it has no port.
func (d *Doors) Host(id string) HostState {
	if p := d.port(id); p != nil {
		return p.state()
	}
	return HostState{}
}

func (p *port) state() HostState {
	state := HostState{Fail2Ban: p.fail2ban.Refusals()}
	if key, err := gossh.NewPublicKey(p.privateKey().Public()); err == nil { // no Ed25519 key fails
		state.HostKey = strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key)))
		state.Fingerprint = gossh.FingerprintSHA256(key)
	}
	return state
}

func (d *Doors) port(id string) *port {
	for _, p := range d.all() {
		if p.host.ID == id {
			return p
		}
	}
	return nil
}

func (d *Doors) all() []*port {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.ports)
}

// Name implements [lab.System].
func (d *Doors) Name() string { return DoorName }

// State implements [lab.System]. It describes the hosts by id.
func (d *Doors) State() any {
	states := map[string]HostState{}
	for _, p := range d.all() {
		states[p.host.ID] = p.state()
	}
	return states
}

// Switches implements [lab.System]. Each takes a value for all hosts, or an object
// that maps ids of hosts to values. They apply to new connections.
//
//	auth_methods       password (default), keyboard-interactive, both with a comma, or publickey: how to log in; publickey, of
//	                   which every one is refused, is always offered
//	permit_root_login  yes (default) or prohibit-password: root's password is asked for and refused
//	host_key           new: replaces the host key
//	hang               true: connections are accepted and never answered (default false)
//	fail2ban, …        see [lab.Fail2Ban.Settings]: 5 refused logins by default
func (d *Doors) Switches() lab.Settings {
	settings := lab.Settings{}
	for name, setting := range (&port{fail2ban: &lab.Fail2Ban{}}).ownSwitches() {
		settings[name] = lab.Setting{Values: setting.Values + "|{ID:VALUE}", Set: func(raw json.RawMessage) error {
			return d.set(name, raw)
		}}
	}
	return settings
}

// ownSwitches returns the switches of one host.
func (p *port) ownSwitches() lab.Settings {
	var key string
	newKey := lab.Choice(&key, "new")
	settings := lab.Settings{
		"auth_methods":      p.locked(lab.Choice(&p.switches.methods, methodPassword, methodQuestions, methodBoth, methodKeys)),
		"permit_root_login": p.locked(lab.Choice(&p.switches.rootLogin, rootYes, rootKeyOnly)),
		"hang":              p.locked(lab.Flag(&p.switches.hang)),
		"host_key": {Values: newKey.Values, Set: func(raw json.RawMessage) error {
			if err := newKey.Set(raw); err != nil {
				return err
			}
			return p.newHostKey()
		}},
	}
	maps.Copy(settings, p.fail2ban.Settings())
	return settings
}

func (p *port) locked(setting lab.Setting) lab.Setting {
	return lab.Setting{Values: setting.Values, Set: func(raw json.RawMessage) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		return setting.Set(raw)
	}}
}

// set sets a switch of all hosts, or of those that the value names.
func (d *Doors) set(name string, raw json.RawMessage) error {
	var values map[string]json.RawMessage
	if json.Unmarshal(raw, &values) != nil || values == nil {
		values = map[string]json.RawMessage{}
		for _, p := range d.all() {
			values[p.host.ID] = raw
		}
	}
	for id := range values {
		if d.port(id) == nil {
			return fmt.Errorf("no such host %q", id)
		}
	}
	for id, value := range values {
		if err := d.port(id).ownSwitches()[name].Set(value); err != nil {
			return err
		}
	}
	return nil
}

// Switch implements [lab.System].
func (d *Doors) Switch(name string, value json.RawMessage) error {
	return d.Switches().Set(name, value)
}

// SetPassword implements [lab.System].
func (d *Doors) SetPassword(context.Context, string, string) error {
	return errors.New("the password of a host belongs to ecs or mediatemple: use that system")
}
