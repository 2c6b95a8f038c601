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
