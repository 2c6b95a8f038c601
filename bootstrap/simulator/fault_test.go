package simulator

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

func TestFaultsAnswerAndApplyAsDocumented(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		fault      lab.Fault
		status     int    // 0: the connection breaks
		plesk, dcs string // contained in the body
		changed    bool
	}{
		{fault: lab.Fault{Kind: lab.Refuse}, status: -1, plesk: "<errcode>1038", dcs: `"DCS.4961"`},
		{fault: lab.Fault{Kind: lab.RejectTarget}, status: -1, plesk: "<errcode>1013", dcs: `"DCS.3022"`},
		{fault: lab.Fault{Kind: lab.Busy}, status: -1, plesk: "<system><status>error</status><errcode>1008", dcs: `"DCS.4115"`},
		{fault: lab.Fault{Kind: lab.Deny}, status: -1, plesk: "<system><status>error</status><errcode>1001", dcs: `"APIGW.0301"`},
		{fault: lab.Fault{Kind: lab.Deny, Variant: "forbidden"}, status: -1, plesk: "<errcode>1006", dcs: `"APIGW.0302"`},
		{fault: lab.Fault{Kind: lab.Throttle}, status: 429, plesk: "Too Many", dcs: `"APIGW.0308"`},
		{fault: lab.Fault{Kind: lab.Throttle, Variant: "empty", RetryAfter: 7}, status: 429},
		{fault: lab.Fault{Kind: lab.Throttle, Variant: "html", RetryAfter: 7}, status: 429, plesk: "<html>", dcs: "<html>"},
		{fault: lab.Fault{Kind: lab.ApplyCut}, changed: true},
		{fault: lab.Fault{Kind: lab.Cut}},
		{fault: lab.Fault{Kind: lab.Apply500}, status: 500, dcs: `"DCS.5000"`, changed: true},
		{fault: lab.Fault{Kind: lab.Err500}, status: 500, dcs: `"DCS.5000"`},
		{fault: lab.Fault{Kind: lab.Apply502HTML}, status: 502, plesk: fresh, dcs: fresh, changed: true},
		{fault: lab.Fault{Kind: lab.Apply503HTML, RetryAfter: 7}, status: 503, plesk: fresh, dcs: fresh, changed: true},
		{fault: lab.Fault{Kind: lab.HTML503}, status: 503, plesk: fresh, dcs: fresh},
		{fault: lab.Fault{Kind: lab.NoSuccess}, status: 200, plesk: "<errcode>1023", dcs: `"result":"failed"`},
		{fault: lab.Fault{Kind: lab.NoSuccess, Applied: &yes}, status: 200, plesk: "<errcode>1023", dcs: `"result":"failed"`, changed: true},
		{fault: lab.Fault{Kind: lab.Empty200}, status: 200},
		{fault: lab.Fault{Kind: lab.Empty200, Applied: &yes}, status: 200, changed: true},
		{fault: lab.Fault{Kind: lab.HTML200, Applied: &yes}, status: 200, plesk: "<html>", dcs: "<html>", changed: true},
		{fault: lab.Fault{Kind: lab.HTML}, status: 403, plesk: "<html>", dcs: "<html>"},
		{fault: lab.Fault{Kind: lab.Redirect}, status: 307},
		{fault: lab.Fault{Kind: lab.Redirect, Location: "https://127.0.0.1:1/x", Applied: &yes}, status: 307, changed: true},
		{fault: lab.Fault{Kind: lab.Truncated}, status: 200, plesk: "<?xml", dcs: "{", changed: true},
		{fault: lab.Fault{Kind: lab.Truncated, Applied: &no}, status: 200},
		{fault: lab.Fault{Kind: lab.Huge}, status: 200, plesk: "</packet>", dcs: `"success"`, changed: true},
		{fault: lab.Fault{Kind: lab.Slow, DelayMS: 30}, status: 200, plesk: "<status>ok", dcs: `"success"`, changed: true},
	} {
		for system, want := range map[string]string{"plesk": c.plesk, "dcs": c.dcs} {
			t.Run(system+" "+string(c.fault.Kind)+" "+c.fault.Variant, func(t *testing.T) {
				b := start(t)
				f := c.fault
				f.System, f.Target, f.Count = system, b.target(system), 1
				require.NoError(t, b.SetFault(f))
				status, header, body, err := b.do(b.request(t.Context(), system))
				if c.status == 0 {
					require.Error(t, err)
				} else {
					require.NoError(t, err)
				}
				if c.status > 0 {
					assert.Equal(t, c.status, status)
				}
				if want != "" {
					require.Contains(t, body[:min(len(body), 1000)], want)
				}
				if f.RetryAfter > 0 {
					assert.Equal(t, "7", header.Get("Retry-After"))
				}
				assert.Equal(t, c.changed, b.changed(system))
				entries := b.Journal(system, b.target(system))
				require.NotEmpty(t, entries)
				assert.Equal(t, f.Kind, entries[0].Fault)
				assert.Equal(t, c.changed, entries[0].Applied)
				if !c.changed { // the fault is used up
					_, _, _, err := b.do(b.request(t.Context(), system))
					require.NoError(t, err)
					assert.True(t, b.changed(system))
				}
			})
		}
	}
}

