package modelcheck

import (
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/password"
	"vault-plugin-secrets-hosting/backend/provider"
)

// spec is a kind of remote system, as its documentation describes it.
type spec struct {
	name string
	// old: a change presents the password in force, unless the role resets it. Five wrong ones lock the account.
	old bool
	// queue: changes are queued, and made within settle. The remote system reports neither that nor a failure.
	queue  bool
	settle time.Duration
	// restart: a change comes into force when the server restarts.
	restart bool
	// parts is how many servers an account has. whole: either all of them take a change, or none.
	parts int
	whole bool
	// locks: five refusals in a row lock the credential.
	locks bool
	// api: logins can be made through the remote system's API, too.
	api bool
}

// specs has one kind for each way in which a change can come into force, and one with several servers that act as one.
var specs = []*spec{
	{name: "confirms", locks: true},
	{name: "asks", old: true, locks: true, api: true},
	{name: "queues", queue: true, settle: 60 * time.Second},
	{name: "servers", restart: true, parts: 3, locks: true},
	{name: "instances", restart: true, parts: 2, whole: true, locks: true},
}

const (
	// lockWindow is how long an account stays locked, and how long a wrong password is remembered.
	lockWindow = 5 * time.Minute
	// lockAfter wrong old passwords in a row lock an account, as many refused credentials a login.
	lockAfter = 5
	// restartTimeout is how long a server may take to be back, in seconds.
	restartTimeout = 300
	// leastMargin is the distance of I5. A queue may need longer.
	leastMargin = 30 * time.Second
)

// Values of the field method of a target.
const (
	modify = "modify"
	reset  = "reset"
)

func (s *spec) margin() time.Duration { return max(leastMargin, s.settle) }

// kind is a spec as the provider of one node.
type kind struct {
	*spec

	node *node
}

func (k *kind) Name() string { return k.name }

func (k *kind) ConnectionFields() []provider.Field {
	text := &framework.FieldSchema{Type: framework.TypeString}
	return []provider.Field{{Name: "key", Schema: text, Secret: true}, {Name: "note", Schema: text, Local: true}, {Name: "allow_restart", Schema: text, Local: true}}
}

func (k *kind) CredentialForms() [][]string { return [][]string{{"key"}} }

func (k *kind) TargetFields() []provider.Field {
	text := &framework.FieldSchema{Type: framework.TypeString}
	return []provider.Field{{Name: "login", Schema: text}, {Name: "method", Schema: text, Mutable: true}, {Name: "restart", Schema: text, Mutable: true}}
}

func (k *kind) Complete(c *provider.Connection) error {
	if c.URL == "" {
		return errors.New("url is missing")
	}
	return nil
}

func (k *kind) Target(c provider.Connection, s provider.Settings) (provider.Target, error) {
	login := s.String("login")
	if login == "" {
		return provider.Target{}, errors.New("login is missing")
	}
	t := provider.Target{Names: []string{login}, Identities: []string{c.URL + "|" + login}, Username: login, Settings: s}
	for i := range k.parts {
		t.Parts = append(t.Parts, partName(i))
	}
	if restart := s.String("restart"); restart != "" && restart != provider.RestartNone {
		if c.Settings.String("allow_restart") != "true" {
			return provider.Target{}, errors.New("the connection does not allow restarts")
		}
		t.Restart, t.RestartTimeout = restart, restartTimeout
	}
	return t, nil
}

func partName(i int) string { return string(rune('a' + i)) }

func (k *kind) Host(c provider.Connection) string { return c.URL }

func (k *kind) LoginIdentity(provider.Connection) string { return "" }

func (k *kind) Lockout(c provider.Connection) provider.Lockout {
	if !k.locks {
		return provider.Lockout{}
	}
	return provider.Lockout{Credential: c.URL, Refusals: lockAfter}
}

func (k *kind) Rules(provider.Connection, provider.Target) password.Rules {
	return password.Rules{
		MinLength: 8, MaxLength: 64, Allowed: password.Lower + password.Upper + password.Digits,
		Recipe: password.Recipe{Length: 20, Classes: []password.Class{{Characters: password.Lower + password.Digits}}},
	}
}

func (k *kind) Logins(provider.Connection, provider.Target) []provider.Login {
	ways := []provider.Login{{Kind: provider.LoginSSH}}
	if k.api {
		ways = append(ways, provider.Login{Kind: provider.LoginWebCLI})
	}
	return ways
}

func (k *kind) OldPassword(t provider.Target) provider.OldPassword {
	return provider.OldPassword{Required: k.old && t.Settings.String("method") != reset, LockWindow: lockWindow}
}

func (k *kind) SettleAfter(provider.Connection) time.Duration { return k.settle }

func (k *kind) Open(c provider.Connection) (provider.Client, error) {
	system := k.node.w.systems[c.URL]
	if system == nil {
		return nil, errors.New("no remote system has this url")
	}
	return &client{node: k.node, system: system, key: c.Settings.String("key")}, nil
}
