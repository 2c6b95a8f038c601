package dcs

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// maxLock bounds what an answer can say about a lock: three times the documented five minutes.
const maxLock = 15 * time.Minute

const mismatchReason = "the remote system says that the present password is wrong; somebody else may have changed it (five wrong ones lock the account for five minutes)"

// modifyOutcome completes the result of an answer 200 to modify. The status says nothing: wrong passwords and locks come
// with 200 too, and only the field "result" tells. Some editions of the documents write its values in capitals.
func modifyOutcome(response *transport.Response, result provider.Result) provider.Result {
	object, ok := huaweicloud.ParseObject(response.Body)
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		return result
	}
	verdict := strings.ToLower(object.Text("result"))
	switch verdict {
	case "success":
		result.Outcome = provider.Applied
		// The old password was checked, so whatever was sent before has come into force, or will be refused.
		result.Exclusive = true
		result.Code = ""
		result.Reason = "the remote system confirmed the new password"
	case "passwordfailed":
		result.Outcome = provider.Mismatch
		result.Code = "passwordFailed"
		result.Reason = mismatchReason
		result.TriesLeft = triesLeft(object)
		if left, ok := lockLeft(object); ok && left > 0 {
			result.RetryAfter = bounded(left)
		}
	case "locked":
		result.Outcome = provider.Busy
		result.Code = "locked"
		result.Reason = "the account is locked after too many wrong passwords; it will be tried again when the lock ends"
		result.TriesLeft = triesLeft(object)
		result.RetryAfter = lockWindow
		if left, ok := lockLeft(object); ok {
			result.RetryAfter = bounded(left)
		}
	case "failed":
		// That nothing was changed is not documented.
		result.Code = "failed"
		result.Reason = "the remote system says that the change failed, but not that the old password is still in force"
	default:
		result.Reason = "the answer has no result of the change; it may have been carried out"
	}
	return result
}

// resetOutcome completes the result of an answer 200 to reset, which has no field "result". It has a field "code"
// whose value for success is not documented; that an answer without error_code is a success is an assumption.
func resetOutcome(response *transport.Response, result provider.Result) provider.Result {
	object, ok := huaweicloud.ParseObject(response.Body)
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		return result
	}
	switch strings.ToLower(object.Text("result")) {
	case "", "success":
		if strings.HasPrefix(strings.ToUpper(object.Text("code")), "DCS.") {
			// The code of an error where that of a success belongs.
			return result
		}
		result.Outcome = provider.Applied
		result.Code = ""
		result.Reason = "the remote system confirmed the new password"
		return result
	case "locked":
		return modifyOutcome(response, result)
	default:
		result.Reason = "the answer has a result that is not one of reset; the change may have been carried out"
		return result
	}
}

// changeRefusal tells more of the refusal of a change by the codes of DCS:
// https://github.com/opentelekomcloud-docs/distributed-cache-service (the same API at another operator), and
// https://support.huaweicloud.com/intl/en-us/api-dcs/UpdateAclAccountPassWord.html for DCS.4961, which it says of any
// parameter of the request. The others were checked before, so that it is taken for the password.
func changeRefusal(result provider.Result, response *transport.Response) provider.Result {
	result = refusal(result, response)
	if result.Outcome != provider.Rejected || response.Status != http.StatusBadRequest {
		return result
	}
	switch result.Code {
	case "DCS.4019", "DCS.4961", "DCS.4845":
		result.Scope = provider.ScopePassword
		result.Reason = "the remote system refused the password, or a parameter of the request"
	case "DCS.4080":
		result.Outcome = provider.Mismatch
		result.Reason = mismatchReason
	}
	return result
}

// refusal tells more of the refusal of any call by the codes of DCS.
func refusal(result provider.Result, response *transport.Response) provider.Result {
	if response.Status != http.StatusBadRequest || huaweicloud.ParseEnvelope(response).Prefix() != "DCS" {
		return result
	}
	result.Outcome = provider.Rejected
	switch result.Code {
	case "DCS.4017", "DCS.4049", "DCS.4104", "DCS.4115":
		result.Outcome = provider.Busy
		result.Reason = "the instance does not run, or is busy with something else; it will be tried again later"
	case "DCS.4850":
		result.Reason = "the instance is accessed without passwords, so its accounts have none; switch password-free access off"
	default:
		result.Reason = "the remote system did not take the request; see the code, and the IDs and the status of the instance"
	}
	return result
}

// lockLeft is how long the account stays locked. The unit is not documented; the one sample that has a value reads
// "5", so minutes are assumed: https://support.huaweicloud.com/intl/en-us/tr-central-201-api-dcs/dcs-api-0312019.html
func lockLeft(object huaweicloud.Object) (time.Duration, bool) {
	minutes, err := strconv.ParseInt(strings.TrimSpace(object.Text("lock_time_left")), 10, 64)
	// What is out of range is the greatest number, which is bounded below.
	if (err != nil && !errors.Is(err, strconv.ErrRange)) || minutes < 0 {
		return 0, false
	}
	return time.Duration(min(minutes, int64(maxLock/time.Minute))) * time.Minute, true
}

func bounded(left time.Duration) time.Duration { return min(max(left, time.Minute), maxLock) }

// maxTries is more than any answer says that means what it should: documented are five.
const maxTries = 100

// triesLeft is how many more wrong passwords are taken; nil if the answer does not say.
func triesLeft(object huaweicloud.Object) *int {
	tries, err := strconv.Atoi(strings.TrimSpace(object.Text("retry_times_left")))
	if err != nil || tries < 0 || tries > maxTries {
		return nil
	}
	return &tries
}
