package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

func TestPasswordsAreGeneratedPushedAndLogIn(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	for name, role := range map[string]data{"web1": alias("ops1"), "cache": m.account("app")} {
		created := m.must("roles/"+name, role)
		require.Equal(t, "active", created.Data["state"])
		require.NotContains(t, created.Data, "password", "a write never answers a password")
		first := m.works(name, role)
		require.Equal(t, "active", first["state"])

		rotated := m.must("rotate-role/"+name, nil)
		require.Equal(t, "active", rotated.Data["state"])
		require.NotContains(t, rotated.Data, "password")
		second := m.works(name, role)
		require.Equal(t, versionOf(t, first)+1, versionOf(t, second))
		require.Error(t, m.login(role, first["password"]), "the password before must not work any more")

		const chosen = "chosen_BY-hand~4711!long" // #nosec G101 -- of a simulated account
		m.must("set-password/"+name, data{"password": chosen})
		third := m.works(name, role)
		require.Equal(t, chosen, third["password"])
	}
}

func TestEveryWayToLogInToTheCloudWorks(t *testing.T) {
	t.Parallel()
	m := newMount(t)
	user, keys := m.out.HuaweiCloud.Users[0], m.out.HuaweiCloud.AccessKeys
	base := m.cloud()
	delete(base, "access_key")
	delete(base, "secret_key")
	ways := map[string]data{
		"permanent key": {"access_key": keys[0].AccessKey, "secret_key": keys[0].SecretKey},
		"temporary key": {"access_key": keys[1].AccessKey, "secret_key": keys[1].SecretKey, "security_token": keys[1].SecurityToken},
		"token":         {"username": user.Name, "password": user.Password, "domain_name": m.out.HuaweiCloud.DomainName, "iam_url": m.out.HuaweiCloud.IAMURL},
	}
	role := m.account("app")
	role["connection"] = "way"
	created := false
	for _, name := range []string{"temporary key", "permanent key", "token", "temporary key"} { // each replaces the one before, whole
		way := ways[name]
		t.Log(name)
		config := data{}
		for k, v := range base {
			config[k] = v
		}
		for k, v := range way {
			config[k] = v
		}
		m.must("config/way", config)
		if !created {
			m.must("roles/cache", role)
			created = true
		}
		m.must("rotate-role/cache", nil)
		m.works("cache", role)
	}
}

func TestATokenThatTheCloudEndedIsRenewed(t *testing.T) {
	t.Parallel()
	m := bareMount(t)
	user := m.out.HuaweiCloud.Users[0]
	m.must("config/cloud", with(without(m.cloud(), "access_key", "secret_key"), data{
		"username": user.Name, "password": user.Password, "domain_name": m.out.HuaweiCloud.DomainName, "iam_url": m.out.HuaweiCloud.IAMURL,
	}))
	role := m.account("app")
	m.must("roles/cache", role)
	issued := len(m.sim.Journal("iam", ""))
	m.must("rotate-role/cache", nil)
	require.Len(t, m.sim.Journal("iam", ""), issued, "one token does for many calls")
	m.sim.Advance(25 * time.Hour)
	m.must("rotate-role/cache", nil)
	m.works("cache", role)
	require.Len(t, m.sim.Journal("iam", ""), issued+1)
}

// outcome is what must follow when a change meets a fault.
type outcome struct {
	fault  lab.Fault
	status int    // of Vault's answer to rotate-role
	state  string // that creds says then
	// goesOn: the engine goes on by itself, so that another password is in force in the end.
	goesOn bool
}

