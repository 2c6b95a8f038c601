package explain

import (
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/connection"
	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
)

// act is scenes under one heading.
type act struct {
	heading string
	scenes  []scene
}

// Failures as providers report them.
func rejected() *role.Failure {
	return failed(provider.Rejected, provider.ScopeTarget, "1013", "the remote system has no such account")
}

func refusedByRemote() *role.Failure {
	return failed(provider.Rejected, provider.ScopeConnection, "1004", "the remote system rejects every request: its license has expired; renew it")
}

func weak() *role.Failure {
	return failed(provider.Rejected, provider.ScopePassword, "1038", "the remote system refused the password")
}

func chosenWeak() *role.Failure {
	f := weak()
	f.Given = true
	return f
}

func wrongOld() *role.Failure {
	return failed(provider.Mismatch, provider.ScopeTarget, "passwordFailed", "the remote system reports that the current password is wrong")
}

func deniedTarget() *role.Failure {
	return failed(provider.Denied, provider.ScopeTarget, "403", "the remote system denies the connection's user access to the account")
}

func denied() *role.Failure {
	return failed(provider.Denied, provider.ScopeConnection, "1001", "the remote system refused the connection's login")
}

func unreachable() *role.Failure {
	return failed(provider.Unreachable, provider.ScopeConnection, "", "the host name could not be resolved; nothing was sent")
}

func busy() *role.Failure {
	return failed(provider.Busy, provider.ScopeTarget, "E.2", "the account is being changed")
}

// hold is a hold that the scenes with a throttle have.
var hold = connection.Hold{Until: now.Add(20 * time.Minute), Since: now.Add(-time.Minute), Code: "HTTP 429", Reason: "the remote system throttled requests"}

func waiting(why role.Reason) *role.Failure {
	if why == role.Throttled {
		return failed(provider.Busy, provider.ScopeConnection, "", Held(hold))
	}
	return failed(provider.Busy, provider.ScopeConnection, "", Obstacle(why))
}

func unknown() *role.Failure {
	return failed(provider.Unknown, provider.ScopeTarget, "", "the remote system did not respond in time; the request may have been carried out")
}

func partsFailed(class provider.Outcome, names ...string) *role.Failure {
	f := failed(class, provider.ScopeTarget, "Ecs.0001", "not every server took the new password")
	for _, name := range names {
		f.Parts = append(f.Parts, provider.PartFailure{Part: name, Code: "Ecs.0707", Reason: "the server is being started"})
	}
	return f
}

var (
	release = &role.Freeze{Since: now.Add(-time.Hour), Until: now.Add(time.Hour), Reason: "release of the panel"}
	copied  = &role.Freeze{Since: now.Add(-time.Hour), Reason: "the engine last ran at 2026-02-26T12:00:00Z"}
	probed  = &connection.Pause{Since: now.Add(-time.Hour), Reason: "the remote system refused the connection's login", NextProbe: now.Add(30 * time.Minute)}
	spent   = &connection.Pause{Since: now.Add(-time.Hour), Reason: "the credential was refused 4 times in a row, and the remote system locks it after 5, for everyone who uses it"}
)

var (
	errRole      = &connection.NotAllowedError{Connection: "panel", Role: "db"}
	errTarget    = &connection.NotAllowedError{Connection: "panel", Role: "db", Target: "login"}
	storageFails = &Stuck{Reason: `storing the new password of role "db" failed: storage is sealed. Nothing was sent`, Storage: true, Since: now.Add(-time.Minute), Next: now.Add(10 * time.Second)}
	mountFails   = &Stuck{Reason: "storing the heartbeat failed: cannot write to storage during setup", Storage: true, Since: now.Add(-time.Minute)}
	noConnection = &Stuck{Reason: `connection "panel" of role "db" no longer exists: write config/panel again`, Since: now.Add(-time.Minute), Next: now.Add(time.Minute)}
)

const (
	late   = -10 * time.Minute
	active = "make send applied "
)

