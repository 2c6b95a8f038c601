package ecs

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/provider/huaweicloud"
)

// Names of the target fields.
const (
	fieldInstanceIDs = "instance_ids"
	fieldUsername    = "username"
	fieldRestart     = "restart"
)

// Values of username and restart.
const (
	userLinux   = "root"
	userWindows = "Administrator"

	restartNone = "none"
	restartSoft = "soft"
	restartHard = "hard"
)

// maxServers is how many servers CloudDC takes in a call. Elastic Cloud Server takes 1000, but nobody wants one password
// for so many.
const maxServers = 50

var serverIDs = regexp.MustCompile(`^[0-9a-zA-Z-]{1,64}$`)

// TargetFields name the servers and their administrator; restart says how a password gets in force.
func (Type) TargetFields() []provider.Field {
	return []provider.Field{
		{Name: fieldInstanceIDs, Schema: &framework.FieldSchema{
			Type:     framework.TypeCommaStringSlice,
			Required: true,
			Description: fmt.Sprintf("IDs of the servers, at most %d, which all get the same password: of CloudDC's instances "+
				"(not of their physical servers), or of servers of Elastic Cloud Server. One server a role is best.", maxServers),
			DisplayAttrs: &framework.DisplayAttributes{Name: "Server IDs"},
		}},
		{Name: fieldUsername, Schema: &framework.FieldSchema{
			Type:          framework.TypeString,
			Default:       userLinux,
			AllowedValues: []any{userLinux, userWindows},
			Description: "Administrator of the servers: root on Linux, Administrator on Windows. The image of a server " +
				"decides whose password is set; this only says what to log in as.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Administrator"},
		}},
		{Name: fieldRestart, Mutable: true, Schema: &framework.FieldSchema{
			Type:          framework.TypeString,
			Default:       restartNone,
			AllowedValues: []any{restartNone, restartSoft, restartHard},
			Description: "How the servers are restarted, which brings a new password into force. This version takes none " +
				"only: restart them yourself and write confirm-role.",
			DisplayAttrs: &framework.DisplayAttributes{Name: "Restart"},
		}},
	}
}

// Target checks the servers. The identity of each has the project's id, which is unique in all regions, and neither the
// user name nor the service: a server has one administrator, and both services give UUIDs. IDs are compared without
// regard to case, since it is not documented whether the services do.
func (Type) Target(connection provider.Connection, settings provider.Settings) (provider.Target, error) {
	ids, err := serversOf(settings)
	if err != nil {
		return provider.Target{}, err
	}
	username := settings.String(fieldUsername)
	switch username {
	case "":
		username = userLinux
	case userLinux, userWindows:
	default:
		return provider.Target{}, errors.New("username must be root (Linux) or Administrator (Windows): no other password can be set")
	}
	if err := checkRestart(connection, settings.String(fieldRestart)); err != nil {
		return provider.Target{}, err
	}

	project := connection.Settings.String(huaweicloud.FieldProjectID)
	identities := make([]string, 0, len(ids))
	for _, id := range ids {
		identities = append(identities, strings.ToLower(strings.Join([]string{Name, project, id}, "|")))
	}
	return provider.Target{
		Names:      slices.Clone(ids),
		Identities: identities,
		Parts:      slices.Clone(ids),
		Username:   username,
		Settings: provider.Settings{
			fieldInstanceIDs: ids,
			fieldUsername:    username,
			fieldRestart:     restartNone,
		},
	}, nil
}

// serversOf returns the checked IDs of a target's servers, as given.
func serversOf(settings provider.Settings) ([]string, error) {
	ids := settings.Strings(fieldInstanceIDs)
	switch {
	case len(ids) == 0:
		return nil, errors.New("instance_ids is required: the IDs of the servers")
	case len(ids) > maxServers:
		return nil, fmt.Errorf("instance_ids has %d IDs, and at most %d are allowed: make several roles", len(ids), maxServers)
	}
	seen := make(map[string]bool, len(ids))
	for i, id := range ids {
		if !serverIDs.MatchString(id) {
			return nil, fmt.Errorf("instance_ids: number %d is no ID; IDs are letters, digits and -, at most 64, and not names; separate several by commas", i+1)
		}
		folded := strings.ToLower(id)
		if seen[folded] {
			return nil, fmt.Errorf("instance_ids has %s twice; give each server once", id)
		}
		seen[folded] = true
	}
	return slices.Clone(ids), nil
}

// checkRestart refuses what this version does not do, and first what the connection does not allow.
func checkRestart(connection provider.Connection, restart string) error {
	switch restart {
	case "", restartNone:
		return nil
	case restartSoft, restartHard:
	default:
		return errors.New("restart must be none, soft or hard")
	}
	if !connection.Settings.Bool(fieldAllowRestart) {
		return fmt.Errorf("restart=%s needs allow_restart of the connection, which is false: leave restart at none", restart)
	}
	return fmt.Errorf("restart=%s is not possible: this version does not restart servers by itself; leave restart at none, "+
		"restart them yourself after a change, and write confirm-role", restart)
}
