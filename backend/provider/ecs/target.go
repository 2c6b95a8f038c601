package ecs

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
)

// Names of the target fields.
const (
	fieldInstanceIDs = "instance_ids"
	fieldUsername    = "username"
	fieldRestart     = "restart"
	fieldTimeout     = "restart_timeout"
)

// Values of username.
const (
	userLinux   = "root"
	userWindows = "Administrator"
)

// Default and bounds of restart_timeout, in seconds.
const (
	defaultTimeout = 600
	minTimeout     = 60
	maxTimeout     = 24 * 60 * 60
)

// maxServers is the maximum number of servers in a CloudDC call. Elastic Cloud Server accepts 1000, but no more should
// share a password.
const maxServers = 50

var serverIDs = regexp.MustCompile(`^[0-9a-zA-Z-]{1,64}$`)

// TargetFields returns the fields that identify the servers and their administrator, and how the servers are restarted.
func (Type) TargetFields() []provider.Field {
	restart := provider.TextField(fieldRestart, "Restart", "How the engine restarts the servers to bring a new password into force, "+
		"one after the other: soft (the operating system shuts down) or hard (the power is switched off and on). Both need "+
		"allow_restart=true on the connection. none: restart the servers yourself, then write confirm-role.").
		OneOf(provider.RestartNone, provider.RestartSoft, provider.RestartHard)
	restart.Mutable = true
	return []provider.Field{
		{Name: fieldInstanceIDs, Schema: &framework.FieldSchema{
			Type:     framework.TypeCommaStringSlice,
			Required: true,
			Description: fmt.Sprintf("IDs of the servers, at most %d, which all get the same password: IDs of CloudDC instances "+
				"(not of their physical servers), or of Elastic Cloud Server servers. One server per role is recommended.", maxServers),
			DisplayAttrs: &framework.DisplayAttributes{Name: "Server IDs"},
		}},
		provider.TextField(fieldUsername, "Administrator", "Administrator of the servers: root on Linux, Administrator on Windows. "+
			"The image of a server determines whose password is set; this field only sets the user name to log in with.").OneOf(userLinux, userWindows),
		restart,
		{Name: fieldTimeout, Mutable: true, Schema: &framework.FieldSchema{
			Type:         framework.TypeDurationSecond,
			Default:      defaultTimeout,
			Description:  "How long a server may take to be back after the engine has restarted it, between 60 seconds and 1 day. If it takes longer, the engine restarts no further servers of the role.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Restart timeout"},
		}},
	}
}

// Target validates the servers. Each identity contains the project ID, which is unique in a cloud, but neither the
// user name nor the service: a server has one administrator, and both services use UUIDs. Identities are in lower case,
// because it is not documented whether the services compare IDs case-sensitively.
func (Type) Target(connection provider.Connection, settings provider.Settings) (provider.Target, error) {
	ids, err := serversOf(settings)
	if err != nil {
		return provider.Target{}, err
	}
	username := cmp.Or(settings.String(fieldUsername), userLinux)
	if username != userLinux && username != userWindows {
		return provider.Target{}, errors.New("username must be root (Linux) or Administrator (Windows): the password of no other account can be set")
	}
	restart := cmp.Or(settings.String(fieldRestart), provider.RestartNone)
	if err := checkRestart(connection, restart); err != nil {
		return provider.Target{}, err
	}
	timeout := defaultTimeout * time.Second
	if settings.Has(fieldTimeout) { // roles of earlier versions have none
		timeout = settings.Seconds(fieldTimeout)
	}
	if timeout < minTimeout*time.Second || timeout > maxTimeout*time.Second || timeout%time.Second != 0 {
		return provider.Target{}, fmt.Errorf("restart_timeout must be between %d and %d seconds: how long a server may take to be back", minTimeout, maxTimeout)
	}

	project := connection.Settings.String(huaweicloud.FieldProjectID)
	identities := make([]string, 0, len(ids))
	for _, id := range ids {
		identities = append(identities, strings.ToLower(strings.Join([]string{Name, project, id}, "|")))
	}
	target := provider.Target{
		Names:      slices.Clone(ids),
		Identities: identities,
		Address:    huaweicloud.Address(connection),
		Parts:      slices.Clone(ids),
		Username:   username,
		Settings: provider.Settings{
			fieldInstanceIDs: ids,
			fieldUsername:    username,
			fieldRestart:     restart,
			fieldTimeout:     int(timeout / time.Second),
		},
	}
	if restart != provider.RestartNone {
		target.Restart, target.RestartTimeout = restart, int(timeout/time.Second)
	}
	return target, nil
}

// serversOf returns the validated server IDs of a target, as given.
func serversOf(settings provider.Settings) ([]string, error) {
	ids := settings.Strings(fieldInstanceIDs)
	switch {
	case len(ids) == 0:
		return nil, errors.New("instance_ids is required: the IDs of the servers")
	case len(ids) > maxServers:
		return nil, fmt.Errorf("instance_ids has %d IDs, and at most %d are allowed: use several roles", len(ids), maxServers)
	}
	seen := make(map[string]bool, len(ids))
	for i, id := range ids {
		if !serverIDs.MatchString(id) {
			return nil, fmt.Errorf("instance_ids: number %d is not an ID; IDs are at most 64 letters, digits and -, and not names; separate IDs with commas", i+1)
		}
		folded := strings.ToLower(id)
		if seen[folded] {
			return nil, fmt.Errorf("instance_ids has %s twice; give each server once", id)
		}
		seen[folded] = true
	}
	return slices.Clone(ids), nil
}

// checkRestart rejects restarts that the connection does not allow.
func checkRestart(connection provider.Connection, restart string) error {
	switch restart {
	case provider.RestartNone:
		return nil
	case provider.RestartSoft, provider.RestartHard:
	default:
		return errors.New("restart must be none, soft or hard")
	}
	if !connection.Settings.Bool(fieldAllowRestart) {
		return fmt.Errorf("restart=%s needs allow_restart=true on the connection: set that, or use restart=none", restart)
	}
	return nil
}