var (
	three    = []string{"a", "b", "c"}
	onRead   = role.Options{RotationMode: role.ModeOnRead}
	disabled = role.Options{Disabled: true}
	nightly  = role.Options{RotationSchedule: "0 3 * * *", RotationWindow: 3600}
	never    = role.Options{RotationSchedule: "0 0 30 2 *", RotationWindow: 3600}
)

// recordedAhead has the last rotation recorded by a clock that was ahead.
func recordedAhead(f *Facts) { f.Role.Record.Current.Since = now.Add(90 * 24 * time.Hour) }

// states are the scenes of each state.
func states() []act {
	return []act{
		{"State none", []scene{
			{name: "no password was ever set"},
			{name: "the first password is being sent", record: "59m30s make send"},
			{name: "the first password waits", record: "make send busy", last: busy()},
			{name: "the first password was refused", last: rejected()},
			{name: "the mount is frozen", freeze: release},
			{name: "the only password was discarded", record: "make send restart discarded"},
			{name: "no old password is known", record: "make", modify: true},
			{
				name: "the only password was refused as the old one", record: "make send unknown another present wrong given-up",
				modify: true, otherwise: "set rotation_method=reset on the role", last: wrongOld(),
			},
			{name: "the same, after a restart of the engine", record: "make send unknown another present wrong given-up", modify: true},
		}},
		{"State active", []scene{
			{name: "at rest", record: active},
			{name: "another password is being sent", record: active + "59m30s make send"},
			{name: "the account was refused", record: active + "make send gone", last: rejected()},
			{name: "the remote system refuses everything", record: active + "make send gone", last: refusedByRemote()},
			{name: "generated passwords were refused", record: active + "make send weak", last: weak()},
			{name: "a chosen password was refused after it had waited", record: active + "make send weak", last: chosenWeak()},
			{name: "a given password was refused", record: active + "make send weak", last: weak(), given: true},
			{name: "the old password was refused, though none was presented", record: active + "make send busy", last: wrongOld(), otherwise: "set rotation_method=reset on the role"},
			{name: "the account is denied", record: active + "make send busy", last: deniedTarget()},
			{name: "the credential was refused", record: active + "make send busy", last: denied()},
			{name: "the remote system cannot be reached", record: active + "make send busy", last: unreachable()},
			{name: "the account is busy", record: active + "make send busy", last: busy()},
			{name: "the account is busy, says this very request", record: active + "make send busy", last: justNow(busy())},
			{name: "the account was busy, and nothing is open", record: active, last: busy()},
			{name: "the remote system throttles", record: active + "make send busy", last: waiting(role.Throttled), env: role.Env{ThrottledUntil: now.Add(20 * time.Minute)}},
			{name: "the account is busy, and the role is disabled", record: active + "make send busy", last: busy(), options: disabled},
			{name: "a clock was ahead when it was set", record: active, after: recordedAhead},
			{name: "a clock was ahead when it was set, and a change is due", record: active, due: late, after: recordedAhead},
		}},
		{"State assumed", []scene{
			{name: "an operator said so", record: "adopted"},
			{name: "the first password, by time", record: "make send queued settled"},
			{name: "by time, over another one", record: active + "make send queued settled"},
			{name: "by time, and another one is being sent", record: active + "make send queued settled 59m30s make send"},
			{name: "by time, and the credential was refused", record: "make send queued settled make send busy", last: denied()},
			{name: "confirmed, over one whose outcome was lost", record: "make send unknown another send applied"},
			{name: "by time, over one whose outcome was lost", record: active + "make send unknown another send queued settled"},
			{name: "by time, and a later one was discarded", record: active + "make send queued settled make send restart discarded"},
			{name: "confirmed, over two whose outcomes were lost", record: "make send unknown another send unknown another send applied"},
			{name: "confirmed, over an older one that may still come", record: "make send unknown make send queued settled make send queued settled make send applied"},
			{name: "an operator said so, and another one waits", record: active + "make send unknown another confirmed-older", last: unknown()},
			{name: "stored by an older version", record: "adopted", after: func(f *Facts) { f.Role.Record.Current.Basis = "" }},
		}},
		{"State accepted", []scene{
			{name: "queued over another one", record: active + "make send queued", staged: true},
			{name: "the first password is queued", record: "make send queued"},
			{name: "queued over one whose outcome was lost", record: active + "make send unknown another send queued"},
			{name: "queued over two whose outcomes were lost", record: active + "make send unknown another send unknown another send queued"},
			{name: "queued, and another one waits", record: active + "make send queued make", last: waiting(role.RemoteQueue)},
			{name: "queued, and another one is retried only after it", record: active + "make send queued make", last: waiting(role.RemoteQueue), after: func(f *Facts) {
				f.Step = role.Step{Do: role.Settle, At: now.Add(time.Hour), Why: role.RemoteQueue}
			}},
		}},
		{"State restart_required", []scene{
			{name: "one account", record: active + "make send restart", staged: true},
			{name: "the first password", record: "make send restart"},
			{name: "one server", record: active + "make send restart", parts: []string{"a"}},
			{name: "three servers", record: active + "make send restart", parts: three},
			{name: "three servers, one is confirmed", record: active + "make send restart confirmed-a", parts: three},
			{name: "twelve servers", record: active + "make send restart", parts: servers(12)},
			{name: "over one whose outcome was lost", record: active + "make send unknown another send restart"},
			{name: "another one waits to be sent", record: active + "make send restart make send busy", last: busy()},
			{name: "one of three servers did not take it", record: active + "make send on-ab busy", parts: three, last: partsFailed(provider.Busy, "c")},
			{name: "the first password, one of three servers did not take it", record: "make send on-ab busy", parts: three, last: partsFailed(provider.Busy, "c")},
			{name: "one of three servers did not take it, and why is not known", record: active + "make send on-ab busy", parts: three},
			{name: "one of three servers is still being asked", record: active + "59m30s make send on-ab", parts: three},
			{name: "eleven of twelve servers did not take it", record: active + "make send on-a busy", parts: append([]string{"a"}, servers(11)...), last: partsFailed(provider.Busy, servers(11)...)},
			{name: "one of three servers did not take it, and the role is disabled", record: active + "make send on-ab busy", parts: three, last: partsFailed(provider.Busy, "c"), options: disabled},
			{name: "two of three servers refused it", record: active + "make send on-a weak", parts: three, last: partsFailed(provider.Rejected, "b", "c")},
			{name: "two of three servers refused it, and another one waits", record: active + "make send on-a weak another", parts: three, last: waiting(role.Throttled), env: role.Env{ThrottledUntil: now.Add(20 * time.Minute)}},
		}},
		{"State uncertain", []scene{
			{name: "the outcome was lost", record: active + "make send unknown", last: unknown()},
			{name: "the outcome of the first password was lost", record: "make send unknown", last: unknown()},
			{name: "the first password was refused after its outcome was lost", record: "make send unknown send weak", last: weak()},
			{name: "it was lost three times", record: active + "make send unknown", last: unknown(), attempts: 3},
			{name: "it was lost two hours ago", record: active + "make send unknown", last: busy(), attempts: 1},
			{name: "that of the first password was lost three times", record: "make send unknown", last: unknown(), attempts: 3},
			{name: "it was lost three times, and the role is disabled", record: active + "make send unknown", last: unknown(), attempts: 3, options: disabled},
			{name: "it was lost three times, and the connection is paused", record: active + "make send unknown", last: unknown(), attempts: 3, pause: probed},
			{name: "the remote system confirmed it, and is still putting it in force", record: active + "59m make send slow", last: busy()},
			{name: "it has done so for long", record: active + "make send slow", last: busy()},
			{name: "it has done so for two hours", record: active + "make send slow", last: busy(), attempts: 1},
			{name: "it is still putting it in force, and the role is disabled", record: active + "59m make send slow", last: busy(), options: disabled},
			{name: "it is the password that was in force before", record: active + "same send unknown", last: unknown()},
			{name: "the process ended while it was sent", record: active + "make send"},
			{name: "it is being sent again", record: active + "make send unknown 59m30s send", last: unknown()},
			{name: "another one waits until the first cannot follow", record: active + "make send unknown another", last: unknown(), env: role.Env{Margin: 2 * time.Hour}},
			{name: "another one is being sent", record: active + "make send unknown 59m30s another send", last: unknown()},
			{name: "the role is disabled", record: active + "make send unknown", last: unknown(), options: disabled},
			{name: "too many outcomes were lost", record: active + strings.Repeat("make send unknown ", credential.MaxCandidates+1) + "given-up", last: unknown()},
			{
				name:   "too many outcomes were lost after the old password was refused",
				record: "adopted make present wrong " + strings.Repeat("make send unknown ", credential.MaxCandidates+1), modify: true, last: wrongOld(),
			},
			{
				name: "too many were lost, and none is open any more", record: active + strings.Repeat("make send unknown ", credential.MaxCandidates+1) + "given-up",
				due: late, after: overtaken,
			},
			{
				name:   "the old password was refused, and the one whose outcome was lost is presented next",
				record: "adopted 58m make present unknown present wrong another", modify: true, last: wrongOld(), env: role.Env{Margin: 2 * time.Minute},
			},
			{
				name: "too few attempts with an old password are left", record: "adopted make present unknown present few", modify: true,
				otherwise: "set rotation_method=reset on the role", last: wrongOld(),
			},
		}},
		{"State drifted", []scene{
			{name: "the old password was refused", record: "adopted make present wrong given-up", modify: true, last: wrongOld()},
			{name: "the same, where the password can be reset", record: "adopted make present wrong given-up", modify: true, last: wrongOld(), otherwise: "set rotation_method=reset on the role"},
			{name: "too few attempts are left for one whose outcome was lost", record: "adopted make present unknown another present few given-up", modify: true, last: wrongOld()},
			{name: "a change is due", record: "adopted make present wrong given-up", modify: true, due: late},
			{name: "the previous one is tried once the wrong ones are forgotten", record: "58m adopted make present applied make present unknown present wrong another present wrong", modify: true, last: wrongOld()},
		}},
	}
}

