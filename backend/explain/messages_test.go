package explain

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

var update = flag.Bool("update", false, "write testdata/messages.golden")

const golden = "testdata/messages.golden"

// page is the golden file.
type page struct{ strings.Builder }

func (p *page) write(format string, args ...any) { _, _ = fmt.Fprintf(p, format, args...) }

func (p *page) heading(text string) {
	p.write("\n%s\n%s\n", text, strings.Repeat("=", len(text)))
}

func (p *page) situation(name, facts string) {
	p.write("\n%s\n", name)
	if facts != "" {
		p.write("    [%s]\n", facts)
	}
}

// say writes what a function says.
func (p *page) say(function, text string) { p.write("    %s: %s\n", function, text) }

// TestMessagesMatchGoldenFile writes every message in every situation to one file, for a reader to go through. It is not
// parallel, so that tests of the file run after it.
func TestMessagesMatchGoldenFile(t *testing.T) {
	p := &page{}
	p.WriteString("Every message of the engine about roles and connections. Each line names the function of package explain that says it.\n")
	for _, act := range slices.Concat(states(), proofs(), circumstances()) {
		p.heading(act.heading)
		for _, s := range act.scenes {
			f := s.facts(t)
			p.situation(s.name, s.line(f))
			p.role(s, f)
		}
	}
	p.confirmations(t)
	p.logins()
	p.requests()
	p.connections()
	p.clauses()
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(p.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), p.String(), "if the change is right: go test ./backend/explain -update")
}

// role says everything about a role, as the engine does.
func (p *page) role(s scene, f Facts) {
	p.say("Reason", f.Reason())
	p.say("Advice", f.Advice())
	if text := f.NeedsOperator(); text != "" {
		p.say("NeedsOperator", text)
	}
	if f.Step.Why == role.Drifted {
		p.say("Drifted", f.Drifted())
	}
	if last := f.Role.Retry.Last; f.Failed() && problem.OfOutcome(last.Class, "") != nil {
		p.say("NotChanged", f.NotChanged())
		if s.given {
			p.say("NotSet", f.NotSet())
			p.say("Failure", f.Failure("the role was not created"))
		}
	} else if text := f.Warning(); text != "" {
		p.say("Warning", text)
	}
	if s.staged {
		p.say("Staged", f.Staged())
	}
	for _, server := range f.Servers()[:min(len(s.parts), 3)] {
		text := fmt.Sprintf("%s %s, version %d, next %d", server.Part, server.State, server.Version, server.NextVersion)
		if server.LastError != "" {
			text += ", last error: " + server.LastError
		}
		p.say("Servers", text)
	}
}

