package rotation

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider"
)

// sent are the types of the events that an engine has sent.
type sent struct {
	mu    sync.Mutex
	kinds []string
}

// send is the engine's Events.
func (s *sent) send(_ context.Context, kind, _ string, _ []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kinds = append(s.kinds, kind)
}

// taken returns the events since the last call.
func (s *sent) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	kinds := s.kinds
	s.kinds = nil
	return kinds
}

// step is something that happens, with the events and the log lines of proofs and restarts that must follow, and no others.
type step struct {
	name   string
	do     func()
	events []string
	lines  []string
}

// ofProof matches the log lines of proofs and restarts.
var ofProof = regexp.MustCompile(`logins? .*password|server is being|server was|restarts have`)

// reported returns these lines without the time and the names, from the line with number from on, and the number of the next.
func (r *rig) reported(from int) (lines []string, next int) {
	all := r.log.lines("")
	for _, line := range all[from:] {
		if ofProof.MatchString(line) {
			_, line, _ = strings.Cut(strings.TrimSpace(line), " ")
			lines = append(lines, strings.Replace(line, " role=role connection=conn provider=remote", "", 1))
		}
	}
	return lines, len(all)
}

// take takes the steps.
func (r *rig) take(steps []step) {
	r.Helper()
	r.events.taken()
	_, next := r.reported(0)
	for _, s := range steps {
		s.do()
		require.Equal(r, s.events, r.events.taken(), s.name)
		var lines []string
		lines, next = r.reported(next)
		require.Equal(r, s.lines, lines, s.name)
	}
}

// learned is the log line of logins that have changed what is known of the password.
func learned(trigger, state string) string {
	return "[INFO]  logins have changed what is known of the password: trigger=" + trigger + " state=" + state
}

// failedLogin is the log line of a login that does not prove the password.
func failedLogin(version int, result provider.Verdict, reason string) string {
	return fmt.Sprintf(`[WARN]  a login does not prove the password: trigger=verify version=%d server="" result=%s reason=%q`, version, result, reason)
}

// What logins show is sent and logged if it changes what is known of the password. A login that does not prove it is logged, but
// not the same result again.
func TestProofsAreReported(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(t *testing.T, r *rig, d *door) {
		verify := func() {
			_, err := r.engine.VerifyRole(r.Context(), r.storage, "role")
			require.NoError(t, err)
		}
		first := r.read().Password.Value
		const refused = "the server refused the password"
		busyServer := provider.Proof{Verdict: provider.CannotTell, Unsent: true, Reason: "the server is busy"}
		r.take([]step{
			{"a change is proved at once", func() { r.mustRotate() }, []string{EventRotate}, []string{learned("request", "active")}},
			{"a login works", verify, nil, nil},
			{
				"drift is found", func() { r.remote.setPassword("login", "changed outside"); verify() },
				[]string{EventVerify}, []string{failedLogin(2, provider.Refused, refused), learned("verify", "drifted")},
			},
			{"it stays", func() { advance(20 * time.Minute); verify() }, nil, nil},
			{"another password works", func() {
				r.remote.setPassword("login", first)
				advance(20 * time.Minute)
				_, err := r.engine.RecoverRole(r.Context(), r.storage, "role")
				require.NoError(t, err)
			}, []string{EventVerify}, []string{learned("verify", "active")}},
			{"a login cannot tell", func() { d.say(&shut); verify() }, nil, []string{failedLogin(3, provider.CannotTell, shut.Reason)}},
			{"nor can the next ones", func() { verify(); advance(day); verify() }, nil, nil},
			{"the reason is another", func() { d.say(&busyServer); verify() }, nil, []string{failedLogin(3, provider.CannotTell, busyServer.Reason)}},
			{"a login works again", func() { d.say(nil); verify() }, nil, nil},
			{"until the next failure", func() { d.say(&busyServer); verify() }, nil, []string{failedLogin(3, provider.CannotTell, busyServer.Reason)}},
			{"and once more", func() { d.say(nil); verify() }, nil, nil},
		})
	})
}

// A change that the remote system does not confirm sends its event when a login proves it.
func TestProvedChangeIsReported(t *testing.T) {
	t.Parallel()
	inProvedTime(t, func(_ *testing.T, r *rig, _ *door) {
		r.take([]step{
			{"a password is queued", func() { r.remote.answer(queued, false); r.mustRotate() }, []string{EventRotate}, nil},
			{"it is in force", func() { r.remote.setPassword("login", r.remote.sent()[1]); advance(time.Hour) }, []string{EventRotate}, []string{
				`[INFO]  a login with the old password was refused: trigger=resume version=1 server=""`, learned("resume", "active"),
			}},
			{
				"an answer is lost", func() { r.remote.answer(unknown, true); r.mustRotate() },
				[]string{EventRotateFail, EventRotate}, []string{learned("request", "active")},
			},
		})
	})
}

// A restart logs its begin and its end. The last one sends the event of the change, and one that fails logs why.
func TestRestartsAreReported(t *testing.T) {
	t.Parallel()
	inRestartTime(t, provedServers, func(_ *testing.T, r *rig, servers *restarts) {
		begin, end := "[INFO]  server is being restarted: version=%d server=%s", "[INFO]  server was restarted: version=%d server=%s"
		r.take([]step{
			{"a change", func() { r.mustRotate() }, []string{EventRotate}, nil},
			{"the first server begins", func() { advance(30 * time.Second) }, nil, []string{fmt.Sprintf(begin, 2, "a")}},
			{"and ends", func() { advance(time.Minute) }, nil, []string{fmt.Sprintf(end, 2, "a"), fmt.Sprintf(begin, 2, "b")}},
			{
				"the last one ends", func() { advance(5 * time.Minute) },
				[]string{EventRotate}, []string{fmt.Sprintf(end, 2, "b"), fmt.Sprintf(begin, 2, "c"), fmt.Sprintf(end, 2, "c")},
			},
			{"nothing more", func() { advance(day) }, nil, nil},
			{"one fails", func() {
				servers.change(func(s *restarts) { s.failing["a"] = true; s.inForceNever("a") })
				r.mustRotate()
				advance(day)
			}, []string{EventRotate}, []string{
				fmt.Sprintf(begin, 3, "a"), "[WARN]  the restarts have stopped: the role needs an operator: version=3 server=a " +
					`reason="the remote system reports that its restart failed: the job failed"`,
			}},
		})
	})
}
