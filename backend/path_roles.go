package backend

import (
	"context"
	"errors"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-hosting/backend/provider"
	"vault-plugin-secrets-hosting/backend/rotation"
)

func (b *Backend) rolePaths() []*framework.Path {
	fields := merge(roleFields(), b.types, provider.Type.TargetFields)
	return []*framework.Path{
		{
			Pattern:      "roles/?$",
			DisplayAttrs: display("list", "roles"),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: reads(b.listRoles, "List roles.", listed("roles")),
			},
			HelpSynopsis:    "List the roles.",
			HelpDescription: "Lists the names of all roles. Read roles/:name to see how one is set up, status/:name to see how it stands, and creds/:name for its password.",
		},
		{
			Pattern:        "roles/" + framework.GenericNameRegex("name"),
			Fields:         fields,
			DisplayAttrs:   display("", "role"),
			ExistenceCheck: b.roleExists,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation:   reads(b.readRole, "Read a role, without its passwords.", response("The role.", readableRole(fields))),
				logical.CreateOperation: writes(b.createRole, "Create a role and set its first password.", response("How the new role stands.", outcomeFields())),
				logical.UpdateOperation: writes(b.updateRole, "Change a role; what is absent stays as it is.", response("How the role stands.", outcomeFields())),
				logical.DeleteOperation: writes(b.deleteRole, "Delete a role and its passwords from Vault.", noContent("The role is gone.")),
			},
			HelpSynopsis:    "A role: one account on a remote system, whose password the engine owns.",
			HelpDescription: strings.TrimSpace(roleHelp),
		},
	}
}

// roleFields are the fields that every role has, whatever its provider.
func roleFields() map[string]*framework.FieldSchema {
	schedule := &framework.DisplayAttributes{Group: "Rotation"}
	verify := &framework.DisplayAttributes{Group: "Verification"}
	return map[string]*framework.FieldSchema{
		"name":       nameField("role"),
		"connection": {Type: framework.TypeString, Description: "Name of the connection. Required on create; cannot be changed."},
		"password": {
			Type: framework.TypeString, DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
			Description: "The account's present password, on create only. Needed where the remote system asks for it (dcs with rotation_method=modify); elsewhere only with skip_initial_rotation. Never read back.",
		},
		"skip_initial_rotation": {
			Type:        framework.TypeBool,
			Description: "Adopt the account as it is, on create only: nothing is sent. Without password, the first read or rotation sets one.",
		},
		"rotation_period": {
			Type: framework.TypeDurationSecond, DisplayAttrs: schedule,
			Description: "Time after which a password is due to be changed, at least 10 seconds. Clears rotation_schedule. 0: by hand.",
		},
		"rotation_schedule": {
			Type: framework.TypeString, DisplayAttrs: schedule,
			Description: "When a password is due to be changed: a cron expression of five fields, in UTC. Clears rotation_period.",
		},
		"rotation_window": {
			Type: framework.TypeDurationSecond, DisplayAttrs: schedule,
			Description: "How long after a time of rotation_schedule a change may begin, at least 3600 seconds.",
		},
		"rotation_mode": {
			Type: framework.TypeString, Default: rotation.ModeAuto, DisplayAttrs: schedule,
			AllowedValues: []any{rotation.ModeAuto, rotation.ModeOnRead},
			Description:   "auto: the engine changes the password when it is due. on_read: the first read after that does.",
		},
		"rotate_after_read": {
			Type: framework.TypeDurationSecond, DisplayAttrs: schedule,
			Description: "Change the password this long after the first read of a version. 0: off.",
		},
		"disable_automated_rotation": {
			Type: framework.TypeBool, DisplayAttrs: schedule,
			Description: "Pause: the engine sends nothing on its own, retries included. Reads and requests of operators go on.",
		},
		"max_read_ttl": {
			Type: framework.TypeDurationSecond, Default: rotation.DefaultReadTTL,
			Description: "Upper bound of the ttl that creds/:name gives: how soon readers learn of a change by hand. At least 10 seconds; 0: no bound.",
		},
		"return_last_password": {Type: framework.TypeBool, Description: "creds/:name has last_password too."},
		"history_size": {
			Type: framework.TypeInt, Default: rotation.DefaultHistory,
			Description: "How many older passwords are kept, 0 to 50. Passwords that may still be valid are kept beside them: all that are open, and the last eight that nobody confirmed.",
		},
		"password_policy": {
			Type:        framework.TypeString,
			Description: "Name of a Vault password policy for new passwords, instead of the connection's. It is tried out when it is set.",
		},
		"verify":          {Type: framework.TypeBool, DisplayAttrs: verify, Description: "Prove a new password by a login. Not available in this version: true is refused."},
		"verify_address":  {Type: framework.TypeString, DisplayAttrs: verify, Description: "Where to log in, host:port. The connection's allowed_verify_addresses must allow it."},
		"verify_host_key": {Type: framework.TypeString, DisplayAttrs: verify, Description: "SSH host key to expect, as in known_hosts."},
		"verify_ca_cert":  {Type: framework.TypeString, DisplayAttrs: verify, Description: "PEM bundle of the authorities to trust when logging in."},
		"verify_tls":      {Type: framework.TypeBool, Default: true, DisplayAttrs: verify, Description: "Log in over TLS."},
		"verify_period":   {Type: framework.TypeDurationSecond, DisplayAttrs: verify, Description: "How often to prove the password in force. Not available in this version: only 0 is taken."},
		"on_drift": {
			Type: framework.TypeString, Default: rotation.DriftReport, DisplayAttrs: verify,
			AllowedValues: []any{rotation.DriftReport, rotation.DriftRecover},
			Description:   "What to do when the proof fails. Only report in this version.",
		},
		"force": {
			Type: framework.TypeBool, Query: true,
			Description: "On delete only: delete although a password may be in flight or staged, and would be lost.",
		},
	}
}

