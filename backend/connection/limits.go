package connection

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
)

// Limits are what the settings of the mount allow to connections, whoever writes them.
type Limits struct {
	Hosts             provider.Hosts
	ForbidInsecureTLS bool
	MinPasswordBits   int
	// MinRotationInterval is the minimum time between a change of a role's password and the next one by rotate-role.
	MinRotationInterval time.Duration
	// Unknown is why the settings could not be read: the connection can be read, but no call is made.
	Unknown error
}

// Refuses returns what the settings do not allow about a completed connection, for the user who writes it and for those who
// use it. The address of a host name may still be refused when it is dialed.
func (l Limits) Refuses(kind provider.Type, c provider.Connection) error {
	if l.ForbidInsecureTLS && c.TLS.Insecure {
		return errors.New("forbid_insecure_tls in the mount's settings forbids insecure_tls: set insecure_tls=false and, for a certificate that is not from a public authority, ca_cert")
	}
	addresses := map[string]string{"url": c.URL}
	for _, field := range kind.ConnectionFields() {
		if field.Address && strings.HasSuffix(field.Name, "_url") {
			addresses[field.Name] = c.Settings.String(field.Name)
		}
	}
	for field, address := range addresses {
		if u, err := url.Parse(address); err == nil && u.Host != "" && !l.Hosts.MayAllow(u.Hostname()) {
			return fmt.Errorf("allowed_hosts in the mount's settings does not allow the host in %s (%s)", field, u.Hostname())
		}
	}
	return nil
}

// RefusesAddress is Refuses for a verify_address.
func (l Limits) RefusesAddress(address string) error {
	if host, _, err := net.SplitHostPort(address); err == nil && !l.Hosts.MayAllow(strings.ToLower(host)) {
		return fmt.Errorf("allowed_hosts in the mount's settings does not allow the host in verify_address (%s)", host)
	}
	return nil
}
