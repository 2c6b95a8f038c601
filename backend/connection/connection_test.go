package connection

import (
	"errors"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestConnectionLimitsAreValidated(t *testing.T) {
	t.Parallel()
	valid := Connection{Options: Options{RequestTimeout: 30, MaxInFlight: 4}}
	for _, row := range []struct {
		change func(*Connection)
		want   string // in the error; "": valid
	}{
		{func(*Connection) {}, ""},
		{func(c *Connection) { c.RequestTimeout = 1 }, ""},
		{func(c *Connection) { c.RequestTimeout = 60 }, ""},
		{func(c *Connection) { c.RequestTimeout = 0 }, "request_timeout must be between 1 and 60 seconds"},
		{func(c *Connection) { c.RequestTimeout = 61 }, "request_timeout must be between 1 and 60 seconds"},
		{func(c *Connection) { c.RequestTimeout = -1 }, "request_timeout must be between 1 and 60 seconds"},
		{func(c *Connection) { c.MaxInFlight = 1 }, ""},
		{func(c *Connection) { c.MaxInFlight = 100 }, ""},
		{func(c *Connection) { c.MaxInFlight = 0 }, "max_in_flight must be between 1 and 100"},
		{func(c *Connection) { c.MaxInFlight = 101 }, "max_in_flight must be between 1 and 100"},
		{func(c *Connection) { c.AllowedVerifyAddresses = []string{"host:1", "[::1]:443", "10.0.0.0/8", "::/0"} }, ""},
		{func(c *Connection) { c.AllowedVerifyAddresses = []string{"host:1", "host"} }, `allowed_verify_addresses: "host" is neither host:port nor a CIDR`},
		{func(c *Connection) { c.AllowedVerifyAddresses = []string{""} }, "allowed_verify_addresses"},
		{func(c *Connection) { c.AllowedVerifyAddresses = []string{"169.254.169.254:80"} }, "metadata service"},
		{func(c *Connection) { c.AllowedVerifyAddresses = []string{"Host:022", "10.0.0.0/8", "[::1]:22"} }, ""},
		{func(c *Connection) { c.AllowedVerifyAddresses = []string{"10.0.0.0/33"} }, "allowed_verify_addresses"},
		{func(c *Connection) { c.AllowedVerifyAddresses = []string{"*"} }, "allowed_verify_addresses"},
		{func(c *Connection) { c.AllowedRoles = []string{"*", "web1", "web*", "*-x_y.z", "w*b*", "_"} }, ""},
		{func(c *Connection) { c.AllowedRoles = []string{"*", "web["} }, `allowed_roles: "web[" matches no role`},
		{func(c *Connection) { c.AllowedRoles = []string{"web?"} }, `allowed_roles: "web?"`},
		{func(c *Connection) { c.AllowedRoles = []string{"{a"} }, "allowed_roles"},
		{func(c *Connection) { c.AllowedRoles = []string{"web 1"} }, "allowed_roles"},
		{func(c *Connection) { c.AllowedRoles = []string{"-web"} }, "allowed_roles"},
		{func(c *Connection) { c.AllowedRoles = []string{""} }, "allowed_roles"},
		{func(c *Connection) { c.AllowedTargets = []string{"ops[1]", "a/b*"} }, ""}, // a login of Plesk may have brackets
		{func(c *Connection) { c.AllowedTargets = []string{"ops 1"} }, `allowed_targets: "ops 1" matches no target`},
		{func(c *Connection) { c.AllowedTargets = []string{""} }, "allowed_targets"},
	} {
		c := valid
		row.change(&c)
		if err := c.Validate(); row.want == "" {
			require.NoError(t, err, "%+v", row)
		} else {
			require.ErrorContains(t, err, row.want)
		}
	}
}

func TestAllowsRolesAndTargets(t *testing.T) {
	t.Parallel()
	target := provider.Target{Names: []string{"shop/app", "shop/batch"}}
	for _, row := range []struct {
		roles, targets []string
		want           string
	}{
		{[]string{"*"}, []string{"*"}, ""},
		{[]string{"web1"}, []string{"shop/app", "shop/batch"}, ""},
		{[]string{"web*", "x"}, []string{"shop/*"}, ""},
		{[]string{"*1"}, []string{"*"}, ""},
		{[]string{"*"}, []string{"Shop/*"}, ""},
		{nil, []string{"*"}, `"web1": add it to allowed_roles of config/conn`},
		{[]string{}, []string{"*"}, `"web1": add it to allowed_roles of config/conn`},
		{[]string{"web"}, []string{"*"}, `"web1": add it to allowed_roles of config/conn`},
		{[]string{"WEB1"}, []string{"*"}, `"web1": add it to allowed_roles of config/conn`},
		{[]string{"*"}, nil, `"shop/app": add it to allowed_targets of config/conn`},
		{[]string{"*"}, []string{"shop/app"}, `"shop/batch": add it to allowed_targets of config/conn`},
		{[]string{"*"}, []string{"shop"}, `"shop/app": add it to allowed_targets of config/conn`},
	} {
		h := &Handle{Connection: Connection{Name: "conn", Options: Options{AllowedRoles: row.roles, AllowedTargets: row.targets}}}
		for range 2 {
			if err := h.Allows("web1", target); row.want == "" {
				require.NoError(t, err, "%+v", row)
			} else {
				require.ErrorContains(t, err, row.want)
			}
		}
	}
}

// reluctant is a provider whose targets say how they are restarted, which connections may forbid.
type reluctant struct{ *remote }

func (reluctant) TargetFields() []provider.Field {
	return []provider.Field{{Name: "id"}, {Name: "restart", Mutable: true}}
}

func (reluctant) Target(c provider.Connection, s provider.Settings) (provider.Target, error) {
	if s.Has("restart") && !c.Settings.Bool("allowed") {
		return provider.Target{}, errors.New("restarts are not allowed")
	}
	return provider.Target{Identities: []string{s.String("id")}, Settings: s}, nil
}

func TestAccountIsNamedWhateverIsForbidden(t *testing.T) {
	t.Parallel()
	h := &Handle{Kind: reluctant{}, Completed: provider.Connection{Settings: provider.Settings{}}}
	stored := provider.Target{Settings: provider.Settings{"id": "a", "restart": "soft"}}
	account, err := h.Account(stored)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, account.Identities)
	require.Equal(t, provider.Settings{"id": "a", "restart": "soft"}, stored.Settings, "unchanged")
	_, err = h.MergeTarget(stored, provider.Settings{})
	require.ErrorContains(t, err, "not allowed")
}

