package backend

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/rotation"
)

// Types of the Vault events that requests send, without the prefix. The engine sends those of package
// rotation. Whether subscribers receive events depends on the edition of Vault.
const (
	eventConfigWrite  = "config-write"
	eventConfigDelete = "config-delete"
	eventRoleCreate   = "role-create"
	eventRoleUpdate   = "role-update"
	eventRoleDelete   = "role-delete"
)

// eventWait bounds sending one event, so that requests do not wait for subscribers.
const eventWait = 2 * time.Second

// send sends an event about a path. data is the path whose content it changed, or "". Delivery is best effort: an event
// that cannot be sent is logged.
func (b *Backend) send(ctx context.Context, kind, path, name, data string, metadata ...string) {
	ctx, cancel := context.WithTimeout(ctx, eventWait)
	defer cancel()
	pairs := append([]string{
		logical.EventMetadataOperation, kind, logical.EventMetadataPath, path, logical.EventMetadataModified, strconv.FormatBool(data != ""), "name", name,
	}, metadata...)
	if data != "" {
		pairs = append(pairs, logical.EventMetadataDataPath, data)
	}
	err := logical.SendEvent(ctx, b, operationPrefix+"/"+kind, pairs...)
	if err != nil && !errors.Is(err, framework.ErrNoEvents) && ctx.Err() == nil {
		b.Logger().Debug("an event could not be sent", "event", operationPrefix+"/"+kind, "name", name, "error", err)
	}
}

// sendOfRole sends an event of the engine about a role.
func (b *Backend) sendOfRole(ctx context.Context, kind, role string, metadata []string) {
	var data string
	if kind == rotation.EventRotate || kind == rotation.EventVerify {
		data = "creds/" + role
	}
	b.send(ctx, kind, "creds/"+role, role, data, metadata...)
}