func TestFaultsDoNotRelaxChecks(t *testing.T) {
	b := start(t)
	for _, system := range []string{"plesk", "dcs"} {
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: lab.Empty200}))
		r := b.request(t.Context(), system)
		r.Header["KEY"] = []string{"wrong"}
		r.Header.Set("Authorization", "nonsense")
		_, _, body, err := b.do(r)
		require.NoError(t, err)
		assert.NotEmpty(t, body)
		assert.Zero(t, b.Faults()[0].Used)
	}
}

func TestFaultsMatchTargetAndOperation(t *testing.T) {
	b := start(t)
	require.NoError(t, b.SetFault(lab.Fault{System: "plesk", Target: "ops2", Kind: lab.Cut}))
	_, _, body, err := b.do(b.request(t.Context(), "plesk"))
	require.NoError(t, err)
	assert.Contains(t, body, "<status>ok")
	require.NoError(t, b.SetFault(lab.Fault{System: "plesk", Target: "*", Kind: lab.Err500, Count: 1, Operations: []string{lab.OpCheck}}))
	require.ErrorContains(t, b.LoginPlesk("ops1", fresh), "500")
	require.NoError(t, b.LoginPlesk("ops1", fresh))
	require.NoError(t, b.SetFault(lab.Fault{System: "redis", Target: "*", Kind: lab.Busy, Count: 1}))
	require.ErrorContains(t, b.LoginRedis("app", "x"), "LOADING")
	require.NoError(t, b.SetFault(lab.Fault{System: "redis", Target: "*", Kind: lab.Cut, Count: 1}))
	require.ErrorContains(t, b.LoginRedis("app", "x"), "EOF")
	require.NoError(t, b.LoginRedis("app", b.initial("dcs")))
}

func TestStalledRedisLoginHangs(t *testing.T) {
	b := start(t)
	require.NoError(t, b.SetFault(lab.Fault{System: "redis", Target: "*", Kind: lab.Stall, Count: 1}))
	done := make(chan error, 1)
	go func() { done <- b.LoginRedis("app", b.initial("dcs")) }()
	require.Eventually(t, func() bool { return b.Faults()[0].Holding == 1 }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, b.LoginRedis("app", b.initial("dcs")), "others go on")
	require.NoError(t, b.ClearFaults("", ""))
	require.ErrorContains(t, <-done, "EOF")
}

func TestRedirectLeadsToTrap(t *testing.T) {
	b := start(t)
	require.NoError(t, b.SetFault(lab.Fault{System: "dcs", Target: "*", Kind: lab.Redirect}))
	_, header, _, err := b.do(b.request(t.Context(), "dcs"))
	require.NoError(t, err)
	assert.Zero(t, b.Trapped())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, header.Get("Location"), strings.NewReader("secret"))
	require.NoError(t, err)
	_, _, _, err = b.do(r)
	require.NoError(t, err)
	assert.Equal(t, 1, b.Trapped())
}

func TestLateChangeFollowsCutConnection(t *testing.T) {
	for _, system := range []string{"plesk", "dcs"} {
		b := start(t)
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: lab.Late, DelayMS: 1500, Count: 1}))
		_, _, _, err := b.do(b.request(t.Context(), system))
		require.Error(t, err)
		assert.False(t, b.changed(system))
		require.Eventually(t, func() bool { return len(b.Journal(system, b.target(system))) > 0 && b.lastApplied(system) }, 20*time.Second, 20*time.Millisecond)
		assert.True(t, b.changed(system))
	}
}