// circumstances are scenes of what keeps the engine from acting.
func circumstances() []act {
	return []act{
		{"A change is due and was not made", []scene{
			{name: "it waits for its turn", record: active, due: late},
			{name: "the last attempt failed", record: active, due: late, last: unreachable()},
			{name: "the remote system refuses everything", record: active, due: late, last: refusedByRemote()},
			{name: "it is being sent", record: active + "59m30s due send", due: late},
			{name: "it waits to be sent again", record: active + "due send busy", due: late, last: busy()},
			{name: "the next read makes it", record: active, due: late, options: onRead},
			{name: "the next read retries it", record: active, due: late, options: onRead, last: justNow(busy())},
			{name: "the role is disabled", record: active, due: late, options: disabled},
			{name: "its window was missed", record: active, due: -9 * time.Hour, options: nightly},
			{name: "its window was missed while it was waiting to be sent", record: active + "due send busy", due: -9 * time.Hour, options: nightly, last: busy()},
			{name: "no window ever opens", record: active, due: -9 * time.Hour, options: never},
			{name: "the last password is queued", record: active + "make send queued", due: late},
			{name: "the last password waits for a restart", record: active + "make send restart", due: late, parts: three},
			{name: "the connection is throttled", record: active, due: late, env: role.Env{ThrottledUntil: now.Add(20 * time.Minute)}},
			{name: "the credential is being checked", record: active, due: late, env: role.Env{CheckedAt: now.Add(5 * time.Second)}},
			{name: "an earlier request may still follow", record: "make send unknown confirmed", due: late, env: role.Env{Margin: 2 * time.Hour}},
			{name: "wrong old passwords have to be forgotten", record: "57m adopted make present busy present busy gone", due: late, modify: true},
			{name: "no windows, and the last attempt failed", record: active, due: -9 * time.Hour, options: never, last: justNow(busy())},
		}},
		{"The connection does not allow the role", []scene{
			{name: "nothing is due", record: active, notAllowed: errRole},
			{name: "a change is due", record: active, due: late, notAllowed: errRole, stuck: noConnection},
			{name: "its target is not allowed", record: active, due: late, notAllowed: errTarget},
			{name: "an outcome is open", record: active + "make send unknown", last: unknown(), notAllowed: errRole},
			{name: "the password waits for a restart", record: active + "make send restart", notAllowed: errRole},
			{name: "the connection is paused too", record: active, notAllowed: errRole, pause: probed},
		}},
		{"Work on the role fails", []scene{
			{name: "storage fails, and a change is due", record: active, due: late, stuck: storageFails},
			{name: "storage fails, and an outcome is open", record: active + "make send unknown", last: unknown(), stuck: storageFails},
			{name: "the mount's storage fails, and nothing is due", record: active, due: 10 * time.Minute, stuck: mountFails},
			{name: "the connection is gone", record: active, due: late, stuck: noConnection},
		}},
		{"The mount is frozen", []scene{
			{name: "for an hour, and nothing is due", record: active, due: 10 * time.Minute, freeze: release},
			{name: "for an hour, and nothing will be due before", record: active, due: 2 * time.Hour, freeze: release},
			{name: "for an hour, and a change is due", record: active, due: late, freeze: release},
			{name: "for an hour, and a retry waits", record: active + "make send busy", last: busy(), freeze: release},
			{name: "not known yet whether it is, and a change is due", record: active, due: late, env: role.Env{Frozen: true}},
			{name: "not known yet whether it is, and a retry waits", record: active + "make send busy", last: busy(), env: role.Env{Frozen: true}},
			{name: "until an operator ends it, and a change is due", record: active, due: late, freeze: copied},
			{name: "until an operator ends it, and a retry waits", record: active + "make send busy", last: busy(), freeze: copied},
			{name: "until an operator ends it, and an outcome is open", record: active + "make send unknown", last: unknown(), freeze: copied},
			{name: "for an hour, and an outcome is open", record: active + "make send unknown", last: unknown(), freeze: release},
			{name: "until an operator ends it, and the remote system cannot be reached", record: active + "make send busy", last: unreachable(), freeze: copied},
			{name: "until an operator ends it, and the password waits for a restart", record: active + "make send restart", freeze: copied, due: late},
			{name: "until an operator ends it, and one of three servers did not take it", record: active + "make send on-ab busy", parts: three, last: partsFailed(provider.Busy, "c"), freeze: copied},
		}},
		{"The connection is paused", []scene{
			{name: "with a probe", record: active, pause: probed},
			{name: "until an operator acts", record: active, pause: spent},
			{name: "a change is due", record: active, due: late, pause: probed},
			{name: "a change is due, and no probe is", record: active, due: late, pause: spent},
			{name: "the refusal was this role's", record: active + "make send busy", last: justNow(denied()), pause: probed},
			{name: "the refusal was this role's, and no probe is due", record: active + "make send busy", last: justNow(denied()), pause: spent},
			{name: "an outcome is open", record: active + "make send unknown", last: unknown(), pause: probed},
			{name: "the password waits for a restart", record: active + "make send restart", pause: spent},
			{name: "one of three servers did not take the password", record: active + "make send on-ab busy", parts: three, last: partsFailed(provider.Busy, "c"), pause: spent},
			{name: "the mount is frozen too", record: active + "make send busy", last: denied(), pause: probed, freeze: copied},
		}},
	}
}

// overtaken settles the outcome of all candidates, which stay in the record.
func overtaken(f *Facts) {
	rec := &f.Role.Record
	for i := range rec.Candidates {
		rec.Candidates[i].Overtaken = true
	}
	f.View, f.Step, f.Unsettled = rec.View(now), f.Role.Next(now, role.Env{}), f.Role.Unsettled(now, role.Env{})
}
