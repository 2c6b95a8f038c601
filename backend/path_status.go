package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/explain"
)

func (b *Backend) statusPath() *framework.Path {
	return &framework.Path{
		Pattern:      "status/" + framework.GenericNameRegex("name"),
		Fields:       map[string]*framework.FieldSchema{"name": nameField("role")},
		DisplayAttrs: display("read", "role-status"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: reads(b.readStatus, "Read the status of a role.", response("Status of the role.", map[string]*framework.FieldSchema{
				"state":               {Type: framework.TypeString, Required: true, Description: "State of the password; see creds/:name."},
				"version":             {Type: framework.TypeInt, Description: "Version of the password that creds/:name returns."},
				"next_version":        {Type: framework.TypeInt, Description: "Version of the password that is being set or is not known to be in force yet. Once it was sent, use it with confirm-role."},
				"last_vault_rotation": {Type: framework.TypeString, Description: "When the password that creds/:name returns came into force or was adopted, in RFC 3339."},
				"reason":              {Type: framework.TypeString, Required: true, Description: "Why the role is in this state, and why a rotation is late."},
				"connection":          {Type: framework.TypeString, Required: true, Description: "Connection of the role."},
				"provider":            {Type: framework.TypeString, Required: true, Description: "Kind of remote system."},
				"next_rotation_time":  {Type: framework.TypeString, Description: "When the password is due for rotation, in RFC 3339. Absent if it is rotated only manually."},
				"last_error":          {Type: framework.TypeString, Description: "Last failure since the last success."},
				"last_error_class":    {Type: framework.TypeString, Description: "Outcome of the failed call: rejected, mismatch, busy, denied, unreachable or unknown."},
				"last_error_time":     {Type: framework.TypeString, Description: "When it failed, in RFC 3339."},
				"last_error_request":  {Type: framework.TypeString, Description: "Identifier of the call on the remote system, for its support."},
				"attempts":            {Type: framework.TypeInt, Required: true, Description: "Number of failures in a row."},
				"next_attempt_time":   {Type: framework.TypeString, Description: "When the engine continues without a request, in RFC 3339. Absent if it has nothing to do."},
				"servers":             {Type: framework.TypeSlice, Description: "For a role with several servers, the id, state, version and next_version of each, and last_error if it did not take the last password."},
				"last_proof_time":     {Type: framework.TypeString, Description: "When a login last tried the password in force, in RFC 3339. Absent if none did."},
				"last_proof_result":   {Type: framework.TypeString, Description: "What that login proved: works, refused or cannot_tell."},
				"last_proof_reason":   {Type: framework.TypeString, Description: "What happened at that login."},
				"next_proof_time":     {Type: framework.TypeString, Description: "When the next login proves the password, in RFC 3339. Absent if none is planned."},
				"advice":              {Type: framework.TypeString, Required: true, Description: "What an operator can do."},
			})),
		},
		HelpSynopsis: "Read the status of a role.",
		HelpDescription: strings.TrimSpace(`
Returns the state of a role and the reason for it, the last failure, when the engine continues, and what an operator can
do. It returns no password. For a role with several servers, use vault read -format=json to read the list of servers.
`),
	}
}

func (b *Backend) readStatus(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	status, err := b.engine.Status(ctx, req.Storage, name)
	if err != nil {
		return fail(name, err)
	}
	data := map[string]any{
		"state": string(status.State), "reason": located(req, status.Reason), "advice": located(req, status.Advice),
		"connection": status.Connection, "provider": status.Provider, "attempts": status.Attempts,
	}
	put(data, "version", status.Version)
	put(data, "next_version", status.NextVersion)
	if len(status.Servers) > 0 {
		data["servers"] = serversData(status.Servers)
	}
	putTime(data, "last_vault_rotation", status.LastRotation)
	putTime(data, "next_rotation_time", status.Due)
	putTime(data, "next_attempt_time", status.NextAttempt)
	putTime(data, "last_proof_time", status.LastProof)
	put(data, "last_proof_result", status.ProofResult)
	put(data, "last_proof_reason", status.ProofReason)
	putTime(data, "next_proof_time", status.NextProof)
	if last := status.Last; last != nil {
		data["last_error"] = last.String()
		data["last_error_class"] = string(last.Class)
		putTime(data, "last_error_time", last.Time)
		put(data, "last_error_request", last.RequestID)
	}
	return &logical.Response{Data: data}, nil
}

// serversData returns the state of each server, without fields whose value is not known.
func serversData(servers []explain.Server) []map[string]any {
	out := make([]map[string]any, 0, len(servers))
	for _, server := range servers {
		one := map[string]any{"id": server.Part, "state": string(server.State)}
		put(one, "version", server.Version)
		put(one, "next_version", server.NextVersion)
		put(one, "last_error", server.LastError)
		out = append(out, one)
	}
	return out
}

// put adds a value, unless it is zero.
func put[T comparable](data map[string]any, name string, value T) {
	var zero T
	if value != zero {
		data[name] = value
	}
}

// putTime adds a time, if it is set.
func putTime(data map[string]any, name string, t time.Time) {
	if !t.IsZero() {
		data[name] = t.UTC().Format(time.RFC3339)
	}
}