func readableRole(fields map[string]*framework.FieldSchema) map[string]*framework.FieldSchema {
	out := readable(fields)
	delete(out, "force")
	return out
}

func (b *Backend) roleExists(ctx context.Context, req *logical.Request, d *framework.FieldData) (bool, error) {
	name, _ := d.Get("name").(string)
	role, err := b.engine.Role(ctx, req.Storage, name)
	return role != nil, err
}

func (b *Backend) listRoles(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	names, err := b.engine.Roles(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return logical.ListResponse(names), nil
}

func (b *Backend) readRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	role, err := b.engine.Role(ctx, req.Storage, name)
	if err != nil {
		return fail(name, err)
	}
	if role == nil {
		return nil, nil //nolint:nilnil // Vault's 404
	}
	o := role.Options
	data := map[string]any{
		"connection":                 role.Connection,
		"skip_initial_rotation":      o.SkipInitialRotation,
		"rotation_period":            o.RotationPeriod,
		"rotation_schedule":          o.RotationSchedule,
		"rotation_window":            o.RotationWindow,
		"rotation_mode":              o.RotationMode,
		"rotate_after_read":          o.RotateAfterRead,
		"disable_automated_rotation": o.Disabled,
		"max_read_ttl":               o.MaxReadTTL,
		"return_last_password":       o.ReturnLast,
		"history_size":               o.HistorySize,
		"password_policy":            o.PasswordPolicy,
		"verify":                     o.Verify,
		"verify_address":             o.VerifyAddress,
		"verify_host_key":            o.VerifyHostKey,
		"verify_ca_cert":             o.VerifyCACert,
		"verify_tls":                 o.VerifyTLS,
		"verify_period":              o.VerifyPeriod,
		"on_drift":                   o.OnDrift,
	}
	for name, value := range role.Target.Settings {
		data[name] = value
	}
	return &logical.Response{Data: data}, nil
}

func (b *Backend) createRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	connection := given[string](d, "connection")
	if connection == nil || *connection == "" {
		return logical.ErrorResponse("connection is missing: the name of a connection (list config)"), nil
	}
	target, problem := b.target(ctx, req, d, *connection)
	if problem != nil {
		return fail(*connection, problem)
	}
	options := rotation.Options{
		RotationMode: rotation.ModeAuto, MaxReadTTL: rotation.DefaultReadTTL, HistorySize: rotation.DefaultHistory, VerifyTLS: true, OnDrift: rotation.DriftReport,
	}
	if err := apply(d, &options); err != nil {
		return fail(name, err)
	}
	set(&options.SkipInitialRotation, given[bool](d, "skip_initial_rotation"))
	in := rotation.NewRole{Name: name, Connection: *connection, Target: target, Options: options}
	set(&in.Password, given[string](d, "password"))
	report, err := b.engine.Create(ctx, req.Storage, in)
	if errors.Is(err, rotation.ErrRoleExists) { // Vault repeats a request whose plugin has ended without asking again whether there is one
		return b.updateRole(ctx, req, d)
	}
	if err != nil {
		return fail(name, err)
	}
	b.send(ctx, eventRoleCreate, req.Path, name, req.Path)
	return outcome(report), nil
}