// confirmations are the errors of confirm-role, and of requests that a confirmation has to precede.
func (p *page) confirmations(t *testing.T) {
	p.heading("A confirmation is refused")
	of := func(record string, parts ...string) *role.Role {
		s := scene{record: record, parts: parts}
		return s.facts(t).Role
	}
	for _, row := range []struct {
		name, record string
		parts        []string
		version      int
		discard      bool
		err          error
	}{
		{"the version is queued", active + "make send queued", nil, 2, true, credential.ErrQueued},
		{"the version is confirmed on some servers", active + "make send restart confirmed-a", three, 2, true, credential.ErrInForceOn},
		{"the version is in force", active, nil, 1, true, credential.ErrNothingToConfirm},
		{"no such version waits", active, nil, 7, true, credential.ErrNothingToConfirm},
		{"no such version exists", active, nil, 7, false, credential.ErrNothingToConfirm},
		{"the version was dropped", active + "make send applied make send applied", nil, 0, false, credential.ErrNothingToConfirm},
		{"the version waits to be sent", active + "make", nil, 2, false, credential.ErrNothingToConfirm},
		{"an older version, and not all servers", active + "make send applied", three, 1, false, credential.ErrNothingToConfirm},
		{"an older version does not wait", active + "make send applied", nil, 1, true, credential.ErrNothingToConfirm},
		{"another version is being sent", active + "make send", nil, 1, false, credential.ErrNothingToConfirm},
	} {
		r := of(row.record, row.parts...)
		p.situation(row.name, fmt.Sprintf("version %d, discard %t", row.version, row.discard))
		p.say("Unconfirmable", Unconfirmable(r, row.version, row.discard, row.err))
	}
	p.situation("an older version is in force again", "version 1, after one that the remote system confirmed; after an adopted one")
	for _, record := range []string{active + "make send applied", active + "make send applied adopted"} {
		before, again := of(record).Record, scene{record: record}.facts(t)
		rec, err := before.Confirm(1, again.Now)
		require.NoError(t, err)
		again.Role.Record = rec
		p.say("Confirmed", again.Confirmed(before, false, ""))
	}
	p.situation("it withdrew a rotation", "version 1")
	p.say("Confirmed", scene{record: active}.facts(t).Confirmed(of(active+"make").Record, false, ""))
	f := scene{record: active, options: proved}.facts(t)
	p.situation("a login could not tell", "version 1")
	p.say("NotChecked", NotChecked(f.Role, false, []role.LoginResult{{Proof: provider.Proof{Verdict: provider.CannotTell, Reason: "the server cannot be reached"}}}))
	p.say("Confirmed", f.Confirmed(of(active).Record, false, "the server cannot be reached"))
	p.situation("a login was not made", "version 1 force=true")
	p.say("NotChecked", NotChecked(f.Role, true, nil))
	partial := of(active+"make send on-ab busy", three...)
	p.situation("not all servers took the version", "version 2 for all servers")
	p.say("NotTaken", NotTaken(partial, 2))
	p.situation("the role has one account", "servers=a")
	p.say("NoServers", NoServers(of(active)))
	p.situation("the role has other servers", "servers=x")
	p.say("NotAServer", NotAServer(partial, "x"))
	p.situation("the server is none of many", "servers=x")
	p.say("NotAServer", NotAServer(of(active, servers(12)...), "x"))
	p.situation("a rotation is requested while too many passwords are open", "rotate-role")
	p.say("Unsettled", Unsettled(of(active)))
}

// requests are answers that are not about a role's state.
func (p *page) requests() {
	p.heading("A request")
	p.situation("the remote system refuses the password that an operator chose", "")
	p.say("ChosenRefused", ChosenRefused("db", weak()))
	p.situation("its outcome could not be stored", "")
	p.say("UnknownOutcome", UnknownOutcome("db"))
	p.situation("it hit a fault of the plugin", "")
	p.say("Panicked", Panicked("db"))
	p.situation("it asked for a rotation without a version, and something is open", "version 2 is in force")
	p.say("Repeatable", Repeatable(2))
	p.situation("it forces an attempt right after a failure", "")
	p.say("NotForced", NotForced(now.Add(-3*time.Second), 10*time.Second))
	p.situation("a rotation soon after another", "min_rotation_interval")
	p.say("TooSoon", TooSoon("db", now, time.Hour))
	p.situation("it takes too long", "")
	p.say("InProgress", InProgress("db"))
	p.situation("it replaces a chosen password that waits", "")
	p.say("Replaced", Replaced)
	p.situation("a first read in a frozen mount", "")
	p.say("NoPasswordFrozen", NoPasswordFrozen("db", release))
	p.say("NoPasswordFrozen", NoPasswordFrozen("db", copied))
}

