package dcs

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// maxLock limits the lock time that a response can report: three times the documented five minutes.
const maxLock = 15 * time.Minute

const mismatchReason = "the remote system reports that the current password is wrong; it may have been changed outside Vault (five wrong passwords lock the account for five minutes)"

const passwordFreeReason = "the instance uses password-free access, so its accounts have no passwords; disable password-free access"

// modifyOutcome completes the result of a 200 response to modify. The status proves nothing: wrong passwords and locks
// also return 200, and only the field "result" tells them apart. Some editions of the documentation capitalize its
// values.
func modifyOutcome(response *transport.Response, result provider.Result) provider.Result {
	object, ok := huaweicloud.ParseObject(response.Body)
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		return result
	}
	verdict := strings.ToLower(object.Text("result"))
	switch verdict {
	case "success":
		result.Outcome = provider.Applied
		// The old password was verified, so every earlier request has either taken effect or will be refused.
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
		result.Reason = "the account is locked after too many wrong passwords; the request will be retried when the lock ends"
		result.TriesLeft = triesLeft(object)
		result.RetryAfter = lockWindow
		if left, ok := lockLeft(object); ok {
			result.RetryAfter = bounded(left)
		}
	case "failed":
		// It is not documented that nothing was changed.
		result.Code = "failed"
		result.Reason = "the remote system reports that the change failed, but not that the old password is still in force"
	default:
		result.Reason = "the response has no result of the change; it may have been carried out"
	}
	return result
}

// resetOutcome completes the result of a 200 response to reset, which has no field "result". It has a field "code"
// for success, whose value is not documented: any that is not an error code of the service is one.
func resetOutcome(response *transport.Response, result provider.Result) provider.Result {
	object, ok := huaweicloud.ParseObject(response.Body)
	if !ok || huaweicloud.ParseEnvelope(response).Error {
		return result
	}
	switch strings.ToLower(object.Text("result")) {
	case "", "success":
		if errorCodes.MatchString(object.Text("code")) {
			return result
		}
		result.Outcome = provider.Applied
		result.Code = ""
		result.Reason = "the remote system confirmed the new password"
		return result
	case "locked":
		return modifyOutcome(response, result)
	default:
		result.Reason = "the response has an unexpected result for a reset; the change may have been carried out"
		return result
	}
}

// errorCodes matches the codes of the error table: four digits from 1001.
var errorCodes = regexp.MustCompile(`^(?i:DCS)\.[1-9][0-9]{3}$`)

// busyCodes mean that the service did nothing because something else is going on: a backup or restore, a restart, a
// resize, an upgrade, another change of a password, a purchase, or a recovery. Huawei's own Terraform provider retries
// after them: https://github.com/huaweicloud/terraform-provider-huaweicloud
var busyCodes = []string{
	"DCS.4017", "DCS.4026", "DCS.4049", "DCS.4096", "DCS.4097", "DCS.4104", "DCS.4111", "DCS.4113", "DCS.4114", "DCS.4115",
	"DCS.4116", "DCS.4117", "DCS.4118", "DCS.4120", "DCS.4121", "DCS.4231", "DCS.4975", "CBC.99003651",
}

// changeRefusal refines the refusal of a change by DCS error code:
// https://github.com/opentelekomcloud-docs/distributed-cache-service (the same API of another operator), and
// https://support.huaweicloud.com/intl/en-us/api-dcs/UpdateAclAccountPassWord.html for DCS.4961, which may refer to any
// parameter. The others were validated before, so it is assumed to refer to the password.
func changeRefusal(response *transport.Response, result provider.Result) provider.Result {
	result = refusal(response, result)
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

// refusal refines the refusal of any call by DCS error code.
func refusal(response *transport.Response, result provider.Result) provider.Result {
	switch {
	case response.Status != http.StatusBadRequest:
	case slices.Contains(busyCodes, result.Code):
		result.Outcome = provider.Busy
		result.Reason = "the instance is not running, or is busy with another operation"
	case huaweicloud.ParseEnvelope(response).Prefix() != "DCS":
	case result.Code == "DCS.4850":
		result.Outcome = provider.Rejected
		result.Reason = passwordFreeReason
	default:
		result.Outcome = provider.Rejected
		result.Reason = "the remote system rejected the request; check the code, the IDs, and the status of the instance"
	}
	return result
}

// lockLeft returns how long the account stays locked. The unit is not documented; the only sample with a value shows
// "5", so minutes are assumed: https://support.huaweicloud.com/intl/en-us/tr-central-201-api-dcs/dcs-api-0312019.html
func lockLeft(object huaweicloud.Object) (time.Duration, bool) {
	minutes, err := strconv.ParseInt(strings.TrimSpace(object.Text("lock_time_left")), 10, 64)
	// On ErrRange, minutes is the largest integer, which min limits below.
	if (err != nil && !errors.Is(err, strconv.ErrRange)) || minutes < 0 {
		return 0, false
	}
	return time.Duration(min(minutes, int64(maxLock/time.Minute))) * time.Minute, true
}

func bounded(left time.Duration) time.Duration { return min(max(left, time.Minute), maxLock) }

// maxTries is more than any plausible response reports: the documented maximum is five.
const maxTries = 100

// triesLeft returns how many more wrong passwords are accepted, or nil if the response does not say.
func triesLeft(object huaweicloud.Object) *int {
	tries, err := strconv.Atoi(strings.TrimSpace(object.Text("retry_times_left")))
	if err != nil || tries < 0 || tries > maxTries {
		return nil
	}
	return &tries
}
