package backend

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/problem"
	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/role"
	"vault-plugin-secrets-hosting/backend/roles"
	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) rolePaths() []*framework.Path {
	fields := merge(addOptions(roleFields(), roleOptions()), b.types, provider.Type.TargetFields)
	return []*framework.Path{
		listPath("roles/?$", "roles", "List the roles.",
			"Lists the names of all roles. Read roles/:name for the configuration of a role, status/:name for its status, and creds/:name for its password.",
			func(ctx context.Context, s logical.Storage) ([]string, error) { return b.engine.Roles(ctx, s) }),
		{
			Pattern:        "roles/" + framework.GenericNameRegex("name"),
			Fields:         fields,
			DisplayAttrs:   display("", "role"),
			ExistenceCheck: b.roleExists,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation:   reads(b.readRole, "Read a role, without its passwords.", response("The role.", readable(fields))),
				logical.CreateOperation: writes(b.createRole, "Create a role and set its first password.", response("State of the new role.", outcomeFields())),
				logical.UpdateOperation: writes(b.updateRole, "Update a role. Absent fields keep their values.", response("State of the role.", outcomeFields())),
				logical.PatchOperation:  writes(b.updateRole, "Update a role that exists. Absent fields keep their values.", response("State of the role.", outcomeFields())),
				logical.DeleteOperation: writes(b.deleteRole, "Delete a role and its passwords from Vault.", noContent("The role was deleted.")),
			},
			HelpSynopsis:    "Manage a role: one account on a remote system, whose password the engine manages.",
			HelpDescription: strings.TrimSpace(roleHelp),
		},
	}
}

// roleOptions lists the options of a role.
func roleOptions() []option[role.Options] {
	schedule := &framework.DisplayAttributes{Group: "Rotation"}
	duration, integer, text, boolean := framework.TypeDurationSecond, framework.TypeInt, framework.TypeString, framework.TypeBool
	return append([]option[role.Options]{
		{"skip_initial_rotation", framework.FieldSchema{
			Type:        boolean,
			Description: "On create, adopt the account without setting a password. If password is not given, the first read or rotation sets one.",
		}, func(o *role.Options) any { return &o.SkipInitialRotation }},
		{"rotation_period", framework.FieldSchema{
			Type: duration, DisplayAttrs: schedule,
			Description: "Time after which the password is due for rotation, between 10 seconds and 10 years. Clears rotation_schedule. 0 disables it.",
		}, func(o *role.Options) any { return &o.RotationPeriod }},
		{"rotation_schedule", framework.FieldSchema{
			Type: text, DisplayAttrs: schedule,
			Description: "Cron expression with five fields, in UTC, that defines when the password is due for rotation, such as 0 3 * * * for each day at 03:00. Names such as @daily are not accepted (and the vault command would read a file of that name). Clears rotation_period.",
		}, func(o *role.Options) any { return &o.RotationSchedule }},
		{"rotation_window", framework.FieldSchema{
			Type: duration, DisplayAttrs: schedule,
			Description: "How long after each time of rotation_schedule a rotation may begin, at least 3600 seconds.",
		}, func(o *role.Options) any { return &o.RotationWindow }},
		{"rotation_mode", framework.FieldSchema{
			Type: text, Default: role.ModeAuto, DisplayAttrs: schedule, AllowedValues: []any{role.ModeAuto, role.ModeOnRead},
			Description: "auto: the engine rotates the password when it is due. on_read: the first read after the due time rotates it.",
		}, func(o *role.Options) any { return &o.RotationMode }},
		{"rotate_after_read", framework.FieldSchema{
			Type: duration, DisplayAttrs: schedule,
			Description: "Time after the first read of a version at which the password is due for rotation. 0 disables it.",
		}, func(o *role.Options) any { return &o.RotateAfterRead }},
		{"disable_automated_rotation", framework.FieldSchema{
			Type: boolean, DisplayAttrs: schedule,
			Description: "Disable automatic rotations, retries, restarts and logins of this role. Reads and requests of operators still work.",
		}, func(o *role.Options) any { return &o.Disabled }},
		{"max_read_ttl", framework.FieldSchema{
			Type: duration, Default: role.DefaultReadTTL,
			Description: "Maximum ttl that creds/:name returns, which bounds how late readers notice a manual rotation. At least 10 seconds; 0 means no maximum.",
		}, func(o *role.Options) any { return &o.MaxReadTTL }},
		{"return_last_password", framework.FieldSchema{
			Type: boolean, Description: "Return the previous password as last_password from creds/:name.",
		}, func(o *role.Options) any { return &o.ReturnLast }},
		{"history_size", framework.FieldSchema{
			Type: integer, Default: role.DefaultHistory,
			Description: "Number of older passwords to keep, between 0 and 50. Passwords that may still be valid are kept in addition: all with an unknown outcome, and the last eight that the remote system never confirmed.",
		}, func(o *role.Options) any { return &o.HistorySize }},
		{"password_policy", framework.FieldSchema{
			Type:        text,
			Description: "Name of a Vault password policy for new passwords, instead of the connection's, which must allow it in allowed_password_policies. When it is set, samples are checked against the remote system's rules and min_password_bits of the mount's settings, and so is every new password.",
		}, func(o *role.Options) any { return &o.PasswordPolicy }},
		{"force_delete", framework.FieldSchema{
			Type:        boolean,
			Description: "Deleting the role does not require force=true, even if a password that is being sent or is not in force yet would be lost. For tools that cannot send force.",
		}, func(o *role.Options) any { return &o.ForceDelete }},
	}, verifyOptions()...)
}

