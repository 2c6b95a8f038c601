package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) statusPath() *framework.Path {
	return &framework.Path{
		Pattern:      "status/" + framework.GenericNameRegex("name"),
		Fields:       map[string]*framework.FieldSchema{"name": nameField("role")},
		DisplayAttrs: display("read", "role-status"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: reads(b.readStatus, "Read how a role stands, and why.", response("How the role stands.", map[string]*framework.FieldSchema{
				"state":              {Type: framework.TypeString, Required: true, Description: "As in creds/:name."},
				"version":            {Type: framework.TypeInt, Description: "Version of the password in force."},
				"next_version":       {Type: framework.TypeInt, Description: "Version of the password that is being set or waits to come into force; confirm-role takes it once it was sent."},
				"reason":             {Type: framework.TypeString, Required: true, Description: "Why the role is in this state."},
				"connection":         {Type: framework.TypeString, Required: true, Description: "The role's connection."},
				"provider":           {Type: framework.TypeString, Required: true, Description: "The kind of remote system."},
				"next_rotation_time": {Type: framework.TypeString, Description: "When the password is due to be changed, RFC 3339; absent: by hand."},
				"last_error":         {Type: framework.TypeString, Description: "The last failure since the last success."},
				"last_error_class":   {Type: framework.TypeString, Description: "Its outcome: rejected, mismatch, busy, denied, unreachable or unknown."},
				"last_error_time":    {Type: framework.TypeString, Description: "When it happened, RFC 3339."},
				"last_error_request": {Type: framework.TypeString, Description: "The remote system's identifier of that call, for its support."},
				"attempts":           {Type: framework.TypeInt, Required: true, Description: "Failures in a row."},
				"next_attempt_time":  {Type: framework.TypeString, Description: "When the engine goes on by itself, RFC 3339; absent: it does not have to."},
				"servers":            {Type: framework.TypeSlice, Description: "For a role of several servers, each with its id, state, version and next_version, and last_error where it did not take the last password."},
				"advice":             {Type: framework.TypeString, Required: true, Description: "What an operator can do."},
			})),
		},
		HelpSynopsis: "Read how a role stands, and why.",
		HelpDescription: strings.TrimSpace(`
Explains a role to an operator: its state, the last failure, when the engine goes on by itself, and what can be done. It
holds no password. For a role of several servers, vault read -format=json shows the list of servers in a readable way.
`),
	}
}

func (b *Backend) readStatus(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	status, err := b.engine.Explain(ctx, req.Storage, name)
	if err != nil {
		return fail(name, err)
	}
	role, view := status.Report.Role, status.Report.View
	data := map[string]any{
		"state": string(view.State), "reason": status.Reason, "advice": status.Advice,
		"connection": role.Connection, "provider": role.Provider, "attempts": role.Retry.Attempts,
	}
	if view.Password != nil {
		data["version"] = view.Password.Version
	}
	if version := status.Report.NextVersion(); version > 0 {
		data["next_version"] = version
	} else if next := role.Record.Next; next != nil { // being sent, or not sent yet
		data["next_version"] = next.Version
	}
	if len(status.Servers) > 0 {
		data["servers"] = serversData(status.Servers)
	}
	putTime(data, "next_rotation_time", status.Due)
	putTime(data, "next_attempt_time", status.Next)
	if last := role.Retry.Last; last != nil {
		data["last_error"] = last.String()
		data["last_error_class"] = string(last.Class)
		putTime(data, "last_error_time", last.Time)
		if last.RequestID != "" {
			data["last_error_request"] = last.RequestID
		}
	}
	return &logical.Response{Data: data}, nil
}

// serversData lists how each server stands; what is not known is absent.
func serversData(servers []rotation.ServerStatus) []map[string]any {
	out := make([]map[string]any, 0, len(servers))
	for _, server := range servers {
		one := map[string]any{"id": server.Part, "state": string(server.State)}
		if server.Version > 0 {
			one["version"] = server.Version
		}
		if server.NextVersion > 0 {
			one["next_version"] = server.NextVersion
		}
		if server.LastError != "" {
			one["last_error"] = server.LastError
		}
		out = append(out, one)
	}
	return out
}

// putTime leaves a time that is not set out.
func putTime(data map[string]any, name string, t time.Time) {
	if !t.IsZero() {
		data[name] = t.UTC().Format(time.RFC3339)
	}
}
