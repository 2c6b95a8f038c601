package dcs

import (
	"net/http"
	"strconv"
	"time"

	"vault-plugin-secrets-hosting/bootstrap/simulator/huaweicloud"
	"vault-plugin-secrets-hosting/bootstrap/simulator/lab"
)

const (
	strikes  = 5
	lockTime = 5 * time.Minute
)

// execute runs the operation of a request.
func (s *Service) execute(request *http.Request, r route) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if r.operation == "instances" {
		return s.list(request, r.projectID)
	}
	i := s.instance(r.instanceID)
	if i == nil || i.ProjectID != r.projectID {
		return refuse(http.StatusNotFound, "DCS.3022", "The DCS instance does not exist.")
	}
	switch r.operation {
	case "instance":
		return answer{response: huaweicloud.JSON(http.StatusOK, i.describe()), result: "ok"}
	case "accounts":
		return answer{response: huaweicloud.JSON(http.StatusOK, map[string]any{"accounts": i.describeAccounts()}), result: "ok"}
	case webCLIAuth:
		return s.enterWebCLI(i, r.login)
	case webCLILogout:
		return s.leaveWebCLI(i, r.logout)
	}
	a := i.account(r.account)
	if refusal := s.changeable(i, a); refusal != nil {
		return *refusal
	}
	if r.operation == "reset" {
		return s.reset(request, a, r.request)
	}
	return s.modify(request, a, r.request)
}

// list implements ListInstances. The limit is 1 to 1000, 10 by default.
func (s *Service) list(request *http.Request, projectID string) answer {
	query := request.URL.Query()
	number := func(name string, fallback, least, most int) (int, bool) {
		if !query.Has(name) {
			return fallback, true
		}
		n, err := strconv.Atoi(query.Get(name))
		return n, err == nil && n >= least && n <= most
	}
	limit, limitOK := number("limit", 10, 1, 1000)
	offset, offsetOK := number("offset", 0, 0, 1<<31-1)
	if !limitOK || !offsetOK {
		return refuse(http.StatusBadRequest, "DCS.4023", "Invalid query parameter.")
	}
	all := []map[string]any{}
	for _, i := range s.instances {
		if i.ProjectID == projectID {
			all = append(all, i.describe())
		}
	}
	offset = min(offset, len(all))
	page := all[offset:min(offset+limit, len(all))]
	return answer{response: huaweicloud.JSON(http.StatusOK, map[string]any{"instances": page, "instance_num": len(all)}), result: "ok"}
}

func (i *instance) describe() map[string]any {
	return map[string]any{
		"instance_id": i.ID, "name": i.Name, "engine": "Redis", "engine_version": i.EngineVersion, "status": i.Status, "sub_status": "NORMAL",
		"no_password_access": strconv.FormatBool(i.NoPassword), "ip": i.host, "port": i.port, "domain_name": nil,
		"enable_ssl": i.SSL, "cache_mode": "ha", "capacity": 1, "access_user": nil,
	}
}

func (i *instance) describeAccounts() []map[string]any {
	accounts := []map[string]any{}
	for _, a := range i.accounts {
		accounts = append(accounts, map[string]any{
			"account_id": a.ID, "account_name": a.Name, "account_type": a.Type, "instance_id": i.ID, "status": a.status(),
			"account_role": a.Role, "description": "", "error_code": nil,
		})
	}
	return accounts
}

// changeable refuses a change that the state of the instance or account forbids.
// Assumed: the codes for the account, and that the default account is refused
// (its password is the instance's, which has its own operations).
func (s *Service) changeable(i *instance, a *account) *answer {
	refusal := func(status int, code, message string) *answer {
		r := refuse(status, code, message)
		return &r
	}
	switch {
	case a == nil && s.switches.unknownAccount == "400":
		return refusal(http.StatusBadRequest, "DCS.4961", "Acl account request param invalid.")
	case a == nil:
		return refusal(http.StatusNotFound, "DCS.3022", "The ACL account does not exist.")
	case a.Type == "default":
		return refusal(http.StatusBadRequest, "DCS.4961", "Acl account request param invalid.")
	case i.Status != "RUNNING":
		return refusal(http.StatusBadRequest, "DCS.4049", "The DCS instance is not running.")
	case i.NoPassword:
		return refusal(http.StatusBadRequest, "DCS.4850", "The operation is not supported with password-free access.")
	}
	switch a.status() {
	case "AVAILABLE":
		return nil
	case "UPDATING":
		return refusal(http.StatusBadRequest, "DCS.4115", "The password is being changed.")
	}
	return refusal(http.StatusBadRequest, "DCS.4961", "Acl account request param invalid.")
}

// refusePassword returns the refusal of a new password.
func (s *Service) refusePassword(r *passwordRequest) answer {
	message := "Acl account request param invalid."
	if s.switches.refusalCode == "DCS.4019" {
		message = "The password does not meet the complexity requirements."
	}
	if s.switches.echo && r != nil && r.New != nil {
		message += " new_password=" + *r.New
	}
	return refuse(http.StatusBadRequest, s.switches.refusalCode, message)
}

