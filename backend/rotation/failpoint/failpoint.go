// Package failpoint stops the engine between two steps, so that a test can end its process there.
//
// A stop is compiled in with the build tag "failpoints" only. Without it [Reach] is empty, and neither the names of the
// stops nor that of the variable are in the binary.
//
// With the tag, the environment variable [Variable] names a folder. A file in it that has the name of a role and holds
// the name of a stop makes that role stop there, once: the file ROLE[Mark] appears, and the role goes on when the first
// file is removed. A process that is started anew does not stop at a mark that is there already.
package failpoint

// Variable is the environment variable that names the folder.
const Variable = "HOSTING_FAILPOINTS"

// Mark is what the name of a file ends with that says that a role has stopped.
const Mark = ".stopped"

// Where a role stops, in the order in which a change comes by.
const (
	// BeforeReserved: a new role is checked, nothing is stored.
	BeforeReserved = "failpoint before the target is reserved"
	// Reserved: the target's index entries are stored, the role is not.
	Reserved = "failpoint target reserved"
	// BeforeSending: the new password is made, and not stored as being sent.
	BeforeSending = "failpoint before sending is stored"
	// Sending: it is stored, and no request was made.
	Sending = "failpoint sending stored"
	// BeforeOutcome: the answer is there, its meaning is not stored.
	BeforeOutcome = "failpoint before the outcome is stored"
	// Outcome: it is.
	Outcome = "failpoint outcome stored"
	// BeforeWait: the change has to wait for something, which is not stored.
	BeforeWait = "failpoint before the wait is stored"
	// Wait: it is.
	Wait = "failpoint wait stored"
	// BeforeSettled: a queued password counts as in force, which is not stored.
	BeforeSettled = "failpoint before the settling is stored"
	// Settled: it is.
	Settled = "failpoint settling stored"
	// BeforeWord: a person's word about a password is taken, and not stored.
	BeforeWord = "failpoint before the word is stored"
	// Word: it is.
	Word = "failpoint word stored"
)

// All are the names of all stops.
func All() []string {
	return []string{BeforeReserved, Reserved, BeforeSending, Sending, BeforeOutcome, Outcome, BeforeWait, Wait, BeforeSettled, Settled, BeforeWord, Word}
}
