// Package failpoint stops the engine between two steps, so that a test can kill its process there.
//
// Failpoints are compiled in only with the build tag "failpoints". Without it [Reach] does nothing, and the binary contains
// neither the names of the failpoints nor that of the variable.
//
// With the tag, the environment variable [Variable] names a directory. A file in it with the name of a role, containing the
// name of a failpoint, makes that role stop there once: the file ROLE[Mark] appears, and the role continues when the first
// file is removed. If ROLE[Mark] already exists, for example after the plugin process was restarted, the role does not
// stop.
package failpoint

// Variable is the environment variable that names the directory.
const Variable = "HOSTING_FAILPOINTS"

// Mark is the suffix of the file which shows that a role has stopped.
const Mark = ".stopped"

// The failpoints, in the order in which a change reaches them.
const (
	// BeforeReserved: a new role has been checked, and nothing is stored.
	BeforeReserved = "failpoint before the target is reserved"
	// Reserved: the target's index entries are stored, the role is not.
	Reserved = "failpoint target reserved"
	// BeforeSending: the new password has been generated, but not stored as being sent.
	BeforeSending = "failpoint before sending is stored"
	// Sending: the password is stored as being sent, and no request has been made.
	Sending = "failpoint sending stored"
	// BeforeOutcome: the answer has arrived, and its outcome is not stored.
	BeforeOutcome = "failpoint before the outcome is stored"
	// Outcome: the outcome is stored.
	Outcome = "failpoint outcome stored"
	// BeforeWait: the change has to wait, and that is not stored.
	BeforeWait = "failpoint before the wait is stored"
	// Wait: the wait is stored.
	Wait = "failpoint wait stored"
	// BeforeSettled: a queued password counts as in force, and that is not stored.
	BeforeSettled = "failpoint before the settling is stored"
	// Settled: it is stored that the password counts as in force.
	Settled = "failpoint settling stored"
	// BeforeRestart: the restart of a server is about to be stored and requested.
	BeforeRestart = "failpoint before the restart is stored"
	// Restart: it is stored, and not requested.
	Restart = "failpoint restart stored"
	// BeforeWord: an operator's confirmation was received, and is not stored.
	BeforeWord = "failpoint before the word is stored"
	// Word: the confirmation is stored.
	Word = "failpoint word stored"
)

// All returns the names of all failpoints.
func All() []string {
	return []string{BeforeReserved, Reserved, BeforeSending, Sending, BeforeOutcome, Outcome, BeforeWait, Wait, BeforeSettled, Settled, BeforeRestart, Restart, BeforeWord, Word}
}