// target returns the target fields that were given, all of them the connection's provider's.
func (b *Backend) target(ctx context.Context, req *logical.Request, d *framework.FieldData, connection string) (provider.Settings, error) {
	c, _, err := b.engine.ReadConnection(ctx, req.Storage, connection)
	if err != nil {
		return nil, err
	}
	all := givenOf(d, names(b.types, provider.Type.TargetFields))
	own := names([]provider.Type{b.engine.Type(c.Provider)}, provider.Type.TargetFields)
	for name := range all {
		if !own[name] {
			return nil, rotation.Mistake("the field %q is not one of provider %q, which the connection %q has", name, c.Provider, connection)
		}
	}
	return all, nil
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// apply puts the given options in place.
func apply(d *framework.FieldData, o *rotation.Options) error {
	period, schedule := given[int](d, "rotation_period"), given[string](d, "rotation_schedule")
	window := given[int](d, "rotation_window")
	switch {
	case period != nil && *period != 0 && schedule != nil && *schedule != "":
		return rotation.Mistake("set either rotation_period or rotation_schedule, not both")
	case period != nil && *period != 0:
		o.RotationSchedule, o.RotationWindow = "", 0
	case schedule != nil && *schedule != "":
		o.RotationPeriod = 0
	case schedule != nil:
		o.RotationWindow = 0
	}
	set(&o.RotationPeriod, period)
	set(&o.RotationSchedule, schedule)
	set(&o.RotationWindow, window)
	set(&o.RotationMode, given[string](d, "rotation_mode"))
	set(&o.RotateAfterRead, given[int](d, "rotate_after_read"))
	set(&o.Disabled, given[bool](d, "disable_automated_rotation"))
	set(&o.MaxReadTTL, given[int](d, "max_read_ttl"))
	set(&o.ReturnLast, given[bool](d, "return_last_password"))
	set(&o.HistorySize, given[int](d, "history_size"))
	set(&o.PasswordPolicy, given[string](d, "password_policy"))
	set(&o.Verify, given[bool](d, "verify"))
	set(&o.VerifyAddress, given[string](d, "verify_address"))
	set(&o.VerifyHostKey, given[string](d, "verify_host_key"))
	set(&o.VerifyCACert, given[string](d, "verify_ca_cert"))
	set(&o.VerifyTLS, given[bool](d, "verify_tls"))
	set(&o.VerifyPeriod, given[int](d, "verify_period"))
	set(&o.OnDrift, given[string](d, "on_drift"))
	return nil
}

func (b *Backend) updateRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	report, err := b.engine.Update(ctx, req.Storage, name, func(role *rotation.Role) (rotation.Options, provider.Settings, error) {
		if connection := given[string](d, "connection"); connection != nil && *connection != role.Connection {
			return role.Options, nil, rotation.Mistake("connection cannot be changed (it is %q): make another role", role.Connection)
		}
		if skip := given[bool](d, "skip_initial_rotation"); skip != nil && *skip != role.Options.SkipInitialRotation {
			return role.Options, nil, rotation.Mistake("skip_initial_rotation says how a role begins and cannot be changed")
		}
		if password := given[string](d, "password"); password != nil && !role.Adopted.Is(*password) {
			return role.Options, nil, rotation.Mistake("password is taken on create only: set another one with set-password/%s, or say which one is in force with confirm-role/%s", name, name)
		}
		options := role.Options
		if err := apply(d, &options); err != nil {
			return options, nil, err
		}
		target, err := b.target(ctx, req, d, role.Connection)
		return options, target, err
	})
	if err != nil {
		return fail(name, err)
	}
	b.send(ctx, eventRoleUpdate, req.Path, name, req.Path)
	return outcome(report), nil
}

func (b *Backend) deleteRole(ctx context.Context, req *logical.Request, d *framework.FieldData) (*logical.Response, error) {
	name, _ := d.Get("name").(string)
	force := given[bool](d, "force")
	if err := b.engine.Delete(ctx, req.Storage, name, force != nil && *force); err != nil {
		return fail(name, err)
	}
	b.send(ctx, eventRoleDelete, req.Path, name, req.Path)
	return nil, nil //nolint:nilnil // Vault's 204
}

const roleHelp = `
A role names one account on the remote system of a connection. The engine makes passwords for it, pushes them, and hands
the one in force out at creds/:name. Fields in parentheses below belong to the providers named there.

The connection and the fields that name the account cannot be changed, and no two roles of a mount may name the same
account: they would change one password against each other.

Creating a role sets a first password, unless skip_initial_rotation is set. Where the remote system refuses it and
nothing was set, there is an error and no role. Otherwise the role is there, and the answer has its state, with a warning
where the first password is not in force yet.

Deleting a role removes its passwords from Vault and leaves the account on the remote system as it is. While a password
may be in flight or staged, deleting needs force=true, since the only copy of that password would be lost.
`