func TestLateChangeCanBeHeld(t *testing.T) {
	for _, system := range []string{"plesk", "dcs"} {
		b := start(t)
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: lab.Late, Variant: "held", Count: 1}))
		_, _, _, err := b.do(b.request(t.Context(), system))
		require.Error(t, err)
		require.Eventually(t, func() bool { return b.Faults()[0].Holding == 1 }, 20*time.Second, 5*time.Millisecond)
		assert.False(t, b.changed(system))
		require.NoError(t, b.ClearFaults(system, ""))
		require.Eventually(t, func() bool { return len(b.Journal(system, b.target(system))) > 0 && b.lastApplied(system) }, 20*time.Second, 5*time.Millisecond)
		assert.True(t, b.changed(system))
	}
}

func TestSlowRequestCanBeHeld(t *testing.T) {
	for _, system := range []string{"plesk", "dcs"} {
		b := start(t)
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: lab.Slow, Variant: "held", Count: 1}))
		ctx, leave := context.WithCancel(t.Context())
		r, answer := b.request(ctx, system), make(chan error, 1)
		go func() {
			_, _, _, err := b.do(r)
			answer <- err
		}()
		require.Eventually(t, func() bool { return b.Faults()[0].Holding == 1 }, 20*time.Second, 5*time.Millisecond)
		leave()
		require.Error(t, <-answer)
		assert.False(t, b.changed(system))
		require.NoError(t, b.ClearFaults(system, ""))
		require.Eventually(t, func() bool { return len(b.Journal(system, b.target(system))) > 0 && b.lastApplied(system) }, 20*time.Second, 5*time.Millisecond)
		assert.True(t, b.changed(system), "the system has the request, although its client has left")
	}
}

func TestRetryAfterCanBeADate(t *testing.T) {
	b := start(t)
	b.Advance(time.Hour)
	for _, kind := range []lab.Kind{lab.Throttle, lab.HTML503} {
		require.NoError(t, b.SetFault(lab.Fault{System: "plesk", Target: "*", Kind: kind, Count: 1, RetryAfter: 7, RetryAfterDate: true}))
		asked := b.Now()
		_, header, _, err := b.do(b.request(t.Context(), "plesk"))
		require.NoError(t, err)
		at, err := http.ParseTime(header.Get("Retry-After"))
		require.NoError(t, err)
		assert.WithinRange(t, at, asked.Add(6*time.Second), b.Now().Add(7*time.Second), "by the simulated clock, in whole seconds")
	}
}

func (b *bench) lastApplied(system string) bool {
	entries := b.Journal(system, b.target(system))
	return entries[len(entries)-1].Applied
}

func TestHeldAnswerComesWhenFaultIsRemoved(t *testing.T) {
	for _, system := range []string{"plesk", "dcs"} {
		b := start(t)
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: lab.Hold, Count: 1}))
		type result struct {
			body string
			err  error
		}
		results := make(chan result, 1)
		r := b.request(t.Context(), system)
		go func() {
			_, _, body, err := b.do(r)
			results <- result{body, err}
		}()
		require.Eventually(t, func() bool { return b.Faults()[0].Holding == 1 }, 20*time.Second, 5*time.Millisecond)
		assert.True(t, b.changed(system), "the password is in force before the answer")
		select {
		case <-results:
			t.Fatal("the answer came before the fault was removed")
		default:
		}
		require.NoError(t, b.ClearFaults(system, ""))
		got := <-results
		require.NoError(t, got.err)
		assert.Contains(t, got.body, map[string]string{"plesk": "<status>ok", "dcs": `"success"`}[system])
	}
}

func TestStalledRequestIsNotAppliedOrAnswered(t *testing.T) {
	for _, system := range []string{"plesk", "dcs"} {
		b := start(t)
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: lab.Stall, Count: 2}))
		failed := make(chan error, 1)
		send := func(ctx context.Context) {
			r := b.request(ctx, system)
			go func() {
				_, _, _, err := b.do(r)
				failed <- err
			}()
			require.Eventually(t, func() bool { return b.Faults()[0].Holding == 1 }, 20*time.Second, 5*time.Millisecond)
		}
		ctx, cancel := context.WithCancel(t.Context())
		send(ctx)
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
		require.Eventually(t, func() bool { return b.Faults()[0].Holding == 0 }, 20*time.Second, 5*time.Millisecond)
		send(t.Context())
		require.NoError(t, b.ClearFaults(system, ""))
		require.Error(t, <-failed, "cut without an answer")
		entries := b.Journal(system, b.target(system))
		require.Len(t, entries, 2)
		for _, entry := range entries {
			assert.False(t, entry.Applied)
			assert.Equal(t, lab.Stall, entry.Fault)
		}
		assert.False(t, b.changed(system))
	}
}