// roleFields returns the fields that every role has in addition to its options.
func roleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"name":       nameField("role"),
		"connection": {Type: framework.TypeString, Description: "Name of the connection. Required on create; cannot be changed."},
		"password": {
			Type: framework.TypeString, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
			Description: "Current password of the account, accepted on create only. Required if the remote system needs it to set a new one (dcs with rotation_method=modify); otherwise, accepted only with skip_initial_rotation. Never returned. An update may repeat it: another password is refused until the first rotation. After it, the field is ignored with a warning, or refused if the update has no other field.",
		},
		"version": {
			Type: framework.TypeInt, Description: "Version of the password that creds/:name returns. A write ignores this field.",
		},
		"last_vault_rotation": {
			Type: framework.TypeString, Description: "When that password came into force or was adopted, in RFC 3339. A write ignores this field.",
		},
		"force": {
			Type: framework.TypeBool, Query: true,
			Description: "On delete, delete the role even if a password that is being sent or is not in force yet would be lost.",
		},
	}
}

func (b *Backend) roleExists(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
	name, _ := d.Get("name").(string)
	view, err := b.engine.Role(ctx, req.Storage, name)
	return view != nil, err
}

func (b *Backend) readRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	view, err := b.engine.Role(ctx, req.Storage, name)
	if err != nil {
		return fail(name, err)
	}
	if view == nil {
		return nil, nil //nolint:nilnil // Vault's 404
	}
	data := values(roleOptions(), &view.Options)
	data["connection"] = view.Connection
	put(data, "version", view.Version)
	putTime(data, "last_vault_rotation", view.LastRotation)
	maps.Copy(data, view.Target)
	return &logical.Response{Data: data}, nil
}

func (b *Backend) createRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	connection, _ := d.Get("connection").(string)
	if connection == "" {
		return logical.ErrorResponse("connection is missing: vault list MOUNT/config lists the connections"), nil
	}
	target, err := b.target(ctx, req, d, connection)
	if err != nil {
		return fail(connection, err)
	}
	options := role.Defaults()
	if err := applyOptions(d, &options); err != nil {
		return fail(name, err)
	}
	password, _ := d.Get("password").(string)
	report, err := b.engine.Create(ctx, req.Storage, rotation.NewRole{
		Name: name, Connection: connection, Target: target, Options: options, Password: password,
	})
	if errors.Is(err, problem.ErrRoleExists) { // Vault repeats a request during which the plugin ended, without another existence check
		return b.updateRole(ctx, req, d)
	}
	if err == nil {
		b.send(ctx, eventRoleCreate, req.Path, name, req.Path)
	}
	return outcome(name, report, err, options)
}