// modify changes a password with the old one. It checks the new password first,
// so that a refused one does not count as a failure.
func (s *Service) modify(request *http.Request, a *account, r *passwordRequest) answer {
	if r.New == nil || !acceptable(a.Name, *r.New) {
		return s.refusePassword(r)
	}
	if r.Old == nil && s.switches.missingOld == "refuse" {
		return refuse(http.StatusBadRequest, "DCS.4961", "Acl account request param invalid.")
	}
	now := s.lab.Clock.Now()
	if left := a.lockedUntil.Sub(now); left > 0 {
		return s.locked(left)
	}
	if r.Old == nil || !lab.Same(a.Password, *r.Old) {
		return s.wrongOld(a, now)
	}
	if s.switches.samePassword == "refuse" && *r.Old == *r.New {
		return s.refusePassword(r)
	}
	if err := s.change(request, a, *r.New); err != nil {
		return refuse(http.StatusInternalServerError, "DCS.5000", "Internal service error.")
	}
	a.failed = 0
	done := s.result(s.switches.result, "Modify DCSInstance password success.", "0", "0", strconv.Itoa(strikes))
	done.applied = s.applies()
	return done
}

// strike counts a wrong password and returns how many more are allowed. The fifth
// in a row locks the account.
func (a *account) strike(now time.Time) (left int) {
	a.failed++
	left = strikes - a.failed
	if left <= 0 {
		a.failed = 0
		a.locks++
		a.lockedUntil = now.Add(lockTime)
	}
	return left
}

// wrongOld counts and refuses a wrong old password.
func (s *Service) wrongOld(a *account, now time.Time) answer {
	left := a.strike(now)
	if left <= 0 && s.switches.fifthFailure == "locked" {
		return s.locked(lockTime)
	}
	if s.switches.wrongOld == "DCS.4080" {
		return refuse(http.StatusBadRequest, "DCS.4080", "Password verification failed.")
	}
	if left <= 0 {
		total := s.units(lockTime)
		return s.result("passwordFailed", "The account is locked.", total, total, "0")
	}
	return s.result("passwordFailed", "The old password is incorrect.", "0", "0", strconv.Itoa(left))
}

func (s *Service) locked(left time.Duration) answer {
	return s.result("locked", "The account is locked.", s.units(lockTime), s.units(left), "0")
}

// units formats a duration for the lock fields. Assumed: minutes, rounded up.
func (s *Service) units(d time.Duration) string {
	unit := time.Minute
	if s.switches.lockUnit == "seconds" {
		unit = time.Second
	}
	return strconv.Itoa(int((d + unit - 1) / unit))
}

// result builds the answer of modify, with the lock fields in the format of the
// switch shape. According to the documentation, all fields are strings.
func (s *Service) result(result, message, lockTime, lockTimeLeft, retryLeft string) answer {
	fields := map[string]any{"result": result, "message": message}
	for name, value := range s.lockFields(lockTime, lockTimeLeft, retryLeft) {
		fields[name] = value
	}
	if s.switches.shape == "null" {
		fields["message"] = nil
	}
	return answer{response: huaweicloud.JSON(http.StatusOK, fields), result: result}
}

func (s *Service) lockFields(lockTime, lockTimeLeft, retryLeft string) map[string]any {
	fields := map[string]any{}
	for name, value := range map[string]string{"lock_time": lockTime, "lock_time_left": lockTimeLeft, "retry_times_left": retryLeft} {
		switch s.switches.shape {
		case "null":
			fields[name] = nil
		case "numbers":
			n, err := strconv.Atoi(value)
			if err == nil {
				fields[name] = n
			}
		case "normal":
			fields[name] = value
		}
	}
	return fields
}

// reset sets a password without the old one. The answer has no result field.
// Assumed: the value of code.
func (s *Service) reset(request *http.Request, a *account, r *passwordRequest) answer {
	if r.New == nil || !acceptable(a.Name, *r.New) {
		return s.refusePassword(r)
	}
	now := s.lab.Clock.Now()
	if left := a.lockedUntil.Sub(now); left > 0 && s.switches.resetWhileLocked == "refuse" {
		return refuse(http.StatusBadRequest, "DCS.4115", "The account is locked.")
	}
	if err := s.change(request, a, *r.New); err != nil {
		return refuse(http.StatusInternalServerError, "DCS.5000", "Internal service error.")
	}
	if !s.switches.resetKeepsCount {
		a.failed, a.lockedUntil = 0, time.Time{}
	}
	fields := s.lockFields("0", "0", strconv.Itoa(strikes))
	fields["code"], fields["message"] = "200", "Reset DCSInstance password success."
	return answer{response: huaweicloud.JSON(http.StatusOK, fields), result: "ok", applied: s.applies()}
}
