package connection

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

func TestLimitsRefuseConnection(t *testing.T) {
	kind := &remote{}
	for name, test := range map[string]struct {
		limits Limits
		want   string
	}{
		"none":              {Limits{}, ""},
		"both hosts":        {Limits{Hosts: provider.Hosts{"*.example"}}, ""},
		"a network decides": {Limits{Hosts: provider.Hosts{"10.0.0.0/8"}}, ""},
		"one host only":     {Limits{Hosts: provider.Hosts{"remote.example"}}, "in login_url (login.example)"},
		"another host":      {Limits{Hosts: provider.Hosts{"login.example"}}, "in url (remote.example)"},
		"insecure":          {Limits{ForbidInsecureTLS: true}, "forbid_insecure_tls"},
	} {
		t.Run(name, func(t *testing.T) {
			c := provider.Connection{TLS: provider.TLS{Insecure: true}, Settings: provider.Settings{}}
			require.NoError(t, kind.Complete(&c))
			err := test.limits.Refuses(kind, c)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
	literal := provider.Connection{URL: "https://[2001:db8::1]:8443"}
	require.ErrorContains(t, Limits{Hosts: provider.Hosts{"10.0.0.0/8"}}.Refuses(kind, literal), "2001:db8::1", "no address of a name decides")
	require.NoError(t, Limits{Hosts: provider.Hosts{"2001:db8::/32"}}.Refuses(kind, literal))
	require.ErrorContains(t, Limits{Hosts: provider.Hosts{"10.0.0.0/8"}}.RefusesAddress("192.0.2.1:22"), "verify_address")
	require.NoError(t, Limits{Hosts: provider.Hosts{"10.0.0.0/8"}}.RefusesAddress("10.0.0.1:22"))
}

// A connection that was stored before the settings forbade it is not called, and the caller learns why.
func TestForbiddenConnectionIsNotCalled(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h, err := r.cache.Open(r.open(func(c *Connection) { c.TLS.Insecure = true }).Connection, Limits{ForbidInsecureTLS: true})
		require.NoError(t, err)
		result, err := h.Call(t.Context(), noWait, r, r.before, r.result(applied))
		require.NoError(t, err)
		require.Equal(t, []string{"before"}, r.noted(), "the record of the password is that of a call that was not made")
		require.Equal(t, provider.Unreachable, result.Outcome)
		require.Equal(t, provider.ScopeConnection, result.Scope)
		require.Contains(t, result.Reason, "forbid_insecure_tls")
	})
}

func TestCallConnectsToAllowedHostsOnly(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		hosts := provider.Hosts{"*.example"}
		h, err := r.cache.Open(r.open(nil).Connection, Limits{Hosts: hosts})
		require.NoError(t, err)
		_, err = h.Call(t.Context(), noWait, r, nothing, func(ctx context.Context, _ provider.Client) provider.Result {
			require.Equal(t, hosts, provider.HostsOf(ctx))
			return applied
		})
		require.NoError(t, err)
	})
}

func TestUnknownLimitsStopCall(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		h, err := r.cache.Open(r.open(nil).Connection, Limits{Unknown: errors.New("damaged")})
		require.NoError(t, err)
		_, err = h.Call(t.Context(), noWait, r, r.before, r.result(applied))
		require.ErrorContains(t, err, "settings")
		require.Empty(t, r.noted())
	})
}

func TestDropAllDropsEveryHandle(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		_, ticket := r.cache.Get("conn")
		r.cache.Keep(r.open(nil), ticket)
		late := r.open(func(c *Connection) { c.Name = "late" })
		r.cache.DropAll()
		r.cache.Keep(late, ticket)
		for _, name := range []string{"conn", "late"} {
			h, _ := r.cache.Get(name)
			require.Nil(t, h, name)
		}
	})
}

// What the connection and the settings allow is asked before each login.
func TestHandleRefusesLogin(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		allowed := []string{"cache.example:6379", "192.0.2.0/24"}
		for want, test := range map[string]struct {
			limits   Limits
			address  string
			insecure bool
		}{
			"":                                     {Limits{}, "CACHE.example:6379", true},
			"add it to allowed_verify_addresses":   {Limits{}, "cache.example:6380", false},
			"allowed_hosts in the mount":           {Limits{Hosts: provider.Hosts{"*.internal", "10.0.0.0/8"}}, "192.0.2.1:22", false},
			"forbids verify_tls=false":             {Limits{ForbidInsecureTLS: true}, "cache.example:6379", true},
			"reading the settings of the mount":    {Limits{Unknown: errors.New("damaged")}, "cache.example:6379", false},
			"verify_address must be host:port":     {Limits{}, "cache.example", false},
			"does not allow the host in verify_ad": {Limits{Hosts: provider.Hosts{"*.internal"}}, "cache.example:6379", false},
		} {
			h, err := r.cache.Open(r.open(func(c *Connection) { c.AllowedVerifyAddresses = allowed }).Connection, test.limits)
			require.NoError(t, err)
			if err := h.RefusesLogin(test.address, test.insecure); want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, want)
			}
		}
		h := r.open(func(c *Connection) { c.AllowedVerifyAddresses = allowed })
		require.NoError(t, h.RefusesLogin("192.0.2.1:22", false))
		require.NoError(t, h.RefusesLogin("", false), "the connection's own remote system")
		elsewhere, err := r.cache.Open(h.Connection, Limits{Hosts: provider.Hosts{"*.internal"}})
		require.NoError(t, err)
		require.ErrorContains(t, elsewhere.RefusesLogin("", false), "allowed_hosts")
		h.AllowedVerifyAddresses = nil
		require.Error(t, h.RefusesLogin("192.0.2.1:22", false), "taken away")
	})
}
