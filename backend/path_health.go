package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/health"
)

func (b *Backend) healthPath() *framework.Path {
	list := lists("roles", func(ctx context.Context, s logical.Storage) ([]string, error) { return b.engine.Roles(ctx, s) })
	list.DisplayAttrs = display("list", "role-statuses")
	return &framework.Path{
		Pattern:      "status/?",
		DisplayAttrs: display("read", "status"),
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ListOperation: list,
			// Only the node that changes passwords has this in memory, so others forward.
			logical.ReadOperation: writes(b.readHealth, "Read the status of the mount.", response("Status of the mount.", map[string]*framework.FieldSchema{
				"complete":            {Type: framework.TypeBool, Required: true, Description: "Whether every role has been read since the engine started. Until then, the counts are too low."},
				"roles":               {Type: framework.TypeInt, Required: true, Description: "Number of roles."},
				"states":              {Type: framework.TypeMap, Required: true, Description: "Number of roles by state; see creds/:name."},
				"providers":           {Type: framework.TypeMap, Required: true, Description: "Number of roles by provider and state."},
				"overdue":             {Type: framework.TypeInt, Required: true, Description: "Number of roles that are due and not rotated yet. Not counted are roles with disable_automated_rotation, roles that the next read rotates, and roles whose last password is not in force yet."},
				"failing":             {Type: framework.TypeInt, Required: true, Description: "Number of roles with a failure since their last success."},
				"unproved":            {Type: framework.TypeInt, Required: true, Description: "Number of roles with verify whose password in force no login has proved, or whose last login could not tell."},
				"on_hold":             {Type: framework.TypeInt, Required: true, Description: "Number of roles with disable_automated_rotation."},
				"rotated_in_future":   {Type: framework.TypeInt, Description: "Number of roles whose last rotation is recorded in the future, because a clock was wrong. Their due times are counted from when this was noticed. Absent if there are none."},
				"oldest_overdue_role": {Type: framework.TypeString, Description: "Role that has been due for the longest time. Absent if none is due."},
				"oldest_overdue_time": {Type: framework.TypeString, Description: "When it became due, in RFC 3339."},
				"next_rotation_role":  {Type: framework.TypeString, Description: "Role that becomes due next. Absent if none does."},
				"next_rotation_time":  {Type: framework.TypeString, Description: "When it becomes due, in RFC 3339."},
				"paused_connections":  {Type: framework.TypeSlice, Required: true, Description: "Connections that are paused because their credential was refused, each with connection, provider, since, reason, and next_probe_time if the credential is tried again automatically."},
				"connection_problems": {Type: framework.TypeSlice, Required: true, Description: "Connections whose remote system refuses requests for any account, each with connection, provider, since, reason, and roles, the number of roles that met the problem. These roles are not in needs_person for it."},
				"storage_failure":     {Type: framework.TypeString, Description: "What Vault's own storage refuses, and what to do. Absent if it works."},
				"storage_failed_time": {Type: framework.TypeString, Description: "Since when, in RFC 3339."},
				"needs_person":        {Type: framework.TypeSlice, Required: true, Description: "Roles that need an operator, sorted by name, each with role and why, which says what to do. At most 500."},
				"needs_person_count":  {Type: framework.TypeInt, Required: true, Description: "Number of roles that need an operator."},
				"frozen":              {Type: framework.TypeBool, Required: true, Description: "Whether automatic changes are frozen; see freeze."},
				"freeze_reason":       {Type: framework.TypeString, Description: "Why the mount is frozen."},
				"freeze_until":        {Type: framework.TypeString, Description: "When the freeze ends, in RFC 3339. Absent if it lasts until an operator ends it."},
			})),
		},
		HelpSynopsis: "Read the status of the mount.",
		HelpDescription: strings.TrimSpace(`
Returns the health of the mount: how many roles are in each state, which ones are overdue, which connections are paused,
and which roles need an operator. The node that changes passwords keeps it in memory, so reading it reads no role. List
this path for the names of all roles, and read status/:name for one of them. Use vault read -format=json to read the lists.
`),
	}
}

func (b *Backend) readHealth(_ context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	h := b.engine.Health()
	providers := map[string]any{}
	for name, states := range h.Providers {
		providers[name] = statesData(states)
	}
	paused := make([]map[string]any, 0, len(h.Paused))
	for _, p := range h.Paused {
		one := map[string]any{"connection": p.Connection, "provider": p.Provider, "reason": p.Reason}
		putTime(one, "since", p.Since)
		putTime(one, "next_probe_time", p.NextProbe)
		paused = append(paused, one)
	}
	problems := make([]map[string]any, 0, len(h.Problems))
	for _, p := range h.Problems {
		one := map[string]any{"connection": p.Connection, "provider": p.Provider, "reason": p.Reason, "roles": p.Roles}
		putTime(one, "since", p.Since)
		problems = append(problems, one)
	}
	operators := make([]map[string]any, 0, len(h.NeedOperator))
	for _, p := range h.NeedOperator {
		operators = append(operators, map[string]any{"role": p.Role, "why": located(req, p.Reason)})
	}
	data := map[string]any{
		"complete": h.Complete, "roles": h.Roles, "states": statesData(h.States), "providers": providers,
		"overdue": h.Overdue, "failing": h.Failing, "unproved": h.Unproved, "on_hold": h.Disabled,
		"paused_connections": paused, "connection_problems": problems, "needs_person": operators, "needs_person_count": h.OperatorsNeeded, "frozen": h.Freeze != nil,
	}
	put(data, "rotated_in_future", h.RotatedAhead)
	putDated(data, "oldest_overdue", h.OldestOverdue)
	putDated(data, "next_rotation", h.NextDue)
	put(data, "storage_failure", located(req, h.StorageFailure))
	putTime(data, "storage_failed_time", h.StorageFailedAt)
	if h.Freeze != nil {
		data["freeze_reason"] = h.Freeze.Reason
		putTime(data, "freeze_until", h.Freeze.Until)
	}
	return &logical.Response{Data: data}, nil
}

func statesData(states map[credential.State]int) map[string]any {
	out := map[string]any{}
	for state, n := range states {
		out[string(state)] = n
	}
	return out
}

// putDated adds a role and its time, if there is one.
func putDated(data map[string]any, name string, d health.Dated) {
	if d.Role != "" {
		data[name+"_role"] = d.Role
		putTime(data, name+"_time", d.Time)
	}
}