func TestHeldAnswerEndsWithItsClient(t *testing.T) {
	b := start(t)
	require.NoError(t, b.SetFault(lab.Fault{System: "dcs", Target: "*", Kind: lab.Hold}))
	ctx, cancel := context.WithCancel(t.Context())
	r := b.request(ctx, "dcs")
	failed := make(chan error, 1)
	go func() {
		_, _, _, err := b.do(r)
		failed <- err
	}()
	require.Eventually(t, func() bool { return b.Faults()[0].Holding == 1 }, 20*time.Second, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	require.Eventually(t, func() bool { return b.Faults()[0].Holding == 0 }, 20*time.Second, 5*time.Millisecond)
}

func TestUnreachableSystemReturnsOnSamePort(t *testing.T) {
	b := start(t)
	for _, system := range []string{"plesk", "dcs", "redis"} {
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: lab.Unreachable}))
		try := func() error {
			if system == "redis" {
				return b.LoginRedis("app", b.initial("dcs"))
			}
			_, _, _, err := b.do(b.request(t.Context(), system))
			return err
		}
		require.ErrorContains(t, try(), "refused", system)
		require.NoError(t, b.ClearFaults("", ""))
		require.NoError(t, try())
		if system != "redis" {
			require.NoError(t, b.SetPassword(system, b.target(system), b.initial(system)))
		}
	}
}

func TestUnreachableCutsOpenConnections(t *testing.T) {
	b := start(t)
	_, _, _, err := b.do(b.request(t.Context(), "plesk"))
	require.NoError(t, err) // leaves an idle connection
	require.NoError(t, b.SetFault(lab.Fault{System: "plesk", Target: "*", Kind: lab.Unreachable}))
	_, _, _, err = b.do(b.request(t.Context(), "plesk"))
	require.Error(t, err)
}

// The packets of a banned sender are dropped: connections hang, open ones too, and nothing of them is carried out later.
func TestBannedSenderHangs(t *testing.T) {
	b := start(t)
	require.NoError(t, b.Switch("plesk", "fail2ban", 1))
	wrong := b.request(t.Context(), "plesk")
	wrong.Header["KEY"] = []string{"wrong"}
	_, _, _, err := b.do(wrong)
	require.NoError(t, err)
	for range 2 { // on the open connection, and on a new one
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, _, _, err = b.do(b.request(ctx, "plesk"))
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	b.Advance(10 * time.Minute)
	_, _, _, err = b.do(b.request(t.Context(), "plesk"))
	require.NoError(t, err)
	require.Equal(t, 1, b.PleskSenders().Bans)
	require.Len(t, b.Journal("plesk", b.target("plesk")), 1)
}

func TestCloseEndsDelayedRequests(t *testing.T) {
	b := start(t)
	for kind, system := range map[lab.Kind]string{lab.Hold: "plesk", lab.Slow: "dcs"} {
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: kind, DelayMS: 3_600_000, Count: 1}))
		r := b.request(t.Context(), system)
		go func() { _, _, _, _ = b.do(r) }()
	}
	require.Eventually(t, func() bool { return b.used() == 2 }, 20*time.Second, 5*time.Millisecond)
	for kind, system := range map[lab.Kind]string{lab.Late: "plesk", lab.Stall: "dcs"} {
		variant := map[lab.Kind]string{lab.Late: "held"}[kind]
		require.NoError(t, b.SetFault(lab.Fault{System: system, Target: "*", Kind: kind, Variant: variant}))
		r := b.request(t.Context(), system)
		go func() { _, _, _, _ = b.do(r) }()
	}
	require.Eventually(t, func() bool { return b.used() == 4 }, 20*time.Second, 5*time.Millisecond)
	b.Close() // goleak reports goroutines that are left
}

// used returns how many requests faults have affected.
func (b *bench) used() int {
	n := 0
	for _, f := range b.Faults() {
		n += f.Used
	}
	return n
}
