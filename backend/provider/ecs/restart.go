package ecs

import (
	"errors"
	"slices"
	"time"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/timing"
)

// Values of provider.Restart.Job. Elastic Cloud Server also uses the IDs of its jobs, which have no blank.
const (
	// jobTaken: CloudDC has taken the request.
	jobTaken = "taken"
	// jobDown: the server has been seen down since the request.
	jobDown = "seen down"
)

// unseenReboot is how long after an accepted soft reboot a server that is on counts as restarted, although it was never seen
// down: CloudDC may report it as on and running throughout. A reboot that takes longer and is not seen counts too early. It is
// at most half of restart_timeout, so that there is time for a login.
const unseenReboot = 2 * time.Minute

// IAM actions that restarts need: https://support.huaweicloud.com/intl/en-us/api-clouddc/ShowServer.html,
// https://support.huaweicloud.com/intl/en-us/api-clouddc/ChangeServerPowerState.html and
// https://support.huaweicloud.com/intl/en-us/api-ecs/ecs_02_0302.html. None is documented for jobs.
const (
	actionList       = "clouddc:instance:list"
	actionShowServer = "clouddc:imetal:get"
	actionPower      = "clouddc:imetal:updatePowerStatus"
	actionGet        = "ecs:cloudServers:get (ecs:cloudServers:showServer in identity policies)"
	actionReboot     = "ecs:cloudServers:reboot"
	actionJob        = "to read jobs of Elastic Cloud Server"
)

// needing names the IAM action if the connection's user lacks the permission for a call.
func needing(action string, result provider.Result) provider.Result {
	if result.Outcome == provider.Denied && result.Scope == provider.ScopeTarget {
		result.Reason = "the connection's user lacks the permission " + action +
			": grant it in IAM; also check project_id, and that the account is not in arrears"
	}
	return result
}

// checkPart checks that a restart is valid for the target.
func checkPart(target provider.Target, restart provider.Restart) error {
	ids, err := serversOf(target.Settings)
	switch {
	case err != nil:
		return err
	case !slices.Contains(ids, restart.Part):
		return errors.New("the restart is for a server that the role does not name")
	case restart.Kind != provider.RestartSoft && restart.Kind != provider.RestartHard:
		return errors.New("the restart is neither soft nor hard")
	default:
		return nil
	}
}

// mayRestart checks that a restart is valid and allowed. Only requests are checked: a server that was turned off must be
// turned on again even if restarts are no longer allowed.
func (c *client) mayRestart(target provider.Target, restart provider.Restart) error {
	if !c.allowRestart {
		return errors.New("the connection does not allow restarts: set allow_restart=true on the connection, or restart=none on the role")
	}
	return checkPart(target, restart)
}

// notRequested returns the result of a restart that was not requested because of the result of looking up the server.
func (c *client) notRequested(result provider.Result) provider.Result {
	return c.api.Unsent(result, provider.ScopeConnection,
		"the server could not be looked up, so it was not restarted; check url, any proxy, and the remote system")
}

// because changes what a readable response proves.
func because(result provider.Result, outcome provider.Outcome, reason string) provider.Result {
	result.Outcome, result.Scope, result.Code, result.Reason = outcome, provider.ScopeTarget, "", reason
	return result
}

// passed reports whether a soft reboot that was accepted and never seen has had its time.
func (c *client) passed(target provider.Target, since time.Time) bool {
	wait := unseenReboot
	if target.RestartTimeout > 0 {
		wait = min(wait, timing.Seconds(target.RestartTimeout)/2)
	}
	return c.now().Sub(since) >= timing.Scaled(wait)
}
