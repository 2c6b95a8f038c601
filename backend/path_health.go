package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/credential"
	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) healthPath() *framework.Path {
	return &framework.Path{
		Pattern:      "status/?",
		DisplayAttrs: display("read", "status"),
		Operations: map[logical.Operation]framework.OperationHandler{
			// The node that changes passwords keeps this in memory: others forward.
			logical.ReadOperation: writes(b.readHealth, "Read how all roles of the mount stand.", response("How all roles stand.", map[string]*framework.FieldSchema{
				"complete":            {Type: framework.TypeBool, Required: true, Description: "Every role has been read since the engine started; until then the counts are too low."},
				"roles":               {Type: framework.TypeInt, Required: true, Description: "How many roles there are."},
				"states":              {Type: framework.TypeMap, Required: true, Description: "Roles by state; see creds/:name."},
				"providers":           {Type: framework.TypeMap, Required: true, Description: "Roles by provider and state."},
				"overdue":             {Type: framework.TypeInt, Required: true, Description: "Roles whose password is due and not changed yet; those on hold, those that the next read changes, and those whose last password is not in force yet left out."},
				"failing":             {Type: framework.TypeInt, Required: true, Description: "Roles with a failure since their last success."},
				"on_hold":             {Type: framework.TypeInt, Required: true, Description: "Roles with disable_automated_rotation."},
				"oldest_overdue_role": {Type: framework.TypeString, Description: "The role that has been due for the longest time; absent: none is."},
				"oldest_overdue_time": {Type: framework.TypeString, Description: "Since when, RFC 3339."},
				"next_rotation_role":  {Type: framework.TypeString, Description: "The role that becomes due next; absent: none does."},
				"next_rotation_time":  {Type: framework.TypeString, Description: "When, RFC 3339."},
				"paused_connections":  {Type: framework.TypeSlice, Required: true, Description: "Connections whose credential is refused: connection, provider, since, reason, and next_probe_time where it is tried again by itself."},
				"needs_person":        {Type: framework.TypeSlice, Required: true, Description: "Roles that do not go on without a person, by name, each with a sentence that says why and what to do; the first 500."},
				"needs_person_count":  {Type: framework.TypeInt, Required: true, Description: "How many such roles there are."},
				"frozen":              {Type: framework.TypeBool, Required: true, Description: "Nothing is changed automatically; see freeze."},
				"freeze_reason":       {Type: framework.TypeString, Description: "Why."},
				"freeze_until":        {Type: framework.TypeString, Description: "When it ends by itself, RFC 3339; absent: when somebody ends it."},
			})),
		},
		HelpSynopsis: "Read how all roles of the mount stand.",
		HelpDescription: strings.TrimSpace(`
Tells the health of the mount: how many roles are in which state, which are late, which connections are paused, and which
roles need a person. It is kept in memory by the node that changes passwords, and costs no read of a role. status/:name
explains one role. vault read -format=json shows the lists in a readable way.
`),
	}
}

func (b *Backend) readHealth(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
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
	persons := make([]map[string]any, 0, len(h.NeedPerson))
	for _, p := range h.NeedPerson {
		persons = append(persons, map[string]any{"role": p.Role, "why": p.Sentence})
	}
	data := map[string]any{
		"complete": h.Complete, "roles": h.Roles, "states": statesData(h.States), "providers": providers,
		"overdue": h.Overdue, "failing": h.Failing, "on_hold": h.OnHold,
		"paused_connections": paused, "needs_person": persons, "needs_person_count": h.PersonsNeeded, "frozen": h.Freeze != nil,
	}
	putDated(data, "oldest_overdue", h.OldestOverdue)
	putDated(data, "next_rotation", h.NextDue)
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

// putDated leaves a role that is not there out.
func putDated(data map[string]any, name string, d rotation.Dated) {
	if d.Role != "" {
		data[name+"_role"] = d.Role
		putTime(data, name+"_time", d.Time)
	}
}
