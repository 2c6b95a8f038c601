package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/dcs"
	"vault-plugin-secrets-hosting/bootstrap/simulator"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

// webCLI is a client of a simulated DCS, without a Vault.
type webCLI struct {
	*testing.T
	sim      *simulator.Simulator
	client   provider.Client
	target   provider.Target
	password string
}

func newWebCLI(t *testing.T) *webCLI {
	t.Helper()
	sim, err := simulator.Start(t.Context(), simulator.Config{})
	require.NoError(t, err)
	t.Cleanup(sim.Close)
	out := sim.Output()
	instance, key := out.DCS.Instances[0], out.HuaweiCloud.AccessKeys[0]
	account := instance.Accounts[1]
	connection := provider.Connection{URL: out.DCS.URL, TLS: provider.TLS{CACert: out.CAPEM}, Settings: provider.Settings{
		"project_id": instance.ProjectID, "access_key": key.AccessKey, "secret_key": key.SecretKey,
	}}
	client, err := dcs.Type{}.Open(connection)
	require.NoError(t, err)
	target, err := dcs.Type{}.Target(connection, provider.Settings{"instance_id": instance.ID, "account_id": account.ID, "username": account.Name})
	require.NoError(t, err)
	return &webCLI{t, sim, client, target, account.Password}
}

// prove returns the verdict, and whether the password was sent.
func (w *webCLI) prove(password string) (verdict provider.Verdict, sent bool) {
	w.Helper()
	prover, ok := w.client.(provider.Prover)
	require.True(w, ok)
	_, proof := prover.Prove(w.Context(), w.target, password)
	require.NotContains(w, proof.Reason, password)
	return proof.Verdict, !proof.Unsent
}

func TestWebCLIProvesPassword(t *testing.T) {
	t.Parallel()
	const wrong = "Wrong-Pass.4711"
	for name, test := range map[string]struct {
		switches  map[string]any
		fault     *lab.Fault
		works     provider.Verdict // with the password in force
		refused   provider.Verdict // with another one
		unsent    bool
		uncounted bool
	}{
		"usual":               {works: provider.Works, refused: provider.Refused},
		"default only":        {switches: map[string]any{"webcli_login": "default"}, works: provider.Refused, refused: provider.Refused},
		"wrong is a 401":      {switches: map[string]any{"webcli_refusal": "401"}, works: provider.Works, refused: provider.CannotTell},
		"wrong is a 403":      {switches: map[string]any{"webcli_refusal": "403"}, works: provider.Works, refused: provider.CannotTell},
		"wrong is a 500":      {switches: map[string]any{"webcli_refusal": "500"}, works: provider.Works, refused: provider.CannotTell},
		"password-free":       {switches: map[string]any{"no_password_access": true}, works: provider.CannotTell, refused: provider.CannotTell, unsent: true},
		"account in error":    {switches: map[string]any{"account_status": "ERROR"}, works: provider.Works, refused: provider.Refused},
		"account in progress": {switches: map[string]any{"account_status": "UPDATING"}, works: provider.CannotTell, refused: provider.CannotTell, unsent: true},
		"not running":         {switches: map[string]any{"instance_status": "RESTARTING"}, works: provider.CannotTell, refused: provider.CannotTell, uncounted: true},
		"no permission":       {fault: &lab.Fault{Kind: lab.Deny, Variant: "forbidden"}, works: provider.CannotTell, refused: provider.CannotTell, uncounted: true},
		"cut":                 {fault: &lab.Fault{Kind: lab.Cut}, works: provider.CannotTell, refused: provider.CannotTell, uncounted: true},
		"a page":              {fault: &lab.Fault{Kind: lab.HTML200}, works: provider.CannotTell, refused: provider.CannotTell, uncounted: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWebCLI(t)
			for name, value := range test.switches {
				require.NoError(t, w.sim.Switch("dcs", name, value))
			}
			if test.fault != nil {
				test.fault.System, test.fault.Target, test.fault.Operations = "dcs", "*", []string{lab.OpLogin}
				require.NoError(t, w.sim.SetFault(*test.fault))
			}
			verdict, sent := w.prove(w.password)
			require.Equal(t, test.works, verdict)
			require.Equal(t, !test.unsent, sent)
			before := w.sim.DCSLogins().WebCLI
			verdict, sent = w.prove(wrong)
			require.Equal(t, test.refused, verdict)
			require.Equal(t, !test.unsent, sent)
			require.Equal(t, !test.unsent && !test.uncounted, w.sim.DCSLogins().WebCLI == before+1)
			for _, key := range w.sim.AccessKeys() {
				require.Zero(t, key.Locks)
			}
		})
	}
}

func TestWebCLIProvesNothingDuringChange(t *testing.T) {
	t.Parallel()
	w := newWebCLI(t)
	require.NoError(t, w.sim.Switch("dcs", "settle_ms", 30_000))
	const fresh = "Fresh-Pass.4711"
	done := make(chan provider.Result, 1)
	go func() {
		done <- w.client.Change(w.Context(), provider.Change{Target: w.target, OldPassword: w.password, NewPassword: fresh})
	}()
	require.Eventually(t, func() bool { return w.sim.DCS(w.target.Names[0]).Changes == 1 }, waitLong, tick)
	for _, password := range []string{w.password, fresh} {
		verdict, sent := w.prove(password)
		require.Equal(t, provider.CannotTell, verdict)
		require.False(t, sent)
	}
	w.sim.Advance(31 * time.Second)
	require.Equal(t, provider.Applied, (<-done).Outcome)
	verdict, _ := w.prove(fresh)
	require.Equal(t, provider.Works, verdict)
	verdict, _ = w.prove(w.password)
	require.Equal(t, provider.Refused, verdict)
}