// outcomes is the table of what a remote system may do, for both providers.
func outcomes() map[string]outcome {
	yes := true
	return map[string]outcome{
		"refuses the password":         {fault: lab.Fault{Kind: lab.Refuse, Count: 3}, status: 400, state: "active"},
		"refuses the account":          {fault: lab.Fault{Kind: lab.RejectTarget, Count: 1}, status: 400, state: "active"},
		"is busy":                      {fault: lab.Fault{Kind: lab.Busy, Count: 1}, status: 503, state: "active", goesOn: true},
		"throttles":                    {fault: lab.Fault{Kind: lab.Throttle, Count: 1, RetryAfter: 1}, status: 503, state: "active", goesOn: true},
		"throttles without a body":     {fault: lab.Fault{Kind: lab.Throttle, Count: 1, Variant: "empty"}, status: 503, state: "active", goesOn: true},
		"throttles with a page":        {fault: lab.Fault{Kind: lab.Throttle, Count: 1, Variant: "html"}, status: 503, state: "active", goesOn: true},
		"denies one account":           {fault: lab.Fault{Kind: lab.Deny, Count: 1, Variant: "forbidden"}, status: 502, state: "active", goesOn: true},
		"cuts before":                  {fault: lab.Fault{Kind: lab.Cut, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"applies and cuts":             {fault: lab.Fault{Kind: lab.ApplyCut, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"applies and answers 500":      {fault: lab.Fault{Kind: lab.Apply500, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"applies behind a proxy's 502": {fault: lab.Fault{Kind: lab.Apply502HTML, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"answers 500":                  {fault: lab.Fault{Kind: lab.Err500, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"is behind a proxy's 503":      {fault: lab.Fault{Kind: lab.HTML503, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"answers 200 without success":  {fault: lab.Fault{Kind: lab.NoSuccess, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"answers an empty 200":         {fault: lab.Fault{Kind: lab.Empty200, Count: 1, Applied: &yes}, status: 200, state: "uncertain", goesOn: true},
		"answers a page":               {fault: lab.Fault{Kind: lab.HTML200, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"redirects":                    {fault: lab.Fault{Kind: lab.Redirect, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"truncates its answer":         {fault: lab.Fault{Kind: lab.Truncated, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"answers without end":          {fault: lab.Fault{Kind: lab.Huge, Count: 1}, status: 200, state: "uncertain", goesOn: true},
		"answers too late":             {fault: lab.Fault{Kind: lab.Slow, Count: 1, DelayMS: 2500}, status: 200, state: "uncertain", goesOn: true},
		"applies later":                {fault: lab.Fault{Kind: lab.Late, Count: 1, DelayMS: 200}, status: 200, state: "uncertain", goesOn: true},
		"is slow but in time":          {fault: lab.Fault{Kind: lab.Slow, Count: 1, DelayMS: 300}, status: 200, state: "active"},
		"is gone":                      {fault: lab.Fault{Kind: lab.Unreachable}, status: 502, state: "active", goesOn: true},
	}
}

// Whatever the remote system does, what creds hands out as active logs in, and the engine comes to rest by itself.
func TestEveryOutcomeEndsWithALogin(t *testing.T) {
	t.Parallel()
	for name, o := range outcomes() {
		for _, system := range []string{"plesk", "dcs"} {
			t.Run(name+" on "+system, func(t *testing.T) {
				t.Parallel()
				m := newMount(t)
				role := alias("ops1")
				if system == "dcs" {
					role = m.account("app")
				}
				m.must("roles/r", role)
				before := m.works("r", role)
				m.fault(role, o.fault)

				_, err := m.write("rotate-role/r", nil)
				require.Equal(t, o.status, status(err), message(err))
				d := m.creds("r")
				if o.status == 200 && o.state == "uncertain" {
					// The engine may have settled it between the two requests, and only then.
					require.Contains(t, []any{"uncertain", "active"}, d["state"])
				} else {
					require.Equal(t, o.state, d["state"])
				}
				if d["state"] == "active" && o.status != 200 {
					require.Equal(t, before["password"], d["password"])
				}
				m.heal()
				if o.status == 400 {
					require.NoError(t, m.login(role, before["password"]))
				}
				if o.goesOn {
					require.Eventually(t, func() bool {
						d = m.creds("r")
						return d["state"] == "active" && versionOf(t, d) > versionOf(t, before)
					}, waitLong, tick, "the engine goes on by itself: %v", lazy{func() string { return text(m.read("status/r")) }})
				}
				m.works("r", role)
				require.Zero(t, m.sim.Trapped(), "no redirect is ever followed")
				if o.fault.Kind != lab.Slow { // a request that the remote system still works on may meet the same one again
					system, name := target(role)
					require.LessOrEqual(t, m.sim.MaxConcurrentChanges(system, name), 1)
				}
				m.nothingLocked()
			})
		}
	}
}
