package dcs

import (
	"encoding/json"

	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

type switches struct {
	unknownAccount   string
	refusalCode      string
	fifthFailure     string
	missingOld       string
	wrongOld         string
	samePassword     string
	resetWhileLocked string
	resetKeepsCount  bool
	busyCode         string
	settleMS         int
	settleResult     string
	lockUnit         string
	shape            string
	result           string
	twoArguments     bool
	webCLI           string
	webCLIRefusal    string
	webCLICounts     bool
	echo             bool
}

// defaults are the switches of a new service.
var defaults = switches{
	unknownAccount: "404", refusalCode: "DCS.4961", fifthFailure: "passwordFailed", missingOld: "refuse", wrongOld: "result",
	samePassword: "refuse", resetWhileLocked: "allow", busyCode: "DCS.4115", settleResult: "new", lockUnit: "minutes", shape: "normal",
	result: "success", webCLI: "name", webCLIRefusal: "DCS.4080",
}

// Switches implements [lab.System]. The lock must be held to set one.
//
//	unknown_account     404 (default) or 400: status for an unknown account
//	refusal_code        DCS.4961 (default) or DCS.4019: code for a refused new password
//	fifth_failure       passwordFailed (default) or locked: result for the wrong old password that locks the account
//	missing_old         refuse (default) or passwordFailed: answer to a modify without old_password
//	wrong_old           result (default) or DCS.4080: how a wrong old password is reported
//	same_password       refuse (default) or accept: a modify whose new password equals the old one
//	reset_while_locked  allow (default) or refuse
//	reset_keeps_count   true: a reset does not clear the failure count and the lock
//	busy_code           code of the fault "busy", one of those that mean it (default DCS.4115)
//	settle_ms           how long an account stays UPDATING after the answer to a change, with the previous password (default 0); 0 also
//	                    completes the changes in progress
//	settle_result       new (default) or error: the new password takes effect, or the previous one stays and the status is ERROR
//	lock_unit           minutes (default) or seconds: unit of lock_time and lock_time_left
//	shape               normal (default), null, absent or numbers: format of the lock fields in an answer
//	result              value of result for a successful modify (default success)
//	two_argument_auth   true: AUTH name password works too (default false)
//	webcli_login        name (default) or default: the Web CLI takes name:password too, or only the password of the default account
//	webcli_refusal      DCS.4080 (default), 401, 403 or 500: how the Web CLI refuses a wrong password; the others with that status
//	webcli_counts       true: a wrong password at the Web CLI counts towards the lock of the account (default false)
//	echo_password       true: error messages quote the password
//	instance_status     RUNNING, …: status of all instances
//	account_status      AVAILABLE, …: status of all normal accounts
//	no_password_access  true: all instances allow access without a password
func (s *Service) Switches() lab.Settings {
	w := &s.switches
	return lab.Settings{
		"unknown_account":    lab.Choice(&w.unknownAccount, "404", "400"),
		"refusal_code":       lab.Choice(&w.refusalCode, "DCS.4961", "DCS.4019"),
		"fifth_failure":      lab.Choice(&w.fifthFailure, "passwordFailed", "locked"),
		"missing_old":        lab.Choice(&w.missingOld, "refuse", "passwordFailed"),
		"wrong_old":          lab.Choice(&w.wrongOld, "result", "DCS.4080"),
		"same_password":      lab.Choice(&w.samePassword, "refuse", "accept"),
		"reset_while_locked": lab.Choice(&w.resetWhileLocked, "allow", "refuse"),
		"reset_keeps_count":  lab.Flag(&w.resetKeepsCount),
		"busy_code":          lab.Choice(&w.busyCode, busyCodes...),
		"settle_ms":          {Values: "N", Set: s.setSettle},
		"settle_result":      lab.Choice(&w.settleResult, "new", "error"),
		"lock_unit":          lab.Choice(&w.lockUnit, "minutes", "seconds"),
		"shape":              lab.Choice(&w.shape, "normal", "null", "absent", "numbers"),
		"result":             lab.Text(&w.result),
		"two_argument_auth":  lab.Flag(&w.twoArguments),
		"webcli_login":       lab.Choice(&w.webCLI, "name", "default"),
		"webcli_refusal":     lab.Choice(&w.webCLIRefusal, "DCS.4080", "401", "403", "500"),
		"webcli_counts":      lab.Flag(&w.webCLICounts),
		"echo_password":      lab.Flag(&w.echo),
		"instance_status": {Values: "STATUS", Set: func(raw json.RawMessage) error {
			return s.each(raw, func(i *instance, status string) { i.Status = status })
		}},
		"account_status": {Values: "STATUS", Set: func(raw json.RawMessage) error {
			return s.each(raw, func(i *instance, status string) {
				for _, a := range i.accounts {
					if a.Type == "normal" {
						a.Status = status
					}
				}
			})
		}},
		"no_password_access": {Values: "true|false", Set: func(raw json.RawMessage) error {
			var yes bool
			if err := lab.Flag(&yes).Set(raw); err != nil {
				return err
			}
			for _, i := range s.instances {
				i.NoPassword = yes
			}
			return nil
		}},
	}
}

// Switch implements [lab.System].
func (s *Service) Switch(name string, value json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.Switches().Set(name, value)
}

func (s *Service) each(raw json.RawMessage, set func(*instance, string)) error {
	var status string
	if err := lab.Text(&status).Set(raw); err != nil {
		return err
	}
	for _, i := range s.instances {
		set(i, status)
	}
	return nil
}