// A role of the same name may have another target later, and not everything that is asked for exists.
func TestVerdictsAreKeptForRoleAndTarget(t *testing.T) {
	t.Parallel()
	h := &Handle{Connection: Connection{Options: Options{AllowedRoles: []string{"web*"}, AllowedTargets: []string{"shop/*"}}}}
	shop, bank := provider.Target{Names: []string{"shop/app"}}, provider.Target{Names: []string{"shop/app", "bank/app"}}
	for range 2 {
		require.Error(t, h.Allows("web1", bank))
		require.Error(t, h.Allows("db1", shop))
		require.NoError(t, h.Allows("web1", shop))
	}
	h.AllowedRoles = nil
	require.NoError(t, h.Allows("web1", shop), "the globs are not matched again")
	for i := range 2 * maxVerdicts {
		_ = h.Allows(strconv.Itoa(i), shop)
	}
	require.LessOrEqual(t, len(h.allowed), maxVerdicts)
}

func TestAllowsVerifyAddress(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		allowed []string
		address string
		want    string
	}{
		{[]string{"cache.example:6379"}, "cache.example:6379", ""},
		{[]string{"10.0.0.1:22"}, "10.0.0.1:22", ""},
		{[]string{"10.0.0.0/24"}, "10.0.0.7:22", ""},
		{[]string{"x:1", "10.0.0.0/24"}, "[::ffff:10.0.0.7]:22", ""},
		{[]string{"2001:db8::/32"}, "[2001:db8::1]:443", ""},
		{nil, "10.0.0.7:22", "add it to allowed_verify_addresses of config/conn"},
		{[]string{"10.0.0.0/24"}, "10.0.1.7:22", `"10.0.1.7:22": add it to allowed_verify_addresses of config/conn`},
		{[]string{"10.0.0.0/8"}, "cache.example:22", "add it to allowed_verify_addresses of config/conn"}, // a name may lead anywhere
		{[]string{"cache.example:6379"}, "cache.example:6380", "add it to allowed_verify_addresses of config/conn"},
		{[]string{"cache.example:6379"}, "CACHE.example:06379", ""},
		{[]string{"Cache.Example:06379"}, "cache.example:6379", ""},
		{[]string{"[2001:DB8:0::1]:22"}, "[2001:db8::1]:22", ""},
		{[]string{"[::ffff:10.0.0.7]:22"}, "10.0.0.7:22", ""},
		{[]string{"[cache.example]:22"}, "cache.example:22", ""},
		{[]string{"*:22"}, "cache.example:22", "add it to allowed_verify_addresses of config/conn"},
		{[]string{"0.0.0.0/0"}, "[2001:db8::1]:443", "add it to allowed_verify_addresses of config/conn"},
		{[]string{"fe80::/10"}, "[fe80::1%eth0]:22", "must not contain a zone"},
		{[]string{"0.0.0.0/0", "169.254.169.254:80"}, "169.254.169.254:80", "metadata service"},
		{[]string{"::/0"}, "[::ffff:169.254.169.254]:80", "metadata service"},
		{[]string{"127.0.0.0/8"}, "127.1:22", "four decimal numbers"},
		{[]string{"127.0.0.0/8"}, "2130706433:22", "four decimal numbers"},
		{[]string{"cache.example:22"}, "cache.example.:22", "must not end in a dot"},
		{[]string{"damaged/8", "10.0.0.0/24"}, "10.0.0.7:22", ""},
		{[]string{"host"}, "host", "must be host:port"},
		{[]string{":22"}, ":22", "must be host:port"},
		{[]string{"host:0"}, "host:0", "must be a number from 1 to 65535"},
		{[]string{"host:65536"}, "host:65536", "must be a number from 1 to 65535"},
		{[]string{"host:ssh"}, "host:ssh", "must be host:port"},
		{[]string{"host:"}, "host:", "must be host:port"},
		{[]string{""}, "", "must be host:port"},
		{[]string{"::1:22"}, "::1:22", "must be host:port"},
	} {
		c := Connection{Name: "conn", Options: Options{AllowedVerifyAddresses: row.allowed}}
		if err := c.AllowsAddress(row.address); row.want == "" {
			require.NoError(t, err, "%+v", row)
		} else {
			require.ErrorContains(t, err, row.want, "%+v", row)
		}
	}
}

func TestTimeoutIsBounded(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int]time.Duration{30: 30 * time.Second, 0: 0, -5: 0, math.MinInt: 0, math.MaxInt: 9223372036 * time.Second} {
		require.Equal(t, want, Connection{Options: Options{RequestTimeout: seconds}}.Timeout())
	}
}

func TestCompleteLeavesStoredSettings(t *testing.T) {
	t.Parallel()
	stored := Connection{Settings: provider.Settings{"tags": []string{"a"}}}
	completed, err := stored.Complete(&remote{})
	require.NoError(t, err)
	completed.Settings["tags"].([]string)[0] = "b"
	require.Equal(t, provider.Settings{"tags": []string{"a"}}, stored.Settings)
}