func (p *page) connections() {
	p.heading("A connection")
	p.situation("a request for a paused one", "with a probe; until an operator acts")
	p.say("Paused", Paused("panel", probed))
	p.say("Paused", Paused("panel", spent))
	p.situation("a role that is not created because of it", "with a probe; until an operator acts")
	p.say("NowPaused", NowPaused("panel", probed))
	p.say("NowPaused", NowPaused("panel", spent))
	p.situation("a write that no longer allows roles", "one role; twelve roles")
	p.say("NotAllowed", NotAllowed("panel", []string{"db"}))
	p.say("NotAllowed", NotAllowed("panel", servers(12)))
	p.situation("a write that switches verification off", "insecure_tls")
	p.say("InsecureTLS", InsecureTLS("panel"))
	p.situation("why it is paused", "the check was refused; it did not get through")
	p.say("PauseReason", PauseReason(provider.Result{Outcome: provider.Denied, Reason: "the remote system refused the connection's login"}))
	p.say("PauseReason", PauseReason(provider.Result{Outcome: provider.Unknown, Reason: "the remote system did not respond in time"}))
	p.say("Unchecked", Unchecked("5 calls were refused"))
	p.situation("a write whose secret is not tried", "it was refused before; until a time; until the operator accepts the risk")
	p.say("TriedBefore", TriedBefore("panel", now))
	p.say("NotTried", NotTried("the credential was refused twice", "panel", now, now.Add(time.Hour)))
	p.say("NotTried", NotTried("the credential was refused twice", "", time.Time{}, time.Time{}))
	p.situation("a write whose secret is not checked", "it is the stored one; verify_connection is false")
	p.say("SecretUnchanged", SecretUnchanged)
	p.say("StoredUnchecked", StoredUnchecked)
	p.situation("calls that wait", "the sender could be blocked; the service throttles; it throttled another connection")
	p.say("Blocked", Blocked("panel", "3 calls were refused"))
	p.say("Held", Held(hold))
	other := hold
	other.By = "panel2"
	p.say("Held", Held(other))
	p.say("Held", Held(connection.Hold{Until: hold.Until}))
	p.situation("a request for a role whose connection no longer exists", "")
	p.say("ConnectionGone", ConnectionGone(&role.Role{Name: "db", Connection: "panel"}))
	p.situation("a request to delete one that roles use", "one role; twelve roles")
	p.say("InUse", InUse("panel", []string{"db"}))
	p.say("InUse", InUse("panel", servers(12)))
	p.situation("more roles than max_roles_per_connection", "")
	p.say("TooManyRoles", TooManyRoles("panel", 10, 10))
	p.situation("more requests than may wait", "for a role; for a connection; on the mount")
	p.say("Crowded", Crowded("role", "db", false, 64))
	p.say("Crowded", Crowded("connection", "panel", false, 64))
	p.say("Crowded", Crowded("role", "db", true, 1024))
	p.situation("a connection to the remote system of another", "no account has two roles; one has")
	p.say("SameSystem", SameSystem("panel2", []string{"panel"}, nil))
	p.say("SameSystem", SameSystem("panel2", []string{"panel"}, []string{"web2", "web3"}))
}

// clauses are the parts of other messages.
func (p *page) clauses() {
	p.heading("Vault's storage fails")
	p.situation("it concerns one role", "")
	p.say("StorageFailure", StorageFailure(1, storageFails.Since, storageFails.Reason))
	p.heading("Parts of messages")
	p.situation("what is in the way of a request", "")
	for _, why := range []role.Reason{
		role.Throttled, role.Blocked, role.Checking, role.RemoteQueue, role.Margin, role.LockWindow, role.Paused, role.Frozen, role.Due,
	} {
		p.say("Obstacle", fmt.Sprintf("(%s) %s", why, Obstacle(why)))
	}
	p.situation("a freeze", "")
	p.say("Freeze", Freeze(release))
	p.say("Freeze", Freeze(copied))
	p.situation("a call that changes nothing", "with a code; without one")
	p.say("CheckFailure", CheckFailure(provider.Result{Code: "1013", Reason: "the remote system has no such account"}))
	p.say("CheckFailure", CheckFailure(provider.Result{Reason: "the remote system did not respond in time"}))
	p.situation("times", "")
	p.say("Time", Time(now))
	p.say("TimeOrNone", TimeOrNone(now))
	p.say("TimeOrNone", TimeOrNone(time.Time{}))
}