// target returns the target fields of the request. All of them must belong to the connection's provider.
func (b *Backend) target(ctx context.Context, req *logical.Request, d *framework.FieldData, connection string) (provider.Settings, error) {
	c, err := b.engine.Connections.Read(ctx, req.Storage, connection)
	if err != nil {
		return nil, err
	}
	all := givenOf(d, b.types, provider.Type.TargetFields)
	own := givenOf(d, []provider.Type{b.engine.Type(c.Provider)}, provider.Type.TargetFields)
	for name := range all {
		if _, ok := own[name]; !ok {
			return nil, problem.Mistake("%s does not belong to provider %q of connection %q", name, c.Provider, connection)
		}
	}
	return all, nil
}

// applyOptions sets the options that the request contains. Setting rotation_period clears rotation_schedule, and vice versa.
func applyOptions(d *framework.FieldData, o *role.Options) error {
	period, schedule := given[int](d, "rotation_period"), given[string](d, "rotation_schedule")
	switch {
	case period != nil && *period != 0 && schedule != nil && *schedule != "":
		return problem.Mistake("set either rotation_period or rotation_schedule, not both")
	case period != nil && *period != 0:
		o.RotationSchedule, o.RotationWindow = "", 0
	case schedule != nil && *schedule != "":
		o.RotationPeriod = 0
	case schedule != nil:
		o.RotationWindow = 0
	}
	apply(d, roleOptions(), o)
	return nil
}

func (b *Backend) updateRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	var options role.Options
	var warning string
	report, err := b.engine.Update(ctx, req.Storage, name, func(stored *roles.View) (_ role.Options, _ provider.Settings, err error) {
		if connection := given[string](d, "connection"); connection != nil && *connection != stored.Connection {
			return stored.Options, nil, problem.Mistake("connection cannot be changed (it is %q): create another role instead", stored.Connection)
		}
		if skip := given[bool](d, "skip_initial_rotation"); skip != nil && *skip != stored.Options.SkipInitialRotation {
			return stored.Options, nil, problem.Mistake("skip_initial_rotation is accepted on create only and cannot be changed")
		}
		if password := given[string](d, "password"); password != nil {
			if warning, err = b.guesses.check(b.Logger(), name, *password, len(req.Data) == 1, stored); err != nil {
				return stored.Options, nil, err
			}
		}
		options = stored.Options
		if err := applyOptions(d, &options); err != nil {
			return options, nil, err
		}
		target, err := b.target(ctx, req, d, stored.Connection)
		return options, target, err
	})
	if err == nil {
		b.send(ctx, eventRoleUpdate, req.Path, name, req.Path)
	}
	resp, err := outcome(name, report, err, options)
	if err == nil && warning != "" && !resp.IsError() {
		resp.AddWarning(warning)
	}
	return resp, err
}

func (b *Backend) deleteRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	force, _ := d.Get("force").(bool)
	if err := b.engine.Delete(ctx, req.Storage, name, force); err != nil {
		return fail(name, err)
	}
	b.guesses.forget(name)
	b.send(ctx, eventRoleDelete, req.Path, name, req.Path)
	return nil, nil //nolint:nilnil // Vault's 204
}

const roleHelp = `
A role names one account on the remote system of a connection. The engine generates passwords for the account, sets
them, and returns the one in force from creds/:name. Descriptions of fields that only some providers have begin with the
provider in parentheses.

A write keeps the fields that it does not contain, and so does vault patch, which does not create a role. The connection and
the fields that name the account cannot be changed. Two roles of a mount cannot name the same account,
because they would overwrite each other's password.

Creating a role sets a first password, unless skip_initial_rotation is set. If the remote system refuses it and nothing
was set, the request fails and no role is created. Otherwise the role exists, and the response has its state, with a
warning if the first password is not in force yet.

With verify, the engine logs in to prove that a new password works before it counts as active, and to find out which one does
if the outcome of a change is unknown. It sends a password only to an address that the connection's allowed_verify_addresses
lists, and only to a server that has proved who it is. See verify-role/:name and recover-role/:name.

With restart, the engine restarts the servers of the role after a change (ecs), if the connection has allow_restart. It
restarts one at a time, and stops at the first that does not come back or, with verify, does not accept the new password.

Deleting a role removes its passwords from Vault and leaves the account on the remote system unchanged. While a password
is being sent or is not in force yet, deleting the role requires force=true or force_delete on the role, because Vault has
the only copy of that password.
`
