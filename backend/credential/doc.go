// Package credential holds every password that an account may have, and the rules by which they change.
//
// A [Record] is everything the engine knows about the passwords of one account on a remote system:
//
//   - Current is in force, as far as the engine knows.
//   - Next is being set. There is at most one.
//   - Candidates were sent, were replaced as Next, and may still be valid.
//   - Previous and History were in force before, or are candidates that have been settled.
//
// [Record.View] derives from it what a reader of the role is told.
//
// The functions of this package are pure. A transition takes a record and an event and returns the record that follows.
// It does no I/O and reads no clock, so a test can apply every event to every state. The caller (package rotation) sends
// the requests, writes the storage entry and keeps the time.
//
// # Terms
//
//   - exposed: a request with the password may have been applied, so the remote system may hold it. See [Next.Exposed].
//   - open: the outcome is unknown. The password may be in force now or come into force later.
//   - settled: no longer open, because of an answer, a login, an operator or elapsed time.
//   - staged: the remote system has taken the password but has not put it in force yet. It is either queued
//     ([Accepted]) or waiting for a restart ([RestartRequired]).
//   - overtaken: a password that was sent later has come into force, or waits for the same restart.
//   - proved: a login with the password has worked. Refused: a login with it, or a change that presented it, was refused.
//   - late: a request whose deadline has passed, which may still be carried out until a margin after it.
//   - part: one of several servers that share the account. Each may take a password or refuse it on its own.
//
// # How a password is changed
//
//  1. [Record.Make] puts a new password in place as Next, unsent. Store the record.
//  2. [Record.Send], or [Record.SendWithOld] where the remote system asks for the present password, marks Next as being
//     sent. Store the record, then send the request.
//  3. Apply what the answer proves about this one request, and store the record:
//     [Record.Applied] if the password is in force, or [Record.Reported] if a login is to show it first;
//     [Record.Staged] if the remote system puts it in force later;
//     [Record.TakenByParts] if only some parts have taken it, followed by what happened to the others;
//     [Record.NotApplied] if the request changed nothing;
//     [Record.PasswordRefused] if it changed nothing and this password will not be accepted;
//     [Record.TargetRefused] if it changed nothing and no other password would be accepted either;
//     [Record.OldRefused] if it changed nothing because the old password it presented is wrong;
//     [Record.Unresolved] if the request may have been applied, or still may be.
//  4. A staged password comes into force by [Record.RestartedOn] (restarts), [Record.SettleByTime] (the queue),
//     [Record.Proved] (a login) or [Record.Confirm] (an operator).
//
// # What a login shows
//
// A login that works shows what is in force now: [Record.Proved], or [Record.ProvedOn] for some parts. That settles what was
// sent before. It does not settle a password that can still come into force: one that is staged and was sent later, or whose
// request may be late. While there is one, the proved password is assumed, not active. A password that was sent later and
// whose outcome nobody has seen moves to the history, where it stays open.
//
// A login that is refused shows less: [Record.LoginRefused]. The password in force is then handed out only if there is no
// other. A password that may still come into force stays as it is.
//
// An unknown outcome is resolved by sending the same Next again. Before a different password is sent, wait until
// [Record.SendNotBefore] plus a margin: a late request would otherwise replace it.
//
// # What a crash leaves
//
//   - Before step 1 is stored: the record as it was.
//   - Between steps 1 and 2: a Next that was never sent. It is sent, or dropped without a trace.
//   - Between steps 2 and 3, whether or not the request left and was answered: a Next in phase [Sending]. Once its
//     deadline has passed, readers see it as uncertain. The next Send treats the interrupted request as unresolved.
//
// In each case, every password that may be valid is in storage.
//
// # What is never done
//
//   - A password that was sent and whose outcome is open is never dropped. It stays Next, or becomes a candidate when
//     another password replaces it. [Candidate] lists what settles a candidate.
//   - A negative answer never settles an earlier request. A refusal, or "busy", applies only to the request it answers.
//   - A version that was in force, or may have been, is never given to another password.
//   - A new password that the remote system has refused is never handed out.
//   - A login never settles a password that can still come into force.
//   - A statement by an operator never sends anything, and never undoes what the remote system may do later.
package credential
